"""Rays, depth and texels against closed forms."""

from __future__ import annotations

from pathlib import Path

import geometry_shapes as shapes
import numpy as np
import pytest
import trimesh

from ddrep_core.geometry import RayCaster, depth_maps, load_mesh
from ddrep_core.geometry import texels as texel_module
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.scan import scan_triangles
from ddrep_core.views import Camera, Views, look_at

pytestmark = pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")


def orthographic(name: str, position: tuple[float, float, float], half: float, shift: float = 0.0) -> Camera:
    projection = np.diag([1 / half, 1 / half, -0.02, 1.0])
    projection[0, 3] = shift
    return Camera(name, look_at(position, (0, 0, 0)), projection, 16, 16)


@pytest.fixture
def cube(tmp_path: Path) -> Mesh:
    return load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))


def test_cube_hits(cube: Mesh) -> None:
    caster = RayCaster(cube)
    origins = np.array([[0.3, -5, 0.2], [0, 0, 9], [5, 5, 5], [-4, 0.5, 0.25], [0, 0, 0]], float)
    directions = np.array([[0, 1, 0], [0, 0, -1], [0, 1, 0], [1, 0, 0], [0, 1, 0]], float)
    hits = caster.cast(origins, directions)
    assert hits.hit.tolist() == [True, True, False, True, True]
    assert np.allclose(hits.distance, [4, 8, np.inf, 3, 1])
    assert np.allclose(hits.cosine, [1, 1, 0, 1, -1])  # the last one sees a wall from inside
    places = np.einsum("nk,nkj->nj", hits.barycentric, cube.triangles[hits.face])[hits.hit]
    assert np.allclose(places, (origins + directions * np.nan_to_num(hits.distance, posinf=0)[:, None])[hits.hit])


def test_far_away_sphere_is_hit_where_it_is(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=4)
    ball.vertices += [3000, -2000, 500]
    ball.export(tmp_path / "ball.ply")
    caster = RayCaster(load_mesh(tmp_path / "ball.ply"))
    random = np.random.default_rng(0)
    towards = random.normal(size=(500, 3))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    hits = caster.cast(np.array([3000, -2000, 500]) + 4 * towards, -towards)
    assert hits.hit.all()
    assert np.abs(hits.distance - 3).max() < 5e-3  # a polyhedron inside the sphere
    assert hits.cosine.min() > 0.99


@pytest.mark.parametrize("lens_shift", [0.0, 0.5])
def test_any_projection_matrix(cube: Mesh, lens_shift: float) -> None:
    camera = orthographic("flat", (0, -6, 0), 2.0, lens_shift)
    pixel, hits = RayCaster(cube).pixel_hits(camera, 16, 16)
    seen = np.zeros(256, bool)
    seen[pixel[hits.hit]] = True
    columns = np.flatnonzero(seen.reshape(16, 16).any(axis=0))
    shift = 4 * (camera.projection[0, 3] != 0)
    assert columns.min() == 4 + shift and columns.max() == 11 + shift  # half of the picture is covered
    assert seen.sum() == 64
    depth = depth_maps(cube, Views((camera,)), 16, 16)[0, 0]
    assert np.array_equal(depth.reshape(-1).numpy() == 1, seen)  # one flat face: all of it is nearest


def test_depth_is_inverse_depth(cube: Mesh) -> None:
    camera = shapes.cameras([(2.5, -3.5, 2.0)], 32)[0]
    depth = depth_maps(cube, Views((camera,)), 32, 32)[0, 0].numpy().reshape(-1)
    pixel, hits = RayCaster(cube).pixel_hits(camera, 32, 32)
    points = np.einsum("nk,nkj->nj", hits.barycentric[hits.hit], cube.triangles[hits.face[hits.hit]])
    axis = -camera.matrix_world[:3, 2]
    inverse = 1 / ((points - camera.position) @ axis)
    value = depth[pixel[hits.hit]]
    assert value.max() == 1 and np.isclose(value.min(), 0.25)
    assert np.corrcoef(value, inverse)[0, 1] > 1 - 1e-9
    assert (np.delete(depth, pixel[hits.hit]) == 0).all()


def test_visible_points(cube: Mesh) -> None:
    caster = RayCaster(cube)
    camera = shapes.cameras([(0, -5, 0)])[0]
    points = np.array([[0, -1, 0], [0, 1, 0], [0.5, -1, 0.5], [0, -1, 0], [40, -1, 0]], float)
    normals = np.array([[0, -1, 0], [0, 1, 0], [0, -1, 0], [0, 1, 0], [0, -1, 0]], float)
    assert caster.visible(camera, points, normals).tolist() == [True, False, True, False, False]


@pytest.mark.parametrize(
    "camera", [orthographic("flat", (3, -6, 1), 2.0, 0.5), shapes.cameras([(2.5, -3.5, 2.0)], 32)[0]]
)
def test_rays_to_points_are_those_through_where_they_are_seen(camera: Camera) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, size=(200, 3))
    through, to = camera.rays(camera.project(points)[0]), camera.rays_to(points)
    assert np.allclose(through[0], to[0], atol=1e-9) and np.allclose(through[1], to[1], atol=1e-9)


def test_scan_lines_cover_each_pixel_of_a_triangulated_square_once() -> None:
    random = np.random.default_rng(1)
    inner = np.concatenate([random.uniform(2, 30, size=(40, 2)), [[0, 0], [32, 0], [0, 32], [32, 32]]])
    from scipy.spatial import Delaunay

    points = inner[Delaunay(inner).simplices]
    _, row, column = scan_triangles(points)
    assert len(row) == 32 * 32 and len(np.unique(row * 32 + column)) == 32 * 32


def test_texels_know_their_place(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.grid_obj(tmp_path / "grid.obj"))
    part = mesh.parts[0]
    found = texel_module.rasterize(part, 50)
    row, column = np.divmod(found.index, 50)
    u, v = (column + 0.5) / 50, 1 - (row + 0.5) / 50
    assert np.allclose(found.positions(part), np.stack([(u - 0.1) / 0.4 - 1, (v - 0.1) / 0.4 - 1, 0 * u], axis=1))
    assert len(found.index) == 40 * 40
    assert texel_module.islands(part).max() == 0


def test_islands_and_what_overlaps(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.grid_obj(tmp_path / "split.obj", split=True))
    part = mesh.parts[0]
    island = texel_module.islands(part)
    assert island.max() == 1 and np.array_equal(texel_module.texture_groups(part), island)
    cube = load_mesh(shapes.cube_obj(tmp_path / "cube.obj")).parts[0]
    assert texel_module.islands(cube).max() == 5
    assert cube.uv is not None
    shifted = cube.uv.copy()
    shifted[2:4] = cube.uv[0:2] + np.array([1.0, -2.0])  # the same texels, tiles away
    twice = type(cube)(**{**{f: getattr(cube, f) for f in cube.__dataclass_fields__}, "uv": shifted})
    groups = texel_module.texture_groups(twice)
    assert groups[0] == groups[2] and len(np.unique(groups)) == 5
    assert np.isclose(texel_module.overlap_share(shifted), 1 / 5, atol=0.02)
    assert texel_module.overlap_share(cube.uv) == 0
