"""The autoencoder of a latent diffusion model, as far as the bundled prior has one: diffusers' `AutoencoderKL`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddrep_core.priors.plain.blocks import Downsample, Residual, Upsample
from ddrep_core.priors.plain.network import Network

EPS = 1e-6


@dataclass(frozen=True)
class Mode:
    """Where the encoder's distribution is densest."""

    mean: Tensor

    def mode(self) -> Tensor:
        return self.mean


@dataclass(frozen=True)
class Encoded:
    """As diffusers gives it."""

    latent_dist: Mode


class Level(nn.Module):
    """One resolution, downwards or upwards."""

    def __init__(self, width: int, out: int, count: int, groups: int, change: nn.Module | None, name: str) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            Residual(width if number == 0 else out, out, groups, EPS) for number in range(count)
        )
        self.changes = name
        self.add_module(name, nn.ModuleList([] if change is None else [change]))

    def forward(self, x: Tensor) -> Tensor:
        for residual in self.resnets:
            x = residual(x)
        for change in self.get_submodule(self.changes).children():
            x = change(x)
        return x


class Middle(nn.Module):
    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Residual(width, width, groups, EPS) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for residual in self.resnets:
            x = residual(x)
        return x


class Coder(nn.Module):
    """The way from pictures to moments, or from latents to pictures."""

    def __init__(self, entry: int, widths: Sequence[int], exits: int, layers: int, groups: int, upwards: bool) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(entry, widths[0], 3, padding=1)
        befores, last = [widths[0], *widths[:-1]], len(widths) - 1
        changes = [None if k == last else (Upsample(w) if upwards else Downsample(w, 0)) for k, w in enumerate(widths)]
        name = "upsamplers" if upwards else "downsamplers"
        levels = nn.ModuleList(
            Level(before, width, layers, groups, change, name)
            for before, width, change in zip(befores, widths, changes, strict=True)
        )
        self.add_module("up_blocks" if upwards else "down_blocks", levels)
        self.mid_block = Middle(widths[0] if upwards else widths[-1], groups)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], exits, 3, padding=1)
        self._upwards = upwards

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        levels = self.get_submodule("up_blocks" if self._upwards else "down_blocks").children()
        for step in (self.mid_block, *levels) if self._upwards else (*levels, self.mid_block):
            x = step(x)
        return self.conv_out(functional.silu(self.conv_norm_out(x)))


class PlainAutoencoder(Network):
    """Pictures to latents and back. Where memory is short, diffusers' own cuts them into tiles, ours does each."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        told = self.config
        widths, cells, groups = told.block_out_channels, told.latent_channels, told.norm_num_groups
        self.encoder = Coder(told.in_channels, widths, 2 * cells, told.layers_per_block, groups, upwards=False)
        backwards = widths[::-1]
        self.decoder = Coder(cells, backwards, told.out_channels, told.layers_per_block + 1, groups, upwards=True)
        self.quant_conv = nn.Conv2d(2 * cells, 2 * cells, 1)
        self.post_quant_conv = nn.Conv2d(cells, cells, 1)
        self.use_tiling = False
        self.tile_latent_min_size = self.tile_sample_min_size = 0

    def encode(self, pictures: Tensor) -> Any:
        if self.use_tiling:
            return self._in_tiles().encode(pictures)
        return Encoded(Mode(torch.chunk(self.quant_conv(self.encoder(pictures)), 2, dim=1)[0]))

    def decode(self, latents: Tensor, return_dict: bool = False) -> Any:
        if self.use_tiling:
            return self._in_tiles().decode(latents, return_dict=False)
        return (self.decoder(self.post_quant_conv(latents)),)

    def _in_tiles(self) -> Any:
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        with torch.device("meta"):
            network: Any = AutoencoderKL.from_config(dict(self.config))
        for part in ("encoder", "decoder", "quant_conv", "post_quant_conv"):
            setattr(network, part, getattr(self, part))
        network.eval()
        network.use_tiling = True
        network.tile_latent_min_size = self.tile_latent_min_size
        network.tile_sample_min_size = self.tile_sample_min_size
        return network
