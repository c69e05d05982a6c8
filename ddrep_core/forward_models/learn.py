"""Learning to guess signals from observations alone: no signal is ever shown (losses 8 and 9 of the paper)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ddrep_core.forward_models.protocol import Forward, SignalDenoiser
from ddrep_core.training.denoiser import ResidualNetwork
from ddrep_core.training.loop import MovingAverage

DrawViews: TypeAlias = Callable[[int, torch.Generator], Tensor]
"""A number of signals' views, all V of them: [count, V, C, h, w]."""
Regulariser: TypeAlias = Callable[[Tensor], Tensor]
"""Of signals [B, ...]: a number; edge-aware smoothness of their depth, say."""
Weigh: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Of what is seen [B, V, C, h, w] and its levels [B, V]: what a squared error counts, [B, V, C h w] or [B, V, 1]."""


@dataclass(frozen=True)
class ObservationLesson:
    """How a model is taught.

    Attributes:
        context_most: at most so many clean views are shown.
        context: these are, all of them, and no others, whatever `context_most` says; when empty, any may be.
        context_dropped: how often none is, for guidance.
        deterministic: how often no noisy view is shown either: the model then learns E[S | context] (L_cond).
        novel: weight of views that were not shown at all (Eq. 9): without it what no target shows is arbitrary.
        level: mean and deviation of ln σ.
        averaged: whether the model ends as the average of its late states (`training.loop.MovingAverage`).
    """

    steps: int = 3000
    batch: int = 256
    learning_rate: float = 2e-3
    context_most: int = 2
    context: tuple[int, ...] = ()
    context_dropped: float = 0.1
    deterministic: float = 0.15
    novel: float = 1.0
    level: tuple[float, float] = (-0.5, 1.3)
    averaged: bool = False


class SignalNetwork(nn.Module):
    """A small denoiser of signals [D] from V views of few numbers: a `SignalDenoiser`.

    Args:
        views: V.
        numbers: C h w of one.
        size: D.
        deviation: of one number of a view.
    """

    def __init__(self, views: int, numbers: int, size: int, deviation: float = 1.0, width: int = 96) -> None:
        super().__init__()
        self.deviation = deviation
        self.network = ResidualNetwork(views * numbers, size, 3 * views, width)

    def forward(self, seen: Tensor, levels: Tensor) -> Tensor:
        rows = seen.flatten(2)
        there = (~levels.isinf()).to(rows)
        level = torch.where(levels.isinf(), 1.0, levels).to(rows)
        scaled = rows * (there / (level**2 + self.deviation**2).sqrt())[..., None]
        clean = (levels == 0).to(rows)
        told = torch.cat([there, clean, there * level.clamp_min(1e-3).log() / 4], 1)
        return self.network(scaled.flatten(1), told)


def learn_signals(
    model: nn.Module,
    forward: Forward,
    draw: DrawViews,
    lesson: ObservationLesson,
    generator: torch.Generator,
    regularise: Regulariser | None = None,
    weigh: Weigh | None = None,
) -> list[float]:
    """Train a `SignalDenoiser` in place; the loss of every step.

    Every signal has some views as context, some under noise (one, or all that are left) and the others unseen. The loss
    compares pictures of the guess with all of them.
    """
    optimizer = torch.optim.Adam(model.parameters(), lesson.learning_rate)
    losses, average = [], MovingAverage(model) if lesson.averaged else None
    for step in range(lesson.steps):
        optimizer.param_groups[0]["lr"] = lesson.learning_rate * (1 - 0.95 * step / lesson.steps)
        loss = observation_loss(model, forward, draw(lesson.batch, generator), lesson, generator, regularise, weigh)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        if average:
            average.update(model)
    if average:
        model.load_state_dict(average.shadow)
    return torch.stack(losses).tolist()


def observation_loss(
    model: SignalDenoiser,
    forward: Forward,
    pictures: Tensor,
    lesson: ObservationLesson,
    generator: torch.Generator,
    regularise: Regulariser | None = None,
    weigh: Weigh | None = None,
) -> Tensor:
    """What one step makes smaller, of signals' views [B, V, C, h, w]."""
    count = pictures.shape[1]
    levels = _levels(lesson, len(pictures), count, generator).to(pictures)
    noise = torch.randn(pictures.shape, generator=generator, dtype=pictures.dtype)
    finite = torch.where(levels.isinf(), 0.0, levels)
    seen = (pictures + finite[..., None, None, None] * noise) * (~levels.isinf())[..., None, None, None]
    signals = model(seen, levels)
    found = forward(signals, torch.arange(count))
    error = (found - pictures).square().flatten(2)
    error = (error if weigh is None else error * weigh(seen, levels)).mean(2)
    weight = torch.where(levels.isinf(), lesson.novel, 1.0)
    loss = (weight * error).sum() / weight.sum()
    return loss if regularise is None else loss + regularise(signals)


def _levels(lesson: ObservationLesson, batch: int, count: int, generator: torch.Generator) -> Tensor:
    """[batch, V] what each signal's views are: 0 for context, σ for noisy, ∞ for unseen."""
    drawn = torch.rand(batch, count, generator=generator)
    drawn[:, list(lesson.context)] -= 1
    order = drawn.argsort(1).argsort(1)  # each view's place in a shuffle
    fewest, most = (len(lesson.context),) * 2 if lesson.context else (0, min(lesson.context_most, count - 1))
    contexts = torch.randint(fewest, most + 1, (batch, 1), generator=generator)
    contexts = contexts * (torch.rand(batch, 1, generator=generator) >= lesson.context_dropped)
    many = torch.randint(1, count + 1 - max(1, fewest), (batch, 1), generator=generator)
    noisy = torch.where(torch.rand(batch, 1, generator=generator) < 0.5, 1, many)
    noisy = noisy * (torch.rand(batch, 1, generator=generator) >= lesson.deterministic)
    sigma = (lesson.level[0] + lesson.level[1] * torch.randn(batch, 1, generator=generator)).exp()
    levels = torch.full((batch, count), math.inf)
    levels = torch.where(order < contexts + noisy, sigma.expand(-1, count), levels)
    return torch.where(order < contexts, 0.0, levels)
