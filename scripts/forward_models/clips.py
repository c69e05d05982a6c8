"""Clips of objects that move, of which the first picture does not tell where to: made of `prepare.py`'s pictures.

An object before a ground that stays: it slides (mostly sideways), turns, or swings about its upper end. What became of
each of its pixels is known, and shown to nobody but to who measures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

PHASES = (0.0, 0.5, 1.0)
KINDS = ("slides", "turns", "swings")
SHARES = (0.6, 0.2, 0.2)
HEADINGS = (0.0, math.pi, math.pi / 2, -math.pi / 2)  # radians, from the right downwards
HEADING_SHARES, HEADING_SPREAD = (0.35, 0.35, 0.15, 0.15), 0.15
DISTANCE = (2.0, 4.0)  # pixels of a picture of 32: less than √2 radii, so that no one guess is better than to stay
TURN, SWING = (0.45, 0.9), (0.3, 0.6)  # radians
WIDE = (0.62, 0.85)  # of the frame, what the sprite's frame takes
FINE = 2  # samples along a pixel's side
SIDE = 32


@dataclass(frozen=True)
class Clips:
    """What happens, and what is seen of it.

    Attributes:
        pictures: [B, V, 3, h, w] sRGB.
        motion: [B, 2, h, w] how far each of the object's pixels goes by the end, right and down; 0 where it is not.
        object: [B, 1, h, w] whether a pixel is the object's.
        kind: [B] of `KINDS`.
    """

    pictures: Tensor
    motion: Tensor
    object: Tensor
    kind: Tensor


def make_clips(sprites: Tensor, generator: torch.Generator) -> Clips:
    """One clip of each sprite [B, 4, 32, 32]: sRGB on black, and coverage, in [0, 1]."""
    count, size = len(sprites), SIDE

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    def pick(shares: tuple[float, ...]) -> Tensor:
        return torch.multinomial(torch.tensor(shares), count, replacement=True, generator=generator)

    kind, wide = pick(SHARES), uniform(*WIDE)
    sign = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    heading = torch.tensor(HEADINGS)[pick(HEADING_SHARES)] + HEADING_SPREAD * torch.randn(count, generator=generator)
    distance = uniform(*DISTANCE)
    slide = distance[:, None] * torch.stack([heading.cos(), heading.sin()], 1) * (kind == 0)[:, None]
    angle = sign * torch.where(kind == 1, uniform(*TURN), uniform(*SWING)) * (kind > 0)
    room = (1 - 0.8 * wide) * size / 4
    centre = size / 2 + torch.stack([room * uniform(-1, 1), room * uniform(-1, 1)], 1) - slide / 2
    pivot = centre - torch.stack([torch.zeros(count), 0.42 * size * wide * (kind == 2)], 1)
    ground = grounds(count, size, generator)
    places = (torch.arange(FINE * size) + 0.5) / FINE
    fine = torch.stack(torch.meshgrid(places, places, indexing="xy"), -1)  # [H, W, 2] (x, y)
    pictures = []
    for phase in PHASES:
        back = _turned(fine - (pivot + phase * slide)[:, None, None], -phase * angle)
        unit = (back + (pivot - centre)[:, None, None]) / (wide * size / 2)[:, None, None, None]
        found = functional.grid_sample(sprites, unit, align_corners=False)
        found = functional.avg_pool2d(found, FINE)
        pictures.append(found[:, :3] + (1 - found[:, 3:]) * ground)
        if phase == 0:
            object_ = (found[:, 3:] > 0.5).float()
    pixels = functional.avg_pool2d(fine.permute(2, 0, 1)[None], FINE)[0].permute(1, 2, 0)
    from_pivot = pixels - pivot[:, None, None]
    motion = _turned(from_pivot, angle) - from_pivot + slide[:, None, None]
    return Clips(torch.stack(pictures, 1), motion.permute(0, 3, 1, 2) * object_, object_, kind)


def grounds(count: int, size: int, generator: torch.Generator) -> Tensor:
    """[B, 3, h, w] sRGB: of one colour, a slope, or soft clouds."""
    colour, slope = torch.rand(count, 3, 1, 1, generator=generator), torch.randn(count, 3, 2, generator=generator)
    line = torch.linspace(-1, 1, size)
    ramp = slope[:, :, :1, None] * line + slope[:, :, 1:, None] * line[:, None]
    clouds = torch.randn(count, 3, 5, 5, generator=generator)
    clouds = functional.interpolate(clouds, (size, size), mode="bicubic", align_corners=True)
    how = torch.rand(2, count, 1, 1, 1, generator=generator)
    busy = (torch.rand(2, count, 1, 1, 1, generator=generator) < 0.5).float()
    return (colour + 0.15 * how[0] * busy[0] * ramp + 0.15 * how[1] * busy[1] * clouds).clamp(0, 1)


def _turned(points: Tensor, angle: Tensor) -> Tensor:
    """[B, h, w, 2] turned about the origin by [B] radians, from the right downwards."""
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    x, y = points.unbind(-1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], -1)
