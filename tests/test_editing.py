"""Edits of Gaussians and mixtures, where it is known in closed form where each method ends."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from worded import WordedPrior, stable_diffusion_bars, stable_diffusion_sigmas

from ddrep_core.diffreps.linear import LinearDiffrep
from ddrep_core.distillation import (
    DELTA_DENOISING,
    POSTERIOR_DISTILLATION,
    SCORE_DISTILLATION,
    ModeSeeker,
    distill,
    posterior_distillation,
)
from ddrep_core.distillation.descend import usable_levels
from ddrep_core.distillation.pds import cleaner, coefficients
from ddrep_core.errors import RequestError
from ddrep_core.priors import GaussianMixturePrior, GaussianPrior
from ddrep_core.sampling import Schedule, Segment, ddim_schedule, karras_levels, lower_levels, sample
from ddrep_core.sampling.look import Ask, Clock, Source

VARIANCE, MEAN, WANTED, THERE = 0.25, 0.5, 2.0, 1.7
SIGMAS = stable_diffusion_sigmas()
MODE_SEEKERS = {"SDS": SCORE_DISTILLATION, "DDS": DELTA_DENOISING, "PDS": POSTERIOR_DISTILLATION}


def gaussian(mean: float, variance: float = VARIANCE) -> GaussianPrior:
    return GaussianPrior(torch.full((1, 1, 1), mean, dtype=torch.float64), variance, sigmas=SIGMAS)


def words(variance: float = VARIANCE) -> WordedPrior:
    return WordedPrior({"before": gaussian(MEAN), "after": gaussian(WANTED, variance)})


def there(*places: float) -> LinearDiffrep:
    """As many views, each its own number."""
    rep = LinearDiffrep(torch.eye(len(places), dtype=torch.float64), image_shape=(1, 1, 1))
    rep.theta.copy_(torch.tensor(places, dtype=torch.float64)[:, None])
    return rep


def rest(method: ModeSeeker, levels: Tensor, variance: float = VARIANCE) -> float:
    """Where the expected gradient vanishes, which is linear in the place: over the levels, and a pair of noises ±1."""
    prior = words(variance)
    ask = Ask(prior, prior.condition("after"), torch.ones(2, 1, 1, 1).double(), 2, Clock())
    ask.source = Source(there(THERE, THERE), prior.condition("before"))
    objective, noise = method.objective(), torch.tensor([-1.0, 1.0]).double().reshape(1, 2, 1, 1, 1)

    def gradient(place: float) -> float:
        render = torch.full((1, 2, 1, 1, 1), place, dtype=torch.float64).requires_grad_()
        for sigma in levels.tolist():
            objective.loss(ask(render, noise, sigma, torch.arange(2)), ask).backward()
        assert render.grad is not None
        return float(render.grad.sum())

    at_zero, at_one = gradient(0.0), gradient(1.0)
    return at_zero / (at_zero - at_one)


def closed(method: str, levels: Tensor, variance: float = VARIANCE, coefficient: Any = "released") -> float:
    """The same, solved by hand: Σ w (g_t (y − m_t) − g_s (x − m_s) + κ (y − x)) = 0 with g = σ / (v + σ²)."""
    pairs = [coefficients(sigma, cleaner(SIGMAS, sigma), coefficient) for sigma in levels.tolist()]
    kappa, chi = torch.tensor(pairs, dtype=torch.float64).T
    weight = {"SDS": levels**2 / (1 + levels**2), "DDS": torch.ones_like(levels), "PDS": chi}[method]
    kappa = kappa if method == "PDS" else torch.zeros_like(levels)
    new, old = levels / (variance + levels**2), (method != "SDS") * levels / (VARIANCE + levels**2)
    held = new * WANTED + old * (THERE - MEAN) + kappa * THERE
    return float((weight * held).sum() / (weight * (new + kappa)).sum())


def test_each_mode_seeker_rests_where_the_algebra_says() -> None:
    """SDS at the target's mean, DDS the whole change away; PDS brakes two thirds of it as released, all as printed."""
    few = usable_levels(SIGMAS, (0.02, 0.02))[::50]
    for variance in (VARIANCE, 1.0):
        for name, method in MODE_SEEKERS.items():
            assert rest(method, few, variance) == pytest.approx(closed(name, few, variance), rel=1e-6)
    for coefficient in ("printed", "exact"):
        found = rest(posterior_distillation(coefficient), few)
        assert found == pytest.approx(closed("PDS", few, coefficient=coefficient), rel=1e-6)
    levels = usable_levels(SIGMAS, (0.02, 0.02))
    known = {
        ("SDS", VARIANCE, "released"): 2.000,
        ("DDS", VARIANCE, "released"): 3.200,
        ("PDS", VARIANCE, "released"): 2.195,
        ("PDS", VARIANCE, "exact"): 3.200,
        ("PDS", VARIANCE, "printed"): 1.7,
        ("SDS", 1.0, "released"): 2.000,  # with another variance none of them is the transport, which would be 4.4
        ("DDS", 1.0, "released"): 4.002,
        ("PDS", 1.0, "released"): 2.227,
        ("PDS", 1.0, "exact"): 4.101,
    }
    for (name, variance, coefficient), place in known.items():
        assert closed(name, levels, variance, coefficient) == pytest.approx(place, rel=0.02), (name, coefficient)


def test_guidance_scales_the_edit_of_a_run() -> None:
    prior = WordedPrior({"before": gaussian(MEAN), "after": gaussian(WANTED), "": gaussian(0.0)})
    method = replace(DELTA_DENOISING, steps=200, learning_rate=0.05)
    for guidance in (1.0, 2.0):
        asked = {"prompt": "after", "source_prompt": "before", "guidance_scale": guidance}
        found = distill(there(THERE), prior, method=method, **asked)
        assert float(found.diffrep.theta) == pytest.approx(THERE + guidance * (WANTED - MEAN), rel=0.02)
        assert found.nfe == 2 * 200


@pytest.mark.parametrize("coefficient", ["released", "printed"])
def test_the_coefficients_are_those_of_the_latents_written_out(coefficient) -> None:
    """z̃ = (x_s − γ x̂0 − δ x) / std of both branches with one and the same noises, as the code and the paper have it."""
    bars, generator = stable_diffusion_bars(), torch.Generator().manual_seed(0)
    for step in (40, 200, 500, 800, 979):
        stride = 2 if coefficient == "released" else 1
        bar, below = bars[step], bars[step - stride]
        alpha = bars[step] / bars[step - 1]
        gamma = below.sqrt() * (1 - alpha) / (1 - bar)
        delta = (alpha if coefficient == "released" else bar).sqrt() * (1 - below) / (1 - bar)
        noise, other, *changes = torch.randn(4, generator=generator, dtype=torch.float64)
        latents = []
        for clean, predicted in ((0.0, 0.0), changes):  # source, target: x0 and ε̂
            x = bar.sqrt() * clean + (1 - bar).sqrt() * noise
            found = (x - (1 - bar).sqrt() * predicted) / bar.sqrt()
            latents.append(below.sqrt() * clean + (1 - below).sqrt() * other - gamma * found - delta * x)
        sigma, level = ((1 - bar) / bar).sqrt(), float(((1 - bars[step - 1]) / bars[step - 1]).sqrt())
        kappa, _ = coefficients(float(sigma), level, coefficient)
        expected = gamma * sigma * (kappa * changes[0] + changes[1])
        torch.testing.assert_close(latents[1] - latents[0], expected, rtol=0.02, atol=1e-4)


def test_with_the_true_posterior_nothing_holds_the_source() -> None:
    """ψ = 0 and χ = √(σ²/s² − 1), to rounding, whatever the stride (checked with the posterior's own coefficients)."""
    bars = stable_diffusion_bars()
    for stride in (1, 2, 20):
        bar, below = bars[stride:], bars[:-stride]
        alpha, deviation = bar / below, ((1 - below) / (1 - bar) * (1 - bar / below)).sqrt()
        gamma, delta = below.sqrt() * (1 - alpha) / (1 - bar), alpha.sqrt() * (1 - below) / (1 - bar)
        assert ((below.sqrt() - gamma - delta * bar.sqrt()) / deviation).abs().max() < 1e-10
        sigma, level = ((1 - bar) / bar).sqrt(), ((1 - below) / below).sqrt()
        pairs = zip(sigma.tolist(), level.tolist(), strict=True)
        chi = torch.tensor([coefficients(*pair, "exact")[1] for pair in pairs]).double()
        torch.testing.assert_close(gamma * sigma / deviation, chi, rtol=1e-4, atol=0)


def clouds(height: float) -> GaussianMixturePrior:
    means = torch.tensor([[-2.0, height], [2.0, height]], dtype=torch.float64).reshape(2, 1, 1, 2)
    return GaussianMixturePrior(means, 0.05, sigmas=SIGMAS)


def test_two_clouds_are_lifted_each_on_its_own_side_and_keep_their_spread() -> None:
    generator = torch.Generator().manual_seed(1)
    places = 0.05**0.5 * torch.randn(40, 2, generator=generator, dtype=torch.float64)
    places[:, 0] += torch.tensor([-2.0, 2.0], dtype=torch.float64).repeat(20)
    rep = LinearDiffrep(torch.eye(80, dtype=torch.float64), image_shape=(1, 1, 2))
    rep.theta.copy_(places.reshape(-1, 1))
    prior = WordedPrior({"before": clouds(0.0), "after": clouds(3.0)})
    method = replace(DELTA_DENOISING, steps=250, learning_rate=0.05)
    found = distill(rep, prior, method=method, prompt="after", source_prompt="before", guidance_scale=1.0)
    moved = found.diffrep.theta.reshape(-1, 2) - places
    torch.testing.assert_close(moved[:, 1], torch.full((40,), 3.0).double(), rtol=0.02, atol=0)
    assert moved[:, 0].abs().max() < 0.05


def test_an_edit_without_words_for_the_source_says_so() -> None:
    with pytest.raises(RequestError, match="before it"):
        distill(there(THERE), words(), method=DELTA_DENOISING, prompt="after", guidance_scale=1.0)
    with pytest.raises(RequestError, match="no 'other' coefficient"):
        coefficients(1.0, 0.9, "other")  # type: ignore[arg-type]


# The sampler: source and target side by side


@pytest.mark.parametrize(("start", "eta"), [(0.5, 0.0), (4.0, 1.0), (14.6, 0.5)])
def test_the_difference_of_samplings_moves_gaussians_by_a_share_that_the_first_level_sets(start, eta) -> None:
    schedule = Schedule((Segment((*karras_levels(start, 0.02, 50), 0.0)),))
    found = sample(
        there(THERE, 0.2), words(), prompt="after", source_prompt="before", schedule=schedule, eta=eta, seed=3
    )  # fmt: skip
    share = 1 - math.sqrt(VARIANCE / (VARIANCE + start**2))
    moved = found.diffrep.theta[:, 0] - torch.tensor([THERE, 0.2])  # whatever the noise, and whatever the source
    torch.testing.assert_close(moved, torch.full((2,), share * (WANTED - MEAN)).double(), rtol=0.02, atol=0)
    assert found.nfe == 2 * 50


@pytest.mark.parametrize("eta", [0.0, 0.75])
def test_equal_words_change_nothing(eta) -> None:
    prior = WordedPrior({"before": clouds(0.0)})
    rep = LinearDiffrep(torch.eye(2, dtype=torch.float64), image_shape=(1, 1, 2))
    rep.theta.copy_(torch.tensor([[1.5], [0.3]]))
    schedule = ddim_schedule(SIGMAS, 20)
    edited = sample(rep, prior, prompt="before", source_prompt="before", schedule=schedule, eta=eta).diffrep
    torch.testing.assert_close(edited.theta, rep.theta, rtol=0, atol=1e-9)


def test_it_is_finite_where_levels_begin_at_infinity_and_goes_on_from_a_state_to_the_same_bytes() -> None:
    schedule = Schedule((Segment((math.inf, 5.0, 2.0, 1.0, 0.3, 0.0)), Segment((1.0, 0.3, 0.0), heun=True)))
    asked = {"prompt": "after", "source_prompt": "before", "schedule": schedule, "joint_below": 0.5}
    states = []
    whole = sample(there(THERE, 0.2), words(), callback=lambda step: states.append(step.state()), **asked)
    assert bool(whole.diffrep.theta.isfinite().all())
    again = sample(there(THERE, 0.2), words(), state=states[3], **asked)
    assert torch.equal(again.diffrep.theta, whole.diffrep.theta) and again.nfe == whole.nfe


def test_sdedit_starts_where_the_representation_is() -> None:
    """Of a Gaussian, the probability flow from x = f + σ_0 ε ends at m + √(v / (v + σ_0²)) (x − m)."""
    start, views = 1.0, 200
    schedule = Schedule((Segment((*karras_levels(start, 0.02, 25), 0.0)),))
    rep = there(*[THERE] * views)
    found = sample(rep, words(), prompt="after", schedule=schedule, eta=0.0, from_scratch=False).diffrep.theta
    kept = math.sqrt(VARIANCE / (VARIANCE + start**2))
    assert float(found.mean()) == pytest.approx(WANTED + kept * (THERE - WANTED), abs=4 * kept * start / views**0.5)
    assert float(found.std()) == pytest.approx(kept * start, rel=0.15)


def test_the_levels_of_a_strength_are_the_lower_share() -> None:
    assert lower_levels(SIGMAS, 1.0).tolist() == SIGMAS.tolist()
    assert lower_levels(SIGMAS, 0.25).tolist() == SIGMAS[750:].tolist()
    assert lower_levels(SIGMAS[:3], 0.01).tolist() == SIGMAS[2:3].tolist()
    for wrong in (0.0, 1.5, math.nan):
        with pytest.raises(RequestError, match="strength of an edit"):
            lower_levels(SIGMAS, wrong)
