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
        by_strength: c_skip, c_in and c_out are those of the strength that x itself betrays, and F is told both,
            ln σ / 4 and its own. With few further dimensions one noise in ten is ten times as strong as its level
            says (PFGM, D = 1), and no network follows inputs of such a range.
    """

    def __init__(self, network: nn.Module, deviation: float = 0.5, by_strength: bool = False) -> None:
        super().__init__()
        self.network, self.deviation, self.by_strength = network, deviation, by_strength

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor | None = None) -> Tensor:
        """x̂0 [B, N] of x [B, N] at levels [B]."""
        level = sigma.to(x).reshape(-1, 1)
        strength = self._strength(x, level)
        total = strength**2 + self.deviation**2
        told = [level.log() / 4, *([strength.log() / 4] if self.by_strength else [])]
        told = torch.cat([*told, *([] if condition is None else [condition])], 1)
        skip, out = self.deviation**2 / total, strength * self.deviation / total.sqrt()
        return skip * x + out * self.network(x / total.sqrt(), told)

    def loss(self, x: Tensor, sigma: Tensor, target: Tensor, condition: Tensor | None = None) -> Tensor:
        """The mean over the batch of (D − target)² / c_out²."""
        strength = self._strength(x, sigma.to(x).reshape(-1, 1))[:, 0]
        weight = (strength**2 + self.deviation**2) / (strength * self.deviation) ** 2
        return (weight * (self(x, sigma, condition) - target).square().mean(1)).mean()

    def _strength(self, x: Tensor, level: Tensor) -> Tensor:
        if not self.by_strength:
            return level
        return level * (1 + (x.square() / (level**2 + self.deviation**2)).mean(1, keepdim=True)).sqrt()


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
        loss = denoiser.loss(x, sigma, target)
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
