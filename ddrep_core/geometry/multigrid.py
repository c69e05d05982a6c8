"""A fast solver for membranes over texels: conjugate gradients, with blocks of texels as coarser and coarser grids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from ddrep_core.geometry.mesh import Float, Int
from ddrep_core.progress import Progress, unheard

COARSEST = 3000  # unknowns that are solved directly


class Multigrid:
    """One V-cycle of an aggregation multigrid, as a preconditioner.

    Args:
        matrix: [N, N] symmetric positive definite.
        aggregates: level (1 upward) and unknowns [M] of the finest grid -> [M] which block each of these falls in,
            numbered from 0; blocks nest.
        most_levels: how often blocks double.
    """

    def __init__(self, matrix: sparse.csr_array, aggregates: Callable[[int, Int], Int], most_levels: int = 12) -> None:
        self._matrices: list[Any] = [matrix]
        self._prolongations: list[Any] = []
        members = np.arange(len(matrix.indptr) - 1)  # of each unknown of this level, one of the finest
        for level in range(1, most_levels + 1):
            current = self._matrices[-1]
            if current.shape[0] <= COARSEST:
                break
            coarse_of = aggregates(level, members)
            count = int(coarse_of.max()) + 1
            if count == current.shape[0]:
                continue  # all of them, in the same order: blocks that nest keep it
            found = np.empty(count, np.int64)
            found[coarse_of] = members
            members = found
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

        def residual() -> NDArray:
            image = matrix @ x
            return np.subtract(rhs, image, out=image)

        def smooth() -> None:
            change = residual()
            change *= scale
            np.add(x, change, out=x)

        smooth()
        # Piecewise constant blocks are too stiff a membrane: their correction is overweighted.
        change = prolongation @ self._cycle(level + 1, prolongation.T @ residual())
        change *= 1.6
        x += change
        del change
        smooth()
        smooth()
        return x


def conjugate_gradient(
    apply: Callable[[NDArray], NDArray],
    rhs: NDArray,
    start: NDArray,
    precondition: Callable[[NDArray], NDArray],
    tolerance: float = 1e-3,
    most_iterations: int = 100,
    *,
    against: NDArray | None = None,
    progress: Progress = unheard,
) -> NDArray:
    """Solve apply(x) = rhs for K right-hand sides at once, in as little memory as that needs.

    Args:
        apply: a symmetric positive definite map of [N, K].
        rhs, start: [N, K].
        precondition: gives a new array, which is written to.
        tolerance: of the error's energy norm, as the preconditioner judges it, against that of the first error.
        against: [K] the square of another error's, in place of the first one's.
    """
    x = start.copy()
    residual = apply(x)
    np.subtract(rhs, residual, out=residual)
    direction = precondition(residual)
    product = (residual * direction).sum(axis=0)
    goal = tolerance**2 * (product if against is None else against)
    first = np.maximum(product if against is None else against, np.finfo(product.dtype).tiny)
    for _ in range(most_iterations):
        if (product <= goal).all():
            break
        digits = np.log(np.clip(product / first, tolerance**2, 1.0)) / np.log(tolerance**2)
        progress(float(np.min(digits)))  # the error falls by about the same factor each time
        image = apply(direction)
        curvature = (direction * image).sum(axis=0)
        step = product / np.where(curvature == 0, 1, curvature)
        image *= step
        residual -= image
        np.multiply(direction, step, out=image)
        x += image
        del image
        z = precondition(residual)
        old, product = product, (residual * z).sum(axis=0)
        direction *= product / np.where(old == 0, 1, old)
        direction += z
        del z
    return x
