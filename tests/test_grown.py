"""Grown sampling on a bed where the truth is known: one object in all views, whatever each view would choose alone."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.errors import DdrepWarning, RequestError
from ddrep_core.priors import EmpiricalPrior
from ddrep_core.priors.protocol import karras_sigmas
from ddrep_core.sampling import (
    Auto,
    Grown,
    ParticleGuidance,
    SamplerState,
    StepReport,
    ddim_schedule,
    disagreement_map,
    noise_levels,
    repaint_schedule,
    sample,
)
from ddrep_core.sampling.given import Given, given_views
from ddrep_core.schedules.auto import unlike_when_turned
from ddrep_core.schedules.overlap import Overlap
from ddrep_core.views import Views, orbit_views

VIEWS, SIZE, OBJECTS = 6, 24, 3
LEVELS = noise_levels(karras_sigmas(), 20)


def bed(scale: float = 1.0, count: int = OBJECTS) -> tuple[LinearDiffrep, EmpiricalPrior]:
    """Six windows on a ring of 72 numbers, each twice as wide as the step between them; some rings to draw."""
    ring = 72
    matrix = torch.zeros(VIEWS * SIZE, ring, dtype=torch.float64)
    for view in range(VIEWS):
        for pixel in range(SIZE):
            matrix[view * SIZE + pixel, (view * 12 + pixel) % ring] = 1.0
    objects = scale * torch.randn(ring, count, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pictures = (matrix @ objects).reshape(VIEWS, SIZE, count).permute(0, 2, 1).reshape(VIEWS, count, 1, 1, SIZE)
    return LinearDiffrep(matrix, image_shape=(1, 1, SIZE)), EmpiricalPrior(pictures)


def labels(rep: LinearDiffrep, prior: EmpiricalPrior) -> list[int]:
    distance = (rep.render().reshape(VIEWS, 1, SIZE) - prior._bank).square().mean(-1)
    assert float(distance.min(1).values.max()) < 1e-6 * float(prior._bank.square().mean())
    return distance.argmin(1).tolist()


@pytest.mark.parametrize("scale", [0.3, 3.0])
@pytest.mark.parametrize("group", [1, 2])
def test_all_views_show_one_object_at_any_scale(scale: float, group: int) -> None:
    rep, prior = bed(scale)
    drawn = []
    for seed in range(8):
        result = sample(rep, prior, schedule=Grown(LEVELS, group, budget=200), seed=seed, guidance_scale=1.0)
        found = labels(result.diffrep, prior)
        assert len(set(found)) == 1
        assert result.not_agreed == [] and result.agreement == pytest.approx(1.0)
        drawn.append(found[0])
    assert len(set(drawn)) > 1  # samples, not one mode


def test_a_plain_run_on_the_same_bed_does_not_agree() -> None:
    rep, prior = bed()
    result = sample(rep, prior, schedule=ddim_schedule(prior.sigmas, 20), eta=0.0, seed=0, guidance_scale=1.0)
    assert result.disagreement is not None and result.disagreement > 0.05


def test_a_grown_run_goes_on_to_the_same_bytes_from_any_step() -> None:
    rep, prior = bed()
    plan = Grown(LEVELS, 2, budget=60)
    reports: list[StepReport] = []
    states = []

    def hear(step: StepReport) -> None:
        reports.append(step)
        states.append(step.state())

    whole = sample(rep, prior, schedule=plan, seed=3, callback=hear, guidance_scale=1.0)
    assert [step.index for step in reports] == list(range(1, len(reports) + 1))
    assert all(step.index <= step.of for step in reports)
    for state in states[2::9]:
        again = sample(rep, prior, schedule=plan, seed=3, state=state, guidance_scale=1.0)
        assert torch.equal(again.diffrep.theta, whole.diffrep.theta)
        assert again.nfe == pytest.approx(whole.nfe)


@pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
def test_heroes_that_keep_away_from_those_before_give_other_objects_as_exact() -> None:
    """Only what decides is bent: the views that join show what is painted, at no more evaluations."""
    rep, prior = bed(count=6)
    plan = Grown(LEVELS, 2, budget=200)
    apart = ParticleGuidance(3.0, least_sigma=0.5, in_turn=True)
    different, evaluations = [], []
    states: list[SamplerState] = []
    for guides in ((), (apart,)):
        shown, spent = [], 0.0
        for seed in (0, 200, 300):
            result = sample(
                rep, prior, schedule=plan, seed=seed, guidance_scale=1.0, samples=4, guides=guides,
                callback=lambda step: states.append(step.state()) if step.sample == 2 and step.index == 9 else None,
            )  # fmt: skip
            found = [labels(one.diffrep, prior) for one in result.samples]
            assert all(len(set(each)) == 1 for each in found)
            shown.append(len({each[0] for each in found}))
            spent += sum(one.nfe for one in result.samples)
        different.append(sum(shown))
        evaluations.append(spent)
    assert different[1] == 12 and different[0] < 11, different
    assert evaluations[1] < 1.1 * evaluations[0]
    again = sample(rep, prior, schedule=plan, seed=300, guidance_scale=1.0, samples=4, guides=[apart], state=states[-1])
    for one, other in zip(again.samples, result.samples, strict=True):
        assert torch.equal(one.diffrep.theta, other.diffrep.theta)


def test_a_spent_budget_leaves_views_out_and_says_so() -> None:
    """Views of unrelated banks can never agree. Every second one looks at nothing that those held look at."""
    rep, _ = bed()
    pictures = torch.randn(VIEWS, 1, 1, 1, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    result = sample(rep, EmpiricalPrior(pictures), schedule=Grown(LEVELS, budget=30), seed=0, guidance_scale=1.0)
    assert result.not_agreed == [1, 3, 5]
    assert result.nfe < 60 and result.agreement is not None and result.agreement < 0.5


def test_views_that_nothing_could_contradict_are_named() -> None:
    """Two windows that share nothing agree whatever they show; windows that overlap are not warned about."""
    _, prior = bed()
    apart = LinearDiffrep(torch.eye(2 * SIZE, dtype=torch.float64), image_shape=(1, 1, SIZE))
    two = EmpiricalPrior(prior._bank.reshape(VIEWS, OBJECTS, 1, 1, SIZE)[:2])
    with pytest.warns(DdrepWarning, match="Views 1 could not be contradicted"):
        sample(apart, two, schedule=Grown(LEVELS), guidance_scale=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DdrepWarning)
        sample(bed()[0], prior, schedule=Grown(LEVELS, budget=200), guidance_scale=1.0)


def test_the_hero_is_the_most_important_camera() -> None:
    rep, prior = bed()
    cameras = list(orbit_views(VIEWS))
    cameras[4] = type(cameras[4])("shot", cameras[4].matrix_world, cameras[4].projection, weight=2.0)
    first: list[int] = []

    def hear(step: StepReport) -> None:
        if step.indices is not None:
            first.extend(step.indices.tolist())

    sample(rep, prior, Views(tuple(cameras)), schedule=Grown(LEVELS), guidance_scale=1.0, callback=hear)
    assert first[0] == 4


def test_overlap_orders_neighbours_first() -> None:
    rep, _ = bed()
    painted = Overlap(rep, torch.ones(VIEWS, 1, 1, SIZE, dtype=torch.float64), None).painted([0])
    assert painted.tolist() == pytest.approx([1.0, 0.5, 0.0, 0.0, 0.0, 0.5])


def test_auto_takes_one_view_plainly() -> None:
    prior = EmpiricalPrior(torch.randn(3, 1, 2, 2, dtype=torch.float64))
    rep = LinearDiffrep(torch.eye(4, dtype=torch.float64), image_shape=(1, 2, 2))
    plan = Auto(LEVELS, tuple(prior.sigmas.tolist()))
    assert sample(rep, prior, schedule=plan, guidance_scale=1.0).nfe == len(LEVELS) - 1


class Turned(EmpiricalPrior):
    """A prior in whose space a thing looks different from two sides, as latents do."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images * torch.linspace(0.5, 1.5, images.shape[-1])


def test_auto_grows_where_colours_meet_and_repaints_where_latents_would() -> None:
    rep, prior = bed()
    plan = Auto(LEVELS, tuple(prior.sigmas.tolist()))
    assert unlike_when_turned(prior) == 0.0
    grown = sample(rep, prior, schedule=plan, guidance_scale=1.0)
    assert len(set(labels(grown.diffrep, prior))) == 1
    turned = Turned(prior._bank.reshape(VIEWS, OBJECTS, 1, 1, SIZE))
    assert unlike_when_turned(turned) > 0.05
    expected = repaint_schedule(turned.sigmas, len(LEVELS) - 1)
    repainted = sample(rep, turned, schedule=plan, guidance_scale=1.0)
    assert repainted.nfe == expected.nfe
    short = Auto(LEVELS, tuple(prior.sigmas.tolist()), budget=12)
    assert sample(rep, turned, schedule=short, guidance_scale=1.0).nfe == 11
    assert torch.equal(
        repainted.diffrep.theta, sample(rep, turned, schedule=expected, guidance_scale=1.0).diffrep.theta
    )


@pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
def test_last_steps_of_all_views_go_on_while_they_help() -> None:
    """Views that agree need few; views that never will are not asked again and again."""
    rep, prior = bed()
    counts = {}
    pictures = torch.randn(VIEWS, 1, 1, 1, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    for name, judge in (("agree", prior), ("never", EmpiricalPrior(pictures))):
        steps: list[StepReport] = []
        sample(rep, judge, schedule=Grown(LEVELS, budget=30), guidance_scale=1.0, callback=steps.append)
        counts[name] = sum(step.sigma == 0 and step.indices is not None and len(step.indices) > 1 for step in steps)
    assert 1 <= counts["agree"] <= 3 and 2 <= counts["never"] <= 4


def test_disagreement_has_a_scale_and_a_place() -> None:
    """Nothing shared: 0. The same pixels and unrelated pictures: 1. The map is where the contradiction is."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(2, 1, 1, 1, 200, dtype=torch.float64, generator=generator)
    eye = torch.eye(200, dtype=torch.float64)
    apart = torch.block_diag(eye, eye)
    alone = sample(LinearDiffrep(apart, image_shape=(1, 1, 200)), EmpiricalPrior(pictures), guidance_scale=1.0)
    assert alone.disagreement == 0.0
    rep = LinearDiffrep(torch.cat([eye, eye]), image_shape=(1, 1, 200))
    half = pictures.clone()
    half[1, ..., :100] = half[0, ..., :100]
    last: list[StepReport] = []
    unrelated = sample(rep, EmpiricalPrior(pictures), guidance_scale=1.0)
    together = sample(rep, EmpiricalPrior(half), guidance_scale=1.0, callback=last.append)
    assert unrelated.disagreement is not None and unrelated.disagreement > 0.7
    assert together.disagreement is not None and 0.3 < together.disagreement < unrelated.disagreement
    assert last[-1].left is not None
    where = disagreement_map(rep, last[-1].left, torch.ones(2, 1, 1, 200, dtype=torch.float64))
    assert where.shape == (200,) and float(where[:100].max()) < 1e-12 < 1e-3 < float(where[100:].mean())


@pytest.mark.parametrize("known", [SIZE, SIZE - 6])
def test_all_views_join_a_given_one_and_it_stays_exactly(known: int) -> None:
    """Given as a whole, or but for a quarter that is sampled: the given object every time, and none but it."""
    rep, prior = bed()
    for seed in range(6):
        view, number = seed % VIEWS, seed % OBJECTS
        picture = prior._bank[view].reshape(OBJECTS, 1, 1, SIZE)[number]
        pictures = torch.zeros(VIEWS, 1, 1, SIZE, dtype=torch.float64)
        weights = torch.zeros_like(pictures)
        pictures[view], weights[view, ..., SIZE - known :] = picture, 1.0
        given = Given(pictures, weights)
        result = sample(rep, prior, schedule=Grown(LEVELS, 2, budget=200), given=given, seed=seed, guidance_scale=1.0)
        assert set(labels(result.diffrep, prior)) == {number} and result.not_agreed == []
        found = result.diffrep.render()[view]
        assert float((weights[view] * (found - picture)).abs().max()) < 1e-12
        assert result.nfe < (30 if known == SIZE else 40)


def test_a_given_view_goes_on_to_the_same_bytes_and_others_that_are_given_are_held() -> None:
    rep, prior = bed()
    pictures = prior._bank.reshape(VIEWS, OBJECTS, 1, 1, SIZE)[:, 1]
    given = given_views({2: pictures[2], 5: pictures[5]}, rep, prior)
    states: list[SamplerState] = []
    moved: set[int] = set()

    def hear(step: StepReport) -> None:
        states.append(step.state())
        moved.update([] if step.indices is None else step.indices.tolist())

    common = {"schedule": Grown(LEVELS, budget=200), "given": given, "guidance_scale": 1.0}
    whole = sample(rep, prior, callback=hear, **common)
    assert set(labels(whole.diffrep, prior)) == {1} and moved == {0, 1, 2, 3, 4}
    for state in states[3::15]:
        assert torch.equal(sample(rep, prior, state=state, **common).diffrep.theta, whole.diffrep.theta)
    few = given_views({}, rep, prior)
    few.weights[..., :4] = 1.0
    with pytest.raises(RequestError, match="no parts of all of them"):
        sample(rep, prior, schedule=Grown(LEVELS), given=few)


def test_impossible_plans_are_refused() -> None:
    for wrong in (lambda: Grown((2.0, 1.0)), lambda: Grown(LEVELS, 0), lambda: Grown(LEVELS, tolerance=0.0)):
        with pytest.raises(RequestError):
            wrong()
    assert Grown(LEVELS).nfe == 60 and math.isfinite(Auto(LEVELS, LEVELS[:-1]).nfe)
