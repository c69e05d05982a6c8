"""A joint potential of N samples that leaves each one's own law as it was, learned from draws of that law.

Xu, "On Physics-Inspired Generative Models", §6.5: the law Φ₀ ∏ p(x_i) prefers different samples, and bends what one
sample alone is drawn like: of what is rare it draws more. Φ₀ ∏ γ(x_i) ∏ p(x_i) does not, with the right γ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ddrep_core.training.denoiser import started

Draw: TypeAlias = Callable[[int, torch.Generator], Tensor]
"""A number of independent draws, [count, D]."""
Liking: TypeAlias = Callable[[Tensor], Tensor]
"""Φ₀ of sets [B, N, D]: [B], positive, greater where samples differ."""


def _network(inputs: int, outputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, outputs)
    )


class Balance(nn.Module):
    """log γ(x) of samples [..., D]: [...]."""

    def __init__(self, size: int, width: int = 64) -> None:
        super().__init__()
        self.network = _network(size, 1, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)[..., 0]


class SetPotential(nn.Module):
    """log Φ_σ of noisy sets [B, N, D] at levels [B]: [B], whatever the order of the samples.

    Args:
        size: D.
        variance: of one number of x0.
    """

    def __init__(self, size: int, variance: float = 1.0, width: int = 64) -> None:
        super().__init__()
        self.variance = variance
        self.each, self.all = _network(size + 1, width, width), _network(width + 1, 1, width)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        level = sigma.to(x)[:, None]
        scaled = x / (self.variance + level**2).sqrt()[..., None]
        told = (level.log() / 4).expand(-1, x.shape[1])[..., None]
        seen = self.each(torch.cat([scaled, told], -1)).mean(1)
        return self.all(torch.cat([seen, told[:, 0]], -1))[:, 0]


def learn_balance(
    draw: Draw, liking: Liking, count: int, generator: torch.Generator, *, steps: int = 400, batch: int = 2048
) -> Balance:
    """γ under which E[Φ₀ ∏ γ | x_i] = 1: no sample's own law is bent.

    It is where E[Φ₀ ∏ γ] − E[Σ log γ] is least, which is convex in log γ (the thesis states its gradient in another
    weight, A.53).

    Args:
        count: N.
    """
    balance = started(lambda: Balance(draw(1, generator).shape[-1]), generator)
    optimizer = torch.optim.Adam(balance.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        sets = draw(batch * count, generator).float().reshape(batch, count, -1)
        logs = balance(sets).sum(1)
        optimizer.zero_grad()
        (liking(sets) * logs.exp() - logs).mean().backward()
        optimizer.step()
        schedule.step()
    return balance.requires_grad_(False)


def learn_potential(
    draw: Draw,
    liking: Liking,
    count: int,
    levels: tuple[float, float],
    generator: torch.Generator,
    *,
    variance: float = 1.0,
    steps: int = 1500,
    batch: int = 1024,
) -> SetPotential:
    """Φ_σ(x) = E[Φ₀ | x], by regression (Eq. 6.6): with it, guidance draws from Φ₀ ∏ p exactly (Doob's h-transform).

    Args:
        liking: Φ₀, with the balance in it if the marginals are to stay.
        levels: the lowest and the highest σ, between which it learns, evenly in log σ.
    """
    network = started(lambda: SetPotential(draw(1, generator).shape[-1], variance), generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    low, high = (torch.tensor(level).log() for level in levels)
    for _ in range(steps):
        sets = draw(batch * count, generator).float().reshape(batch, count, -1)
        sigma = (low + (high - low) * torch.rand(batch, generator=generator)).exp()
        noisy = sets + sigma[:, None, None] * torch.randn(sets.shape, generator=generator)
        optimizer.zero_grad()
        (network(noisy, sigma).exp() - liking(sets)).square().mean().backward()
        optimizer.step()
        schedule.step()
    return network.requires_grad_(False)
