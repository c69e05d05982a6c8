"""What a ray meets first: Embree (embreex) on the CPU, with exact places recomputed in double precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddrep_core.geometry.kept import kept
from ddrep_core.geometry.mesh import Float, Int, Mesh
from ddrep_core.views import Camera, Views

FARTHEST_DEPTH = 0.25  # value of the object's farthest point in a depth map, so that it stands off the background's 0


@dataclass(frozen=True)
class Hits:
    """What N rays met.

    Args:
        face: [N] number of the face through all parts of the mesh, -1 where a ray met nothing.
        barycentric: [N, 3] where in the face; zero where nothing was met.
        distance: [N] along the ray in the world's units, infinite where nothing was met.
        cosine: [N] between the ray and the face's normal: 1 seen straight on, 0 edge on, negative from behind; never
            negative where the mesh is painted on both sides.
    """

    face: Int
    barycentric: Float
    distance: Float
    cosine: Float

    @property
    def hit(self) -> NDArray[np.bool_]:
        """[N] whether a ray met anything."""
        return self.face >= 0


class RayCaster:
    """A mesh ready to be met by rays. All its parts stand in each other's way."""

    def __init__(self, mesh: Mesh) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self.mesh = mesh
        # Embree works in single precision: centre and scale first, so that far-away objects lose nothing.
        self._centre = mesh.bounds.mean(axis=0)
        self._scale = float(np.ptp(mesh.bounds, axis=0).max()) or 1.0
        self._scene = EmbreeScene()
        self._triangles = mesh.triangles
        with np.errstate(over="ignore"):  # of vertices that no face uses
            vertices = ((mesh.vertices - self._centre) / self._scale).astype(np.float32)
        TriangleMesh(self._scene, vertices, mesh.faces.astype(np.int32))
        edges = self._triangles[:, 1:] - self._triangles[:, :1]
        normals = np.cross(edges[:, 0], edges[:, 1])
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        outward = np.array([-1.0 if part.inside_out else 1.0 for part in mesh.parts])[mesh.part_of_face, None]
        self.face_normals: Float = outward * normals / np.where(length > 0, length, 1.0)  # [F, 3]

    def cast(self, origins: Float, directions: Float) -> Hits:
        """The first face that each ray meets, from either side.

        Args:
            origins, directions: [N, 3], directions of unit length.
        """
        origins = np.ascontiguousarray(origins.reshape(-1, 3), np.float64)
        directions = np.ascontiguousarray(directions.reshape(-1, 3), np.float64)
        face = np.asarray(self._first(origins, directions), np.int64)
        hit = face >= 0
        barycentric = np.zeros((len(face), 3))
        distance = np.full(len(face), np.inf)
        cosine = np.zeros(len(face))
        barycentric[hit], distance[hit] = _intersect(origins[hit], directions[hit], self._triangles[face[hit]])
        cosine[hit] = self._straightness(directions[hit], self.face_normals[face[hit]])
        return Hits(face, barycentric, distance, cosine)

    def _straightness(self, directions: Float, normals: Float) -> Float:
        """[N] cosines between rays and the surfaces they meet."""
        cosine = -np.einsum("ij,ij->i", directions, normals)
        return np.abs(cosine) if self.mesh.both_sides else cosine

    def _local(self, points: Float) -> NDArray[np.float32]:
        local = np.empty(points.shape, np.float32)
        for k in range(3):  # many times as fast as rows of three
            local[:, k] = (points[:, k] - self._centre[k]) / self._scale
        return local

    def _first(self, origins: Float, directions: Float) -> NDArray[np.int32]:
        return self._scene.run(self._local(origins), directions.astype(np.float32), query="INTERSECT")

    def cast_single(self, origins: Float, directions: Float) -> tuple[Int, NDArray[np.float32], NDArray[np.float32]]:
        """Face [N] (-1 for none), barycentric [N, 3] and distance [N] as Embree gives them: enough for pictures."""
        found = self._scene.run(self._local(origins), directions.astype(np.float32), query="INTERSECT", output=1)
        u, v = found["u"], found["v"]
        return found["primID"].astype(np.int64), np.stack([1 - u - v, u, v], axis=1), found["tfar"] * self._scale

    def pixel_hits(self, camera: Camera, width: int, height: int, subsamples: int = 1) -> tuple[Int, Hits]:
        """What a camera sees through the pixels of a width x height picture, with subsamples² rays in each.

        Rays that cannot meet the mesh, outside its rectangle in the picture, are left out.

        Returns:
            pixel [N], row * width + column of each ray, and the hits, in the order of rows, columns, subsamples.
        """
        left, top, right, bottom = self._rectangle(camera, width, height)
        offsets = (np.arange(subsamples) + 0.5) / subsamples
        y, x, dy, dx = np.meshgrid(np.arange(top, bottom), np.arange(left, right), offsets, offsets, indexing="ij")
        points = np.stack([x + dx, y + dy], axis=-1).reshape(-1, 2)
        pixel = (y * width + x).reshape(-1).astype(np.int64)
        return pixel, self.cast(*camera.rays(points, width, height))

    def _rectangle(self, camera: Camera, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the pixels that can show the mesh; everything where it reaches behind."""
        low, high = self.mesh.bounds
        corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
        pixels, depth = camera.project(corners)
        if not camera.is_orthographic and (depth <= 1e-6 * self._scale).any():
            return 0, 0, width, height
        pixels = pixels * (width / camera.width, height / camera.height)
        left, top = np.clip(np.floor(pixels.min(axis=0)), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(pixels.max(axis=0)), 0, (width, height)).astype(int)
        return left, top, right, bottom

    def visible(
        self, camera: Camera, points: Float, normals: Float, least_cosine: float = 0.0, tolerance: float = 2e-3
    ) -> NDArray[np.bool_]:
        """[N] which surface points a camera sees: within its picture, from the front (or from behind, where both sides
        are painted), and nothing stands before them.

        Args:
            points, normals: [N, 3] in the world, normals of unit length.
            least_cosine: between the normal and the ray back to the camera.
            tolerance: how much nearer than the point a hit may be, as a share of the mesh's size.
        """
        seen = np.zeros(len(points), bool)
        pixels, depth = camera.project(points)
        inside = (depth > 0) & (pixels >= 0).all(axis=1) & (pixels <= (camera.width, camera.height)).all(axis=1)
        candidate = np.flatnonzero(inside)
        origins, directions = camera.rays_to(points[candidate])
        facing = self._straightness(directions, normals[candidate]) > least_cosine
        candidate, origins, directions = candidate[facing], origins[facing], directions[facing]
        first = self._first(origins, directions).astype(np.int64)
        reach = np.einsum("ij,ij->i", points[candidate] - origins, directions)
        hit = first >= 0
        distance = np.full(len(first), np.inf)
        distance[hit] = _intersect(origins[hit], directions[hit], self._triangles[first[hit]])[1]
        seen[candidate] = distance > reach - tolerance * self._scale
        return seen


def ray_caster(mesh: Mesh) -> RayCaster:
    """The mesh's ray caster, made once and kept with it: a second for a million faces, and their memory again."""
    return kept(mesh, "ray_caster", lambda: RayCaster(mesh))


def _intersect(origins: Float, directions: Float, triangles: Float) -> tuple[Float, Float]:
    """Barycentric coordinates [N, 3] and distance [N] where rays cross their triangles' planes (Möller-Trumbore)."""
    edge1, edge2 = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    p = np.cross(directions, edge2)
    determinant = np.einsum("ij,ij->i", edge1, p)
    safe = np.where(determinant == 0, 1.0, determinant)
    t = origins - triangles[:, 0]
    q = np.cross(t, edge1)
    v = np.einsum("ij,ij->i", t, p) / safe
    w = np.einsum("ij,ij->i", directions, q) / safe
    distance = np.einsum("ij,ij->i", edge2, q) / safe
    weights = np.clip(np.stack([1 - v - w, v, w], axis=1), 0.0, None)  # single precision may land a hair outside
    return weights / weights.sum(axis=1, keepdims=True), distance


def depth_maps(mesh: Mesh, views: Views, width: int, height: int, subsamples: int = 1) -> Tensor:
    """Inverse depth as depth estimators give it, for a depth ControlNet.

    Each view is scaled on its own: the nearest point is 1, the object's farthest `FARTHEST_DEPTH`, the background 0.

    Returns:
        [V, 1, height, width] float32 in [0, 1].
    """
    caster = ray_caster(mesh)
    maps = []
    for camera in views:
        pixel, hits = caster.pixel_hits(camera, width, height, subsamples)
        triangles = mesh.triangles[hits.face[hits.hit]]
        points = np.einsum("nk,nkj->nj", hits.barycentric[hits.hit], triangles)
        value = np.zeros(len(hits.face))
        if len(points):
            depth = camera.project(points)[1]
            near = -depth if camera.is_orthographic else 1 / np.maximum(depth, 1e-9)
            low, high = near.min(), near.max()
            share = (near - low) / (high - low) if high > low else np.ones_like(near)
            value[hits.hit] = FARTHEST_DEPTH + (1 - FARTHEST_DEPTH) * share
        total = np.bincount(pixel, value, minlength=width * height)
        maps.append(total.reshape(height, width) / subsamples**2)
    return torch.from_numpy(np.stack(maps)[:, None].astype(np.float32))
