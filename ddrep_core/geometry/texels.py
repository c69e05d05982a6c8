"""Texels and surface: which face a texel lies on, which faces hang together in the texture, what overlaps.

A texture of resolution T has its first row at v = 1; the centre of texel (row, column) is at
u = (column + 0.5) / T, v = 1 - (row + 0.5) / T. UVs outside 0..1 repeat the texture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from ddrep_core.errors import RequestError
from ddrep_core.geometry.kept import kept
from ddrep_core.geometry.mesh import Float, Int, Mesh, Part
from ddrep_core.geometry.scan import check_sample_count, scan_chunks

EVERY = slice(None)
PIECE = 500_000  # texels at a time
MOST_BOXES = 500  # islands that are compared each with each
MOST_TRIANGLES = 50  # the same


@dataclass(frozen=True)
class Texels:
    """The texels of one part whose centres lie on its surface.

    Args:
        resolution: T, of the square texture.
        index: [N] row * T + column, ascending, each once.
        face: [N] the part's face each lies on; where UVs overlap, one of several, chosen by where the faces lie in the
            world and never by their order in the file.
        centre: [N, 2] the texel's (column, row) before the texture repeats, where that face covers it.
    """

    resolution: int
    index: Int
    face: NDArray[np.int32]
    centre: NDArray[np.int32]

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """[T, T] the texels that lie on the surface."""
        mask = np.zeros(self.resolution * self.resolution, bool)
        mask[self.index] = True
        return mask.reshape(self.resolution, self.resolution)

    def barycentric(self, part: Part, chosen: NDArray[Any] | slice = EVERY) -> Float:
        """[M, 3] where in their faces the centres of the chosen texels lie."""
        assert part.uv is not None
        points = to_texel_space(part.uv[self.face[chosen]], self.resolution)
        return barycentric(self.centre[chosen] + np.float64(0.5), points)

    def positions(self, part: Part, chosen: NDArray[Any] | slice = EVERY) -> Float:
        """[M, 3] where the centres of the chosen texels are in the world."""
        numbers = np.arange(len(self.index))[chosen]
        found = np.empty((len(numbers), 3))
        for first in range(0, len(numbers), PIECE):
            own = numbers[first : first + PIECE]
            weights = self.barycentric(part, own)
            found[first : first + PIECE] = np.einsum("nk,nkj->nj", weights, part.triangles[self.face[own]])
        return found


def to_texel_space(uv: Float, resolution: int) -> Float:
    """[..., 2] UVs as (column, row) positions in a texture; texel centres at +0.5."""
    return np.stack([uv[..., 0] * resolution, (1 - uv[..., 1]) * resolution], axis=-1)


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
    """The texels of a part with UVs, at a resolution.

    Raises:
        RequestError: UVs that repeat the texture too many times.
    """
    claims = _Claims(resolution)
    count = 0
    for samples in _samples(part, resolution):
        count += len(samples[0])
        claims.first_comes(*samples)
    if count > claims.count:  # some texels are several faces'
        claims = _Claims(resolution)
        place = _places_in_line(part)
        for samples in _samples(part, resolution):
            claims.first_in_line(place, *samples)
    return claims.texels()


def texel_samples(part: Part, texels: Texels, wanted: NDArray[np.bool_]) -> Iterator[tuple[Int, Int, Float]]:
    """All faces over the wanted texels, the owner's and those of others that share them, some at a time.

    Args:
        wanted: [N] of the texels.

    Returns:
        position in `Texels.index` [M], the part's face [M], and barycentric [M, 3] where in it the centre lies.
    """
    resolution = texels.resolution
    number = np.full(resolution * resolution, -1, np.int32)
    number[texels.index[wanted]] = np.flatnonzero(wanted)
    assert part.uv is not None
    for face, row, column in _samples(part, resolution):
        texel = number[texel_index(row, column, resolution)]
        asked = texel >= 0
        texel, face = texel[asked].astype(np.int64), face[asked]
        centre: Float = np.stack([column[asked], row[asked]], axis=1) + np.float64(0.5)
        yield texel, face, barycentric(centre, to_texel_space(part.uv[face], resolution))


def _samples(part: Part, resolution: int) -> Iterator[tuple[Int, Int, Int]]:
    assert part.uv is not None
    return scan_chunks(to_texel_space(part.uv, resolution))


def texel_index(row: Int, column: Int, resolution: int) -> Int:
    """row * T + column of pixel centres, brought into the texture that repeats."""
    return (row % resolution) * resolution + column % resolution


class _Claims:
    """Whose each texel is, while faces come in."""

    def __init__(self, resolution: int) -> None:
        self._resolution = resolution
        self._face = np.full(resolution * resolution, -1, np.int32)
        self._place: NDArray[np.int32] | None = None
        self._centre = np.empty((resolution * resolution, 2), np.int32)

    @property
    def count(self) -> int:
        """How many texels are somebody's."""
        return int(np.count_nonzero(self._face >= 0))

    def first_comes(self, face: Int, row: Int, column: Int) -> None:
        """Texels that are nobody's yet become the first face's that covers them."""
        index = texel_index(row, column, self._resolution)
        self._take(np.flatnonzero(self._face[index] < 0), index, face, row, column)

    def first_in_line(self, place: Int, face: Int, row: Int, column: Int) -> None:
        """Texels become those of the face that has the first place [F] in a line."""
        if self._place is None:
            self._place = np.full(len(self._face), np.iinfo(np.int32).max, np.int32)
        index, mine = texel_index(row, column, self._resolution), place[face]
        ahead = np.flatnonzero(mine < self._place[index])
        ahead = ahead[np.argsort(mine[ahead], kind="stable")]
        self._place[index[ahead[::-1]]] = mine[ahead[::-1]]
        self._take(ahead, index, face, row, column)

    def _take(self, taken: Int, index: Int, face: Int, row: Int, column: Int) -> None:
        taken = taken[::-1]  # of several for one texel the last assignment holds
        self._face[index[taken]] = face[taken]
        self._centre[index[taken], 0] = column[taken]
        self._centre[index[taken], 1] = row[taken]

    def texels(self) -> Texels:
        found = np.flatnonzero(self._face >= 0)
        return Texels(self._resolution, found, self._face[found], self._centre[found])


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


def covered_share(part: Part, resolution: int = 256) -> float:
    """About how much of the texture a part's UVs cover, 0..1."""

    def make() -> float:
        covered = np.zeros(resolution**2, bool)
        for _, row, column in _samples(part, resolution):
            covered[texel_index(row, column, resolution)] = True
        return float(covered.mean())

    return kept(part, "covered_share", make)


def check_texture_repeats(mesh: Mesh, resolution: int) -> None:
    """Refuse UVs that repeat a texture of this resolution too many times, before any work is done for it.

    Raises:
        RequestError: names the object, and says how many texels that would be.
    """
    for part in mesh.textured_parts:
        assert part.uv is not None
        try:
            check_sample_count(to_texel_space(part.uv, resolution))
        except RequestError as error:
            raise RequestError(f"'{part.name}': {error.message}", error.fix) from error


def overlap_share(uv: Float, resolution: int = 512) -> float:
    """How much of the covered texture is covered more than once, 0..1.

    Raises:
        RequestError: UVs that repeat the texture too many times.
    """
    if _triangles_lie_apart(uv):
        return 0.0
    counts = np.zeros(resolution**2, np.int64)
    for _, row, column in scan_chunks(to_texel_space(uv, resolution)):
        counts += np.bincount(texel_index(row, column, resolution), minlength=resolution**2)
    covered = int((counts > 0).sum())
    return float((counts > 1).sum() / covered) if covered else 0.0


def _triangles_lie_apart(uv: Float) -> bool:
    """Whether no two of a few triangles share area, inside 0..1; False where there are more of them.

    Two convex shapes do not where a side of either has the other beyond it. Corners and sides that they share are so to
    the last digit.
    """
    if not 0 < len(uv) <= MOST_TRIANGLES or not (uv.min() >= 0 and uv.max() <= 1):
        return False
    sides = np.roll(uv, -1, axis=1) - uv
    area = sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]
    outward = np.stack([sides[..., 1], -sides[..., 0]], axis=-1) * np.sign(area)[:, None, None]  # [F, 3, 2]
    away = uv[None, None] - uv[:, :, None, None]  # [F, 3, F, 3, 2]
    along = away[..., 0] * outward[..., 0, None, None] + away[..., 1] * outward[..., 1, None, None]
    apart = np.any(np.all(along >= 0, axis=3), axis=1)
    apart: NDArray[np.bool_] = np.logical_or(apart, apart.T)
    np.fill_diagonal(apart, True)
    return bool(apart.all())


def distinct_rows(columns: Sequence[NDArray[Any]]) -> tuple[Int, Int]:
    """The distinct rows of a table in ascending order, the first column counting most.

    What `np.unique(…, axis=0)` gives, several times as fast.

    Args:
        columns: [N] each.

    Returns:
        number [N] of each row among the distinct ones, and the index of the first row of each number.
    """
    key = _row_keys(columns)
    if key is None:
        order = np.lexsort(tuple(columns[::-1]))
        starts = np.ones(len(order), bool)
        starts[1:] = False
        for column in columns:
            arranged = column[order]
            starts[1:] |= arranged[1:] != arranged[:-1]
        first = order[starts]
    else:
        order, arranged = _arranged(key)
        starts = np.ones(len(order), bool)
        np.not_equal(arranged[1:], arranged[:-1], out=starts[1:])
        first = np.minimum.reduceat(order, np.flatnonzero(starts))
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(starts) - 1
    return number, first


def _row_keys(columns: Sequence[NDArray[Any]]) -> Int | None:
    """[N] a whole number for each row that orders rows as their columns do; None where 62 bits cannot hold it."""
    count = len(columns[0])
    if not count or any(np.isnan(column).any() for column in columns):  # what is not a number is equal to none
        return None
    key, span = np.zeros(count, np.int64), 1
    for column in columns:
        ranks = column if np.issubdtype(column.dtype, np.integer) else _ranks(column)
        least, most = int(ranks.min()), int(ranks.max())
        span *= most - least + 1
        if span >= 1 << 62:
            return None
        key *= most - least + 1
        key += ranks - least
    return key


def _ranks(values: NDArray[Any]) -> Int:
    """[N] the place of each value among the distinct ones."""
    order = np.argsort(values)
    arranged = values[order]
    ranks = np.empty(len(values), np.int64)
    ranks[order] = np.cumsum(np.concatenate([[False], arranged[1:] != arranged[:-1]]))
    return ranks


def _arranged(key: Int) -> tuple[Int, Int]:
    """What brings keys [N] into ascending order, equal ones in any, and the keys in it."""
    bits = len(key).bit_length()
    if int(key.max()) >> (62 - bits) == 0:  # sorting numbers is many times as fast as sorting what points at them
        packed = np.sort((key << bits) | np.arange(len(key)))
        return packed & ((1 << bits) - 1), packed >> bits
    order = np.argsort(key)
    return order, key[order]


def numbered(labels: NDArray[Any]) -> Int:
    """[...] labels from 0 up, some of which may not occur, as numbers without gaps in the same order.

    It is `np.unique(…, return_inverse=True)[1]` without sorting.
    """
    occurs = np.zeros(int(labels.max()) + 1, bool)
    occurs[labels] = True
    return (np.cumsum(occurs) - 1)[labels]


def position_ids(part: Part) -> Int:
    """[F, 3] a number per distinct place: corners that meet in space share it, whatever the file's indices say."""

    def make() -> Int:
        return distinct_rows([np.ascontiguousarray(column) for column in (part.vertices + 0.0).T])[0][part.faces]

    return kept(part, "position_ids", make)


def corner_ids(part: Part) -> Int:
    """[F, 3] a number per distinct pair of place and UV: corners that meet in space and in the texture share it."""

    def make() -> Int:
        assert part.uv is not None
        uv = np.round(part.uv.reshape(-1, 2) * 2.0**22).astype(np.int64)
        return distinct_rows([position_ids(part).reshape(-1), uv[:, 0], uv[:, 1]])[0].reshape(-1, 3)

    return kept(part, "corner_ids", make)


def islands(part: Part) -> Int:
    """[F] the UV island each face belongs to, numbered from 0: faces hang together where they share a UV corner."""

    def make() -> Int:
        corner = corner_ids(part)
        face = np.repeat(np.arange(len(corner)), 3)
        links = sparse.coo_array(
            (np.ones(corner.size, np.int8), (face, corner.reshape(-1) + len(corner))),
            shape=(len(corner) + corner.max() + 1,) * 2,
        )
        _, label = connected_components(links, directed=False)
        return numbered(label[: len(corner)])

    return kept(part, "islands", make)


def texture_groups(part: Part) -> Int:
    """[F] like `islands`, but islands that lie on top of each other in the texture count as one: they share texels."""
    return kept(part, "texture_groups", lambda: _texture_groups(part))


def _lie_apart(part: Part, island: Int, count: int) -> bool:
    """Whether no two islands can share a texel, by the boxes around them; False where boxes cannot tell."""
    assert part.uv is not None
    if count > MOST_BOXES or part.uv.min() < 0 or part.uv.max() > 1:
        return False
    low, high = np.ones((count, 2)), np.zeros((count, 2))
    np.minimum.at(low, island, part.uv.min(axis=1))
    np.maximum.at(high, island, part.uv.max(axis=1))
    meet = ((low[:, None] <= high) & (low <= high[:, None])).all(axis=2)
    return int(meet.sum()) == count  # each only itself


def _texture_groups(part: Part, resolution: int = 512) -> Int:
    island = islands(part)
    count = int(island.max()) + 1
    if count == 1 or _lie_apart(part, island, count):
        return island
    # Each island on a texel is linked to the last one there: that joins all of them.
    last = np.full(resolution**2, -1, np.int64)
    links: list[Int] = []
    for face, row, column in _samples(part, resolution):
        texel, here = texel_index(row, column, resolution), island[face]
        before = last[texel]
        last[texel] = here
        for other in (before, last[texel]):
            apart = (other >= 0) & (other != here)
            links.append(np.unique(here[apart] * count + other[apart]))
    pair = np.unique(np.concatenate(links)) if links else np.zeros(0, np.int64)
    if not len(pair):
        return island
    joined = sparse.coo_array((np.ones(len(pair), np.int8), np.divmod(pair, count)), shape=(count, count))
    _, label = connected_components(joined, directed=False)
    return label.astype(np.int64)[island]
