"""The cameras of a job: those that see something, framed as a prior likes to see things."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ddrep_core.errors import RequestError
from ddrep_core.geometry.coverage import best_seen
from ddrep_core.geometry.facing import PAINT_BACKS, seen_backs, turned_outward, warn_of_backs
from ddrep_core.geometry.mesh import Mesh, extremes, used_vertices
from ddrep_core.geometry.sight import Sight, sights
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.placement import Placement
from ddrep_core.jobs.request import Request
from ddrep_core.views import Camera, Views, orbit_views, side_views, views_from
from ddrep_core.views.orbit import SIDES

MARGIN = 0.06  # of the object's size in the picture, left free on each side
FRONT_BACK = ("front", "back")
CANDIDATE_ELEVATIONS, CANDIDATES_AROUND = (-30.0, 0.0, 15.0, 45.0, 70.0), 16
MOST_NAMES = 8  # in a sentence
SEES = {
    Sight.nothing: ("sees nothing of the mesh", "see nothing of the mesh"),
    Sight.within: (
        "stands inside the mesh and sees only backs of faces, which are not painted",
        "stand inside the mesh and see only backs of faces, which are not painted",
    ),
    Sight.behind: (
        "sees the mesh only from behind or edge on, where it is not painted",
        "see the mesh only from behind or edge on, where it is not painted",
    ),
}
"""What is said of one camera, and of several."""


@dataclass(frozen=True)
class LeftOut:
    """Cameras that are not sampled, because none of them sees anything that it could paint.

    Attributes:
        names: of the cameras, in their order.
        why: what they see instead.
    """

    names: tuple[str, ...]
    why: Sight

    def __str__(self) -> str:
        return f"{_cameras(self.names)} {SEES[self.why][len(self.names) > 1]}"

    def words(self, kept: int) -> str:
        """The note for a person: what became of them, where `kept` others are sampled."""
        rest = "it is left out" if len(self.names) == 1 else "they are left out"
        advice = "" if self.why is Sight.nothing else f" {PAINT_BACKS}"
        return f"{self}; {rest}, and {kept} {'view is' if kept == 1 else 'views are'} sampled.{advice}"


@dataclass(frozen=True)
class Outlook:
    """A mesh and those of a job's views that see it.

    Attributes:
        mesh: with the outsides of its parts as the cameras see them.
        views: those that see something to paint.
        left_out: the others, by reason.
        turned_degrees: how far an orbit of ours was turned around Z, because from where it begins none of its views
            sees anything.
    """

    mesh: Mesh
    views: Views
    left_out: tuple[LeftOut, ...] = ()
    turned_degrees: float = 0.0

    @property
    def left_out_names(self) -> list[str]:
        """All cameras that are not sampled."""
        return [name for group in self.left_out for name in group.names]


def request_cameras(request: Request, folder: JobFolder) -> Views | Placement:
    """The cameras of the request's camera file, or where they are to be placed.

    Raises:
        RequestError: the file is missing or holds no good cameras.
    """
    return request.placement or Views.load(folder.resolve(request.cameras))


def sampled_views(cameras: Views | Placement | int, mesh: Mesh, size: int, front_degrees: float = 0.0) -> Views:
    """The views that a job samples, each `size` x `size` pixels.

    An orbit is made around the mesh, and begins in front of it: `front_degrees` around Z from -Y towards +X (a number
    is an orbit of so many); and so are other placements. All
    cameras keep their place and perspective; their frames are cut (or widened) to a square around what they see of the
    textured parts, because a prior spends its few pixels best on the object, and was trained on square pictures.
    """
    if not isinstance(cameras, Views):
        cameras = placed(_placement(cameras), mesh, size, front_degrees)
    points = np.concatenate([part.vertices[used_vertices(part)] for part in mesh.textured_parts])
    framed = tuple(square_frame(camera, points, size) for camera in cameras)
    return Views(framed, mesh.bounds.mean(axis=0), front_degrees)


def _placement(cameras: Placement | int) -> Placement:
    return Placement("orbit", cameras) if isinstance(cameras, int) else cameras


def placed(placement: Placement, mesh: Mesh, size: int, front_degrees: float = 0.0) -> Views:
    """The cameras of a placement around a mesh, before they are framed."""
    if placement.kind == "orbit":
        return orbit_views(
            count=placement.count,
            target=mesh,
            width=size,
            height=size,
            start_degrees=front_degrees,
            orthographic=placement.orthographic,
        )
    if placement.kind == "coverage":
        candidates = views_from(_around(front_degrees), None, 40.0, mesh, size, size, placement.orthographic)
        return candidates[best_seen(mesh, candidates, placement.count)[0]]
    names = FRONT_BACK if placement.kind == "front-back" else [name for name, _, _ in SIDES]
    return side_views(names, mesh, size, size, front_degrees, placement.orthographic)


def _around(front_degrees: float) -> list[tuple[str, float, float]]:
    """Name, azimuth and elevation of the places that a choice by coverage is made among."""
    found = [("top", front_degrees, 90.0), ("bottom", front_degrees, -90.0)]
    for elevation in CANDIDATE_ELEVATIONS:
        count = CANDIDATES_AROUND if abs(elevation) < 60 else CANDIDATES_AROUND // 2
        for number in range(count):
            azimuth = 360.0 * number / count
            found.append((f"{azimuth:g} around, {elevation:g} up", front_degrees + azimuth, elevation))
    return found


def look_at_mesh(
    cameras: Views | Placement | int, mesh: Mesh, size: int, across: int, front_degrees: float = 0.0
) -> Outlook:
    """The views that a job samples: `sampled_views` without those that see nothing which they could paint.

    A view that sees nothing would be sampled for nothing, and a single one of an animation that looks away is no reason
    to refuse the others. A job is the same as one that never had them. Where not one view of an orbit sees anything (a
    sign seen edge on), the orbit begins where the faces look.

    Args:
        cameras, size, front_degrees: as `sampled_views` takes them.
        mesh: what they look at.
        across: rays along each side of a picture, by which to tell what it sees; those of the representation.

    Raises:
        RequestError: none sees anything; the message says what each sees instead.
    """
    outlook = _outlook(sampled_views(cameras, mesh, size, front_degrees), mesh, across)
    if isinstance(outlook, Outlook):
        return outlook
    if not isinstance(cameras, Views) and (towards := _faces_look(mesh)) is not None:
        orbit = placed(_placement(cameras), mesh, size, towards)
        turned = _outlook(sampled_views(orbit, mesh, size, front_degrees), mesh, across)
        if isinstance(turned, Outlook):
            return replace(turned, turned_degrees=round((towards - front_degrees + 180) % 360 - 180, 1))
    raise _refusal(outlook)


def _outlook(views: Views, mesh: Mesh, across: int) -> Outlook | tuple[LeftOut, ...]:
    """What is left of these views; where nothing is, what they see instead."""
    backs = seen_backs(mesh, views)
    mesh = turned_outward(mesh, backs)
    found = sights(mesh, views, across)
    kept = [number for number, what in enumerate(found) if what is Sight.surface]
    left_out = grouped(views, found)
    if not kept:
        return left_out
    if left_out and not (views[kept].weights > 0).any():
        raise RequestError(
            "The cameras that see something of the mesh have the weight zero.", "Give one of them a positive weight."
        )
    warn_of_backs(mesh, backs, kept)
    return Outlook(mesh, views[kept], left_out)


def grouped(views: Views, found: Sequence[Sight]) -> tuple[LeftOut, ...]:
    """The cameras that see nothing to paint, by reason."""
    pairs = list(zip((camera.name for camera in views), found, strict=True))
    names = {why: tuple(name for name, sight in pairs if sight is why) for why in SEES}
    return tuple(LeftOut(names[why], why) for why in SEES if names[why])


def _refusal(left_out: Sequence[LeftOut]) -> RequestError:
    """Why there is nothing to sample."""
    whys = {group.why for group in left_out}
    said = [str(group) for group in left_out]
    advice = []
    if whys - {Sight.nothing}:
        advice.append(PAINT_BACKS)
    if Sight.nothing in whys:
        advice.append("Turn a camera to the mesh, or take away what stands before it.")
    return RequestError(". ".join(said) + ".", " ".join(advice))


def _cameras(names: Sequence[str]) -> str:
    """ "Camera 'a'", "The cameras 'a', 'b' and 'c'", "The cameras 'a', …, 'h' and 92 more"."""
    quoted = [f"'{name}'" for name in names]
    if len(quoted) == 1:
        return f"Camera {quoted[0]}"
    if len(quoted) > MOST_NAMES:
        quoted = [*quoted[:MOST_NAMES], f"{len(quoted) - MOST_NAMES} more"]
    return f"The cameras {', '.join(quoted[:-1])} and {quoted[-1]}"


def _faces_look(mesh: Mesh) -> float | None:
    """Where the textured faces look on the whole, in degrees around Z from -Y towards +X; None where nowhere."""
    edges = np.concatenate([part.triangles[:, 1:] - part.triangles[:, :1] for part in mesh.textured_parts])
    normals = np.cross(edges[:, 0], edges[:, 1])
    x, y, _ = normals.sum(axis=0)
    if math.hypot(x, y) <= 1e-6 * np.linalg.norm(normals, axis=1).sum():
        return None
    return math.degrees(math.atan2(x, -y))


def square_frame(camera: Camera, points: NDArray[np.float64], size: int) -> Camera:
    """The same camera with its picture moved and scaled to a square around `points` ([N, 3]).

    What lies outside the camera's own frame does not widen it. Points behind the camera are not seen; if no point is
    seen at all, the whole frame is kept, made square.
    """
    pixels, depth = camera.project(points)
    seen = pixels[(depth > 0) | camera.is_orthographic]
    frame = np.array([[0.0, 0.0], [camera.width, camera.height]])
    if len(seen):
        box = np.clip(extremes(seen), frame[0], frame[1])
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
