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


class MatrixNoise:
    """Noise that belongs to what is painted: white on the parameters, rendered with unit variance, A ξ / ‖row of A‖.

    Views that overlap share it. Within one view, neighbouring pixels that look at the same parameter share it too:
    where a prior must see white noise, give a matrix whose rows overlap little within a view (finer than A; a
    panorama's `CanvasNoise` is one), or mix in the views' own (`MixedNoise`). Rows that look at nothing get noise of
    their own.

    Args:
        matrix: [R, P] dense or sparse CSR, with rows as in `LinearRendering.matrix`: view after view, then pixels (one
            matrix for all channels), or view after view, then channels and pixels.
        shape: (V, C, h, w) of the bank.

    Raises:
        RequestError: the matrix does not fit the shape.
    """

    def __init__(
        self,
        matrix: Tensor,
        shape: tuple[int, int, int, int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        views, channels, height, width = shape
        rows = matrix.shape[0]
        if rows not in (views * height * width, views * channels * height * width):
            raise RequestError(f"A matrix of {rows} rows draws no noise for views of shape {shape}.")
        self.shape, self.dtype, self.device = shape, dtype, torch.device(device)
        self.shared = rows == views * height * width
        self.matrix = matrix.to("cpu", dtype)
        squares = self.matrix * self.matrix
        norms = (
            squares.sum(1) if squares.layout == torch.strided else squares @ torch.ones(matrix.shape[1], dtype=dtype)
        )
        self.empty = (norms <= 0)[:, None]
        self.scale = torch.where(norms > 0, norms.clamp_min(1e-30).rsqrt(), 0.0)[:, None]

    def draw(self, generator: torch.Generator) -> Tensor:
        """[V, C, h, w], each element N(0, 1)."""
        views, channels, height, width = self.shape
        columns = channels if self.shared else 1
        white = torch.randn(self.matrix.shape[1], columns, generator=generator, dtype=self.dtype)
        rows = self.scale * (self.matrix @ white)
        rows = torch.where(self.empty, torch.randn(rows.shape, generator=generator, dtype=self.dtype), rows)
        if self.shared:
            rows = rows.reshape(views, height, width, channels).permute(0, 3, 1, 2)
        return rows.reshape(self.shape).to(self.device)


class MixedNoise:
    """√s of a shared field and √(1 − s) of another: unit variance again, a share s of it common to the views."""

    def __init__(self, shared: NoiseField, own: NoiseField, share: float) -> None:
        if not 0 <= share <= 1:
            raise RequestError(f"The shared part of the noise must lie between 0 and 1, not {share}.")
        self.shared, self.own, self.share = shared, own, share

    def draw(self, generator: torch.Generator) -> Tensor:
        shared, own = self.shared.draw(generator), self.own.draw(generator)
        return math.sqrt(self.share) * shared + math.sqrt(1 - self.share) * own
