"""Normals of the world as a normal map: in each texel's own axes, along the texture and off the surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ddrep_core.geometry.kept import kept
from ddrep_core.geometry.mesh import Float, Part
from ddrep_core.geometry.normals import corner_normals
from ddrep_core.geometry.texel_graph import nearest_pixels
from ddrep_core.geometry.texels import rasterize

LEAST_RISE = 0.1  # of a normal over its surface
PIECE = 500_000


def tangent_frames(part: Part, flat: bool) -> tuple[Float, Float]:
    """Normals [F, 3, 3] at the corners of faces, and [F, 2, 3] where u and v (upward) grow.

    Args:
        flat: the part is shaded without smooth normals.
    """
    edges = part.triangles[:, 1:] - part.triangles[:, :1]
    assert part.uv is not None
    sides = part.uv[:, 1:] - part.uv[:, :1]
    area = sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]
    area = np.where(np.abs(area) < 1e-20, 1e-20, area)[:, None]
    along_u = (edges[:, 0] * sides[:, 1, 1:] - edges[:, 1] * sides[:, 0, 1:]) / area
    along_v = (edges[:, 1] * sides[:, 0, :1] - edges[:, 0] * sides[:, 1, :1]) / area
    if flat:
        normals = np.cross(edges[:, 0], edges[:, 1])
        normals = np.repeat(_unit(normals)[:, None], 3, axis=1)
    else:
        normals = kept(part, "corner_normals", lambda: corner_normals(part))
    return normals, np.stack([along_u, along_v], axis=1)


def normal_map(part: Part, world: NDArray[np.uint8], flat: bool = False) -> NDArray[np.uint8]:
    """[T, T, 3] bytes, +Y up (glTF, OpenGL, Blender): a part's normals in the axes of its texture.

    Off the islands it repeats the nearest texel. The axes are each face's, made square to the smooth normal; readers
    that follow MikkTSpace average them at corners, which differs where a texture is stretched unevenly.

    Args:
        world: [T, T, 3] bytes, (n + 1) / 2 in the world.
        flat: as `tangent_frames`.
    """
    size = len(world)
    texels = rasterize(part, size)
    corners, axes = tangent_frames(part, flat)
    found = np.full((size * size, 3), (128, 128, 255), np.uint8)
    pixels = world.reshape(-1, 3)
    for first in range(0, len(texels.index), PIECE):
        own = slice(first, first + PIECE)
        face, weights = texels.face[own], texels.barycentric(part, own)
        up = _unit(np.einsum("nk,nkj->nj", weights, corners[face]))
        if part.inside_out:
            up = -up
        right = axes[face, 0]
        right = _unit(right - up * np.einsum("nj,nj->n", right, up)[:, None])
        across = np.cross(up, right)
        across *= np.where(np.einsum("nj,nj->n", across, axes[face, 1]) < 0, -1.0, 1.0)[:, None]
        normal = _unit(pixels[texels.index[own]] / 127.5 - 1)
        local = np.stack([np.einsum("nj,nj->n", normal, axis) for axis in (right, across, up)], axis=1)
        local[:, 2] = np.maximum(local[:, 2], LEAST_RISE)
        found[texels.index[own]] = np.rint((_unit(local) + 1) * 127.5).clip(0, 255).astype(np.uint8)
    if len(texels.index):
        image = found.reshape(size, size, 3)
        return np.ascontiguousarray(image[nearest_pixels(texels.mask)])
    return found.reshape(size, size, 3)


def _unit(vectors: Float) -> Float:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 1e-20, length, 1.0)
