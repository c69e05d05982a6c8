"""Which pixel centres lie in which triangles, by scan lines, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddrep_core.errors import RequestError
from ddrep_core.geometry.mesh import Float, Int

MOST_SAMPLES = 200_000_000
"""Of all triangles of a part: texture repeats that cost more are refused. About 20 s of one core."""
LINES = 500_000  # scan lines that are cut at a time
SAMPLES = 2_000_000  # pixel centres that are given at a time, where one scan line does not hold more


def scan_triangles(points: Float) -> tuple[Int, Int, Int]:
    """Which pixel centres lie in which triangles.

    Triangles that share an edge never share a pixel: intervals are half open, and an edge's crossing is computed the
    same way from both its sides.

    Args:
        points: [F, 3, 2] corners (x, y), pixel centres at +0.5.

    Returns:
        triangle, row and column [N] of each covered centre, by triangle, row, column; rows and columns may lie outside
        any picture.

    Raises:
        RequestError: more than `MOST_SAMPLES`.
    """
    chunks = list(scan_chunks(points))
    if not chunks:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    triangle, row, column = (np.concatenate(arrays) for arrays in zip(*chunks, strict=True))
    return triangle, row, column


def scan_chunks(points: Float) -> Iterator[tuple[Int, Int, Int]]:
    """What `scan_triangles` returns, in the same order, in pieces of about `SAMPLES`: memory is bounded.

    Raises:
        RequestError: as `scan_triangles`; before the first piece.
    """
    for triangle, row, first, count in scan_spans(points):
        for piece in pieces(count, SAMPLES):
            span, column = expand(first[piece], count[piece])
            yield triangle[piece][span], row[piece][span], column


def scan_spans(points: Float) -> Iterator[tuple[Int, Int, Int, Int]]:
    """The same pixel centres by scan line: triangle, row, first column, and how many [N]; about `LINES` at a time.

    Raises:
        RequestError: as `scan_triangles`; before the first piece.
    """
    check_sample_count(points)
    lowest, highest = _heights(points)
    top = np.ceil(lowest - 0.5).astype(np.int64)
    lines = np.maximum(np.ceil(highest - 0.5).astype(np.int64) - top, 0)
    for triangle, row in _lines(top, lines):
        low, high = _crossings(points, triangle, row)
        hit = low < high
        first = np.ceil(np.where(hit, low, 0.0) - 0.5).astype(np.int64)
        count = np.where(hit, np.maximum(np.ceil(np.where(hit, high, 0.0) - 0.5).astype(np.int64) - first, 0), 0)
        yield triangle, row, first, count


def check_sample_count(points: Float) -> None:
    """Refuse triangles [F, 3, 2] that cover more pixels than can be looked at, before anything is made for them."""
    if len(points) == 0:
        return
    lowest, highest = _heights(points)
    lines = highest - lowest
    sides = points[:, 1:] - points[:, :1]
    area = np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]) / 2
    count = max(float(area.sum()), float(np.maximum(lines - 1, 0).sum()))
    if count > MOST_SAMPLES:
        raise RequestError(
            f"The UVs cover {count / 1e6:,.0f} million texels, those that they repeat or share counted each time, and "
            f"{MOST_SAMPLES / 1e6:.0f} million are possible.",
            "Ask for a lower resolution, or unwrap the mesh into 0..1, where no two faces share a place.",
        )


def _heights(points: Float) -> tuple[Float, Float]:
    """[F] the least and the greatest y of each triangle; several times as fast as reductions along so short an axis."""
    first, second, third = (points[:, k, 1] for k in range(3))
    return np.minimum(np.minimum(first, second), third), np.maximum(np.maximum(first, second), third)


def _lines(top: Int, lines: Int) -> Iterator[tuple[Int, Int]]:
    """Triangle and row [N] of every scan line, in order, about `LINES` at a time."""
    ends = np.cumsum(lines)
    total = int(ends[-1]) if len(ends) else 0
    for begin in range(0, total, LINES):
        numbers = np.arange(begin, min(begin + LINES, total))
        triangle = np.searchsorted(ends, numbers, side="right")
        yield triangle, numbers - (ends[triangle] - lines[triangle]) + top[triangle]


def _crossings(points: Float, triangle: Int, row: Int) -> tuple[Float, Float]:
    """[N] where each scan line enters and leaves its triangle; infinite, the wrong way round, where it does not."""
    line = row + 0.5
    low, high = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    starts = np.diff(triangle, prepend=-1) > 0
    where = np.cumsum(starts) - 1
    corners = points[triangle[starts]]
    for k in range(3):
        a, b = corners[:, k], corners[:, (k + 1) % 3]
        swap = (a[:, 1] > b[:, 1]) | ((a[:, 1] == b[:, 1]) & (a[:, 0] > b[:, 0]))
        a, b = np.where(swap[:, None], b, a), np.where(swap[:, None], a, b)
        (left, bottom), (width, height) = a.T, (b - a).T
        start = bottom[where]
        crossed = np.flatnonzero((start <= line) & (line < b[:, 1][where]))
        own = where[crossed]
        x = left[own] + (line[crossed] - start[crossed]) * width[own] / height[own]
        low[crossed], high[crossed] = np.minimum(low[crossed], x), np.maximum(high[crossed], x)
    return low, high


def pieces(count: Int, most: int) -> Iterator[slice]:
    """Slices of neighbours whose counts add up to about `most`, and to something."""
    ends = np.cumsum(count)
    begin, done = 0, 0
    while begin < len(ends) and done < ends[-1]:
        end = max(int(np.searchsorted(ends, done + most, side="right")), begin + 1)
        yield slice(begin, end)
        begin, done = end, int(ends[end - 1])


def expand(first: Int, count: Int) -> tuple[Int, Int]:
    """The numbers first[i] … first[i] + count[i] - 1 of all i in a row, each with its i."""
    owner = np.repeat(np.arange(len(count)), count)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count) + first[owner]


def gathered(chunks: Iterable[tuple[NDArray[Any], ...]], least: int) -> Iterator[tuple[NDArray[Any], ...]]:
    """Tuples of arrays of one length, neighbours joined until they have at least so many rows; none is empty."""
    waiting: list[tuple[NDArray[Any], ...]] = []
    count = 0

    def joined() -> tuple[NDArray[Any], ...]:
        return waiting[0] if len(waiting) == 1 else tuple(map(np.concatenate, zip(*waiting, strict=True)))

    for chunk in chunks:
        if not len(chunk[0]):
            continue
        waiting.append(chunk)
        count += len(chunk[0])
        if count >= least:
            yield joined()
            waiting, count = [], 0
    if waiting:
        yield joined()
