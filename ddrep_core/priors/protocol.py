"""What a prior is: a noise predictor in variance-exploding coordinates, x = x0 + σ ε.

A prior stands alone. It knows nothing of representations, views or samplers; anything with these members can be
sampled from. Write a new one in a file of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ddrep_core.process.levels import karras_levels

Indices: TypeAlias = int | slice | Sequence[int] | Tensor | np.ndarray
"""Which views: a number, a slice, or any list of numbers (repeats allowed)."""


Controls: TypeAlias = Mapping[str, Tensor]
"""Signals that steer a prior beside words, by name: {"depth": [V, 1, H, W] in [0, 1], near = 1 and background = 0}.
What a prior hears, `prior.controls` says; `geometry.signals` makes those that a mesh shows. A new signal is one more
name."""

TILE = "tile"
"""The control that is a picture whose forms and colours stay: [V, 3, H, W] sRGB in [0, 1]. Where none is given, a run
shows what it has made so far (`FollowsRun`)."""

SIGNAL_CHANNELS = {"depth": 1, "normal": 3, "canny": 1, "lineart": 1, TILE: 3}
"""The signals that a ControlNet can be shown, each [V, C, H, W] in [0, 1], and their C."""

REFERENCE = "reference"
"""The control that is a picture to look at, for its style: [V, 3, H, W], or one for all views, sRGB in [0, 1]."""


class Conditioning(Protocol):
    """What a prior was told about each view of a run: prompts, guidance, controls. Made once, by `Prior.condition`."""

    def __getitem__(self, indices: Indices, /) -> Conditioning:
        """The conditioning of those views, in that order, to go with a mini-batch x of the same views."""
        ...


@runtime_checkable
class FollowsRun(Protocol):
    """A conditioning that hears signals which only a run can make, of what it has made so far."""

    @property
    def unshown(self) -> frozenset[str]:
        """Those of them that it was not given."""
        ...

    def showing(self, controls: Controls) -> Conditioning:
        """The same with these signals of its views."""
        ...


@runtime_checkable
class Prior(Protocol):
    """Predicts the noise in noisy images (or latents).

    A sampler asks for `sigmas`, `channels`, `image_size`, `condition`, `predict_noise`, `decode` and `encode`, and for
    `predict_clean` where a level is infinite; a prior with these alone is a prior. The others are conveniences, and so
    are `controls: frozenset[str]`, the names of the signals that `condition` hears (`hears` reads it), and `process`,
    where it is not diffusion (`process.protocol`).
    """

    @property
    def sigmas(self) -> Tensor:
        """[L] the noise levels it was trained on, descending, float64 on the CPU. The first may be infinite."""
        ...

    @property
    def channels(self) -> int:
        """C of what it denoises: 3 for pixels, 4 or 16 for the latents of common models."""
        ...

    @property
    def image_size(self) -> int:
        """Its native size in pixels, after `decode`."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of what it denoises at its native size."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in. A sampler keeps float64 state for a float64 prior, and float32 for all others."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def condition(
        self,
        prompt: str,
        negative_prompt: str = "",
        views: Any | None = None,
        guidance_scale: float = 7.5,
        controls: Controls | None = None,
    ) -> Conditioning:
        """Prepare a run.

        Args:
            prompt: what the pictures show.
            negative_prompt: what guidance leads away from.
            views: the run's cameras; each adds its own words to the prompt. None: all views are alike.
            guidance_scale: w in ε_u + w (ε_c − ε_u); 0 is unconditional, 1 conditional without guidance.
            controls: signals beside words, by name (`Controls`); those that the prior does not hear change nothing.
        """
        ...

    def predict_noise(self, x: Tensor, sigma: float | Tensor, conditioning: Any) -> Tensor:
        """ε̂ [B, C, h, w] in x = x0 + σ ε, [B, C, h, w], at one level σ > 0 (a number), or one a view ([B]).

        `conditioning` is for the same B views. At σ = ∞, x is the unit-variance noise itself.
        """
        ...

    def predict_clean(self, x: Tensor, sigma: float | Tensor, conditioning: Any) -> Tensor:
        """x̂0 = E[x0 | x], [B, C, h, w]; arguments as for `predict_noise`. Finite at σ = ∞ too."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, H, W], sRGB in [0, 1], from clean latents [B, C, h, w]."""
        ...

    def encode(self, images: Tensor) -> Tensor:
        """Clean latents [B, C, h, w] from pictures [B, 3, H, W], sRGB in [0, 1]. Deterministic."""
        ...


def hears(prior: Prior) -> frozenset[str]:
    """The control signals that make a difference to a prior; none where it says nothing of them."""
    return getattr(prior, "controls", frozenset())


def karras_sigmas(levels: int = 1000, sigma_max: float = 40.0, sigma_min: float = 0.02, rho: float = 7.0) -> Tensor:
    """[L] noise levels from sigma_max down to sigma_min, evenly spaced in σ^(1/ρ), float64.

    Source: Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", Eq. 5.
    """
    if levels < 1 or not 0 < sigma_min < sigma_max or rho <= 0:
        raise ValueError(f"no grid of {levels} levels from {sigma_max} to {sigma_min} with rho {rho}")
    return torch.tensor(karras_levels(sigma_max, sigma_min, levels, rho), dtype=torch.float64)


def index_tensor(indices: Indices, length: int) -> Tensor:
    """[B] int64 positions, all in 0..length-1, from anything that names views.

    Raises:
        IndexError: a position beyond the last view.
    """
    if isinstance(indices, slice):
        return torch.arange(length)[indices]
    positions = torch.as_tensor(indices)
    if positions.dtype == torch.bool:
        positions = positions.nonzero().flatten()
    positions = positions.to("cpu", torch.int64).reshape(-1)
    if positions.numel() and (int(positions.min()) < -length or int(positions.max()) >= length):
        raise IndexError(f"view {positions.tolist()} of {length} views")
    return positions % length
