"""Words for where a camera stands, added to a view's prompt so that a prior knows which side it sees."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ddrep_core.views.camera import Camera


def azimuth_elevation(camera: Camera, target: ArrayLike = (0.0, 0.0, 0.0)) -> tuple[float, float]:
    """Degrees around the world's Z axis from the front (-Y) towards +X, and degrees above the horizon.

    An orthographic camera is judged by where it looks, for its position is arbitrary along that line.
    """
    offset = camera.position - np.asarray(target, dtype=np.float64)
    if camera.is_orthographic or np.linalg.norm(offset) < 1e-9:
        offset = camera.matrix_world[:3, 2]
    return (
        math.degrees(math.atan2(offset[0], -offset[1])) % 360.0,
        math.degrees(math.atan2(offset[2], math.hypot(offset[0], offset[1]))),
    )


def direction_words(camera: Camera, target: ArrayLike = (0.0, 0.0, 0.0)) -> str:
    """ "front view", "side view", "back view", "overhead view" or "bottom view"; of one that looks out, "looking up",
    "looking down" or nothing.

    The bands are those common in text-to-3D (threestudio's): overhead above 60 degrees, front and back within 45
    degrees of their axes; "bottom view" mirrors overhead. A camera that stands at the target looks out from it, as a
    panorama's do: it is told where it looks when that is more than 30 degrees from the horizon.
    """
    if not camera.is_orthographic and np.linalg.norm(camera.position - np.asarray(target, dtype=np.float64)) < 1e-9:
        forward = -camera.matrix_world[:3, 2]
        outward = math.degrees(math.atan2(forward[2], math.hypot(forward[0], forward[1])))
        return "" if abs(outward) <= 30 else "looking up" if outward > 0 else "looking down"
    azimuth, elevation = azimuth_elevation(camera, target)
    if elevation > 60:
        return "overhead view"
    if elevation < -60:
        return "bottom view"
    from_front = min(azimuth, 360 - azimuth)
    if from_front <= 45:
        return "front view"
    return "back view" if from_front >= 135 else "side view"
