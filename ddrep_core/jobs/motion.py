"""`ddrep motion`: one picture in, short films out of what may move in it, and where to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ddrep_core.errors import RequestError
from ddrep_core.forward_models import separate_pictures
from ddrep_core.forward_models.enlarged import enlarged
from ddrep_core.forward_models.motion_network import BEHIND, IMPORTANCE, MOTION
from ddrep_core.forward_models.motion_prior import MotionPrior, moved
from ddrep_core.jobs.blocks import MotionRequest
from ddrep_core.jobs.folder import replacing, write_bytes
from ddrep_core.jobs.from_image import Drawing
from ddrep_core.jobs.generate import picture_row
from ddrep_core.jobs.pace import StageProgress
from ddrep_core.jobs.session import Preview, Session
from ddrep_core.jobs.task import Illustration, Made, Stage
from ddrep_core.pictures import decode, on_white, png_bytes, read_picture_file, tensor_of, to_bytes
from ddrep_core.report.film import write_film, write_gif
from ddrep_core.sampling.sample import Result, StepReport

SMALLEST, LARGEST = 8, 30_000  # pixels a side
FILM_SIDE = 384  # pixels, at most: larger pictures are made smaller
FRAMES, FRAMES_PER_SECOND = 24, 16
EVEN = 2.0  # of 255, deviation: a picture that varies less shows nothing
STILL = 0.02  # of a side: what moves less, hardly moves
MOVED = 0.25  # of the furthest: pixels that go as far are counted among what moves


@dataclass(frozen=True)
class Scene:
    """The picture, in its own size and in the network's.

    Attributes:
        large: [3, S, S] sRGB, a square whose sides the picture's own were made up to by its edge.
        small: [3, s, s].
        window: of the square, the picture's own (rows, columns).
    """

    large: Tensor
    small: Tensor
    window: tuple[slice, slice]


def read_still(path: Path) -> Image.Image:
    """RGB; what is transparent lies on white.

    Raises:
        RequestError: no picture, or one of one colour.
    """
    picture = on_white(read_picture_file(path, "picture", smallest=SMALLEST, largest=LARGEST))
    if float(np.asarray(picture.resize((64, 64), Image.Resampling.BOX), float).std((0, 1)).max()) < EVEN:
        raise RequestError(
            f"{path.name} is of one colour: there is nothing in it that could move.", "Choose another picture."
        )
    return picture


def scene_of(picture: Image.Image, size: int) -> Scene:
    """An RGB picture as a network of `size` pixels sees it."""
    scale = min(1.0, FILM_SIDE / max(picture.size))
    width, height = (max(2, 2 * round(side * scale / 2)) for side in picture.size)  # H.264 wants even sides
    values = tensor_of(picture.resize((width, height), Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC))
    side = max(width, height)
    left, top = (side - width) // 2, (side - height) // 2
    pad = (left, side - width - left, top, side - height - top)
    large = functional.pad(values[None], pad, mode="replicate")
    small = functional.interpolate(large, (size, size), mode="bilinear", antialias=True, align_corners=False)[0]
    return Scene(large[0], small, (slice(top, top + height), slice(left, left + width)))


def start(session: Session) -> Stage:
    """The picture, and what is seen of it later under noise. Raises as `read_still`."""
    picture = read_still(session.folder.resolve(session.request.settings(MotionRequest).picture))
    prior: MotionPrior = session.prior
    scene = scene_of(picture, prior.image_size)
    known = prior.given({0: prior.encode(scene.small)}, prior.targets)
    recipe = session.recipe(separate_pictures(known, len(prior.targets)))
    if session.request.eta is None:
        recipe = replace(recipe, eta=0.0)  # fresh noise in each step shortens motions (docs/forward_models.md)
    return Stage(Drawing(recipe, known), Film(scene, known).finish, Film.previews)


@dataclass(frozen=True)
class Film:
    """What there is to move, and the prior that knows it."""

    scene: Scene
    known: MotionPrior

    @staticmethod
    def previews(session: Session, step: StepReport) -> Sequence[Preview]:
        """What is seen later, as it is now."""
        return [Preview("image", picture_row(decode(session.prior, step.diffrep.render())))]

    def finish(self, session: Session, result: Result) -> Made:
        """The films, and how far what moves in them goes."""
        session.stage("Drawing the film")
        signal = self.known.behind(result.diffrep.render()[None])[0]
        amount = session.request.settings(MotionRequest).amount
        pictures = list(frames(self.scene, signal, amount))
        files = {"gif": session.outputs / "motion.gif", "last": session.outputs / "last.png"}
        with replacing(files["gif"]) as path:
            write_gif(pictures, path, frames_per_second=FRAMES_PER_SECOND)
        write_bytes(files["last"], png_bytes(Image.fromarray(pictures[len(pictures) // 2])))
        share = amount * furthest(signal[MOTION]) / self.known.image_size
        if share < STILL:
            session.warn("The model hardly sees anything move in this picture.")
        told = {"agreement": None, "motion_share": round(share, 4)}
        return Made(files, told, (film(pictures, session.outputs / "motion.mp4"),))


def frames(scene: Scene, signal: Tensor, amount: float) -> Sequence[NDArray[np.uint8]]:
    """[H, W, 3] bytes each: there and back, so that the last is followed by the first."""
    scale = scene.large.shape[-1] / scene.small.shape[-1]
    of_ground = signal[BEHIND] - signal[:3]  # what is behind differs by, so that the rest keeps its detail
    said = enlarged(
        torch.cat([signal[MOTION] * scale * amount, signal[IMPORTANCE], of_ground]), scene.small, scene.large
    )
    motion, importance, ground = said.split([2, 1, 3])
    whole = torch.cat([scene.large, motion, importance, (scene.large + ground).clamp(0, 1)])[None]
    found = []
    for number in range(FRAMES):
        phase = 0.5 - 0.5 * math.cos(2 * math.pi * number / FRAMES)
        found.append(to_bytes(moved(whole, phase, whole=True)[0][:, *scene.window].permute(1, 2, 0).numpy()))
    return found


def furthest(motion: Tensor) -> float:
    """How far what moves goes, in pixels: the mean over pixels that go at least a quarter as far as the furthest."""
    length = motion.norm(dim=0)
    return float(length[length >= MOVED * length.max()].mean())


def film(pictures: Sequence[NDArray[np.uint8]], path: Path) -> Illustration:
    """The film as an MP4, which wants an encoder."""

    def draw(progress: StageProgress) -> None:
        with replacing(path) as unfinished:
            write_film(pictures, unfinished, frames_per_second=FRAMES_PER_SECOND)

    return Illustration("the film", {"film": path}, draw)
