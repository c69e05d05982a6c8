"""Schedules from a line of text."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ddrep_core.errors import RequestError
from ddrep_core.sampling import (
    Auto,
    Grown,
    Plan,
    annealed_schedule,
    ddim_schedule,
    noise_levels,
    parse_schedule,
    repaint_schedule,
    restart_schedule,
)

SIGMAS = np.geomspace(40.0, 0.02, 1000)


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        ("plain", None, ddim_schedule(SIGMAS, 50)),
        ("plain", 20, ddim_schedule(SIGMAS, 20)),
        ("repaint", None, repaint_schedule(SIGMAS, 100, 1, 1, 2)),
        (" RePaint:10,10,5 ", 100, repaint_schedule(SIGMAS, 100, 10, 10, 5)),
        ("restart", None, restart_schedule(SIGMAS, 30)),
        ("restart:5,2,1,9;5,2,5,10", 30, restart_schedule(SIGMAS, 30, [(5, 2, 1.0, 9.0), (5, 2, 5.0, 10.0)])),
        ("annealed", None, annealed_schedule(SIGMAS, 50, 40)),
        ("annealed:20", 30, annealed_schedule(SIGMAS, 30, 20)),
        ("grown", 20, Grown(noise_levels(SIGMAS, 20))),
        ("grown:2,80", 20, Grown(noise_levels(SIGMAS, 20), 2, 80.0)),
        ("auto", 20, Auto(noise_levels(SIGMAS, 20), tuple(SIGMAS.tolist()))),
        ("auto:90", 20, Auto(noise_levels(SIGMAS, 20), tuple(SIGMAS.tolist()), 90.0)),
        ("annealed:10,8,2,0.3,6", 30, annealed_schedule(SIGMAS, 30, 10, (8.0, 2.0), 0.3, 6)),
    ],
)
def test_text_means_the_schedule_it_names(text: str, steps: int | None, expected: Plan) -> None:
    assert parse_schedule(text, SIGMAS, steps) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "magic",
        "plain:3",
        "repaint:1,2",
        "repaint:1.5,1,2",
        "restart:1,2,x,4",
        "annealed:1,2",
        "annealed:5,1,3,0.3",
        "grown:0",
        "auto:1,2",
    ],
)
def test_nonsense_is_refused_in_words(text: str) -> None:
    with pytest.raises(RequestError):
        parse_schedule(text, SIGMAS)


def test_annealed_heights_fall_and_its_cost_is_as_said() -> None:
    schedule = annealed_schedule(SIGMAS, 50, 40, (8.0, 2.0), 0.3, 6)
    assert schedule.nfe == 50 + 40 * 5
    heights = [segment.levels[0] for segment in schedule.segments[1:-1]]
    assert heights[0] == pytest.approx(8) and heights[-1] == pytest.approx(2)
    assert all(high > low for high, low in itertools.pairwise(heights))
