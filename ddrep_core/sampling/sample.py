"""The method: sample a differentiable representation by pulling the reverse process back to its parameters.

"Diffusing Differentiable Representations" (Savani, Finzi, Kolter; NeurIPS 2024), Algorithm 1, in variance-exploding
coordinates and with its algebra done (DESIGN §2): the state of a run is θ and a noise field ε(π), and what the prior
sees of a view is x(π) = f(θ, π) + σ ε(π).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError
from ddrep_core.noise.fields import NoiseField
from ddrep_core.priors.protocol import Prior
from ddrep_core.sampling.run import Run
from ddrep_core.schedules.named import ddim_schedule
from ddrep_core.schedules.steps import Jump, Moved, Plan, Step, Walk
from ddrep_core.solvers.protocol import Solver
from ddrep_core.views.camera import Views


@dataclass(frozen=True)
class SamplerState:
    """All that a run is at one moment: from it, `sample` goes on to the same bytes."""

    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


@dataclass(frozen=True)
class StepReport:
    """What a callback is told after each step.

    Attributes:
        index, of: this step (from 1) and how many the run has; a forecast that may change from step to step where the
            run decides as it goes.
        sigma: the noise level that the run has reached.
        nfe: evaluations of the prior so far.
        clean: [B, C, h, w] the prior's x̂0 of the views that moved; None after a jump.
        indices: [B] those views.
        disagreement: how far the views that moved contradict each other and what is held: 0 for views of one object,
            1 for unrelated pictures (`sampling.disagreement`); None after a jump.
        diffrep: the representation as it is now.
        state: makes the run's state, to be kept and resumed from.
        left: [B, C, h, w] what of x̂0 could not be held, for `disagreement_map`; None after a jump.
    """

    index: int
    of: int
    sigma: float
    nfe: float
    clean: Tensor | None
    indices: Tensor | None
    disagreement: float | None
    diffrep: Diffrep
    state: Callable[[], SamplerState]
    left: Tensor | None = None


@dataclass
class Result:
    """What a run gives back. `samples` holds every sample when several were asked for, this one included.

    Attributes:
        diffrep: the sampled representation.
        nfe: evaluations of the prior, each for all views.
        seconds: {"prior", "pullback", "render", "total"}.
        disagreement: of the last step, 0 (one object) to 1 (unrelated pictures); `agreement` is the rest to 1.
        not_agreed: views that were kept when the budget was spent although they do not agree with the others.
    """

    diffrep: Any
    nfe: float
    seconds: dict[str, float]
    disagreement: float | None
    seed: int
    passes: int = 0
    samples: list[Result] = field(default_factory=list)
    not_agreed: list[int] = field(default_factory=list)

    @property
    def agreement(self) -> float | None:
        """1 when the views show one object, 0 when they are unrelated."""
        return None if self.disagreement is None else 1.0 - self.disagreement


def sample(
    rep: Diffrep,
    prior: Prior,
    views: Views | None = None,
    *,
    prompt: str = "",
    negative_prompt: str = "",
    guidance_scale: float = 7.5,
    schedule: Plan | None = None,
    eta: float = 0.75,
    seed: int = 0,
    solver: str | Solver = "auto",
    noise: NoiseField | None = None,
    depth: Tensor | None = None,
    views_per_step: int | None = None,
    callback: Callable[[StepReport], None] | None = None,
    state: SamplerState | None = None,
    samples: int = 1,
) -> Result:
    """Sample a representation, so that all its views are draws from the prior.

    Args:
        rep: what is sampled; it is copied, not changed.
        prior: what predicts noise (DESIGN §3, "A prior is anything with ...").
        views: the bank of views that `rep` was built over: their weights, prompts and directions. None where views have
            no cameras (an image, a panorama's crops).
        prompt, negative_prompt, guidance_scale: ε_u + w(ε_c − ε_u); w = 0 is unconditional, w = 1 conditional.
        schedule: noise levels and jumps, or a plan that decides as it goes (`grown_sampling`, `auto_sampling`); 50
            plain steps when not given.
        eta: DDIM's stochastic share, 0 (PF-ODE) to 1; the paper's is 0.75.
        seed: of all randomness; sample k of several takes seed + k.
        solver: "auto", "linear", "warm", "adam", or a solver.
        noise: the noise field; every view's own white noise when not given.
        depth: [V, 1, H, W] in [0, 1], near = 1, background 0, for priors with a depth ControlNet.
        views_per_step: evaluate this many views a step, in shuffled order over the bank; all when not given.
        callback: called after each step. It may raise `Cancelled` to end the run.
        state: go on from here (a `StepReport.state()` of the same call).
        samples: how many, one after another.

    Returns:
        the sampled representation with what it cost.

    Raises:
        RequestError: arguments that do not fit together.
        RunError: the prior or the fit gave numbers that are not finite.
    """
    if samples < 1:
        raise RequestError(f"The number of samples must be at least one, not {samples}.")
    if not 0 <= eta <= 1:
        raise RequestError(f"eta must lie between 0 and 1, not {eta}.")
    if views is not None and len(views) != rep.view_count:
        raise RequestError(f"The representation was built over {rep.view_count} views, but {len(views)} were given.")
    conditioning = prior.condition(
        prompt, negative_prompt, views, guidance_scale, **({} if depth is None else {"depth": depth})
    )
    plan: Plan = schedule or ddim_schedule(prior.sigmas)
    results = []
    for number in range(samples):
        if state is not None and number < state.numbers["sample"]:
            continue
        run = Run(rep.copy(), prior, views, conditioning, eta, seed + number, number, solver, noise, views_per_step)
        walk = plan.walk(run)
        if state is not None and number == state.numbers["sample"]:
            run.load(state.tensors, state.numbers)
            walk.load(state.tensors, state.numbers["walk"])
        results.append(_go(run, walk, callback))
    first = results[0]
    first.samples = results
    return first


def _go(run: Run, walk: Walk, callback: Callable[[StepReport], None] | None) -> Result:
    """Algorithm 1: steps down, jumps up, until the walk is at its end."""
    start = time.perf_counter() - run.clock.seconds["total"]
    while (step := walk.next()) is not None:
        moved: Moved | None = None
        if isinstance(step, Jump):
            run.jump(step)
        else:
            moved = run.reverse(step)
        run.position += 1
        walk.hear(step, moved)
        run.clock.seconds["total"] = time.perf_counter() - start
        if callback is not None:
            callback(_report(run, walk, step, moved))
    run.clock.seconds["total"] = time.perf_counter() - start
    return Result(
        run.rep, run.evaluations, dict(run.clock.seconds), run.disagreement, run.seed, run.passes,
        not_agreed=list(walk.not_agreed),
    )  # fmt: skip


def _report(run: Run, walk: Walk, step: Step, moved: Moved | None) -> StepReport:
    def state() -> SamplerState:
        tensors, numbers = run.state()
        walk_tensors, walk_numbers = walk.state()
        return SamplerState(tensors | walk_tensors, numbers | {"walk": walk_numbers})

    return StepReport(
        index=run.position,
        of=max(run.position, walk.of),
        sigma=step.sigma_high if isinstance(step, Jump) else step.sigma_next,
        nfe=run.evaluations,
        clean=None if moved is None else moved.clean,
        indices=None if moved is None else moved.indices,
        disagreement=None if moved is None else moved.disagreement,
        diffrep=run.rep,
        state=state,
        left=None if moved is None else moved.left,
    )
