"""Baking: what was drawn is found again, and what no view sees goes on smoothly along the surface."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import geometry_shapes as shapes
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import sparse

from ddrep_core.errors import RequestError
from ddrep_core.geometry import Baker, RayCaster, bake, coverage_share, demo_mesh_path, load_mesh
from ddrep_core.geometry.bake import FILLED, OUTSIDE, SEEN
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.multigrid import Multigrid, conjugate_gradient
from ddrep_core.geometry.texel_graph import texel_graph
from ddrep_core.report import Renderer
from ddrep_core.views import Camera, Views, look_at, orbit_views

pytestmark = pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
RAYS = 8  # along a pixel, as the baker itself casts for pictures of these sizes
ABOVE = Camera("above", look_at((0, 0, 5), (0, 0, 0)), np.diag([1.0, 1.0, -0.02, 1.0]), 32, 32)


def slope(points: np.ndarray) -> np.ndarray:
    """A colour [N, 3] that grows linearly with the place [N, 3]."""
    x = points[:, 0]
    return np.stack([0.5 + 0.4 * x, 0.5 - 0.3 * x, 0.4 + 0.2 * x], axis=1)


def photograph(mesh: Mesh, camera: Camera, size: int, background: float = 1.0) -> torch.Tensor:
    """[1, 3, size, size] of a mesh whose first part wears `slope`; other parts are black."""
    pixel, hits = RayCaster(mesh).pixel_hits(camera, size, size, RAYS)
    image = np.zeros((size * size, 3))
    for k in range(3):
        points = np.einsum("nk,nkj->nj", hits.barycentric[hits.hit], mesh.triangles[hits.face[hits.hit]])
        color = np.where(mesh.part_of_face[hits.face[hits.hit]] == 0, slope(points)[:, k], 0.0)
        image[:, k] = np.bincount(pixel[hits.hit], color, minlength=size * size) / RAYS**2
    shown = np.bincount(pixel[hits.hit], minlength=size * size) / RAYS**2
    image += background * (1 - shown[:, None])
    return torch.from_numpy(image.reshape(size, size, 3).transpose(2, 0, 1)[None].copy()).float()


def test_a_hidden_band_across_a_seam_is_filled_linearly(tmp_path: Path) -> None:
    """The middle lies under a beam, and in it the texture changes island, scale and direction.

    The colour grows along X alone: at the square's free edges a membrane meets the border at a right angle.
    """
    text = shapes.grid_obj(tmp_path / "grid.obj", split=True).read_text()
    text += "o Beam\nv -0.4 1 1.2\nv 0.4 1 1.2\nv 0.4 1 -1.2\nv -0.4 1 -1.2\nf -4 -3 -2 -1\n"
    (tmp_path / "beam.obj").write_text(text)
    mesh = load_mesh(tmp_path / "beam.obj", objects=["Grid"])
    baker = Baker(mesh, Views((ABOVE,)), 96, (32, 32), smoothness=1e-3)
    (baked,) = baker.bake(photograph(mesh, ABOVE, 32)).values()
    (part,) = baker.graph.parts
    places = part.texels.positions(part.part)
    found = baked.texture.reshape(3, -1)[:, part.texels.index].numpy().T
    error = np.abs(found - slope(places))
    hidden = np.abs(places[:, 0]) < 0.4
    assert (baker.seen == hidden).mean() < 0.03  # but for the border of 2 x 2 texels
    assert error[hidden].max() < 0.03 and error[~hidden].max() < 0.03
    assert 0.5 < baked.coverage_share < 0.65


def test_the_graph_knows_neighbours_and_welds(tmp_path: Path) -> None:
    whole = texel_graph(load_mesh(shapes.grid_obj(tmp_path / "grid.obj")), 32)
    split = texel_graph(load_mesh(shapes.grid_obj(tmp_path / "split.obj", split=True)), 32)
    cube = texel_graph(load_mesh(shapes.cube_obj(tmp_path / "cube.obj")), 48)
    for graph in (whole, split, cube):
        laplacian = graph.laplacian
        assert np.abs(laplacian @ np.ones(graph.node_count)).max() < 1e-9
        assert abs(laplacian - laplacian.T).max() < 1e-12
        pieces, _ = sparse.csgraph.connected_components(laplacian)
        assert pieces == 1  # islands hang together through their seams
    interior = whole.laplacian.diagonal()
    assert np.isclose(np.median(interior), 4)
    assert np.array_equal(np.unique(whole.aggregates(30)), [0])
    assert len(np.unique(split.aggregates(30))) == 2  # blocks never span islands


def test_what_touches_only_in_the_texture_stays_apart(tmp_path: Path) -> None:
    """Two squares far apart in space, side by side in the texture."""
    lines = ["o Apart"]
    for x in (0, 50):
        lines += [f"v {x} 0 0", f"v {x + 1} 0 0", f"v {x + 1} 1 0", f"v {x} 1 0"]
    for u in (0.0, 0.5):
        lines += [f"vt {u} 0", f"vt {u + 0.5} 0", f"vt {u + 0.5} 1", f"vt {u} 1"]
    lines += ["f 1/1 2/2 3/3 4/4", "f 5/5 6/6 7/7 8/8"]
    (tmp_path / "apart.obj").write_text("\n".join(lines) + "\n")
    graph = texel_graph(load_mesh(tmp_path / "apart.obj"), 32)
    pieces, _ = sparse.csgraph.connected_components(graph.laplacian)
    assert graph.node_count == 32 * 32 and pieces == 2


def test_multigrid_solves_what_a_direct_solver_solves(tmp_path: Path) -> None:
    graph = texel_graph(load_mesh(shapes.cube_obj(tmp_path / "cube.obj")), 160)
    random = np.random.default_rng(0)
    known = random.uniform(size=graph.node_count) < 0.01
    system = (graph.laplacian + sparse.diags_array(known.astype(float))).tocsr()
    rhs = known[:, None] * random.uniform(size=(graph.node_count, 2))
    exact = sparse.linalg.spsolve(system.tocsc(), rhs)
    steps = []

    def apply(x: np.ndarray) -> np.ndarray:
        steps.append(1)
        return system @ x

    multigrid = Multigrid(system, graph.aggregates)
    assert len(multigrid._matrices) > 1
    solution = conjugate_gradient(apply, rhs, np.zeros_like(rhs), multigrid, tolerance=1e-8)
    assert np.abs(solution - exact).max() < 1e-5
    assert len(steps) < 45  # plain conjugate gradients take hundreds


def test_views_drawn_from_a_texture_give_it_back() -> None:
    mesh = load_mesh(demo_mesh_path())
    views = orbit_views(6, (10.0, 50.0), target=mesh, width=96, height=96)
    pictures = torch.cat([photograph(mesh, camera, 96) for camera in views]).clamp(0, 1)
    textures = bake(pictures, mesh, views, 128)
    renderer = Renderer(mesh, textures)
    again = np.stack([renderer.flat(camera, 96, 96, subsamples=4) for camera in views])
    difference = np.abs(again - pictures.permute(0, 2, 3, 1).numpy())
    assert np.sqrt((difference**2).mean()) < 0.01
    assert 0.6 < coverage_share(textures) < 1


def test_textures_are_found_as_well_from_near_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """By fewer steps, and not past what is asked for: the tolerance is of the same error."""
    steps = []
    multigrid = Multigrid.__call__
    monkeypatch.setattr(Multigrid, "__call__", lambda self, residual: steps.append(1) or multigrid(self, residual))
    mesh = load_mesh(demo_mesh_path())
    views = orbit_views(6, (10.0, 50.0), target=mesh, width=64, height=64)
    pictures = torch.cat([photograph(mesh, camera, 64) for camera in views]).clamp(0, 1)
    baker = Baker(mesh, views, 256, (64, 64))

    def found(**options: Any) -> np.ndarray:
        steps.clear()
        return np.concatenate([each.texture.numpy() for each in baker.bake(pictures, **options).values()])

    plain, taken = found(), len(steps)
    near = {name: each.pixels() for name, each in baker.bake(pictures * 0.97 + 0.01).items()}
    sooner, then = found(near=near), len(steps) - 1  # one tells how far off all texels of one colour are
    monkeypatch.setattr(import_module("ddrep_core.geometry.bake"), "TOLERANCE", 1e-5)
    exact = found()
    errors = [float(np.sqrt(((each - exact) ** 2).mean())) for each in (plain, sooner)]
    assert then < taken and errors[1] < 1.5 * errors[0] < 0.01


def test_constant_pictures_and_the_colour_behind_do_not_mix(tmp_path: Path) -> None:
    """A grey cube before red, seen so coarsely that most pixels straddle the silhouette."""
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    views = shapes.cameras([(2, -3, 2), (-2, 3, -1)], 9, 60.0)
    pictures = []
    for camera in views:
        pixel, hits = RayCaster(mesh).pixel_hits(camera, 9, 9, 8)
        share = np.bincount(pixel[hits.hit], minlength=81) / 64
        pictures.append((share[:, None] * 0.5 + (1 - share[:, None]) * [1.0, 0, 0]).reshape(9, 9, 3))
    images = torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2)).float()
    (baked,) = bake(images, mesh, views, 64).values()
    assert (baked.texture - 0.5).abs().max() < 0.02


def test_islands_are_padded_and_files_written(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    views = shapes.cameras([(2, -3, 2)], 32)
    (baked,) = bake(torch.rand(1, 3, 32, 32), mesh, views, 96).values()
    baked.save(tmp_path / "texture.png", tmp_path / "coverage.png")
    coverage = np.asarray(Image.open(tmp_path / "coverage.png"))
    assert coverage.dtype == np.uint8 and set(np.unique(coverage)) == {OUTSIDE, FILLED, SEEN}
    texture = np.asarray(Image.open(tmp_path / "texture.png")).astype(int)
    assert texture.shape == (96, 96, 3)
    # Just outside an island the colour is that of the nearest texel inside.
    rows, columns = np.nonzero((coverage[:, 1:] == OUTSIDE) & (coverage[:, :-1] != OUTSIDE))
    assert len(rows) and (texture[rows, columns] == texture[rows, columns + 1]).mean() > 0.9


def test_the_wrong_pictures_are_refused(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    baker = Baker(mesh, shapes.cameras([(2, -3, 2)], 16), 32, (16, 16))
    with pytest.raises(RequestError, match="16 x 16 are due"):
        baker.bake(torch.zeros(1, 3, 8, 8))
    with pytest.raises(RequestError, match="too coarse"):
        Baker(mesh, shapes.cameras([(2, -3, 2)], 16), 1, (16, 16))
