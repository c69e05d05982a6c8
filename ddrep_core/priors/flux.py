"""FLUX.1's transformer: a rectified flow over packed latents that is told how strongly to follow the words."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ddrep_core.priors.adapters.ip_adapter import PictureListener
from ddrep_core.priors.prompts import TextEmbedding
from ddrep_core.priors.protocol import Controls

PACK = 2
"""Cells of the latents along each side of a token."""


class FluxTransformer:
    """Predicts a rectified flow's velocity.

    Args:
        transformer: diffusers' `FluxTransformer2DModel`.
    """

    hears: frozenset[str] = frozenset()
    listener: PictureListener | None = None

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer
        self.told_guidance = bool(transformer.config.guidance_embeds)
        """dev was distilled to draw guided pictures at once, of any guidance that it is told; schnell without."""

    @property
    def modules(self) -> tuple[Any, ...]:
        """See `Network`."""
        return (self.transformer,)

    def __call__(
        self, x: Tensor, timesteps: Tensor, text: TextEmbedding, controls: Controls, guidance: float = 1.0
    ) -> Tensor:
        """See `Network`."""
        rows, columns = x.shape[-2] // PACK, x.shape[-1] // PACK
        # Where each token stands: (0, row, column); those of the text stand nowhere.
        places = torch.zeros(rows, columns, 3, device=x.device, dtype=x.dtype)
        places[..., 1] += torch.arange(rows, device=x.device)[:, None]
        places[..., 2] += torch.arange(columns, device=x.device)
        told = torch.full((len(x),), guidance, device=x.device) if self.told_guidance else None
        answer = self.transformer(
            hidden_states=pack(x),
            timestep=timesteps / 1000,
            guidance=told,
            pooled_projections=text.pooled,
            encoder_hidden_states=text.tokens,
            txt_ids=torch.zeros(text.tokens.shape[1], 3, device=x.device, dtype=x.dtype),
            img_ids=places.reshape(-1, 3),
            return_dict=False,
        )[0]
        return unpack(answer, rows, columns)

    def row_bytes(self, height: int, width: int) -> float:
        """A block keeps about twenty vectors a token."""
        config = self.transformer.config
        tokens = height * width / PACK**2 + 512
        return 20.0 * config.num_attention_heads * config.attention_head_dim * tokens * self.transformer.dtype.itemsize

    def to(self, device: torch.device) -> None:
        """See `Network`."""
        self.transformer.to(device)


def pack(x: Tensor) -> Tensor:
    """[B, h/2 · w/2, 4 C] of latents [B, C, h, w]: each token is a square of 2 x 2 cells."""
    batch, channels, height, width = x.shape
    squares = x.reshape(batch, channels, height // PACK, PACK, width // PACK, PACK).permute(0, 2, 4, 1, 3, 5)
    return squares.reshape(batch, (height // PACK) * (width // PACK), channels * PACK**2)


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """[B, C, 2 rows, 2 columns]: `pack` undone."""
    batch, _, wide = tokens.shape
    squares = tokens.reshape(batch, rows, columns, wide // PACK**2, PACK, PACK).permute(0, 3, 1, 4, 2, 5)
    return squares.reshape(batch, wide // PACK**2, rows * PACK, columns * PACK)
