"""Pictures between tensors, bytes and files: sRGB in [0, 1], 8 bits, PNG, linear light."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike, NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from ddrep_core.errors import RequestError

LARGEST_PICTURE = 100_000_000  # pixels
UNCHANGED, CHANGED = 0.04, 0.16
"""Of a colour in [0, 1]: an edit that changes less leaves all of the original's detail, one that changes more none."""


class Decoder(Protocol):
    """What makes pictures of latents: a prior."""

    @property
    def device(self) -> torch.device: ...

    def decode(self, latents: Tensor) -> Tensor: ...


def decode(prior: Decoder, latents: Tensor) -> Tensor:
    """[B, 3, H, W] sRGB in [0, 1] on the CPU, of latents [B, C, h, w]; without a graph."""
    with torch.no_grad():
        pictures = prior.decode(latents.to(prior.device)).float().cpu().clamp(0, 1)
    settle(prior)
    return pictures


def settle(prior: object) -> None:
    """Hear what a prior found out about its pictures while nobody waited for it, where it says so.

    Raises:
        RunError: some were not finite.
    """
    if (wait := getattr(prior, "settle", None)) is not None:
        wait()


class NoPicture(ValueError):
    """Says why a file or bytes are no picture that can be used."""


def open_picture(source: Path | bytes) -> Image.Image:
    """A picture, read whole: L, LA, P, RGB or RGBA, 8 bits a channel whatever the file has.

    Raises:
        NoPicture: none that can be read, or one of more than 100 million pixels.
        OSError: there is no such file.
    """
    stream = source if isinstance(source, Path) else io.BytesIO(source)
    if isinstance(stream, Path) and not stream.is_file():
        raise FileNotFoundError(f"{stream} is no file")
    try:
        with Image.open(stream) as picture:
            if picture.width * picture.height > LARGEST_PICTURE:
                raise NoPicture(f"it is {picture.width} x {picture.height} pixels, more than can be handled")
            picture.load()
            return _in_bytes(picture)
    except NoPicture:
        raise
    except Exception as error:  # Pillow's readers raise whatever the bytes make them raise
        raise NoPicture(str(error) or type(error).__name__) from error


def read_picture_file(
    path: Path, what: str = "picture", *, smallest: int = 1, largest: int = LARGEST_PICTURE
) -> Image.Image:
    """A picture that a person named, the way up that its camera noted: `open_picture`.

    Args:
        what: it is, for the message: "mask".
        smallest, largest: bounds of its sides, in pixels.

    Raises:
        RequestError: no picture that can be read, or one that is too small or too large.
    """
    try:
        picture = ImageOps.exif_transpose(open_picture(path))
        if not smallest <= min(picture.size) <= max(picture.size) <= largest:
            bounds = f"{smallest} to {largest} a side will do"
            raise NoPicture(f"it is {picture.width} x {picture.height} pixels, and {bounds}")
        return picture
    except (OSError, NoPicture) as error:
        reason = str(error).replace(str(path), path.name)
        raise RequestError(
            f"The {what} {path.name} cannot be read as a picture ({reason}).", "Save it as a PNG or JPEG."
        ) from error


def on_white(picture: Image.Image) -> Image.Image:
    """RGB; what is transparent lies on white."""
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def unchanged(change: Tensor) -> Tensor:
    """1 where a picture that is edited changed so little that all of the original's detail belongs there, down to 0.

    Args:
        change: of its colours in [0, 1], averaged over a neighbourhood.
    """
    return ((CHANGED - change) / (CHANGED - UNCHANGED)).clamp(0, 1)


def tensor_of(picture: Image.Image) -> Tensor:
    """[1 or 3 or 4, H, W] in [0, 1]."""
    values = torch.from_numpy(np.asarray(picture, np.float32) / np.float32(255))
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1).contiguous()


def read_picture(path: Path) -> Tensor:
    """[3, H, W] sRGB in [0, 1] of a picture file; what is transparent lies on white.

    Raises:
        RequestError: as `read_picture_file`.
    """
    return tensor_of(on_white(read_picture_file(path)))


def _in_bytes(picture: Image.Image) -> Image.Image:
    """Deeper greys scaled to 8 bits, which Pillow's own conversion would cut off at 255."""
    if not picture.mode.startswith(("I", "F")):
        return picture
    values = np.asarray(picture, np.float64)
    if picture.mode == "F":
        values = 255 * values
    elif picture.mode.startswith("I;16") or values.max(initial=0) > 255:
        values = values / 257
    return Image.fromarray(to_bytes(values / 255))


def middle_square(picture: Tensor, size: int = 512) -> Tensor:
    """[3, size, size] the middle of a picture [3, H, W], sRGB in [0, 1]."""
    short = min(picture.shape[-2:])
    top, left = ((side - short) // 2 for side in picture.shape[-2:])
    square = picture[None, :, top : top + short, left : left + short]
    return functional.interpolate(square, (size, size), mode="bicubic", antialias=True).clamp(0, 1)[0]


def to_picture(image: Tensor) -> Image.Image:
    """An 8-bit picture of [3, H, W] sRGB in [0, 1]; one channel becomes grey."""
    shown = image.expand(3, -1, -1) if image.shape[0] == 1 else image[:3]
    return Image.fromarray((shown * 255 + 0.5).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy())


def to_uint8(image: Tensor | ArrayLike) -> NDArray[np.uint8]:
    """[C, H, W] or [H, W] in [0, 1] -> [H, W, C] or [H, W] bytes; what is not a number is black."""
    values = image.detach().to("cpu", torch.float32).numpy() if isinstance(image, Tensor) else np.asarray(image)
    values = to_bytes(np.nan_to_num(values))
    return values if values.ndim == 2 else np.ascontiguousarray(values.transpose(1, 2, 0))


def to_bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers in [0, 1] -> bytes, of any shape."""
    return np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)


def png_bytes(picture: Image.Image) -> bytes:
    """A PNG without dates or names inside: the same picture, the same bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def quick_png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of [H, W, 3] or [H, W] bytes in a fifth of the time: rows as differences, little searching for repeats.

    For smooth pictures, which are hardly larger for it.
    """
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    lines = np.empty((height, rows.shape[1] + 1), np.uint8)
    lines[:, 0] = 2  # the filter "Up"
    lines[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.data, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
        for kind, data in chunks
    )


def to_linear(srgb: ArrayLike, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """sRGB -> linear light."""
    values = np.asarray(srgb, dtype)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(dtype)


def to_srgb(linear: ArrayLike, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Linear light -> sRGB in [0, 1]."""
    values = np.clip(np.asarray(linear, dtype), 0.0, 1.0)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055).astype(dtype)
