"""Large inputs: what is done in pieces, or once, or on a coarser grid, is what the slow and obvious way gives."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geometry_shapes as shapes
import mesh_corpus
import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from ddrep_core.errors import RequestError
from ddrep_core.geometry import Baker, demo_mesh_path, load_mesh, normals, scan
from ddrep_core.geometry import texels as texel_module
from ddrep_core.geometry.bake import SEEN, solving_resolution
from ddrep_core.geometry.footprints import texel_densities, view_samples
from ddrep_core.geometry.glb import _split_corners
from ddrep_core.geometry.mesh import Float, Int, Mesh, Part
from ddrep_core.geometry.raycast import ray_caster
from ddrep_core.geometry.texel_grids import grid_resolutions, island_groups
from ddrep_core.geometry.texels import distinct_rows, islands, overlap_share, rasterize, texel_samples, texture_groups
from ddrep_core.jobs.blocks import TextureRequest
from ddrep_core.jobs.texture import Texturing
from ddrep_core.views import orbit_views

pytestmark = pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")


def scattered(seed: int, faces: int = 30, reach: float = 2.5) -> Part:
    """Triangles anywhere in space and in the texture, over each other and out of 0..1; some share corners."""
    random = np.random.default_rng(seed)
    vertices = random.normal(size=(faces, 3))
    corners = random.integers(0, faces, (faces, 3))
    uv = random.uniform(-reach, reach, (faces, 1, 2)) + random.uniform(-0.4, 0.4, (faces, 3, 2))
    uv[: faces // 3] = np.round(uv[: faces // 3] * 2) / 2  # some meet in corners
    return Part("p", "p", "", vertices, corners, uv, np.arange(3 * faces).reshape(-1, 3), 3 * faces)


def covered(points: Float) -> list[tuple[int, int, int]]:
    """(triangle, row, column) of each pixel centre inside a triangle, asked one by one. For points on no edge."""
    found = []
    for number, (a, b, c) in enumerate(points):
        low, high = np.floor(np.min([a, b, c], axis=0)).astype(int), np.ceil(np.max([a, b, c], axis=0)).astype(int)
        for row in range(low[1], high[1]):
            for column in range(low[0], high[0]):
                p = np.array([column + 0.5, row + 0.5])
                sides = [
                    (e[0] - s[0]) * (p[1] - s[1]) - (e[1] - s[1]) * (p[0] - s[0]) for s, e in ((a, b), (b, c), (c, a))
                ]
                if min(sides) > 0 or max(sides) < 0:
                    found.append((number, row, column))
    return found


@pytest.fixture(params=[1, 50, 10_000])
def piecewise(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "LINES", request.param)
    monkeypatch.setattr(scan, "SAMPLES", request.param)
    monkeypatch.setattr(normals, "PAIRS", request.param)
    monkeypatch.setattr(texel_module, "PIECE", request.param)


@pytest.mark.usefixtures("piecewise")
@pytest.mark.parametrize("seed", range(2))
def test_pieces_of_a_scan_are_the_whole(seed: int) -> None:
    points = np.random.default_rng(seed).uniform(-9, 9, (12, 3, 2))
    found = list(zip(*(array.tolist() for array in scan.scan_triangles(points)), strict=True))
    assert found == covered(points)


@pytest.mark.usefixtures("piecewise")
@pytest.mark.parametrize("seed", range(3))
def test_each_texel_goes_to_the_first_in_line(seed: int) -> None:
    part, size = scattered(seed), 16
    assert part.uv is not None
    scanned = scan.scan_triangles(texel_module.to_texel_space(part.uv, size))
    samples = list(zip(*(array.tolist() for array in scanned), strict=True))
    place = texel_module._places_in_line(part)
    owner: dict[int, tuple[int, int, int]] = {}
    for face, row, column in samples:
        texel = row % size * size + column % size
        if texel not in owner or place[face] < place[owner[texel][0]]:
            owner[texel] = face, row, column
    texels = rasterize(part, size)
    assert texels.index.tolist() == sorted(owner)
    assert texels.face.tolist() == [owner[texel][0] for texel in sorted(owner)]
    assert texels.centre.tolist() == [[owner[texel][2], owner[texel][1]] for texel in sorted(owner)]
    wanted = np.random.default_rng(seed).uniform(size=len(owner)) < 0.3
    asked = set(np.flatnonzero(wanted))
    number = {texel: position for position, texel in enumerate(sorted(owner))}
    expected = [
        (number[t], face) for face, row, column in samples if number[t := row % size * size + column % size] in asked
    ]
    found = [pair for t, face, _ in texel_samples(part, texels, wanted) for pair in zip(t.tolist(), face, strict=True)]
    assert found == expected
    for t, face, weights in texel_samples(part, texels, wanted):
        own = face == texels.face[t]
        once = own & (np.bincount(t[own], minlength=len(owner)) == 1)[t]
        positions = np.einsum("nk,nkj->nj", weights, part.triangles[face])
        assert np.allclose(positions[once], texels.positions(part)[t[once]])


@pytest.mark.parametrize("seed", range(4))
def test_islands_over_each_other_are_one_group(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph of islands and of all texels, whose pieces the groups are."""
    monkeypatch.setattr(scan, "SAMPLES", 30_000)
    part = scattered(seed, faces=12, reach=1.0 + seed / 2)
    assert part.uv is not None
    island = islands(part)
    face, row, column = scan.scan_triangles(texel_module.to_texel_space(part.uv, 512))
    texel, count = row % 512 * 512 + column % 512, int(island.max()) + 1
    links = sparse.coo_array((np.ones(len(texel), np.int8), (island[face], texel + count)), shape=(count + 512**2,) * 2)
    _, label = connected_components(links, directed=False)
    _, expected = np.unique(label[:count], return_inverse=True)
    assert np.array_equal(texture_groups(part), expected[island])
    counts = np.bincount(texel, minlength=512**2)
    assert overlap_share(part.uv) == (counts > 1).sum() / (counts > 0).sum()


@settings(max_examples=60, deadline=None)
@given(some.integers(0, 10**6), some.sampled_from(["squares", "lattice", "anywhere"]))
def test_few_triangles_lie_apart_where_no_texel_is_twos(seed: int, where: str) -> None:
    """What is told from sides alone is what the texels say; squares in two, turned, are always apart."""
    random = np.random.default_rng(seed)
    corners = random.integers(0, 5, (8, 3, 2)) / 4 if where == "lattice" else random.uniform(0, 1, (3, 3, 2)) ** 2
    if where == "squares":
        place = random.permutation([(x, y) for x in range(3) for y in range(3)])[:4, None]
        square = (place + np.array([[0, 0], [1, 0], [1, 1], [0, 1]])) @ [[3, 1], [-1, 3]] / 13 + [0.24, 0]
        corners = np.concatenate([square[:, [0, 1, 2]], square[:, [0, 3, 2]]])
    _, row, column = scan.scan_triangles(texel_module.to_texel_space(corners, 512))
    twice = int((np.bincount(row * 512 + column, minlength=512**2) > 1).sum())
    apart = texel_module._triangles_lie_apart(corners)
    assert apart or where != "squares"
    assert not (apart and twice)
    assert apart or twice or where == "anywhere"


@settings(max_examples=40, deadline=None)
@given(some.lists(some.tuples(some.integers(-2, 2), some.sampled_from([0.0, -0.0, 1.5, 1e30])), min_size=1))
def test_distinct_rows_are_numpys(rows: list[tuple[int, float]]) -> None:
    table = np.array(rows, float)
    expected, first, number = np.unique(table, axis=0, return_index=True, return_inverse=True)
    found, corner = distinct_rows(list(table.T))
    assert np.array_equal(found, number.reshape(-1)) and np.array_equal(corner, first)
    assert np.array_equal(table[corner], expected)


@settings(max_examples=60, deadline=None)
@given(some.data(), some.sampled_from([3, 2**20, 2**40, 2**63]), some.integers(1, 3))
def test_distinct_rows_of_numbers_of_any_size(data: some.DataObject, span: int, width: int) -> None:
    """Those that fit a word together with their place, those that fit alone, and those that do not."""
    numbers = some.sampled_from([-span // 2, -1, 0, 1, span // 2 - 1])
    rows = data.draw(some.lists(some.tuples(*[numbers] * width), min_size=1))
    table = np.array(rows, np.int64)
    _, first, number = np.unique(table, axis=0, return_index=True, return_inverse=True)
    found, corner = distinct_rows(list(table.T))
    assert np.array_equal(found, number.reshape(-1)) and np.array_equal(corner, first)


def test_corners_are_split_as_numpy_would() -> None:
    random = np.random.default_rng(0)
    vertex, uv = random.integers(0, 5, 60), random.integers(0, 2, (60, 2)).astype(np.float32)
    whole, corner, flat = np.unique(
        np.concatenate([vertex[:, None], uv], axis=1), axis=0, return_index=True, return_inverse=True
    )
    found = _split_corners(vertex, uv)
    for array, expected in zip(found, (whole[:, 0], corner, flat.reshape(-1, 3)), strict=True):
        assert np.array_equal(array, expected)


@given(some.lists(some.integers(0, 4)), some.integers(1, 6))
def test_small_pieces_are_gathered_in_order(sizes: list[int], least: int) -> None:
    ends = np.cumsum([0, *sizes])
    chunks = [(np.arange(a, b), np.arange(a, b) * 2.0) for a, b in itertools.pairwise(ends)]
    found = list(scan.gathered(chunks, least))
    assert [row for numbers, _ in found for row in numbers] == list(range(ends[-1]))
    assert all(np.array_equal(doubles, numbers * 2) for numbers, doubles in found)
    assert all(least <= len(numbers) < least + 4 for numbers, _ in found[:-1])
    assert all(len(numbers) for numbers, _ in found)


@pytest.mark.usefixtures("piecewise")
@pytest.mark.parametrize("shape", ["cube", "sphere"])
def test_crease_normals_corner_by_corner(shape: str, tmp_path: Path) -> None:
    part = load_mesh(shapes.cube_obj(tmp_path / "cube.obj")).parts[0]
    bent = replace(part, vertices=part.vertices + np.random.default_rng(1).normal(size=part.vertices.shape) * 0.2)
    if shape == "sphere":  # smooth but for one corner that is pulled out
        ball = trimesh.creation.icosphere(subdivisions=1)
        ball.vertices[0] *= 3
        bent = Part("b", "b", "", np.array(ball.vertices), np.array(ball.faces), None, part.corners, 0)
    edges = bent.triangles[:, 1:] - bent.triangles[:, :1]
    area = np.cross(edges[:, 0], edges[:, 1])
    unit = area / np.linalg.norm(area, axis=1, keepdims=True)
    for face, corners in enumerate(bent.faces):
        for k, vertex in enumerate(corners):
            around = [f for f in range(len(bent.faces)) if vertex in bent.faces[f]]
            total = sum(area[f] for f in around if unit[f] @ unit[face] >= np.cos(np.radians(45)))
            assert np.allclose(normals.crease_normals(bent)[face, k], total / np.linalg.norm(total))


def slow_resolutions(mesh: Mesh, samples: list, views: object, limit: int, finest: float) -> Int:
    density = np.zeros(len(mesh.faces))
    for view, camera in zip(samples, views, strict=True):  # type: ignore[call-overload]
        face, here = texel_densities(ray_caster(mesh), view, camera)
        density[face] = np.maximum(density[face], here)
    side = mesh.uv[:, 1:] - mesh.uv[:, :1]
    area = np.abs(side[:, 0, 0] * side[:, 1, 1] - side[:, 0, 1] * side[:, 1, 0]) / 2
    groups, found = island_groups(mesh), np.ones(len(mesh.faces), np.int64)
    for group in np.unique(groups[(density > 0) & (groups >= 0)]):
        member = np.flatnonzero((groups == group) & (density > 0))
        order = member[np.argsort(density[member])]
        filled = np.cumsum(area[order])
        typical = density[order[np.searchsorted(filled, 0.75 * filled[-1])]]
        found[groups == group] = int(np.clip(np.ceil(np.sqrt(typical * finest)), 1, limit))
    return found


def test_grids_are_as_fine_island_by_island(tmp_path: Path) -> None:
    shapes.cube_obj(tmp_path / "cube.obj")
    text = shapes.grid_obj(tmp_path / "grid.obj", split=True).read_text()
    text += "o Beam\nv -0.4 1 1.2\nv 0.4 1 1.2\nv 0.4 1 -1.2\nv -0.4 1 -1.2\nf -4 -3 -2 -1\n"
    (tmp_path / "beam.obj").write_text(text)
    for mesh in (load_mesh(demo_mesh_path()), load_mesh(tmp_path / "beam.obj", objects=["Grid"])):
        views = orbit_views(3, (20.0, 60.0), target=mesh, width=40, height=40)
        samples = [view_samples(ray_caster(mesh), camera, 40, 40, 2) for camera in views]
        found = grid_resolutions(ray_caster(mesh), samples, views, 64, 0.5)
        assert np.array_equal(found, slow_resolutions(mesh, samples, views, 64, 0.5)) and found.max() > 1


@pytest.mark.parametrize("times", [100_000.0, 3e9])
def test_uvs_that_repeat_without_end_are_refused_at_once(tmp_path: Path, times: float) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    uv = mesh.parts[0].uv
    assert uv is not None
    for ask in (lambda: overlap_share(uv * times), lambda: rasterize(replace(mesh.parts[0], uv=uv * times), 64)):
        with pytest.raises(RequestError, match=r"cover [0-9,]{9,} million texels, those that they repeat"):
            ask()


def test_a_coarser_solution_is_the_same_picture_and_bleeds_nowhere(tmp_path: Path) -> None:
    """Where texels are many times finer than pixels, solving for a quarter of them is as good."""
    mesh = load_mesh(demo_mesh_path())
    views = orbit_views(4, (10.0, 50.0), target=mesh, width=32, height=32)
    y, x = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 32), indexing="ij")
    pictures = torch.stack([torch.stack([x, y, (x + y) / 2])] * len(views))
    exact = Baker(mesh, views, 256, (32, 32))
    coarse = Baker(mesh, views, 256, (32, 32), most_texels=10_000)
    assert exact.graph.resolution == 256 and coarse.graph.resolution < 150
    (one,), (two,) = exact.bake(pictures).values(), coarse.bake(pictures).values()
    assert one.texture.shape == two.texture.shape
    inside = one.coverage > 0
    assert np.array_equal(inside, two.coverage > 0)
    assert ((one.coverage == SEEN) != (two.coverage == SEEN)).mean() < 0.01
    difference = (one.texture - two.texture).abs().numpy()
    difference = difference[:, inside]
    assert np.sqrt((difference**2).mean()) < 0.006 and np.quantile(difference, 0.99) < 0.02
    # A cube of two colours, its faces close to each other in the texture.
    cube = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    above = shapes.cameras([(0.3, 0.2, 6), (2, -5, 0.1), (-5, 2, 0.1), (2, 5, -0.1), (5, -2, 0.1)], 24)
    flat = torch.zeros(5, 3, 24, 24)
    flat[0] = 1
    (found,) = Baker(cube, above, 256, (24, 24), most_texels=3_000).bake(flat).values()
    texels = rasterize(cube.parts[0], 256)
    top = texels.positions(cube.parts[0])[:, 2] > 0.999
    brightness = found.texture.mean(dim=0).reshape(-1).numpy()[texels.index]
    assert brightness[top].mean() > 0.9 and brightness[~top].mean() < 0.12


def test_what_is_solved_for_follows_pictures_only_where_textures_are_huge(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    share = texel_module.covered_share(mesh.parts[0])
    assert [solving_resolution(mesh, size, 8 * 64 * 64) for size in (16, 1000, 4096)] == [16, 1000, 4096]
    solved = solving_resolution(mesh, 8192, 8 * 64 * 64)
    assert solved < 4096 and solved**2 * share == pytest.approx(2_000_000, rel=0.01)
    assert solving_resolution(mesh, 8192, 8 * 1024 * 1024) > 4 * 1024


def test_many_textures_have_no_more_texels_than_their_few_pixels_need(tmp_path: Path) -> None:
    part = load_mesh(shapes.cube_obj(tmp_path / "cube.obj")).parts[0]
    pixels = 8 * 64 * 64

    def solved(count: int, pixels: int) -> float:
        parts = tuple(replace(part, name=f"{part.name} {number}") for number in range(count))
        mesh = replace(load_mesh(tmp_path / "cube.obj"), parts=parts)
        return solving_resolution(mesh, 4096, pixels) ** 2 * count * texel_module.covered_share(part)

    assert solved(64, pixels) == pytest.approx(2_000_000, rel=0.02)
    assert solved(65, pixels) == pytest.approx(16 * pixels, rel=0.03)
    assert solved(500, 8 * 512 * 512) == solved(500, 8 * 512 * 512 + 1) > 4 * 8 * 512 * 512 * 0.95


def test_more_objects_than_anybody_looks_at_are_not_each_previewed(tmp_path, monkeypatch):
    """A file for each of 10,000 parts took minutes a preview."""
    (tmp_path / "two.obj").write_text(mesh_corpus.two_objects())
    mesh = load_mesh(tmp_path / "two.obj")
    views = orbit_views(2, width=16, height=16, distance=8.0)
    rep = SimpleNamespace(render=lambda: torch.full((2, 3, 16, 16), 0.5))
    outlook: Any = SimpleNamespace(views=views)
    texturing = Texturing(TextureRequest(mesh="m"), mesh, outlook, Baker(mesh, views, 16, (16, 16)))
    session: Any = SimpleNamespace(prior=SimpleNamespace(decode=lambda latents: latents, device="cpu"))
    step: Any = SimpleNamespace(diffrep=rep)
    assert [each.kind for each in texturing.previews(session, step)] == ["texture"] * 2 + ["views"]
    monkeypatch.setattr("ddrep_core.jobs.texture.MOST_PREVIEWED", 1)
    assert [each.kind for each in texturing.previews(session, step)] == ["views"]
