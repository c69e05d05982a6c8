"""Variance-exploding diffusion, x = x0 + σ ε: every level is the noise-to-signal ratio σ."""

from __future__ import annotations

import math


def langevin_share(sigma: float, sigma_next: float, eta: float) -> float:
    """λ = η √((σ² − σ'²) / σ²), the share of fresh noise in one step (Alg. 1, line 5, simplified in DESIGN §2)."""
    ratio = 0.0 if math.isinf(sigma) else sigma_next / sigma
    return eta * math.sqrt(max(0.0, 1 - ratio * ratio))
