"""One sample on its way: θ, the noise field ε, and the moves of Algorithm 1 on them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError, RunError
from ddrep_core.noise.fields import NoiseField, ViewNoise
from ddrep_core.priors.protocol import Conditioning, Prior
from ddrep_core.process.diffusion import langevin_share
from ddrep_core.sampling.disagreement import conflicts, unrelated_share
from ddrep_core.schedules.steps import Jump, Moved, Reverse
from ddrep_core.solvers.choose import choose_solver
from ddrep_core.solvers.protocol import Solver
from ddrep_core.views.camera import Views

HOLD_WEIGHT = 10.0
"""How much more an observation that is held counts in the fit than what moves."""


@dataclass
class Clock:
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


@dataclass
class ViewsToFit:
    """What the pull-backs of one set of moving and held views have in common.

    Attributes:
        key: which views move, −1, which are held.
        indices: [B] those that move first, then those that are held.
        weights: [B, 1, h, w] of their pixels.
        observations: [H, C, h, w] what the held ones were accepted as.
        share: of unrelated pictures that would not be held; None until it is asked for.
    """

    key: tuple[int, ...]
    indices: Tensor
    weights: Tensor
    observations: Tensor | None
    share: Tensor | None = None


class Run:
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
        self.views = views
        self.weights = self._weights(views)
        self.views_per_step = min(views_per_step or rep.view_count, rep.view_count)
        self.queue: list[int] = []
        self.clock = Clock(device=self.device)
        self.position, self.evaluations, self.passes = 0, 0.0, 0
        self.disagreement: float | None = None
        self.observations: dict[int, Tensor] = {}  # [C, h, w] what held views were accepted as
        self._fit: ViewsToFit | None = None
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

    def reverse(self, step: Reverse) -> Moved:
        """σ → σ': ask the prior, move the renders, pull the move back to θ, refresh a share of the noise."""
        indices = self.next_views() if step.views is None else torch.tensor(step.views, device=self.device)
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
        self.pull_back(target, indices, step.held, step.sigma_next)
        moved = self.compare(target, clean, indices, step.held, reach)
        if share > 0:
            self.refresh(math.sqrt(1 - share**2), 1.0, step.views)
        return moved

    def heun_target(
        self, step: Reverse, indices: Tensor, render: Tensor, noise: Tensor, predicted: Tensor, euler: Tensor
    ) -> Tensor:
        """The target with the slope averaged over both ends: fit by Euler, ask the prior there, return to θ."""
        before = {name: tensor.detach().clone() for name, tensor in self.rep.parameters().items()}
        self.pull_back(euler, indices, step.held, step.sigma_next)
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

    def pull_back(self, target: Tensor, indices: Tensor, held: tuple[int, ...], sigma: float = 0.0) -> None:
        """θ ← argmin E_π w(π) ‖f(θ, π) − f'(π)‖², held views pulled to what they were accepted as.

        What comes of it is seen through noise of `sigma` next, 0 where it is held or given back.
        """
        fit = self._views_to_fit(indices, held)
        if fit.observations is not None:
            target = torch.cat([target, fit.observations])
        with self.clock.measure("pullback"):
            self.passes += self.solver.fit(self.rep, target, fit.indices, fit.weights, sigma)

    def _views_to_fit(self, indices: Tensor, held: tuple[int, ...]) -> ViewsToFit:
        """Kept while the same views move and the same are held."""
        key = (*indices.tolist(), -1, *held)
        if self._fit is None or self._fit.key != key:
            if held:
                others = torch.tensor(held, device=self.device)
                weights = torch.cat([self.weights[indices], HOLD_WEIGHT * self.weights[others]])
                observations = torch.stack([self.observations[view] for view in held])
                self._fit = ViewsToFit(key, torch.cat([indices, others]), weights, observations)
            else:
                self._fit = ViewsToFit(key, indices, self.weights[indices], None)
        return self._fit

    def compare(self, target: Tensor, clean: Tensor, indices: Tensor, held: tuple[int, ...], reach: float) -> Moved:
        """What of x̂0 would not fit (`disagreement.py`)."""
        fit = self._views_to_fit(indices, held)
        with self.clock.measure("render"), torch.no_grad():
            left = (target - self.rep.render(indices)) / max(reach, 1e-9)
            if fit.share is None:
                fit.share = self._unrelated_share(fit, len(indices))
            each, self.disagreement = conflicts(left, clean, fit.weights[: len(indices)], fit.share)
        return Moved(indices, clean, each, self.disagreement, fit.share, left)

    def _unrelated_share(self, fit: ViewsToFit, moving: int) -> Tensor:
        """What unrelated pictures would leave in this fit."""
        if moving < self.rep.view_count and len(fit.indices) == moving and self.views_per_step < self.rep.view_count:
            return torch.ones(moving, dtype=self.dtype, device=self.device)  # mini-batches: never twice the same
        return unrelated_share(self.rep, self.solver, fit.indices, fit.weights, moving)

    def jump(self, step: Jump) -> None:
        """σ → σ_high: θ stays, the noise is refreshed (Alg. 1, line 13; Restart's forward kernel)."""
        self.refresh(step.keep, step.noise_scale, step.views)

    def refresh(self, keep: float, noise_scale: float, views: tuple[int, ...] | None) -> None:
        """ε ← keep·ε + √(1 − keep²)·noise_scale·ξ, for these views or all."""
        fresh = self.field.draw(self.generator).to(self.noise)
        renewed = keep * self.noise + math.sqrt(1 - keep**2) * noise_scale * fresh
        if views is None:
            self.noise = renewed
        else:
            chosen = torch.tensor(views, device=self.device)
            self.noise = self.noise.index_copy(0, chosen, renewed[chosen])

    def next_views(self) -> Tensor:
        """The views of the next step: all, or the next few of a shuffled round over the bank."""
        if self.views_per_step == self.rep.view_count:
            return torch.arange(self.rep.view_count, device=self.device)
        while len(self.queue) < self.views_per_step:
            round_ = torch.randperm(self.rep.view_count, generator=self.generator).tolist()
            self.queue += [view for view in round_ if view not in self.queue[-self.views_per_step :]] or round_
        chosen, self.queue = self.queue[: self.views_per_step], self.queue[self.views_per_step :]
        return torch.tensor(chosen, device=self.device)

    def theta(self) -> dict[str, Tensor]:
        """A copy of θ."""
        return {name: tensor.detach().clone() for name, tensor in self.rep.parameters().items()}

    def put_back(self, theta: dict[str, Tensor]) -> None:
        """θ as it was."""
        with torch.no_grad():
            for name, tensor in self.rep.parameters().items():
                tensor.copy_(theta[name])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """θ, ε, the solver's moments, the generator, what is held, and the counts."""
        tensors = {f"theta.{name}": tensor for name, tensor in self.theta().items()}
        tensors |= {f"solver.{name}": tensor.detach().clone() for name, tensor in self.solver.state().items()}
        tensors |= {f"held.{view}": tensor.clone() for view, tensor in self.observations.items()}
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
        return tensors, numbers

    def load(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Go on from `state()`.

        Raises:
            RequestError: the state belongs to another representation or another size.
        """
        try:
            for name, tensor in self.rep.parameters().items():
                if tensors[f"theta.{name}"].shape != tensor.shape:
                    raise KeyError(name)
            self.put_back({name: tensors[f"theta.{name}"] for name in self.rep.parameters()})
            self.noise = tensors["noise"].to(self.noise)
            self.generator.set_state(tensors["generator"])
            self.position, self.evaluations = int(numbers["position"]), float(numbers["evaluations"])
            self.passes, self.disagreement = int(numbers["passes"]), numbers["disagreement"]
            self.queue = [int(view) for view in numbers["queue"]]
            self.clock.seconds = {part: float(value) for part, value in numbers["seconds"].items()}
        except KeyError as error:
            raise RequestError(f"The state to go on from lacks {error} or has it in another size.") from error
        self.observations = {
            int(name.removeprefix("held.")): tensor.to(self.noise)
            for name, tensor in tensors.items()
            if name.startswith("held.")
        }
        self.solver.load_state({k.removeprefix("solver."): v for k, v in tensors.items() if k.startswith("solver.")})
