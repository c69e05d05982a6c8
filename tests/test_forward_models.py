"""Forward models on linear signals of known law: what is drawn given some views, and learnt from views alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.forward_models import (
    ForwardPrior,
    GaussianSignals,
    LinearSignalNetwork,
    ObservationLesson,
    Patches,
    SignalNetwork,
    draw_signals,
    learn_signals,
    quarters,
    refined,
)
from ddrep_core.forward_models.draw import means
from ddrep_core.schedules.named import ddim_schedule
from ddrep_core.training.denoiser import started

CORRELATION = torch.tensor(
    [[1.0, 0.8, 0.497, 0.316], [0.8, 1.0, 0.675, 0.4], [0.497, 0.675, 1.0, 0.3], [0.316, 0.4, 0.3, 1.0]],
    dtype=torch.float64,
)
"""Of a signal of four numbers; given the first, the others' variances are .36, .753 and .90."""
CONTEXT = {0: torch.full((1, 1, 1), 1.5, dtype=torch.float64)}
LEVELS = torch.linspace(math.log(40), math.log(0.01), 300, dtype=torch.float64).exp()


def coordinates(covariances: Tensor, means: Tensor | None = None, weights: Tensor | None = None) -> GaussianSignals:
    """Each view shows one number."""
    count, size = len(covariances), covariances.shape[1]
    middle = torch.zeros(count, size, dtype=torch.float64) if means is None else means
    shares = torch.full((count,), 1 / count, dtype=torch.float64) if weights is None else weights
    return GaussianSignals(middle, covariances, shares, torch.eye(size, dtype=torch.float64)[:, None])


def known(signals: GaussianSignals, context: dict[int, Tensor] | None = None) -> ForwardPrior:
    return ForwardPrior(
        signals.denoise, signals.forward, len(signals.maps), (1, 1, signals.maps.shape[1]),
        context=CONTEXT if context is None else context, sigmas=LEVELS, dtype=torch.float64,
    )  # fmt: skip


def covariance(drawn: Tensor) -> Tensor:
    return torch.cov(drawn.T)


def test_the_signal_s_law_comes_of_all_views_and_of_one_its_mean_of_the_rest() -> None:
    """F1, F2. With one target view the others have the variance of E[S | context, target] alone."""
    signals = coordinates(CORRELATION[None])
    prior = known(signals)
    _, (true,), _ = signals.posterior(CONTEXT)
    found = {
        order: covariance(draw_signals(prior, 200, order=order, schedule=ddim_schedule(LEVELS, 16, heun=True)).signals)
        for order in ("one", "autoregressive", "joint")
    }
    assert [round(float(true[k, k]), 2) for k in (1, 2, 3)] == [0.36, 0.75, 0.9]
    for order in ("autoregressive", "joint"):
        for k in (1, 2, 3):  # a standard error of .1
            assert float(found[order][k, k]) == pytest.approx(float(true[k, k]), rel=0.33), (order, k)
        correlation = found[order][1, 2] / (found[order][1, 1] * found[order][2, 2]).sqrt()
        assert float(correlation) == pytest.approx(float(true[1, 2] / (true[1, 1] * true[2, 2]).sqrt()), abs=0.13)
    guessed = true[1, 2] ** 2 / true[1, 1]  # Var E[S2 | S0, S1]
    assert float(found["one"][2, 2]) == pytest.approx(float(guessed), rel=0.3)
    assert float(found["one"][2, 2]) < 0.4 * float(true[2, 2])
    one = found["one"]
    assert float(one[1, 2] / (one[1, 1] * one[2, 2]).sqrt()) == pytest.approx(1.0, abs=0.01)


def test_modes_are_drawn_with_their_shares_and_every_draw_agrees_with_the_context() -> None:
    """Two kinds of signals that look alike from view 0."""
    spread = 0.05 * torch.eye(4, dtype=torch.float64)
    middle = torch.tensor([[1.5, 1, 1, 1], [1.5, -1, -1, 1]], dtype=torch.float64)
    signals = coordinates(spread.repeat(2, 1, 1), middle, torch.tensor([0.7, 0.3], dtype=torch.float64))
    drawn = draw_signals(known(signals), 100, schedule=ddim_schedule(LEVELS, 12, heun=True))
    share = float((drawn.signals[:, 1] > 0).double().mean())
    assert share == pytest.approx(0.7, abs=0.15)  # a standard error of .046
    assert bool((drawn.signals[:, 1].sign() == drawn.signals[:, 2].sign()).all())
    assert torch.equal(drawn.pictures[:, 0], CONTEXT[0].expand(100, 1, 1, 1))
    torch.testing.assert_close(drawn.pictures[:, 1:, 0, 0, 0], drawn.signals[:, 1:])
    assert float(means(known(signals))[1]) == pytest.approx(0.4, abs=0.02)  # .7 − .3: neither


def test_guidance_leads_away_from_what_is_drawn_without_a_context() -> None:
    signals = coordinates(CORRELATION[None])
    prior, x = known(signals), torch.full((3, 1, 1, 1), 0.3, dtype=torch.float64)
    told, untold, more = (
        given.predict_clean(x, 1.0, given.condition(guidance_scale=scale))
        for given, scale in ((prior, 1.0), (known(signals, {}).given({}, (1, 2, 3)), 1.0), (prior, 2.0))
    )
    torch.testing.assert_close(more, untold + 2 * (told - untold))


def test_signals_are_learnt_from_views_alone() -> None:
    """F3: from views of two numbers of three under random pairs, the conditional mean within a tenth of a deviation."""
    law = coordinates(CORRELATION[None, :3, :3])
    root = torch.linalg.cholesky(CORRELATION[:3, :3]).float()

    def draw(count: int, source: torch.Generator) -> Tensor:
        return (torch.randn(count, 3, generator=source) @ root.T)[:, :, None, None, None]

    source = torch.Generator().manual_seed(0)
    model = started(lambda: SignalNetwork(3, 1, 3, width=48), source)
    single = GaussianSignals(law.means.float(), law.covariances.float(), law.weights.float(), law.maps.float())
    losses = learn_signals(model, single.forward, draw, ObservationLesson(steps=500), source)
    assert sum(losses[-50:]) < 0.8 * sum(losses[:50])
    seen, levels = draw(200, source), torch.tensor([0.0, math.inf, 0.7]).expand(200, 3)
    seen[:, 2] += 0.7 * torch.randn(seen[:, 2].shape, generator=source)
    seen[:, 1] = 0
    gap = model(seen, levels).detach() - single.denoise(seen, levels)
    assert float(gap[:, 1].square().mean().sqrt()) < 0.15  # the number that was not seen at all


def test_a_linear_estimate_is_the_posterior_of_a_plain_gaussian_and_the_network_adds_deviations_to_it() -> None:
    source = torch.Generator().manual_seed(2)
    maps = torch.randn(3, 2, 4, generator=source)
    law = GaussianSignals(
        torch.zeros(1, 4).double(), 2.25 * torch.eye(4).double()[None], torch.ones(1).double(), maps.double()
    )
    model = started(lambda: LinearSignalNetwork(maps, deviation=1.5, width=16), source)
    levels = torch.tensor([[0.3, math.inf, 2.0], [0.7, 0.7, 0.7], [math.inf] * 3])
    seen = torch.randn(3, 3, 1, 1, 2, generator=source)
    mean, covariance = model.estimate(seen, levels)
    torch.testing.assert_close(mean, law.denoise(seen.double(), levels.double()))
    torch.testing.assert_close(covariance[2], law.covariances[0])
    found = model(seen, levels).detach()
    off = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), (found - mean)[..., None], upper=False)
    assert float(off.abs().max()) < 3  # deviations, whatever the level
    left = torch.einsum("vod,bde,voe->bvo", maps.double(), covariance, maps.double())
    torch.testing.assert_close(model.weights(seen, levels), (1 / left).float(), rtol=1e-4, atol=0)


def test_what_is_learnt_by_weighted_views_is_the_posterior_s_mean_at_low_levels_too() -> None:
    law = coordinates(CORRELATION[None, :3, :3])
    root = torch.linalg.cholesky(CORRELATION[:3, :3]).float()

    def draw(count: int, source: torch.Generator) -> Tensor:
        return (torch.randn(count, 3, generator=source) @ root.T)[:, :, None, None, None]

    source = torch.Generator().manual_seed(0)
    model = started(lambda: LinearSignalNetwork(law.maps.float(), width=32), source)
    single = GaussianSignals(law.means.float(), law.covariances.float(), law.weights.float(), law.maps.float())
    lesson = ObservationLesson(steps=300, averaged=True, context_most=2)
    learn_signals(model, single.forward, draw, lesson, source, weigh=model.weights)
    seen = draw(200, source)
    for level, bar in ((0.05, 0.02), (0.7, 0.12)):
        levels = torch.full((200, 3), level)
        noisy = seen + level * torch.randn(seen.shape, generator=source)
        gap = model(noisy, levels).detach() - single.denoise(noisy, levels)
        assert float(gap.square().mean().sqrt()) < bar, level


def test_a_patch_has_several_latents_by_their_own_law_and_all_of_them_draw_it() -> None:
    """A linear generator of pictures of 4 x 4, whose upper left quarter is known: the posterior is in closed form."""
    source = torch.Generator().manual_seed(5)
    weights = torch.randn(16, 6, generator=source, dtype=torch.float64)
    corners = quarters(2)
    forward = Patches(lambda latents: (latents @ weights.T).reshape(-1, 1, 4, 4), corners, 2)
    pixels = torch.arange(16).reshape(1, 1, 4, 4)
    maps = weights[forward.cut(pixels).flatten(2)[0]]
    law = GaussianSignals(
        torch.zeros(1, 6, dtype=torch.float64), torch.eye(6, dtype=torch.float64)[None], torch.ones(1), maps
    )
    patch = forward(torch.randn(1, 6, generator=source, dtype=torch.float64), torch.tensor([0]))[0, 0]
    prior = ForwardPrior(
        law.denoise, forward, 4, (1, 2, 2), context={0: patch}, sigmas=LEVELS, dtype=torch.float64
    )  # fmt: skip
    drawn = draw_signals(prior, 150, order="joint", schedule=ddim_schedule(LEVELS, 12, heun=True)).signals
    torch.testing.assert_close(forward(drawn, torch.tensor([0]))[:, 0], patch.expand(150, 1, 2, 2), atol=0.01, rtol=0)
    (middle,), (true,), _ = law.posterior({0: patch})
    assert float((drawn.mean(0) - middle).abs().max()) < 0.25
    assert float(covariance(drawn).trace()) == pytest.approx(float(true.trace()), rel=0.2)
    away = torch.randn(5, 6, generator=source, dtype=torch.float64)
    nearest = refined(forward, away, {0: patch}, noise=1e-4, rounds=1)
    torch.testing.assert_close(forward(nearest, torch.tensor([0]))[:, 0], patch.expand(5, 1, 2, 2), atol=1e-6, rtol=0)
    free = torch.linalg.svd(maps[0])[2][4:]  # directions that the patch does not show
    torch.testing.assert_close((nearest - away) @ free.T, torch.zeros(5, 2, dtype=torch.float64), atol=1e-6, rtol=0)
    with pytest.raises(RequestError, match="no square"):
        Patches(forward.generator, [(3, 0)], 2)(drawn, torch.tensor([0]))


@pytest.mark.parametrize(("context", "targets"), [((0,), (0,)), ((0,), (4,)), ((0, 1, 2, 3), None)])
def test_views_that_are_none_or_known_are_refused(context: tuple[int, ...], targets: tuple[int, ...] | None) -> None:
    signals = coordinates(CORRELATION[None])
    seen = {view: torch.zeros(1, 1, 1, dtype=torch.float64) for view in context}
    with pytest.raises(RequestError, match="different views"):
        ForwardPrior(signals.denoise, signals.forward, 4, (1, 1, 1), context=seen, targets=targets)
