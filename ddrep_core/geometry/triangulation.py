"""Polygons cut into triangles: convex ones as a fan, others by clipping ears.

Ears are clipped in the order of the corners: always the first corner that is an ear. `clip_ears` finds it without
asking all corners each time, so that a polygon of many thousand corners takes seconds and not hours; a test holds it
equal to the obvious way.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from ddrep_core.geometry.corner_tree import CornerTree

Float = NDArray[np.float64]
Int = NDArray[np.int64]

TESTS_PER_CORNER = 8  # no simple polygon needs so many; one that crosses itself may never end


def triangulate(sizes: Int, points: Float) -> tuple[Int, Int]:
    """Triangles [F, 3] of corner numbers, and [F] the polygon of each, in the polygons' order.

    Args:
        sizes: [N] corners per polygon, three or more.
        points: [sum(sizes), 3] where the corners are.
    """
    starts = np.cumsum(sizes) - sizes
    firsts = np.cumsum(sizes - 2) - (sizes - 2)
    polygon = np.repeat(np.arange(len(sizes)), sizes - 2)
    step = np.arange(len(polygon)) - np.repeat(firsts, sizes - 2)
    first = starts[polygon]
    triangles = np.stack([first, first + step + 1, first + step + 2], axis=1)
    # A fan is right where all its triangles turn the same way; the few other polygons are clipped ear by ear.
    edges = points[triangles[:, 1:]] - points[triangles[:, :1]]
    normals = np.cross(edges[:, 0], edges[:, 1])
    total = np.zeros((len(sizes), 3))
    np.add.at(total, polygon, normals)
    wrong = np.unique(polygon[(np.einsum("ij,ij->i", normals, total[polygon]) < 0) & (sizes[polygon] > 3)])
    for index in wrong:
        size, start = int(sizes[index]), int(starts[index])
        local = clip_ears(points[start : start + size], total[index])
        triangles[firsts[index] : firsts[index] + size - 2] = start + local
    return triangles, polygon


def clip_ears(points: Float, normal: Float) -> Int:
    """[N - 2, 3] triangles of a simple polygon by ear clipping in its own plane.

    A polygon that touches itself (a hole that is joined to the outline by a bridge) is cut right too; one that crosses
    itself is cut somehow.

    Args:
        points: [N, 3] its corners in order.
        normal: [3] the side it is counter-clockwise from; of any length.
    """
    drop = int(np.argmax(np.abs(normal)))
    flat = np.delete(points, drop, axis=1)
    if (normal[drop] < 0) != (drop == 1):  # keep it counter-clockwise after the projection
        flat = flat * np.array([-1.0, 1.0])
    return _Clipping(flat).run()


class _Clipping:
    """One polygon [N, 2], counter-clockwise, while its ears are cut off.

    A corner is an ear where the polygon turns left and no other corner left lies in its triangle. As corners only ever
    go, a corner's state changes when a neighbour goes, or when the corner goes that lay in its triangle: each corner
    that is no ear waits for one such, the last in order, for the first ones go first.
    """

    def __init__(self, flat: Float) -> None:
        count = len(flat)
        self._x, self._y = flat[:, 0].tolist(), flat[:, 1].tolist()
        self._before = [count - 1, *range(count - 1)]
        self._after = [*range(1, count), 0]
        self._alive = [True] * count
        self._first = 0
        self._ears: list[int] = []  # a heap; what is in it may be no ear any more
        self._is_ear = [False] * count
        self._blocked: set[int] = set()  # turns left, and something lies in the triangle
        self._waiting: dict[int, list[int]] = {}  # corner -> those that wait until it goes
        self._tests_left = TESTS_PER_CORNER * (count + 25)
        self._tree = CornerTree(flat)

    def run(self) -> Int:
        count = len(self._x)
        result = []
        for corner in range(count):
            self._judge(corner)
        for _ in range(count - 3):
            corner = self._next()
            a, c = self._before[corner], self._after[corner]
            result.append((a, corner, c))
            self._cut(corner, a, c)
        last = self._first
        result.append((last, self._after[last], self._before[last]))
        return np.asarray(result, np.int64)

    def _next(self) -> int:
        """The first ear; where there is none, the polygon is not simple."""
        while self._ears:
            corner = heapq.heappop(self._ears)
            if self._alive[corner] and self._is_ear[corner]:
                return corner
        for may_touch in (False, True):
            for corner in sorted(self._blocked) if self._tests_left > 0 else ():
                if self._tests_left <= 0:
                    break
                if self._blocker(corner, self._touching(corner, may_touch)) is None:
                    return corner
        return self._after[self._first]  # any cut is as good

    def _touching(self, corner: int, itself: bool) -> set[tuple[float, float]]:
        """The places of a triangle's ends, and of its own corner: there a polygon that touches itself has others."""
        places = {(self._x[k], self._y[k]) for k in (self._before[corner], self._after[corner])}
        return places | {(self._x[corner], self._y[corner])} if itself else places

    def _cut(self, corner: int, a: int, c: int) -> None:
        self._after[a], self._before[c] = c, a
        self._alive[corner] = False
        self._blocked.discard(corner)
        if corner == self._first:
            self._first = c
        self._tree.remove(corner)
        for other in {a, c, *self._waiting.pop(corner, ())}:
            if self._alive[other]:
                self._judge(other)

    def _judge(self, corner: int) -> None:
        """Find out whether a corner is an ear, and if not what it waits for."""
        a, c = self._before[corner], self._after[corner]
        self._is_ear[corner] = False
        self._blocked.discard(corner)
        if not _turn(self._x, self._y, a, corner, self._x[c], self._y[c]) > 0:
            return
        if self._tests_left <= 0:
            return
        blocker = self._blocker(corner)
        if blocker is None:
            self._is_ear[corner] = True
            heapq.heappush(self._ears, corner)
        else:
            self._blocked.add(corner)
            self._waiting.setdefault(blocker, []).append(corner)

    def _blocker(self, corner: int, ignored: set[tuple[float, float]] | None = None) -> int | None:
        """The last corner in order that lies in a corner's triangle, its edges included.

        Args:
            ignored: places that do not count.
        """
        self._tests_left -= 1
        return self._tree.last_within((self._before[corner], corner, self._after[corner]), ignored)


def _turn(x: list[float], y: list[float], a: int, b: int, px: float, py: float) -> float:
    """Above zero where the point (px, py) lies left of the line from corner a to corner b."""
    return (x[b] - x[a]) * (py - y[a]) - (y[b] - y[a]) * (px - x[a])
