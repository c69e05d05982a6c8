"""Noise fields: ε(π), the same noise whenever the same view returns.

The views of a run are a finite bank, so a field is drawn as one tensor for all of them. A field is a way of drawing:
independent in every view, or rendered from something that the views share. Each has unit variance at every pixel of
every view, whatever the correlation between views.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from ddrep_core.errors import RequestError


class NoiseField(Protocol):
    """Draws ξ for every view of the bank."""

    def draw(self, generator: torch.Generator) -> Tensor:
        """[V, C, h, w], each element N(0, 1)."""
        ...


class ViewNoise:
    """Every view's own: white noise, independent from view to view."""

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.device = torch.device(device)

    def draw(self, generator: torch.Generator) -> Tensor:
        # Always drawn on the generator's device (the CPU), so that a seed means the same noise everywhere.
        noise = torch.randn(self.shape, generator=generator, dtype=self.dtype, device=generator.device)
        return noise.to(self.device)


class CommonNoise:
    """One picture's white noise, shown to every view.

    Noise is what decides which object is drawn. Where each view of a field has noise of its own, the decisions average
    out over the views, and every seed draws the same object (docs/results.md).
    """

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape, self.dtype, self.device = shape, dtype, torch.device(device)

    def draw(self, generator: torch.Generator) -> Tensor:
        """[V, C, h, w], each element N(0, 1), the same in all V."""
        noise = torch.randn(1, *self.shape[1:], generator=generator, dtype=self.dtype, device=generator.device)
        return noise.to(self.device).expand(self.shape).clone()


class MixedNoise:
    """√s of a shared field and √(1 − s) of another: unit variance again, a share s of it common to the views."""

    def __init__(self, shared: NoiseField, own: NoiseField, share: float) -> None:
        if not 0 <= share <= 1:
            raise RequestError(f"The shared part of the noise must lie between 0 and 1, not {share}.")
        self.shared, self.own, self.share = shared, own, share

    def draw(self, generator: torch.Generator) -> Tensor:
        shared, own = self.shared.draw(generator), self.own.draw(generator)
        return math.sqrt(self.share) * shared + math.sqrt(1 - self.share) * own
