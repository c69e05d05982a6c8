"""The exact prior of a handful of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.priors.exact import ArrayLike, ExactConditioning, ExactPrior, floating
from ddrep_core.priors.protocol import Controls
from ddrep_core.process import Diffusion, Process


class EmpiricalPrior(ExactPrior):
    """p(x0) = the given pictures, each equally likely: x̂0 is their mean, weighted by softmax(−‖x − picture‖² / 2σ²)
    where the process is diffusion.

    Args:
        images: [N, C, h, w]; with a bank for each view, [V, N, C, h, w]: view v's denoiser knows only its own N.
        captions: [N] words for each picture. A prompt then chooses the pictures with that caption, the empty prompt
            all of them, and guidance leads from those of the negative prompt to those of the prompt.
        weights: [N] shares of the pictures, normalised here; equal when not given.
        sigmas: [L] noise levels, descending.
        process: how x comes about; diffusion when not given.

    Raises:
        RequestError: pictures of a wrong shape, captions or weights of a wrong number.
    """

    def __init__(
        self,
        images: ArrayLike,
        captions: Sequence[str] | None = None,
        weights: ArrayLike | None = None,
        *,
        sigmas: ArrayLike | None = None,
        process: Process | None = None,
    ) -> None:
        images = floating(images)
        if images.ndim not in (4, 5) or 0 in images.shape:
            raise RequestError(f"Pictures must be [N, C, h, w] or [V, N, C, h, w], not {tuple(images.shape)}.")
        count, banked = images.shape[-4], images.ndim == 5
        channels, height, width = images.shape[-3:]
        shape = (channels, height, width)
        super().__init__(shape, len(images) if banked else None, images.dtype, images.device, sigmas)
        self.process = process or Diffusion()
        self._bank = images.reshape(-1, count, math.prod(shape))  # [V or 1, N, D]

        if captions is not None and len(captions) != count:
            raise RequestError(f"{len(captions)} captions came with {count} pictures.")
        self.captions = None if captions is None else tuple(captions)
        shares = torch.ones(count).to(images) if weights is None else floating(weights, images)
        if shares.shape != (count,) or not bool((shares >= 0).all()) or not float(shares.sum()) > 0:
            raise RequestError(f"Weights must be {count} numbers, none negative, not all zero.")
        self._log_shares = (shares / shares.sum()).log()

    def condition(
        self,
        prompt: str = "",
        negative_prompt: str = "",
        views: Any | None = None,
        guidance_scale: float = 7.5,
        controls: Controls | None = None,
    ) -> ExactConditioning:
        """Choose the pictures with that caption. Without captions, prompt and guidance change nothing.

        Raises:
            RequestError: no picture has that caption; the number of views is not the number of banks.
        """
        conditioning = super().condition(prompt, negative_prompt, views, guidance_scale, controls)
        if self.captions is None:
            return conditioning
        return replace(
            conditioning,
            members=self._captioned(prompt),
            negatives=self._captioned(negative_prompt),
            guidance_scale=guidance_scale,
        )

    def _captioned(self, prompt: str) -> Tensor:
        """[N] log-weights of the pictures with that caption."""
        assert self.captions is not None
        if not prompt:
            return self._log_shares
        chosen = torch.tensor([caption == prompt for caption in self.captions], device=self.device)
        if not bool(chosen.any()):
            known = ", ".join(f"'{caption}'" for caption in sorted(set(self.captions))[:8])
            raise RequestError(f"No picture of this prior is called '{prompt}'.", f"It knows {known}.")
        return self._log_shares.masked_fill(~chosen, -math.inf)

    @property
    def _numbers_a_row(self) -> int:
        # One shared bank is never copied: a row needs its distances only.
        return self._bank[0].numel() if self.bank_count else self._bank.shape[1]

    def _log_likelihoods(self, x: Tensor, sigma: Tensor, bank: Tensor) -> Tensor:
        """[B, N] log p(x | picture). Differences are taken before squares: ‖x‖² − 2xᵀy + ‖y‖² would cancel."""
        exactly = "donot_use_mm_for_euclid_dist"
        if len(bank) == 1:
            distance = torch.cdist(x, bank[0], compute_mode=exactly)
        else:
            distance = torch.cdist(x[:, None], bank, compute_mode=exactly)[:, 0]
        return self.process.log_kernel(distance, sigma, x.shape[1])

    def _clean(self, x: Tensor, sigma: Tensor, conditioning: ExactConditioning) -> Tensor:
        bank = self._banked(self._bank, conditioning)
        log_likelihoods = self._log_likelihoods(x, sigma, bank)

        def mean(members: Tensor) -> Tensor:
            shares = (members + log_likelihoods).softmax(-1)
            return shares @ bank[0] if len(bank) == 1 else (shares[:, None] @ bank)[:, 0]

        if conditioning.members is None or conditioning.negatives is None:
            return mean(self._log_shares)
        if conditioning.guidance_scale == 0:
            return mean(conditioning.negatives)
        clean = mean(conditioning.members)
        if conditioning.guidance_scale == 1:
            return clean
        # ε_u + w (ε_c − ε_u) at the same x is the same combination of x̂0.
        return torch.lerp(mean(conditioning.negatives), clean, conditioning.guidance_scale)
