"""What a process is: how clean and noise make x at a noise level, and how one level leads to the next.

A run's state is θ and a noise field ε(π); what the prior sees of a view is `noisy(f(θ, π), ε(π), σ)`. A process says
what the renders should become in a step (`target`), and how ε is renewed in one or in a jump back up (`jump`). A new
one is one new file with one class; a prior names it as `prior.process`, and `Diffusion()` is taken where it names none.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Process(Protocol):
    """Shapes are anything [..., C, h, w]; levels are noise-to-signal ratios σ, the first of which may be infinite."""

    def start(self, noise: Tensor, generator: torch.Generator) -> Tensor:
        """ε of one trajectory [V, C, h, w] at the first level, from white noise of that shape: views share a factor."""
        ...

    def noisy(self, clean: Tensor, noise: Tensor, sigma: float) -> Tensor:
        """x. At σ = ∞, the noise alone."""
        ...

    def target(self, render: Tensor, clean: Tensor, sigma: float, sigma_next: float, share: float) -> Tensor:
        """f': what renders should become from σ to σ' when the prior sees x̂0 = `clean` in them (Eq. 4).

        Args:
            share: λ, of fresh noise in this step (`langevin_share`).
        """
        ...

    def jump(
        self, noise: Tensor, fresh: Tensor, sigma: float, sigma_after: float, keep: float, generator: torch.Generator
    ) -> Tensor:
        """ε after a part of it was renewed: `keep` times the old, and of `fresh` white noise what makes it whole.

        Args:
            generator: of what else is drawn; `fresh` was drawn from it.
        """
        ...

    def fresh_scale(
        self, sigma: float, sigma_next: float, share: float, picture: float, noise: float, drawn: float
    ) -> float:
        """How strong the fresh noise of a reverse step is, in units of white noise.

        Args:
            share: λ > 0, of fresh noise in this step.
            picture, noise, drawn: mean squares of x̂0, of ε̂ and of ε over the pixels that count.
        """
        ...

    def perturb(self, clean: Tensor, sigma: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """For training: x [B, C, h, w] at levels [B], and the noise ε in it that is to be predicted."""
        ...

    def log_kernel(self, distance: Tensor, sigma: Tensor, size: int) -> Tensor:
        """log p(x | x0) but for a constant, of x [..., N] that are so far from x0, at levels of the same shape.

        Args:
            size: N.
        """
        ...
