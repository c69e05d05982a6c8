"""Sparse matrices in CSR, between torch and SciPy, and products that autograd goes back through at the same price."""

from __future__ import annotations

import warnings
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy import sparse
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


def identity(count: int, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """The identity as a CSR matrix."""
    return torch_csr(sparse.identity(count, format="csr"), dtype, device)


def unchecked_csr(rows: Tensor, columns: Tensor, values: Tensor, size: tuple[int, ...]) -> Tensor:
    """A CSR matrix of which we know that it is one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # both that it is in beta, and that it trusts us
        return torch.sparse_csr_tensor(rows, columns, values, size)


def scipy_csr(matrix: Tensor) -> sparse.csr_array:
    """A torch matrix, CSR or dense, as SciPy's in float64."""
    matrix = matrix.to_sparse_csr() if matrix.layout == torch.strided else matrix
    parts = (matrix.values().double(), matrix.col_indices(), matrix.crow_indices())
    return sparse.csr_array(tuple(part.cpu().numpy() for part in parts), shape=tuple(matrix.shape))


def columns_of(matrix: Tensor, columns: Tensor) -> Tensor:
    """The columns [R, F] of A with these numbers, in their order; dense or CSR as A is."""
    if matrix.layout == torch.strided:
        return matrix[:, columns]
    place = torch.full((matrix.shape[1],), -1, device=matrix.device)
    place[columns] = torch.arange(len(columns), device=matrix.device)
    column = place[matrix.col_indices()]
    kept = column >= 0
    counts = torch.zeros(matrix.shape[0], dtype=torch.int64, device=matrix.device)
    counts.index_add_(0, row_numbers(matrix).to(matrix.device)[kept], torch.ones_like(column[kept]))
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return unchecked_csr(starts, column[kept], matrix.values()[kept], (matrix.shape[0], len(columns)))


def row_numbers(matrix: Tensor) -> Tensor:
    """[N] the row of each entry of a CSR matrix, on the CPU."""
    starts = matrix.crow_indices().cpu()
    return torch.repeat_interleave(torch.arange(matrix.shape[0]), starts.diff())


def absolute(matrix: Tensor) -> Tensor:
    """|A|, dense or CSR."""
    if matrix.layout == torch.strided:
        return matrix.abs()
    return unchecked_csr(matrix.crow_indices(), matrix.col_indices(), matrix.values().abs(), tuple(matrix.shape))


def transpose(matrix: Tensor) -> Tensor:
    """Aᵀ, dense or CSR."""
    if matrix.layout == torch.strided:
        return matrix.T.contiguous()
    return matrix.t().to_sparse_csr()


def rows_of_views(matrix: Tensor, indices: Tensor, count: int) -> Tensor:
    """The rows [count, P] of A that belong to these views, in their order."""
    if count == matrix.shape[0] and torch.equal(indices.cpu(), torch.arange(len(indices))):
        return matrix
    per_view = count // len(indices)
    rows = (indices.to(matrix.device)[:, None] * per_view + torch.arange(per_view, device=matrix.device)).reshape(-1)
    if matrix.layout == torch.strided:
        return matrix[rows]
    starts, counts = matrix.crow_indices()[rows], matrix.crow_indices().diff()[rows]
    ends = counts.cumsum(0)
    entries = torch.arange(int(ends[-1]), device=matrix.device)
    entries = entries + torch.repeat_interleave(starts - (ends - counts), counts)
    return unchecked_csr(
        torch.cat([ends.new_zeros(1), ends]), matrix.col_indices()[entries], matrix.values()[entries],
        (count, matrix.shape[1]),
    )  # fmt: skip


def sparse_product(matrix: Tensor, transposed: Tensor | None, theta: Tensor) -> Tensor:
    """A θ [R, C] for A [R, P] and Aᵀ in CSR, θ [P, C].

    Aᵀ is for the way back, and not needed where there is none: torch would transpose A at every call, into CSC, which
    its CPU products are slow on.
    """
    product: Any = _SparseProduct.apply(matrix, transposed, theta)
    return product


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor | None, theta: Tensor) -> Tensor:
        ctx.transposed = transposed
        return matrix @ theta

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        return None, None, ctx.transposed @ gradients[0].contiguous()
