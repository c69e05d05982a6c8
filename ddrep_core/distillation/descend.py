"""Mode-seeking: descent along an objective's gradient at random or falling noise levels, until it vanishes.

All methods of this family follow Jᵀ g at x = f(θ, π) + σ ε, the chain rule of Figure 1's lower path, without the metric
(JᵀJ)⁻¹ that would make it a step of the sampling ODE. They differ in g (`objective.py`), in the levels and in the
optimiser (`ModeSeeker`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ddrep_core.diffreps.protocol import Descended, Diffrep
from ddrep_core.distillation.objective import ModeSeeker, Objective
from ddrep_core.distillation.sds import SCORE_DISTILLATION
from ddrep_core.errors import RequestError, StaleState
from ddrep_core.priors.protocol import Controls, Prior
from ddrep_core.sampling.look import Ask, Clock, Look, Source, pixel_importance, together
from ddrep_core.sampling.particle import below
from ddrep_core.sampling.sample import Result, SamplerState, StepReport
from ddrep_core.views.camera import Views


def distill(
    rep: Diffrep,
    prior: Prior,
    views: Views | None = None,
    *,
    method: ModeSeeker = SCORE_DISTILLATION,
    prompt: str = "",
    negative_prompt: str = "",
    guidance_scale: float | None = None,
    controls: Controls | None = None,
    seed: int = 0,
    views_per_step: int | None = None,
    callback: Callable[[StepReport], None] | None = None,
    state: SamplerState | None = None,
    samples: int = 1,
    from_scratch: bool = True,
    source_prompt: str | None = None,
) -> Result:
    """Move a copy of `rep` to a mode of the prior under the prompt.

    Args:
        rep, prior, views, prompt, negative_prompt, controls, seed, state: as `sample` takes them.
        guidance_scale: the method's published one when not given.
        views_per_step: views of one step, drawn anew each time; all when not given.
        callback: called after each step with what `sample` tells its own. It may raise `Cancelled`.
        samples: how many, side by side: they see the same views at the same levels, under noise of their own, and the
            objective sees them together.
        from_scratch: start where a run starts; else where `rep` is (to edit it).
        source_prompt: words for what `rep` shows, where a method compares with it (DDS, PDS); the run then starts
            there.

    Returns:
        as `sample` does; every step is one evaluation, two where the source is asked, too.

    Raises:
        RequestError: views that are not those of `rep`; a method that edits, without a `source_prompt`.
        RunError: the prior gave numbers that are not finite.
    """
    if samples < 1:
        raise RequestError(f"The number of samples must be at least one, not {samples}.")
    weights = pixel_importance(rep, views)
    guidance = method.guidance_scale if guidance_scale is None else guidance_scale
    told: dict[str, Any] = {"controls": dict(controls)} if controls else {}
    conditioning = prior.condition(prompt, negative_prompt, views, guidance, **told)
    count = min(views_per_step or rep.view_count, rep.view_count)
    ask = Ask(prior, conditioning, weights, count, Clock(device=weights.device))
    if source_prompt is not None:
        ask.source = Source(rep.copy(), prior.condition(source_prompt, negative_prompt, views, guidance, **told))
    objective, levels = method.objective(), usable_levels(prior.sigmas, method.skipped)
    reps = [rep.copy() for _ in range(samples)]
    generators = [torch.Generator().manual_seed(seed + number) for number in range(samples)]
    if from_scratch and ask.source is None:
        for each, generator in zip(reps, generators, strict=True):
            each.reset(generator)
    leaves = [tensor.requires_grad_(True) for each in reps for tensor in each.parameters().values()]
    rate = method.learning_rate or (rep.learning_rate if isinstance(rep, Descended) else 1e-3)
    descent = Descent(reps, leaves, generators, ask, objective, method.optimizer(leaves, lr=rate, betas=method.betas))
    done = 0 if state is None else descent.load(state)
    start = time.perf_counter() - ask.clock.seconds["total"]
    for step in range(done, method.steps):
        indices = torch.randperm(rep.view_count, generator=generators[0])[:count].sort().values
        drawn = int(torch.randint(len(levels), (1,), generator=generators[0]))
        sigma = float(levels[step * len(levels) // method.steps if method.falling else drawn])
        look = descent.step(indices, sigma)
        ask.clock.seconds["total"] = time.perf_counter() - start
        if callback is not None:
            callback(descent.report(look, step + 1, method.steps))
    for leaf in leaves:
        leaf.requires_grad_(False)
    ask.settle()
    seconds = {part: value / samples for part, value in ask.clock.settle().items()}
    results = [
        Result(each, ask.evaluations, dict(seconds), None, seed + number, method.steps)
        for number, each in enumerate(reps)
    ]
    results[0].samples = results
    return results[0]


@dataclass(frozen=True)
class Descent:
    """What a run moves: N representations side by side, and all that a checkpoint keeps of them.

    Attributes:
        reps: the samples; `leaves` are their parameters, one after another.
        generators: each sample's own; the first draws the views and levels that all see.
    """

    reps: list[Diffrep]
    leaves: list[Tensor]
    generators: list[torch.Generator]
    ask: Ask
    objective: Objective
    optimizer: torch.optim.Optimizer

    def step(self, indices: Tensor, sigma: float) -> Look:
        """One step down the objective's gradient in these views at this level."""
        ask, device = self.ask, self.ask.weights.device
        with ask.clock.measure("render"):
            render = together([each.render(indices.to(device)) for each in self.reps])
        noise = together([torch.randn(render.shape[1:], generator=g, dtype=render.dtype) for g in self.generators])
        look = ask(render, noise.to(render.device), sigma, indices)
        with ask.clock.measure("pullback"):
            self.optimizer.zero_grad()
            self.objective.loss(look, ask).backward()
            self.optimizer.step()
            self.objective.after(look)
        return look

    def report(self, look: Look, index: int, of: int) -> StepReport:
        """What a callback hears of a step."""
        return StepReport(
            index=index,
            of=of,
            sigma=look.sigma,
            nfe=self.ask.evaluations,
            clean=look.clean[0],
            indices=look.indices,
            disagreement=None,
            diffrep=self.reps[0],
            state=partial(self.state, index),
            look=replace(look, render=look.render.detach()),
            diffreps=tuple(self.reps),
        )

    def state(self, position: int) -> SamplerState:
        """All that `load` goes on from, so many steps done."""
        tensors = {f"theta.{number}": leaf.detach().clone() for number, leaf in enumerate(self.leaves)}
        tensors |= {f"generator.{number}": each.get_state() for number, each in enumerate(self.generators)}
        tensors |= {f"objective.{name}": tensor.detach().clone() for name, tensor in self.objective.state().items()}
        for number, kept in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value).clone() for name, value in kept.items()}
        numbers = {"position": position, "evaluations": self.ask.evaluations, "seconds": self.ask.clock.settle()}
        return SamplerState(tensors, numbers)

    def load(self, state: SamplerState) -> int:
        """Go on from a state; how many steps were done.

        Raises:
            StaleState: it belongs to another method or representation.
        """
        moments: dict[int, dict[str, Any]] = {}
        try:
            with torch.no_grad():
                for number, leaf in enumerate(self.leaves):
                    leaf.copy_(state.tensors[f"theta.{number}"])
            for number, generator in enumerate(self.generators):
                generator.set_state(state.tensors[f"generator.{number}"])
            for path, tensor in below(state.tensors, "optimizer").items():
                number, _, name = path.partition(".")
                moments.setdefault(int(number), {})[name] = tensor
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
            self.objective.load_state(below(state.tensors, "objective"))
            self.ask.evaluations = float(state.numbers["evaluations"])
            self.ask.clock.seconds = {part: float(value) for part, value in state.numbers["seconds"].items()}
            return int(state.numbers["position"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise StaleState(
                f"The state to go on from belongs to another method or representation ({error}).", "Start anew."
            ) from error


def usable_levels(sigmas: Tensor, skipped: tuple[float, float]) -> Tensor:
    """The levels between the two ends that are left out; never infinite, never none."""
    finite = sigmas[torch.isfinite(sigmas)]
    first, last = (round(share * len(finite)) for share in skipped)
    return finite[first : len(finite) - last] if first + last < len(finite) else finite
