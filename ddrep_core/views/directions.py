"""Words for where a camera stands, added to a view's prompt so that a prior knows which side it sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ddrep_core.views.camera import Camera

OVERHEAD, RAISED, OUTWARD = 60.0, 30.0, 30.0
"""Degrees above the horizon: a view from overhead (below it: from the bottom), from above; a view that looks up."""


@dataclass(frozen=True)
class DirectionWords:
    """What a prior calls the sides that it sees.

    Args:
        around: evenly around, the first in the middle of the front, then towards the object's own left (+X where the
            front is -Y). As given: those common in text-to-3D (threestudio's). Which side "side view" means it leaves
            open, so that an object's two sides may face the same way: a prior that was taught more can be told more.
        from_above: added from 30 degrees above the horizon on.
        part: of a view that shows a part of the object alone.
    """

    around: tuple[str, ...] = ("front view", "side view", "back view", "side view")
    from_above: str = ""
    part: str = "close-up"

    def level(self, azimuth: float) -> str:
        """The words for degrees around from the front. Halves are rounded to even: of four, what lies between is front
        or back; a millionth of a degree beside it is the arithmetic's, and counts as a half."""
        return self.around[round(round(azimuth, 6) * len(self.around) / 360.0) % len(self.around)]


def azimuth_elevation(
    camera: Camera, target: ArrayLike = (0.0, 0.0, 0.0), front_degrees: float = 0.0
) -> tuple[float, float]:
    """Degrees around the world's Z axis from the object's front towards its own left, and degrees above the horizon.

    The front is at -Y, and `front_degrees` from there towards +X: a front of 90 is at +X, the object's left at +Y.
    An orthographic camera is judged by where it looks, for its position is arbitrary along that line.
    """
    offset = camera.position - np.asarray(target, dtype=np.float64)
    if camera.is_orthographic or np.linalg.norm(offset) < 1e-9:
        offset = camera.matrix_world[:3, 2]
    return (
        (math.degrees(math.atan2(offset[0], -offset[1])) - front_degrees) % 360.0,
        math.degrees(math.atan2(offset[2], math.hypot(offset[0], offset[1]))),
    )


def direction_words(
    camera: Camera,
    target: ArrayLike = (0.0, 0.0, 0.0),
    words: DirectionWords | None = None,
    front_degrees: float = 0.0,
) -> str:
    """ "front view" or what else `words` has for the side that is seen, "overhead view" above 60 degrees, "bottom view"
    below -60; of a camera that looks out, "looking up", "looking down" or nothing. The object faces -Y, or
    `front_degrees` from there towards +X.

    A camera that stands at the target looks out from it, as a panorama's do: it is told where it looks when that is
    more than 30 degrees from the horizon. Of a view of a part no side is said.
    """
    words = words or DirectionWords()
    if camera.of_a_part:
        return words.part
    if not camera.is_orthographic and np.linalg.norm(camera.position - np.asarray(target, dtype=np.float64)) < 1e-9:
        forward = -camera.matrix_world[:3, 2]
        outward = math.degrees(math.atan2(forward[2], math.hypot(forward[0], forward[1])))
        return "" if abs(outward) <= OUTWARD else "looking up" if outward > 0 else "looking down"
    azimuth, elevation = azimuth_elevation(camera, target, front_degrees)
    if abs(elevation) > OVERHEAD:
        return "overhead view" if elevation > 0 else "bottom view"
    return " ".join(part for part in (words.level(azimuth), words.from_above if elevation > RAISED else "") if part)
