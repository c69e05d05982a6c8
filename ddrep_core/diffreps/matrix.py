"""Representations that are a matrix, f(θ) = Aθ + offset: textures, canvases, the yardstick and the test beds."""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.sparse import columns_of, sparse_product, transpose

EXACT = 1e-9
"""The damping that is as good as none."""


class MatrixDiffrep:
    """f(θ) = Aθ + offset.

    Args:
        matrix: A [R, P], dense or sparse CSR; rows run over views, then pixels where `columns` is C (all channels look
            through the same weights), and over views, channels and pixels where it is 1.
        image_shape: (C, h, w) of one view.
        columns: K of θ [P, K].
        offset: [V, C, h, w], added to every render.
        pixel_weights: [V, 1, h, w] of the pull-back; all ones when not given.
        transposed: Aᵀ, where it is known already; made when a gradient first asks for it, otherwise.

    Raises:
        RequestError: rows that are not a whole number of views, or an offset of another size.
    """

    damping = EXACT
    """μ of `LinearSolver`: exact, and what views leave open moves as little as possible."""
    tolerance: float | None = None
    """Of `LinearSolver`, where it iterates; chosen by precision when None."""
    crowded = False
    """Whether most of θ's rows are seen by many pixels each, as what is see-through is: neither A Aᵀ nor AᵀA is sparse
    then, and a factor of a large one would fill the memory."""

    theta: Tensor

    def __init__(
        self,
        matrix: Tensor,
        image_shape: tuple[int, int, int],
        *,
        columns: int,
        offset: Tensor | None = None,
        pixel_weights: Tensor | None = None,
        transposed: Tensor | None = None,
    ) -> None:
        channels, height, width = image_shape
        rows = channels * height * width // columns  # of one view
        if matrix.ndim != 2 or matrix.shape[0] == 0 or matrix.shape[0] % rows:
            raise RequestError(f"A matrix of shape {tuple(matrix.shape)} does not render views of shape {image_shape}.")
        self._matrix, self._transposed = matrix, transposed
        self._image_shape, self._view_count = image_shape, matrix.shape[0] // rows
        self._pixel_weights, self._offset = pixel_weights, offset
        if offset is not None and tuple(offset.shape) != (self._view_count, *image_shape):
            raise RequestError(f"An offset of shape {tuple(offset.shape)} does not fit {matrix.shape[0]} rows.")
        self.theta = torch.zeros(matrix.shape[1], columns, dtype=matrix.dtype, device=matrix.device)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self._image_shape

    @property
    def view_count(self) -> int:
        return self._view_count

    def parameters(self) -> dict[str, Tensor]:
        return {"theta": self.theta}

    def reset(self, generator: torch.Generator) -> None:
        self.theta.zero_()

    def render(self, indices: Tensor | None = None) -> Tensor:
        # All views are drawn even when a few are asked for: a product with A costs less than slicing it.
        images = self._to_images(self._product(self.theta))
        if self._offset is not None:
            images = images + self._offset
        return images if indices is None else images[indices]

    def pixel_weights(self) -> Tensor | None:
        return self._pixel_weights

    def copy(self) -> Self:
        twin = copy.copy(self)
        twin.theta = self.theta.detach().clone()
        return twin

    def matrix(self) -> Tensor:
        """A [R, P], dense or sparse CSR."""
        return self._matrix

    def to_rows(self, images: Tensor) -> Tensor:
        """[B, C, h, w] -> [B * R / V, K]."""
        if self.theta.shape[1] == 1:
            return images.reshape(-1, 1)
        return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])

    def with_offset(self, offset: Tensor) -> Self:
        """A copy with [V, C, h, w] more added to every render."""
        twin = self.copy()
        twin._offset = offset if self._offset is None else self._offset + offset
        return twin

    def freed(self, columns: Tensor) -> MatrixDiffrep:
        """The same pictures, with only some rows of θ left to move; all others go into the offset.

        What is drawn by those others alone is the same to the last bit whatever becomes of the freed ones, by
        construction. `restored` brings the freed ones back.

        Args:
            columns: [P] booleans, or the numbers of A's columns that are freed.
        """
        chosen = _numbers(columns, len(self.theta))
        fixed = self.theta.detach().clone()
        fixed[chosen] = 0
        offset = self._to_images(self._product(fixed))
        part = MatrixDiffrep(
            columns_of(self._matrix, chosen),
            self._image_shape,
            columns=self.theta.shape[1],
            offset=offset if self._offset is None else offset + self._offset,
            pixel_weights=self._pixel_weights,
        )
        part.damping, part.tolerance, part.crowded = self.damping, self.tolerance, self.crowded
        part.theta.copy_(self.theta[chosen])
        return part

    def restored(self, part: MatrixDiffrep, columns: Tensor) -> Self:
        """A copy of the whole with what became of the rows of θ that were `freed`."""
        whole = self.copy()
        whole.theta[_numbers(columns, len(self.theta))] = part.theta.detach()
        return whole

    def _product(self, theta: Tensor) -> Tensor:
        if self._matrix.layout == torch.strided:
            return self._matrix @ theta
        if self._transposed is None and theta.requires_grad:
            self._transposed = transpose(self._matrix)
        return sparse_product(self._matrix, self._transposed, theta)

    def _to_images(self, rows: Tensor) -> Tensor:
        channels, height, width = self._image_shape
        if rows.shape[1] == 1:
            return rows.reshape(self._view_count, channels, height, width)
        return rows.reshape(self._view_count, height, width, channels).permute(0, 3, 1, 2)


def _numbers(columns: Tensor, count: int) -> Tensor:
    """[F] the numbers of the columns that are meant."""
    chosen = columns.nonzero().flatten() if columns.dtype == torch.bool else columns.reshape(-1)
    if columns.dtype == torch.bool and len(columns) != count:
        raise RequestError(f"A mask of {len(columns)} does not say which of {count} parameters are free.")
    if len(chosen) == 0 or int(chosen.min()) < 0 or int(chosen.max()) >= count or len(chosen.unique()) < len(chosen):
        raise RequestError(f"At least one of the {count} parameters must be freed, and each once.")
    return chosen
