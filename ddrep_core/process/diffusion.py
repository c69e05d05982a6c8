"""Variance-exploding diffusion, x = x0 + σ ε: every level is the noise-to-signal ratio σ."""

from __future__ import annotations

import math


def langevin_share(sigma: float, sigma_next: float, eta: float) -> float:
    """λ = η √((σ² − σ'²) / σ²), the share of fresh noise in one step (Alg. 1, line 5, simplified in DESIGN §2)."""
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
    reach = sigma - math.sqrt(1 - share**2) * sigma_next
    return reach**2 * (1 - recognised) / sigma_next**2
