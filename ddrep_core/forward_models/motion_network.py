"""A small denoiser of motion: from a picture, and what is seen of it later under noise, to how its pixels move.

A signal is [9, h, w]: the picture (3), how far each pixel goes by the end, right and down, in pixels (2), which of two
pixels that meet lies in front (1), and what was behind (3).

Where things go is told under strong noise only by how well the picture, moved, fits all that is seen: a product of the
two, which layers of sums learn slowly. So it is worked out for a grid of motions and told to the network (a cost
volume, as in Sun et al., "PWC-Net", CVPR 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddrep_core.errors import RequestError

PICTURE, MOTION, IMPORTANCE, BEHIND = slice(0, 3), slice(3, 5), slice(5, 6), slice(6, 9)
MADE = 6  # numbers a pixel that are not the picture's own
DEVIATION = 0.25  # of what is seen
PIXELS = 4.0  # of motion, that the network calls one
IN_FRONT = 3.0  # logarithms, at most
LARGEST, COARSE = 1024, 4  # channels or pixels; of pixels a side the middle sees one
REACH, STRIDE = 6, 2  # pixels right, left, down, up by the end that are tried, and from one motion to the next
CONTRAST = 8.0  # one over what is left of a picture, about
AROUND = 9  # pixels a side, whose mean is taken off a picture before it is compared


@dataclass(frozen=True)
class MotionNetworkShape:
    """What a network is built of.

    Attributes:
        size: of pictures.
        views: V, of which view 0 is the picture.
        fine, coarse: channels at half and at a quarter of the size.
        heads: of the attention between the coarse places.
    """

    size: int = 32
    views: int = 3
    fine: int = 32
    coarse: int = 64
    heads: int = 4


class MotionNetwork(nn.Module):
    """A `SignalDenoiser`: signals [B, 9, h, w] of views [B, V, 3, h, w], colours counted from a middle grey.

    Raises:
        RequestError: sizes that do not go together.
    """

    def __init__(self, shape: MotionNetworkShape) -> None:
        super().__init__()
        numbers = (shape.size, shape.views, shape.fine, shape.coarse, shape.heads)
        whole = all(isinstance(number, int) and 1 <= number <= LARGEST for number in numbers)
        if not whole or shape.size % COARSE or shape.coarse % shape.heads or shape.views < 2 or shape.fine % 4:
            raise RequestError(f"A network of {shape} is not possible.", f"Sizes must be multiples of {COARSE}.")
        self.shape = shape
        fine, coarse, seen = shape.fine, shape.coarse, 3 * shape.views
        self.told = nn.Sequential(nn.Linear(3 * shape.views, coarse), nn.SiLU(), nn.Linear(coarse, coarse), nn.SiLU())
        self.into, self.beside = nn.Conv2d(4 * seen, fine, 3, padding=1), nn.Conv2d(seen, fine // 4, 3, padding=1)
        self.before = nn.ModuleList(Residual(fine, coarse) for _ in range(2))
        self.down = nn.Conv2d(fine, coarse, 4, 2, 1)
        ways = 2 * (shape.views - 1) * len(tried_motions())  # here, and everywhere
        self.matched = nn.Sequential(nn.Conv2d(ways, 2 * coarse, 1), nn.SiLU(), nn.Conv2d(2 * coarse, coarse, 1))
        self.place = nn.Parameter(0.02 * torch.randn(coarse, shape.size // COARSE, shape.size // COARSE))
        self.middle = nn.ModuleList(Residual(coarse, coarse) for _ in range(3))
        self.across = nn.ModuleList(Across(coarse, shape.heads) for _ in range(2))
        self.up = nn.Conv2d(coarse, 4 * fine, 1)
        self.after = nn.ModuleList(Residual(fine, coarse) for _ in range(2))
        self.finer = nn.Conv2d(fine, 2 * fine, 3, padding=1)
        self.join = nn.Conv2d(fine // 2 + fine // 4, fine // 2, 3, padding=1)
        self.head = nn.Conv2d(fine // 2, MADE, 3, padding=1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, seen: Tensor, levels: Tensor) -> Tensor:
        """As `SignalDenoiser`; the picture itself is taken from view 0 as it is."""
        there = (~levels.isinf()).to(seen)
        level = torch.where(levels.isinf(), 1.0, levels).to(seen)
        scaled = (seen * (there / (level**2 + DEVIATION**2).sqrt())[:, :, None, None, None]).flatten(1, 2)
        told = torch.cat([there, (levels == 0).to(seen), there * level.clamp_min(1e-3).log() / 4], 1)
        told = self.told(told)
        x = self.into(functional.pixel_unshuffle(scaled, 2))
        for block in self.before:
            x = block(x, told)
        y = self.down(x) + self.place + self.matched(fit_of_motions(seen, levels))
        for number, block in enumerate(self.middle):
            y = block(y, told)
            if number < len(self.across):
                y = self.across[number](y)
        x = x + functional.pixel_shuffle(self.up(functional.silu(y)), 2)
        for block in self.after:
            x = block(x, told)
        fine = functional.pixel_shuffle(self.finer(functional.silu(x)), 2)
        fine = functional.silu(self.join(torch.cat([fine, functional.silu(self.beside(scaled))], 1)))
        motion, importance, behind = self.head(fine).split([2, 1, 3], 1)
        picture = seen[:, 0]
        return torch.cat([picture, PIXELS * motion, IN_FRONT * importance.tanh(), picture + behind], 1)


def tried_motions() -> list[tuple[int, int]]:
    """(right, down) in pixels."""
    steps = range(-REACH, REACH + 1, STRIDE)
    return [(right, down) for down in steps for right in steps]


def fit_of_motions(seen: Tensor, levels: Tensor) -> Tensor:
    """[B, 2 (V − 1) K, h/4, w/4] how well each of K motions tells what is seen later, by the pixels of a place of the
    picture, and by all of them: in deviations of the noise, less the mean of all motions. 0 of what is not seen.

    Args:
        seen, levels: as `SignalDenoiser`; view v comes v/(V − 1) of the motion after view 0.
    """
    views, motions = seen.shape[1], tried_motions()
    picture = seen[:, 0]
    picture = picture - functional.avg_pool2d(picture, AROUND, 1, AROUND // 2, count_include_pad=False)
    height, width = picture.shape[2:]
    found = []
    for view in range(1, views):
        later = functional.pad(seen[:, view], (REACH,) * 4)
        phase = view / (views - 1)
        moves = [(REACH + round(phase * right), REACH + round(phase * down)) for right, down in motions]
        fits = [(picture * later[:, :, v : v + height, u : u + width]).sum(1) for u, v in moves]
        here = CONTRAST * COARSE * functional.avg_pool2d(torch.stack(fits, 1), COARSE)
        level = levels[:, view, None, None, None]
        scale = torch.where(level.isinf(), 0.0, 1 / (level**2 + DEVIATION**2).sqrt())
        here = (here - here.mean(1, keepdim=True)) * scale
        found += [here, (here.mean((2, 3), keepdim=True) * (height / COARSE)).expand_as(here)]
    return torch.cat(found, 1)


class Residual(nn.Module):
    """Two convolutions, told the levels."""

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        self.norm, self.told = nn.GroupNorm(4, channels), nn.Linear(told, 2 * channels)
        self.rise, self.fall = nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.normal_(self.fall.weight, std=0.01)
        nn.init.zeros_(self.fall.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.told(told)[:, :, None, None].chunk(2, 1)
        return x + self.fall(functional.silu(self.rise(functional.silu(self.norm(x) * (1 + scale) + shift))))


class Across(nn.Module):
    """Attention between all places."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.GroupNorm(4, channels)
        self.attend, self.join = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)
        nn.init.normal_(self.join.weight, std=0.01)
        nn.init.zeros_(self.join.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        rows = self.attend(self.norm(x)).flatten(2).mT.unflatten(2, (3, self.heads, -1))
        queries, keys, values = (each.transpose(1, 2) for each in rows.unbind(2))
        met = functional.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)
        return x + self.join(met.mT.unflatten(2, x.shape[2:]))
