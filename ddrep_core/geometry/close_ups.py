"""Cameras that look closely where others see too little of a texture: chosen one by one, each where it adds most."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ddrep_core.geometry.footprints import PAINTS
from ddrep_core.geometry.mesh import Float, Mesh
from ddrep_core.geometry.raycast import RayCaster, ray_caster
from ddrep_core.geometry.texels import covered_share, rasterize
from ddrep_core.views import Camera, Views
from ddrep_core.views.orbit import direction, look_at, perspective_projection

PLACES = 6000  # on the surface, by which it is told what is seen how finely
CANDIDATES, A_CLOSE_UP = 256, 4
FOV_DEGREES = 40.0  # as orbits have it
LOWEST, HIGHEST = -50.0, 75.0  # degrees above the horizon: things upside down are strange to a prior
STRAIGHT = 0.3  # cosine below which a close-up adds nothing
INNER = 0.85  # of a close-up's frame, from its middle: what lies further out is better painted from elsewhere
COARSER = tuple(2 ** (step / 2) for step in range(9))
"""Where there are too few cameras to resolve every texel, how much more each of them sees at once."""
NEARER = 1.25  # than the nearest other view, at least
LEAST_GAIN = 0.1  # of what the first camera resolves: one more that adds less is not worth its price
NEGLIGIBLE = 1e-5  # of all texels


@dataclass(frozen=True)
class CloseUps:
    """What was chosen.

    Attributes:
        cameras: in an order in which neighbours follow each other.
        before, after: how much of the texture is resolved without and with them: the mean, over what the other views
            see, of how many of their pixels lie along a texel's side, at most 1.
    """

    cameras: tuple[Camera, ...]
    before: float
    after: float


def close_ups(
    mesh: Mesh,
    views: Views,
    resolution: int,
    size: int,
    most: int,
    left_out: Mapping[str, NDArray[np.bool_]] | None = None,
) -> CloseUps:
    """The cameras that resolve the texels which `views` see, but do not resolve.

    Where `most` of them cannot resolve every texel, they stand further away: so that as much as possible of the texture
    becomes as fine as possible.

    Args:
        resolution: T of the textures.
        size: of the close-ups' pictures, pixels a side; the views' have the same.
        most: close-ups.
        left_out: by part name, [T', T'] texels of which nothing is to be painted.
    """
    caster = ray_caster(mesh)
    places = _places(mesh, caster, resolution, left_out or {})
    seen = np.zeros(len(places.points))
    for camera in views:
        fine = places.resolved_by(caster, camera, size, PAINTS, 1.0)
        seen = np.maximum(seen, fine)
    places, seen = places.of(seen > 0), seen[seen > 0]
    before = np.minimum(seen, 1.0)
    if not len(seen):
        return CloseUps((), 0.0, 0.0)
    spread = _spread(places.points, CANDIDATES)
    best, distance = float(before.mean()), None
    few = spread[: max(CANDIDATES // 4, A_CLOSE_UP * most)]  # of the places tell how far away to stand
    for coarser in COARSER:
        after = _greedy(_candidates(places, few, caster, seen, size, coarser)[1], before, most)[1]
        if after > best:
            best, distance = after, coarser
        elif distance is not None:  # further away still, they see less of each texel than they see more of them
            break
    if distance is None:
        return CloseUps((), float(before.mean()), float(before.mean()))
    cameras, fine = _candidates(places, spread, caster, seen, size, distance)
    found, best = _greedy(fine, before, most)
    chosen = tuple(cameras[number] for number in found)
    return CloseUps(_named(_neighbours(chosen)), float(before.mean()), best)


@dataclass(frozen=True)
class _Places:
    """[P, 3] points of the surface, [P, 3] normals, and [P] how long the side of a texel is there."""

    points: Float
    normals: Float
    texel: Float

    @cached_property
    def beside(self) -> Float:
        """[2, P, 3] points one texel away, along two directions that are square to each other."""
        x, y = np.eye(3)[:2]
        along = np.cross(self.normals, np.where(np.abs(self.normals[:, :1]) < 0.9, x, y)).astype(np.float64)
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        step = self.texel[:, None]
        across = np.cross(self.normals, along).astype(np.float64)
        return np.stack([self.points + step * along, self.points + step * across])

    def of(self, chosen: NDArray[np.bool_]) -> _Places:
        return _Places(self.points[chosen], self.normals[chosen], self.texel[chosen])

    def resolved_by(
        self, caster: RayCaster, camera: Camera, size: int, least_cosine: float, inner: float
    ) -> NDArray[np.float64]:
        """[P] pixels of a camera's picture along a texel's side; 0 where it does not see the place."""
        fine = np.zeros(len(self.points))
        pixels, depth = camera.project(self.points)
        middle = np.abs(pixels / (camera.width, camera.height) * 2 - 1).max(axis=1)
        near = np.flatnonzero((middle <= inner) & ((depth > 0) | camera.is_orthographic))
        points, normals = self.points[near], self.normals[near]
        visible = caster.visible(camera, points, normals, least_cosine)
        near = near[visible]
        corners = np.concatenate([self.points[near], *self.beside[:, near]])
        here, right, down = np.split(camera.project(corners)[0] * (size / camera.width, size / camera.height), 3)
        a, b = right - here, down - here
        fine[near] = np.sqrt(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]))
        return fine


def _places(mesh: Mesh, caster: RayCaster, resolution: int, left_out: Mapping[str, NDArray[np.bool_]]) -> _Places:
    """Evenly over the textures."""
    share = sum(covered_share(part) for part in mesh.textured_parts)
    coarse = int(np.clip(math.sqrt(PLACES / max(share, 1e-6)), 16, resolution))
    starts = dict(zip((part.name for part in mesh.parts), mesh.face_starts, strict=False))
    points, normals, sides = [], [], []
    for part in mesh.textured_parts:
        texels = rasterize(part, coarse)
        free = np.ones(len(texels.index), bool)
        if (mask := left_out.get(part.name)) is not None:
            row, column = np.divmod(texels.index, coarse)
            free = ~mask[(row * 2 + 1) * len(mask) // (2 * coarse), (column * 2 + 1) * len(mask) // (2 * coarse)]
        assert part.uv is not None
        edges, flat = part.triangles[:, 1:] - part.triangles[:, :1], part.uv[:, 1:] - part.uv[:, :1]
        area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
        in_texture = np.abs(flat[:, 0, 0] * flat[:, 1, 1] - flat[:, 0, 1] * flat[:, 1, 0])
        side = np.sqrt(area / np.maximum(in_texture, 1e-14)) / resolution
        face = texels.face[free]
        points.append(texels.positions(part, free))
        normals.append(caster.face_normals[starts[part.name] + face])
        sides.append(side[face])
    found = _Places(np.concatenate(points), np.concatenate(normals), np.concatenate(sides))
    return found.of((found.texel > 0) & np.isfinite(found.points).all(axis=1))


def _candidates(
    places: _Places, spread: list[int], caster: RayCaster, seen: NDArray[np.float64], size: int, coarser: float
) -> tuple[list[Camera], NDArray[np.float64]]:
    """Cameras before some places, by their numbers, and [M, P] what each resolves."""
    cameras, rows = [], []
    for number in spread:
        radius = coarser * places.texel[number] * size / 2
        if seen[number] * NEARER * coarser > 1:  # others see it as closely
            continue
        near = np.linalg.norm(places.points - places.points[number], axis=1) < radius
        normal = places.normals[number]
        facing = near & (places.normals @ normal > 0)
        normal = places.normals[facing].mean(axis=0)
        camera = _before(places.points[number], normal, radius, size)
        fine = places.resolved_by(caster, camera, size, STRAIGHT, INNER)
        cameras.append(camera)
        rows.append(fine)
    return cameras, np.stack(rows) if rows else np.zeros((0, len(seen)))


def _before(point: Float, normal: Float, radius: float, size: int) -> Camera:
    """A camera that looks at a point from where the surface faces, and sees this far around it."""
    azimuth = math.atan2(normal[0], -normal[1])
    elevation = math.degrees(math.atan2(normal[2], math.hypot(normal[0], normal[1])))
    outward = direction(azimuth, math.radians(float(np.clip(elevation, LOWEST, HIGHEST))))
    distance = radius / math.tan(math.radians(FOV_DEGREES) / 2)
    projection = perspective_projection(FOV_DEGREES, near=1e-3 * distance, far=1e3 * distance)
    return Camera("close-up", look_at(point + distance * outward, point), projection, size, size, of_a_part=True)


def _greedy(fine: NDArray[np.float64], before: NDArray[np.float64], most: int) -> tuple[list[int], float]:
    """The candidates that resolve most together, each the best that is left; and how much is resolved with them."""
    now, found, least = before, [], NEGLIGIBLE
    while len(found) < min(most, len(fine)):
        gains = np.maximum(np.minimum(fine, 1.0), now).mean(axis=1) - now.mean()
        best = int(gains.argmax())
        if gains[best] < least:
            break
        least = max(least, LEAST_GAIN * float(gains[best])) if not found else least
        found.append(best)
        now = np.maximum(now, np.minimum(fine[best], 1.0))
    return found, float(now.mean())


def _spread(points: Float, count: int) -> list[int]:
    """Of points [P, 3], so many that lie far from each other."""
    found = [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmax())]
    away = np.full(len(points), np.inf)
    while len(found) < min(count, len(points)):
        away = np.minimum(away, np.linalg.norm(points - points[found[-1]], axis=1))
        found.append(int(away.argmax()))
    return found


def _neighbours(cameras: tuple[Camera, ...]) -> list[Camera]:
    """From each to the nearest that is left."""
    left = list(cameras)
    found = left[:1]
    left = left[1:]
    while left:
        gaps = [np.linalg.norm(each.position - found[-1].position) for each in left]
        found.append(left.pop(int(np.argmin(gaps))))
    return found


def _named(cameras: list[Camera]) -> tuple[Camera, ...]:
    return tuple(replace(camera, name=f"close-up {number + 1}") for number, camera in enumerate(cameras))
