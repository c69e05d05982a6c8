"""A representation that is a matrix: the yardstick for exactness."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from ddrep_core.errors import RequestError


class LinearDiffrep:
    """f(θ) = Aθ + offset, with one dense or sparse matrix for all views.

    Args:
        A: [V * C * h * w, P]; rows run over views, then channels, then pixels.
        offset: [V, C, h, w], [C, h, w] or [V * C * h * w], added to every render; none by default.
        image_shape: (C, h, w) of one view; (V, C, h, w) is accepted too.

    Raises:
        RequestError: A's rows are not a whole number of views of `image_shape`.
    """

    def __init__(self, A: Tensor, offset: Tensor | None = None, *, image_shape: tuple[int, ...]) -> None:
        shape = tuple(int(n) for n in image_shape)
        if len(shape) not in (3, 4):
            raise RequestError(f"image_shape must be (channels, height, width), not {shape}.")
        self._image_shape = (shape[-3], shape[-2], shape[-1])
        pixels = shape[-3] * shape[-2] * shape[-1]
        if (
            A.ndim != 2
            or A.shape[0] == 0
            or A.shape[0] % pixels
            or (len(shape) == 4 and A.shape[0] != pixels * shape[0])
        ):
            raise RequestError(
                f"A matrix of shape {tuple(A.shape)} does not render views of shape {self._image_shape}."
            )
        self._matrix = A if A.layout == torch.strided else A.to_sparse_csr()
        self._view_count = A.shape[0] // pixels
        self._offset = None
        if offset is not None:
            offset = torch.as_tensor(offset, dtype=A.dtype, device=A.device)
            if offset.numel() == pixels:
                offset = offset.reshape(1, pixels).expand(self._view_count, pixels)
            if offset.numel() != A.shape[0]:
                raise RequestError(f"An offset of shape {tuple(offset.shape)} does not fit {A.shape[0]} rows.")
            self._offset = offset.reshape(self._view_count, *self._image_shape)
        self.theta = torch.zeros(A.shape[1], 1, dtype=A.dtype, device=A.device)

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
        images = (self._matrix @ self.theta).reshape(self._view_count, *self._image_shape)
        if self._offset is not None:
            images = images + self._offset
        return images if indices is None else images[indices]

    def pixel_weights(self) -> Tensor | None:
        return None

    def copy(self) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.theta = self.theta.clone()
        return twin

    def matrix(self) -> Tensor:
        return self._matrix

    def to_rows(self, images: Tensor) -> Tensor:
        return images.reshape(-1, 1)
