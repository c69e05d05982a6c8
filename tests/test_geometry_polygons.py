"""Polygons cut into triangles: all of the polygon and nothing else, fast, and as the obvious way does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ddrep_core.geometry.corner_tree import CornerTree
from ddrep_core.geometry.mesh import Float, Int
from ddrep_core.geometry.triangulation import clip_ears, triangulate

UP = np.array([0.0, 0.0, 1.0])


def obvious(points: Float) -> Int:
    """Ear clipping in [N, 2], corner by corner: the slow way, which asks all corners each time."""

    def turn(a: int, b: int, c: int) -> float:
        p, q, r = points[a], points[b], points[c]
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    left, result = list(range(len(points))), []
    while len(left) > 3:
        for k in range(len(left)):
            a, b, c = left[k - 1], left[k], left[(k + 1) % len(left)]
            others = (i for i in left if i not in (a, b, c))
            if turn(a, b, c) > 0 and not any(min(turn(a, b, i), turn(b, c, i), turn(c, a, i)) >= 0 for i in others):
                break
        else:
            raise AssertionError("not simple")
        result.append((a, b, c))
        left.pop(k)
    return np.asarray([*result, tuple(left)])


def areas(points: Float, triangles: Int) -> Float:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return ((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])) / 2


def polygon_area(points: Float) -> float:
    after = np.roll(points, -1, axis=0)
    return float((points[:, 0] * after[:, 1] - points[:, 1] * after[:, 0]).sum() / 2)


def cut(points: Float) -> Int:
    return clip_ears(np.column_stack([points, np.zeros(len(points))]), UP)


def assert_covered(points: Float, triangles: Int) -> None:
    """N - 2 triangles on the polygon's corners. None is turned over: then they cover the polygon once, and no more."""
    assert triangles.shape == (len(points) - 2, 3)
    found, size = areas(points, triangles), polygon_area(points)
    assert found.min() >= -1e-12 * size
    assert np.isclose(found.sum(), size, rtol=1e-9)
    sides = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    _, counts = np.unique(sides, axis=0, return_counts=True)
    assert (counts == 1).sum() == len(points) and (counts <= 2).all()


def star(radii: list[float], turn: float = 0.0) -> Float:
    """A simple polygon that is seen whole from the origin."""
    angles = 2 * np.pi * np.arange(len(radii)) / len(radii) + turn
    return np.asarray(radii)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def comb(teeth: int, lengths: list[float]) -> Float:
    """A bar with teeth of different lengths: much of it sees little of the rest."""
    points = [(0.0, -1.0), (2.0 * teeth, -1.0)]
    for tooth in reversed(range(teeth)):
        x = 2.0 * tooth
        points += [(x + 2, 0), (x + 1.5, lengths[tooth % len(lengths)]), (x + 1, 0)]
    return np.asarray([*points, (0.0, 0.0)])


def spiral(count: int, turns: float = 4.0) -> Float:
    angle = np.linspace(0, 2 * np.pi * turns, count // 2)
    outer = (1 + angle)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([outer[:1] * 0.5, outer, (outer * (1 - 0.3 / (1 + angle))[:, None])[:0:-1]])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0.05, 1.0), min_size=4, max_size=24), st.floats(0, 6), st.sampled_from([1e-9, 1.0, 1e9]))
def test_random_stars_are_cut_as_the_obvious_way_cuts_them(radii: list[float], turn: float, scale: float) -> None:
    points = star(radii, turn) * scale
    triangles = cut(points)
    assert_covered(points, triangles)
    assert np.array_equal(triangles, obvious(points))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.lists(st.floats(0.1, 9.0), min_size=1, max_size=5), st.integers(0, 40))
def test_combs_are_covered(teeth: int, lengths: list[float], first: int) -> None:
    points = np.roll(comb(teeth, lengths), first, axis=0)
    triangles = cut(points)
    assert_covered(points, triangles)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=4, max_size=14),
    st.integers(-1, 2),
)
def test_any_polygon_gives_triangles(corners: list[tuple[int, int]], axis: int) -> None:
    """Also one that crosses itself, stands on one line, or goes through a corner twice."""
    flat = np.asarray(corners, float)
    points = np.insert(flat, max(axis, 0), 0.0, axis=1)
    triangles, polygon = triangulate(np.array([len(points)]), points)
    assert triangles.shape == (len(points) - 2, 3) and (polygon == 0).all()
    assert triangles.min() >= 0 and triangles.max() < len(points)
    normals = np.cross(
        points[triangles[:, 1]] - points[triangles[:, 0]], points[triangles[:, 2]] - points[triangles[:, 0]]
    )
    fan = np.cross(points[1:-1] - points[0], points[2:] - points[0])
    assert np.allclose(normals.sum(axis=0), fan.sum(axis=0))  # signed areas agree whatever the cuts


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("first", range(10))
def test_a_hole_that_a_bridge_joins_to_the_outline_stays_a_hole(first: int, turned: bool) -> None:
    outline = [(0, 0), (4, 0), (4, 4), (0, 4), (0, 0)]
    hole = [(1, 1), (1, 3), (3, 3), (3, 1), (1, 1)]
    points = np.roll(np.asarray(outline + hole, float), first, axis=0)
    if turned:
        points = points @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    triangles = cut(points)
    found = areas(points, triangles)
    assert found.min() >= -1e-12
    assert np.isclose(found.sum(), 12)


def test_polygons_that_look_every_way_keep_their_side() -> None:
    flat = np.array([(0, 0), (4, 0), (1, 1), (0, 4)], float)
    for drop in range(3):
        for points in (np.insert(flat, drop, 2.0, axis=1), np.insert(flat, drop, 2.0, axis=1)[::-1]):
            whole = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)
            triangles, _ = triangulate(np.array([4]), points)
            normals = np.cross(
                points[triangles[:, 1]] - points[triangles[:, 0]], points[triangles[:, 2]] - points[triangles[:, 0]]
            )
            assert (normals @ whole >= 0).all()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0.3, 1.0), min_size=4, max_size=14), st.integers(2, 5), st.floats(0, 6), st.integers(0, 99))
def test_corners_in_one_line_are_cut_as_the_obvious_way_cuts_them(
    radii: list[float], pieces: int, turn: float, first: int
) -> None:
    """Rounding alone says on which side of a line they are: it says the same of a corner far along it."""
    ends = star(radii, turn)
    along = np.arange(pieces)[:, None] / pieces
    points = (ends[:, None] * (1 - along) + np.roll(ends, -1, axis=0)[:, None] * along).reshape(-1, 2)
    points = np.roll(points, first, axis=0)
    try:
        expected = obvious(points)
    except AssertionError:  # rounded so that none of its corners is an ear
        assume(False)
    else:
        assert np.array_equal(cut(points), expected)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(3, 60), st.integers(1, 5), st.booleans())
def test_the_last_corner_in_a_triangle_is_found(seed: int, count: int, across: int, crowded: bool) -> None:
    """Whatever is left, and however corners crowd on few places or in one line."""
    random = np.random.default_rng(seed)
    points = random.integers(0, across + 1, (count, 2)).astype(float) if crowded else random.random((count, 2))
    tree, left = CornerTree(points), list(range(count))
    while len(left) >= 3:
        a, b, c = (int(k) for k in random.choice(left, 3, replace=False))
        sides = [points[q] - points[p] for p, q in ((a, b), (b, c), (c, a))]
        if sides[0][0] * sides[1][1] - sides[0][1] * sides[1][0] > 0:
            within = [
                k
                for k in left
                if k not in (a, b, c)
                and all(
                    side[0] * (points[k] - points[p])[1] - side[1] * (points[k] - points[p])[0] >= 0
                    for side, p in zip(sides, (a, b, c), strict=True)
                )
            ]
            assert tree.last_within((a, b, c)) == max(within, default=None)
            here = {tuple(points[k].tolist()) for k in within[-1:]}
            others = [k for k in within if tuple(points[k].tolist()) not in here]
            assert tree.last_within((a, b, c), here) == max(others, default=None)
        tree.remove(left.pop(int(random.integers(len(left)))))


def hooks(count: int) -> Float:
    """A comb all of whose teeth are as long: every ear reaches from one end to the other."""
    teeth = count // 4
    points = [point for k in range(teeth) for point in ((2 * k, 100), (2 * k, 0), (2 * k + 1, 0), (2 * k + 1, 100))]
    return np.asarray([(2 * teeth, 101), (0, 101), (0, 100), *points[1:]], float)


def rough_star(count: int) -> Float:
    return star(np.random.default_rng(1).uniform(0.05, 1.0, count).tolist())


def gear(count: int) -> Float:
    around = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return star((1 + 0.3 * np.sin(count // 20 * around) + 0.1 * np.sin(3 * around)).tolist())


LARGE: dict[str, Callable[[int], Float]] = {
    "circle": lambda count: star([1.0] * count),
    "zigzag star": lambda count: star([1.0, 0.5] * (count // 2)),
    "spikes": lambda count: star([1.0, 0.02] * (count // 2)),
    "rough star": rough_star,
    "gear": gear,
    "comb": lambda count: comb(count // 3, np.random.default_rng(0).uniform(0.1, 9, 50).tolist()),
    "even comb": hooks,
    "spiral": lambda count: spiral(count),
    "long spiral": lambda count: spiral(count, 20.0),
}


@pytest.mark.parametrize("shape", LARGE)
def test_large_polygons_do_not_look_at_all_corners_each_time(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted is work, not time: boxes of corners that were asked, for a polygon of four times the corners."""
    asked = [0]

    class Counting(list):
        def __getitem__(self, node: Any) -> Any:
            asked[-1] += 1
            return super().__getitem__(node)

    made = CornerTree.__init__

    def counting(self: CornerTree, corners: Float) -> None:
        made(self, corners)
        self._boxes = Counting(self._boxes)

    monkeypatch.setattr(CornerTree, "__init__", counting)
    for count in (400, 1600):
        asked.append(0)
        points = LARGE[shape](count)
        points = points if polygon_area(points) > 0 else points[::-1]
        assert_covered(points, cut(points))
    assert asked[2] < 8 * asked[1]  # 4 times were linear, 16 square
    assert asked[2] < 150 * 1600


@pytest.mark.parametrize("make", [spiral, lambda count: comb(count // 3, [1.0, 5.0, 0.2])])
def test_spirals_and_long_combs_are_covered(make) -> None:
    points = make(900)
    if polygon_area(points) < 0:
        points = points[::-1]
    assert_covered(points, cut(points))
