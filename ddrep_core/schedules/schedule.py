"""Schedules: which noise levels a run visits, written as a list of segments.

A segment goes down through its levels, `repeats` times over. Where a segment starts above the level that the run has
reached, the run first jumps up: θ stays, only the noise is refreshed (docs/method.md). Plain DDIM is one
segment; RePaint is many short ones that repeat a piece of the main descent; Restart is few long ones with exact jumps.
All levels are noise-to-signal ratios σ in variance-exploding coordinates.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ddrep_core.errors import RequestError, StaleState
from ddrep_core.process.diffusion import langevin_share
from ddrep_core.schedules.steps import Jump, Moved, Reverse, Setting, Step, Word


@dataclass(frozen=True)
class Segment:
    """A descent through noise levels, possibly repeated.

    Args:
        levels: descending σ, at least two; the last may be 0, the first infinite.
        repeats: how often the descent is made; before each repetition the run jumps back up to `levels[0]`.
        eta: DDIM's stochastic share in the descent; None takes the run's.
        jump_eta: stochastic share of the jump. 1 is the exact forward kernel (Restart); None takes the run's, level by
            level, as Alg. 1 line 13 does (RePaint).
        noise_scale: Restart's S_noise, the factor on fresh noise in a jump.
        heun: second-order steps (never from σ = ∞ nor onto σ = 0).
    """

    levels: tuple[float, ...]
    repeats: int = 1
    eta: float | None = None
    jump_eta: float | None = 1.0
    noise_scale: float = 1.0
    heun: bool = False

    def __post_init__(self) -> None:
        levels = tuple(float(level) for level in self.levels)
        object.__setattr__(self, "levels", levels)
        falling = all(high > low for high, low in itertools.pairwise(levels))
        if len(levels) < 2 or not falling or levels[-1] < 0 or any(math.isnan(level) for level in levels):
            raise RequestError(f"Noise levels must fall, from at least one level to another, not {levels}.")
        if self.repeats < 1:
            raise RequestError(f"A segment is walked at least once, not {self.repeats} times.")


@dataclass(frozen=True)
class Schedule:
    """A list of segments, walked in order."""

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.segments))
        if not self.segments:
            raise RequestError("A schedule needs at least one segment.")

    @property
    def nfe(self) -> int:
        """Evaluations of the prior that the whole schedule costs, each for all views of a step."""
        return sum(step.nfe for step in self.steps(0.0))

    def walk(self, setting: Setting) -> FixedWalk:
        """Through all steps, whatever happens."""
        return FixedWalk(self, setting.eta)

    def steps(self, eta: float) -> Iterator[Step]:
        """Every step in order, with `eta` where a segment does not say otherwise."""
        sigma = self.segments[0].levels[0]
        for segment in self.segments:
            for _ in range(segment.repeats):
                if segment.levels[0] < sigma:
                    raise RequestError(f"The schedule falls from {sigma} to {segment.levels[0]} without a step.")
                if segment.levels[0] > sigma:
                    yield _jump(sigma, segment, eta)
                share = eta if segment.eta is None else segment.eta
                for high, low in zip(segment.levels, segment.levels[1:], strict=False):
                    yield Reverse(high, low, share, segment.heun and low > 0 and math.isfinite(high))
                sigma = segment.levels[-1]


def _jump(sigma: float, segment: Segment, eta: float) -> Jump:
    high = segment.levels[0]
    share = eta if segment.jump_eta is None else segment.jump_eta
    if share == 1.0:
        keep = sigma / high  # the product below telescopes
    else:
        climb = [sigma, *(level for level in reversed(segment.levels) if level > sigma)]
        keep = math.prod(
            math.sqrt(1 - langevin_share(upper, lower, share) ** 2) for lower, upper in itertools.pairwise(climb)
        )
    return Jump(sigma, high, keep, segment.noise_scale)


class FixedWalk:
    """Through a schedule, step by step, whatever happens."""

    joins = False
    not_agreed: list[int] = []  # noqa: RUF012  never written

    def __init__(self, schedule: Schedule, eta: float) -> None:
        self.steps = list(schedule.steps(eta))
        self.position = 0

    @property
    def of(self) -> int:
        return len(self.steps)

    def next(self) -> Step | None:
        return self.steps[self.position] if self.position < len(self.steps) else None

    def hear(self, word: Word, moved: Moved | None) -> None:
        self.position += 1

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {}, {"position": self.position}

    def load(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        self.position = int(numbers["position"])
        if self.position > len(self.steps):
            raise StaleState("The state to go on from belongs to a longer schedule.", "Start the job anew.")
