"""Pictures that follow each other as films: MP4 for players, GIF for pages."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddrep_core.errors import RunError

COLOURS = 255  # of a GIF


def write_film(
    pictures: Iterable[NDArray[np.uint8]], path: str | Path, *, frames_per_second: int, what: str = "film"
) -> None:
    """Write an MP4 (H.264) of pictures [H, W, 3], all of one size, whose sides are even.

    Args:
        what: it is, for the message.

    Raises:
        RunError: the film cannot be written.
    """
    pictures = iter(pictures)
    # The encoder starts when there is something to encode: without a picture it would only leave a broken file.
    first = next(pictures)
    writer = imageio_ffmpeg.write_frames(
        os.fspath(path),
        (first.shape[1], first.shape[0]),
        fps=frames_per_second,
        codec="libx264",
        macro_block_size=2,
        # One thread and no version stamp: the same pictures give the same bytes.
        output_params=["-crf", "18", "-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-f", "mp4"],
    )
    try:
        writer.send(None)
        for picture in itertools.chain([first], pictures):
            writer.send(np.ascontiguousarray(picture))
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no ffmpeg for this machine
        raise RunError(f"The {what} {path} cannot be written: {error}.") from error
    finally:
        writer.close()
    if not Path(path).is_file() or not Path(path).stat().st_size:
        raise RunError(f"The {what} {path} cannot be written: the encoder made no film.")


def write_gif(pictures: Sequence[NDArray[np.uint8]], path: str | Path, *, frames_per_second: int) -> None:
    """Write a GIF that goes round, of pictures [H, W, 3]; one palette for all of them, so that nothing flickers.

    Raises:
        OSError: it cannot be written.
    """
    palette = Image.fromarray(np.concatenate(pictures)).quantize(COLOURS, dither=Image.Dither.NONE)
    frames = [Image.fromarray(each).quantize(palette=palette, dither=Image.Dither.NONE) for each in pictures]
    frames[0].save(
        path, format="GIF", save_all=True, append_images=frames[1:], duration=round(1000 / frames_per_second), loop=0
    )
