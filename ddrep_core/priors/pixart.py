"""PixArt-Σ's transformer: predicts noise, told the words by a T5 encoder alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ddrep_core.priors.adapters.ip_adapter import PictureListener
from ddrep_core.priors.prompts import TextEmbedding
from ddrep_core.priors.protocol import Controls


class PixArtTransformer:
    """Predicts noise, and how sure it is, which nobody asks here.

    Args:
        transformer: diffusers' `PixArtTransformer2DModel`, told no size (Σ, not α).
    """

    hears: frozenset[str] = frozenset()
    listener: PictureListener | None = None
    told_guidance = False

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer

    @property
    def modules(self) -> tuple[Any, ...]:
        """See `Network`."""
        return (self.transformer,)

    def __call__(
        self, x: Tensor, timesteps: Tensor, text: TextEmbedding, controls: Controls, guidance: float = 1.0
    ) -> Tensor:
        """See `Network`."""
        answer = self.transformer(
            x,
            encoder_hidden_states=text.tokens,
            encoder_attention_mask=text.mask,
            timestep=timesteps,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0]
        return answer[:, : x.shape[1]]

    def row_bytes(self, height: int, width: int) -> float:
        """A block keeps about twenty vectors a token."""
        config = self.transformer.config
        tokens = height * width / config.patch_size**2
        return 20.0 * config.num_attention_heads * config.attention_head_dim * tokens * self.transformer.dtype.itemsize

    def to(self, device: torch.device) -> None:
        """See `Network`."""
        self.transformer.to(device)
