"""Noise that lives on what is drawn: shared by views that overlap, white in each by itself."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

SparseMatrix: TypeAlias = Any
"""A scipy CSR matrix (scipy's own annotations allow it to be None)."""


class CanvasNoise:
    """ε(π) = N ξ with ξ white on the canvas; each row of N has unit length, and rows of one view share no cell.

    So every view by itself sees white noise, and where two views overlap, they see the same. (Noise that is merely
    interpolated is smooth, and a prior takes its smoothness for a picture's.)

    Args:
        matrix: N [V * h * w, Q], rows over views, then pixels.
        view_count: V.
        image_shape: (C, h, w) of one view.
    """

    def __init__(
        self,
        matrix: SparseMatrix,
        view_count: int,
        image_shape: tuple[int, int, int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.matrix, self.view_count, self.image_shape = matrix, view_count, image_shape
        self.dtype, self.device = dtype, device

    def draw(self, generator: torch.Generator) -> Tensor:
        """[V, C, h, w], each element N(0, 1)."""
        channels, height, width = self.image_shape
        cells = torch.randn(self.matrix.shape[1], channels, generator=generator, dtype=self.dtype)
        rows = torch.from_numpy(np.asarray(self.matrix @ cells.numpy()))
        return rows.reshape(self.view_count, height, width, channels).permute(0, 3, 1, 2).to(self.device, self.dtype)


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
