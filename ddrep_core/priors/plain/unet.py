"""Stable Diffusion's U-Net and the ControlNet beside it, as far as the bundled prior has them.

Source: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models"; Zhang et al., "Adding
Conditional Control to Text-to-Image Diffusion Models". Names and order of operations are those of diffusers'
`UNet2DConditionModel` and `ControlNetModel`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddrep_core.priors.plain.blocks import Downsample, Residual, Upsample
from ddrep_core.priors.plain.network import Network

LONGEST_PERIOD = 10_000


def waves(timesteps: Tensor, width: int) -> Tensor:
    """[B, width] cosines and sines of timesteps [B], at frequencies from 1 down to 1 / LONGEST_PERIOD."""
    half = width // 2
    exponent = -math.log(LONGEST_PERIOD) * torch.arange(0, half, dtype=torch.float32, device=timesteps.device) / half
    angles = timesteps[:, None].float() * torch.exp(exponent)[None, :]
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


class TimeEmbedding(nn.Module):
    """A small network that makes a vector of a timestep's waves."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, out)
        self.linear_2 = nn.Linear(out, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(functional.silu(self.linear_1(x)))


class Attention(nn.Module):
    """Of pixels to one another, or to the words of a text."""

    def __init__(self, width: int, heads: int, heard: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(heard or width, width, bias=False)
        self.to_v = nn.Linear(heard or width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, heard: Tensor | None = None) -> Tensor:
        told = x if heard is None else heard
        query, key, value = (
            made.view(len(told), -1, self.heads, made.shape[-1] // self.heads).transpose(1, 2)
            for made in (self.to_q(x), self.to_k(told), self.to_v(told))
        )
        found = functional.scaled_dot_product_attention(query, key, value)
        return self.to_out[0](found.transpose(1, 2).reshape(len(x), -1, x.shape[-1]))


class Gated(nn.Module):
    """A linear layer, one half of whose output is let through by the other."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * out)

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * functional.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([Gated(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.net:
            x = layer(x)
        return x


class TransformerBlock(nn.Module):
    def __init__(self, width: int, heads: int, heard: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1 = Attention(width, heads)
        self.attn2 = Attention(width, heads, heard)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        x = self.attn1(self.norm1(x)) + x
        x = self.attn2(self.norm2(x), text) + x
        return self.ff(self.norm3(x)) + x


class Transformer(nn.Module):
    """Attention over the pixels of a feature map."""

    def __init__(self, width: int, heads: int, heard: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, heads, heard)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        count, width, rows, columns = x.shape
        pixels = self.proj_in(self.norm(x)).permute(0, 2, 3, 1).reshape(count, rows * columns, width)
        for block in self.transformer_blocks:
            pixels = block(pixels, text)
        return self.proj_out(pixels.reshape(count, rows, columns, width).permute(0, 3, 1, 2).contiguous()) + x


class Down(nn.Module):
    """One resolution on the way down: a residual block, attention where there is some, and half the size."""

    def __init__(
        self, width: int, out: int, told: int, groups: int, eps: float, heads: int, heard: int, last: bool
    ) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([Transformer(out, heads, heard, groups)] if heads else [])
        self.resnets = nn.ModuleList([Residual(width, out, groups, eps, told)])
        self.downsamplers = nn.ModuleList([] if last else [Downsample(out, padding=1)])

    def forward(self, x: Tensor, time: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        """What it made, one after the other; the last goes on."""
        x = self.resnets[0](x, time)
        for attention in self.attentions:
            x = attention(x, text)
        return (x, *(shrink(x) for shrink in self.downsamplers))


class Middle(nn.Module):
    """The lowest resolution."""

    def __init__(self, width: int, told: int, groups: int, eps: float, heads: int, heard: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([Transformer(width, heads, heard, groups)] if heads else [])
        count = 1 + len(self.attentions)
        self.resnets = nn.ModuleList([Residual(width, width, groups, eps, told) for _ in range(count)])

    def forward(self, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
        x = self.resnets[0](x, time)
        for attention, residual in zip(self.attentions, self.resnets[1:], strict=True):
            x = residual(attention(x, text), time)
        return x


class Up(nn.Module):
    """One resolution on the way up: what was left on the way down joins in, and the size doubles."""

    def __init__(
        self, widths: Sequence[int], out: int, told: int, groups: int, eps: float, heads: int, heard: int, last: bool
    ) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([Transformer(out, heads, heard, groups) for _ in widths] if heads else [])
        self.resnets = nn.ModuleList([Residual(width, out, groups, eps, told) for width in widths])
        self.upsamplers = nn.ModuleList([] if last else [Upsample(out)])

    def forward(self, x: Tensor, left: list[Tensor], time: Tensor, text: Tensor, size: torch.Size | None) -> Tensor:
        """`left` loses what is used of it."""
        for number, residual in enumerate(self.resnets):
            x = residual(torch.cat([x, left.pop()], dim=1), time)
            if self.attentions:
                x = self.attentions[number](x, text)
        for grow in self.upsamplers:
            x = grow(x, size)
        return x


def _heads(kind: str, count: int) -> int:
    """Of attention in a block of this kind; 0 where it has none."""
    return count if kind.startswith(("CrossAttn", "UNetMidBlock2DCrossAttn")) else 0


class PlainUNet(Network):
    """diffusers' `UNet2DConditionModel`; the signature is that part of its own which ddrep calls."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        told = self.config
        widths, heads, heard = told.block_out_channels, told.attention_head_dim, told.cross_attention_dim
        groups, eps, time = told.norm_num_groups, told.norm_eps, 4 * widths[0]
        self.conv_in = nn.Conv2d(told.in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0], time)
        befores = [widths[0], *widths[:-1]]
        self.down_blocks = nn.ModuleList(
            Down(before, width, time, groups, eps, _heads(kind, count), heard, width == widths[-1])
            for before, width, kind, count in zip(befores, widths, told.down_block_types, heads, strict=True)
        )
        backwards = list(zip(widths[::-1], befores[::-1], told.up_block_types, heads[::-1], strict=True))
        above = widths[-1]
        self.up_blocks = nn.ModuleList()
        for width, below, kind, count in backwards:
            joined = [above + width, width + below]
            last = len(self.up_blocks) == len(widths) - 1
            self.up_blocks.append(Up(joined, width, time, groups, eps, _heads(kind, count), heard, last))
            above = width
        middle = _heads(told.mid_block_type, heads[-1])  # diffusers' modules stand in this order, too
        self.mid_block = Middle(widths[-1], time, groups, eps, middle, heard)
        self.conv_norm_out = nn.GroupNorm(groups, widths[0], eps=eps)
        self.conv_out = nn.Conv2d(widths[0], told.out_channels, 3, padding=1)

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        encoder_hidden_states: Tensor,
        timestep_cond: None = None,
        added_cond_kwargs: None = None,
        down_block_additional_residuals: Sequence[Tensor] | None = None,
        mid_block_additional_residual: Tensor | None = None,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        text = encoder_hidden_states
        factor = 2 ** (len(self.up_blocks) - 1)
        uneven = any(side % factor for side in x.shape[-2:])
        time = self.time_embedding(waves(timesteps.expand(len(x)), self.conv_in.out_channels).to(x.dtype))
        x = self.conv_in(x)
        left = [x]
        for down in self.down_blocks:
            left += down(x, time, text)
            x = left[-1]
        if down_block_additional_residuals is not None:
            left = [one + more for one, more in zip(left, down_block_additional_residuals, strict=True)]
        x = self.mid_block(x, time, text)
        if mid_block_additional_residual is not None:
            x = x + mid_block_additional_residual
        ups: Any = self.up_blocks
        for up in ups:
            later = left[: -len(up.resnets)]
            x = up(x, left, time, text, later[-1].shape[2:] if uneven and later else None)
        return (self.conv_out(functional.silu(self.conv_norm_out(x))),)


class Hint(nn.Module):
    """The picture of a signal, brought down to the size of the latents."""

    def __init__(self, channels: int, widths: Sequence[int], out: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for width, after in pairwise(widths):
            self.blocks.append(nn.Conv2d(width, width, 3, padding=1))
            self.blocks.append(nn.Conv2d(width, after, 3, padding=1, stride=2))
        self.conv_out = nn.Conv2d(widths[-1], out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.conv_in, *self.blocks):
            x = functional.silu(layer(x))
        return self.conv_out(x)


class PlainControlNet(Network):
    """diffusers' `ControlNetModel`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        told = self.config
        widths, heads, heard = told.block_out_channels, told.attention_head_dim, told.cross_attention_dim
        groups, eps, time = told.norm_num_groups, told.norm_eps, 4 * widths[0]
        self.conv_in = nn.Conv2d(told.in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0], time)
        sizes = told.conditioning_embedding_out_channels
        self.controlnet_cond_embedding = Hint(told.conditioning_channels, sizes, widths[0])
        befores = [widths[0], *widths[:-1]]
        self.down_blocks = nn.ModuleList(
            Down(before, width, time, groups, eps, _heads(kind, count), heard, width == widths[-1])
            for before, width, kind, count in zip(befores, widths, told.down_block_types, heads, strict=True)
        )
        self.mid_block = Middle(widths[-1], time, groups, eps, _heads(told.mid_block_type, heads[-1]), heard)
        made = [widths[0], *(width for width in widths for _ in range(2))][:-1]
        self.controlnet_down_blocks = nn.ModuleList(nn.Conv2d(width, width, 1) for width in made)
        self.controlnet_mid_block = nn.Conv2d(widths[-1], widths[-1], 1)

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        encoder_hidden_states: Tensor,
        controlnet_cond: Tensor,
        conditioning_scale: float = 1.0,
        added_cond_kwargs: None = None,
        return_dict: bool = False,
    ) -> tuple[list[Tensor], Tensor]:
        text = encoder_hidden_states
        time = self.time_embedding(waves(timesteps.expand(len(x)), self.conv_in.out_channels).to(x.dtype))
        x = self.conv_in(x) + self.controlnet_cond_embedding(controlnet_cond)
        left = [x]
        for down in self.down_blocks:
            left += down(x, time, text)
            x = left[-1]
        x = self.mid_block(x, time, text)
        answers = [
            layer(one) * conditioning_scale for layer, one in zip(self.controlnet_down_blocks, left, strict=True)
        ]
        return answers, self.controlnet_mid_block(x) * conditioning_scale
