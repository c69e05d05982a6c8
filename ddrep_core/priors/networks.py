"""The networks themselves, behind one signature: what they see, when, and what they are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ddrep_core.priors.adapters.controlnet import ControlNet, added_residuals
from ddrep_core.priors.adapters.ip_adapter import PictureListener
from ddrep_core.priors.prompts import TextEmbedding
from ddrep_core.priors.protocol import REFERENCE, Controls


class Network(Protocol):
    """Predicts what its parameterisation says (see `levels`), for a batch of scaled inputs."""

    @property
    def hears(self) -> frozenset[str]:
        """The controls that make a difference."""
        ...

    @property
    def listener(self) -> PictureListener | None:
        """What lets it look at a reference picture; None where it hears of none."""
        ...

    @property
    def told_guidance(self) -> bool:
        """Whether it was distilled to answer guided at once, and is told how strongly."""
        ...

    @property
    def modules(self) -> tuple[Any, ...]:
        """torch's, of which it is made."""
        ...

    def __call__(
        self, x: Tensor, timesteps: Tensor, text: TextEmbedding, controls: Controls, guidance: float = 1.0
    ) -> Tensor:
        """x, output: [B, C, h, w]; timesteps [B]; text of B rows; controls of those that it hears, of B rows.

        `guidance` counts where it is told of it.
        """
        ...

    def row_bytes(self, height: int, width: int) -> float:
        """About how much memory one row of latents of this size needs for activations."""
        ...

    def to(self, device: torch.device) -> None:
        """Move to another device."""
        ...


class UNet:
    """A Stable Diffusion or SDXL U-Net, with or without ControlNets.

    Args:
        unet: diffusers' `UNet2DConditionModel`.
        pixels: along one side of a latent cell; SDXL is told the picture's size.
        controlnets: what stands beside it.
        listener: lets it look at a reference picture.
    """

    def __init__(
        self,
        unet: Any,
        pixels: int,
        controlnets: Sequence[ControlNet] = (),
        listener: PictureListener | None = None,
    ) -> None:
        self.unet = unet
        self.listener = listener
        self.pixels = pixels
        self.controlnets = tuple(controlnets)
        self.told_size = unet.config.addition_embed_type == "text_time"
        self.told_guidance = unet.config.time_cond_proj_dim is not None  # latent consistency models

    @property
    def hears(self) -> frozenset[str]:
        """What its ControlNets are shown, and a reference picture where it can look at one."""
        listens = {REFERENCE} if self.listener is not None else set()
        return frozenset(controlnet.kind for controlnet in self.controlnets) | listens

    @property
    def modules(self) -> tuple[Any, ...]:
        """See `Network`."""
        return (self.unet, *(controlnet.network for controlnet in self.controlnets))

    def __call__(
        self, x: Tensor, timesteps: Tensor, text: TextEmbedding, controls: Controls, guidance: float = 1.0
    ) -> Tensor:
        """See `Network`."""
        told: dict[str, Any] | None = None
        if self.told_size:
            height, width = x.shape[-2] * self.pixels, x.shape[-1] * self.pixels
            # The original size, the crop's corner, the size asked for.
            size = torch.tensor([[height, width, 0, 0, height, width]], dtype=x.dtype, device=x.device)
            told = {"text_embeds": text.pooled, "time_ids": size.expand(len(x), -1)}
        down, middle = added_residuals(self.controlnets, x, timesteps, text.tokens, told, controls)
        if self.listener is not None:
            told = {**(told or {}), **self.listener.told(x, controls.get(REFERENCE))}
        strength = guidance_embedding(guidance, self.unet.config.time_cond_proj_dim) if self.told_guidance else None
        return self.unet(
            x,
            timesteps,
            timestep_cond=None if strength is None else strength.to(x).expand(len(x), -1),
            encoder_hidden_states=text.tokens,
            added_cond_kwargs=told,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]

    def row_bytes(self, height: int, width: int) -> float:
        """Skip connections of the widest resolution dominate: some forty maps of the first width (measured)."""
        return 40.0 * self.unet.config.block_out_channels[0] * height * width * self.unet.dtype.itemsize

    def to(self, device: torch.device) -> None:
        """See `Network`."""
        self.unet.to(device)
        for controlnet in self.controlnets:
            controlnet.network.to(device)


def guidance_embedding(guidance: float, width: int) -> Tensor:
    """[1, width] waves of the guidance, as latent consistency models are told it: w − 1 in our w.

    Source: Luo et al., "Latent Consistency Models", Section 4.1; diffusers' `get_guidance_scale_embedding`.
    """
    half = width // 2
    frequencies = torch.exp(torch.arange(half) * -(torch.log(torch.tensor(10000.0)) / (half - 1)))
    angles = 1000.0 * (guidance - 1.0) * frequencies
    return torch.cat([angles.sin(), angles.cos(), torch.zeros(width % 2)])[None]


class FlowTransformer:
    """SD3's transformer: predicts a rectified flow's velocity.

    Args:
        transformer: diffusers' `SD3Transformer2DModel`.
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
        return self.transformer(
            hidden_states=x,
            timestep=timesteps,
            encoder_hidden_states=text.tokens,
            pooled_projections=text.pooled,
            return_dict=False,
        )[0]

    def row_bytes(self, height: int, width: int) -> float:
        """A block keeps about twenty vectors a token."""
        config = self.transformer.config
        tokens = height * width / config.patch_size**2 + 333
        width_of_token = config.num_attention_heads * config.attention_head_dim
        return 20.0 * width_of_token * tokens * self.transformer.dtype.itemsize

    def to(self, device: torch.device) -> None:
        """See `Network`."""
        self.transformer.to(device)
