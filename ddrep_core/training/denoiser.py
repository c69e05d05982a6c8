"""Small denoisers for toys and experiments: EDM's preconditioning and loss, under any process.

Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), Table 1. PFGM++ uses them
unchanged at σ = r / √D (Xu's thesis, Alg. 12), DisCo-Diff with a code beside the level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from ddrep_core.process import Diffusion, Process
from ddrep_core.training.stable_target import stable_target

Draw = Callable[[int, torch.Generator], Tensor]
"""A number of clean samples, [count, N]."""


Made = TypeVar("Made", bound=nn.Module)


class ResidualNetwork(nn.Module):
    """[B, inputs] -> [B, outputs] through blocks of one width, each told the level and a condition.

    Args:
        told: size of what comes beside x: 1 for the level, and the condition's.
    """

    def __init__(self, inputs: int, outputs: int, told: int, width: int = 64, blocks: int = 3) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.told = nn.ModuleList(nn.Linear(told, width) for _ in range(blocks))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(blocks)
        )

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        hidden = self.into(x)
        for heard, block in zip(self.told, self.blocks, strict=True):
            hidden = hidden + block(hidden + heard(told))
        return self.out(nn.functional.silu(hidden))


class Denoiser(nn.Module):
    """D(x, σ, condition) = c_skip x + c_out F(c_in x, ln σ / 4, condition).

    Args:
        network: F, of x and what it is told.
        deviation: σ_data, of one number of x0.
    """

    def __init__(self, network: nn.Module, deviation: float = 0.5) -> None:
        super().__init__()
        self.network, self.deviation = network, deviation

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor | None = None) -> Tensor:
        """x̂0 [B, N] of x [B, N] at levels [B]."""
        level = sigma.to(x).reshape(-1, 1)
        total = level**2 + self.deviation**2
        told = level.log() / 4 if condition is None else torch.cat([level.log() / 4, condition], 1)
        skip, out = self.deviation**2 / total, level * self.deviation / total.sqrt()
        return skip * x + out * self.network(x / total.sqrt(), told)

    def weight(self, sigma: Tensor) -> Tensor:
        """λ(σ) = 1 / c_out²."""
        return (sigma**2 + self.deviation**2) / (sigma * self.deviation) ** 2


@dataclass(frozen=True)
class Lesson:
    """How a denoiser is trained.

    Attributes:
        batch: samples a step.
        reference: further clean samples that the target looks at (`stable_target`); 0 for denoising score matching.
        level: mean and deviation of ln σ.
    """

    steps: int = 2000
    batch: int = 256
    learning_rate: float = 1e-3
    reference: int = 0
    level: tuple[float, float] = (-1.2, 1.2)


def train(
    denoiser: Denoiser, draw: Draw, lesson: Lesson, generator: torch.Generator, process: Process | None = None
) -> list[float]:
    """Train in place; the loss of every step."""
    process = process or Diffusion()
    optimizer = torch.optim.Adam(denoiser.parameters(), lesson.learning_rate)
    losses = []
    for step in range(lesson.steps):
        for group in optimizer.param_groups:
            group["lr"] = lesson.learning_rate * (1 - 0.9 * step / lesson.steps)
        clean = draw(lesson.batch + lesson.reference, generator)
        own, others = clean[: lesson.batch], clean[lesson.batch :]
        sigma = (lesson.level[0] + lesson.level[1] * torch.randn(lesson.batch, generator=generator)).exp().to(own)
        x, _ = process.perturb(own, sigma, generator)
        target = stable_target(x, sigma, own, others, process) if lesson.reference else own
        loss = (denoiser.weight(sigma) * (denoiser(x, sigma) - target).square().mean(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()


def started(make: Callable[[], Made], generator: torch.Generator) -> Made:
    """A network whose first weights depend on the generator alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        return make()
