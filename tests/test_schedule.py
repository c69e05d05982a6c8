"""Schedules: what they cost, where they go, and that RePaint and Restart are one kind of thing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ddrep_core.errors import RequestError
from ddrep_core.process.diffusion import langevin_share
from ddrep_core.schedules.named import ddim_schedule, karras_levels, noise_levels, repaint_schedule, restart_schedule
from ddrep_core.schedules.schedule import Schedule, Segment
from ddrep_core.schedules.steps import Jump, Reverse

SIGMAS = np.geomspace(40.0, 0.02, 1000)


def ends(schedule: Schedule) -> list[float]:
    """The level after every step, checking on the way that each step begins where the last one ended."""
    reached = [schedule.segments[0].levels[0]]
    for step in schedule.steps(0.5):
        assert step.sigma == reached[-1]
        reached.append(step.sigma_high if isinstance(step, Jump) else step.sigma_next)
    return reached


def test_plain_schedule_keeps_the_noisiest_level_and_ends_clean() -> None:
    schedule = ddim_schedule(SIGMAS, 50)
    assert schedule.nfe == 50
    reached = ends(schedule)
    assert reached[0] == SIGMAS[0] and reached[-1] == 0.0 and len(reached) == 51


@pytest.mark.parametrize(("arguments", "nfe"), [((100, 1, 1, 2), 199), ((100, 10, 10, 5), 460), ((50, 10, 10, 5), 210)])
def test_repaint_costs_what_the_paper_says(arguments: tuple[int, int, int, int], nfe: int) -> None:
    assert repaint_schedule(SIGMAS, *arguments).nfe == nfe


def test_repaint_walks_each_stretch_as_often_as_asked() -> None:
    schedule = repaint_schedule(SIGMAS, 20, 5, 5, 3)
    levels = noise_levels(SIGMAS, 20)
    visits = dict.fromkeys(levels[1:], 0)
    for step in schedule.steps(0.75):
        if isinstance(step, Reverse):
            visits[step.sigma_next] += 1
    # Jumps happen at states 0, 5 and 10 (levels still below), over the five levels above each.
    assert [visits[level] for level in levels[1:]] == [1] * 4 + [3] * 15 + [1]
    ends(schedule)


def test_one_visit_is_the_plain_descent() -> None:
    once = list(repaint_schedule(SIGMAS, 30, 1, 1, 1).steps(0.3))
    assert once == list(ddim_schedule(SIGMAS, 30).steps(0.3))


def test_a_long_repaint_jump_with_full_noise_is_a_restart_jump() -> None:
    """Digest §3 (2): with η = 1 the product over levels telescopes to σ_min / σ_max; with 0.75 it does not."""
    levels = tuple(np.geomspace(2.0, 0.1, 11))
    segment = Segment(levels, repeats=2, jump_eta=None)
    jump = next(step for step in Schedule((segment,)).steps(1.0) if isinstance(step, Jump))
    assert jump.keep == pytest.approx(0.1 / 2.0, rel=1e-12)
    jump = next(step for step in Schedule((segment,)).steps(0.75) if isinstance(step, Jump))
    per_level = 1 - 0.75**2 * (1 - (0.1 / 2.0) ** 0.2)  # λ² of one of the ten geometric levels, from 1
    assert jump.keep == pytest.approx(per_level**5, rel=1e-12)  # 0.23 of the old noise, instead of 0.05


def test_restart_counts_evaluations_as_the_thesis_does() -> None:
    """Main Euler steps, plus K (N - 1) Heun steps of two evaluations each (thesis L4262, B.13)."""
    schedule = restart_schedule(SIGMAS, 30, [(10, 2, 0.1, 2.0)])
    assert schedule.nfe == 30 + 2 * 2 * 9
    ends(schedule)
    two = restart_schedule(SIGMAS, 30, [(5, 2, 1.0, 9.0), (5, 2, 5.0, 10.0)])
    assert two.nfe == 30 + 2 * 2 * 4 * 2
    ends(two)


def test_karras_grid_has_its_ends_and_its_power() -> None:
    levels = np.array(karras_levels(80.0, 0.002, 18))
    assert levels[0] == pytest.approx(80) and levels[-1] == pytest.approx(0.002)
    assert np.allclose(np.diff(levels ** (1 / 7)), np.diff(levels ** (1 / 7))[0])


def test_langevin_share_is_the_papers_line_five() -> None:
    for sigma, lower, eta in [(2.0, 1.0, 0.75), (14.6, 12.0, 1.0), (0.3, 0.0, 0.5)]:
        printed = eta * math.sqrt(sigma**-2 + 1) * math.sqrt(1 - (lower**2 + 1) / (sigma**2 + 1))
        assert langevin_share(sigma, lower, eta) == pytest.approx(printed, rel=1e-12)


def test_more_steps_than_levels_are_put_between_them() -> None:
    levels = noise_levels([4.0, 2.0, 1.0], 5)
    assert np.allclose(levels, [4.0, 2.0**1.5, 2.0, 2.0**0.5, 1.0, 0.0])


def test_spacings() -> None:
    sigmas = np.arange(10, 0, -1.0)
    assert noise_levels(sigmas, 5, "trailing") == (10, 8, 6, 4, 2, 0)
    assert noise_levels(sigmas, 5, "leading") == (10, 8, 6, 4, 2, 0)
    assert noise_levels(sigmas, 4, "linspace") == (10, 7, 4, 1, 0)


@pytest.mark.parametrize(
    "build",
    [
        lambda: noise_levels(SIGMAS, 0),
        lambda: noise_levels(SIGMAS[::-1], 5),
        lambda: noise_levels(SIGMAS, 5, "backwards"),
        lambda: repaint_schedule(SIGMAS, 10, 0, 1, 2),
        lambda: restart_schedule(SIGMAS, 10, [(5, 2, 3.0, 1.0)]),
        lambda: Segment((1.0, 2.0)),
        lambda: Segment((2.0, 1.0), repeats=0),
        lambda: Schedule(()),
        lambda: list(Schedule((Segment((4.0, 2.0)), Segment((1.0, 0.5)))).steps(0.0)),
    ],
)
def test_impossible_schedules_are_refused_in_words(build) -> None:
    with pytest.raises(RequestError):
        build()
