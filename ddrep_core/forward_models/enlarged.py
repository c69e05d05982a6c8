"""What a network says of a small picture, for the picture in its own size."""

from __future__ import annotations

import torch
from torch import Tensor

ALIKE = 0.2  # sRGB: within which two colours are of one thing


def enlarged(values: Tensor, small: Tensor, large: Tensor) -> Tensor:
    """[C, H, W] of what was said [C, h, w] of the pixels of a small picture.

    Edges lie where the large picture has them (joint bilateral upsampling; Kopf et al. 2007): every pixel is told
    what was said of the small pixels around it whose colour is most like its own.

    Args:
        small: [3, h, w] sRGB.
        large: [3, H, W] the same picture.
    """
    (height, width), (rows, columns) = large.shape[1:], small.shape[1:]
    y = (torch.arange(height) + 0.5) * rows / height - 0.5
    x = (torch.arange(width) + 0.5) * columns / width - 0.5
    total, found = torch.zeros(1, height, width), torch.zeros(len(values), height, width)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            v, u = (y.round() + dy).long().clamp(0, rows - 1), (x.round() + dx).long().clamp(0, columns - 1)
            near = _spline(y - y.round() - dy)[:, None] * _spline(x - x.round() - dx)
            change = (large - small[:, v][:, :, u]).square().sum(0)
            weight = near * (-change / (2 * ALIKE**2)).exp().clamp_min(1e-12)
            total, found = total + weight, found + weight * values[:, v][:, :, u]
    return found / total


def _spline(gap: Tensor) -> Tensor:
    """The quadratic B-spline of [N] small pixels: a weight that is nothing where a pixel leaves those nine around.

    One that still counts there would change what is said by leaps, along which moved pixels tear apart.
    """
    gap = gap.abs()
    return torch.where(gap < 0.5, 0.75 - gap.square(), 0.5 * (1.5 - gap).clamp_min(0).square())
