"""Exact priors that understand a prompt each, and Stable Diffusion's noise levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Told:
    """The exact prior of a prompt, that of no prompt, what these were told, and the guidance between the two."""

    one: Any
    many: Any
    told: Any
    guidance_scale: float

    def __getitem__(self, indices: Any) -> Told:
        return Told(self.one, self.many, self.told[indices], self.guidance_scale)


class WordedPrior:
    """ε̂ = ε_u + w (ε_c − ε_u) with exact priors for each prompt; the prompt's own where there is none for no prompt."""

    default_guidance_scale = 1.0

    def __init__(self, by_prompt: dict[str, Any]) -> None:
        self.by_prompt = by_prompt
        first = next(iter(by_prompt.values()))
        self.sigmas, self.channels, self.image_size = first.sigmas, first.channels, first.image_size
        self.image_shape, self.dtype, self.device = first.image_shape, first.dtype, first.device
        self.asked = 0

    def condition(
        self,
        prompt: str,
        negative_prompt: str = "",
        views: Any = None,
        guidance_scale: float = 1.0,
        controls: Any = None,
    ) -> Told:
        one, many = self.by_prompt[prompt], self.by_prompt.get(negative_prompt)
        return Told(one, many, one.condition(), guidance_scale)

    def predict_noise(self, x: Tensor, sigma: float | Tensor, conditioning: Any) -> Tensor:
        self.asked += 1
        one = conditioning.one.predict_noise(x, sigma, conditioning.told)
        if conditioning.many is None:
            return one
        many = conditioning.many.predict_noise(x, sigma, conditioning.told)
        return many + conditioning.guidance_scale * (one - many)

    def predict_clean(self, x: Tensor, sigma: float | Tensor, conditioning: Any) -> Tensor:
        return conditioning.one.predict_clean(x, sigma, conditioning.told)

    def decode(self, latents: Tensor) -> Tensor:
        return latents.clamp(0, 1)

    def encode(self, images: Tensor) -> Tensor:
        return images


def stable_diffusion_bars() -> Tensor:
    """[1000] ᾱ_t of Stable Diffusion 1 and 2, cleanest first."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    return (1 - betas).cumprod(0)


def stable_diffusion_sigmas() -> Tensor:
    """[1000] σ = √((1 − ᾱ)/ᾱ), noisiest first."""
    bars = stable_diffusion_bars()
    return ((1 - bars) / bars).sqrt().flip(0)
