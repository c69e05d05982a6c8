"""Who solves a pull-back."""

from __future__ import annotations

from ddrep_core.diffreps.encoded import EncodedDiffrep
from ddrep_core.diffreps.image_texture import ImageTextureDiffrep
from ddrep_core.diffreps.linearized import LinearizedRendering
from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.diffreps.protocol import Descended, Diffrep, LinearRendering, Renewing
from ddrep_core.diffreps.vector import VectorDiffrep
from ddrep_core.errors import RequestError
from ddrep_core.solvers.colours import ColourSolver
from ddrep_core.solvers.encoded import DecodedSolver
from ddrep_core.solvers.first_order import AdamSolver, WarmStartSolver
from ddrep_core.solvers.gauss_newton import GaussNewtonSolver
from ddrep_core.solvers.linear import LinearSolver, linear_rendering
from ddrep_core.solvers.meeting import PictureSolver
from ddrep_core.solvers.protocol import Solver
from ddrep_core.solvers.renewing import RenewingSolver


def choose_solver(rep: Diffrep, solver: str | Solver = "auto") -> Solver:
    """ "auto" is exact where the representation is linear, Gauss-Newton where it knows its Jacobian, else warm Adam.

    A texture whose views meet in RGB has a solver of its own, which "auto" takes. How exact or how long the others are,
    the representation says itself: whoever samples it, at a shell or in Python, takes the same solver.

    Raises:
        RequestError: an unknown name, or one that this representation cannot be fitted by.
    """
    if not isinstance(solver, str):
        return solver
    if isinstance(rep, ImageTextureDiffrep):
        if solver != "auto":
            raise RequestError(f"A texture whose views meet in RGB has no solver '{solver}'.", "Use the solver auto.")
        return PictureSolver()
    if isinstance(rep, EncodedDiffrep):
        return DecodedSolver(choose_solver(rep.pictures, solver))
    if isinstance(rep, VectorDiffrep) and solver == "auto" and list(rep.parameters()) == ["colours"]:
        return ColourSolver()
    rate = rep.learning_rate if isinstance(rep, Descended) else 1e-3
    match solver:
        case "auto" if isinstance(rep, LinearRendering):
            return _linear(rep)
        case "auto" if isinstance(rep, LinearizedRendering):
            return GaussNewtonSolver()
        case "auto" if isinstance(rep, Renewing):
            return RenewingSolver(rep.passes, rate)
        case "auto" if isinstance(rep, Descended):
            return WarmStartSolver(rep.passes, rate)
        case "linear":
            return _linear(linear_rendering(rep))
        case "newton":
            return GaussNewtonSolver()
        case "warm" | "auto":
            return WarmStartSolver(learning_rate=rate)
        case "adam":
            return AdamSolver(learning_rate=rate)
    raise RequestError(f"Unknown solver '{solver}'.", "Use auto, linear, newton, warm or adam.")


def _linear(rep: LinearRendering) -> LinearSolver:
    if not isinstance(rep, MatrixDiffrep):
        return LinearSolver()
    return LinearSolver(rep.tolerance, damping=rep.damping, crowded=rep.crowded)
