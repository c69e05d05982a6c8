"""A picture's palette, by statistics, and colours moved to it. It knows nothing of styles, forms or materials.

Colours are taken in Oklab (Ottosson 2020), where distances are as one sees them. A palette is their mean and
covariance; colours are moved by the linear map that carries one normal distribution onto another at the least total
distance (Monge-Kantorovich; Pitié and Kokaram 2007). Being linear it keeps every gradation, and cannot tear smooth
colours apart as a match of whole histograms can (docs/materials.md shows both).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddrep_core.errors import RequestError
from ddrep_core.pictures import to_bytes, to_linear, to_srgb

Float = NDArray[np.float64]
SMALLEST_SPREAD = 0.02  # of Oklab: colours that differ less than so have no spread that could be stretched
MOST_COLOURS = 1_000_000  # that a palette is taken from
PIECE = 1_000_000
LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@dataclass(frozen=True)
class Palette:
    """Colours as a normal distribution in Oklab.

    Attributes:
        mean: [3]; covariance: [3, 3].
    """

    mean: Float
    covariance: Float


def palette_of(pixels: NDArray[np.uint8]) -> Palette:
    """The palette of sRGB bytes [N, 3]; of too many, of as many as are looked at, evenly spread.

    Raises:
        RequestError: there are none.
    """
    if not len(pixels):
        raise RequestError("A picture without a visible pixel has no palette.", "Give one that is not transparent.")
    colours = to_oklab(pixels[:: -(-len(pixels) // MOST_COLOURS)])
    return Palette(colours.mean(axis=0), np.cov(colours.T, bias=True))


@dataclass(frozen=True)
class ColourMap:
    """c ↦ matrix c + shift, in Oklab: [3, 3] and [3]."""

    matrix: Float
    shift: Float

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """[..., 3] sRGB bytes -> the same, moved."""
        flat = pixels.reshape(-1, 3)
        moved = [self._piece(flat[first : first + PIECE]) for first in range(0, len(flat), PIECE)]
        return np.concatenate(moved).reshape(pixels.shape) if moved else pixels

    def _piece(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return from_oklab(to_oklab(pixels) @ self.matrix.T + self.shift)


def transport(source: Palette, target: Palette, amount: float = 1.0) -> ColourMap:
    """What carries one palette onto another at the least total distance.

    Args:
        amount: of the way, 0 to 1.
    """
    wide = source.covariance + SMALLEST_SPREAD**2 * np.eye(3)
    root, inverse = _powers(wide)
    inner, _ = _powers(root @ target.covariance @ root)
    matrix = (1 - amount) * np.eye(3) + amount * (inverse @ inner @ inverse)
    mean = (1 - amount) * source.mean + amount * target.mean
    return ColourMap(matrix, mean - matrix @ source.mean)


def _powers(symmetric: Float) -> tuple[Float, Float]:
    """The square root of a positive matrix, and that root's inverse."""
    values, vectors = np.linalg.eigh(symmetric)
    roots = np.sqrt(np.maximum(values, 0))
    return (vectors * roots) @ vectors.T, (vectors / np.maximum(roots, 1e-12)) @ vectors.T


def to_oklab(pixels: NDArray[Any]) -> Float:
    """[..., 3] sRGB bytes -> Oklab: lightness 0..1, green to red, blue to yellow."""
    return np.cbrt(to_linear(pixels / 255.0, np.float64) @ LMS.T) @ LAB.T


def from_oklab(colours: Float) -> NDArray[np.uint8]:
    """[..., 3] Oklab -> sRGB bytes, what no screen can show clipped."""
    return to_bytes(to_srgb(np.clip((colours @ np.linalg.inv(LAB).T) ** 3 @ np.linalg.inv(LMS).T, 0.0, 1.0)))
