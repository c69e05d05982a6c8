"""What a mesh shows to ControlNets beside its depth: normals and lines, seen by each camera.

Each is drawn as the ControlNets of its kind were trained to see it, and made of the geometry itself, so that no
estimator has to guess it from a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from torch import Tensor

from ddrep_core.geometry.kept import kept
from ddrep_core.geometry.mesh import Float, Int, Mesh
from ddrep_core.geometry.normals import corner_normals
from ddrep_core.geometry.raycast import depth_maps, ray_caster
from ddrep_core.views import Camera, Views

CREASE_DEGREES = 30.0
"""Neighbouring rays whose normals differ by more lie on two sides of a crease."""

STEP = 0.01
"""A jump in depth, as a share of the mesh's size, off the surface's own plane, that hides something behind."""

FLAT = (0.0, 0.0, 1.0)


def control_signals(mesh: Mesh, views: Views, width: int, height: int, kinds: Iterable[str]) -> dict[str, Tensor]:
    """Those of a prior's signals that a mesh can show: {kind: [V, C, height, width] float32 in [0, 1]}."""
    return {kind: SIGNALS[kind](mesh, views, width, height) for kind in sorted(kinds) if kind in SIGNALS}


def normal_maps(mesh: Mesh, views: Views, width: int, height: int, subsamples: int = 2) -> Tensor:
    """Normals in each camera's own axes, as normal ControlNets see them: red is left, green is up, blue is towards the
    camera, the background faces it. (ControlNet 1.1's normals by Bae et al.; those of 1.0 from MiDaS are alike.)

    Returns:
        [V, 3, height, width] float32 in [0, 1].
    """
    maps = []
    for camera in views:
        seen = _see(mesh, camera, width * subsamples, height * subsamples)
        normals = seen.normals.reshape(height, subsamples, width, subsamples, 3).mean(axis=(1, 3))
        length = np.linalg.norm(normals, axis=-1, keepdims=True)
        normals = np.where(length > 1e-6, normals / np.maximum(length, 1e-6), FLAT)
        maps.append((normals * (-1.0, 1.0, 1.0) + 1) / 2)
    return torch.from_numpy(np.stack(maps).astype(np.float32)).permute(0, 3, 1, 2).clamp(0, 1).contiguous()


def canny_maps(mesh: Mesh, views: Views, width: int, height: int) -> Tensor:
    """White lines one pixel wide on black, as Canny's detector draws them: outlines, creases, borders of parts.

    Returns:
        [V, 1, height, width] float32, 0 or 1.
    """
    lines = [_lines(_see(mesh, camera, width, height), mesh) for camera in views]
    return torch.from_numpy(np.stack(lines)[:, None].astype(np.float32))


def lineart_maps(mesh: Mesh, views: Views, width: int, height: int) -> Tensor:
    """The same lines as a pen draws them: soft, and a little wider. White on black, as line-art ControlNets see them.

    Returns:
        [V, 1, height, width] float32 in [0, 1].
    """
    drawn = []
    for camera in views:
        fine = _lines(_see(mesh, camera, 2 * width, 2 * height), mesh)
        wide = binary_dilation(fine)
        drawn.append(wide.reshape(height, 2, width, 2).mean(axis=(1, 3)))
    return torch.from_numpy(np.stack(drawn)[:, None].astype(np.float32))


def _depth(mesh: Mesh, views: Views, width: int, height: int) -> Tensor:
    return depth_maps(mesh, views, width, height, subsamples=2)


SIGNALS: dict[str, Callable[[Mesh, Views, int, int], Tensor]] = {
    "depth": _depth,
    "normal": normal_maps,
    "canny": canny_maps,
    "lineart": lineart_maps,
}


@dataclass(frozen=True)
class _Seen:
    """What a camera sees through the middle of each pixel.

    Attributes:
        part: [H, W] which part of the mesh; -1 for nothing.
        points: [H, W, 3] where, in the world; zero for nothing.
        normals: [H, W, 3] the surface's smooth normal in the camera's axes (right, up, back), towards the camera;
            straight at it for nothing.
        depth: [H, W] along the ray; infinite for nothing.
        axes: [3, 3] the camera's axes in the world, as rows.
    """

    part: Int
    points: Float
    normals: Float
    depth: Float
    axes: Float


def _see(mesh: Mesh, camera: Camera, width: int, height: int) -> _Seen:
    caster = ray_caster(mesh)
    smooth = kept(mesh, "corner_normals", lambda: np.concatenate([corner_normals(part) for part in mesh.parts]))
    pixel, hits = caster.pixel_hits(camera, width, height)
    hit = hits.hit
    pixel, face, barycentric = pixel[hit], hits.face[hit], hits.barycentric[hit]
    points = np.einsum("nk,nkj->nj", barycentric, mesh.triangles[face])
    normals = np.einsum("nk,nkj->nj", barycentric, smooth[face])
    # A smooth normal looks to the side its face does, and the face is seen from the side that the ray comes from.
    flat = caster.face_normals[face]
    y, x = np.divmod(pixel, width)
    _, directions = camera.rays(np.stack([x + 0.5, y + 0.5], axis=-1), width, height)
    sides = np.sign(np.einsum("ij,ij->i", normals, flat)) * -np.sign(np.einsum("ij,ij->i", directions, flat))
    normals = normals * np.where(sides == 0, 1.0, sides)[:, None]
    axes = np.asarray(camera.matrix_world, np.float64)[:3, :3].T
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    normals = normals @ axes.T
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)

    part = np.full(height * width, -1, np.int64)
    part[pixel] = mesh.part_of_face[face]
    places, depth = np.zeros((height * width, 3)), np.full(height * width, np.inf)
    places[pixel], depth[pixel] = points, hits.distance[hit]
    facing = np.tile(FLAT, (height * width, 1))
    facing[pixel] = normals
    shape = (height, width)
    return _Seen(part.reshape(shape), places.reshape(*shape, 3), facing.reshape(*shape, 3), depth.reshape(shape), axes)


def _lines(seen: _Seen, mesh: Mesh) -> NDArray[np.bool_]:
    """[H, W] where a line runs: on the nearer side of each border."""
    step = STEP * float(np.ptp(mesh.bounds, axis=0).max())
    cosine = np.cos(np.radians(CREASE_DEGREES))
    lines = np.zeros(seen.part.shape, bool)
    for first, second in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
    ):
        parts = seen.part[first], seen.part[second]
        normals = seen.normals[first], seen.normals[second]
        both = (parts[0] >= 0) & (parts[1] >= 0)
        apart = (seen.points[second] - seen.points[first]) @ seen.axes.T
        off = [np.abs((apart * normal).sum(axis=-1)) for normal in normals]
        jump = both & (np.minimum(*off) > step)
        crease = both & ((normals[0] * normals[1]).sum(axis=-1) < cosine)
        border = jump | crease | (parts[0] != parts[1])
        nearer = seen.depth[first] <= seen.depth[second]
        lines[first] |= border & nearer
        lines[second] |= border & ~nearer
    return lines
