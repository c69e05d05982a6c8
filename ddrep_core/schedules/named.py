"""Schedules by name: which of a prior's levels a run visits, and the makers of plain, RePaint and Restart ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ddrep_core.errors import RequestError
from ddrep_core.process.levels import karras_levels
from ddrep_core.schedules.schedule import Schedule, Segment


def noise_levels(sigmas: ArrayLike, steps: int, spacing: str = "trailing") -> tuple[float, ...]:
    """`steps` of the levels that a prior was trained on, descending, and a final 0.

    Args:
        sigmas: [L] the prior's levels, descending (`prior.sigmas`).
        steps: how many to keep. More than L: levels are put between them, evenly in log σ.
        spacing: "trailing" keeps the noisiest level and walks down evenly, "leading" keeps the cleanest one (diffusers'
            DDIM default, with its offset of one), "linspace" keeps both ends.

    Raises:
        RequestError: steps below one, levels that are not positive and descending, an unknown spacing.
    """
    grid = np.asarray(sigmas, dtype=np.float64).reshape(-1)
    if steps < 1:
        raise RequestError(f"A run needs at least one step, not {steps}.")
    if len(grid) == 0 or not (grid > 0).all() or not (np.diff(grid) < 0).all():
        raise RequestError("The prior's noise levels must be positive and descending.")
    count = len(grid)
    if steps > count:
        positions = np.linspace(0, count - 1, steps)
        whole = np.clip(positions.astype(int), 0, max(count - 2, 0))
        share = positions - whole
        upper = np.minimum(whole + 1, count - 1)
        if math.isinf(grid[0]):
            raise RequestError(f"This prior offers {count} noise levels; {steps} steps are too many.")
        levels = np.exp((1 - share) * np.log(grid[whole]) + share * np.log(grid[upper]))
        if count == 1:
            raise RequestError("A prior with a single noise level allows one step.")
    elif spacing == "trailing":
        levels = grid[count - np.round(np.arange(count, 0, -count / steps))[:steps].astype(int)]
    elif spacing == "leading":
        timesteps = (np.arange(steps) * (count // steps))[::-1] + 1
        levels = grid[count - 1 - np.minimum(timesteps, count - 1)]
    elif spacing == "linspace":
        levels = grid[np.round(np.linspace(0, count - 1, steps)).astype(int)]
    else:
        raise RequestError(f"Unknown spacing '{spacing}'.", "Use trailing, leading or linspace.")
    return (*map(float, levels), 0.0)


def lower_levels(sigmas: ArrayLike, strength: float) -> np.ndarray:
    """[L'] those of a prior's levels that an edit of this strength goes through: the lower share, 1 for all.

    Any maker of schedules takes them for the prior's: `ddim_schedule(lower_levels(prior.sigmas, 0.6), 50)`.

    Raises:
        RequestError: a strength that is not above 0 and at most 1.
    """
    if not 0 < strength <= 1:
        raise RequestError(f"The strength of an edit lies above 0 and is at most 1, unlike {strength}.")
    grid = np.asarray(sigmas, dtype=np.float64).reshape(-1)
    return grid[len(grid) - max(1, round(strength * len(grid))) :]


def ddim_schedule(sigmas: ArrayLike, steps: int = 50, spacing: str = "trailing", heun: bool = False) -> Schedule:
    """One plain descent. With η = 0 it is the PF-ODE by Euler steps (or Heun's), with η = 1 ancestral sampling."""
    return Schedule((Segment(noise_levels(sigmas, steps, spacing), heun=heun),))


def repaint_schedule(
    sigmas: ArrayLike,
    steps: int = 100,
    jump_interval: int = 1,
    jump_length: int = 1,
    visits: int = 2,
    spacing: str = "trailing",
) -> Schedule:
    """RePaint (Lugmayr et al. 2022): every `jump_interval` levels, go `jump_length` levels back up, until each stretch
    was walked `visits` times. (100, 1, 1, 2) costs 199 evaluations, (100, 10, 10, 5) costs 460: the paper's counts.

    Raises:
        RequestError: an interval, a length or a number of visits below one.
    """
    if min(jump_interval, jump_length, visits) < 1:
        raise RequestError("RePaint's interval, length and visits must each be at least one.")
    levels = noise_levels(sigmas, steps, spacing)
    # State t counts the levels still below: levels[steps - 1 - t] is reached at state t, and 0 after state 0.
    jump_states = set(range(0, steps - jump_length, jump_interval)) if visits > 1 else set()
    segments: list[Segment] = []
    start = 0
    for position in range(1, steps):
        if steps - 1 - position in jump_states:
            segments.append(Segment(levels[start : position + 1]))
            again = levels[position - jump_length : position + 1]
            segments.append(Segment(again, repeats=visits - 1))
            start = position
    segments.append(Segment(levels[start:]))
    return Schedule(tuple(segments))


@dataclass(frozen=True)
class RestartInterval:
    """K times from sigma_low up to sigma_high and down again on an EDM grid of `levels` points (Xu et al. 2023)."""

    levels: int
    repeats: int
    sigma_low: float
    sigma_high: float


def restart_schedule(
    sigmas: ArrayLike,
    steps: int = 30,
    intervals: Sequence[RestartInterval | tuple[int, int, float, float]] = ((10, 2, 0.1, 2.0),),
    heun: bool = True,
    noise_scale: float = 1.0,
    spacing: str = "trailing",
) -> Schedule:
    """Restart: a main descent by Euler steps; at the level nearest to each interval's lower end, jump up and return.

    The default interval is the thesis's for Stable Diffusion at guidance 5 to 8 (Table B.13).

    Raises:
        RequestError: an interval that does not rise, or has fewer than two levels.
    """
    levels = noise_levels(sigmas, steps, spacing)
    placed: dict[int, list[Segment]] = {}
    for entry in intervals:
        interval = entry if isinstance(entry, RestartInterval) else RestartInterval(*entry)
        if interval.levels < 2 or interval.repeats < 1 or not 0 < interval.sigma_low < interval.sigma_high:
            raise RequestError(f"A restart interval must rise and have two levels or more, unlike {interval}.")
        position = int(np.argmin([abs(level - interval.sigma_low) for level in levels[:-1]]))
        low = levels[position]
        if position == 0 or low >= interval.sigma_high:
            raise RequestError(
                f"No level of {steps} steps lies below {interval.sigma_high} and near {interval.sigma_low}."
            )
        grid = (*karras_levels(interval.sigma_high, low, interval.levels)[:-1], low)
        placed.setdefault(position, []).append(
            Segment(grid, interval.repeats, eta=0.0, jump_eta=1.0, noise_scale=noise_scale, heun=heun)
        )
    segments: list[Segment] = []
    start = 0
    for position in sorted(placed):
        segments.append(Segment(levels[start : position + 1], eta=0.0))
        segments.extend(placed[position])
        start = position
    segments.append(Segment(levels[start:], eta=0.0))
    return Schedule(tuple(segments))


def annealed_schedule(
    sigmas: ArrayLike,
    steps: int = 50,
    repeats: int = 40,
    sigma_high: tuple[float, float] | None = None,
    sigma_low: float | None = None,
    levels: int = 6,
    spacing: str = "trailing",
) -> Schedule:
    """Annealed Restart: at one low level, jump up and return `repeats` times, each time less high than before.

    Views that look at one object freeze into choices of their own around one noise level. Jumps far above it forget
    everything, jumps below it change nothing; a height that falls through it lets neighbours persuade each other
    (docs/agreement.md). Costs `steps + repeats * (levels - 1)` evaluations.

    Args:
        sigma_high: the first and the last height; when not given, a fifth and a twentieth of the prior's largest level
            (at most 40).
        sigma_low: where the jumps start; 1/133 of that level when not given.
        levels: points of the grid that each jump comes down on.

    Raises:
        RequestError: heights that rise, or do not lie above `sigma_low`; fewer than two levels or one jump.
    """
    main = noise_levels(sigmas, steps, spacing)
    scale = min(40.0, max(level for level in main if math.isfinite(level)))
    first, last = sigma_high or (scale / 5, scale / 20)
    bottom = scale / 133 if sigma_low is None else sigma_low
    position = int(np.argmin([abs(level - bottom) for level in main[:-1]]))
    low = main[position]
    if not first >= last > low > 0 or position == 0:
        raise RequestError(
            f"The heights of annealed jumps must fall and lie above where they start: {first:.3g} to {last:.3g} "
            f"from {low:.3g} does not."
        )
    if repeats < 1 or levels < 2:
        raise RequestError(f"At least one jump and two levels are needed, not {repeats} and {levels}.")
    heights = np.geomspace(first, last, repeats)
    jumps = [Segment((*karras_levels(float(height), low, levels)[:-1], low), jump_eta=1.0) for height in heights]
    return Schedule((Segment(main[: position + 1]), *jumps, Segment(main[position:])))
