"""Samples that keep away from each other, on toys whose figures are known: modes, marginals, forces."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from ddrep_core.diffreps.linear import LinearDiffrep
from ddrep_core.errors import RequestError
from ddrep_core.features import PictureEmbedding
from ddrep_core.priors import GaussianMixturePrior, GaussianPrior
from ddrep_core.sampling import LearnedPotential, Look, ParticleGuidance, RadialKernel, sample
from ddrep_core.schedules.named import ddim_schedule
from ddrep_core.training.potential import learn_balance, learn_potential

ANGLES = torch.arange(10, dtype=torch.float64) * 2 * math.pi / 10
RING = torch.stack([ANGLES.cos(), ANGLES.sin()], -1)
RUNS = 100


def draws(prior: GaussianMixturePrior, size: int, guides: tuple, count: int, eta: float, runs: int = RUNS) -> Tensor:
    """[runs, count, D]: views are runs of their own, for kernels know views apart and each paints its own θ."""
    rep = LinearDiffrep(torch.eye(size * runs, dtype=torch.float64), image_shape=(1, 1, size))
    schedule = ddim_schedule(prior.sigmas, 50)
    made = sample(rep, prior, schedule=schedule, eta=eta, samples=count, together=True, guides=guides)
    return torch.stack([one.diffrep.theta.reshape(runs, size) for one in made.samples], 1)


def modes_and_offset(x: Tensor) -> tuple[float, float]:
    """How many of the ring's modes a set of samples shows on average, and how far from them samples lie."""
    distance, mode = torch.cdist(x, RING.expand(len(x), -1, -1)).min(-1)
    return sum(len(set(row)) for row in mode.tolist()) / len(x), float(distance.mean())


def test_ten_samples_together_show_more_modes_of_a_ring_and_stay_on_it() -> None:
    prior = GaussianMixturePrior(RING, 0.005)
    apart = ParticleGuidance(weight=2.5, kernel=RadialKernel(0.1), variance=0.5)
    alone, found = (modes_and_offset(draws(prior, 2, guides, 10, eta=1.0)) for guides in ((), (apart,)))
    assert alone == pytest.approx((6.5, 0.089), abs=0.15)
    assert found[0] >= 8.5 and found[1] <= 0.12


def test_what_was_saved_is_not_drawn_again_and_the_rest_is_drawn_alike() -> None:
    prior = GaussianMixturePrior(RING, 0.005)
    saved = RING[0].expand(1, 500, 1, 1, 2)
    unlike = ParticleGuidance(weight=0.5, kernel=RadialKernel(0.1), variance=0.5, unlike=saved)
    x = draws(prior, 2, (unlike,), 1, eta=0.0, runs=500)[:, 0]
    distance, mode = torch.cdist(x, RING).min(-1)
    shares = torch.bincount(mode, minlength=10) / len(mode)
    assert shares[0] <= 0.01 and shares[1:].min() > 0.06 and shares[1:].max() < 0.18
    assert distance.mean() < 0.1


def test_two_samples_push_apart_by_the_force_of_the_right_bandwidth() -> None:
    points = torch.tensor([[[0.0, 0.0]], [[2.0, 0.0]]], dtype=torch.float64)
    seen = RadialKernel().resemblance(points)
    force = seen.log_slope
    assert float(seen.bandwidth) == pytest.approx(4 / math.log(2))
    assert force[1, 0].tolist() == pytest.approx([2 * math.log(2) / (3 * 2), 0])  # apart, not together
    assert torch.equal(force[0], -force[1])
    leaf = points.clone().requires_grad_(True)
    kernel = torch.exp(-(leaf[:, None] - points[None]).square().sum(-1) / seen.bandwidth)
    (slope,) = torch.autograd.grad(kernel.sum(1).log().sum(), leaf)
    torch.testing.assert_close(force, -slope)


@pytest.mark.parametrize("pooled", [False, True])
def test_what_begins_at_one_place_is_not_thrown_apart(pooled: bool) -> None:
    """Nearer than `least` the force falls with the distance; from there on it is the median bandwidth's."""
    points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 2.0]], dtype=torch.float64)[:, None].expand(2, 2, 3)

    def force(apart: float, least: float) -> float:
        kernel = RadialKernel(pooled=pooled, least=least)
        return float(kernel.resemblance(apart * points).log_slope.norm())

    far = 3 / math.sqrt(3)  # of one number, at distance 1
    assert force(0.01, 0.0) == pytest.approx(100 * force(1, 0.0))
    assert force(1, far) == pytest.approx(force(1, 0.0)) and force(2, far) == pytest.approx(force(2, 0.0))
    assert force(0.001, far) == pytest.approx(0.1 * force(0.01, far), rel=0.01) and force(0.01, far) < force(1, far)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("others", [0, 2])
def test_away_is_the_kernels_gradient_for_any_number_of_particles_and_views(others: int, pooled: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
    saved = torch.randn(others, 3, 5, generator=generator, dtype=torch.float64) if others else None
    seen = RadialKernel(pooled=pooled).resemblance(points, saved)
    leaf = points.clone().requires_grad_(True)
    everyone = points if saved is None else torch.cat([points, saved])
    squares = (leaf[:, None] - everyone[None]).square().sum(-1)  # [N, N + M, B]
    squares = squares.sum(-1, keepdim=True) if pooled else squares
    kernel = torch.exp(-squares / (seen.bandwidth[:1] if pooled else seen.bandwidth))
    (slope,) = torch.autograd.grad(kernel.sum(), leaf)
    torch.testing.assert_close(seen.away, -seen.bandwidth[:, None] / 2 * slope)
    torch.testing.assert_close(seen.similar, kernel.sum(1).expand_as(seen.similar))


def test_views_of_one_object_are_pushed_from_the_same_other_with_the_weight_they_have_alone() -> None:
    """The first is near the second in one view, near the third in the other: each view alone would go elsewhere."""
    clean = torch.tensor([[0.0, 0.0], [0.1, 3.0], [2.0, 0.1]]).reshape(3, 2, 1, 1, 1)
    look = gaussian_look(clean, 1.0)
    alone, pooled = (
        ParticleGuidance(0.01, RadialKernel(pooled=pooled)).bend(look, lambda x: x) - clean for pooled in (False, True)
    )
    ways = torch.tensor([[0.1, 3.0], [2.0, 0.1]])  # to the others
    shares = torch.linalg.solve(ways.T, -pooled[0].flatten())  # of the first's push: so far from each of them
    assert bool((shares > 0).all())
    assert shares[1] / shares[0] == pytest.approx(math.exp((9.01 - 4.01) / float(bandwidth(clean))), rel=1e-3)
    copies = gaussian_look(clean.repeat(1, 3, 1, 1, 1), 1.0)  # the same object in more views moves as far
    again = ParticleGuidance(0.01, RadialKernel(pooled=True)).bend(copies, lambda x: x) - copies.clean
    torch.testing.assert_close(again, pooled.repeat(1, 3, 1, 1, 1))
    assert not torch.allclose(alone, pooled, rtol=0.1)


def test_the_mean_of_all_views_moves_all_that_is_seen_one_way_and_leaves_the_pattern() -> None:
    clean = torch.randn(3, 2, 2, 2, 4, generator=torch.Generator().manual_seed(6))
    look = gaussian_look(clean, 1.0)
    look.weights[1, ..., 2:] = 0
    moved = ParticleGuidance(0.2, RadialKernel(pooled=True), space="mean").bend(look, lambda x: x) - clean
    seen = look.weights.expand_as(moved) > 0
    one_way = moved[:, :1, :, :1, :1].expand_as(moved)
    torch.testing.assert_close(moved, torch.where(seen, one_way, torch.zeros_like(moved)))

    def means(pictures: Tensor) -> Tensor:
        return (pictures * look.weights).sum((1, 3, 4)) / look.weights.sum()

    # Every mean goes away from the others', as points alone would.
    away = RadialKernel().resemblance(means(clean)[:, None]).away[:, 0]
    cosine = torch.nn.functional.cosine_similarity(means(clean + moved) - means(clean), away)
    torch.testing.assert_close(cosine, torch.ones(3))
    saved = replace(ParticleGuidance(0.2, RadialKernel(pooled=True), space="mean"), unlike=clean[1:])
    alone = saved.bend(replace(look, render=clean[:1], clean=clean[:1]), lambda x: x) - clean[:1]
    assert float(means(alone)[0] @ (means(clean)[0] - means(clean)[1:].mean(0))) > 0


def bandwidth(clean: Tensor) -> Tensor:
    return torch.pdist(clean.flatten(1)).median().square() / math.log(len(clean))


def test_an_object_that_is_another_one_turned_resembles_it() -> None:
    generator = torch.Generator().manual_seed(1)
    one, other = torch.randn(2, 4, 6, generator=generator)
    points = torch.stack([one, one.roll(1, 0) + 0.1, other])
    as_seen, turned = (RadialKernel(3.0, turned).resemblance(points) for turned in (False, True))
    assert as_seen.similar[0].mean() < 1.2 and turned.similar[0].mean() > 1.9
    # The first goes away from its twin's own view there, −0.1 k in every view alike.
    away = RadialKernel(3.0, turned=True).resemblance(points[:2]).away
    torch.testing.assert_close(away[0], torch.full((4, 6), -0.1 * math.exp(-6 * 0.01 / 3)))
    torch.testing.assert_close(away[1], -away[0])


def gaussian_look(clean: Tensor, sigma: float) -> Look:
    weights = torch.ones(clean.shape[1], 1, *clean.shape[3:], dtype=clean.dtype)
    indices = torch.arange(clean.shape[1])
    return Look(sigma, indices, clean, torch.zeros_like(clean), clean, torch.zeros_like(clean), weights)


@pytest.mark.parametrize("sigma", [0.5, math.inf])
def test_any_module_may_say_what_is_alike_and_the_step_changes_just_that(sigma: float) -> None:
    clean = torch.randn(3, 2, 1, 4, 4, generator=torch.Generator().manual_seed(2)) * 0.2 + 0.5
    reds = nn.Linear(48, 5, bias=False)
    with torch.no_grad():
        reds.weight.zero_()
        reds.weight[:, :8] = torch.eye(5, 8)  # the red of five pixels
    top = nn.Sequential(nn.Flatten(), reds)
    guide = ParticleGuidance(0.5, space=top)
    bent = guide.bend(gaussian_look(clean, sigma), lambda latents: latents.expand(-1, 3, -1, -1))
    moved = (bent - clean).flatten(2)
    assert bool(torch.isfinite(bent).all()) and moved[..., 5:].abs().max() < 1e-7
    described = clean.flatten(2)[..., :5]
    away = RadialKernel().resemblance(described).away
    torch.testing.assert_close(moved[..., :5], 0.5 / (1 + 1 / sigma**2) * away)


def test_features_of_pictures_repel_and_their_unit_vectors_grow_apart() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    embedding = PictureEmbedding()
    clean = 0.5 + 0.1 * torch.randn(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    guide = ParticleGuidance(0.1, space=embedding, variance=0.05)
    bent = guide.bend(gaussian_look(clean, 5.0), lambda latents: latents.clamp(0, 1))
    before, after = (float(embedding(x[:1, 0]) @ embedding(x[1:, 0]).T) for x in (clean, bent))
    assert after < before - 1e-4


def test_the_nearer_two_are_the_harder_they_push_and_never_further_than_the_data_spreads() -> None:
    apart = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    moved = []
    for distance in (2.0, 1.0, 1e-4):
        clean = torch.stack([torch.zeros_like(apart), distance * apart / apart.square().mean().sqrt()])
        bent = ParticleGuidance(0.1).bend(gaussian_look(clean, 1.0), lambda x: x)
        moved.append(float((bent - clean)[0].square().mean().sqrt()))
    assert moved[1] == pytest.approx(2 * moved[0], rel=1e-4)  # the force of a median bandwidth is 1/distance
    assert moved[2] == pytest.approx(0.1 / 2, rel=1e-4)  # w σ²/(σ² + s²) s


@pytest.mark.parametrize("sigma", [1.0, math.inf])
def test_particles_at_one_place_stay_there_and_finite(sigma: float) -> None:
    clean = torch.full((3, 2, 1, 2, 2), 0.25)
    for space in ("clean", lambda pictures: pictures):
        bent = ParticleGuidance(1.0, space=space).bend(gaussian_look(clean, sigma), lambda x: x)
        assert torch.equal(bent, clean)


def test_what_paints_nothing_neither_counts_nor_moves() -> None:
    clean = torch.randn(2, 1, 1, 2, 4, generator=torch.Generator().manual_seed(4))
    look = gaussian_look(clean, 1.0)
    look.weights[..., 2:] = 0
    other = gaussian_look(torch.cat([clean[..., :2], clean[..., 2:] + 9], -1), 1.0)
    other.weights[..., 2:] = 0
    guide = ParticleGuidance(1.0)
    moved, again = (guide.bend(each, lambda x: x) - each.clean for each in (look, other))
    torch.testing.assert_close(moved, again, atol=1e-5, rtol=0)
    assert moved[..., 2:].abs().max() == 0 and moved[..., :2].abs().min() > 0


def test_no_weight_and_nobody_else_leave_a_run_as_it_was() -> None:
    prior = GaussianPrior(torch.zeros(1, 2, 2, dtype=torch.float64), 1.0)
    rep = LinearDiffrep(torch.eye(4, dtype=torch.float64), image_shape=(1, 2, 2))
    common = {"schedule": ddim_schedule(prior.sigmas, 5), "eta": 0.5}
    plain = sample(rep, prior, **common).diffrep.theta
    alone = sample(rep, prior, **common, guides=[ParticleGuidance(3.0)]).diffrep.theta
    pair = sample(rep, prior, **common, samples=2, together=True, guides=[ParticleGuidance(0.0)]).diffrep.theta
    assert torch.equal(plain, alone) and torch.equal(plain, pair)


def test_what_cannot_be_kept_away_from_is_refused_in_words() -> None:
    with pytest.raises(RequestError, match="zero or more"):
        ParticleGuidance(-1.0)
    with pytest.raises(RequestError, match="keep away from"):
        ParticleGuidance(1.0, unlike=torch.full((1, 1, 1, 2, 2), torch.nan))
    look = gaussian_look(torch.randn(2, 3, 1, 2, 2), 1.0)
    look = Look(1.0, torch.tensor([0, 2, 5]), look.render, look.noise, look.clean, look.predicted, look.weights)
    with pytest.raises(RequestError, match="whole orbit"):
        ParticleGuidance(1.0, RadialKernel(turned=True)).bend(look, lambda x: x)


RARE = GaussianMixturePrior(torch.tensor([[-1.0], [1.0]], dtype=torch.float64), 0.01, [0.8, 0.2])


def rare_pairs(count: int, generator: torch.Generator) -> Tensor:
    """Draws of `RARE`, [count, 1]."""
    rare = (torch.rand(count, 1, generator=generator) < 0.2).float()
    return 2 * rare - 1 + 0.1 * torch.randn(count, 1, generator=generator)


def liking(sets: Tensor) -> Tensor:
    return torch.exp(-2 * torch.exp(-(sets[:, 0] - sets[:, 1]).square().sum(-1)))


def rare_share(x: Tensor) -> tuple[float, float]:
    """The share of the rare mode in all samples, and of pairs that differ."""
    return float((x > 0).double().mean()), float(((x[:, 0] > 0) != (x[:, 1] > 0)).double().mean())


def test_a_fixed_potential_draws_more_of_what_is_rare() -> None:
    bent = [
        rare_share(draws(RARE, 1, (ParticleGuidance(weight, RadialKernel(1.0)),), 2, 1.0, 400)[..., 0])
        for weight in (0.0, 1.0, 3.0)
    ]
    shares, different = zip(*bent, strict=True)
    assert shares[0] == pytest.approx(0.2, abs=0.04) and shares[0] + 0.03 < shares[1] < shares[2] - 0.07
    assert different[0] + 0.1 < different[1] < different[2] - 0.2


def test_a_learned_potential_keeps_what_is_rare_rare_and_pairs_differ_more() -> None:
    generator = torch.Generator().manual_seed(0)
    balance = learn_balance(rare_pairs, liking, 2, generator, steps=120, batch=512)

    def balanced(sets: Tensor) -> Tensor:
        return liking(sets) * balance(sets).sum(1).exp()

    pairs = rare_pairs(40_000, generator).reshape(-1, 2, 1)

    def law(weight: Tensor) -> tuple[float, float]:
        rare = (pairs[..., 0] > 0).float()
        total = weight.sum()
        return float((rare[:, 0] * weight).sum() / total), float(((rare[:, 0] != rare[:, 1]) * weight).sum() / total)

    assert law(liking(pairs))[0] > 0.35 and law(balanced(pairs))[0] == pytest.approx(0.2, abs=0.02)
    learned = learn_potential(rare_pairs, balanced, 2, (0.05, 20.0), generator, steps=250, batch=256)
    guide = LearnedPotential(learned, (0.05, 20.0))
    drawn = rare_share(draws(RARE, 1, (guide,), 2, 1.0, 400)[..., 0])
    assert drawn[0] == pytest.approx(0.2, abs=0.045) and drawn[1] == pytest.approx(law(balanced(pairs))[1], abs=0.07)
