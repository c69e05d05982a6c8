"""SDS and SJC: the gradient they follow, and where it ends: at modes, whatever the seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ddrep_core.diffreps.linear import LinearDiffrep
from ddrep_core.distillation import SCORE_DISTILLATION, SCORE_JACOBIAN_CHAINING, distill
from ddrep_core.distillation.descend import usable_levels
from ddrep_core.distillation.sds import ScoreDistillation
from ddrep_core.errors import Cancelled, RequestError
from ddrep_core.priors import EmpiricalPrior, GaussianPrior
from ddrep_core.sampling.look import Ask, Look
from ddrep_core.sampling.sample import StepReport, sample
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
    levels = usable_levels(gaussian().sigmas, SCORE_DISTILLATION.skipped)
    sigma = float(levels[int(torch.randint(len(levels), (1,), generator=generator))])
    x = sigma * torch.randn(4, generator=generator)
    clean = x + sigma**2 / (1 + sigma**2) * (torch.arange(4.0) - x)
    torch.testing.assert_close(theta, 0.01 * clean.sign(), atol=1e-5, rtol=0)


def test_levels_leave_out_both_ends_and_infinity() -> None:
    sigmas = torch.cat([torch.tensor([torch.inf]), torch.linspace(10, 1, 100)]).double()
    kept = usable_levels(sigmas, (0.03, 0.01))
    assert (len(kept), float(kept[0]), float(kept[-1])) == (96, float(sigmas[4]), float(sigmas[-2]))
    assert len(usable_levels(sigmas[1:3], (0.5, 0.5))) == 2


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


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_ends_in_the_same_bytes_and_progress_is_told_as_in_sampling(method) -> None:
    brief = method.with_settings(steps=7, learning_rate=0.05)
    told: list[StepReport] = []
    states = []
    whole = distill(
        identity(), gaussian(), method=brief, seed=3, callback=lambda s: (told.append(s), states.append(s.state()))
    )
    assert [(step.index, step.of, step.nfe) for step in told] == [(n, 7, float(n)) for n in range(1, 8)]
    assert told[0].clean is not None and told[0].clean.shape == (1, *SHAPE)
    for state in states[1::3]:
        again = distill(identity(), gaussian(), method=brief, seed=3, state=state)
        assert torch.equal(again.diffrep.theta, whole.diffrep.theta) and again.nfe == whole.nfe


def test_a_callback_can_cancel() -> None:
    def stop(step: StepReport) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        distill(identity(), gaussian(), method=SCORE_DISTILLATION, callback=stop)


class Apart(ScoreDistillation):
    """An objective that sees all samples: each is pushed away from their mean. And one that learns: it counts."""

    def __init__(self) -> None:
        self.seen = 0

    def loss(self, look: Look, ask: Ask) -> Tensor:
        spread = (look.render - look.render.mean(0, keepdim=True).detach()).square().sum()
        return super().loss(look, ask) - 0.2 * spread

    def after(self, look: Look) -> None:
        self.seen += 1

    def state(self) -> dict[str, Tensor]:
        return {"seen": torch.tensor(self.seen)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.seen = int(state["seen"])


def test_an_objective_sees_all_samples_and_keeps_its_state() -> None:
    brief = SCORE_DISTILLATION.with_settings(steps=60, learning_rate=0.05)
    states = []
    apart = distill(
        identity(), gaussian(), method=replace(brief, objective=Apart), samples=3,
        callback=lambda step: states.append(step.state()),
    )  # fmt: skip
    alone = distill(identity(), gaussian(), method=brief, samples=3)
    assert len(apart.samples) == 3 and int(states[-1].tensors["objective.seen"]) == 60
    spread = [torch.stack([one.diffrep.theta for one in run.samples]).std(0).mean() for run in (apart, alone)]
    assert spread[0] > 2 * spread[1]


def test_it_starts_where_the_representation_is_if_asked() -> None:
    rep = identity()
    rep.theta.fill_(7.0)
    brief = SCORE_DISTILLATION.with_settings(steps=1, learning_rate=0.01)
    assert (distill(rep, gaussian(), method=brief, from_scratch=False).diffrep.theta - 7.0).abs().max() <= 0.011
    assert distill(rep, gaussian(), method=brief).diffrep.theta.abs().max() <= 0.011
