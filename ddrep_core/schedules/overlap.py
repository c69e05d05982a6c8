"""Which views look at the same things: how much of a view the others have painted already."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep, MatrixRendering
from ddrep_core.sparse import row_numbers
from ddrep_core.views.camera import Views

PAINTED = 0.05
"""A parameter counts as painted by views that gave it this share of the weight of a typical one."""


class Overlap:
    """How much of each view would be known, were others painted.

    For linear representations from |A|: which views look at each parameter, and how heavily. For others from the
    directions of the cameras; without cameras, neighbours in the order of the bank count as overlapping most.

    Args:
        rep: the representation.
        weights: [V, 1, h, w] of its pixels.
        views: its cameras, if it has any.
    """

    def __init__(self, rep: Diffrep, weights: Tensor, views: Views | None) -> None:
        self._masses = _masses(rep, rep.image_shape[0], weights) if isinstance(rep, MatrixRendering) else None  # [V, P]
        self._closeness = _closeness(rep.view_count, views) if self._masses is None else None  # [V, V]
        if self._masses is not None:
            shared = (self._masses > 0).sum(0) > 1  # what one view alone sees (its background) says nothing
            self._masses = self._masses * shared
            positive = self._masses[self._masses > 0]
            self._threshold = PAINTED * float(positive.mean()) if len(positive) else 0.0
            self._sizes = self._masses.sum(1).clamp_min(1e-30)

    @property
    def any(self) -> bool:
        """Whether any two views share anything."""
        if self._masses is not None:
            return bool((self._masses > 0).any())
        assert self._closeness is not None
        return self._closeness.shape[0] > 1

    def painted(self, held: list[int]) -> Tensor:
        """[V] the share of what each view shares with others that the held views have painted."""
        if self._masses is not None:
            known = self._masses[held].sum(0) > self._threshold
            return (self._masses * known).sum(1) / self._sizes
        assert self._closeness is not None
        return self._closeness[:, held].amax(1)


def _masses(rep: MatrixRendering, channels: int, weights: Tensor) -> Tensor:
    """[V, P] the sum of w |A| over each view's rows."""
    matrix = rep.matrix()
    count = len(weights)
    per_view = matrix.shape[0] // count
    row_weights = rep.to_rows(weights.expand(-1, channels, -1, -1).contiguous())[:, 0].cpu().double()
    if matrix.layout == torch.strided:
        absolute = matrix.abs().cpu().double() * row_weights[:, None]
        return absolute.reshape(count, per_view, -1).sum(1)
    row = row_numbers(matrix)
    masses = torch.zeros(count, matrix.shape[1], dtype=torch.float64)
    values = matrix.values().abs().cpu().double() * row_weights[row]
    return masses.index_put_((row // per_view, matrix.col_indices().cpu()), values, accumulate=True)


def _closeness(count: int, views: Views | None) -> Tensor:
    """[V, V] cosine between viewing directions, or how near in the bank."""
    if views is None:
        position = torch.arange(count, dtype=torch.float64)
        return 1 - (position[:, None] - position).abs() / count
    axes = np.stack([camera.matrix_world[:3, 2] / np.linalg.norm(camera.matrix_world[:3, 2]) for camera in views])
    return torch.from_numpy(axes @ axes.T)
