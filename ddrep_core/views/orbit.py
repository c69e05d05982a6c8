"""Cameras made for an object: rings around it, and the matrices they need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ddrep_core.errors import RequestError
from ddrep_core.views.camera import Camera, Views

Float = NDArray[np.float64]


def direction(azimuth: float, elevation: float) -> Float:
    """[3] the unit vector `azimuth` radians around Z from -Y towards +X, and `elevation` radians above the horizon."""
    return np.array(
        [math.sin(azimuth) * math.cos(elevation), -math.cos(azimuth) * math.cos(elevation), math.sin(elevation)]
    )


def look_at(position: ArrayLike, target: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> Float:
    """[4, 4] matrix_world of a camera at `position` that looks at `target`, with `up` upward in its picture."""
    position = np.asarray(position, dtype=np.float64)
    backward = position - np.asarray(target, dtype=np.float64)
    length = np.linalg.norm(backward)
    if length < 1e-12:
        raise RequestError("A camera cannot stand on the point it looks at.", "Give it a distance above zero.")
    backward /= length
    right = np.cross(np.asarray(up, dtype=np.float64), backward)
    if np.linalg.norm(right) < 1e-9:  # straight down or up: keep the front (-Y) at the picture's lower edge
        right = np.cross(np.array([0.0, 1.0, 0.0]) * (1 if backward[2] > 0 else -1), backward)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = right, np.cross(backward, right), backward, position
    return matrix


def perspective_projection(fov_degrees: float, aspect: float = 1.0, near: float = 0.01, far: float = 1000.0) -> Float:
    """[4, 4] clip matrix of a camera whose larger picture side spans `fov_degrees`; aspect = width / height."""
    if not 0 < fov_degrees < 180:
        raise RequestError(f"A field of view of {fov_degrees} degrees is not possible.", "Choose between 5 and 120.")
    focal = 1 / math.tan(math.radians(fov_degrees) / 2)
    x, y = (focal, focal * aspect) if aspect >= 1 else (focal / aspect, focal)
    return np.array(
        [
            [x, 0, 0, 0],
            [0, y, 0, 0],
            [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)],
            [0, 0, -1, 0],
        ]
    )


def orthographic_projection(half: float, aspect: float = 1.0, near: float = 0.01, far: float = 1000.0) -> Float:
    """[4, 4] clip matrix of a camera without perspective; the smaller picture side spans 2 * `half` of the world."""
    x, y = (1 / (half * aspect), 1 / half) if aspect >= 1 else (1 / half, aspect / half)
    return np.array(
        [[x, 0, 0, 0], [0, y, 0, 0], [0, 0, -2 / (far - near), -(far + near) / (far - near)], [0, 0, 0, 1]], np.float64
    )


def bounding_sphere(target: Any) -> tuple[Float, float]:
    """Centre [3] and radius of what is looked at: a mesh with `bounds` [2, 3], or a point (radius 0.5)."""
    bounds = getattr(target, "bounds", None)
    if bounds is None:
        return np.asarray((0, 0, 0) if target is None else target, dtype=np.float64).reshape(3), 0.5
    bounds = np.asarray(bounds, dtype=np.float64)
    return bounds.mean(axis=0), float(np.linalg.norm(bounds[1] - bounds[0]) / 2)


def orbit_views(
    count: int = 8,
    elevations: Sequence[float] = (15.0, 45.0),
    distance: float | None = None,
    fov_degrees: float = 40.0,
    target: Any = None,
    width: int = 512,
    height: int = 512,
    start_degrees: float = 0.0,
    orthographic: bool = False,
) -> Views:
    """Cameras evenly around an object, the elevations taken in turn, the first one at -Y, the front as long as
    nobody says otherwise (`Views.with_front`).

    Args:
        count: how many views.
        elevations: degrees above the horizon, used one after another around the ring.
        distance: from the target's centre, in the world's units; chosen so that the object fits when not given.
        fov_degrees: the angle that the picture's larger side spans.
        target: a mesh (anything with `bounds` [2, 3]), a point [3], or None for the origin.
        start_degrees: azimuth of the first camera, counted from -Y towards +X.
        orthographic: parallel rays; the distance is then only where they begin, and the angle says nothing.

    Raises:
        RequestError: count below one, an impossible field of view, an elevation beyond the poles.
    """
    if count < 1:
        raise RequestError(f"An orbit of {count} cameras sees nothing.", "Ask for at least one, e.g. orbit:8.")
    if not elevations or any(not -90 <= e <= 90 for e in elevations):
        raise RequestError(f"Elevations must lie between -90 and 90 degrees, not {tuple(elevations)}.")
    places = [
        (f"orbit {index}", start_degrees + 360.0 * index / count, elevations[index % len(elevations)])
        for index in range(count)
    ]
    return views_from(places, distance, fov_degrees, target, width, height, orthographic)


SIDES = (
    ("front", 0.0, 0.0),
    ("left", 90.0, 0.0),
    ("back", 180.0, 0.0),
    ("right", 270.0, 0.0),
    ("top", 0.0, 90.0),
    ("bottom", 0.0, -90.0),
)
"""The object's own sides: name, degrees around it from its front towards its left, and above the horizon."""


def side_views(
    names: Sequence[str],
    target: Any,
    width: int = 512,
    height: int = 512,
    start_degrees: float = 0.0,
    orthographic: bool = False,
) -> Views:
    """Cameras that look at some of an object's `SIDES`, straight on; from the top, its front is at the lower edge.

    Args:
        start_degrees: where its front is, from -Y towards +X. The others as for `orbit_views`.
    """
    chosen = [side for side in SIDES if side[0] in names]
    views = views_from(chosen, None, 40.0, target, width, height, orthographic)
    cosine, sine = math.cos(math.radians(start_degrees)), math.sin(math.radians(start_degrees))
    turn = np.array([[cosine, -sine, 0, 0], [sine, cosine, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    turn[:3, 3] = views.target - turn[:3, :3] @ views.target
    return replace(views, cameras=tuple(replace(each, matrix_world=turn @ each.matrix_world) for each in views))


def views_from(
    places: Sequence[tuple[str, float, float]],
    distance: float | None,
    fov_degrees: float,
    target: Any,
    width: int,
    height: int,
    orthographic: bool = False,
) -> Views:
    """Cameras that look at a target's centre from some places around it: `orbit_views` says of all else.

    Args:
        places: name, azimuth from -Y towards +X and elevation in degrees.
    """
    centre, radius = bounding_sphere(target)
    projection = perspective_projection(fov_degrees, width / height)
    if distance is None:
        # The narrower half-angle holds the bounding sphere, with a margin of one twentieth. For most objects the
        # sphere is larger than what is seen, so take it at nine tenths.
        half = math.atan(1 / max(projection[0, 0], projection[1, 1]))
        distance = 1.05 * 0.9 * radius / math.sin(half)
    if not (math.isfinite(distance) and distance > 0):
        raise RequestError(f"A camera distance of {distance} is not possible.", "Give a positive number.")
    far = max(1000.0, 10 * (distance + radius))
    near = distance * 1e-3
    if orthographic:
        projection = orthographic_projection(1.05 * 0.9 * radius, width / height, near, far)
    else:
        projection = perspective_projection(fov_degrees, width / height, near, far)
    cameras = []
    for name, azimuth, elevation in places:
        offset = direction(math.radians(azimuth), math.radians(elevation))
        cameras.append(Camera(name, look_at(centre + distance * offset, centre), projection, width, height))
    return Views(tuple(cameras), centre)
