"""The exact pull-back for linear representations: weighted least squares for the smallest change of θ.

Four ways to the same answer, chosen by size:
- few parameters: a pseudo-inverse, computed once for given weights;
- few rows (small views of a large texture): the dual system, factorised once;
- a few thousand parameters that are seen: the normal equations, factorised once;
- else: conjugate gradient on the normal equations with Jacobi preconditioning, warm-started by solving for the change.
A texel that no view sees has a zero column; all four leave it where it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep, LinearRendering
from ddrep_core.errors import RunError

DENSE_PARAMETERS = 1024
DUAL_ROWS = 3072
NORMAL_PARAMETERS = 2560


class LinearSolver:
    """Solves argmin over δ of ‖√W (Aδ − r)‖², r = targets − f(θ), and adds δ to θ.

    Args:
        tolerance: relative residual of the normal equations at which conjugate gradient stops; chosen by precision
            when not given (1e-12 in float64, 1e-5 in float32).
        iterations: at most this many.
        remembered: for how many different weights (which views move, which are held) what was prepared is kept.
    """

    def __init__(self, tolerance: float | None = None, iterations: int = 500, remembered: int = 2) -> None:
        self.tolerance = tolerance
        self.iterations = iterations
        self.remembered = remembered
        self._matrix: Tensor | None = None
        self._prepared: list[tuple[Tensor, _Way]] = []  # by weights, the latest first

    def fit(self, rep: Diffrep, targets: Tensor, indices: Tensor, weights: Tensor) -> int:
        assert isinstance(rep, LinearRendering)
        matrix = rep.matrix()
        residual, row_weights = self._rows(rep, targets - rep.render(indices), indices, weights)
        way = self._way(matrix, row_weights)
        change, passes = way.solve(residual)
        if not torch.isfinite(change).all():
            raise RunError("The texture could not be solved for: the views' target holds a NaN or an infinite number.")
        rep.theta.add_(change.to(rep.theta.dtype))
        return passes

    def _way(self, matrix: Tensor, weights: Tensor) -> _Way:
        """What was prepared for these weights, or now is."""
        if self._matrix is not matrix:
            self._matrix, self._prepared = matrix, []
        for position, (known, way) in enumerate(self._prepared):
            if torch.equal(known, weights):
                self._prepared.insert(0, self._prepared.pop(position))
                return way
        way = _prepare(matrix, weights, self.tolerance, self.iterations)
        self._prepared = [(weights, way), *self._prepared[: self.remembered - 1]]
        return way

    @staticmethod
    def _rows(rep: LinearRendering, images: Tensor, indices: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The residual and the weights as rows of A; rows of views that take no part get the weight zero."""
        total = rep.matrix().shape[0]
        rows = rep.to_rows(images)
        row_weights = rep.to_rows(weights.to(images.dtype).expand_as(images))[:, :1]
        per_view = rows.shape[0] // len(indices)
        if len(indices) * per_view == total and torch.equal(indices.cpu(), torch.arange(len(indices))):
            return rows, row_weights
        where = (indices.to(rows.device)[:, None] * per_view + torch.arange(per_view, device=rows.device)).reshape(-1)
        all_rows = rows.new_zeros(total, rows.shape[1])
        all_weights = rows.new_zeros(total, 1)
        all_rows[where] = rows
        all_weights[where] = row_weights
        return all_rows, all_weights

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        if state:
            raise RunError("The checkpoint was written by another solver.", "Start the job anew.")


def _prepare(matrix: Tensor, weights: Tensor, tolerance: float | None, iterations: int) -> _Way:
    seen_rows = int((weights > 0).sum())
    if matrix.shape[1] <= DENSE_PARAMETERS and matrix.shape[0] * matrix.shape[1] <= 64_000_000:
        return _Dense(matrix, weights)
    if seen_rows <= DUAL_ROWS and seen_rows < matrix.shape[1]:
        return _Dual(matrix, weights)
    if matrix.layout != torch.strided:
        diagonal = _column_sums_of_squares(matrix, weights)[:, 0]
        if int((diagonal > 1e-12 * diagonal.max()).sum()) <= NORMAL_PARAMETERS:
            return _Normal(matrix, weights, diagonal)
    return _ConjugateGradient(matrix, weights, tolerance, iterations)


class _Dense:
    """δ = (√W A)⁺ √W r by singular values: exact, and the smallest change where A is rank-deficient."""

    def __init__(self, matrix: Tensor, weights: Tensor) -> None:
        dense = matrix.to_dense() if matrix.layout != torch.strided else matrix
        root = weights.double().sqrt()
        scaled = dense.double() * root
        if scaled.shape[0] > scaled.shape[1]:
            orthogonal, triangle = torch.linalg.qr(scaled)
            inverse = torch.linalg.pinv(triangle, rtol=1e-11) @ orthogonal.T
        else:
            inverse = torch.linalg.pinv(scaled, rtol=1e-11)
        unseen = (scaled == 0).all(dim=0)
        self.inverse = (inverse * root.T).masked_fill(unseen[:, None], 0.0).to(matrix.dtype)

    def solve(self, residual: Tensor) -> tuple[Tensor, int]:
        return self.inverse @ residual, 1


class _Dual:
    """δ = Aᵀ√W (√W A Aᵀ √W + μI)⁻¹ √W r, factorised once: rows are few where views are small.

    μ is 1e-9 of the mean diagonal: views that repeat each other's rows make the system singular. What they disagree
    about is divided by μ on the way and cancels in Aᵀ, so all of this is done in float64.
    """

    def __init__(self, matrix: Tensor, weights: Tensor) -> None:
        self.seen = (weights[:, 0] > 0).nonzero()[:, 0]
        self.root = weights[self.seen].double().sqrt()
        self.transpose = _transpose(matrix.double())
        rows = _gather_rows(matrix, self.seen, self.root)
        gram = torch.sparse.mm(rows, rows.t()).to_dense()
        damping = 1e-9 * gram.diagonal().mean().clamp_min(1e-30)
        gram.diagonal().add_(damping)
        self.factor = torch.linalg.cholesky(gram)

    def solve(self, residual: Tensor) -> tuple[Tensor, int]:
        scaled = residual[self.seen].double() * self.root
        weighted = torch.cholesky_solve(scaled, self.factor) * self.root
        rows = torch.zeros_like(residual, dtype=torch.float64)
        rows[self.seen] = weighted
        return self.transpose @ rows, 1


class _Normal:
    """δ = (AᵀWA + μI)⁻¹ AᵀW r over the parameters that are seen, in the scale of their diagonal, in float64.

    μ is 1e-9 of that scale: what the views leave open moves as little as possible.
    """

    def __init__(self, matrix: Tensor, weights: Tensor, diagonal: Tensor) -> None:
        self.seen = (diagonal > 1e-12 * diagonal.max()).nonzero()[:, 0]
        self.scale = diagonal[self.seen].rsqrt()[:, None]
        self.rows = (weights[:, 0] > 0).nonzero()[:, 0]
        root = weights[self.rows].double().sqrt()
        chosen = _gather_rows(matrix, self.rows, root)
        gram = torch.sparse.mm(chosen.t(), chosen).to_dense()[self.seen][:, self.seen] * self.scale * self.scale.T
        gram.diagonal().add_(1e-9)
        self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        self.transpose = _transpose(matrix.double())
        self.weights = weights.double()

    def solve(self, residual: Tensor) -> tuple[Tensor, int]:
        gradient = self.transpose @ (self.weights * residual.double())
        change = torch.zeros_like(gradient)
        change[self.seen] = self.scale * (self.inverse @ (self.scale * gradient[self.seen]))
        return change, 1


class _ConjugateGradient:
    """CG on AᵀWA δ = AᵀW r, all columns of θ at once, preconditioned by the diagonal."""

    def __init__(self, matrix: Tensor, weights: Tensor, tolerance: float | None, iterations: int) -> None:
        self.matrix = matrix
        self.transpose = _transpose(matrix)
        self.weights = weights
        diagonal = _column_sums_of_squares(matrix, weights)
        threshold = 1e-12 * diagonal.max()
        self.inverse_diagonal = torch.where(diagonal > threshold, 1 / diagonal.clamp_min(1e-300), 0.0).to(matrix.dtype)
        self.tolerance = tolerance or (1e-12 if matrix.dtype == torch.float64 else 1e-5)
        self.iterations = iterations

    def solve(self, residual: Tensor) -> tuple[Tensor, int]:
        gradient = self.transpose @ (self.weights * residual)
        change = torch.zeros_like(gradient)
        preconditioned = self.inverse_diagonal * gradient
        direction = preconditioned.clone()
        energy = (gradient * preconditioned).sum(0)
        goal = self.tolerance**2 * energy
        passes = 0
        while passes < self.iterations and bool((energy > goal).any()):
            passes += 1
            image = self.transpose @ (self.weights * (self.matrix @ direction))
            curvature = (direction * image).sum(0)
            length = torch.where((energy > goal) & (curvature > 0), energy / curvature.clamp_min(1e-300), 0.0)
            change += length * direction
            gradient -= length * image
            preconditioned = self.inverse_diagonal * gradient
            next_energy = (gradient * preconditioned).sum(0)
            direction = (
                preconditioned + torch.where(energy > 0, next_energy / energy.clamp_min(1e-300), 0.0) * direction
            )
            energy = next_energy
        return change, passes


_Way = _Dense | _Dual | _Normal | _ConjugateGradient


def _transpose(matrix: Tensor) -> Tensor:
    if matrix.layout == torch.strided:
        return matrix.T.contiguous()
    return matrix.t().to_sparse_csr()


def _gather_rows(matrix: Tensor, seen: Tensor, root: Tensor) -> Tensor:
    """The rows `seen` of A, scaled by `root`, in float64."""
    if matrix.layout == torch.strided:
        return matrix[seen].double() * root
    coordinates = matrix.to_sparse_coo().coalesce()
    position = torch.full((matrix.shape[0],), -1, dtype=torch.int64, device=matrix.device)
    position[seen] = torch.arange(len(seen), device=matrix.device)
    row, column = coordinates.indices()
    kept = position[row] >= 0
    row, column, value = position[row[kept]], column[kept], coordinates.values()[kept].double()
    return torch.sparse_coo_tensor(torch.stack([row, column]), value * root[row, 0], (len(seen), matrix.shape[1]))


def _column_sums_of_squares(matrix: Tensor, weights: Tensor) -> Tensor:
    """[P, 1] the diagonal of AᵀWA, in float64."""
    if matrix.layout == torch.strided:
        return (matrix.double() ** 2 * weights.double()).sum(0)[:, None]
    coordinates = matrix.to_sparse_coo().coalesce()
    row, column = coordinates.indices()
    sums = torch.zeros(matrix.shape[1], dtype=torch.float64, device=matrix.device)
    sums.index_add_(0, column, coordinates.values().double() ** 2 * weights[row, 0].double())
    return sums[:, None]
