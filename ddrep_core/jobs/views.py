"""The cameras of a job, framed as a prior likes to see things: square, the object filling the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ddrep_core.geometry.mesh import Mesh
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.request import Request
from ddrep_core.views import Camera, Views, orbit_views

MARGIN = 0.06  # of the object's size in the picture, left free on each side


def request_cameras(request: Request, folder: JobFolder) -> Views | int:
    """The cameras of the request's camera file, or how many an orbit has.

    Raises:
        RequestError: the file is missing or holds no good cameras.
    """
    return request.orbit_count or Views.load(folder.resolve(request.cameras))


def sampled_views(cameras: Views | int, mesh: Mesh, size: int, front_degrees: float = 0.0) -> Views:
    """The views that a job samples, each `size` x `size` pixels.

    An orbit is made around the mesh, and begins in front of it: `front_degrees` around Z from -Y towards +X. All
    cameras keep their place and perspective; their frames are cut (or widened) to a square around what they see of the
    textured parts, because a prior spends its few pixels best on the object, and was trained on square pictures.
    """
    if isinstance(cameras, int):
        cameras = orbit_views(count=cameras, target=mesh, width=size, height=size, start_degrees=front_degrees)
    points = np.concatenate([part.vertices[np.unique(part.faces)] for part in mesh.textured_parts])
    framed = tuple(square_frame(camera, points, size) for camera in cameras)
    return Views(framed, mesh.bounds.mean(axis=0), front_degrees)


def square_frame(camera: Camera, points: NDArray[np.float64], size: int) -> Camera:
    """The same camera with its picture moved and scaled to a square around `points` ([N, 3]).

    What lies outside the camera's own frame does not widen it. Points behind the camera are not seen; if no point is
    seen at all, the whole frame is kept, made square.
    """
    pixels, depth = camera.project(points)
    seen = pixels[(depth > 0) | camera.is_orthographic]
    frame = np.array([[0.0, 0.0], [camera.width, camera.height]])
    if len(seen):
        box = np.clip(np.stack([seen.min(axis=0), seen.max(axis=0)]), frame[0], frame[1])
        # A point behind the camera means that the object reaches past it: it may then fill the frame anywhere.
        if len(seen) == len(points) and (box[1] > box[0]).all():
            frame = box
    # Pixels need not be square in the world (pixel aspect): judge sides by the angle they span.
    across = np.array([1 / camera.projection[0, 0], 1 / camera.projection[1, 1]]) / (camera.width, camera.height)
    sides = (frame[1] - frame[0]) * across
    side = sides.max() * (1 + 2 * MARGIN) / across  # in pixels of each axis
    centre = frame.mean(axis=0)
    # From the old clip space to the new one: x' = (x - middle) / half, with y counted upward.
    full = np.array([camera.width, camera.height], dtype=np.float64)
    half = side / full
    middle = (2 * centre / full - 1) * (1, -1)
    crop = np.eye(4)
    crop[0, 0], crop[1, 1] = 1 / half
    crop[:2, 3] = -middle / half
    return replace(camera, projection=crop @ camera.projection, width=size, height=size)
