"""Pictures whose pixels move: forward splatting with softmax weights.

Niklaus and Liu, "Softmax Splatting for Video Frame Interpolation" (CVPR 2020). Every pixel is laid down where its
motion takes it, on the four pixels around that place by bilinear shares; where several come to lie, they are averaged
with weights exp(importance), so that what is in front wins. Where less than a whole pixel comes to lie, the rest is
what was behind.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

AROUND = ((0, 0), (0, 1), (1, 0), (1, 1))  # row, column of the pixels around a place
EMPTY = 1e-6  # of a share: below it nothing lies there
TORN = 2.5  # of areas: what is stretched further has come apart


def splat(pictures: Tensor, motion: Tensor, importance: Tensor, behind: Tensor, areas: Tensor | None = None) -> Tensor:
    """[B, C, h, w] moved pictures; differentiable in everything.

    Args:
        pictures: [B, C, h, w].
        motion: [B, 2, h, w] pixels to the right and down. What leaves the frame is gone.
        importance: [B, 1, h, w] logarithms; only differences within a picture count.
        behind: [B, C, h, w] what is seen where nothing comes to lie.
        areas: [B, 1, h, w] how much each pixel covers where it comes to lie, `stretched`; one each when not given.
    """
    batch, channels, height, width = pictures.shape
    rows = torch.arange(height, device=motion.device, dtype=motion.dtype)[:, None] + motion[:, 1]
    columns = torch.arange(width, device=motion.device, dtype=motion.dtype) + motion[:, 0]
    top, left = rows.detach().floor(), columns.detach().floor()
    down, right = rows - top, columns - left
    strength = (importance - importance.detach().flatten(1).amax(1).view(-1, 1, 1, 1)).exp()
    covering = torch.ones_like(importance) if areas is None else areas
    carried = torch.cat([pictures * strength, strength, covering], 1).flatten(2)  # [B, C + 2, h w]
    total = carried.new_zeros(batch, channels + 2, height * width)
    for dy, dx in AROUND:
        row, column = top + dy, left + dx
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        # A motion that is no number, or is beyond all integers, must not become an index.
        share = torch.where(inside, (down if dy else 1 - down) * (right if dx else 1 - right), 0.0)
        place = torch.where(inside, row * width + column, 0.0).long().flatten(1)
        place = place[:, None].expand(-1, channels + 2, -1)
        total = total.scatter_add(2, place, carried * share.flatten(1)[:, None])
    colours, weight, share = total.unflatten(2, (height, width)).split([channels, 1, 1], 1)
    if areas is not None:
        share = torch.maximum(share, _filled(share))
    covered = share.clamp_max(1.0) * (weight > 0)
    there = share > EMPTY
    mean = torch.where(there, colours / torch.where(there, weight, 1.0), 0.0)
    return torch.lerp(behind, mean, torch.where(there, covered, 0.0))


def stretched(motion: Tensor) -> Tensor:
    """[B, 1, h, w] the area of each pixel once it is moved, at least one, where a surface is stretched and not torn.

    A surface that is stretched thins out where each of its pixels covers one alone, and shows what is behind it.

    Args:
        motion: [B, 2, h, w] pixels to the right and down.
    """
    x, y = motion[:, :1], motion[:, 1:]
    (across_x, down_x), (across_y, down_y) = ((_slope(each, 3), _slope(each, 2)) for each in (x, y))
    area = ((1 + across_x) * (1 + down_y) - down_x * across_y).abs()
    return torch.where(area < TORN, area.clamp_min(1.0), 1.0)


def _filled(share: Tensor) -> Tensor:
    """[B, 1, h, w] 1 within a surface, where pixels that were moved apart lie unevenly; 0 at its edge and beyond."""
    around = functional.avg_pool2d(share, 3, 1, 1, count_include_pad=False)
    return torch.where(share > EMPTY, ((around - 0.5) / 0.4).clamp(0, 1), 0.0)


def _slope(values: Tensor, axis: int) -> Tensor:
    """Central differences, one-sided at the frame."""
    return torch.gradient(values, dim=axis)[0]
