"""A representation that is a matrix and nothing else: the yardstick for exactness."""

from __future__ import annotations

import torch
from torch import Tensor

from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.errors import RequestError


class LinearDiffrep(MatrixDiffrep):
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
        view = (shape[-3], shape[-2], shape[-1])
        pixels = view[0] * view[1] * view[2]
        if A.ndim != 2 or (len(shape) == 4 and A.shape[0] != pixels * shape[0]):
            raise RequestError(f"A matrix of shape {tuple(A.shape)} does not render views of shape {view}.")
        super().__init__(A if A.layout == torch.strided else A.to_sparse_csr(), view, columns=1)
        if offset is not None:
            offset = torch.as_tensor(offset, dtype=A.dtype, device=A.device)
            if offset.numel() == pixels:
                offset = offset.reshape(1, pixels).expand(self.view_count, pixels)
            if offset.numel() != A.shape[0]:
                raise RequestError(f"An offset of shape {tuple(offset.shape)} does not fit {A.shape[0]} rows.")
            self._offset = offset.reshape(self.view_count, *view)
