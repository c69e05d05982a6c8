"""Texels and surface: which face a texel lies on, which faces hang together in the texture, what overlaps.

A texture of resolution T has its first row at v = 1; the centre of texel (row, column) is at
u = (column + 0.5) / T, v = 1 - (row + 0.5) / T. UVs outside 0..1 repeat the texture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from ddrep_core.errors import RequestError
from ddrep_core.geometry.mesh import Float, Int, Part

MOST_SAMPLES = 200_000_000


@dataclass(frozen=True)
class SharedTexels:
    """Faces that lie on texels besides those texels' own face: M pairs, none where no UVs overlap.

    Args:
        texel: [M] position in `Texels.index`.
        face: [M] the part's face.
        barycentric: [M, 3] where in it the texel's centre lies.
    """

    texel: Int
    face: Int
    barycentric: Float

    def positions(self, part: Part) -> Float:
        """[M, 3] where the texel centres are in the world, on these faces."""
        return np.einsum("nk,nkj->nj", self.barycentric, part.triangles[self.face])


@dataclass(frozen=True)
class Texels:
    """The texels of one part whose centres lie on its surface.

    Args:
        resolution: T, of the square texture.
        index: [N] row * T + column, ascending, each once.
        face: [N] the part's face each lies on; where UVs overlap, one of several, chosen by where the faces lie in the
            world and never by their order in the file.
        barycentric: [N, 3] where in that face.
        also: the other faces under texels that several share.
    """

    resolution: int
    index: Int
    face: Int
    barycentric: Float
    also: SharedTexels

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """[T, T] the texels that lie on the surface."""
        mask = np.zeros(self.resolution * self.resolution, bool)
        mask[self.index] = True
        return mask.reshape(self.resolution, self.resolution)

    def positions(self, part: Part) -> Float:
        """[N, 3] where the texel centres are in the world."""
        return np.einsum("nk,nkj->nj", self.barycentric, part.triangles[self.face])


def to_texel_space(uv: Float, resolution: int) -> Float:
    """[..., 2] UVs as (column, row) positions in a texture; texel centres at +0.5."""
    return np.stack([uv[..., 0] * resolution, (1 - uv[..., 1]) * resolution], axis=-1)


def scan_triangles(points: Float) -> tuple[Int, Int, Int]:
    """Which pixel centres lie in which triangles, by scan lines.

    Triangles that share an edge never share a pixel: intervals are half open, and an edge's crossing is computed the
    same way from both its sides.

    Args:
        points: [F, 3, 2] corners (x, y), pixel centres at +0.5.

    Returns:
        triangle, row and column [N] of each covered centre; rows and columns may lie outside any picture.
    """
    y = points[..., 1]
    first = np.ceil(y.min(axis=1) - 0.5).astype(np.int64)
    count = np.maximum(np.ceil(y.max(axis=1) - 0.5).astype(np.int64) - first, 0)
    triangle, row = _expand(first, count)
    line = row + 0.5
    low, high = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    for k in range(3):
        a, b = points[:, k], points[:, (k + 1) % 3]
        swap = (a[:, 1] > b[:, 1]) | ((a[:, 1] == b[:, 1]) & (a[:, 0] > b[:, 0]))
        a, b = np.where(swap[:, None], b, a)[triangle], np.where(swap[:, None], a, b)[triangle]
        crosses = (a[:, 1] <= line) & (line < b[:, 1])
        height = np.where(crosses, b[:, 1] - a[:, 1], 1.0)
        x = a[:, 0] + (line - a[:, 1]) * (b[:, 0] - a[:, 0]) / height
        low, high = np.where(crosses, np.minimum(low, x), low), np.where(crosses, np.maximum(high, x), high)
    hit = low < high
    first = np.ceil(np.where(hit, low, 0.0) - 0.5).astype(np.int64)
    count = np.where(hit, np.maximum(np.ceil(np.where(hit, high, 0.0) - 0.5).astype(np.int64) - first, 0), 0)
    if count.sum() > MOST_SAMPLES:
        raise RequestError("The UVs repeat the texture too many times over.", "Unwrap the mesh into 0..1.")
    span, column = _expand(first, count)
    return triangle[span], row[span], column


def _expand(first: Int, count: Int) -> tuple[Int, Int]:
    """The numbers first[i] … first[i] + count[i] - 1 of all i in a row, each with its i."""
    owner = np.repeat(np.arange(len(count)), count)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count) + first[owner]


def barycentric(points: Float, triangles: Float) -> Float:
    """[N, 3] barycentric coordinates of points [N, 2] in triangles [N, 3, 2]; thirds where one has no area."""
    a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    p = points - triangles[:, 0]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    flat = np.abs(area) < 1e-300
    safe = np.where(flat, 1.0, area)
    v = (p[:, 0] * b[:, 1] - p[:, 1] * b[:, 0]) / safe
    w = (a[:, 0] * p[:, 1] - a[:, 1] * p[:, 0]) / safe
    result = np.stack([1 - v - w, v, w], axis=1)
    result[flat] = 1 / 3
    return result


def rasterize(part: Part, resolution: int) -> Texels:
    """The texels of a part with UVs, at a resolution."""
    assert part.uv is not None
    points = to_texel_space(part.uv, resolution)
    face, row, column = scan_triangles(points)
    index = (row % resolution) * resolution + column % resolution
    found, first = np.unique(index, return_index=True)
    others = np.zeros(0, np.int64)
    if len(found) < len(index):
        order = np.lexsort((_places_in_line(part)[face], index))
        leads = np.concatenate([[True], np.diff(index[order]) > 0])
        first, others = order[leads], order[~leads]

    def within(sample: Int) -> Float:
        centres: Float = np.stack([column[sample], row[sample]], axis=1) + np.float64(0.5)
        return barycentric(centres, points[face[sample]])

    also = SharedTexels(np.searchsorted(found, index[others]), face[others], within(others))
    return Texels(resolution, found, face[first], within(first), also)


def _places_in_line(part: Part) -> Int:
    """[F] the place of each face in a line that its file's order has no say in: island by island, each by where its
    first face lies, so that a texel and its neighbours go to the same one of several islands."""
    centres = part.triangles.mean(axis=1)
    line = np.empty(len(centres), np.int64)
    line[np.lexsort(centres.T)] = np.arange(len(centres))
    island = islands(part)
    first = np.full(int(island.max()) + 1, len(line))
    np.minimum.at(first, island, line)
    place = np.empty(len(line), np.int64)
    place[np.lexsort((line, first[island]))] = np.arange(len(line))
    return place


def overlap_share(uv: Float, resolution: int = 512) -> float:
    """How much of the covered texture is covered more than once, 0..1."""
    _, row, column = scan_triangles(to_texel_space(uv, resolution))
    counts = np.bincount((row % resolution) * resolution + column % resolution, minlength=resolution**2)
    covered = int((counts > 0).sum())
    return float((counts > 1).sum() / covered) if covered else 0.0


def position_ids(part: Part) -> Int:
    """[F, 3] a number per distinct place: corners that meet in space share it, whatever the file's indices say."""
    _, place = np.unique(part.vertices + 0.0, axis=0, return_inverse=True)
    return place.reshape(-1)[part.faces]


def corner_ids(part: Part) -> Int:
    """[F, 3] a number per distinct pair of place and UV: corners that meet in space and in the texture share it."""
    assert part.uv is not None
    uv = np.round(part.uv.reshape(-1, 2) * 2.0**22).astype(np.int64)
    keys = np.concatenate([position_ids(part).reshape(-1, 1), uv], axis=1)
    _, corner = np.unique(keys, axis=0, return_inverse=True)
    return corner.reshape(-1, 3)


def islands(part: Part) -> Int:
    """[F] the UV island each face belongs to, numbered from 0: faces hang together where they share a UV corner."""
    corner = corner_ids(part)
    face = np.repeat(np.arange(len(corner)), 3)
    links = sparse.coo_array(
        (np.ones(corner.size, np.int8), (face, corner.reshape(-1) + len(corner))),
        shape=(len(corner) + corner.max() + 1,) * 2,
    )
    _, label = connected_components(links, directed=False)
    _, island = np.unique(label[: len(corner)], return_inverse=True)
    return island.reshape(-1)


def texture_groups(part: Part, resolution: int = 512) -> Int:
    """[F] like `islands`, but islands that lie on top of each other in the texture count as one: they share texels."""
    assert part.uv is not None
    island = islands(part)
    face, row, column = scan_triangles(to_texel_space(part.uv, resolution))
    texel = (row % resolution) * resolution + column % resolution
    count = int(island.max()) + 1
    links = sparse.coo_array(
        (np.ones(len(texel), np.int8), (island[face], texel + count)), shape=(count + resolution**2,) * 2
    )
    _, label = connected_components(links, directed=False)
    _, group = np.unique(label[:count], return_inverse=True)
    return group.reshape(-1)[island]
