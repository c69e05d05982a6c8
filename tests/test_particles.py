"""Several samples in one run: as separate runs where nothing guides them, in one batch of the prior a step."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.diffreps.siren import image_siren
from ddrep_core.errors import RequestError
from ddrep_core.priors import EmpiricalPrior, GaussianMixturePrior, GaussianPrior
from ddrep_core.sampling import (
    Auto,
    Grown,
    Guide,
    Look,
    given_views,
    noise_levels,
    repaint_schedule,
    restart_schedule,
    sample,
)
from ddrep_core.sampling.guide import Decode
from ddrep_core.schedules.named import ddim_schedule

SHAPE, VIEWS, PARAMETERS = (2, 3, 3), 3, 11


def representation() -> LinearDiffrep:
    generator = torch.Generator().manual_seed(2)
    matrix = torch.randn(VIEWS * 18, PARAMETERS, generator=generator, dtype=torch.float64)
    return LinearDiffrep(matrix, image_shape=SHAPE)


class Counted(GaussianMixturePrior):
    """Remembers how many pictures it was asked about at once."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        super().__init__(torch.randn(VIEWS, 4, *SHAPE, generator=generator, dtype=torch.float64), 0.1)
        self.asked: list[int] = []

    def predict_noise(self, x, sigma, conditioning):
        self.asked.append(len(x))
        return super().predict_noise(x, sigma, conditioning)


@pytest.mark.parametrize("solver", ["linear", "warm"])
@pytest.mark.parametrize("kind", ["plain", "heun", "repaint", "restart"])
def test_particles_equal_separate_runs_in_one_batch_a_step(kind: str, solver: str) -> None:
    prior = Counted()
    schedule = {
        "plain": ddim_schedule(prior.sigmas, 8),
        "heun": ddim_schedule(prior.sigmas, 5, heun=True),
        "repaint": repaint_schedule(prior.sigmas, 6, 2, 2, 2),
        "restart": restart_schedule(prior.sigmas, 8, [(4, 2, 0.3, 3.0)]),
    }[kind]
    common = {"schedule": schedule, "seed": 5, "solver": solver}
    alone = [sample(representation(), prior, **{**common, "seed": 5 + number}) for number in range(4)]
    prior.asked.clear()
    together = sample(representation(), prior, samples=4, together=True, **common)
    assert prior.asked == [4 * VIEWS] * int(schedule.nfe)
    assert len(together.samples) == 4 and together.samples[0] is together
    for one, other in zip(alone, together.samples, strict=True):
        torch.testing.assert_close(other.diffrep.theta, one.diffrep.theta, atol=1e-12, rtol=1e-12)
        assert (other.nfe, other.seed) == (one.nfe, one.seed)
        assert other.disagreement == pytest.approx(one.disagreement, rel=1e-9)
    assert sum(one.seconds["total"] for one in together.samples) > 0


def test_a_network_has_a_solver_of_its_own_in_each_particle() -> None:
    prior = GaussianMixturePrior(torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)), 0.05)
    common = {"schedule": ddim_schedule(prior.sigmas, 4)}
    rep = image_siren((3, 8, 8))
    alone = [sample(rep, prior, seed=number, **common).diffrep.render() for number in range(2)]
    both = [one.diffrep.render() for one in sample(rep, prior, samples=2, together=True, **common).samples]
    for one, other in zip(alone, both, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_mini_batches_are_the_same_views_for_all() -> None:
    prior, seen = Counted(), []
    together = sample(
        representation(), prior, samples=2, together=True, views_per_step=2, schedule=ddim_schedule(prior.sigmas, 6),
        callback=lambda step: seen.append(step.indices.tolist()),
    )  # fmt: skip
    alone = sample(representation(), prior, views_per_step=2, schedule=ddim_schedule(prior.sigmas, 6))
    assert prior.asked[:6] == [4] * 6 and {len(views) for views in seen} == {2}
    torch.testing.assert_close(together.diffrep.theta, alone.diffrep.theta, atol=1e-12, rtol=1e-12)


def test_a_run_of_several_goes_on_to_the_same_bytes_from_any_step() -> None:
    prior, states = Counted(), []
    common = {
        "schedule": repaint_schedule(prior.sigmas, 6, 2, 2, 2), "seed": 2, "samples": 3, "together": True,
        "solver": "warm",
    }  # fmt: skip
    whole = sample(representation(), prior, callback=lambda step: states.append(step.state()), **common)
    for state in states[::5]:
        again = sample(representation(), prior, state=state, **common)
        for one, other in zip(whole.samples, again.samples, strict=True):
            assert torch.equal(one.diffrep.theta, other.diffrep.theta)
    with pytest.raises(RequestError, match="another call"):
        sample(representation(), prior, state=states[0], **{**common, "samples": 2})


def test_a_resumed_run_gives_back_the_samples_that_were_finished_before() -> None:
    prior, states = Counted(), []
    common = {"schedule": ddim_schedule(prior.sigmas, 5), "seed": 2, "samples": 3}
    whole = sample(representation(), prior, callback=lambda step: states.append(step.state()), **common)
    for state in states[3::4]:
        again = sample(representation(), prior, state=state, **common)
        assert [one.seed for one in again.samples] == [2, 3, 4]
        for one, other in zip(whole.samples, again.samples, strict=True):
            assert torch.equal(one.diffrep.theta, other.diffrep.theta)
            assert (one.nfe, one.passes, one.disagreement) == (other.nfe, other.passes, other.disagreement)


def test_a_solver_given_by_hand_starts_anew_for_every_sample() -> None:
    from ddrep_core.solvers.first_order import WarmStartSolver

    prior = Counted()
    common = {"schedule": ddim_schedule(prior.sigmas, 4)}
    both = sample(representation(), prior, samples=2, solver=WarmStartSolver(5), **common).samples
    second = sample(representation(), prior, seed=1, solver=WarmStartSolver(5), **common)
    assert torch.equal(both[1].diffrep.theta, second.diffrep.theta)


@dataclass
class Repelled(Guide):
    """Bends each x̂0 away from the mean of all."""

    strength: float

    def bend(self, look: Look, decode: Decode) -> Tensor:
        return look.clean + self.strength * (look.clean - look.clean.mean(0, keepdim=True))


@dataclass
class Recording(Guide):
    looks: list

    def bend(self, look: Look, decode: Decode) -> Tensor:
        self.looks.append(look)
        return look.clean


def test_a_guide_sees_all_particles_and_bends_the_step() -> None:
    prior = GaussianPrior(torch.zeros(*SHAPE, dtype=torch.float64), 1.0)
    eye = LinearDiffrep(torch.eye(18, dtype=torch.float64), image_shape=SHAPE)
    common = {"schedule": ddim_schedule(prior.sigmas, 20), "samples": 4, "together": True}

    def spread(**more) -> float:
        return float(
            torch.stack([one.diffrep.theta for one in sample(eye, prior, **common, **more).samples]).std(0).mean()
        )

    plain, looks = spread(), []
    assert spread(guides=(Recording(looks),)) == plain  # what bends nothing changes no bit
    assert looks[0].clean.shape == looks[0].render.shape == looks[0].noise.shape == (4, 1, *SHAPE)
    assert looks[0].weights.shape == (1, 1, *SHAPE[1:])
    assert spread(guides=(Repelled(0.3),)) > 1.2 * plain


def test_a_bent_look_keeps_clean_and_noise_together() -> None:
    look = Look(2.0, torch.tensor([0]), *(torch.randn(1, 1, 2, 2, 2) for _ in range(4)), torch.ones(1, 1, 2, 2))
    look = look.bent(look.clean)
    x = look.clean + 2.0 * look.predicted
    bent = look.bent(torch.zeros_like(look.clean))
    torch.testing.assert_close(bent.clean + 2.0 * bent.predicted, x)


def test_what_decides_for_one_sample_is_refused_for_several() -> None:
    prior = Counted()
    levels = noise_levels(prior.sigmas, 8)
    with pytest.raises(RequestError, match="several samples together"):
        sample(representation(), prior, schedule=Grown(levels), samples=2, together=True)
    # `auto` takes what can be done.
    auto = Auto(levels, tuple(prior.sigmas.tolist()))
    assert len(sample(representation(), prior, schedule=auto, samples=2, together=True).samples) == 2


def test_known_views_stay_what_they_are() -> None:
    """Two pictures side by side, of one object of three; the first is given."""
    generator = torch.Generator().manual_seed(3)
    objects = torch.randn(3, 8, generator=generator, dtype=torch.float64)
    prior = EmpiricalPrior(torch.stack([objects, objects]).reshape(2, 3, 1, 2, 4))
    eye = torch.eye(8, dtype=torch.float64)
    rep = LinearDiffrep(torch.cat([eye, eye]), image_shape=(1, 2, 4))  # both views see the same
    for number in range(3):
        known = {0: objects[number].reshape(1, 2, 4)}
        found = sample(
            rep, prior, given=given_views(known, rep, prior), schedule=dd.ddim_schedule(prior.sigmas, 10), seed=1
        )
        nearest = (found.diffrep.render()[0].reshape(-1) - objects).square().sum(-1).argmin()
        assert int(nearest) == number
    apart = LinearDiffrep(torch.eye(16, dtype=torch.float64), image_shape=(1, 2, 4))
    found = sample(
        apart,
        prior,
        given=given_views(known, apart, prior),
        schedule=dd.ddim_schedule(prior.sigmas, 10),
        views_per_step=1,
    )
    torch.testing.assert_close(found.diffrep.render()[0], known[0], atol=1e-6, rtol=0)
    with pytest.raises(RequestError, match="no view 5"):
        given_views({5: known[0]}, rep, prior)
    with pytest.raises(RequestError, match="nothing is left"):
        sample(rep, prior, given=given_views({0: known[0], 1: known[0]}, rep, prior))


def test_controls_are_a_table_and_depth_is_short_for_one() -> None:
    told: list[dict] = []

    class Listening(Counted):
        controls = frozenset({"depth", "code"})

        def condition(self, *arguments, controls=None, **named):
            told.append(dict(controls or {}))
            return super().condition(*arguments, controls=controls, **named)

    prior, depth, code = Listening(), torch.zeros(VIEWS, 1, 3, 3), torch.ones(VIEWS, 2, 1, 1)
    for arguments in (
        {},
        {"depth": depth},
        {"controls": {"depth": depth}},
        {"controls": {"code": code}, "depth": depth},
    ):
        sample(representation(), prior, schedule=ddim_schedule(prior.sigmas, 1), **arguments)
    assert [set(table) for table in told] == [set(), {"depth"}, {"depth"}, {"depth", "code"}]


def test_a_solver_by_descent_takes_linear_representations_too() -> None:
    """It crashed where the run asked what unrelated pictures would leave: there, no gradients were kept."""
    prior = Counted()
    for solver in ("warm", "adam"):
        found = sample(representation(), prior, solver=solver, schedule=ddim_schedule(prior.sigmas, 2))
        assert found.diffrep.render().isfinite().all()
