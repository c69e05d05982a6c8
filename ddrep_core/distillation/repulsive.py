"""Repulsive score distillation (Zilberstein, Mardani, Segarra, ICLR 2025): a mode-seeker's samples keep apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from ddrep_core.distillation.objective import ModeSeeker, Objective
from ddrep_core.sampling.kernel import RadialKernel
from ddrep_core.sampling.look import Ask, Look
from ddrep_core.sampling.particle_guidance import Features


@dataclass
class Repulsive(Objective):
    """base + w(σ) γ σ ∇ log Σ_j k(i, j), followed downhill: away from what resembles (Eq. 3; the printed sign of Eq. 15
    and 22 attracts).

    The kernel is on renders, which are clean: of pictures under independent noise it would lose its force.

    Args:
        base: SDS, SJC, NFSD, VSD, or any other.
        gamma: γ, in front of σ and inside of w. Papers and codes have three conventions: compare no numbers.
        kernel: k, one a view.
        features: what pictures are compared by; their latents when None.
    """

    base: Objective
    gamma: float
    kernel: RadialKernel = field(default_factory=RadialKernel)
    features: Features | None = None

    def weight(self, sigma: float) -> float:
        return self.base.weight(sigma)

    def reach(self, sigma: float) -> float:
        """How γ depends on the level: σ."""
        return sigma

    def loss(self, look: Look, ask: Ask) -> Tensor:
        loss = self.base.loss(look, ask)
        if self.gamma == 0 or len(look.render) == 1:
            return loss
        strength = self.weight(look.sigma) * self.gamma * self.reach(look.sigma)
        return loss - strength * (self._away(look, ask) * look.weights * look.render).sum()

    def _away(self, look: Look, ask: Ask) -> Tensor:
        """[N, B, C, h, w] −∇ log Σ_j k of renders."""
        render, seen = look.render.detach(), look.weights > 0
        if self.features is None:
            return self.kernel.resemblance((render * seen).flatten(2)).log_slope.unflatten(2, render.shape[2:])
        leaf = render.clone().requires_grad_(True)
        pictures = ask.prior.decode((leaf * seen).flatten(0, 1))
        points = self.features(pictures).flatten(1).unflatten(0, render.shape[:2])
        slope = self.kernel.resemblance(points.detach()).log_slope
        return torch.autograd.grad(points, leaf, slope.to(points))[0]

    def after(self, look: Look) -> None:
        self.base.after(look)

    def state(self) -> dict[str, Tensor]:
        return self.base.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.base.load_state(state)


def repulsive(
    method: ModeSeeker, gamma: float, kernel: RadialKernel | None = None, features: Features | None = None
) -> ModeSeeker:
    """A method whose samples, made together, repel each other."""
    made = partial(_made, method.objective, gamma, kernel or RadialKernel(), features)
    return replace(method, name=f"RSD ({method.name})", objective=made)


def _made(
    objective: Callable[[], Objective], gamma: float, kernel: RadialKernel, features: Features | None
) -> Objective:
    return Repulsive(objective(), gamma, kernel, features)
