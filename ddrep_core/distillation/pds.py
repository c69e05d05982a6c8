"""Posterior distillation sampling (Koo, Park and Sung 2024, Eq. 14) in variance-exploding coordinates.

The stochastic latent of a picture x0 is what its cleaner noisy version has beyond what its noisier one foretells,
z̃ = (x_s − μ(x_σ, x̂0)) / std. With the noises of both levels shared between target and source, Δ = target − source,

    Δz̃ = ψ Δx0 + χ Δε̂,    and the gradient is  χ(σ) (Δε̂ + κ(σ) Δx0),  κ = ψ / χ.

The noise of the cleaner level cancels, so it is never drawn. κ depends on whose coefficients are taken; ᾱ = 1/(1 + σ²):

    released   (1 + ᾱ) / (2σ)   the authors' code. s lies two levels down, while α and β are of one level: μ is the mean
                                of no posterior, and what is left over brakes. k levels down it is (k − 1) times that.
    printed    about a hundred times as much: Section 2's δ has √ᾱ where the posterior has √α (`_printed`)
    exact      0                with the true posterior, whatever the levels: DDS with another weight

At σ = 5.1 they are .10, 17 and 0. So `printed` hardly moves, and `exact` has no term for identity at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ddrep_core.distillation.objective import ModeSeeker, Objective
from ddrep_core.errors import RequestError
from ddrep_core.sampling.look import Ask, Look

Coefficient: TypeAlias = Literal["released", "printed", "exact"]


@dataclass
class PosteriorDistillation(Objective):
    """χ(σ) (sg[Δε̂ + identity κ(σ) Δx0] · render).

    Args:
        coefficient: whose κ.
        identity: how much of it; 0 is DDS with PDS's weight.
    """

    coefficient: Coefficient = "released"
    identity: float = 1.0

    def loss(self, look: Look, ask: Ask) -> Tensor:
        source = ask.of_source(look)
        kappa, chi = coefficients(look.sigma, cleaner(ask.prior.sigmas, look.sigma), self.coefficient)
        change = look.predicted - source.predicted + self.identity * kappa * (look.render.detach() - source.render)
        return (chi * change * look.weights * look.render).sum()


def coefficients(sigma: float, below: float, coefficient: Coefficient) -> tuple[float, float]:
    """(κ, χ) at σ, where the next cleaner level is s = `below` > 0: χ = √(σ²/s² − 1), the exact posterior's."""
    chi = math.sqrt(sigma**2 / below**2 - 1)
    if coefficient == "exact":
        return 0.0, chi
    if coefficient == "released":
        return (1 + 1 / (1 + sigma**2)) / (2 * sigma), chi
    if coefficient == "printed":
        return _printed(sigma, below), chi
    raise RequestError(f"There is no '{coefficient}' coefficient of PDS.", "Use released, printed or exact.")


def _printed(sigma: float, below: float) -> float:
    """ψ / χ with γ = √ᾱ_s (1 − α) / (1 − ᾱ) and δ = √ᾱ (1 − ᾱ_s) / (1 − ᾱ), as Section 2 prints them."""
    bar, bar_below = 1 / (1 + sigma**2), 1 / (1 + below**2)
    gamma = math.sqrt(bar_below) * (1 - bar / bar_below) / (1 - bar)
    delta = math.sqrt(bar) * (1 - bar_below) / (1 - bar)
    return (math.sqrt(bar_below) - gamma - delta * math.sqrt(bar)) / (gamma * sigma)


def cleaner(sigmas: Tensor, sigma: float) -> float:
    """The prior's next level below σ; below the last, one as far down again."""
    levels = sigmas[torch.isfinite(sigmas)]
    lower = levels[levels < sigma * (1 - 1e-9)]
    if len(lower):
        return float(lower[0])
    return sigma * float(levels[-1] / levels[-2]) if len(levels) > 1 else sigma / 2


POSTERIOR_DISTILLATION = ModeSeeker(
    "PDS", PosteriorDistillation, (0.02, 0.02), torch.optim.Adam, (0.9, 0.99), guidance_scale=7.5, steps=1000
)
"""t uniform in 2-98 %, Adam, the released coefficient."""


def posterior_distillation(coefficient: Coefficient = "released", identity: float = 1.0) -> ModeSeeker:
    """PDS with another coefficient, or another strength of it."""
    return replace(POSTERIOR_DISTILLATION, objective=partial(PosteriorDistillation, coefficient, identity))
