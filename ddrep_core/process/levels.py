"""Grids of noise levels that belong to no prior."""

from __future__ import annotations

import numpy as np


def karras_levels(sigma_high: float, sigma_low: float, count: int, rho: float = 7.0) -> tuple[float, ...]:
    """`count` levels from high to low, evenly in σ^(1/ρ) (EDM's grid: Karras et al. 2022, Eq. 5)."""
    high, low = sigma_high ** (1 / rho), sigma_low ** (1 / rho)
    levels = [float(level) for level in (high + np.linspace(0, 1, count) * (low - high)) ** rho]
    levels[0], levels[-1] = float(sigma_high), float(sigma_low)  # without rounding: segments meet there
    return tuple(levels)
