"""The voxel NeRF: what it draws against sums by hand, where it starts, and what descent makes of it."""

from __future__ import annotations

import math

import pytest
import torch

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.diffreps.ray_samples import Composite, Rays, ball_interval, march
from ddrep_core.diffreps.voxel_nerf import (
    COLOUR_SCALE,
    DENSITY_SCALE,
    VoxelNerfDiffrep,
    finest_grid,
    rays_per_pixel,
    voxel_centres,
)
from ddrep_core.errors import RequestError
from ddrep_core.solvers.first_order import WarmStartSolver
from ddrep_core.views import direction_words
from ddrep_core.views.banks import sphere_bank


def nerf(levels: int = 1, grid: int = 16, count: int = 3, **settings) -> VoxelNerfDiffrep:
    settings = {"subsamples": 1, **settings}
    rep = VoxelNerfDiffrep(sphere_bank(count), (2, 6, 6), grid, levels=levels, **settings)
    rep.reset(torch.Generator())
    return rep


def filled(rep: VoxelNerfDiffrep, seed: int = 0) -> VoxelNerfDiffrep:
    generator = torch.Generator().manual_seed(seed)
    for tensor in rep.theta.values():
        tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return rep


def test_is_a_diffrep_that_starts_at_zero_with_the_paper_s_blob() -> None:
    rep = nerf(grid=20)
    assert isinstance(rep, Diffrep)
    assert rep.render().abs().max() == 0
    radius = voxel_centres(20, 1.0).norm(dim=-1)
    expected = torch.nn.functional.softplus(10 * (1 - radius / 0.7))
    torch.testing.assert_close(rep.field()[0], expected)


def rays_of(rep: VoxelNerfDiffrep, view: int) -> Rays:
    return rep.rays(rep.views[view], *rep.image_shape[1:])


@pytest.mark.parametrize("levels", [1, 2])
def test_a_ray_s_colour_is_the_sum_by_hand(levels: int) -> None:
    rep = filled(nerf(levels))
    images, opacity = rep.render_with_opacity(torch.tensor([1]))
    rays, field = rays_of(rep, 1), rep.field()
    light, colour = 1.0, torch.zeros(2)
    for point in rays.points()[2 * 6 + 3]:
        sample = torch.nn.functional.grid_sample(
            field[None], point[None, None, None, None], padding_mode="border", align_corners=False
        ).flatten()
        absorbed = 1 - math.exp(-float(sample[0]) * float(rays.step[2 * 6 + 3]))
        colour += light * absorbed * sample[1:]
        light *= 1 - absorbed
    colour += light * rep.background(rays.directions)[2 * 6 + 3]
    torch.testing.assert_close(images[0, :, 2, 3], colour, atol=1e-5, rtol=1e-4)
    assert float(opacity[0, 0, 2, 3]) == pytest.approx(1 - light, abs=1e-5)


def test_sparse_look_ups_and_closed_derivatives_are_those_of_grid_sample() -> None:
    rep = filled(nerf(levels=2))
    leaves = [tensor.requires_grad_(True) for tensor in rep.theta.values()]
    wanted = torch.randn(3, 36, 5, generator=torch.Generator().manual_seed(1))  # two channels and three sums
    fast = torch.cat(rep._render(None), dim=1).flatten(2).mT
    slow = torch.stack(
        [march(rep.field(), rays_of(rep, v), rep.background(rays_of(rep, v).directions), 1.0) for v in range(3)]
    )
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-4)
    for one, two in zip(
        torch.autograd.grad((fast * wanted).sum(), leaves),
        torch.autograd.grad((slow * wanted).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


def test_spread_and_mean_square_and_their_derivatives_are_those_of_plain_sums() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = torch.rand(5, 7, 3, generator=generator, dtype=torch.float64).requires_grad_(True)
    step = torch.rand(5, generator=generator, dtype=torch.float64)
    background = torch.rand(5, 2, generator=generator, dtype=torch.float64).requires_grad_(True)
    found = Composite.of(samples, background, step)
    place = torch.arange(7, dtype=torch.float64)[None] * step[:, None]
    gaps = (place[:, :, None] - place[:, None]).abs()
    slow = torch.einsum("ni,nj,nij->n", found.share, found.share, gaps)[:, None]
    torch.testing.assert_close(found.sums()[2], slow)
    weights = torch.randn(5, 1, generator=generator, dtype=torch.float64)
    square = (found.share * samples[..., 1:].square().sum(-1)).sum(1, keepdim=True)
    square = square + found.leaving[:, -1:] * background.square().sum(1, keepdim=True)
    torch.testing.assert_close(found.sums()[3], square)
    expected = torch.autograd.grad((slow * weights + square * weights.flip(0)).sum(), (samples, background))
    nothing = torch.zeros_like(weights)
    fixed = Composite.of(samples.detach(), background.detach(), step)
    pulled = fixed.pull(torch.zeros_like(fixed.background), nothing, weights, weights.flip(0))
    torch.testing.assert_close(pulled, expected)


def test_pixels_are_means_of_their_subsamples() -> None:
    coarse = filled(nerf(subsamples=2))
    fine = filled(VoxelNerfDiffrep(coarse.views, (2, 12, 12), 16, levels=1, subsamples=1))
    fine.theta = coarse.theta
    torch.testing.assert_close(torch.nn.functional.avg_pool2d(fine.render(), 2), coarse.render(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("order", [None, [0, 1, 2], [2, 0, 1]])
def test_all_views_in_one_launch_are_the_views_one_by_one(order: list[int] | None) -> None:
    """As on a GPU: pictures, opacity and derivatives."""
    indices = None if order is None else torch.tensor(order)
    found = []
    for stacked in (False, True):
        rep = filled(nerf(2, subsamples=2))
        rep.stacked = stacked
        for tensor in rep.theta.values():
            tensor.requires_grad_()
        images, opacity = rep.render_with_opacity(indices)
        (images.square().sum() + opacity.sum()).backward()
        found.append([images, opacity, *(tensor.grad for tensor in rep.theta.values())])
        assert len(rep._looks) == (1 if stacked else 3)
    for one_by_one, together in zip(*found, strict=True):
        torch.testing.assert_close(together, one_by_one, rtol=1e-5, atol=1e-6)


def test_any_camera_can_look() -> None:
    rep = filled(nerf())
    images, opacity = rep.render_views(rep.views, 6, 6)
    torch.testing.assert_close(images, rep.render())
    assert opacity.min() >= 0 and opacity.max() <= 1 + 1e-6


def test_rays_that_miss_the_ball_see_the_background() -> None:
    origins, directions = torch.tensor([[5.0, 5, 5], [0, -3, 0], [0, 0.5, 0]]), torch.tensor([[0.0, 0, 1], [0, 1, 0]])
    near, far = ball_interval(origins, directions[[0, 1, 1]], 1.0)
    assert near[0] == far[0]
    torch.testing.assert_close((near[1:], far[1:]), (torch.tensor([2.0, 0.0]), torch.tensor([4.0, 0.5])))
    rep = filled(nerf())
    background = rep.background(directions[:1])
    seen = march(rep.field(), Rays.through(origins[:1], directions[:1], 1.0, 8), background, 1.0)
    torch.testing.assert_close(seen[:, :2], background)
    assert seen[0, 2] == 0


def test_the_background_closes_around_the_azimuth() -> None:
    rep = filled(nerf())
    angles = torch.tensor([math.pi - 1e-4, math.pi + 1e-4, 0.0, 0.2])
    seen = rep.background(torch.stack([angles.cos(), angles.sin(), 0 * angles], dim=1))
    torch.testing.assert_close(seen[0], seen[1], atol=1e-2, rtol=0)
    assert (seen[2] - seen[3]).abs().max() > 1e-2


def test_coarse_levels_move_what_lies_between_the_rays() -> None:
    def moved(levels: int) -> float:
        rep = nerf(levels, grid=32, count=1)
        before = rep.field()[1:].clone()
        targets = torch.ones(1, 2, 6, 6)
        WarmStartSolver(steps=2, learning_rate=0.02).fit(rep, targets, torch.arange(1), torch.ones(1, 1, 6, 6))
        core = voxel_centres(32, 1.0).norm(dim=-1) < 0.5
        return float(((rep.field()[1:] - before).abs().amax(0) > 1e-3)[core].float().mean())

    assert moved(1) < 0.5
    assert moved(3) > 0.9


def test_descent_clears_fog_of_the_background_s_colour() -> None:
    rep = nerf(2, grid=20, count=4)
    targets = torch.ones(4, 2, 6, 6)
    solver = WarmStartSolver(steps=30, learning_rate=0.03)
    for _ in range(3):
        solver.fit(rep, targets, torch.arange(4), torch.ones(4, 1, 6, 6))
    images, opacity = rep.render_with_opacity()
    assert (images - 1).abs().mean() < 0.05
    assert opacity.mean() < 0.1


def of_density(density: torch.Tensor, count: int = 6, **settings) -> VoxelNerfDiffrep:
    """A plain grid with this density [R, R, R]."""
    rep = nerf(grid=len(density), count=count, **settings)
    rep.theta["grid_0"][0] = density.expm1().clamp_min(1e-6).log() / DENSITY_SCALE  # softplus undone
    return rep


def test_concealment_is_what_is_stopped_on_the_best_way_to_a_camera() -> None:
    rep = of_density(torch.full((12, 12, 12), 0.7))
    found = rep.concealment(6)
    points = voxel_centres(6, 1.0).double()
    ways = torch.stack([torch.from_numpy(camera.position) - points for camera in rep.views])
    ways = torch.nn.functional.normalize(ways, dim=-1)
    along = -(ways * points).sum(-1)
    lengths = along + (1 - points.square().sum(-1) + along**2).clamp_min(0).sqrt()
    inside = points.norm(dim=-1) < 1
    expected = torch.where(inside, 1 - torch.exp(-0.7 * lengths.amin(0)), 0.0)
    torch.testing.assert_close(found.double(), expected, atol=1e-3, rtol=1e-3)


def test_a_hollow_shell_conceals_what_is_in_it_until_one_camera_sees_in() -> None:
    points = voxel_centres(40, 1.0)
    radius = points.norm(dim=-1)
    shell = torch.where((radius - 0.55).abs() < 0.1, 40.0, 0.0)
    rep = of_density(shell)
    middle, outside = radius < 0.3, (radius > 0.8) & (radius < 0.97)
    found = rep.concealment(40)
    assert found[middle].min() > 0.9
    assert found[outside].max() < 0.05
    # A tunnel towards one of six cameras: the middle is seen, and no longer solid.
    towards = torch.nn.functional.normalize(torch.from_numpy(rep.views[2].position).float(), dim=0)
    along = points @ towards
    tunnel = (along > 0) & ((points - along[..., None] * towards).norm(dim=-1) < 0.2)
    assert of_density(torch.where(tunnel, 0.0, shell)).concealment(40)[radius < 0.05].max() < 0.1


def test_every_frame_of_the_bank_just_holds_the_field() -> None:
    directions = torch.nn.functional.normalize(torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    for camera in sphere_bank(8, size=100):
        pixels, depth = camera.project(directions.double().numpy())
        assert (depth > 0).all()
        assert pixels.min() >= 0 and pixels.max() <= 100
        assert min(pixels[:, 0].min(), pixels[:, 1].min(), 100 - pixels[:, 0].max(), 100 - pixels[:, 1].max()) < 1


def test_small_pictures_have_rays_enough_for_every_voxel() -> None:
    assert (rays_per_pixel((4, 16, 16)), finest_grid((4, 16, 16))) == (2, 32)
    assert (rays_per_pixel((4, 64, 64)), finest_grid((4, 64, 64))) == (1, 64)


def price(rep: VoxelNerfDiffrep) -> float:
    return float(rep.render_and_penalty(torch.arange(rep.view_count))[1])


def test_thin_matter_of_strong_colour_costs_more_than_a_surface() -> None:
    radius = voxel_centres(16, 1.0).norm(dim=-1)

    def ball(density: float, colour: float) -> VoxelNerfDiffrep:
        rep = of_density(torch.where(radius < 0.6, density, 0.0), emptiness=0.0, spread=0.0, mixture=1.0)
        rep.theta["grid_0"][1:] = colour / COLOUR_SCALE
        return rep

    solid, thin = ball(60.0, 1.0), ball(0.7, 2.0)
    assert price(thin) > 3 * price(solid)
    assert price(ball(0.7, 0.0)) == pytest.approx(0, abs=1e-6)  # of the background's colour: the emptiness's affair


def test_layers_cost_more_than_one_surface_however_thin_both_are() -> None:
    radius = voxel_centres(32, 1.0).norm(dim=-1)

    def layers(density: float, wide: float) -> float:
        near = ((radius - 0.6).abs() < wide) | ((radius - 0.3).abs() < wide)
        return price(of_density(torch.where(near, density, 0.0), emptiness=0.0, spread=1.0, mixture=0.0))

    assert layers(3.0, 0.06) > 3 * layers(60.0, 0.06)
    with_less = of_density(torch.full((8, 8, 8), 0.02), emptiness=0.0, spread=1.0, mixture=0.0)
    for tensor in with_less.theta.values():
        tensor.requires_grad_(True)
    (gradient,) = torch.autograd.grad(with_less.render_and_penalty(torch.arange(6))[1], [with_less.theta["grid_0"]])
    total = (gradient[0] * with_less.theta["grid_0"][0]).sum().abs()
    assert total < 0.05 * (gradient[0] * with_less.theta["grid_0"][0]).abs().sum()  # thinner all over is no cheaper


def test_the_bank_is_spread_and_persistent() -> None:
    bank, again = sphere_bank(16), sphere_bank(16)
    assert all((a.matrix_world == b.matrix_world).all() for a, b in zip(bank, again, strict=True))
    azimuths = sorted(math.degrees(math.atan2(c.position[0], -c.position[1])) % 360 for c in bank)
    gaps = [b - a for a, b in zip(azimuths, [*azimuths[1:], azimuths[0] + 360], strict=True)]
    assert max(gaps) < 360 / 16 * 1.51
    fields = {round(2 * math.degrees(math.atan(1 / c.projection[0, 0]))) for c in bank}
    assert min(fields) >= 40 and max(fields) <= 50 and len(fields) > 6
    assert {"front view", "side view", "back view"} <= {direction_words(camera) for camera in bank}


def test_a_grid_too_small_or_too_large_is_refused() -> None:
    for grid, levels in ((8, 3), (513, 1), (16, 0)):
        with pytest.raises(RequestError, match="not possible"):
            VoxelNerfDiffrep(sphere_bank(2), (2, 4, 4), grid, levels=levels)
