"""Texels as a graph over the surface: neighbours inside an island, and welds across the texture's seams."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from ddrep_core.geometry.kept import kept
from ddrep_core.geometry.mesh import Float, Int, Mesh, Part
from ddrep_core.geometry.texels import (
    Texels,
    corner_ids,
    distinct_rows,
    position_ids,
    rasterize,
    texture_groups,
    to_texel_space,
)
from ddrep_core.progress import Progress, counted, portion, unheard

MARGIN = 16  # texels around a texture that repeats, so that the nearest one may lie across the border
PIECE = 500_000  # pairs of texels at a time
FARTHEST_NEIGHBOUR = 4.0  # texels that touch in the texture but lie further apart on the surface (in texels) are apart


@dataclass(frozen=True)
class PartTexels:
    """One textured part inside the graph.

    Args:
        part: the part.
        texels: its texels; node number = `start` + position in this list.
        start: number of its first node.
        group: [N] int32, island group of each texel.
        nearest: [T, T] int32, node of the texel, or of the nearest one on the surface.
    """

    part: Part
    texels: Texels
    start: int
    group: NDArray[np.int32]
    nearest: NDArray[np.int32]

    @property
    def count(self) -> int:
        """How many texels the part has."""
        return len(self.texels.index)


@dataclass(frozen=True)
class TexelGraph:
    """All texels of a mesh's textured parts at one resolution; the nodes of the surface Laplacian."""

    resolution: int
    parts: tuple[PartTexels, ...]
    laplacian: sparse.csr_array  # [N, N] symmetric, rows sum to zero, positive diagonal

    @cached_property
    def node_count(self) -> int:
        """N, the texels on the surface, of all parts."""
        return sum(part.count for part in self.parts)

    def aggregates(self, level: int, nodes: Int | None = None) -> Int:
        """[M] the block of 2**level by 2**level texels, of one island, that each node falls in; numbered from 0.

        Args:
            nodes: [M] which nodes, part by part; all N when not given.
        """
        bounds = [part.start for part in self.parts] + [self.node_count]
        edges = bounds if nodes is None else np.searchsorted(nodes, bounds).tolist()
        keys = []
        for number, part in enumerate(self.parts):
            own = slice(None) if nodes is None else nodes[edges[number] : edges[number + 1]] - part.start
            row, column = np.divmod(part.texels.index[own], self.resolution)
            block = (row >> level) * self.resolution + (column >> level)
            keys.append(((number << 20) + part.group[own].astype(np.int64)) * self.resolution**2 + block)
        return np.unique(np.concatenate(keys), return_inverse=True)[1].reshape(-1)

    def image(self, values: NDArray[np.float32], part: PartTexels) -> NDArray[np.float32]:
        """[C, T, T] a part's texture from node values [N, C]; texels off the surface repeat the nearest one on it."""
        image = np.empty((values.shape[1], *part.nearest.shape), np.float32)
        for channel in range(len(image)):
            image[channel] = values[:, channel][part.nearest]
        return image


def texel_graph(mesh: Mesh, resolution: int, progress: Progress = unheard) -> TexelGraph:
    """The texels of a mesh's textured parts and how they hang together on the surface."""
    parts: list[PartTexels] = []
    rows, columns, weights = [], [], []
    start = 0
    for part in counted(mesh.textured_parts, portion(progress, 0, 0.7)):
        entry = _part_texels(part, resolution, start)
        for i, j, w in (_neighbours(entry, resolution), _welds(entry, resolution)):
            rows.append(i)
            columns.append(j)
            weights.append(w)
        start += entry.count
        parts.append(entry)
    half = sparse.coo_array(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=(start, start)
    ).tocsr()
    rows, columns, weights = [], [], []  # this and the like: a texture of 4096² has 17 million texels
    links = (half + half.T).tocsr()
    del half
    laplacian = (sparse.diags_array(links.sum(axis=1)) - links).tocsr()
    return TexelGraph(resolution, tuple(parts), laplacian)


def _part_texels(part: Part, resolution: int, start: int) -> PartTexels:
    texels = rasterize(part, resolution)
    margin = min(MARGIN, resolution)
    mask = np.pad(texels.mask, margin, mode="wrap")
    node = np.full(resolution * resolution, -1, np.int32)
    node[texels.index] = start + np.arange(len(texels.index))
    node = np.pad(node.reshape(resolution, resolution), margin, mode="wrap")
    if len(texels.index):
        inner = slice(margin, margin + resolution)
        nearest = np.ascontiguousarray(node[nearest_pixels(mask)][inner, inner])
    else:  # islands so small that no texel centre lies on them
        nearest = np.zeros((resolution, resolution), np.int32)
    return PartTexels(part, texels, start, texture_groups(part)[texels.face].astype(np.int32), nearest)


def nearest_pixels(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Row and column [H, W] of the nearest True pixel of a mask [H, W] that holds at least one."""
    found: Any = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return found[0], found[1]


def _neighbours(entry: PartTexels, resolution: int) -> tuple[NDArray[np.int32], NDArray[np.int32], Float]:
    """Pairs of texels side by side on the same piece of surface, and how strongly they hold together.

    The strength is that of a membrane over the surface: with the texture's metric G (per face), √det G · G⁻¹ is 1 along
    both axes where the UVs keep angles, and makes up for stretch where they do not.
    """
    texels = entry.texels
    node = np.full(resolution * resolution, -1, np.int32)
    node[texels.index] = np.arange(len(texels.index))
    node = node.reshape(resolution, resolution)
    along_u, along_v, size = kept(entry.part, "metric", lambda: _metric(entry.part))
    positions = texels.positions(entry.part)
    firsts, seconds, strengths = [], [], []
    for axis, strength in ((1, along_u), (0, along_v)):
        first, second = node.reshape(-1), np.roll(node, -1, axis=axis).reshape(-1)
        both = np.flatnonzero((first >= 0) & (second >= 0))
        for start in range(0, len(both), PIECE):
            pairs = both[start : start + PIECE]
            i, j = first[pairs], second[pairs]
            reach = FARTHEST_NEIGHBOUR * np.maximum(size[texels.face[i]], size[texels.face[j]]) / resolution
            apart = np.linalg.norm(positions[i] - positions[j], axis=1)
            same = (entry.group[i] == entry.group[j]) & (apart <= reach)
            i, j = i[same], j[same]
            firsts.append(i + entry.start)
            seconds.append(j + entry.start)
            strengths.append((strength[texels.face[i]] + strength[texels.face[j]]) / 2)
    if not firsts:
        return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0)
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(strengths)


def _metric(part: Part) -> tuple[Float, Float, Float]:
    """Per face: membrane strength along u and along v, and the longest world length of one unit of UV."""
    assert part.uv is not None
    edges = part.triangles[:, 1:] - part.triangles[:, :1]  # [F, 2, 3]
    sides = part.uv[:, 1:] - part.uv[:, :1]  # [F, 2, 2]
    determinant = sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]
    good = np.abs(determinant) > 1e-14
    safe = np.where(good, determinant, 1.0)
    du = (edges[:, 0] * sides[:, 1, 1, None] - edges[:, 1] * sides[:, 0, 1, None]) / safe[:, None]
    dv = (edges[:, 1] * sides[:, 0, 0, None] - edges[:, 0] * sides[:, 1, 0, None]) / safe[:, None]
    g_uu, g_vv = np.einsum("ij,ij->i", du, du), np.einsum("ij,ij->i", dv, dv)
    g_uv = np.einsum("ij,ij->i", du, dv)
    area = np.sqrt(np.maximum(g_uu * g_vv - g_uv**2, 0.0))
    good &= area > 1e-12 * np.maximum(g_uu, g_vv)
    area = np.where(good, area, 1.0)
    # Bounded, so that one badly stretched face does not spoil the system's condition.
    along_u = np.clip(np.where(good, g_vv / area, 1.0), 0.05, 20.0)
    along_v = np.clip(np.where(good, g_uu / area, 1.0), 0.05, 20.0)
    return along_u, along_v, np.where(good, np.sqrt(g_uu + g_vv), 0.0)


@dataclass(frozen=True)
class _Seams:
    """Edges that triangles of a part share in space, not in the texture; what a resolution has no say in.

    Args:
        face: [2, S] the two triangles of each.
        ends: [2, S, 2] which corners of these are its ends, the same place first in both.
    """

    face: Int
    ends: Int


def _seams(part: Part) -> _Seams:
    def make() -> _Seams:
        place, corner = position_ids(part), corner_ids(part)
        first, second = (place[:, ends].reshape(-1) for ends in ([0, 1, 2], [1, 2, 0]))
        turned = first > second
        edge_place = np.where(turned, second, first), np.where(turned, first, second)
        first, second = (corner[:, ends].reshape(-1) for ends in ([0, 1, 2], [1, 2, 0]))
        edge_corner = np.where(turned, second, first), np.where(turned, first, second)
        shared, leader = distinct_rows(edge_place)
        # Each further half-edge of an edge is welded to the edge's first, unless the texture already joins them.
        leader = leader[shared]
        seam = (leader != np.arange(len(leader))) & (edge_place[0] != edge_place[1])
        seam &= (edge_corner[0][leader] != edge_corner[0]) | (edge_corner[1][leader] != edge_corner[1])
        found = np.flatnonzero(seam)
        found = found[np.argsort(shared[found], kind="stable")]  # edge by edge
        edges = np.stack([leader[found], found])
        face, start = np.divmod(edges, 3)
        ends = np.stack([start, (start + 1) % 3], axis=-1)
        return _Seams(face, np.where(turned[edges][..., None], ends[..., ::-1], ends))

    return kept(part, "seams", make)


def _welds(entry: PartTexels, resolution: int) -> tuple[NDArray[np.int32], NDArray[np.int32], Float]:
    """Pairs of texels that face each other across a seam: an edge that triangles share in space, not in the texture."""
    part = entry.part
    assert part.uv is not None
    empty = np.zeros(0, np.int32)
    seams = _seams(part)
    if not entry.count or not seams.face.size:
        return empty, empty, np.zeros(0)
    points = to_texel_space(part.uv[seams.face], resolution)  # [2, S, 3, 2]
    edge_points = np.take_along_axis(points, seams.ends[..., None], axis=2)
    inward = points.mean(axis=2)
    lengths = np.stack([np.linalg.norm(side[:, 1] - side[:, 0], axis=1) for side in edge_points])
    count = np.clip(np.ceil(lengths.max(axis=0)).astype(np.int64), 1, 4 * resolution)
    pair = np.repeat(np.arange(len(count)), count)
    share = (np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count) + 0.5) / count[pair]

    def nodes(side: int) -> NDArray[np.int32]:
        start, end = edge_points[side, :, 0], edge_points[side, :, 1]
        along = start[pair] * (1 - share)[:, None] + end[pair] * share[:, None]
        towards = inward[side, pair] - along
        length = np.linalg.norm(towards, axis=1, keepdims=True)
        along = along + towards / np.maximum(length, 1e-9) * np.minimum(0.5, length)
        column, row = np.floor(along).astype(np.int64).T
        return entry.nearest[row % resolution, column % resolution]

    i, j = nodes(0), nodes(1)
    differ = i != j
    return i[differ], j[differ], np.ones(int(differ.sum()))
