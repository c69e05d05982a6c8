"""NFSD, VSD and repulsive score distillation: their gradients, and where they end on laws in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps.linear import LinearDiffrep
from ddrep_core.distillation import (
    NOISE_FREE_SCORE_DISTILLATION,
    SCORE_DISTILLATION,
    SCORE_JACOBIAN_CHAINING,
    ModeSeeker,
    ParticlesThemselves,
    distill,
    repulsive,
    variational,
)
from ddrep_core.distillation.adapter_score import AdapterScore
from ddrep_core.distillation.nfsd import NoiseFreeScoreDistillation
from ddrep_core.distillation.repulsive import Repulsive
from ddrep_core.distillation.vsd import ParticleScore
from ddrep_core.errors import RequestError
from ddrep_core.priors import EmpiricalPrior, GaussianMixturePrior, GaussianPrior
from ddrep_core.sampling.look import Ask, Clock, Look

LEVELS = torch.from_numpy(np.geomspace(10, 0.02, 1000))


class Generator:
    """Pictures μ + e^l ξ of one number, ξ drawn anew at every look: a law that a mode-seeker moves."""

    def __init__(self, count: int) -> None:
        self.count, self.noise = count, torch.Generator().manual_seed(5)
        self.theta = torch.zeros(2, dtype=torch.float64)

    image_shape = (1, 1, 1)

    @property
    def view_count(self) -> int:
        return self.count

    def parameters(self) -> dict[str, Tensor]:
        return {"theta": self.theta}

    def reset(self, generator: torch.Generator) -> None:
        self.theta.zero_()

    def render(self, indices: Tensor | None = None) -> Tensor:
        drawn = torch.randn(self.count, generator=self.noise, dtype=torch.float64)
        drawn = (drawn - drawn.mean()) / drawn.std()
        return (self.theta[0] + self.theta[1].exp() * drawn).reshape(-1, 1, 1, 1)

    def pixel_weights(self) -> Tensor | None:
        return None

    def copy(self) -> Generator:
        return Generator(self.count)


@dataclass(frozen=True)
class Told:
    guidance: float

    def __getitem__(self, indices: Any) -> Told:
        return self


class Guided(GaussianPrior):
    """N(2, 0.7²) with words, N(0, 2) without."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(1, 1, 1, dtype=torch.float64), 1.0, sigmas=LEVELS)

    def condition(self, prompt="", negative_prompt="", views=None, guidance_scale=7.5, controls=None) -> Any:
        return Told(guidance_scale)

    def predict_noise(self, x: Tensor, sigma: Any, conditioning: Any) -> Tensor:
        worded, wordless = (sigma * (x - mean) / (spread + sigma**2) for mean, spread in ((2.0, 0.49), (0.0, 2.0)))
        return wordless + conditioning.guidance * (worded - wordless)


class GaussianScore(ParticleScore):
    """The exact score of a Gaussian law, by its mean and spread over the views."""

    def predict(self, look: Look, ask: Ask) -> Tensor:
        render = look.render.detach()
        x = render + look.sigma * look.noise
        return look.sigma * (x - render.mean()) / (render.var() + look.sigma**2)


def law(method: ModeSeeker, guidance: float) -> tuple[float, float]:
    """Mean and standard deviation of the generator, averaged over the second half of the run."""
    seen: list[Tensor] = []
    brief = replace(method, steps=400, learning_rate=0.04, skipped=(0, 0))
    distill(
        Generator(192), Guided(), method=brief, guidance_scale=guidance,
        callback=lambda step: seen.append(step.diffrep.parameters()["theta"].detach().clone()),
    )  # fmt: skip
    mean, log = torch.stack(seen[200:]).mean(0).tolist()
    return mean, math.exp(log)


@pytest.mark.parametrize(("guidance", "mean", "spread"), [(1.0, 2.0, 0.70), (2.0, 3.006, 0.312)])
def test_vsd_of_a_gaussian_generator_keeps_its_spread(guidance: float, mean: float, spread: float) -> None:
    found = law(variational(GaussianScore), guidance)
    assert found[0] == pytest.approx(mean, abs=0.05) and found[1] == pytest.approx(spread, abs=0.03)


def test_sds_of_it_has_none_and_ends_at_the_same_mean() -> None:
    mean, spread = law(SCORE_DISTILLATION, 1.0)
    assert mean == pytest.approx(2.0, abs=0.05) and spread < 0.1


def test_vsd_of_one_particle_with_its_exact_score_is_sds_and_of_many_keeps_them_apart() -> None:
    prior = GaussianPrior(torch.zeros(1, 1, 2, dtype=torch.float64), 0.49, sigmas=LEVELS)
    rep = LinearDiffrep(torch.eye(2, dtype=torch.float64), image_shape=(1, 1, 2))
    exact = replace(variational(ParticlesThemselves), steps=150, learning_rate=0.03)
    seeking = SCORE_DISTILLATION.with_settings(steps=150, learning_rate=0.03)
    alone = [distill(rep, prior, method=method).diffrep.theta for method in (exact, seeking)]
    torch.testing.assert_close(*alone)
    together = [
        torch.stack([each.diffrep.theta for each in distill(rep, prior, method=method, samples=6).samples])
        for method in (exact, seeking)
    ]
    spread = [float(found.std(0).mean()) for found in together]
    assert spread[0] > 0.3 and spread[0] > 2 * spread[1]


def test_nfsd_leaves_the_noise_out() -> None:
    prior = EmpiricalPrior(torch.tensor([[[[1.0]]], [[[-1.0]]]]), ["a", "b"])
    looks: list[tuple[Look, Tensor]] = []
    objective = NoiseFreeScoreDistillation("b")
    conditioning = prior.condition("a", "", None, 3.0)
    ask = Ask(prior, conditioning, torch.ones(1, 1, 1, 1), 1, Clock())
    for sigma in (0.3, 2.0):
        render = torch.full((1, 1, 1, 1, 1), 0.2, requires_grad=True)
        look = ask(render, torch.full_like(render, 0.7).detach(), sigma, torch.tensor([0]))
        objective.loss(look, ask).backward()
        assert render.grad is not None
        looks.append((look, render.grad))
    for (look, slope), negative in zip(looks, (False, True), strict=True):
        x = 0.2 + look.sigma * 0.7
        free, told, banned = (x - math.tanh(x / look.sigma**2)) / look.sigma, (x - 1) / look.sigma, (x + 1) / look.sigma
        expected = free + 3 * (told - free) - (banned if negative else 0)
        assert float(slope) == pytest.approx(look.sigma**2 / (1 + look.sigma**2) * expected, rel=1e-4)
    rep = LinearDiffrep(torch.ones(1, 1), image_shape=(1, 1, 1))
    method = replace(NOISE_FREE_SCORE_DISTILLATION, objective=partial(NoiseFreeScoreDistillation, "b"))
    brief = method.with_settings(steps=200, learning_rate=0.02)
    assert float(distill(rep, prior, method=brief, prompt="a").diffrep.theta) > 0.5


class Started(LinearDiffrep):
    """Begins anywhere."""

    def reset(self, generator: torch.Generator) -> None:
        self.theta.copy_(torch.randn(self.theta.shape, generator=generator, dtype=self.theta.dtype))


def plain(leaves: list[Tensor], lr: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    return torch.optim.SGD(leaves, lr=lr)


@pytest.mark.parametrize(("gamma", "least", "most"), [(0.0, 0.4, 0.62), (1.0, 0.0, 0.15), (3.0, 0.0, 0.05)])
def test_repelled_pairs_take_both_modes_and_stay_on_them(gamma: float, least: float, most: float) -> None:
    modes = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    prior = GaussianMixturePrior(modes, 0.005, sigmas=torch.from_numpy(np.geomspace(1, 0.02, 500)))
    runs = 200  # views are runs of their own
    method = replace(SCORE_DISTILLATION, steps=500, learning_rate=0.08, skipped=(0, 0), falling=True, optimizer=plain)
    rep = Started(torch.eye(2 * runs, dtype=torch.float64), image_shape=(1, 1, 2))
    found = distill(rep, prior, method=repulsive(method, gamma), samples=2).samples
    x = torch.stack([each.diffrep.theta.reshape(runs, 2) for each in found])
    collapsed = float(((x[0, :, 0] > 0) == (x[1, :, 0] > 0)).double().mean())
    off = float(torch.cdist(x.flatten(0, 1), modes).min(-1).values.mean())
    assert least <= collapsed <= most and off <= 0.05


@pytest.mark.parametrize("base", [SCORE_DISTILLATION, SCORE_JACOBIAN_CHAINING, variational(ParticlesThemselves)])
def test_any_base_is_repelled_by_the_same_force_at_its_own_weight(base: ModeSeeker) -> None:
    prior = GaussianPrior(torch.zeros(1, 1, 2, dtype=torch.float64), 1.0, sigmas=LEVELS)
    ask = Ask(prior, prior.condition(), torch.ones(1, 1, 1, 2, dtype=torch.float64), 1, Clock())
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0]], dtype=torch.float64).reshape(2, 1, 1, 1, 2)
    slopes = []
    for gamma in (0.0, 3.0):
        render = points.clone().requires_grad_(True)
        look = ask(render, torch.zeros_like(points), 0.5, torch.tensor([0]))
        objective = Repulsive(base.objective(), gamma)
        objective.loss(look, ask).backward()
        assert render.grad is not None
        slopes.append(render.grad)
    force = -(slopes[1] - slopes[0])[1].flatten()
    weight = 1.0 if base.name == "SJC" else 0.2
    assert force.tolist() == pytest.approx([weight * 3 * 0.5 * 2 * math.log(2) / (3 * 2), 0.0])


def test_repelled_features_lead_back_through_the_decoder() -> None:
    prior = GaussianPrior(torch.full((3, 2, 2), 0.5), 0.05)
    rep = Started(0.1 * torch.eye(12), offset=torch.full((3, 2, 2), 0.5), image_shape=(3, 2, 2))
    method = SCORE_DISTILLATION.with_settings(steps=30, learning_rate=0.05)
    spread = []
    for gamma in (0.0, 30.0):
        reds = repulsive(method, gamma, features=lambda pictures: pictures[:, 0])
        found = torch.stack([each.diffrep.render()[0] for each in distill(rep, prior, method=reds, samples=3).samples])
        spread.append(found.std(0).mean((1, 2)))
    assert spread[1][0] > 1.5 * spread[0][0] and spread[1][1] < 1.2 * spread[0][1]


def test_an_adapter_learns_the_particles_and_the_prior_stays_as_it_was(tiny_sd) -> None:
    prior = dd.load_prior(str(tiny_sd), device="cpu")
    shape = prior.image_shape
    rep = Started(torch.eye(math.prod(shape)), image_shape=shape)
    before = prior.predict_noise(torch.ones(1, *shape), 1.0, prior.condition("a duck"))
    method = replace(variational(partial(AdapterScore, learning_rate=3e-3)), steps=6, learning_rate=0.01)
    states = []
    whole = distill(
        rep, prior, method=method, prompt="a duck", samples=2, callback=lambda step: states.append(step.state())
    )
    after = prior.predict_noise(torch.ones(1, *shape), 1.0, prior.condition("a duck"))
    assert torch.equal(before, after)
    ups = [tensor for name, tensor in states[-1].tensors.items() if name.startswith("objective.adapter.up")]
    assert ups and max(float(up.abs().max()) for up in ups) > 0
    views = states[-1].tensors["objective.adapter.views"]
    assert views.shape[0] == 1 and float(views.abs().max()) > 0
    again = distill(rep, prior, method=method, prompt="a duck", samples=2, state=states[2])
    assert all(torch.equal(a.diffrep.theta, b.diffrep.theta) for a, b in zip(whole.samples, again.samples, strict=True))


def test_an_adapter_brings_down_its_error_on_what_it_sees(tiny_sd) -> None:
    prior = dd.load_prior(str(tiny_sd), device="cpu")
    score = AdapterScore(rank=8, learning_rate=1e-2, rounds=5)
    render = torch.randn(2, 1, *prior.image_shape, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(render.shape, generator=torch.Generator().manual_seed(1))
    ask = Ask(prior, prior.condition("a duck", guidance_scale=3.0), torch.ones(1, 1, *render.shape[-2:]), 1, Clock())
    look = ask(render, noise, 1.0, torch.tensor([0]))
    errors = []
    for _ in range(8):
        errors.append(float((score.predict(look, ask) - noise).square().mean()))
        score.learn(look)
    assert errors[-1] < 0.95 * errors[0]


def test_only_a_diffusers_prior_can_learn_the_particles_score() -> None:
    prior = GaussianPrior(torch.zeros(1, 1, 2), 1.0)
    rep = LinearDiffrep(torch.eye(2), image_shape=(1, 1, 2))
    with pytest.raises(RequestError, match="Only a diffusers prior"):
        distill(rep, prior, method=variational())
