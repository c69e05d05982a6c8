# SPDX-License-Identifier: GPL-3.0-or-later
"""What share of the surface the chosen cameras see, before anything runs; and where a camera is missing.

Points are spread over the surface by area; a camera sees a point that is in its picture, turned towards it and hidden
by nothing. Blender's own ray casting answers the last, in slices of a few milliseconds.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import bpy
import numpy as np
from mathutils import Vector

from .cameras import ORBIT_FIELD_OF_VIEW, View, bounding_sphere, look_at, perspective
from .meshes import slots_of

POINTS = 1500
GRAZING = 0.12  # cosine below which a surface is seen too flatly to be painted well
GLIMPSE = 0.1  # cosine below which the engine takes a surface for unseen
MOSTLY_BEHIND = 0.8  # of what is seen of an object: then it is inside out
PROBE = 8  # every eighth point is also asked whether it is seen from behind
LARGEST_AUTOMATIC = 40_000  # faces: what one slice can read; above that, only on request


class Surface:
    """Points on the evaluated surface of some objects.

    Args:
        objects: meshes; hidden parts of each other count.
        slots: by object, the only material slot whose faces count, where not all of them do.
    """

    def __init__(
        self,
        objects: Sequence[bpy.types.Object],
        depsgraph: bpy.types.Depsgraph,
        count: int = POINTS,
        slots: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.names = [thing.name for thing in objects]
        rng = np.random.default_rng(0)
        parts = [_triangles(thing, depsgraph, slots.get(thing.name)) for thing in objects]
        areas = np.concatenate([np.linalg.norm(_normals(*part), axis=1) for part in parts] or [np.zeros(0)])
        total = areas.cumsum(dtype=float)
        self.points = self.normals = np.zeros((0, 3))
        self.owners = np.zeros(0, int)  # [N] which of the objects a point is on
        self.box = np.zeros((2, 3))  # around everything
        self.size = 0.0
        if not len(total) or total[-1] <= 0:
            return
        ends = np.concatenate([np.stack([each.min(axis=0), each.max(axis=0)]) for each, _ in parts if len(each)])
        self.box = np.stack([ends.min(axis=0), ends.max(axis=0)])
        self.size = float(np.linalg.norm(np.ptp(ends, axis=0)))
        chosen = np.searchsorted(total, rng.random(count) * total[-1], side="right")
        chosen = np.minimum(chosen, len(total) - 1)
        self.owners = np.repeat(np.arange(len(parts)), [len(triangles) for _, triangles in parts])[chosen]
        chosen = _corners(parts, chosen)
        first, second = np.sqrt(rng.random(count)), rng.random(count)
        weights = np.stack([1 - first, first * (1 - second), first * second], axis=1)
        self.points = (chosen * weights[:, :, None]).sum(axis=1)  # [N, 3] world
        normals = np.cross(chosen[:, 1] - chosen[:, 0], chosen[:, 2] - chosen[:, 0])
        self.normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)  # [N, 3]

    def surrounds(self, view: View) -> bool:
        """Whether a camera stands within the box around everything."""
        position = view.matrix_world[:3, 3]
        return view.perspective and bool(((position > self.box[0]) & (position < self.box[1])).all())


def _triangles(
    thing: bpy.types.Object, depsgraph: bpy.types.Depsgraph, slot: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """World vertices [N, 3] float32 and triangles [F, 3] of an evaluated mesh, outward whatever its scale's sign."""
    evaluated = thing.evaluated_get(depsgraph)
    mesh = evaluated.to_mesh()
    try:
        mesh.calc_loop_triangles()
        vertices = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", vertices)
        corners = np.empty(len(mesh.loop_triangles) * 3, np.int32)
        mesh.loop_triangles.foreach_get("vertices", corners)
        triangles = corners.reshape(-1, 3)
        if slot is not None:
            polygons = np.empty(len(mesh.loop_triangles), np.int32)
            mesh.loop_triangles.foreach_get("polygon_index", polygons)
            triangles = triangles[slots_of(thing, mesh)[polygons] == slot]
    finally:
        evaluated.to_mesh_clear()
    matrix = np.array(evaluated.matrix_world, np.float32)
    world = vertices.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
    return world, triangles[:, ::-1] if np.linalg.det(matrix[:3, :3]) < 0 else triangles


def _normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """[F, 3] as long as twice the area. Written out: np.cross takes three times as long, and a window waits."""
    origin = vertices[triangles[:, 0]]
    a, b = (vertices[triangles[:, 1]] - origin).T, (vertices[triangles[:, 2]] - origin).T
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], axis=1)


def _corners(parts: Sequence[tuple[np.ndarray, np.ndarray]], chosen: np.ndarray) -> np.ndarray:
    """[N, 3, 3] the corners of the triangles `chosen`, which are counted over all parts."""
    starts = np.cumsum([0, *(len(triangles) for _, triangles in parts)])
    found = np.empty((len(chosen), 3, 3))
    for (vertices, triangles), start, end in zip(parts, starts, starts[1:], strict=False):
        mine = (chosen >= start) & (chosen < end)
        found[mine] = vertices[triangles[chosen[mine] - start]]
    return found


class Estimate:
    """What some views see of a surface; `step` works for a while, until `done`.

    Args:
        surface: where its objects turn out to be inside out (their cameras see hardly anything but backs of faces), it
            is turned over, as the engine does.
        views: those of the weight 0 look, and paint nothing.
        both_sides: backs of faces are painted, too.
    """

    def __init__(self, surface: Surface, views: Sequence[View], both_sides: bool = False) -> None:
        self.surface = surface
        self.views = list(views)
        self.both_sides = both_sides
        self.seen = np.zeros((len(self.views), len(surface.points)), bool)
        self.probes = np.arange(0, len(surface.points), PROBE)
        self.behind = np.zeros(len(self.probes), bool)  # seen from behind by some view
        self.glimpsed = np.zeros(len(self.views), bool)  # whether a view sees anything, however flatly
        self.done = False
        self._work = self._run()

    @property
    def painted(self) -> np.ndarray:
        """[N] bool: what some view paints."""
        weights = np.array([view.weight > 0 for view in self.views], bool)
        return self.seen[weights].any(axis=0)

    @property
    def share(self) -> float:
        """0 to 1: how much is painted."""
        return float(self.painted.mean()) if self.seen.size else 0.0

    @property
    def behind_share(self) -> float:
        """0 to 1: how much is seen from behind, and by no view from the front."""
        missed = self.behind & ~self.painted[self.probes]
        return float(missed.mean()) if len(missed) else 0.0

    @property
    def blind(self) -> list[str]:
        """The views that see nothing which they could paint; once it is done."""
        return [view.name for view, sees in zip(self.views, self.glimpsed, strict=True) if not sees]

    def step(self, budget: float = 0.005) -> bool:
        """Work for about `budget` seconds. Returns whether it is done."""
        deadline = time.perf_counter() + budget
        for _ in self._work:
            if time.perf_counter() > deadline:
                return False
        self.done = True
        return True

    def _run(self) -> Iterator[None]:
        yield from self._turn_outward()
        for number, view in enumerate(self.views):
            cosine = _cosine(self.surface, view)
            if self.both_sides:
                cosine = np.abs(cosine)
            yield
            for index in np.flatnonzero(cosine > GRAZING):
                if _unhidden(self.surface, int(index), view, self.both_sides):
                    self.seen[number, index] = True
                yield
            self.glimpsed[number] = self.seen[number].any()
            for index in np.flatnonzero((cosine > GLIMPSE) & (cosine <= GRAZING)):
                if self.glimpsed[number]:
                    break
                self.glimpsed[number] = _unhidden(self.surface, int(index), view, self.both_sides)
                yield
            for place, index in enumerate(self.probes):
                if cosine[index] < -GRAZING and not self.behind[place]:
                    self.behind[place] = _unhidden(self.surface, int(index), view, True)
                    yield

    def _turn_outward(self) -> Iterator[None]:
        """Turn those objects over that cameras around them see almost only from behind."""
        surface = self.surface
        sides = np.zeros((2, len(surface.names)), int)  # seen from the front, and from behind
        for view in [] if self.both_sides else self.views:
            if surface.surrounds(view):
                continue
            cosine = _cosine(surface, view)
            for index in self.probes[np.abs(cosine[self.probes]) > GRAZING]:
                if _unhidden(surface, int(index), view, True):
                    sides[int(cosine[index] < 0), surface.owners[index]] += 1
                yield
        inside_out = sides[1] > MOSTLY_BEHIND * np.maximum(sides.sum(axis=0), 1)
        if inside_out.any():
            surface.normals = np.where(inside_out[surface.owners][:, None], -surface.normals, surface.normals)


def _worth(surface: Surface, view: View, both_sides: bool = False) -> np.ndarray:
    """[N] how squarely each point is seen: the cosine, 0 where it is out of the picture or too flat."""
    cosine = _cosine(surface, view)
    cosine = np.abs(cosine) if both_sides else cosine
    return np.where(cosine > GRAZING, cosine, 0.0)


def _cosine(surface: Surface, view: View) -> np.ndarray:
    """[N] of the angle between a point's normal and the way to the camera; 0 where it is out of the picture."""
    homogeneous = np.concatenate([surface.points, np.ones((len(surface.points), 1))], axis=1)
    clip = homogeneous @ view.world_to_clip.T
    inside = (np.abs(clip[:, :3]) <= np.abs(clip[:, 3:])).all(axis=1) & (clip[:, 3] > 0)
    return np.where(inside, (surface.normals * _towards(surface, view)).sum(axis=1), 0.0)


def _towards(surface: Surface, view: View) -> np.ndarray:
    """[N, 3] unit vectors from each point to the camera."""
    if not view.perspective:
        axis = view.matrix_world[:3, 2] / np.linalg.norm(view.matrix_world[:3, 2])
        return np.broadcast_to(axis, surface.points.shape)
    towards = view.matrix_world[:3, 3] - surface.points
    return towards / np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-30)


def _unhidden(surface: Surface, index: int, view: View, either_side: bool = False) -> bool:
    """Whether nothing stands between a point and the camera; `either_side`: it may be seen from behind."""
    point, normal = Vector(surface.points[index]), Vector(surface.normals[index])
    if view.perspective:
        way = Vector(view.matrix_world[:3, 3]) - point
        distance = way.length
        way.normalize()
    else:
        way = Vector(view.matrix_world[:3, 2]).normalized()
        distance = 1e6 * surface.size
    if either_side and normal.dot(way) < 0:
        normal = -normal
    start = point + normal * (surface.size * 1e-4)
    for name in surface.names:
        thing = bpy.data.objects.get(name)
        if thing is not None and _hit(thing, start, way, distance):
            return False
    return True


def _hit(thing: bpy.types.Object, start: Vector, way: Vector, distance: float) -> bool:
    inverse = thing.matrix_world.inverted_safe()
    local_start = inverse @ start
    local_way = inverse.to_3x3() @ way
    length = local_way.length
    if length == 0:
        return False
    hit, *_ = thing.ray_cast(local_start, local_way / length, distance=distance * length)
    return bool(hit)


def best_new_view(
    surface: Surface,
    seen: np.ndarray,
    objects: Sequence[bpy.types.Object],
    directions: int = 48,
    both_sides: bool = False,
) -> tuple[View, float] | None:
    """A view of the objects that sees the most of what no camera sees yet.

    Args:
        seen: [N] bool, what is seen already.

    Returns:
        the view and the share of the surface it adds, or None where nothing is left to see.
    """
    missing = np.flatnonzero(~seen)
    if not len(missing):
        return None
    share = len(missing) / len(surface.points)
    missing = missing[:: max(1, len(missing) // 250)]  # enough to choose by, and quick enough for a button
    centre, radius = bounding_sphere(objects)
    distance = radius / math.sin(ORBIT_FIELD_OF_VIEW / 2) * 1.05
    projection = perspective(ORBIT_FIELD_OF_VIEW, distance * 0.01, distance + 2 * radius)
    best: tuple[View, float] | None = None
    candidates = []
    for number in range(directions):
        height = 1 - (2 * number + 1) / directions
        around = number * math.pi * (3 - math.sqrt(5))
        level = math.sqrt(1 - height * height)
        direction = Vector((level * math.sin(around), -level * math.cos(around), height))
        matrix = np.array(look_at(centre + direction * distance, centre), float)
        view = View("DDRep Camera", matrix, projection, 512, 512)
        candidates.append((_worth(surface, view, both_sides)[missing].sum(), number, view))
    candidates.sort(key=lambda each: (-each[0], each[1]))
    most = 0.0
    for hoped, _, view in candidates[:12]:  # an upper bound: only the hopeful ones are worth rays
        if hoped <= most:
            break
        worth = _worth(surface, view, both_sides)
        seen_new = [index for index in missing if worth[index] > 0 and _unhidden(surface, int(index), view, both_sides)]
        if worth[seen_new].sum() > most:
            most = worth[seen_new].sum()
            best = view, len(seen_new) / len(missing) * share
    return best
