"""What is kept stays to the last bit, and the rest is drawn given it: held to closed forms."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.errors import RequestError
from ddrep_core.priors import GaussianMixturePrior, GaussianPrior
from ddrep_core.sampling import Given, Guide, Look, ddim_schedule, keeping, repaint_schedule, sample
from ddrep_core.sampling.given import Asking, known_pixels
from ddrep_core.schedules.schedule import Schedule, Segment

_spec = importlib.util.spec_from_file_location(
    "conditional", Path(__file__).resolve().parent.parent / "scripts" / "experiments" / "conditional.py"
)
assert _spec is not None and _spec.loader is not None
experiment = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(experiment)

DRAWS = 600
SIGMAS = experiment.two_modes(0.05).sigmas
TOLERATED = 3 / math.sqrt(DRAWS)  # of what is left to chance, in standard deviations of one draw


@pytest.mark.parametrize("correlation", experiment.CORRELATIONS)
def test_a_pair_given_one_of_it_has_the_law_of_the_closed_form(correlation: float) -> None:
    covariance, kept = experiment.chain(2, correlation), torch.tensor([True, False])
    values = torch.tensor([1.5, 0.0], dtype=torch.float64)
    mean, variance = experiment.conditional(covariance, kept, values)
    prior = experiment.gaussian(covariance)
    found, nfe = experiment.draws(prior, kept.tolist(), values, ddim_schedule(SIGMAS, 12), 0.75, 1, DRAWS)
    assert nfe == 2 * 12
    chance = TOLERATED * float(variance.sqrt())
    assert abs(float(found.mean()) - float(mean)) < 0.05 * float(mean) + chance
    assert abs(float(found.var() / variance) - 1) < 0.15 + TOLERATED
    # Pasting alone is another law: this is what the probes are for.
    pasted, _ = experiment.draws(prior, kept.tolist(), values, ddim_schedule(SIGMAS, 12), 0.75, 0, 300)
    assert float(pasted.mean()) < 0.85 * float(mean)


@pytest.mark.parametrize("correlation", experiment.CORRELATIONS)
def test_a_row_given_its_left_half(correlation: float) -> None:
    """Against the closed form, and nearer than chance lets that be told: against as many probes as there are kept
    pixels, which are exact for a Gaussian, in the same noise."""
    covariance, kept = experiment.chain(8, correlation), torch.arange(8) < 4
    values = torch.tensor([1.2, 1.0, 0.6, 0.9, 0, 0, 0, 0], dtype=torch.float64)
    mean, variance = experiment.conditional(covariance, kept, values)
    prior, schedule = experiment.gaussian(covariance), repaint_schedule(SIGMAS, 25)
    (one, nfe), (all_, most) = (
        experiment.draws(prior, kept.tolist(), values, schedule, 0.75, probes, DRAWS) for probes in (None, 4)
    )
    assert nfe < 0.55 * most  # one answer a step, and now and then another
    chance = TOLERATED * float(variance.sum().sqrt())
    assert float((all_.mean(0) - mean).norm()) < 0.02 * float(mean.norm()) + chance
    assert float((one.mean(0) - all_.mean(0)).norm()) < 0.05 * float(mean.norm())
    assert abs(float((one.var(0) / variance).mean()) - 1) < 0.15


def test_where_one_answer_is_not_enough_more_are_asked_for() -> None:
    """A row that depends on itself smoothly: how the mean follows from what is kept, against four answers a step."""
    covariance, kept = experiment.smooth(8, 2.0), torch.arange(8) < 4
    noise = torch.randn(300, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    values = noise @ torch.linalg.cholesky(covariance).T
    prior, schedule = experiment.gaussian(covariance), repaint_schedule(SIGMAS, 12)
    one, some, four = (
        experiment.draws(prior, kept.tolist(), values, schedule, 0.75, probes, 300)[0] for probes in (1, None, 4)
    )
    assert float((one - four).norm() / four.norm()) > 0.25
    assert float((some - four).norm() / four.norm()) < 0.1


def test_how_often_is_asked_follows_what_answers_told() -> None:
    asking = Asking()
    counts = []
    for told in (0.9, 0.9, 0.9, 0.01, 0.01, *[0.01] * 10):
        asking.hear(told)
        counts.append(asking.count)
    assert counts == [3, 4, 4, 3, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]


def test_known_pixels_count_most_beside_what_is_free() -> None:
    weights = torch.tensor([[[[1.0, 1.0, 1.0, 0.0, 0.0]]], [[[1.0] * 5]]])
    shore = Given(torch.zeros(2, 3, 1, 5), weights).shore()
    assert torch.allclose(shore[:, 0, 0], torch.tensor([[0.05, 0.05, 1.0, 0.0, 0.0], [0.05] * 5]))


def test_of_two_modes_the_right_one_is_drawn() -> None:
    for value, least in ((1.0, 0.99), (0.3, 0.95)):
        values = torch.tensor([value, 0.0])
        schedule = repaint_schedule(SIGMAS, 25)
        found, _ = experiment.draws(experiment.two_modes(0.05), [True, False], values, schedule, 0.75, 1, 400)
        assert float((found > 0).double().mean()) >= least


def picture(seed: int = 0) -> tuple[LinearDiffrep, Tensor]:
    """Two views of 12 parameters, overlapping by half, and which of the parameters are kept."""
    eye = torch.eye(12, dtype=torch.float64)
    rep = LinearDiffrep(torch.cat([eye[:8], eye[4:]]), image_shape=(1, 2, 4))
    rep.theta.copy_(torch.randn(12, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    return rep, torch.arange(12) < 6


def mixture() -> GaussianMixturePrior:
    means = torch.randn(3, 1, 2, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return GaussianMixturePrior(means, 0.1)


def test_what_is_kept_differs_by_nothing_and_guides_do_not_move_it() -> None:
    class Pulling(Guide):
        def bend(self, look, decode):
            return look.clean + 1.0

    rep, kept = picture()
    part, given = keeping(rep, kept)
    assert torch.equal(given.weights[:, 0], torch.tensor([[[1.0] * 4, [1, 1, 0, 0]], [[1, 1, 0, 0], [0] * 4]]))
    for guides in ((), (Pulling(),)):
        found = sample(part, mixture(), given=given, guides=guides, schedule=ddim_schedule(SIGMAS, 6))
        whole = rep.restored(found.diffrep, ~kept)
        assert torch.equal(whole.theta[kept], rep.theta[kept])
        assert not torch.equal(whole.theta[~kept], rep.theta[~kept])
        assert torch.equal(torch.where(given.weights > 0, found.diffrep.render(), 0.0), given.put(0 * given.pictures))


def test_views_pinned_without_fixed_parameters_are_held_and_half_believed_between() -> None:
    """Independent pixels of variance 1, one of them measured as 1: w of it is believed, whatever the schedule."""
    prior = GaussianPrior(torch.zeros(1, 1, 2, dtype=torch.float64), 1.0)
    rep = LinearDiffrep(torch.eye(1000, dtype=torch.float64), image_shape=(1, 1, 2))
    pictures = torch.full((500, 1, 1, 2), 1.0, dtype=torch.float64)
    for weight, mean, variance in ((0.0, 0.0, 1.0), (0.6, 0.6, 0.4), (1.0, 1.0, 0.0)):
        weights = torch.zeros(500, 1, 1, 2, dtype=torch.float64)
        weights[..., 0] = weight
        given = Given(pictures, weights)
        found = sample(rep, prior, given=given, schedule=ddim_schedule(SIGMAS, 25)).diffrep.theta.reshape(500, 2)[:, 0]
        assert float(found.mean()) == pytest.approx(mean, abs=0.12) and float(found.var()) == pytest.approx(
            variance, abs=0.15
        )


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes() -> None:
    rep, kept = picture()
    part, given = keeping(rep, kept)
    arguments = {"given": given, "schedule": repaint_schedule(SIGMAS, 5), "seed": 4}
    states = []
    whole = sample(part, mixture(), callback=lambda step: states.append(step.state()), **arguments)
    for state in (states[0], states[4]):
        again = sample(part, mixture(), state=state, **arguments)
        assert torch.equal(again.diffrep.theta, whole.diffrep.theta) and again.nfe == whole.nfe


def test_it_costs_what_it_says_and_nothing_where_nothing_is_known() -> None:
    rep, kept = picture()
    part, given = keeping(rep, kept)
    schedule = ddim_schedule(SIGMAS, 4)
    for probes, nfe in ((0, 4), (1, 8), (2, 12)):
        assert sample(part, mixture(), given=replace(given, probes=probes), schedule=schedule).nfe == nfe
    unknown = Given(given.pictures, torch.zeros_like(given.weights))
    plain, same = (sample(rep, mixture(), given=each, schedule=schedule) for each in (None, unknown))
    assert torch.equal(plain.diffrep.theta, same.diffrep.theta) and same.nfe == 4


def test_the_prior_sees_what_is_known_at_infinite_noise_too() -> None:
    rep, kept = picture()
    part, given = keeping(rep, kept)
    schedule = Schedule((Segment((math.inf, 10.0, 1.0, 0.0)),))
    assert sample(part, mixture(), given=given, schedule=schedule).diffrep.theta.isfinite().all()


def test_from_what_is_there_at_a_middle_level() -> None:
    """The less noise, the nearer to what was there; at the level of a mode's own spread, that mode stays."""
    means = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    prior = GaussianMixturePrior(means, 0.05, image_shape=(1, 1, 2))
    rep = LinearDiffrep(torch.eye(200, dtype=torch.float64), image_shape=(1, 1, 2))
    rep.theta.fill_(1.2)
    near, far = (
        sample(
            rep, prior, schedule=ddim_schedule(prior.sigmas[prior.sigmas <= sigma], 20), from_scratch=False
        ).diffrep.theta.reshape(-1, 2)
        for sigma in (0.3, 20.0)
    )
    assert float((near > 0).double().mean()) == 1.0
    assert 0.35 < float((far > 0).double().mean()) < 0.65
    assert torch.equal(rep.theta, torch.full_like(rep.theta, 1.2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: replace(given, weights=given.weights[:1]), "weights of shape"),
        (lambda given: replace(given, weights=given.weights + 0.5), "between 0 and 1"),
        (lambda given: replace(given, probes=-1), "-1 times"),
        (lambda given: Given(given.pictures[:1], given.weights[:1]), "but the views have"),
        (lambda given: replace(given, weights=torch.ones_like(given.weights)), "nothing is left"),
    ],
)
def test_what_cannot_be_given_is_told(change, message: str) -> None:
    rep, kept = picture()
    part, given = keeping(rep, kept)
    with pytest.raises(RequestError, match=message):
        sample(part, mixture(), given=change(given), schedule=ddim_schedule(SIGMAS, 2))


def test_none_or_all_kept_is_told() -> None:
    rep, kept = picture()
    for mask in (torch.zeros(12, dtype=torch.bool), torch.ones(12, dtype=torch.bool), kept[:5], kept.double()):
        with pytest.raises(RequestError, match="must be kept"):
            keeping(rep, mask)


def test_pixels_are_known_where_they_look_at_nothing_else() -> None:
    matrix = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0, 0], [0, 0, 1]])
    rep = LinearDiffrep(matrix, image_shape=(1, 2, 2))
    assert known_pixels(rep, torch.tensor([True, False, False])).flatten().tolist() == [1, 0, 0, 0]
    assert known_pixels(rep, torch.tensor([True, True, False])).flatten().tolist() == [1, 1, 0, 0]
    mixing = LinearDiffrep(torch.eye(4), image_shape=(2, 1, 2))  # rows are of channels, too
    assert known_pixels(mixing, torch.tensor([True, True, True, False])).flatten().tolist() == [1, 0]


def test_answers_that_say_nothing_lead_nowhere() -> None:
    """A prior that hears nothing of a push, and a residual of zero."""
    zero = torch.zeros(1, 1, 1, 2, 2)
    silent = Look(1.0, torch.tensor([0]), zero, zero, zero, zero, torch.ones(1, 1, 2, 2))
    weights = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    for value in (0.0, 1.0):
        given = Given(torch.full((1, 1, 2, 2), value), weights)
        found = given.heeded(silent, lambda render: silent).clean
        assert torch.equal(found[0], torch.full((1, 1, 2, 2), value) * weights)
