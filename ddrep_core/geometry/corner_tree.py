"""The corners that are left of a polygon while ears are cut off it, and the last of them in a triangle."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEAF_CORNERS = 8  # at most
ROUNDING = 64 * 2.0**-52
NONE = -1


class CornerTree:
    """Corners in boxes that hold boxes, each halved across its longer side.

    In combs and spirals corners crowd in a few places, and ears reach across the whole of them: a grid's cells would
    hold hundreds of corners here and none there, and a triangle would lie over all of them.

    Args:
        corners: [N, 2] where they are.
    """

    def __init__(self, corners: NDArray[np.float64]) -> None:
        self._x, self._y = corners[:, 0].tolist(), corners[:, 1].tolist()
        self._boxes: list[tuple[float, float, float, float]] = []  # of each node: left, low, right, high
        self._last: list[int] = []  # of each node, the last corner that is left; -1 where none is
        self._above: list[int] = []
        self._below: list[tuple[int, int] | None] = []
        self._left: list[list[int]] = []  # of each leaf, its corners that are left
        self._leaf = [NONE] * len(corners)
        self._add(corners, np.arange(len(corners)), NONE)
        self._rounding = ROUNDING * float(np.ptp(corners, axis=0).max())

    def _add(self, corners: NDArray[np.float64], own: NDArray[np.int64], above: int) -> int:
        node = len(self._boxes)
        points = corners[own]
        low, high = points.min(axis=0), points.max(axis=0)
        self._boxes.append((float(low[0]), float(low[1]), float(high[0]), float(high[1])))
        self._last.append(int(own.max()))
        self._above.append(above)
        self._below.append(None)
        self._left.append([])
        if len(own) <= LEAF_CORNERS:
            self._left[node] = own.tolist()
            for corner in self._left[node]:
                self._leaf[corner] = node
        else:
            half = len(own) // 2
            order = np.argpartition(points[:, int(high[1] - low[1] > high[0] - low[0])], half)
            self._below[node] = (
                self._add(corners, own[order[:half]], node),
                self._add(corners, own[order[half:]], node),
            )
        return node

    def remove(self, corner: int) -> None:
        """Take a corner out."""
        node, last = self._leaf[corner], self._last
        self._left[node].remove(corner)
        if last[node] != corner:
            return
        last[node] = max(self._left[node], default=NONE)
        while (node := self._above[node]) != NONE and last[node] == corner:
            first, second = self._below[node] or (NONE, NONE)
            last[node] = max(last[first], last[second])

    def last_within(self, triangle: Sequence[int], ignored: set[tuple[float, float]] | None = None) -> int | None:
        """The last corner in order that lies in a triangle [3] of others, counter-clockwise, its edges included.

        Args:
            ignored: places that do not count.
        """
        x, y, last = self._x, self._y, self._last
        a, b, c = triangle
        ax, ay, bx, by, cx, cy = x[a], y[a], x[b], y[b], x[c], y[c]
        ab_x, ab_y, bc_x, bc_y, ca_x, ca_y = bx - ax, by - ay, cx - bx, cy - by, ax - cx, ay - cy
        # Beside a triangle's box a corner is within its sides by rounding alone: the thinner the triangle, the farther.
        longest = max(ab_x * ab_x + ab_y * ab_y, bc_x * bc_x + bc_y * bc_y, ca_x * ca_x + ca_y * ca_y)
        area = ab_x * (cy - ay) - ab_y * (cx - ax)
        slack = self._rounding * (longest / area) if area > 0 else math.inf
        least_x, most_x = min(ax, bx, cx) - slack, max(ax, bx, cx) + slack
        least_y, most_y = min(ay, by, cy) - slack, max(ay, by, cy) + slack
        best, due = NONE, [0]
        while due:
            node = due.pop()
            if last[node] <= best:
                continue
            left, low, right, high = self._boxes[node]
            if left > most_x or right < least_x or low > most_y or high < least_y:
                continue
            # Beyond a side where its best corner is; rounded as a point's own turn is, and so never wrong.
            if ab_x * ((high if ab_x > 0 else low) - ay) < ab_y * ((left if ab_y > 0 else right) - ax):
                continue
            if bc_x * ((high if bc_x > 0 else low) - by) < bc_y * ((left if bc_y > 0 else right) - bx):
                continue
            if ca_x * ((high if ca_x > 0 else low) - cy) < ca_y * ((left if ca_y > 0 else right) - cx):
                continue
            if (below := self._below[node]) is not None:
                first, second = below
                due += (first, second) if last[first] < last[second] else (second, first)
                continue
            for corner in self._left[node]:
                if corner <= best or corner in triangle:
                    continue
                px, py = x[corner], y[corner]
                if (
                    ab_x * (py - ay) - ab_y * (px - ax) >= 0
                    and bc_x * (py - by) - bc_y * (px - bx) >= 0
                    and ca_x * (py - cy) - ca_y * (px - cx) >= 0
                    and not (ignored and (px, py) in ignored)
                ):
                    best = corner
        return None if best == NONE else best
