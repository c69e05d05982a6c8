"""Between pictures and latents: the autoencoder of a latent diffusion model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ddrep_core.errors import RequestError, RunError
from ddrep_core.priors.batches import BatchLimit, default_limit, free_bytes
from ddrep_core.priors.finite import FiniteWatch
from ddrep_core.priors.model_config import checked_number

TILE = 64
"""Cells along a side of a tile, where a picture does not fit into memory whole. Tiles overlap by a quarter."""

SHARE_OF_FREE = 0.8
"""Of the memory that is left: some is lost between what is in use."""


def picture_bytes(width: int, pixels: float) -> float:
    """About how much memory an autoencoder needs for one picture: some twelve feature maps of its first width, in
    float32, are alive at once in the decoder (measured)."""
    return 12.0 * 4 * width * pixels


class NotFiniteError(RunError):
    """Pictures that are no numbers."""


def autoencoder_dtype(config: Mapping[str, Any], dtype: torch.dtype) -> torch.dtype:
    """What the autoencoder of a prior in `dtype` runs in: float32 where float16 overflows (`force_upcast`), and instead
    of bfloat16, which bands smooth colours."""
    upcast = dtype == torch.bfloat16 or (dtype == torch.float16 and config.get("force_upcast", True))
    return torch.float32 if upcast else dtype


def check_autoencoder(config: Mapping[str, Any], name: str) -> None:
    """Raises:
    RequestError: an autoencoder that is not for pictures of three channels, or has a scale that cannot be."""
    for key in ("in_channels", "out_channels"):
        if config.get(key, 3) != 3:
            raise RequestError(
                f"The autoencoder of the model '{name}' is made for {config[key]} channels, not for pictures of 3.",
                "Choose a text-to-image model.",
            )
    checked_number(config, "scaling_factor", None, "vae", name, most=1000)
    checked_number(config, "shift_factor", None, "vae", name, above=-1000, most=1000)
    for key in ("latents_mean", "latents_std"):
        told = config.get(key)
        if told is None:
            continue
        if len(told) != config["latent_channels"]:
            raise RequestError(
                f"The autoencoder of '{name}' has {config['latent_channels']} channels and {len(told)} {key}.",
                "Download the model again.",
            )
        for value in told:
            checked_number({key: value}, key, None, "vae", name, above=0.0 if key == "latents_std" else -1e6)


def _not_finite() -> NotFiniteError:
    return NotFiniteError(
        "The pictures that the prior decodes are not finite numbers.",
        "Run with --precision fp32; if it happens there too, the model is broken: download it again.",
    )


class Autoencoder:
    """A diffusers `AutoencoderKL`, with its scale and shift. Gradients flow through both ways; weights are fixed.

    Args:
        network: the autoencoder, its weights in the precision it shall run in.
        device: where it runs.
        max_batch: the most pictures at once.
    """

    def __init__(self, network: Any, device: torch.device, max_batch: int | None) -> None:
        config = network.config
        self.dtype: torch.dtype = network.dtype
        self.network = network.to(device).eval().requires_grad_(False)
        self.device = device
        self.rests = False
        """Whether its weights lie in main memory between uses: `make_room` sends them there."""
        self.watch = FiniteWatch(_not_finite)
        self.channels: int = config.latent_channels
        self.factor: int = 2 ** (len(config.block_out_channels) - 1)
        """Pixels along one side of a latent cell."""
        self.max_batch = max_batch
        self.scaling_factor: float = config.scaling_factor
        self._away = False
        self._in_graph = False
        self._width: int = config.block_out_channels[0]
        # A few models state mean and spread of each latent channel; the others a common scale and shift.
        scale, shift = config.scaling_factor, config.get("shift_factor") or 0.0
        means, spreads = config.get("latents_mean"), config.get("latents_std")
        self._scale: Tensor | float = scale
        self._shift: Tensor | float = shift
        if means is not None and spreads is not None:
            self._scale = scale / torch.tensor(spreads, device=device, dtype=self.dtype).reshape(1, -1, 1, 1)
            self._shift = torch.tensor(means, device=device, dtype=self.dtype).reshape(1, -1, 1, 1)

    @property
    def weight_bytes(self) -> float:
        """Of its weights."""
        return float(sum(p.numel() * p.element_size() for p in self.network.parameters()))

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, H, W], sRGB in [0, 1], float32 (float64 for a float64 prior).

        Raises:
            NotFiniteError: they, or some before them, are not finite: half precision overflowed, or the latents were
                none. On CUDA this is found out later (`finite`).
        """
        self._come()
        latents = latents.to(self.device, self.dtype) / self._scale + self._shift
        pixels = latents.shape[-1] * latents.shape[-2] * self.factor**2
        pictures = self._limit(pixels).run(
            lambda rows: self.network.decode(latents[rows], return_dict=False)[0], len(latents)
        )
        self._in_graph = pictures.requires_grad
        if not pictures.requires_grad:
            self.watch.see(pictures)
        return (pictures.to(self._result) / 2 + 0.5).clamp(0.0, 1.0)

    def encode(self, images: Tensor) -> Tensor:
        """Latents [B, C, h, w] at the mode of the encoder's distribution, from sRGB in [0, 1]: nothing is drawn."""
        self._come()
        images = images.to(self.device, self.dtype) * 2 - 1
        latents = self._limit(images.shape[-1] * images.shape[-2]).run(
            lambda rows: self.network.encode(images[rows]).latent_dist.mode(), len(images)
        )
        self._in_graph = latents.requires_grad
        return ((latents - self._shift) * self._scale).to(self._result)

    def place(self, device: torch.device, beside: float) -> None:
        """Move to a device, to stay there, or, where that would be too much, to come only when it is used.

        Args:
            device: where it runs.
            beside: bytes that must be free beside it, for what the denoising network works on.
        """
        self.rests = free_bytes(device) < self.weight_bytes + beside
        self.to(device)

    def make_room(self) -> None:
        """The denoising network is about to run: one that rests goes back to main memory, unless a gradient is still to
        flow through it."""
        if self.rests and not self._away and not self._in_graph:
            self.network.to("cpu")
            self._away = True

    def _come(self) -> None:
        if self._away:
            self.network.to(self.device)
            self._away = False

    @property
    def _result(self) -> torch.dtype:
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    def _limit(self, pixels: int) -> BatchLimit:
        """How many pictures at once. A picture that is too large for the memory that is left is worked on in tiles."""
        needed = picture_bytes(self._width, pixels)
        room = SHARE_OF_FREE * free_bytes(self.device)
        tile = TILE * self.factor
        self.network.use_tiling = needed > room and pixels > tile**2
        self.network.tile_latent_min_size = TILE
        self.network.tile_sample_min_size = tile
        if self.network.use_tiling:
            return BatchLimit(1)
        limit = default_limit(self.device, needed, self.max_batch)
        if math.isfinite(room):
            fitting = max(1, int(room // needed))
            limit.rows = fitting if limit.rows is None else min(limit.rows, fitting)
        return limit

    def to(self, device: torch.device) -> None:
        """Move to another device; one that rests, when it is used."""
        self.device = device
        if self.rests:
            self.network.to("cpu")
        else:
            self.network.to(device)
        self._away = self.rests
        if isinstance(self._scale, Tensor) and isinstance(self._shift, Tensor):
            self._scale, self._shift = self._scale.to(device), self._shift.to(device)
