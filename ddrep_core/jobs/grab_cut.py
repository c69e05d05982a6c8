"""An object before a ground of many colours, cut out by GrabCut (Rother et al. 2004), which OpenCV has.

It takes what lies along the picture's edge for ground and finds the rest by mixtures of colours. On a ground that has
the object's colours it fails, and does not know: so it is asked several times, each time with another guess at where
the ground begins, and believed where the answers agree.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import measure

SIDE = 192  # pixels: in which it looks
MARGINS = (0.04, 0.07, 0.10)  # of the picture: what is taken for ground, along its edge
ROUNDS = 6
AGREED = 0.9  # intersection over union of any answer and the first
MOST, LEAST = 0.6, 0.01  # of the picture: an object takes no more, and no less
ONE_PIECE = 0.9  # of what was found, its largest piece


def is_there() -> bool:
    """Whether OpenCV is installed."""
    try:
        import cv2  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    return True


def grab_cut(colours: NDArray[Any]) -> NDArray[np.float32] | None:
    """[H, W] coverage of the object in a picture [H, W, 3], sRGB in [0, 1]; None where it cannot be told for sure."""
    import cv2  # pyright: ignore[reportMissingImports]

    height, width = colours.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(8, round(width * scale)), max(8, round(height * scale))
    small = cv2.resize(np.rint(255 * colours[..., ::-1]).astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    found = [_inside(cv2, small, margin) for margin in MARGINS]
    first, share = found[0], float(found[0].mean())
    pieces = np.asarray(measure.label(first, connectivity=1))
    largest = np.bincount(pieces.reshape(-1), minlength=2)[1:].max()
    if not LEAST < share < MOST or largest < ONE_PIECE * first.sum():
        return None
    if any((first & each).sum() < AGREED * (first | each).sum() for each in found[1:]):
        return None
    soft = cv2.GaussianBlur(first.astype(np.float32), (0, 0), 0.7)
    return np.clip(cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1).astype(np.float32)


def _inside(cv2: Any, picture: NDArray[np.uint8], margin: float) -> NDArray[np.bool_]:
    """[H, W] what is no ground, if all that lies within a margin is."""
    height, width = picture.shape[:2]
    x, y = max(1, round(margin * width)), max(1, round(margin * height))
    mask = np.zeros((height, width), np.uint8)
    cv2.setRNGSeed(0)
    cv2.grabCut(
        picture, mask, (x, y, width - 2 * x, height - 2 * y), np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS,
        cv2.GC_INIT_WITH_RECT,
    )  # fmt: skip
    return (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)
