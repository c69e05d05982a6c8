"""Nonlinear pull-backs by gradient descent: the paper's Adam, and one that starts where the last step ended."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ddrep_core.diffreps.protocol import Descended, Diffrep
from ddrep_core.errors import StaleState
from ddrep_core.solvers.protocol import Solver


class AdamSolver(Solver):
    """Adam from zero moments in every pull-back, as the paper does it (§4: 200 steps).

    Args:
        steps: of Adam in each pull-back.
        learning_rate: of the first step; it falls to a tenth along a cosine, so that the last steps settle.
        betas: of the two moments.
    """

    def __init__(self, steps: int = 200, learning_rate: float = 1e-3, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        self.steps, self.learning_rate, self.betas = steps, learning_rate, betas
        self._moments: dict[str, Tensor] = {}
        self._count = 0

    def fit(
        self,
        rep: Diffrep,
        targets: Tensor,
        indices: Tensor,
        weights: Tensor,
        sigma: float = 0.0,
        render: Tensor | None = None,
    ) -> int:
        self.forget()
        return self.descend(rep, targets, indices, weights)

    def twin(self) -> AdamSolver:
        return type(self)(self.steps, self.learning_rate, self.betas)

    def forget(self) -> None:
        """Start the moments anew."""
        self._moments, self._count = {}, 0

    def descend(self, rep: Diffrep, targets: Tensor, indices: Tensor, weights: Tensor) -> int:
        """`steps` of Adam on the weighted mean square, in place."""
        parameters = rep.parameters()
        scale = weights / (weights.sum() * targets.shape[1]).clamp_min(1e-30)
        # ε far below any gradient: the loss is a mean over many pixels, so gradients are small by their nature.
        optimizer = torch.optim.Adam(parameters.values(), self.learning_rate, self.betas, eps=1e-15)
        self._hand_over(optimizer, parameters)
        try:
            for number in range(self.steps):
                for name, gradient in _gradients(rep, targets, indices, scale).items():
                    parameters[name].grad = gradient
                cosine = 0.5 + 0.5 * math.cos(math.pi * number / max(self.steps - 1, 1))
                optimizer.param_groups[0]["lr"] = self.learning_rate * (0.1 + 0.9 * cosine)
                optimizer.step()
        finally:
            optimizer.zero_grad(set_to_none=True)
        self._take_back(optimizer, parameters)
        return self.steps

    def _hand_over(self, optimizer: torch.optim.Adam, parameters: dict[str, Tensor]) -> None:
        """Give an optimizer the moments of these parameters, as far as there are any."""
        for name, parameter in parameters.items() if self._count else ():
            optimizer.state[parameter] = {
                "step": torch.tensor(float(self._count)),
                "exp_avg": self._moments[f"mean.{name}"],
                "exp_avg_sq": self._moments[f"square.{name}"],
            }

    def _take_back(self, optimizer: torch.optim.Adam, parameters: dict[str, Tensor]) -> None:
        self._count += self.steps
        for name, parameter in parameters.items():
            kept = optimizer.state[parameter]
            self._moments |= {f"mean.{name}": kept["exp_avg"], f"square.{name}": kept["exp_avg_sq"]}

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        if state:
            raise StaleState("The checkpoint was written by another solver.", "Start the job anew.")


class WarmStartSolver(AdamSolver):
    """Few steps of Adam, the moments kept from pull-back to pull-back.

    Targets move little from step to step, and so do the curvatures that the second moments know: starting each
    pull-back where the last one ended spares most of the paper's 200 steps.

    Args:
        steps: of Adam in each pull-back.
        learning_rate: of the first step of each pull-back.
    """

    def __init__(self, steps: int = 20, learning_rate: float = 1e-3, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        super().__init__(steps, learning_rate, betas)

    def fit(
        self,
        rep: Diffrep,
        targets: Tensor,
        indices: Tensor,
        weights: Tensor,
        sigma: float = 0.0,
        render: Tensor | None = None,
    ) -> int:
        return self.descend(rep, targets, indices, weights)

    def state(self) -> dict[str, Tensor]:
        return {**self._moments, "count": torch.tensor(self._count)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        if "count" not in state:
            raise StaleState("The checkpoint was written by another solver.", "Start the job anew.")
        self._count = int(state["count"])
        self._moments = {name: tensor.clone() for name, tensor in state.items() if name != "count"}


def _gradients(rep: Diffrep, targets: Tensor, indices: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """∂/∂θ Σ scale (f − target)² and of the representation's own penalty, if it has one; no graph is left behind."""
    parameters = rep.parameters()
    leaves = [tensor.requires_grad_(True) for tensor in parameters.values()]
    try:
        with torch.enable_grad():
            drawn = rep.render_and_penalty(indices) if isinstance(rep, Descended) else (rep.render(indices), 0.0)
            images, penalty = drawn
            loss = (scale * (images - targets).square()).sum() + penalty
            gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    finally:
        for leaf in leaves:
            leaf.requires_grad_(False)
    return {
        name: torch.zeros_like(tensor) if gradient is None else gradient
        for (name, tensor), gradient in zip(parameters.items(), gradients, strict=True)
    }
