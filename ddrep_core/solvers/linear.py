"""The exact pull-back for linear representations: weighted least squares for the smallest change of θ.

Four ways to the same answer, chosen by size:
- few parameters: a pseudo-inverse, computed once for given weights;
- few rows (latent views of a texture as fine as the one delivered): the dual system, factorised once;
- a sparse matrix: the normal equations, factorised once;
- else: conjugate gradient on the normal equations with Jacobi preconditioning, warm-started by solving for the change.
A texel that no view sees has a zero column; all four leave it where it is.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu
from torch import Tensor

from ddrep_core.diffreps.matrix import EXACT
from ddrep_core.diffreps.protocol import Diffrep, LinearRendering
from ddrep_core.errors import RequestError, RunError, StaleState
from ddrep_core.solvers.protocol import Solver
from ddrep_core.sparse import rows_of_views, scipy_csr, transpose

DENSE_PARAMETERS = 1024
DUAL_ROWS = 40_000
FACTORED_PARAMETERS = 150_000
CROWDED_ROWS = 4096
"""Where everything touches everything, more rows than these are iterated over: the factor would be a full matrix."""
LOOK_INTERVAL = 10
"""Conjugate gradient on a GPU is asked so often whether it is done, from a little before it was done last time on:
each question waits for all work under way."""


class LinearSolver(Solver):
    """Solves argmin over δ of ‖√W (Aδ − r)‖², r = targets − f(θ), and adds δ to θ.

    Args:
        tolerance: relative residual of the normal equations at which conjugate gradient stops; chosen by precision
            when not given (1e-12 in float64, 1e-5 in float32).
        iterations: at most this many.
        remembered: for how many different weights (which views move, which are held) what was prepared is kept.
        damping: μ, the price of moving a parameter, as a share of the mean weight that views have on one. By default
            next to nothing: exact, and what the views leave open moves as little as possible. With more, a texel that
            views barely touch keeps its value instead of taking up, many times over, what they contradict about.
        crowded: whether neither A Aᵀ nor AᵀA is sparse.
    """

    def __init__(
        self,
        tolerance: float | None = None,
        iterations: int = 500,
        remembered: int = 2,
        damping: float = EXACT,
        crowded: bool = False,
    ) -> None:
        self.tolerance = tolerance
        self.damping, self.crowded = damping, crowded
        self.iterations = iterations
        self.remembered = remembered
        self._matrix: Tensor | None = None
        self._prepared: list[tuple[Tensor, Tensor, _Way]] = []  # by views and weights, the latest first

    def fit(
        self,
        rep: Diffrep,
        targets: Tensor,
        indices: Tensor,
        weights: Tensor,
        sigma: float = 0.0,
        render: Tensor | None = None,
    ) -> int:
        linear = linear_rendering(rep)
        residual = linear.to_rows(targets - (linear.render(indices) if render is None else render))
        change, passes = self._way(linear, indices, weights).solve(residual)
        if not torch.isfinite(change).all():
            raise RunError("The texture could not be solved for: the views' target holds a NaN or an infinite number.")
        linear.theta.add_(change.to(linear.theta))
        return passes

    def _way(self, rep: LinearRendering, indices: Tensor, weights: Tensor) -> _Way:
        """What was prepared for these views and weights, or now is."""
        matrix = rep.matrix()
        if self._matrix is not matrix:
            self._matrix, self._prepared = matrix, []
        for position, (views, known, way) in enumerate(self._prepared):
            same = views is indices or torch.equal(views, indices)
            if same and (known is weights or torch.equal(known, weights)):
                self._prepared.insert(0, self._prepared.pop(position))
                return way
        channels = rep.image_shape[0]
        row_weights = rep.to_rows(weights.to(rep.theta.dtype).expand(-1, channels, -1, -1))[:, :1]
        chosen = rows_of_views(matrix, indices, len(row_weights))
        if self.crowded and len(row_weights) > CROWDED_ROWS:
            way = _ConjugateGradient(chosen, row_weights, self.tolerance, self.iterations, self.damping)
        else:
            way = _prepare(chosen, row_weights, self.damping, self.tolerance, self.iterations)
        self._prepared = [(indices, weights, way), *self._prepared[: self.remembered - 1]]
        return way

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        if state:
            raise StaleState("The checkpoint was written by another solver.", "Start the job anew.")


def linear_rendering(rep: Diffrep) -> LinearRendering:
    """The representation, if f(θ) = Aθ + offset.

    Raises:
        RequestError: it is not linear in its parameters.
    """
    if not isinstance(rep, LinearRendering) or list(rep.parameters()) != ["theta"]:
        raise RequestError(f"{type(rep).__name__} is not linear in its parameters.", "Use the solver auto.")
    return rep


def _prepare(matrix: Tensor, weights: Tensor, damping: float, tolerance: float | None, iterations: int) -> _Way:
    small = matrix.shape[1] <= DENSE_PARAMETERS and matrix.shape[0] * matrix.shape[1] <= 64_000_000
    if small and damping == EXACT:
        return _Dense(matrix, weights)
    if matrix.shape[0] <= DUAL_ROWS and matrix.shape[0] < matrix.shape[1] / 4:
        return _Dual(matrix, weights, damping)
    if matrix.layout != torch.strided and matrix.shape[1] <= FACTORED_PARAMETERS:
        return _Factored(matrix, weights, damping)
    return _ConjugateGradient(matrix, weights, tolerance, iterations, damping)


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
    """δ = Aᵀ√W (√W A Aᵀ√W + μI)⁻¹ √W r, by a sparse factorisation: rows are few where views are small.

    μ is `damping` of the mean diagonal of AᵀWA over what is seen. What views that repeat each other's rows disagree
    about is divided by μ on the way and cancels in Aᵀ, so all of this is done in float64, on the CPU.
    """

    def __init__(self, matrix: Tensor, weights: Tensor, damping: float = EXACT) -> None:
        self.root = weights.double().cpu().numpy() ** 0.5
        rows = scipy_csr(matrix).multiply(self.root).tocsr()
        self.transpose = rows.T.tocsr()
        diagonal = np.asarray(self.transpose.power(2).sum(axis=1))
        price = damping * float(diagonal[diagonal > 1e-12 * diagonal.max()].mean())
        self.factor = _factor((rows @ self.transpose).tocsc(), price)

    def solve(self, residual: Tensor) -> tuple[Tensor, int]:
        dual = self.factor.solve(self.root * residual.double().cpu().numpy())
        return torch.from_numpy(self.transpose @ dual), 1  # still here, where it costs no waiting to see it is finite


class _Factored:
    """δ = (AᵀWA + μI)⁻¹ AᵀW r over the parameters that are seen, by a sparse factorisation, in float64.

    Texels touch few others, so the factor is hardly larger than AᵀWA itself: 30,000 texels under eight views of 64 x 64
    are factorised in half a second and solved for in some milliseconds. μ is `damping` of the mean diagonal. This is
    done on the CPU; only the residual and the change travel.
    """

    def __init__(self, matrix: Tensor, weights: Tensor, damping: float = EXACT) -> None:
        weighted = scipy_csr(matrix).multiply(weights.double().cpu().numpy()).tocsr()
        normal = (scipy_csr(matrix).T @ weighted).tocsc()
        diagonal = normal.diagonal()
        self.seen = np.flatnonzero(diagonal > 1e-12 * diagonal.max())
        self.factor = _factor(normal[self.seen][:, self.seen], damping * float(diagonal[self.seen].mean()))
        self.transpose = weighted.T.tocsr()[self.seen]
        self.unknowns = matrix.shape[1]

    def solve(self, residual: Tensor) -> tuple[Tensor, int]:
        change = np.zeros((self.unknowns, residual.shape[1]))
        change[self.seen] = self.factor.solve(self.transpose @ residual.double().cpu().numpy())
        return torch.from_numpy(change), 1  # still here, where it costs no waiting to see whether it is finite


class _ConjugateGradient:
    """CG on (AᵀWA + μI) δ = AᵀW r, all columns of θ at once, preconditioned by the diagonal."""

    def __init__(
        self,
        matrix: Tensor,
        weights: Tensor,
        tolerance: float | None,
        iterations: int,
        damping: float = EXACT,
    ) -> None:
        self.matrix = matrix
        self.transpose = transpose(matrix)
        self.weights = weights
        diagonal = _column_sums_of_squares(matrix, weights)
        threshold = 1e-12 * diagonal.max()
        seen = diagonal > threshold
        self.damping = damping * float(diagonal[seen].mean()) if damping > EXACT else 0.0
        diagonal = (diagonal + self.damping).clamp_min(1e-300)
        self.inverse_diagonal = torch.where(seen, 1 / diagonal, 0.0).to(matrix.dtype)
        self.tolerance = tolerance or (1e-12 if matrix.dtype == torch.float64 else 1e-5)
        self.iterations = iterations
        self._first_look = 0

    def solve(self, residual: Tensor) -> tuple[Tensor, int]:
        gradient = self.transpose @ (self.weights * residual)
        change = torch.zeros_like(gradient)
        preconditioned = self.inverse_diagonal * gradient
        direction = preconditioned.clone()
        energy = (gradient * preconditioned).sum(0)
        goal = self.tolerance**2 * energy
        passes, looks_at, interval = 0, self._first_look, LOOK_INTERVAL if residual.is_cuda else 1
        while passes < self.iterations:
            if passes == looks_at:
                looks_at += interval
                if not bool((energy > goal).any()):
                    break
            passes += 1
            image = self.transpose @ (self.weights * (self.matrix @ direction)) + self.damping * direction
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
        if residual.is_cuda:  # a pass too many moves nothing: so it need not ask before it was done last time
            self._first_look = max(0, passes - LOOK_INTERVAL)
        return change, passes


_Way = _Dense | _Dual | _Factored | _ConjugateGradient


def _factor(symmetric: sparse.csc_array, price: float) -> SuperLU:
    """The factors of a positive matrix with `price` added to its diagonal."""
    count: int = symmetric.shape[0]  # type: ignore[index]  # of a stub that knows of arrays without a shape
    damped = (symmetric + price * sparse.eye_array(count, format="csc")).tocsc()
    return splu(damped, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def _column_sums_of_squares(matrix: Tensor, weights: Tensor) -> Tensor:
    """[P, 1] the diagonal of AᵀWA, in float64."""
    if matrix.layout == torch.strided:
        return (matrix.double() ** 2 * weights.double()).sum(0)[:, None]
    coordinates = matrix.to_sparse_coo().coalesce()
    row, column = coordinates.indices()
    sums = torch.zeros(matrix.shape[1], dtype=torch.float64, device=matrix.device)
    sums.index_add_(0, column, coordinates.values().double() ** 2 * weights[row, 0].double())
    return sums[:, None]
