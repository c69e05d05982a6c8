"""The networks themselves, behind one signature: what they see, when, and what they are told."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ddrep_core.priors.prompts import TextEmbedding
from ddrep_core.priors.protocol import Controls


class Network(Protocol):
    """Predicts what its parameterisation says (see `levels`), for a batch of scaled inputs."""

    @property
    def hears(self) -> frozenset[str]:
        """The controls that make a difference."""
        ...

    def __call__(self, x: Tensor, timesteps: Tensor, text: TextEmbedding, controls: Controls) -> Tensor:
        """x, output: [B, C, h, w]; timesteps [B]; text of B rows; controls of those that it hears, of B rows."""
        ...

    def row_bytes(self, height: int, width: int) -> float:
        """About how much memory one row of latents of this size needs for activations."""
        ...

    def to(self, device: torch.device) -> None:
        """Move to another device."""
        ...


class UNet:
    """A Stable Diffusion or SDXL U-Net, with or without a depth ControlNet.

    Args:
        unet: diffusers' `UNet2DConditionModel`.
        pixels: along one side of a latent cell; SDXL is told the picture's size.
        controlnet: diffusers' `ControlNetModel`, if any.
        controlnet_scale: how much it counts.
    """

    def __init__(self, unet: Any, pixels: int, controlnet: Any | None = None, controlnet_scale: float = 1.0) -> None:
        self.unet = unet
        self.pixels = pixels
        self.controlnet = controlnet
        self.controlnet_scale = controlnet_scale
        self.told_size = unet.config.addition_embed_type == "text_time"

    @property
    def hears(self) -> frozenset[str]:
        """Depth, where there is a ControlNet."""
        return frozenset() if self.controlnet is None else frozenset({"depth"})

    def __call__(self, x: Tensor, timesteps: Tensor, text: TextEmbedding, controls: Controls) -> Tensor:
        """See `Network`."""
        told = None
        if self.told_size:
            height, width = x.shape[-2] * self.pixels, x.shape[-1] * self.pixels
            # The original size, the crop's corner, the size asked for.
            size = torch.tensor([[height, width, 0, 0, height, width]], dtype=x.dtype, device=x.device)
            told = {"text_embeds": text.pooled, "time_ids": size.expand(len(x), -1)}
        down, middle = None, None
        if self.controlnet is not None and "depth" in controls:
            down, middle = self.controlnet(
                x,
                timesteps,
                encoder_hidden_states=text.tokens,
                controlnet_cond=self._hint(x, controls["depth"]),
                conditioning_scale=self.controlnet_scale,
                added_cond_kwargs=told,
                return_dict=False,
            )
        return self.unet(
            x,
            timesteps,
            encoder_hidden_states=text.tokens,
            added_cond_kwargs=told,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]

    def _hint(self, x: Tensor, depth: Tensor) -> Tensor:
        """[B, 3, H, W] depth as a grey picture, of the size that the ControlNet's own down-sampling expects."""
        assert self.controlnet is not None
        # The hint's encoder halves once between any two of its widths.
        factor = 2 ** (len(self.controlnet.config.conditioning_embedding_out_channels) - 1)
        size = (x.shape[-2] * factor, x.shape[-1] * factor)
        if depth.shape[-2:] != size:
            depth = interpolate(depth, size, mode="bilinear", antialias=True)
        return depth.to(x).expand(-1, self.controlnet.config.conditioning_channels, -1, -1)

    def row_bytes(self, height: int, width: int) -> float:
        """Skip connections of the widest resolution dominate: some forty maps of the first width (measured)."""
        return 40.0 * self.unet.config.block_out_channels[0] * height * width * self.unet.dtype.itemsize

    def to(self, device: torch.device) -> None:
        """See `Network`."""
        self.unet.to(device)
        if self.controlnet is not None:
            self.controlnet.to(device)


class FlowTransformer:
    """SD3's transformer: predicts a rectified flow's velocity.

    Args:
        transformer: diffusers' `SD3Transformer2DModel`.
    """

    hears: frozenset[str] = frozenset()

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer

    def __call__(self, x: Tensor, timesteps: Tensor, text: TextEmbedding, controls: Controls) -> Tensor:
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
