"""Products with a sparse matrix that autograd goes back through at the same price."""

from __future__ import annotations

import warnings
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

SparseMatrix: TypeAlias = Any
"""A scipy CSR matrix or array (scipy's own annotations allow it to be None)."""


def torch_csr(matrix: SparseMatrix, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """SciPy's matrix as torch's."""
    matrix = matrix.tocsr()
    matrix.sort_indices()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data).to(dtype),
            size=matrix.shape,
            device=device,
            check_invariants=True,
        )


def sparse_product(matrix: Tensor, transposed: Tensor, theta: Tensor) -> Tensor:
    """A θ [R, C] for A [R, P] and Aᵀ in CSR, θ [P, C].

    Aᵀ is for the way back: torch would transpose A at every call, into CSC, which its CPU products are slow on.
    """
    product: Any = _SparseProduct.apply(matrix, transposed, theta)
    return product


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, theta: Tensor) -> Tensor:
        ctx.transposed = transposed
        return matrix @ theta

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        return None, None, ctx.transposed @ gradients[0].contiguous()
