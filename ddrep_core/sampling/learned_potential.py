"""Guidance by a potential that was learned at every noise level."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ddrep_core.sampling.guide import Decode, Guide
from ddrep_core.sampling.look import Look


@dataclass(frozen=True)
class LearnedPotential(Guide):
    """x̂0_i ← x̂0_i + σ² ∇_{x_i} log Φ_σ(x_1, …, x_N), in every view for itself.

    With Φ_σ(x) = E[Φ₀ | x] the samples are draws from Φ₀ ∏ p (Xu's thesis, §6.5; `training.potential` learns it).

    Args:
        log_potential: of noisy sets [B, N, D] at levels [B]: [B].
        levels: σ outside of which it knows nothing, and nothing is bent.
    """

    log_potential: Callable[[Tensor, Tensor], Tensor]
    levels: tuple[float, float] = (0.0, math.inf)

    def bend(self, look: Look, decode: Decode) -> Tensor:
        """See `Guide`."""
        if not self.levels[0] <= look.sigma <= self.levels[1] or math.isinf(look.sigma):
            return look.clean
        with torch.enable_grad():
            x = (look.render + look.sigma * look.noise).detach().float().requires_grad_(True)
            sets = x.flatten(2).transpose(0, 1)  # [B, N, D]
            value = self.log_potential(sets, torch.full((len(sets),), look.sigma, device=x.device)).sum()
            (slope,) = torch.autograd.grad(value, x)
        return look.clean + look.sigma**2 * slope.to(look.clean)
