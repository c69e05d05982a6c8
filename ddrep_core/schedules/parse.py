"""Schedules from a line of text: what `--schedule` and a job's `schedule` understand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ddrep_core.errors import RequestError
from ddrep_core.schedules.auto import Auto
from ddrep_core.schedules.grown import Grown
from ddrep_core.schedules.named import (
    annealed_schedule,
    ddim_schedule,
    noise_levels,
    repaint_schedule,
    restart_schedule,
)
from ddrep_core.schedules.schedule import Schedule
from ddrep_core.schedules.steps import Plan

FORMS = (
    "plain, repaint[:INTERVAL,LENGTH,VISITS], restart[:LEVELS,REPEATS,LOW,HIGH[;...]], "
    "annealed[:REPEATS[,HIGH_FIRST,HIGH_LAST,LOW[,LEVELS]]], grown[:GROUP[,BUDGET]], auto[:BUDGET]"
)


def parse_schedule(text: str, sigmas: ArrayLike, steps: int | None = None) -> Plan:
    """The schedule, or the plan that decides as it goes, that a line of text asks for.

    Args:
        text: a name, or a name and numbers: `plain`, `repaint:10,10,5`, `restart:10,2,0.1,2`,
            `restart:5,2,1,9;5,2,5,10`, `annealed:40,8,2,0.3,6`, `grown:2,100` (two views join at once, at most 100
            evaluations), `auto`. Levels are noise-to-signal ratios σ.
        sigmas: [L] the prior's levels, descending.
        steps: of the main descent; the schedule's own default when not given.

    Raises:
        RequestError: a name or numbers that say nothing.
    """
    name, _, tail = text.strip().lower().partition(":")
    groups = [_numbers(group, text) for group in tail.split(";")] if tail else []
    builders: dict[str, Callable[[], Plan]] = {
        "plain": lambda: _plain(sigmas, steps, groups, text),
        "repaint": lambda: _repaint(sigmas, steps, groups, text),
        "restart": lambda: _restart(sigmas, steps, groups, text),
        "annealed": lambda: _annealed(sigmas, steps, groups, text),
        "grown": lambda: _grown(sigmas, steps, groups, text),
        "auto": lambda: _auto(sigmas, steps, groups, text),
    }
    if name not in builders:
        raise RequestError(f"There is no schedule called '{name}'.", f"Use one of: {FORMS}.")
    return builders[name]()


def check_schedule(text: str) -> None:
    """Raise the RequestError of a line that no prior could make sense of, before one is loaded."""
    parse_schedule(text, np.geomspace(1e4, 1e-4, 10_001))


def _numbers(group: str, text: str) -> list[float]:
    try:
        return [float(number) for number in group.split(",")]
    except ValueError:
        raise _unclear(text) from None


def _unclear(text: str) -> RequestError:
    return RequestError(f"The schedule '{text}' cannot be read.", f"Use one of: {FORMS}.")


def _only(groups: list[list[float]], allowed: tuple[int, ...], text: str) -> list[float]:
    """The numbers of a form that takes one group of them, in one of the allowed counts."""
    if not groups:
        return []
    if len(groups) > 1 or len(groups[0]) not in allowed:
        raise _unclear(text)
    return groups[0]


def _whole(number: float, text: str) -> int:
    if not math.isfinite(number) or number != int(number):
        raise _unclear(text)
    return int(number)


def _plain(sigmas: ArrayLike, steps: int | None, groups: list[list[float]], text: str) -> Schedule:
    if groups:
        raise _unclear(text)
    return ddim_schedule(sigmas, steps or 50)


def _repaint(sigmas: ArrayLike, steps: int | None, groups: list[list[float]], text: str) -> Schedule:
    numbers = _only(groups, (3,), text) or [1, 1, 2]
    interval, length, visits = (_whole(number, text) for number in numbers)
    return repaint_schedule(sigmas, steps or 100, interval, length, visits)


def _restart(sigmas: ArrayLike, steps: int | None, groups: list[list[float]], text: str) -> Schedule:
    if not groups:
        return restart_schedule(sigmas, steps or 30)
    if any(len(group) != 4 for group in groups):
        raise _unclear(text)
    intervals = [(_whole(group[0], text), _whole(group[1], text), group[2], group[3]) for group in groups]
    return restart_schedule(sigmas, steps or 30, intervals)


def _annealed(sigmas: ArrayLike, steps: int | None, groups: list[list[float]], text: str) -> Schedule:
    numbers = _only(groups, (1, 4, 5), text) or [40]
    repeats = _whole(numbers[0], text)
    if len(numbers) == 1:
        return annealed_schedule(sigmas, steps or 50, repeats)
    levels = _whole(numbers[4], text) if len(numbers) == 5 else 6
    return annealed_schedule(sigmas, steps or 50, repeats, (numbers[1], numbers[2]), numbers[3], levels)


def _grown(sigmas: ArrayLike, steps: int | None, groups: list[list[float]], text: str) -> Grown:
    numbers = _only(groups, (1, 2), text) or [1]
    budget = numbers[1] if len(numbers) == 2 else None
    return Grown(noise_levels(sigmas, steps or 50), _whole(numbers[0], text), budget)


def _auto(sigmas: ArrayLike, steps: int | None, groups: list[list[float]], text: str) -> Auto:
    numbers = _only(groups, (1,), text)
    known = tuple(float(level) for level in np.asarray(sigmas).reshape(-1))
    return Auto(noise_levels(sigmas, steps or 50), known, numbers[0] if numbers else None)
