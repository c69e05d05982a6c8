"""What a mode-seeker follows: a loss of what the prior says about renders at one noise level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ddrep_core.sampling.look import Ask, Look


class Objective(Protocol):
    """One method. It lives as long as a run and may learn on the way (VSD: a LoRA); most keep nothing.

    A new one is one file: subclass, and say `loss`.
    """

    def weight(self, sigma: float) -> float:
        """w(σ), how much a level counts: σ²/(1 + σ²), the variance σ_t² of the variance-preserving process."""
        return sigma**2 / (1 + sigma**2)

    def loss(self, look: Look, ask: Ask) -> Tensor:
        """A number whose gradient with respect to `look.render` is followed downhill.

        The methods of this family state their gradient, not their loss; with g the stated gradient, detached,
        `(g * look.render).sum()` reads as the papers do.

        Args:
            look: the prior's answer, `render` with a graph, weights included.
            ask: to ask again: with another conditioning, other noise, or of the source.
        """
        ...

    def after(self, look: Look) -> None:
        """θ has moved: the time to learn from it."""
        return

    def state(self) -> dict[str, Tensor]:
        """What `load_state` goes on from to the same bytes."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        return


@dataclass(frozen=True)
class ModeSeeker:
    """What sets one method apart.

    Args:
        name: for reports.
        objective: makes what it follows, anew for every run.
        skipped: the shares of the levels that are left out, at the noisy and at the clean end.
        optimizer: Adam or Adamax; made of leaves, `lr` and `betas`.
        betas: of its moments.
        guidance_scale: the published one for 3D.
        steps: the published number for 3D.
        learning_rate: of the optimiser; the representation's own when None.
        falling: levels fall once from the noisy to the clean end, instead of being drawn.
    """

    name: str
    objective: Callable[[], Objective]
    skipped: tuple[float, float]
    optimizer: Callable[..., torch.optim.Optimizer]
    betas: tuple[float, float]
    guidance_scale: float = 100.0
    steps: int = 10_000
    learning_rate: float | None = None
    falling: bool = False

    def with_settings(self, *, steps: int | None = None, learning_rate: float | None = None) -> ModeSeeker:
        """The same method for another budget."""
        return replace(self, steps=steps or self.steps, learning_rate=learning_rate or self.learning_rate)
