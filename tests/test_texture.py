"""The texture representation against a slow renderer that does the obvious, ray by ray."""

from __future__ import annotations

from pathlib import Path

import geometry_shapes as shapes
import numpy as np
import pytest
import torch

from ddrep_core.diffreps.protocol import Diffrep, LinearRendering
from ddrep_core.diffreps.texture import TextureDiffrep
from ddrep_core.errors import RequestError
from ddrep_core.geometry import load_mesh
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.texels import texture_groups
from ddrep_core.views import Camera, Views, look_at

pytestmark = pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
POSITIONS = [(0.5, -4, 1), (-3, 2.5, 2)]


@pytest.fixture
def cube(tmp_path: Path) -> Mesh:
    return load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))


def random_theta(rep: TextureDiffrep, seed: int = 0) -> None:
    rep.theta.copy_(torch.randn(rep.theta.shape, generator=torch.Generator().manual_seed(seed), dtype=rep.theta.dtype))


def slow_render(rep: TextureDiffrep, camera: Camera, view: int, resolution: int, subsamples: int) -> np.ndarray:
    """Every ray against every triangle, every look-up spelled out; background pixels left at NaN where they mix."""
    mesh, (channels, height, width) = rep.mesh, rep.image_shape
    groups = texture_groups(mesh.parts[0])
    theta = rep.theta.numpy()
    texture = {tuple(key): theta[n] for n, key in enumerate(rep.texels)}
    image = np.zeros((channels, height, width))
    for y in range(height):
        for x in range(width):
            total, missed = np.zeros(channels), 0
            for j in range(subsamples):
                for i in range(subsamples):
                    point = [[x + (i + 0.5) / subsamples, y + (j + 0.5) / subsamples]]
                    (origin,), (direction,) = camera.rays(point, width, height)
                    nearest, uv, group = np.inf, None, -1
                    for face, (a, b, c) in enumerate(mesh.triangles):
                        system = np.stack([b - a, c - a, -direction], axis=1)
                        if abs(np.linalg.det(system)) < 1e-12:
                            continue
                        v, w, t = np.linalg.solve(system, origin - a)
                        if v >= 0 and w >= 0 and v + w <= 1 and 0 < t < nearest:
                            nearest, group = t, groups[face]
                            uv = (1 - v - w) * mesh.uv[face, 0] + v * mesh.uv[face, 1] + w * mesh.uv[face, 2]
                    if uv is None:
                        missed += 1
                        continue
                    column, row = uv[0] * resolution - 0.5, (1 - uv[1]) * resolution - 0.5
                    left, top = int(np.floor(column)), int(np.floor(row))
                    for dy in (0, 1):
                        for dx in (0, 1):
                            weight = abs(1 - dx - (column - left)) * abs(1 - dy - (row - top))
                            total += weight * texture[group, (top + dy) % resolution, (left + dx) % resolution]
            image[:, y, x] = total / subsamples**2 if missed == 0 else np.nan
            if missed == subsamples**2:
                image[:, y, x] = np.inf
    return image


def test_is_a_linear_diffrep(cube: Mesh) -> None:
    rep = TextureDiffrep(cube, shapes.cameras(POSITIONS), 64, 3)
    assert isinstance(rep, Diffrep) and isinstance(rep, LinearRendering)
    assert rep.image_shape == (3, 24, 24) and rep.view_count == 2
    assert TextureDiffrep(cube, shapes.cameras(POSITIONS)).image_shape == (4, 3, 3)  # an eighth, for latents
    images = torch.randn(2, 3, 24, 24)
    rows = rep.to_rows(images)
    assert rows.shape == (rep.matrix().shape[0], 3)
    assert torch.equal(rows[24 * 24 + 5 * 24 + 7], images[1, :, 5, 7])


def test_equals_the_slow_renderer(cube: Mesh) -> None:
    views = shapes.cameras(POSITIONS)
    rep = TextureDiffrep(
        cube, views, channels=2, view_size=(7, 7), sampling_resolution=20, subsamples=2, dtype=torch.float64
    )
    random_theta(rep)
    images = rep.render()
    by_matrix = (rep.matrix() @ rep.theta).reshape(2, 7, 7, 2).permute(0, 3, 1, 2)
    assert torch.allclose(images, by_matrix)
    compared = 0
    for view, camera in enumerate(views):
        slow = slow_render(rep, camera, view, 20, 2)
        inside = np.isfinite(slow)
        compared += inside.sum()
        assert np.abs(images[view].numpy() - slow)[inside].max() < 1e-5
        empty = np.isinf(slow[0])
        free = images[view, 0].numpy()[empty]
        assert np.isin(free, rep.theta[rep.texel_count :, 0].numpy()).all() and len(np.unique(free)) == empty.sum()
    assert compared > 40


def test_rows_sum_to_one_and_constants_stay(cube: Mesh) -> None:
    rep = TextureDiffrep(cube, shapes.cameras(POSITIONS), channels=1, view_size=(24, 24), dtype=torch.float64)
    ones = torch.ones(rep.theta.shape[0], 1, dtype=torch.float64)
    assert torch.allclose(rep.matrix() @ ones, torch.ones(rep.matrix().shape[0], 1, dtype=torch.float64), atol=1e-12)
    assert rep.matrix().values().min() >= 0


def test_gradients_are_the_transpose(cube: Mesh) -> None:
    rep = TextureDiffrep(cube, shapes.cameras(POSITIONS), channels=2, view_size=(8, 8), dtype=torch.float64)
    random_theta(rep)
    rep.theta.requires_grad_(True)
    weights = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    (rep.render(torch.tensor([1])) * weights).sum().backward()
    rows = torch.zeros(128, 2, dtype=torch.float64)
    rows[64:] = rep.to_rows(weights)
    assert rep.theta.grad is not None
    assert torch.allclose(rep.theta.grad, rep.matrix().to_dense().T @ rows)
    twin = rep.copy()
    twin.theta += 1
    assert not torch.equal(twin.theta, rep.theta) and not twin.theta.requires_grad


def test_fine_textures_are_averaged_not_aliased(tmp_path: Path) -> None:
    """A checkerboard far finer than a pixel must look grey."""
    mesh = load_mesh(shapes.grid_obj(tmp_path / "grid.obj", cells=1))
    projection = np.diag([1.25, 1.25, -0.02, 1.0])
    camera = Camera("above", look_at((0, 0, 5), (0, 0, 0)), projection, 8, 8)
    fine = {"sampling_resolution": 160, "subsamples": 16}
    rep = TextureDiffrep(mesh, Views((camera,)), channels=1, view_size=(8, 8), dtype=torch.float64, **fine)
    row, column = rep.texels[:, 1], rep.texels[:, 2]
    rep.theta[: rep.texel_count, 0] = torch.from_numpy(((row + column) % 2).astype(np.float64))
    inside = rep.render()[0, 0, 1:-1, 1:-1]
    assert (inside - 0.5).abs().max() < 0.02


def test_grid_follows_the_views_and_leaves_no_seen_texel_out(cube: Mesh) -> None:
    for size in (8, 32):
        rep = TextureDiffrep(cube, shapes.cameras(POSITIONS), 1024, 1, view_size=(size, size))
        pixels = float((1 - rep.matrix().to_dense()[:, rep.texel_count :].sum(dim=1)).sum())
        assert 0.3 * pixels < rep.texel_count < 4 * pixels + 60
        # A texel that a view reaches is reached by more than a stray corner of a ray.
        assert rep.matrix().to_dense()[:, : rep.texel_count].sum(dim=0).median() > 0.05
    coarse = TextureDiffrep(cube, shapes.cameras(POSITIONS), 6, 1, view_size=(32, 32))
    assert coarse.texels[:, 1:].max() < 6


def test_islands_never_bleed_into_each_other(cube: Mesh) -> None:
    """At three texels for the whole texture, all six sides would share texels if islands were not kept apart."""
    front = Camera("front", look_at((0, -5, 0), (0, 0, 0)), np.diag([1.2, 1.2, -0.02, 1.0]), 8, 8)
    views = Views((front, *shapes.cameras([(3, 3, 3), (-3, -3, -3)])))
    rep = TextureDiffrep(cube, views, channels=1, view_size=(8, 8), sampling_resolution=3, dtype=torch.float64)
    shown = rep.matrix().to_dense()[3 * 8 + 4, : rep.texel_count].nonzero()[:, 0]
    (group,) = np.unique(rep.texels[shown.numpy(), 0])
    rep.theta[: rep.texel_count, 0] = torch.from_numpy((rep.texels[:, 0] == group).astype(np.float64))
    assert torch.allclose(rep.render()[0, 0, 1:-1, 1:-1], torch.ones(6, 6, dtype=torch.float64))
    assert len(np.unique(rep.texels[:, 0])) == 6


def test_grazed_and_hidden_sides_do_not_paint(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.grid_obj(tmp_path / "grid.obj"))
    positions = [(0, -0.01, 4), (0, -4, 0.9), (0, -4, 0.2), (0, -0.01, -4)]
    weights = TextureDiffrep(mesh, shapes.cameras(positions), 64, 1, view_size=(16, 16)).pixel_weights()
    assert weights is not None and weights.shape == (4, 1, 16, 16)
    middle = weights[:, 0, 8, 8]
    assert middle[0] == 1 and 0 < middle[1] < 1 and middle[2] == 0 and middle[3] == 0
    assert weights[0, 0, 0, 0] == 1  # the background is free and weighs in full


def test_what_is_not_textured_only_stands_in_the_way(tmp_path: Path) -> None:
    text = shapes.grid_obj(tmp_path / "grid.obj").read_text()
    text += "o Lid\nv -0.5 1 0.5\nv 0.5 1 0.5\nv 0.5 1 -0.5\nv -0.5 1 -0.5\nf -4 -3 -2 -1\n"
    (tmp_path / "lid.obj").write_text(text)
    views = shapes.cameras([(0, -0.01, 4)])
    options = {"channels": 1, "view_size": (16, 16), "sampling_resolution": 32}
    free = TextureDiffrep(load_mesh(tmp_path / "lid.obj", objects=["Grid"]), views, **options)
    alone = TextureDiffrep(load_mesh(tmp_path / "grid.obj"), views, **options)
    assert free.texel_count < alone.texel_count
    centre = free.matrix().to_dense()[8 * 16 + 8]
    assert centre[: free.texel_count].sum() == 0 and centre.sum() == 1


def test_useless_cameras_are_named(cube: Mesh) -> None:
    away = Camera("away", look_at((0, -5, 0), (0, -9, 0)), shapes.cameras([(1, 1, 1)])[0].projection, 8, 8)
    with pytest.raises(RequestError, match="'away' sees nothing"):
        TextureDiffrep(cube, Views((away,)))
    inside = Camera("mole", look_at((0, 0, 0.1), (0, 1, 0)), away.projection, 8, 8)
    with pytest.raises(RequestError, match="'mole' stands inside"):
        TextureDiffrep(cube, Views((inside,)))


def test_a_consistent_set_of_views_is_drawn_exactly(cube: Mesh) -> None:
    """Least squares over A reaches pictures that the texture itself has drawn."""
    rep = TextureDiffrep(cube, shapes.cameras(POSITIONS), channels=3, view_size=(16, 16), dtype=torch.float64)
    random_theta(rep)
    target = rep.to_rows(rep.render())
    solution = torch.linalg.lstsq(rep.matrix().to_dense(), target, driver="gelsd").solution
    assert torch.allclose(rep.matrix() @ solution, target, atol=1e-8)
