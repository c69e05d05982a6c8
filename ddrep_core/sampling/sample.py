"""The method: sample a differentiable representation by pulling the reverse process back to its parameters.

"Diffusing Differentiable Representations" (Savani, Finzi, Kolter; NeurIPS 2024), Algorithm 1, in variance-exploding
coordinates and with its algebra done (docs/method.md): the state of a run is θ and a noise field ε(π), and what the
prior sees of a view is x(π) = f(θ, π) + σ ε(π).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep, WithNoise
from ddrep_core.errors import RequestError, StaleState
from ddrep_core.noise.fields import NoiseField, ViewNoise
from ddrep_core.priors.protocol import Conditioning, Controls, Prior
from ddrep_core.sampling.difference import Difference
from ddrep_core.sampling.given import Given
from ddrep_core.sampling.guide import Guide, InTurn
from ddrep_core.sampling.look import Ask, Clock, Look, Source, pixel_importance
from ddrep_core.sampling.particle import Particle, below
from ddrep_core.sampling.run import Run, follow
from ddrep_core.schedules.named import ddim_schedule
from ddrep_core.schedules.steps import Jump, Moved, Plan, Setting, Step, Walk
from ddrep_core.solvers.choose import choose_solver
from ddrep_core.solvers.protocol import Solver
from ddrep_core.views.camera import Views

STATE_FORMAT = 2
"""Of what a `SamplerState` holds; one more whenever that means something else than before."""


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
        look: what the prior said of all samples that are made together, of which the rest tells the first.
        diffreps: all of these as they are now.
        sample: the number of the first of them among all that the call makes.
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
    look: Look | None = None
    diffreps: tuple[Diffrep, ...] = ()
    sample: int = 0

    def each(self) -> list[StepReport]:
        """This step as each of the samples that are made together took it; what they disagree about is the first's."""
        if self.look is None:
            return [replace(self, diffrep=rep) for rep in self.diffreps]
        pairs = zip(self.diffreps, self.look.clean, strict=True)
        return [replace(self, diffrep=rep, clean=clean) for rep, clean in pairs]


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

    def numbers(self) -> dict[str, Any]:
        """All but the representation and the other samples, as JSON holds it."""
        return {
            "nfe": self.nfe,
            "seconds": dict(self.seconds),
            "disagreement": self.disagreement,
            "seed": self.seed,
            "passes": self.passes,
            "not_agreed": list(self.not_agreed),
        }


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
    controls: Controls | None = None,
    depth: Tensor | None = None,
    views_per_step: int | None = None,
    callback: Callable[[StepReport], None] | None = None,
    state: SamplerState | None = None,
    samples: int = 1,
    together: bool = False,
    guides: Iterable[Guide] = (),
    given: Given | None = None,
    from_scratch: bool = True,
    source_prompt: str | None = None,
    joint_below: float = 0.0,
) -> Result:
    """Sample a representation, so that all its views are draws from the prior; or edit it.

    Args:
        rep: what is sampled; it is copied, not changed.
        prior: what predicts noise (`priors.protocol`).
        views: the bank of views that `rep` was built over: their weights, prompts and directions. None where views have
            no cameras (an image, a panorama's crops).
        prompt, negative_prompt, guidance_scale: ε_u + w(ε_c − ε_u); w = 0 is unconditional, w = 1 conditional.
        schedule: noise levels and jumps, or a plan that decides as it goes (`Grown`, `Auto`); 50
            plain steps when not given.
        eta: DDIM's stochastic share, 0 (PF-ODE) to 1; the paper's is 0.75.
        seed: of all randomness; sample k of several takes seed + k.
        solver: "auto", "linear", "newton", "warm", "adam", or a solver.
        noise: the noise field; the representation's own, or every view's own white noise, when not given.
        controls: signals beside words, by name: {"depth": [V, 1, H, W] in [0, 1], near = 1, background 0}. Those that
            the prior does not hear change nothing.
        depth: short for `controls={"depth": depth}`.
        views_per_step: evaluate this many views a step, in shuffled order over the bank; all when not given.
        callback: called after each step. It may raise `Cancelled` to end the run.
        state: go on from here (a `StepReport.state()` of the same call).
        samples: how many, one after another.
        together: all of them side by side instead, in one batch of the prior a step; as without it where nothing guides
            them, but for mini-batches of views, which are then the same for all.
        guides: bend what the prior says before each step takes it (`sampling.guide.Guide`); they see all samples of a
            run together, and where these are made one after another, those before (`sampling.guide.InTurn`).
        given: what is known of the views, whole (`given_views`) or in part (`keeping`): it stays, and the rest is
            sampled given it (`sampling.given`).
        from_scratch: start where a run starts; else where `rep` is, under the noise of the schedule's first level
            (SDEdit: the higher that level, the more is forgotten).
        source_prompt: words for what `rep` shows. It is then edited towards `prompt` by the difference of two samplings
            (`sampling.difference`), from where it is, at two evaluations a step.
        joint_below: the level below which an edit samples the target alone.

    Returns:
        the sampled representation with what it cost.

    Raises:
        RequestError: arguments that do not fit together; `StaleState`, where it is the state that does not.
        RunError: the prior or the fit gave numbers that are not finite.
    """
    if samples < 1:
        raise RequestError(f"The number of samples must be at least one, not {samples}.")
    if not 0 <= eta <= 1:
        raise RequestError(f"eta must lie between 0 and 1, not {eta}.")
    weights = pixel_importance(rep, views)
    signals = dict(controls or {}) | ({} if depth is None else {"depth": depth})
    told: dict[str, Any] = {"controls": signals} if signals else {}
    conditioning = prior.condition(prompt, negative_prompt, views, guidance_scale, **told)
    if given is not None:
        given = _fitting(given, rep)
    source = None
    if source_prompt is not None:
        source = Source(rep.copy(), prior.condition(source_prompt, negative_prompt, views, guidance_scale, **told))
    course = Course(
        rep, prior, views, weights, conditioning, schedule or ddim_schedule(prior.sigmas), eta,
        choose_solver(rep, solver), _noise_field(rep, noise), views_per_step or rep.view_count, tuple(guides), given,
        from_scratch and source is None, source, joint_below,
    )  # fmt: skip
    results = [] if state is None else _finished(rep, state)
    for first in range(len(results), samples, samples if together else 1):
        numbers = range(first, samples if together else first + 1)
        seeds = [seed + number for number in numbers]
        going_on = state if state is not None and state.numbers["sample"] == first else None
        results += course.go(seeds, first, results, callback, going_on)
    results[0].samples = results
    return results[0]


@dataclass(frozen=True)
class Course:
    """What all samples of one call have in common."""

    rep: Diffrep
    prior: Prior
    views: Views | None
    weights: Tensor
    conditioning: Conditioning
    plan: Plan
    eta: float
    solver: Solver
    field: NoiseField
    views_per_step: int
    guides: tuple[Guide, ...]
    given: Given | None
    from_scratch: bool
    source: Source | None
    joint_below: float

    def go(
        self,
        seeds: list[int],
        first: int,
        earlier: list[Result],
        callback: Callable[[StepReport], None] | None,
        state: SamplerState | None,
    ) -> list[Result]:
        """Samples of these seeds, all in one run; `first` is the number of the first, after the `earlier` ones."""
        known = () if self.given is None else self.given.whole
        shares = {} if self.given is None else self.given.shares(self.weights)
        per_step = min(self.views_per_step, self.rep.view_count - len(known))
        setting = Setting(
            self.rep, self.prior, self.views, self.weights, self.eta, self.views_per_step, len(seeds), shares, known
        )
        walk = self.plan.walk(setting)
        clock = Clock(device=self.weights.device)
        ask = Ask(self.prior, self.conditioning, self.weights, per_step, clock, source=self.source)
        before = [result.diffrep for result in earlier]
        own = [guide.following(before) if isinstance(guide, InTurn) else guide for guide in self.guides]
        guides = own if self.source is None else [Difference(ask, self.joint_below), *own]
        particles = [
            Particle(
                self.rep.copy(),
                self.solver.joining() if walk.joins else self.solver.twin(),
                self.field,
                ask.process,
                seed,
                self.from_scratch,
                {} if self.given is None else {view: self.given.pictures[view] for view in known},
            )
            for seed in seeds
        ]
        run = Run(particles, ask, per_step, guides, self.given)
        if state is not None:
            _load(run, walk, state)

        def tell(step: Step, look: Look | None, moved: list[Moved] | None) -> None:
            if callback is not None:
                report = _report(run, walk, step, look, moved, lambda: _state(run, walk, first, earlier))
                callback(replace(report, sample=first))

        follow(run, walk, tell)
        ask.settle()
        seconds = {part: value / len(particles) for part, value in clock.settle().items()}
        return [
            Result(
                particle.rep, ask.evaluations, dict(seconds), particle.disagreement, particle.seed, particle.passes,
                not_agreed=list(walk.not_agreed),
            )
            for particle in particles
        ]  # fmt: skip


def _report(
    run: Run, walk: Walk, step: Step, look: Look | None, moved: list[Moved] | None, state: Callable[[], SamplerState]
) -> StepReport:
    mine = None if moved is None else moved[0]
    return StepReport(
        index=run.position,
        of=max(run.position, walk.of),
        sigma=step.sigma_high if isinstance(step, Jump) else step.sigma_next,
        nfe=run.ask.evaluations,
        clean=None if mine is None else mine.clean,
        indices=None if mine is None else mine.indices,
        disagreement=None if mine is None else mine.disagreement,
        diffrep=run.particles[0].rep,
        state=state,
        left=None if mine is None else mine.left,
        look=look,
        diffreps=tuple(particle.rep for particle in run.particles),
    )


def _noise_field(rep: Diffrep, noise: NoiseField | None) -> NoiseField:
    """What was asked for, or what the representation wants, or every view's own."""
    if noise is not None:
        return noise
    if isinstance(rep, WithNoise):
        return rep.noise_field()
    theta = next(iter(rep.parameters().values()))
    return ViewNoise((rep.view_count, *rep.image_shape), theta.dtype, theta.device)


def _fitting(given: Given, rep: Diffrep) -> Given:
    """As the representation computes.

    Raises:
        RequestError: pictures of other views, or nothing left to sample.
    """
    theta = next(iter(rep.parameters().values()))
    shape = (rep.view_count, *rep.image_shape)
    if tuple(given.pictures.shape) != shape:
        raise RequestError(f"What is given has the shape {tuple(given.pictures.shape)}, but the views have {shape}.")
    if len(given.whole) == rep.view_count:
        raise RequestError("All of every view is given: nothing is left to sample.", "Leave a part of one free.")
    return replace(given, pictures=given.pictures.to(theta), weights=given.weights.to(theta))


# What a run keeps, to be gone on from


def _state(run: Run, walk: Walk, first: int, earlier: list[Result]) -> SamplerState:
    run.ask.settle()  # what is not finite is not worth keeping
    tensors, walk_numbers = walk.state()
    for prefix, particle in _named(run):
        tensors |= {f"{prefix}.{name}": tensor for name, tensor in particle.state().items()}
    for number, result in enumerate(earlier):
        kept = result.diffrep.parameters()
        tensors |= {f"finished.{number}.{name}": tensor.detach().clone() for name, tensor in kept.items()}
    return SamplerState(
        tensors,
        {
            "format": STATE_FORMAT,
            "sample": first,
            "position": run.position,
            "evaluations": run.ask.evaluations,
            "passes": [particle.passes for particle in run.particles],
            "disagreement": [particle.disagreement for particle in run.particles],
            "queue": list(run.queue),
            "asking": [run.asking.count, run.asking.alone],
            "seconds": run.ask.clock.settle(),
            "finished": [result.numbers() for result in earlier],
            "walk": walk_numbers,
        },
    )


def _load(run: Run, walk: Walk, state: SamplerState) -> None:
    numbers = state.numbers
    try:
        run.position, run.ask.evaluations = int(numbers["position"]), float(numbers["evaluations"])
        run.queue = [int(view) for view in numbers["queue"]]
        run.asking.count, run.asking.alone = map(int, numbers.get("asking", (2, 0)))
        run.ask.clock.seconds = {part: float(value) for part, value in numbers["seconds"].items()}
        counts = list(zip(numbers["passes"], numbers["disagreement"], strict=True))
        for (prefix, particle), (passes, disagreement) in zip(_named(run), counts, strict=True):
            particle.load(below(state.tensors, prefix))
            particle.passes, particle.disagreement = int(passes), disagreement
        walk.load(state.tensors, numbers["walk"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _stale(error) from error


def _named(run: Run) -> list[tuple[str, Particle]]:
    """Particles by name."""
    return [(f"particle.{number}", particle) for number, particle in enumerate(run.particles)]


def _finished(rep: Diffrep, state: SamplerState) -> list[Result]:
    """The samples that were finished before the one to go on with.

    Raises:
        StaleState: the state has another format, or is of another representation.
    """
    found = state.numbers.get("format", "an older one")
    if found != STATE_FORMAT:
        raise _stale(f"its format is {found}, not {STATE_FORMAT}")
    results = []
    try:
        for number, kept in enumerate(state.numbers["finished"]):
            again = rep.copy()
            with torch.no_grad():
                for name, tensor in again.parameters().items():
                    tensor.copy_(state.tensors[f"finished.{number}.{name}"])
            results.append(Result(again, **kept))
    except (KeyError, TypeError, RuntimeError) as error:
        raise _stale(error) from error
    return results


def _stale(why: object) -> StaleState:
    words = f"The state to go on from was written by another version of ddrep, or by another call ({why})."
    return StaleState(words, "Start the job anew.")
