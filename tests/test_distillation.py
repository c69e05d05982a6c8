"""SDS and SJC: the gradient they follow, and where it ends: at modes, whatever the seed."""

from __future__ import annotations

import pytest
import torch

from ddrep_core.diffreps.linear import LinearDiffrep
from ddrep_core.distillation import SCORE_DISTILLATION, SCORE_JACOBIAN_CHAINING, distill
from ddrep_core.distillation.mode_seeking import _usable_levels
from ddrep_core.errors import RequestError
from ddrep_core.priors import EmpiricalPrior, GaussianPrior
from ddrep_core.sampling.sample import sample
from ddrep_core.schedules.named import ddim_schedule
from ddrep_core.views import orbit_views

SHAPE = (1, 2, 2)
METHODS = [SCORE_DISTILLATION, SCORE_JACOBIAN_CHAINING]


def identity() -> LinearDiffrep:
    return LinearDiffrep(torch.eye(4), image_shape=SHAPE)


def gaussian() -> GaussianPrior:
    return GaussianPrior(torch.arange(4.0).reshape(SHAPE), torch.eye(4))


@pytest.mark.parametrize("method", METHODS)
def test_finds_the_mode_of_a_gaussian_whatever_the_seed(method) -> None:
    brief = method.with_settings(steps=300, learning_rate=0.05)
    found = [distill(identity(), gaussian(), method=brief, seed=seed).diffrep.theta[:, 0] for seed in range(2)]
    for theta in found:
        assert (theta - torch.arange(4.0)).norm() < 0.4 * torch.arange(4.0).norm()


def test_sampling_spreads_where_mode_seeking_collapses() -> None:
    brief = SCORE_DISTILLATION.with_settings(steps=400, learning_rate=0.03)
    modes = torch.stack([distill(identity(), gaussian(), method=brief, seed=seed).diffrep.theta for seed in range(6)])
    schedule = ddim_schedule(gaussian().sigmas, 20)
    draws = [sample(identity(), gaussian(), schedule=schedule, seed=seed).diffrep.theta for seed in range(6)]
    assert modes.std(dim=0).mean() < 0.4 * torch.stack(draws).std(dim=0).mean()


def test_the_gradient_is_the_weighted_difference_of_noises() -> None:
    """One step of Adam from zero moves every parameter by the rate, against the sign of w Jᵀ(ε̂ − ε)."""
    brief = SCORE_DISTILLATION.with_settings(steps=1, learning_rate=0.01)
    theta = distill(identity(), gaussian(), method=brief, seed=4).diffrep.theta[:, 0]
    # ε̂ − ε = (x − x̂0)/σ − ε = (f − x̂0)/σ, and x̂0 of N(m, I) lies between x and m.
    generator = torch.Generator().manual_seed(4)
    torch.randperm(1, generator=generator)
    levels = _usable_levels(gaussian().sigmas, SCORE_DISTILLATION.skipped)
    sigma = float(levels[int(torch.randint(len(levels), (1,), generator=generator))])
    x = sigma * torch.randn(4, generator=generator)
    clean = x + sigma**2 / (1 + sigma**2) * (torch.arange(4.0) - x)
    torch.testing.assert_close(theta, 0.01 * clean.sign(), atol=1e-5, rtol=0)


def test_levels_leave_out_both_ends_and_infinity() -> None:
    sigmas = torch.cat([torch.tensor([torch.inf]), torch.linspace(10, 1, 100)]).double()
    kept = _usable_levels(sigmas, (0.03, 0.01))
    assert (len(kept), float(kept[0]), float(kept[-1])) == (96, float(sigmas[4]), float(sigmas[-2]))
    assert len(_usable_levels(sigmas[1:3], (0.5, 0.5))) == 2


def test_the_same_seed_gives_the_same_bytes_and_leaves_the_original_alone() -> None:
    rep = identity()
    brief = SCORE_JACOBIAN_CHAINING.with_settings(steps=5)
    one, two = (distill(rep, gaussian(), method=brief, seed=1).diffrep.theta for _ in range(2))
    assert torch.equal(one, two)
    assert rep.theta.abs().max() == 0
    assert not one.requires_grad


def test_views_must_be_those_of_the_representation() -> None:
    with pytest.raises(RequestError, match="built over 1 views"):
        distill(identity(), EmpiricalPrior(torch.zeros(2, *SHAPE)), orbit_views(2))
