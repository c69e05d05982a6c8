"""Priors whose denoiser is known in closed form: the yardstick for every sampler, and the engine of the test beds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.priors.protocol import Controls, Indices, index_tensor, karras_sigmas

ArrayLike: TypeAlias = Tensor | np.ndarray | Sequence[Any] | float

ELEMENTS_AT_ONCE = 1 << 24
"""How many numbers a batch of residuals may hold before it is split: 64 MB in float32."""


def floating(values: ArrayLike, like: Tensor | None = None) -> Tensor:
    """The values as a float32 or float64 tensor, on the device and in the dtype of `like` when given."""
    if isinstance(values, list | tuple) and values and all(isinstance(value, Tensor) for value in values):
        values = torch.stack(list(values))
    if like is not None:
        return torch.as_tensor(values, dtype=like.dtype, device=like.device)
    tensor = torch.as_tensor(values)
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.to(torch.get_default_dtype())


@dataclass(frozen=True)
class ExactConditioning:
    """What an exact prior was told: whose bank each row of x belongs to, which of its members count, and guidance.

    Args:
        banks: [B] the bank that each row of x is seen by; None where one bank serves all views.
        members: [M] log-weights of the bank's members under the prompt; None: the prior's own.
        negatives: [M] the same under the negative prompt.
        guidance_scale: w in ε_u + w (ε_c − ε_u).
    """

    banks: Tensor | None = None
    members: Tensor | None = None
    negatives: Tensor | None = None
    guidance_scale: float = 1.0

    def __getitem__(self, indices: Indices) -> ExactConditioning:
        if self.banks is None:
            return self
        return replace(self, banks=self.banks[index_tensor(indices, len(self.banks)).to(self.banks.device)])


class ExactPrior(ABC):
    """What exact priors share: flat pictures, levels, banks of views, and colours that are used as they are.

    Args:
        image_shape: (C, h, w) of one picture.
        bank_count: V where each view has a bank of its own, else None.
        dtype, device: where the closed form is computed; x is brought there, and the answer back.
        sigmas: [L] descending levels; a ρ = 7 grid of 1000 from 40 to 0.02 when not given.
    """

    default_guidance_scale = 1.0
    """Guidance that suits exact priors: none."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        bank_count: int | None,
        dtype: torch.dtype,
        device: torch.device,
        sigmas: ArrayLike | None,
    ) -> None:
        self.image_shape = image_shape
        self.bank_count = bank_count
        self.dtype = dtype
        self.device = device
        self.sigmas = karras_sigmas() if sigmas is None else torch.as_tensor(sigmas).to("cpu", torch.float64).flatten()
        if not (len(self.sigmas) and bool((self.sigmas > 0).all()) and bool((self.sigmas.diff() < 0).all())):
            raise RequestError("A prior's noise levels must be positive and descending.")

    @property
    def channels(self) -> int:
        """C of the pictures."""
        return self.image_shape[0]

    @property
    def image_size(self) -> int:
        """The larger side of the pictures, in pixels."""
        return max(self.image_shape[1:])

    def condition(
        self,
        prompt: str = "",
        negative_prompt: str = "",
        views: Any | None = None,
        guidance_scale: float = 7.5,
        controls: Controls | None = None,
    ) -> ExactConditioning:
        """Which bank each view is seen by. Prompts, guidance and controls change nothing here.

        Raises:
            RequestError: the number of views is not the number of banks.
        """
        if self.bank_count is None:
            return ExactConditioning()
        if views is not None and len(views) != self.bank_count:
            raise RequestError(f"This prior knows {self.bank_count} views, but the run has {len(views)}.")
        return ExactConditioning(banks=torch.arange(self.bank_count, device=self.device))

    def predict_noise(self, x: Tensor, sigma: float | Tensor, conditioning: ExactConditioning) -> Tensor:
        """ε̂ = E[ε | x], [B, C, h, w]; σ > 0 a number or [B]; at σ = ∞, x is the noise itself."""
        return self._by_rows(x, sigma, conditioning, self._noise)

    def predict_clean(self, x: Tensor, sigma: float | Tensor, conditioning: ExactConditioning) -> Tensor:
        """x̂0 = E[x0 | x], [B, C, h, w]; σ > 0 a number or [B]; at σ = ∞ the mean of what is known."""
        return self._by_rows(x, sigma, conditioning, self._clean)

    def decode(self, latents: Tensor) -> Tensor:
        """The pictures as they are, colours held to [0, 1]."""
        return latents.clamp(0.0, 1.0)

    def encode(self, images: Tensor) -> Tensor:
        """The pictures as they are."""
        return images

    @abstractmethod
    def _clean(self, x: Tensor, sigma: Tensor, conditioning: ExactConditioning) -> Tensor:
        """x̂0 [B, D] of x [B, D] at σ [B, 1]."""

    def _noise(self, x: Tensor, sigma: Tensor, conditioning: ExactConditioning) -> Tensor:
        """ε̂ [B, D] of x [B, D] at σ [B, 1]."""
        return torch.where(sigma.isinf(), x, (x - self._clean(x, sigma, conditioning)) / sigma)

    @property
    @abstractmethod
    def _numbers_a_row(self) -> int:
        """How many numbers one row of x needs at once."""

    def _by_rows(self, x: Tensor, sigma: float | Tensor, conditioning: ExactConditioning, predict: Any) -> Tensor:
        """Apply `predict` to flat rows, split so that memory stays bounded."""
        size = int(np.prod(self.image_shape))
        rows = x.reshape(len(x), -1).to(self.device, self.dtype)
        if rows.shape[1] != size:
            raise RequestError(f"This prior knows pictures of shape {self.image_shape}, not {tuple(x.shape[1:])}.")
        banks = conditioning.banks
        if banks is not None and len(banks) != len(x):
            raise RequestError(f"{len(x)} pictures came with a conditioning for {len(banks)} views.")
        level = torch.as_tensor(sigma, dtype=self.dtype, device=self.device).reshape(-1, 1).expand(len(x), 1)
        at_once = max(1, ELEMENTS_AT_ONCE // max(1, self._numbers_a_row))
        if at_once >= len(x):
            return predict(rows, level, conditioning).to(x).reshape(x.shape)
        parts = []
        for start in range(0, len(x), at_once):
            part = slice(start, start + at_once)
            parts.append(predict(rows[part], level[part], conditioning[part]))
        return torch.cat(parts).to(x).reshape(x.shape)

    def _banked(self, values: Tensor, conditioning: ExactConditioning) -> Tensor:
        """Per-bank values [V, ...] or [1, ...] for the rows of x: [B, ...], or [1, ...] where one bank serves all."""
        banks = conditioning.banks
        if len(values) == 1 or banks is None:
            return values
        if len(banks) == len(values) and torch.equal(banks, torch.arange(len(banks), device=banks.device)):
            return values  # all views in their own order: nothing to gather
        return values[banks]
