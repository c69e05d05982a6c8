"""Variance-exploding diffusion, x = x0 + σ ε with ε ~ N(0, I)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FAR_ABOVE = 1000.0
"""Noise of this many times a picture's power hides it: what a step loses there is less than a thousandth of x, and
would be told from the difference of two nearly equal numbers."""


@dataclass(frozen=True)
class Diffusion:
    """What every pretrained diffusion or flow model follows, in our coordinates."""

    def start(self, noise: Tensor, generator: torch.Generator) -> Tensor:
        """White noise as it is."""
        return noise

    def noisy(self, clean: Tensor, noise: Tensor, sigma: float) -> Tensor:
        """x0 + σ ε; ε alone at σ = ∞."""
        return noise if math.isinf(sigma) else clean + sigma * noise

    def target(self, render: Tensor, clean: Tensor, sigma: float, sigma_next: float, share: float) -> Tensor:
        """f' = f + (σ − √(1−λ²) σ') (ε − ε̂), written with ε − ε̂ = (x̂0 − f) / σ: how far x̂0 is approached."""
        return render + reach(sigma, sigma_next, share) * (clean - render)

    def jump(
        self, noise: Tensor, fresh: Tensor, sigma: float, sigma_after: float, keep: float, generator: torch.Generator
    ) -> Tensor:
        """keep·ε + √(1 − keep²)·ξ, whatever the levels."""
        return keep * noise + math.sqrt(1 - keep**2) * fresh

    def fresh_scale(
        self, sigma: float, sigma_next: float, share: float, picture: float, noise: float, drawn: float
    ) -> float:
        """√(1 + `lost_variance` / λ²): what a step by x̂0 takes from the variance, its fresh noise gives back."""
        recognised = 1.0 if sigma**2 > FAR_ABOVE * picture else min(1.0, noise)
        return math.sqrt(1 + lost_variance(sigma, sigma_next, share, recognised) / share**2)

    def perturb(self, clean: Tensor, sigma: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """x0 + σ ε, and ε."""
        noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype).to(clean.device)
        return clean + sigma.to(clean).reshape(-1, *[1] * (clean.ndim - 1)) * noise, noise

    def log_kernel(self, distance: Tensor, sigma: Tensor, size: int) -> Tensor:
        """−‖x − x0‖² / 2σ²."""
        return -0.5 * (distance / sigma).square()


def reach(sigma: float, sigma_next: float, share: float) -> float:
    """How much of the way from f to x̂0 one step goes: 1 − √(1−λ²) σ'/σ, and all of it onto σ' = 0 or from σ = ∞."""
    return 1.0 if math.isinf(sigma) else 1 - math.sqrt(1 - share**2) * sigma_next / sigma


def langevin_share(sigma: float, sigma_next: float, eta: float) -> float:
    """λ = η √((σ² − σ'²) / σ²), the share of fresh noise in one step (Alg. 1, line 5, simplified in docs/method.md)."""
    ratio = 0.0 if math.isinf(sigma) else sigma_next / sigma
    return eta * math.sqrt(max(0.0, 1 - ratio * ratio))


def lost_variance(sigma: float, sigma_next: float, share: float, recognised: float) -> float:
    """What a reverse step by x̂0 = E[x0 | x] takes from the variance of x', for the fresh noise to give back.

    A draw of x0 given x would have E Var(x0 | x) = σ² (1 − E ε̂²) a pixel, whatever the prior draws (Bao et al. 2022,
    Analytic-DPM, Lemma 1 and Theorem 1). A step puts its mean there, with the factor 1 − √(1−λ²) σ'/σ. With this much
    more variance the step is exact for an isotropic Gaussian, however few the levels; where pictures are certain, it
    is zero.

    Args:
        share: λ of the step.
        recognised: E ε̂² over pixels, 0 to 1: the part of the noise's variance that the prior told from the picture.

    Returns:
        the variance in units of σ'²; 0 at σ' = 0, where x̂0 itself is wanted, and at σ = ∞, where nothing is known yet.
    """
    if sigma_next == 0 or math.isinf(sigma):
        return 0.0
    moved = reach(sigma, sigma_next, share) * sigma
    return moved**2 * (1 - recognised) / sigma_next**2
