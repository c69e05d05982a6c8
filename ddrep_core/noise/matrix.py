"""Noise that lives on what is drawn: the same in all views where they see the same place."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.sparse import SparseMatrix


class MatrixNoise:
    """A noise field of what is drawn: ξ white on the matrix's columns, seen with unit variance, N ξ / ‖row of N‖.

    Views that overlap share it. Within one view, neighbouring pixels that look at the same column share it too, and a
    prior takes such smoothness for a picture's: where it must see white noise, give a matrix whose rows do not overlap
    within a view (`noise_rows` makes one), or mix in the views' own (`ddrep_core.sampling.MixedNoise`). Rows that look
    at nothing get noise of their own.

    Args:
        matrix: [R, Q] dense or sparse CSR, with rows as in `LinearRendering.matrix`: view after view, then pixels (one
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
        matrix = matrix.to("cpu", dtype)
        squares = matrix * matrix
        norms = (
            squares.sum(1) if squares.layout == torch.strided else squares @ torch.ones(matrix.shape[1], dtype=dtype)
        )
        self.has_empty = bool((norms <= 0).any())
        self.matrix = matrix.to(self.device)
        self.empty = (norms <= 0)[:, None].to(self.device)
        self.scale = torch.where(norms > 0, norms.clamp_min(1e-30).rsqrt(), 0.0)[:, None].to(self.device)

    def draw(self, generator: torch.Generator) -> Tensor:
        """[V, C, h, w], each element N(0, 1)."""
        views, channels, height, width = self.shape
        columns = channels if self.shared else 1
        rows = self.scale * (self.matrix @ self._white((self.matrix.shape[1], columns), generator))
        if self.has_empty:
            rows = torch.where(self.empty, self._white(tuple(rows.shape), generator), rows)
        if self.shared:
            rows = rows.reshape(views, height, width, channels).permute(0, 3, 1, 2)
        return rows.reshape(self.shape)

    def _white(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Drawn where the generator is, the CPU, so that a seed means the same noise everywhere; used on the device."""
        return torch.randn(shape, generator=generator, dtype=self.dtype).to(self.device, non_blocking=True)


def noise_rows(
    view: NDArray[np.int64], pixel: NDArray[np.int64], cell: NDArray[np.int64], own: NDArray[np.float64]
) -> SparseMatrix:
    """N [R, Q] from which cells are seen at which pixels.

    A cell that a view sees at several pixels belongs to the one that shows most of it, so that rows of a view share
    none. What of a pixel shows no cell has noise of its own.

    Args:
        view, pixel, cell: [N] each sighting: the number of the view, the row of N, and a number for the cell.
        own: [R] 0..1 how much of each pixel shows no cell.
    """
    sightings, times = np.unique(np.stack([view, cell, pixel]), axis=1, return_counts=True)
    order = np.lexsort((sightings[2], -times, sightings[1], sightings[0]))  # by view, cell, then most often seen
    sorted_ = sightings[:, order]
    first = np.ones(len(order), bool)
    first[1:] = (sorted_[:2, 1:] != sorted_[:2, :-1]).any(0)
    _, cells, rows = sorted_[:, first]
    names, columns = np.unique(cells, return_inverse=True)
    counts = np.bincount(rows, minlength=len(own))
    alone = np.where(counts > 0, own, 1.0)  # a pixel whose every cell went to its neighbours
    partly = np.flatnonzero(alone > 1e-9)
    values = np.concatenate([np.sqrt((1.0 - alone[rows]) / counts[rows]), np.sqrt(alone[partly])])
    places = (np.concatenate([rows, partly]), np.concatenate([columns, len(names) + np.arange(len(partly))]))
    return sparse.coo_array((values, places), shape=(len(own), len(names) + len(partly))).tocsr()
