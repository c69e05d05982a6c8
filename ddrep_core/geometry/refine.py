"""From a texture that was solved for on a coarse grid of texels to the finer one that is delivered.

Where a texture has many times more texels than the pictures have pixels, what lies between their rays is a membrane's
smooth surface: there is nothing left to solve for on the finest grid, and interpolating costs a twentieth of the
memory. Values come from the texels of the same islands only, so that no colour bleeds from one to the next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddrep_core.geometry.mesh import Float, Int
from ddrep_core.geometry.scan import scan_chunks, scan_spans
from ddrep_core.geometry.texel_graph import PartTexels
from ddrep_core.geometry.texels import texel_index, texture_groups, to_texel_space
from ddrep_core.pictures import to_bytes

TEXELS = 1_000_000  # at a time
MIXED = -2  # where there are several islands
CLOSE = 4  # texels off the surface that must show no other island, for filters that reach beyond an edge


def finer(
    entry: PartTexels, coarse: int, values: NDArray[np.float32], seen: NDArray[np.bool_], resolution: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """A part's texture at a higher resolution, in 8 bits.

    Args:
        entry: the part's texels on the coarse grid.
        coarse: the grid's resolution.
        values: [N, 3] in [0, 1] and seen: [N], of all nodes of the coarse graph.
        resolution: T, the finer one.

    Returns:
        texture [T, T, 3], padded outward; whether each texel [T, T] is seen; whether it lies on the surface.
    """
    group = _groups(entry, resolution)
    inside = group >= 0
    if not entry.count:  # too small for the coarse grid: as all others on the average
        texture = np.broadcast_to(to_bytes(values.mean(axis=0)), (resolution, resolution, 3)).copy()
        return texture, np.zeros_like(inside), inside
    node = np.full(coarse * coarse, -1, np.int32)
    node[entry.texels.index] = entry.start + np.arange(entry.count)
    on_surface = np.full(coarse * coarse, -1, np.int32)
    on_surface[entry.texels.index] = entry.group
    surface_cells = _cells(on_surface.reshape(coarse, coarse))
    near_cells = _cells(entry.group[entry.nearest - entry.start])
    sight = seen[entry.nearest]
    places = _Places(coarse, resolution)
    # Almost all texels lie between four coarse ones of their own island, or off the surface: Pillow is fastest there.
    own = to_bytes(values[entry.start : entry.start + entry.count])
    image = Image.fromarray(own[entry.nearest - entry.start])
    texture = np.array(image.resize((resolution, resolution), Image.Resampling.BILINEAR))
    shown = np.empty((resolution, resolution), bool)
    rows = max(TEXELS // resolution, 1)
    for top in range(0, resolution, rows):
        band = slice(top, min(top + rows, resolution))
        shown[band] = sight[places.closest[band]][:, places.closest] & inside[band]
        # Those at an island's edge one by one.
        here = group[band]
        alone = (here >= 0) & (here != surface_cells[places.cell[band]][:, places.cell])
        index = np.flatnonzero(alone) + top * resolution
        color, painted = _interpolated(entry, node, coarse, values, seen, index, here[alone], resolution)
        texture.reshape(-1, 3)[index] = to_bytes(color)
        shown.reshape(-1)[index] = painted
    _pad(texture, group, near_cells[places.cell][:, places.cell])
    return texture, shown, inside


class _Places:
    """Where the centres of fine texels lie on the coarse grid, along either axis.

    Args:
        coarse, resolution: texels along a side of the two grids.
    """

    def __init__(self, coarse: int, resolution: int) -> None:
        place = (np.arange(resolution) + 0.5) * coarse / resolution - 0.5
        before = np.floor(place).astype(np.int64)
        self.cell = before + 1
        """[T] into the arrays that `_cells` makes."""
        self.closest = (before + (place - before > 0.5)) % coarse
        """[T] the coarse texel that is closest."""


def _cells(group: NDArray[np.int32]) -> NDArray[np.int32]:
    """[coarse + 1, coarse + 1] the group of the four texels around each corner of a grid of groups [coarse, coarse].

    MIXED where they have several, and at the grid's border, where the texture repeats.
    """
    cells = np.full((len(group) + 1,) * 2, MIXED, np.int32)
    first = group[:-1, :-1]
    same = (first == group[1:, :-1]) & (first == group[:-1, 1:]) & (first == group[1:, 1:])
    cells[1:-1, 1:-1] = np.where(same, first, MIXED)
    return cells


def _groups(entry: PartTexels, resolution: int) -> NDArray[np.int32]:
    """[T, T] the island group on each texel, -1 off the surface."""
    part = entry.part
    assert part.uv is not None
    groups = texture_groups(part).astype(np.int32)
    points = to_texel_space(part.uv, resolution)
    if (found := _groups_by_line(groups, points, resolution)) is not None:
        return found
    found = np.full(resolution * resolution, -1, np.int32)
    for face, row, column in scan_chunks(points):
        found[texel_index(row, column, resolution)] = groups[face]
    return found.reshape(resolution, resolution)


def _groups_by_line(groups: NDArray[np.int32], points: Float, resolution: int) -> NDArray[np.int32] | None:
    """What `_groups` gives, from the two ends of every scan line; None where UVs overlap or leave the texture.

    Args:
        groups: [F] of each face; points: [F, 3, 2] its corners (column, row).
    """
    if points.min() < 0 or points.max() > resolution:
        return None
    change = np.zeros(resolution * resolution + 1, np.int32)
    covered = 0
    for face, row, first, count in scan_spans(points):
        some = count > 0
        start = row[some] * resolution + first[some]
        step = groups[face[some]] + 1
        np.add.at(change, start, step)
        np.subtract.at(change, start + count[some], step)
        covered += int(count.sum())
    found = np.cumsum(change[:-1], dtype=np.int32)
    if np.count_nonzero(found) != covered:  # some texel is several faces'
        return None
    return (found - 1).reshape(resolution, resolution)


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


def _pad(texture: NDArray[np.uint8], group: NDArray[np.int32], near: NDArray[np.int32]) -> None:
    """Texels close to the surface repeat the nearest one on it, where the coarse grid would mix in another island.

    Args:
        texture: [T, T, 3], changed here.
        group: [T, T], -1 off the surface.
        near: [T, T] the only island that the coarse grid has there, or MIXED.
    """
    size = len(group)
    inside = group >= 0
    due = ~inside & (near == MIXED) & _grown(inside)
    strange = inside & (near != group)
    if strange.any():
        due |= ~inside & _grown(strange)
    row, column = np.nonzero(due)
    flat, on_surface = texture.reshape(-1, 3), inside.reshape(-1)
    reach = range(-CLOSE, CLOSE + 1)
    for dy, dx in sorted(((y, x) for y in reach for x in reach), key=lambda step: step[0] ** 2 + step[1] ** 2):
        if not len(row):
            break
        source = (row + dy) % size * size + (column + dx) % size
        found = on_surface[source]
        flat[row[found] * size + column[found]] = flat[source[found]]
        row, column = row[~found], column[~found]


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask [T, T] of a texture that repeats, CLOSE texels larger to all sides."""
    grown = mask.copy()
    for axis in (0, 1):
        reached = 0
        while reached < CLOSE:
            step = min(reached + 1, CLOSE - reached)
            grown |= np.roll(grown, step, axis) | np.roll(grown, -step, axis)
            reached += step
    return grown
