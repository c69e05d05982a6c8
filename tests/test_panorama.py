"""Panoramas: canvases that close on themselves, noise that is white in each window, pictures without seams."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ddrep_core.diffreps.panorama import (
    CylinderDiffrep,
    SphereDiffrep,
    cylinder_coordinates,
    cylinder_points,
    fibonacci_sphere,
    sphere_coordinates,
)
from ddrep_core.diffreps.panorama_picture import decode_cylinder, decode_sphere, equirectangular_directions
from ddrep_core.diffreps.protocol import Diffrep, LinearRendering
from ddrep_core.errors import RequestError
from ddrep_core.solvers.linear import LinearSolver
from ddrep_core.views import direction_words
from ddrep_core.views.banks import sphere_views


def waves(directions: torch.Tensor) -> torch.Tensor:
    """[N, 3] something smooth on the sphere."""
    x, y, z = directions.unbind(-1)
    return torch.stack([x * y + 0.3 * z, torch.sin(2 * z + x), x * x - y * z], dim=-1)


@pytest.fixture(scope="module")
def sphere() -> SphereDiffrep:
    return SphereDiffrep((3, 12, 12))


def test_both_are_linear_diffreps(sphere: SphereDiffrep) -> None:
    for rep in (sphere, CylinderDiffrep((4, 8, 8))):
        assert isinstance(rep, Diffrep)
        assert isinstance(rep, LinearRendering)
        assert rep.render().abs().max() == 0


def test_cylinder_windows_wrap_around() -> None:
    rep = CylinderDiffrep((1, 4, 4), windows=16)
    rep.theta = torch.arange(4.0 * 32).reshape(-1, 1)
    canvas, views = rep.canvas(), rep.render()
    torch.testing.assert_close(views[0], canvas[:, :, :4])
    torch.testing.assert_close(views[15], torch.cat([canvas[:, :, 30:], canvas[:, :, :2]], dim=2))


def test_cylinder_needs_windows_enough() -> None:
    with pytest.raises(RequestError, match="do not cover"):
        CylinderDiffrep((1, 4, 4), windows=7)


def test_rows_follow_the_matrix(sphere: SphereDiffrep) -> None:
    rep = sphere.copy()
    rep.theta = torch.randn(rep.theta.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(rep.to_rows(rep.render()), rep.matrix() @ rep.theta)
    torch.testing.assert_close(rep.render(torch.tensor([5, 2])), rep.render()[[5, 2]])


def test_gradients_reach_the_canvas(sphere: SphereDiffrep) -> None:
    rep = sphere.copy()
    theta = rep.theta.requires_grad_(True)
    rep.render().sum().backward()
    assert theta.grad is not None
    torch.testing.assert_close(theta.grad[:, 0], rep.matrix().detach().to_dense().sum(0))


def test_the_sphere_is_covered_everywhere_and_by_the_poles_too() -> None:
    directions = equirectangular_directions(90).reshape(-1, 3).numpy()
    seen = np.zeros(len(directions), int)
    for camera in sphere_views():
        pixels, depth = camera.project(directions)
        seen += (depth > 0) & (np.abs(pixels / (camera.width, camera.height) - 0.5) < 0.48).all(axis=1)
    assert seen.min() >= 1
    assert seen[[0, -1]].min() >= 1


@pytest.mark.parametrize("kind", [CylinderDiffrep, SphereDiffrep])
def test_borders_that_every_window_draws_hardly_reach_the_canvas(kind) -> None:
    """Each window is right but for its outermost pixels, as a prior's are; the canvas believes windows' middles."""
    rep = kind((1, 16, 16))
    pictures = torch.zeros(rep.view_count, 1, 16, 16)
    pictures[:, :, :, [0, -1]] = 1.0
    indices, weights = torch.arange(rep.view_count), rep.pixel_weights()
    solver = LinearSolver(tolerance=1e-4, iterations=200)
    solver.fit(rep, pictures, indices, weights)
    feathered, even = rep.theta.abs().mean(), rep.copy()
    LinearSolver(tolerance=1e-4, iterations=200).fit(even, pictures, indices, torch.ones_like(weights))
    assert feathered < 0.25 * even.theta.abs().mean()


def test_windows_are_told_when_they_look_up_or_down() -> None:
    """So that no horizon is asked for in the zenith."""
    words = {camera.name.split(" ")[0]: direction_words(camera) for camera in sphere_views()}
    assert words == {"+0": "", "+45": "looking up", "-45": "looking down", "+90": "looking up", "-90": "looking down"}


def test_lattice_is_even() -> None:
    points = fibonacci_sphere(1000)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=2e-3)
    nearest = np.sort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)[:, 1]
    assert nearest.min() > 0.6 * nearest.mean()


def test_canvas_reproduces_a_smooth_field(sphere: SphereDiffrep) -> None:
    rep = sphere.copy()
    rep.theta = waves(torch.from_numpy(rep.points).float())
    directions = equirectangular_directions(64).reshape(-1, 3)
    assert (rep.values_at(directions) - waves(directions)).abs().max() < 0.02
    pixels = waves(sphere_coordinates(rep.cameras, 12, 12)).movedim(-1, 1)
    assert (rep.render() - pixels).abs().max() < 0.02


def test_pull_back_recovers_what_the_windows_agree_on(sphere: SphereDiffrep) -> None:
    truth, rep = sphere.copy(), sphere.copy()
    truth.theta = waves(torch.from_numpy(truth.points).float())
    everything = torch.arange(rep.view_count)
    LinearSolver().fit(rep, truth.render(), everything, torch.ones(rep.view_count, 1, 12, 12))
    torch.testing.assert_close(rep.render(), truth.render(), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("make", [lambda: SphereDiffrep((2, 8, 8)), lambda: CylinderDiffrep((2, 8, 8))])
def test_noise_is_white_in_each_view_and_shared_where_views_overlap(make) -> None:
    field = make().noise
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([field.draw(generator) for _ in range(400)])  # [N, V, C, h, w]
    first = draws[:, 0].reshape(400, -1)
    covariance = first.T @ first / 400
    assert (covariance - torch.eye(len(covariance))).abs().max() < 0.3  # 6 standard errors
    between = (draws[:, 0].reshape(400, -1).T @ draws[:, 1].reshape(400, -1) / 400).abs().max()
    assert between > 0.4


def test_noise_follows_its_generator(sphere: SphereDiffrep) -> None:
    one, two = (sphere.noise.draw(torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, two)


def enlarge(latents: torch.Tensor) -> torch.Tensor:
    """A decoder with a wide view of its neighbourhood, and so with edges that differ from its middle."""
    blurred = torch.nn.functional.avg_pool2d(latents, 3, stride=1, padding=1, count_include_pad=True)
    return (torch.nn.functional.interpolate(blurred, scale_factor=4, mode="bilinear") + 2) / 4


def jumps(picture: torch.Tensor) -> tuple[float, float]:
    """The mean step across the wrap, and between all other neighbouring columns."""
    steps = (picture - picture.roll(1, dims=2)).abs().mean((0, 1))
    return float(steps[0]), float(steps[1:].mean())


def test_no_seam_in_the_sphere_s_picture(sphere: SphereDiffrep) -> None:
    picture = decode_sphere(lambda directions: waves(directions), (3, 12, 12), enlarge, 256)
    assert picture.shape == (3, 128, 256)
    expected = (waves(equirectangular_directions(256).reshape(-1, 3)).T.reshape(3, 128, 256) + 2) / 4
    assert (picture - expected).abs().mean() < 0.02
    wrap, elsewhere = jumps(picture)
    assert wrap < 1.5 * elsewhere
    # Around a pole all columns look the same way: what is left is half a pixel's turn.
    assert picture[:, 0].std(dim=1).max() < 0.02
    assert picture[:, -1].std(dim=1).max() < 0.02


def test_no_seam_in_the_cylinder_s_picture() -> None:
    turn = (torch.arange(96) + 0.5) / 96 * 2 * math.pi
    strip = torch.stack([torch.sin(turn), torch.cos(2 * turn), torch.sin(3 * turn)])[:, None].expand(3, 12, 96)
    picture = decode_cylinder(strip, 12, enlarge)
    assert picture.shape == (3, 48, 384)
    wrap, elsewhere = jumps(picture)
    assert wrap < 1.5 * elsewhere
    rolled = decode_cylinder(strip.roll(24, dims=2), 12, enlarge)
    torch.testing.assert_close(rolled, picture.roll(96, dims=2))


def test_siren_coordinates_close_on_themselves() -> None:
    around = cylinder_points(torch.tensor([0.0, 1.0]), torch.tensor(0.5))
    torch.testing.assert_close(around[0], around[1])
    coordinates = cylinder_coordinates(4, 4, windows=16)
    assert coordinates.shape == (16, 4, 4, 3)
    step = (coordinates[0, 0, 1] - coordinates[0, 0, 0]).norm()
    assert math.isclose(float(step), 1 / 4, rel_tol=0.01)  # as far apart as the rows: pixels are square
    assert sphere_coordinates(sphere_views(), 4, 4).norm(dim=-1).allclose(torch.ones(1))
