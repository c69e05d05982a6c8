"""Noise that is like pictures: what a representation of one object cannot hold in all its views at once."""

from __future__ import annotations

import torch
from torch import Tensor

PROBE_SEED = 20241


def unrelated_pictures(shape: tuple[int, ...]) -> Tensor:
    """[B, C, h, w] noise with as much variance in every octave, as pictures have, down to the picture's own mean."""
    generator = torch.Generator().manual_seed(PROBE_SEED)
    count, channels, height, width = shape
    total, octaves, cells = torch.zeros(shape), 0, 1
    while cells < 2 * max(height, width):
        size = (min(cells, height), min(cells, width))
        coarse = torch.randn(count, channels, *size, generator=generator)
        total += torch.nn.functional.interpolate(coarse, size=(height, width), mode="nearest")
        octaves, cells = octaves + 1, 2 * cells
    return total / octaves**0.5
