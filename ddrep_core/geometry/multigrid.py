"""A fast solver for membranes over texels: conjugate gradients, with blocks of texels as coarser and coarser grids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from ddrep_core.geometry.mesh import Float, Int

COARSEST = 3000  # unknowns that are solved directly


class Multigrid:
    """One V-cycle of an aggregation multigrid, as a preconditioner.

    Args:
        matrix: [N, N] symmetric positive definite.
        aggregates: level (1 upward) -> [N] which block each unknown of the finest grid falls in; blocks nest.
        most_levels: how often blocks double.
    """

    def __init__(self, matrix: sparse.csr_array, aggregates: Callable[[int], Int], most_levels: int = 12) -> None:
        self._matrices: list[Any] = [matrix]
        self._prolongations: list[Any] = []
        finest = np.arange(len(matrix.indptr) - 1)
        for level in range(1, most_levels + 1):
            current = self._matrices[-1]
            if current.shape[0] <= COARSEST:
                break
            label = aggregates(level)
            coarse_of = np.zeros(current.shape[0], np.int64)
            coarse_of[finest] = label
            finest = label
            count = int(label.max()) + 1
            if count == current.shape[0]:
                continue
            ones = np.ones(len(coarse_of), current.dtype)
            fine = np.arange(len(coarse_of))
            prolongation = sparse.csr_array((ones, (fine, coarse_of)), shape=(len(coarse_of), count))
            self._prolongations.append(prolongation)
            self._matrices.append((prolongation.T @ current @ prolongation).tocsr())
        self._scales = [0.7 / matrix.diagonal()[:, None] for matrix in self._matrices]
        self._direct = splu(self._matrices[-1].tocsc().astype(np.float64))

    def __call__(self, residual: Float) -> Float:
        """[N, K] an approximate solution for the right-hand side [N, K]."""
        return self._cycle(0, residual)

    def _cycle(self, level: int, rhs: NDArray) -> NDArray:
        matrix = self._matrices[level]
        if level == len(self._matrices) - 1:
            return self._direct.solve(rhs.astype(np.float64)).astype(rhs.dtype)
        scale, prolongation = self._scales[level], self._prolongations[level]
        x = scale * rhs
        x += scale * (rhs - matrix @ x)
        # Piecewise constant blocks are too stiff a membrane: their correction is overweighted.
        x += 1.6 * (prolongation @ self._cycle(level + 1, prolongation.T @ (rhs - matrix @ x)))
        x += scale * (rhs - matrix @ x)
        return x + scale * (rhs - matrix @ x)


def conjugate_gradient(
    apply: Callable[[NDArray], NDArray],
    rhs: NDArray,
    start: NDArray,
    precondition: Callable[[NDArray], NDArray],
    tolerance: float = 1e-3,
    most_iterations: int = 100,
) -> NDArray:
    """Solve apply(x) = rhs for K right-hand sides at once.

    Args:
        apply: a symmetric positive definite map of [N, K].
        rhs, start: [N, K].
        tolerance: of the error's energy norm, as the preconditioner judges it, against that of the first error.
    """
    x = start.copy()
    residual = rhs - apply(x)
    z = precondition(residual)
    product = (residual * z).sum(axis=0)
    goal = tolerance**2 * product
    direction = z
    for _ in range(most_iterations):
        if (product <= goal).all():
            break
        image = apply(direction)
        curvature = (direction * image).sum(axis=0)
        step = product / np.where(curvature == 0, 1, curvature)
        x += step * direction
        residual -= step * image
        z = precondition(residual)
        old, product = product, (residual * z).sum(axis=0)
        direction = z + direction * (product / np.where(old == 0, 1, old))
    return x
