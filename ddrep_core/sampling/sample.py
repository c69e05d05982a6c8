"""The method: sample a differentiable representation by pulling the reverse process back to its parameters.

"Diffusing Differentiable Representations" (Savani, Finzi, Kolter; NeurIPS 2024), Algorithm 1, in variance-exploding
coordinates and with its algebra done (DESIGN §2): the state of a run is θ and a noise field ε(π), and what the prior
sees of a view is x(π) = f(θ, π) + σ ε(π).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError, RunError
from ddrep_core.priors.protocol import Conditioning, Prior
from ddrep_core.sampling.noise import NoiseField, ViewNoise
from ddrep_core.sampling.schedule import Jump, Reverse, Schedule, ddim_schedule, langevin_share
from ddrep_core.sampling.solver import Solver, choose_solver
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
        index, of: this step (from 1) and how many the run has.
        sigma: the noise level that the run has reached.
        nfe: evaluations of the prior so far.
        clean: [B, C, h, w] the prior's x̂0 of the views that moved; None after a jump.
        indices: [B] those views.
        disagreement: the part of x̂0 that the representation cannot hold, over all of it, 0..1; None after a jump.
        diffrep: the representation as it is now.
        state: makes the run's state, to be kept and resumed from.
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


@dataclass
class Result:
    """What a run gives back. `samples` holds every sample when several were asked for, this one included."""

    diffrep: Any
    nfe: float
    seconds: dict[str, float]
    disagreement: float | None
    seed: int
    passes: int = 0
    samples: list[Result] = field(default_factory=list)


@dataclass
class _Clock:
    seconds: dict[str, float] = field(
        default_factory=lambda: {"prior": 0.0, "pullback": 0.0, "render": 0.0, "total": 0.0}
    )
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[part] += time.perf_counter() - start


def sample(
    rep: Diffrep,
    prior: Prior,
    views: Views | None = None,
    *,
    prompt: str = "",
    negative_prompt: str = "",
    guidance_scale: float = 7.5,
    schedule: Schedule | None = None,
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
        schedule: noise levels and jumps; 50 plain steps when not given.
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
    results = []
    for number in range(samples):
        if state is not None and number < state.numbers["sample"]:
            continue
        run = _Run(rep.copy(), prior, views, conditioning, eta, seed + number, number, solver, noise, views_per_step)
        if state is not None and number == state.numbers["sample"]:
            run.load(state)
        results.append(run.walk(schedule or ddim_schedule(prior.sigmas), callback))
    first = results[0]
    first.samples = results
    return first


class _Run:
    """One sample on its way: θ, ε, and where in the schedule it is."""

    def __init__(
        self,
        rep: Diffrep,
        prior: Prior,
        views: Views | None,
        conditioning: Conditioning,
        eta: float,
        seed: int,
        number: int,
        solver: str | Solver,
        noise: NoiseField | None,
        views_per_step: int | None,
    ) -> None:
        theta = next(iter(rep.parameters().values()))
        self.rep, self.prior, self.conditioning, self.eta = rep, prior, conditioning, eta
        self.seed, self.number = seed, number
        self.dtype, self.device = theta.dtype, theta.device
        self.solver = choose_solver(rep, solver)
        self.generator = torch.Generator().manual_seed(seed)
        self.field = noise or ViewNoise((rep.view_count, *rep.image_shape), self.dtype, self.device)
        self.weights = self._weights(views)
        self.views_per_step = min(views_per_step or rep.view_count, rep.view_count)
        self.queue: list[int] = []
        self.clock = _Clock(device=self.device)
        self.position, self.evaluations, self.passes = 0, 0.0, 0
        self.disagreement: float | None = None
        rep.reset(self.generator)
        self.noise = self.field.draw(self.generator).to(self.device, self.dtype)

    def _weights(self, views: Views | None) -> Tensor:
        """[V, 1, h, w] the importance of every pixel: the camera's weight times the pixel's."""
        _, height, width = self.rep.image_shape
        weights = torch.ones(self.rep.view_count, 1, height, width, dtype=self.dtype, device=self.device)
        pixel_weights = self.rep.pixel_weights()
        if pixel_weights is not None:
            weights = weights * pixel_weights.to(weights)
        if views is not None:
            weights = weights * torch.as_tensor(views.weights).to(weights)[:, None, None, None]
        if not bool((weights > 0).any()):
            raise RequestError(
                "No view sees anything that it could paint.", "Move the cameras, or raise their weights."
            )
        return weights

    def walk(self, schedule: Schedule, callback: Callable[[StepReport], None] | None) -> Result:
        """Algorithm 1."""
        start = time.perf_counter() - self.clock.seconds["total"]
        steps = list(schedule.steps(self.eta))
        if self.position > len(steps):
            raise RequestError("The state to go on from belongs to a longer schedule.", "Start the job anew.")
        for step in steps[self.position :]:
            clean, indices = None, None
            if isinstance(step, Jump):
                self.jump(step)
            else:
                indices = self.next_views()
                clean = self.reverse(step, indices)
            self.position += 1
            self.clock.seconds["total"] = time.perf_counter() - start
            if callback is not None:
                sigma = step.sigma_high if isinstance(step, Jump) else step.sigma_next
                callback(
                    StepReport(
                        self.position, len(steps), sigma, self.evaluations, clean, indices,
                        None if clean is None else self.disagreement, self.rep, self.save,
                    )
                )  # fmt: skip
        self.clock.seconds["total"] = time.perf_counter() - start
        return Result(self.rep, self.evaluations, dict(self.clock.seconds), self.disagreement, self.seed, self.passes)

    def reverse(self, step: Reverse, indices: Tensor) -> Tensor:
        """σ → σ': ask the prior, move the renders, pull the move back to θ, refresh a share of the noise."""
        share = langevin_share(step.sigma, step.sigma_next, step.eta)
        noise = self.noise[indices]
        with self.clock.measure("render"), torch.no_grad():
            render = self.rep.render(indices)
        clean, predicted = self.predict(render, noise, step.sigma, indices)
        # How far x̂0 is approached: f' = f + (σ − √(1−λ²) σ') (ε − ε̂), and ε − ε̂ = (x̂0 − f) / σ.
        reach = 1.0 if math.isinf(step.sigma) else 1 - math.sqrt(1 - share**2) * step.sigma_next / step.sigma
        target = render + reach * (clean - render)
        if step.heun:
            target = self.heun_target(step, indices, render, noise, predicted, target)
        self.pull_back(target, indices, reach)
        if share > 0:
            fresh = self.field.draw(self.generator).to(self.noise)
            self.noise = math.sqrt(1 - share**2) * self.noise + share * fresh
        return clean

    def heun_target(
        self, step: Reverse, indices: Tensor, render: Tensor, noise: Tensor, predicted: Tensor, euler: Tensor
    ) -> Tensor:
        """The target with the slope averaged over both ends: fit by Euler, ask the prior there, return to θ."""
        before = {name: tensor.detach().clone() for name, tensor in self.rep.parameters().items()}
        self.pull_back(euler, indices, 1.0)
        with torch.no_grad():
            render_next = self.rep.render(indices)
        _, predicted_next = self.predict(render_next, noise, step.sigma_next, indices)
        with torch.no_grad():
            for name, tensor in self.rep.parameters().items():
                tensor.copy_(before[name])
        return render + (step.sigma_next - step.sigma) * ((predicted + predicted_next) / 2 - noise)

    def predict(self, render: Tensor, noise: Tensor, sigma: float, indices: Tensor) -> tuple[Tensor, Tensor]:
        """x̂0 and ε̂ of these views; at σ = ∞ the prior sees ε alone, and only x̂0 says anything."""
        chosen = self.conditioning[indices.tolist()]
        with self.clock.measure("prior"), torch.no_grad():
            if math.isinf(sigma):
                if not hasattr(self.prior, "predict_clean"):
                    raise RequestError("This prior cannot start at σ = ∞: it has no predict_clean.")
                clean, predicted = self.prior.predict_clean(noise, sigma, chosen).to(noise), noise
            else:
                x = render + sigma * noise
                predicted = self.prior.predict_noise(x, sigma, chosen).to(noise)
                clean = x - sigma * predicted
        self.evaluations += len(indices) / self.views_per_step
        if not bool(torch.isfinite(clean).all()):
            raise RunError(
                f"The prior returned numbers that are not finite at σ = {sigma:.3g}.",
                "Lower the guidance scale, or run in full precision (--precision fp32).",
            )
        return clean, predicted

    def pull_back(self, target: Tensor, indices: Tensor, reach: float) -> None:
        """θ ← argmin E_π w(π) ‖f(θ, π) − f'(π)‖², and what of x̂0 would not fit."""
        weights = self.weights[indices]
        with self.clock.measure("pullback"):
            self.passes += self.solver.fit(self.rep, target, indices, weights)
        with self.clock.measure("render"), torch.no_grad():
            held = self.rep.render(indices)
            left = weights * ((target - held) / max(reach, 1e-9)) ** 2
            level = (weights * held).sum((0, 2, 3), keepdim=True) / weights.sum()
            kept = weights * (held - level) ** 2
            self.disagreement = float(left.sum() / (left.sum() + kept.sum()).clamp_min(1e-30))

    def jump(self, step: Jump) -> None:
        """σ → σ_high: θ stays, the noise is refreshed (Alg. 1, line 13; Restart's forward kernel)."""
        fresh = self.field.draw(self.generator).to(self.noise)
        self.noise = step.keep * self.noise + math.sqrt(1 - step.keep**2) * step.noise_scale * fresh

    def next_views(self) -> Tensor:
        """The views of the next step: all, or the next few of a shuffled round over the bank."""
        if self.views_per_step == self.rep.view_count:
            return torch.arange(self.rep.view_count, device=self.device)
        while len(self.queue) < self.views_per_step:
            round_ = torch.randperm(self.rep.view_count, generator=self.generator).tolist()
            self.queue += [view for view in round_ if view not in self.queue[-self.views_per_step :]] or round_
        chosen, self.queue = self.queue[: self.views_per_step], self.queue[self.views_per_step :]
        return torch.tensor(chosen, device=self.device)

    def save(self) -> SamplerState:
        """θ, ε, the solver's moments, the generator and the position."""
        tensors = {f"theta.{name}": tensor.detach().clone() for name, tensor in self.rep.parameters().items()}
        tensors |= {f"solver.{name}": tensor.detach().clone() for name, tensor in self.solver.state().items()}
        tensors |= {"noise": self.noise.clone(), "generator": self.generator.get_state()}
        numbers = {
            "sample": self.number,
            "position": self.position,
            "evaluations": self.evaluations,
            "passes": self.passes,
            "disagreement": self.disagreement,
            "queue": list(self.queue),
            "seconds": dict(self.clock.seconds),
        }
        return SamplerState(tensors, numbers)

    def load(self, state: SamplerState) -> None:
        """Go on from `save()`.

        Raises:
            RequestError: the state belongs to another representation or another size.
        """
        tensors, numbers = state.tensors, state.numbers
        parameters = self.rep.parameters()
        try:
            with torch.no_grad():
                for name, tensor in parameters.items():
                    if tensors[f"theta.{name}"].shape != tensor.shape:
                        raise KeyError(name)
                    tensor.copy_(tensors[f"theta.{name}"])
            self.noise = tensors["noise"].to(self.noise)
            self.generator.set_state(tensors["generator"])
            self.position, self.evaluations = int(numbers["position"]), float(numbers["evaluations"])
            self.passes, self.disagreement = int(numbers["passes"]), numbers["disagreement"]
            self.queue = [int(view) for view in numbers["queue"]]
            self.clock.seconds = {part: float(value) for part, value in numbers["seconds"].items()}
        except KeyError as error:
            raise RequestError(f"The state to go on from lacks {error} or has it in another size.") from error
        self.solver.load_state({k.removeprefix("solver."): v for k, v in tensors.items() if k.startswith("solver.")})
