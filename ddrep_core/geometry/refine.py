"""From a texture that was solved for on a coarse grid of texels to the finer one that is delivered.

Where a texture has many times more texels than the pictures have pixels, what lies between their rays is a membrane's
smooth surface: there is nothing left to solve for on the finest grid, and interpolating costs a twentieth of the
memory. Values come from the texels of the same islands only, so that no colour bleeds from one to the next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ddrep_core.geometry.mesh import Int
from ddrep_core.geometry.scan import scan_chunks
from ddrep_core.geometry.texel_graph import MARGIN, PartTexels, nearest_pixels
from ddrep_core.geometry.texels import texel_index, texture_groups, to_texel_space

TEXELS = 1_000_000  # at a time


def finer(
    entry: PartTexels, coarse: int, values: NDArray[np.float32], seen: NDArray[np.bool_], resolution: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """A part's texture at a higher resolution.

    Args:
        entry: the part's texels on the coarse grid.
        coarse: the grid's resolution.
        values: [N, 3] and seen: [N], of all nodes of the coarse graph.
        resolution: T, the finer one.

    Returns:
        texture [3, T, T], padded outward; whether each texel [T, T] is seen; whether it lies on the surface.
    """
    group = _groups(entry, resolution)
    if not entry.count:  # too small for the coarse grid: as all others on the average
        texture = np.broadcast_to(values.mean(axis=0)[:, None, None], (3, resolution, resolution)).copy()
        inside = (group >= 0).reshape(resolution, resolution)
        return texture, np.zeros_like(inside), inside
    node = np.full(coarse * coarse, -1, np.int32)
    node[entry.texels.index] = entry.start + np.arange(entry.count)
    texture = np.zeros((3, resolution * resolution), np.float32)
    shown = np.zeros(resolution * resolution, bool)
    rows = max(TEXELS // resolution, 1)
    for top in range(0, resolution, rows):
        index = np.flatnonzero(group[top * resolution : (top + rows) * resolution] >= 0) + top * resolution
        color, sight = _interpolated(entry, node, coarse, values, seen, index, group[index], resolution)
        texture[:, index] = color.T
        shown[index] = sight
    inside = group >= 0
    del group
    _pad(texture, inside.reshape(resolution, resolution))
    shape = (resolution, resolution)
    return texture.reshape(3, *shape), shown.reshape(shape), inside.reshape(shape)


def _groups(entry: PartTexels, resolution: int) -> NDArray[np.int32]:
    """[T * T] the island group on each texel, -1 off the surface."""
    part = entry.part
    assert part.uv is not None
    groups = texture_groups(part).astype(np.int32)
    found = np.full(resolution * resolution, -1, np.int32)
    for face, row, column in scan_chunks(to_texel_space(part.uv, resolution)):
        found[texel_index(row, column, resolution)] = groups[face]
    return found


def _interpolated(
    entry: PartTexels,
    node: NDArray[np.int32],
    coarse: int,
    values: NDArray[np.float32],
    seen: NDArray[np.bool_],
    index: Int,
    group: NDArray[np.int32],
    resolution: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Colour [M, 3] and whether it is seen [M] of texels [M], bilinear between the coarse ones of their islands."""
    row, column = np.divmod(index, resolution)
    y, x = ((place + 0.5) * coarse / resolution - 0.5 for place in (row, column))
    up, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    down, right = (y - up).astype(np.float32), (x - left).astype(np.float32)
    total = np.zeros(len(index), np.float32)
    color = np.zeros((len(index), 3), np.float32)
    heaviest, closest = np.zeros(len(index), np.float32), np.full(len(index), -1, np.int32)
    for dy, dx, weight in (
        (0, 0, (1 - down) * (1 - right)),
        (0, 1, (1 - down) * right),
        (1, 0, down * (1 - right)),
        (1, 1, down * right),
    ):
        corner = node[(up + dy) % coarse * coarse + (left + dx) % coarse]
        same = (corner >= 0) & (entry.group[np.maximum(corner - entry.start, 0)] == group)
        weight = np.where(same, weight, np.float32(0))
        color += weight[:, None] * values[np.maximum(corner, 0)]
        total += weight
        closer = weight > heaviest
        heaviest, closest = np.where(closer, weight, heaviest), np.where(closer, corner, closest)
    alone = total <= 0  # a sliver between the centres of the coarse texels
    fallback = entry.nearest[row[alone] * coarse // resolution, column[alone] * coarse // resolution]
    closest[alone] = fallback
    color[alone], total[alone] = values[fallback], 1
    return color / total[:, None], seen[closest]


def _pad(texture: NDArray[np.float32], inside: NDArray[np.bool_]) -> None:
    """Let texels off the surface repeat the nearest one on it; the texture repeats, so it may lie across the border."""
    resolution = len(inside)
    margin = min(MARGIN, resolution)
    near_row, near_column = nearest_pixels(np.pad(inside, margin, mode="wrap"))
    rows = max(TEXELS // resolution, 1)
    for top in range(0, resolution, rows):
        band = slice(top, min(top + rows, resolution))
        padded = slice(band.start + margin, band.stop + margin), slice(margin, margin + resolution)
        source = (near_row[padded] - margin) % resolution * resolution + (near_column[padded] - margin) % resolution
        outside = np.flatnonzero(~inside[band])
        for channel in texture:
            channel[outside + top * resolution] = channel[source.reshape(-1)[outside]]
