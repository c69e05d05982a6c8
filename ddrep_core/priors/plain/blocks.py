"""What the U-Net and the autoencoder are built of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

MANY = 64
"""Pictures at once, from which on diffusers lays a feature map out anew before it makes it larger."""


class Residual(nn.Module):
    """Two convolutions beside a shortcut; told the time, where there is one."""

    def __init__(self, width: int, out: int, groups: int, eps: float, told: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, width, eps=eps)
        self.conv1 = nn.Conv2d(width, out, 3, padding=1)
        self.time_emb_proj = None if told is None else nn.Linear(told, out)
        self.norm2 = nn.GroupNorm(groups, out, eps=eps)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = None if width == out else nn.Conv2d(width, out, 1)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        found = self.conv1(functional.silu(self.norm1(x)))
        if self.time_emb_proj is not None and time is not None:
            found = found + self.time_emb_proj(functional.silu(time))[:, :, None, None]
        found = self.conv2(functional.silu(self.norm2(found)))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + found


class Downsample(nn.Module):
    """Half the size. The autoencoder's pads at the far edges alone: `padding=0`."""

    def __init__(self, width: int, padding: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=padding)
        self._padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x if self._padding else functional.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Twice the size, or the size that is told."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, size: torch.Size | None = None) -> Tensor:
        x = x.contiguous() if len(x) >= MANY else x
        if size is None:
            return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.conv(functional.interpolate(x, size=size, mode="nearest"))
