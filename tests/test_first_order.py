"""Nonlinear pull-backs: descent and Gauss-Newton on a SIREN, and where each goes on from."""

from __future__ import annotations

import pytest
import torch

from ddrep_core.diffreps.linear import LinearDiffrep
from ddrep_core.diffreps.siren import SirenDiffrep, grid_coordinates
from ddrep_core.errors import RequestError, StaleState
from ddrep_core.solvers.choose import choose_solver
from ddrep_core.solvers.first_order import AdamSolver, WarmStartSolver
from ddrep_core.solvers.gauss_newton import GaussNewtonSolver, _Anchor
from ddrep_core.solvers.linear import LinearSolver
from ddrep_core.solvers.protocol import Solver

ALL = torch.arange(2)


def siren(seed: int = 0) -> SirenDiffrep:
    grid = grid_coordinates(8, 8)
    rep = SirenDiffrep(torch.stack([grid, grid + torch.tensor([0.5, 0.0])]), 2, width=64, features=48)
    rep.reset(torch.Generator().manual_seed(seed))
    return rep


def smooth_targets(shift: float = 0.0) -> torch.Tensor:
    """[2, 2, 8, 8] one function seen by both views, so that they agree where they overlap."""
    grid = grid_coordinates(8, 8)
    points = torch.stack([grid, grid + torch.tensor([0.5, 0.0])])
    x, y = points[..., 0], points[..., 1]
    return torch.stack([torch.sin(5 * x + shift) * torch.cos(7 * y), torch.cos(9 * x * y + shift)], dim=1)


def weights() -> torch.Tensor:
    return torch.ones(2, 1, 8, 8)


def error(rep: SirenDiffrep, targets: torch.Tensor) -> float:
    return float((rep.render() - targets).square().mean().sqrt() / targets.square().mean().sqrt())


@pytest.mark.parametrize("dual_rows", [0, 4096])
def test_gauss_newton_reaches_its_tolerance_in_few_passes(dual_rows: int) -> None:
    rep, solver = siren(), GaussNewtonSolver(dual_rows=dual_rows, linearizations=6, products=12)
    passes = [solver.fit(rep, 0.2 * step * smooth_targets(), ALL, weights()) for step in range(1, 6)]
    assert error(rep, smooth_targets()) <= 1.01 * solver.tolerance
    assert max(passes) <= 60
    assert passes[-1] <= 30


@pytest.mark.parametrize("dual_rows", [0, 4096])
def test_gauss_newton_leaves_what_noise_hides_and_nothing_at_the_end(dual_rows: int) -> None:
    size = float(smooth_targets().square().mean().sqrt())
    left, passes = [], []
    for noise in (1e4, 30.0, 0.0):
        rep, solver = siren(), GaussNewtonSolver(dual_rows=dual_rows, linearizations=6, products=12)
        passes.append(solver.fit(rep, smooth_targets(), ALL, weights(), noise * size))
        left.append(error(rep, smooth_targets()))
        goal = max(solver.slack * noise, solver.tolerance)
        assert left[-1] <= 1.01 * goal
    assert left[0] == pytest.approx(1.0)
    assert passes == sorted(passes) and passes[0] < passes[2]


@pytest.mark.parametrize("make", [GaussNewtonSolver, WarmStartSolver, AdamSolver, LinearSolver])
def test_views_that_join_one_by_one_need_no_other_solver(make) -> None:
    solver = make()
    assert solver.joining() is solver


def test_a_factor_learns_what_a_residual_was_lost_by() -> None:
    rep = siren()
    anchor = _Anchor(rep, ALL, torch.ones(2, 2, 8, 8), damping=1e-3)
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(7, 2, 2, 8, 8, generator=generator)
    *lost, unseen = pictures[:4] * torch.eye(8)[:4, None, None, :, None]  # one row each: orthogonal
    before = anchor.solve(unseen)
    for one, residual in zip(lost, pictures[4:], strict=True):
        step = anchor.solve(one + residual)
        following = anchor.solve_and_learn(residual, one)
        torch.testing.assert_close(anchor.solve(one), step, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(anchor.solve(residual), following, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(anchor.solve(unseen), before)


@pytest.mark.parametrize("dual_rows", [0, 4096])
def test_a_step_too_far_is_cut_short(dual_rows: int) -> None:
    rep, solver = siren(), GaussNewtonSolver(dual_rows=dual_rows, linearizations=12, products=12)
    errors = [error(rep, smooth_targets())]
    for _ in range(3):
        solver.fit(rep, smooth_targets(), ALL, weights())
        errors.append(error(rep, smooth_targets()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1


@pytest.mark.parametrize("strength", [2.0, 8.0, 25.0])
def test_a_siren_at_rest_reaches_the_extreme_colours_of_strong_guidance(strength: float) -> None:
    """From rest no whole step helps there; without damped ones a run at guidance 10 to 100 stayed gray."""
    grid = grid_coordinates(16, 16)
    rep = SirenDiffrep(grid[None], 4)
    rep.reset(torch.Generator().manual_seed(0))
    rough = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    solver, every = GaussNewtonSolver(), torch.arange(1)
    for _ in range(3):
        solver.fit(rep, strength * rough, every, torch.ones(1, 1, 16, 16))
    assert error(rep, strength * rough) < 0.02


def test_gauss_newton_beats_descent_at_equal_passes() -> None:
    exact, descent = siren(), siren()
    solver = GaussNewtonSolver(dual_rows=4096)
    for step in range(1, 6):
        passes = solver.fit(exact, 0.2 * step * smooth_targets(), ALL, weights())
        AdamSolver(steps=passes).fit(descent, 0.2 * step * smooth_targets(), ALL, weights())
    assert error(exact, smooth_targets()) < 0.1 * error(descent, smooth_targets())


def test_the_paper_s_adam_fits() -> None:
    rep = siren()
    assert AdamSolver().fit(rep, smooth_targets(), ALL, weights()) == 200
    assert error(rep, smooth_targets()) < 0.1


def test_kept_moments_follow_a_moving_target_more_closely() -> None:
    kept, forgotten = siren(), siren()
    warm, cold = WarmStartSolver(steps=10), AdamSolver(steps=10)
    for step in range(30):
        targets = smooth_targets(0.02 * step)
        warm.fit(kept, targets, ALL, weights())
        cold.fit(forgotten, targets, ALL, weights())
    assert error(kept, targets) < 0.8 * error(forgotten, targets)


@pytest.mark.parametrize("make", [GaussNewtonSolver, lambda: WarmStartSolver(steps=3), lambda: AdamSolver(steps=3)])
def test_a_pixel_of_weight_zero_does_not_paint(make) -> None:
    mask = weights()
    mask[..., :4] = 0
    first, second = siren(), siren()
    targets = smooth_targets()
    elsewhere = torch.where(mask > 0, targets, targets + 3.0)
    make().fit(first, targets, ALL, mask)
    make().fit(second, elsewhere, ALL, mask)
    torch.testing.assert_close(first.render(), second.render(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [GaussNewtonSolver, lambda: WarmStartSolver(steps=3), lambda: AdamSolver(steps=3)])
def test_a_solver_that_went_away_and_came_back_gives_the_same_bytes(make) -> None:
    rep, solver = siren(), make()
    for step in range(3):
        solver.fit(rep, smooth_targets(0.02 * step), ALL, weights())
    twin, resumed = rep.copy(), make()
    resumed.load_state({name: tensor.clone() for name, tensor in solver.state().items()})
    for step in range(3, 6):
        solver.fit(rep, smooth_targets(0.02 * step), ALL, weights())
        resumed.fit(twin, smooth_targets(0.02 * step), ALL, weights())
    assert all(torch.equal(a, b) for a, b in zip(rep.theta.values(), twin.theta.values(), strict=True))


def test_a_state_of_another_solver_is_refused() -> None:
    with pytest.raises(StaleState):
        AdamSolver().load_state({"count": torch.tensor(1)})
    with pytest.raises(StaleState):
        WarmStartSolver().load_state({"anchor.output": torch.zeros(1)})


def test_leaves_stay_leaves_without_gradients() -> None:
    rep = siren()
    WarmStartSolver(steps=2).fit(rep, smooth_targets(), ALL, weights())
    assert not any(tensor.requires_grad for tensor in rep.theta.values())


def test_auto_solves_a_siren_by_gauss_newton() -> None:
    chosen: Solver = choose_solver(siren(), "auto")
    assert isinstance(chosen, GaussNewtonSolver)
    assert isinstance(choose_solver(siren(), "adam"), AdamSolver)


def test_gauss_newton_needs_a_jacobian() -> None:
    rep = LinearDiffrep(torch.eye(4), image_shape=(1, 2, 2))
    with pytest.raises(RequestError, match="cannot be linearised"):
        GaussNewtonSolver().fit(rep, torch.zeros(1, 1, 2, 2), torch.arange(1), torch.ones(1, 1, 2, 2))
