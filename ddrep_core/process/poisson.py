"""PFGM++: data as charges in D further dimensions, and x as where a field line of theirs is at the radius r = σ√D.

Xu et al., "PFGM++: Unlocking the Potential of Physics-Inspired Generative Models" (2023); Xu's thesis, ch. 8. PFGM is
D = 1, diffusion the limit D → ∞. Its kernel p(x | x0) ∝ (‖x − x0‖² + r²)^(−(N+D)/2) is the multivariate Student-t
with D degrees of freedom and scale σ, so x = x0 + σ ε with ε = √(D / χ²_D) n, n ~ N(0, I): white noise whose strength
is drawn once for a whole trajectory, and so once for all views of an object. The ODE is diffusion's,
dx/dσ = (x − x̂0) / σ with x̂0 = E[x0 | x] under this kernel (Theorem 7).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ddrep_core.process.diffusion import Diffusion


@dataclass(frozen=True)
class Poisson(Diffusion):
    """A field of charges with D further dimensions.

    Args:
        dimensions: D > 0; of heavy tails where it is small: what is not quite as strong as it should be, noise or
            weights, is seen for what it is. `math.inf` is diffusion.
    """

    dimensions: float

    def __post_init__(self) -> None:
        if not self.dimensions > 0:
            raise ValueError(f"PFGM++ has more than 0 further dimensions, not {self.dimensions}.")

    def start(self, noise: Tensor, generator: torch.Generator) -> Tensor:
        """√(D / χ²_D) of it."""
        return self._strengths(1, generator).item() * noise

    def jump(
        self, noise: Tensor, fresh: Tensor, sigma: float, sigma_after: float, keep: float, generator: torch.Generator
    ) -> Tensor:
        """keep·ε + √(1 − keep²)·s·ξ, s² the noise's variance given how strong ε is.

        A Student-t is a normal law of unknown precision 1/s² ~ Gamma(D/2, D/2); having seen N numbers of ε it is
        Gamma((D + N)/2, (D + ‖ε‖²)/2). So a point goes from the kernel of one level exactly to that of another.
        """
        if math.isinf(self.dimensions):
            return super().jump(noise, fresh, sigma, sigma_after, keep, generator)
        shape, rate = (self.dimensions + noise.numel()) / 2, (self.dimensions + float(noise.square().sum())) / 2
        strength = math.sqrt(rate / float(_numpy(generator).standard_gamma(shape)))
        return super().jump(noise, strength * fresh, sigma, sigma_after, keep, generator)

    def fresh_scale(
        self, sigma: float, sigma_next: float, share: float, picture: float, noise: float, drawn: float
    ) -> float:
        """As diffusion's, of a noise that is `drawn` times as strong as white noise."""
        if math.isinf(self.dimensions):
            return super().fresh_scale(sigma, sigma_next, share, picture, noise, drawn)
        return super().fresh_scale(sigma, sigma_next, share, picture, noise / max(drawn, 1e-30), 1.0)

    def perturb(self, clean: Tensor, sigma: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """x0 + σ ε, and ε; each row its own strength."""
        noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype).to(clean.device)
        rows = (-1, *[1] * (clean.ndim - 1))
        noise = noise * self._strengths(len(clean), generator).to(clean).reshape(rows)
        return clean + sigma.to(clean).reshape(rows) * noise, noise

    def log_kernel(self, distance: Tensor, sigma: Tensor, size: int) -> Tensor:
        """−(N+D)/2 · log(1 + ‖x − x0‖² / (D σ²))."""
        if math.isinf(self.dimensions):
            return super().log_kernel(distance, sigma, size)
        return -0.5 * (size + self.dimensions) * ((distance / sigma).square() / self.dimensions).log1p()

    def _strengths(self, count: int, generator: torch.Generator) -> Tensor:
        """[count] √(D / χ²_D)."""
        if math.isinf(self.dimensions):
            return torch.ones(count, dtype=torch.float64)
        chi_squared = 2 * _numpy(generator).standard_gamma(self.dimensions / 2, count)
        return torch.from_numpy(np.sqrt(self.dimensions / chi_squared))


def _numpy(generator: torch.Generator) -> np.random.Generator:
    """NumPy's generator, which draws from gamma laws, seeded by torch's."""
    return np.random.default_rng(int(torch.randint(2**63 - 1, (1,), generator=generator)))
