"""Noise-free score distillation (Katzir et al., ICLR 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddrep_core.distillation.objective import ModeSeeker, Objective
from ddrep_core.sampling.look import Ask, Look

CLEAN_BELOW = 0.57
"""σ of the 200th of Stable Diffusion's 1000 levels: below it, ε̂ without words is what leads to clean pictures."""

NEGATIVE = "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull, dark, low-resolution, gloomy"


@dataclass
class NoiseFreeScoreDistillation(Objective):
    """w(σ) (sg[ε̂ − ε̂_n] · render), ε̂ with guidance, and ε̂_n under the negative words; without ε̂_n below `CLEAN_BELOW`.

    The noise ε itself is in neither: it averages to zero in SDS, and makes it blur. The run's own negative prompt
    stays empty, for ε̂ is to be led from pictures of any kind.

    Args:
        negative: what pictures are to have nothing of.
    """

    negative: str = NEGATIVE

    def loss(self, look: Look, ask: Ask) -> Tensor:
        direction = look.predicted
        if look.sigma >= CLEAN_BELOW:
            told = ask.prior.condition(self.negative, "", None, 1.0)
            direction = direction - ask(look.render, look.noise, look.sigma, look.indices, told).predicted
        return (self.weight(look.sigma) * direction * look.weights * look.render).sum()


NOISE_FREE_SCORE_DISTILLATION = ModeSeeker(
    "NFSD", NoiseFreeScoreDistillation, (0.02, 0.02), torch.optim.Adam, (0.9, 0.99), guidance_scale=7.5
)
"""t uniform in 2-98 %, Adam, guidance 7.5."""
