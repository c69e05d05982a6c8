"""What schedules make of a Gaussian's variance, in closed form: prints a table in Markdown.

    python scripts/experiments/variance.py

Every pixel is N(0, v) on its own. A run is then linear in θ and the noise, so the second moments of (f, ε) say after
each step what a run of many pixels would show; `tests/test_schedule_variance.py` holds the sampler to it. `before` is
the same without what fresh noise gives back, and with RePaint's jumps by the run's own η (Alg. 1, line 13) instead of
the exact kernel.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ddrep_core.process.diffusion import langevin_share, lost_variance
from ddrep_core.sampling import Schedule, parse_schedule
from ddrep_core.schedules.steps import Jump

LOG_LEVELS = np.geomspace(40.0, 0.01, 1000)
STABLE_DIFFUSION = np.sqrt(1 / np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2) - 1)[::-1]
DEFAULT_ETA = 0.75
NAMED = (("plain", None), ("repaint", None), ("repaint", 25), ("repaint:10,10,5", None), ("restart", None))


def drawn_variance(schedule: Schedule, eta: float, variance: float, restored: bool = True) -> float:
    """What the schedule makes of N(0, variance) pixels: the second moments of (f, ε), step by step."""
    moments = np.diag([0.0, 1.0])
    for step in schedule.steps(eta):
        if isinstance(step, Jump):
            moments = np.diag([1.0, step.keep]) @ moments @ np.diag([1.0, step.keep])
            moments[1, 1] += (1 - step.keep**2) * step.noise_scale**2
            continue
        sigma, share = step.sigma, langevin_share(step.sigma, step.sigma_next, step.eta)
        kept = math.sqrt(1 - share**2)
        x, epsilon = np.array([1.0, sigma]), np.array([0.0, 1.0])
        predicted = x * sigma / (variance + sigma**2)
        moved = np.array([1.0, 0.0]) + (sigma - kept * step.sigma_next) * (epsilon - predicted)
        lost = lost_variance(sigma, step.sigma_next, share, min(1.0, float(predicted @ moments @ predicted)))
        if step.heun:
            assert share == 0
            guess = moved + step.sigma_next * epsilon
            slope = (predicted + guess * step.sigma_next / (variance + step.sigma_next**2)) / 2
            moved, lost = np.array([1.0, 0.0]) + (sigma - step.sigma_next) * (epsilon - slope), 0.0
        change = np.stack([moved, kept * epsilon])
        moments = change @ moments @ change.T
        moments[1, 1] += share**2 + (lost if restored and share > 0 else 0.0)
    return float(moments[0, 0])


def as_before(schedule: Schedule) -> Schedule:
    """RePaint's jumps by the run's η: those of segments that repeat a piece of the main descent."""
    return Schedule(tuple(replace(part, jump_eta=None) if part.eta is None else part for part in schedule.segments))


def main() -> None:
    print("| levels | schedule | evaluations | η 0 | .5 | **.75** | 1 | before: 0 | .5 | .75 | 1 |")
    print("|---" * 11 + "|")
    for levels, grid in (("40 to .01", LOG_LEVELS), ("Stable Diffusion's", STABLE_DIFFUSION)):
        for name, steps in (*NAMED, ("annealed", None)):
            schedule = parse_schedule(name, grid, steps)
            assert isinstance(schedule, Schedule)
            cells = [f"{drawn_variance(schedule, eta, 1.0):.3f}" for eta in (0.0, 0.5, DEFAULT_ETA, 1.0)]
            before = as_before(schedule) if name.startswith("repaint") else schedule
            cells += [f"{drawn_variance(before, eta, 1.0, restored=False):.3f}" for eta in (0.0, 0.5, DEFAULT_ETA, 1.0)]
            print(f"| {levels} | {name}{f', {steps} steps' if steps else ''} | {schedule.nfe} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
