"""Who solves a pull-back."""

from __future__ import annotations

from ddrep_core.diffreps.image_texture import ImageTextureDiffrep
from ddrep_core.diffreps.linearized import LinearizedRendering
from ddrep_core.diffreps.protocol import Diffrep, LinearRendering
from ddrep_core.errors import RequestError
from ddrep_core.solvers import first_order
from ddrep_core.solvers.gauss_newton import GaussNewtonSolver
from ddrep_core.solvers.linear import LinearSolver
from ddrep_core.solvers.meeting import PictureSolver
from ddrep_core.solvers.protocol import Solver


def choose_solver(rep: Diffrep, solver: str | Solver = "auto") -> Solver:
    """ "auto" is exact where the representation is linear, Gauss-Newton where it knows its Jacobian, else warm Adam.

    A texture whose views meet in RGB has a solver of its own, which "auto" takes.

    Raises:
        RequestError: an unknown name, or "linear" for a representation that is not.
    """
    if not isinstance(solver, str):
        return solver
    if isinstance(rep, ImageTextureDiffrep):
        if solver != "auto":
            raise RequestError(f"A texture whose views meet in RGB has no solver '{solver}'.", "Use the solver auto.")
        return PictureSolver()
    linear = isinstance(rep, LinearRendering)
    if solver == "auto":
        solver = "linear" if linear else "newton" if isinstance(rep, LinearizedRendering) else "warm"
    if solver == "linear":
        if not linear:
            raise RequestError(
                f"{type(rep).__name__} is not linear in its parameters.", "Use the solver auto, newton, warm or adam."
            )
        return LinearSolver()
    if solver == "newton":
        return GaussNewtonSolver()
    if solver in ("warm", "adam"):
        rate = getattr(rep, "learning_rate", 1e-3)
        if solver == "warm":
            return first_order.WarmStartSolver(learning_rate=rate)
        return first_order.AdamSolver(learning_rate=rate)
    raise RequestError(f"Unknown solver '{solver}'.", "Use auto, linear, newton, warm or adam.")
