"""The pull-back: θ ← argmin over θ' of E_π w(π) ‖f(θ', π) − f'(π)‖² (Eq. 5-8), and the choice of who solves it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ddrep_core.diffreps.image_texture import ImageTextureDiffrep
from ddrep_core.diffreps.linearized import LinearizedRendering
from ddrep_core.diffreps.protocol import Diffrep, LinearRendering
from ddrep_core.errors import RequestError


class Solver(Protocol):
    """Moves θ so that the renders meet their targets."""

    def fit(self, rep: Diffrep, targets: Tensor, indices: Tensor, weights: Tensor, sigma: float = 0.0) -> int:
        """One pull-back, in place.

        Args:
            targets: [B, C, h, w] what the renders of these views should become.
            indices: [B] the views.
            weights: [B, 1, h, w] importance of each pixel, zero or more.
            sigma: the noise that the renders are seen through next (σ'), 0 where they are what the run gives back. A
                solver may leave what such noise hides: the next pull-back asks for it again.

        Returns:
            how many render passes (forward, or forward and backward) it took.
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """What must be kept so that a resumed run goes on to the same bytes (moments); may be empty."""
        ...

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()`."""
        ...

    def joining(self) -> Solver:
        """The solver for a run whose views join one by one, each held to what it became; most are their own."""
        return self


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
        from ddrep_core.sampling.picture_fit import PictureSolver

        return PictureSolver()
    linear = isinstance(rep, LinearRendering)
    if solver == "auto":
        solver = "linear" if linear else "newton" if isinstance(rep, LinearizedRendering) else "warm"
    if solver == "linear":
        if not linear:
            raise RequestError(
                f"{type(rep).__name__} is not linear in its parameters.", "Use the solver auto, newton, warm or adam."
            )
        from ddrep_core.sampling.linear import LinearSolver

        return LinearSolver()
    if solver == "newton":
        from ddrep_core.sampling.gauss_newton import GaussNewtonSolver

        return GaussNewtonSolver()
    if solver in ("warm", "adam"):
        from ddrep_core.sampling import first_order

        rate = getattr(rep, "learning_rate", 1e-3)
        if solver == "warm":
            return first_order.WarmStartSolver(learning_rate=rate)
        return first_order.AdamSolver(learning_rate=rate)
    raise RequestError(f"Unknown solver '{solver}'.", "Use auto, linear, newton, warm or adam.")
