"""One object cut out of a picture: by the picture's own transparency, or where its ground is of one colour.

Where the ground is of many colours, OpenCV's GrabCut is asked, if it is installed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage import measure
from torch import Tensor
from torch.nn import functional

from ddrep_core.errors import RequestError
from ddrep_core.jobs import grab_cut
from ddrep_core.pictures import read_picture_file

WORKING_SIDE = 512  # pixels: larger pictures are made smaller first
SMALLEST, LARGEST = 8, 30_000  # pixels a side
CLEAR, SOLID = 0.1, 0.5  # of an alpha channel: what is not there, and what certainly is
SAME, OTHER = 0.06, 0.16
"""Distances in sRGB: what is of the ground's colour, and what certainly is not; between them an edge fades."""
UNEVEN = 0.3  # of the picture's edge, that is not of the ground's colour: then it has no ground of one colour
LEAST = 0.002  # of the picture: what is smaller is dust
SECOND = 0.12  # of the largest piece: another as large as that is another object
FILL = 0.78  # of the frame: the object's longer side

CUT_IT_OUT = "Cut the object out and save it as a PNG with transparency, or take a picture before a plain ground."


@dataclass(frozen=True)
class CutOut:
    """An object alone, in the middle of a square.

    Attributes:
        colours: [3, S, S] sRGB in [0, 1], on black.
        coverage: [1, S, S].
        touches: whether it reaches the edge of the picture that it was in, and so may be cut off there.
        guessed: whether its ground had many colours, so that what is object was guessed.
    """

    colours: Tensor
    coverage: Tensor
    touches: bool
    guessed: bool = False

    def resized(self, size: int) -> tuple[Tensor, Tensor]:
        """Colours on black and coverage, of another size."""
        both = torch.cat([self.colours, self.coverage])[None]
        found = functional.interpolate(both, (size, size), mode="bilinear", antialias=True, align_corners=False)[0]
        return found[:3], found[3:]


def read_cut_out(path: Path) -> CutOut:
    """The object that a picture file shows.

    Raises:
        RequestError: no picture; nothing in it, or nothing that stands out; several objects; no ground of one colour.
    """
    return cut_out(read_picture_file(path, "picture", smallest=SMALLEST, largest=LARGEST), path.name)


def cut_out(picture: Image.Image, name: str = "The picture") -> CutOut:
    """The object that a picture shows. Raises as `read_cut_out`."""
    guessed = False
    has_alpha = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
    picture = picture.convert("RGBA")
    picture.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
    values = (np.asarray(picture, np.float32) / 255).astype(np.float32)
    colours, alpha = values[..., :3], values[..., 3]
    if has_alpha and float((alpha < SOLID).mean()) > LEAST:
        if float((alpha > SOLID).mean()) < LEAST:
            raise RequestError(f"{name} is transparent everywhere: it shows no object.", CUT_IT_OUT)
        coverage = np.where(alpha > CLEAR, alpha, 0)
    elif _is_even(colours):
        coverage = _before_ground(colours)
    else:
        coverage, guessed = _guessed(colours, name), True
    pieces = np.asarray(measure.label(coverage > SOLID, connectivity=1))
    sizes = np.bincount(pieces.reshape(-1), minlength=2)[1:]
    if sizes.max() < LEAST * coverage.size:
        raise RequestError(f"{name} shows nothing that stands out from its ground.", CUT_IT_OUT)
    largest = int(sizes.argmax()) + 1
    others = np.sort(sizes)[:-1]
    if len(others) and others[-1] > SECOND * sizes.max():
        count = 1 + int((others > SECOND * sizes.max()).sum())
        raise RequestError(
            f"{name} shows more than one object ({count} pieces of some size).",
            "Keep one of them: crop the picture, or erase the others.",
        )
    near = ndimage.binary_dilation(pieces == largest, iterations=2)
    return replace(_in_the_middle(colours, np.where(near, coverage, 0).astype(np.float32)), guessed=guessed)


def _edge(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, 3] a picture's outermost pixels."""
    return np.concatenate([colours[0], colours[-1], colours[:, 0], colours[:, -1]])


def _is_even(colours: NDArray[np.float32]) -> bool:
    """Whether the ground is of one colour."""
    edge = _edge(colours)
    return float((np.abs(edge - np.median(edge, axis=0)).max(1) > OTHER).mean()) <= UNEVEN


def _guessed(colours: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """[H, W] coverage before a ground of many colours."""
    if not grab_cut.is_there():
        more = "With OpenCV beside it (pip install opencv-python-headless) ddrep tries to cut it out itself."
        raise RequestError(f"{name} has no ground of one colour around the object.", f"{CUT_IT_OUT} {more}")
    coverage = grab_cut.grab_cut(colours)
    if coverage is None:
        raise RequestError(
            f"{name} has no ground of one colour, and what stands before it cannot be told for sure.", CUT_IT_OUT
        )
    return coverage


def _before_ground(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """[H, W] coverage where the ground is what has the colour of the picture's edge, and is joined to it."""
    ground = np.median(_edge(colours), axis=0)
    away = np.abs(colours - ground).max(2)
    alike = np.asarray(measure.label(away < (SAME + OTHER) / 2, connectivity=1))
    outside = np.unique(np.concatenate([alike[0], alike[-1], alike[:, 0], alike[:, -1]]))
    behind = np.isin(alike, outside[outside > 0])
    fading = ndimage.binary_dilation(behind, iterations=2)
    coverage = np.where(fading, np.clip((away - SAME) / (OTHER - SAME), 0, 1), 1)
    return np.where(behind & (away < SAME), 0, coverage).astype(np.float32)


def _in_the_middle(colours: NDArray[np.float32], coverage: NDArray[np.float32]) -> CutOut:
    """What is covered, in the middle of a square of which it fills its share."""
    rows, columns = (np.flatnonzero((coverage > SOLID).any(axis)) for axis in (1, 0))
    (top, bottom), (left, right) = ((int(line[0]), int(line[-1]) + 1) for line in (rows, columns))
    height, width = coverage.shape
    touches = top == 0 or left == 0 or bottom == height or right == width
    side = round(max(bottom - top, right - left) / FILL)
    square = np.zeros((side, side, 4), np.float32)
    corner = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    inside = np.dstack([colours * coverage[..., None], coverage])[top:bottom, left:right]
    square[corner[0] : corner[0] + bottom - top, corner[1] : corner[1] + right - left] = inside
    tensor = torch.from_numpy(square).permute(2, 0, 1).contiguous()
    return CutOut(tensor[:3], tensor[3:], touches)
