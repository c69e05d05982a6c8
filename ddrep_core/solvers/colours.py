"""The exact pull-back of a drawing of which colours alone move: bounded weighted least squares.

Shapes lie still, so a picture is Σ_k M_k c_k and what does not move, in every channel for itself: M_k is how much of
each pixel shows colour k. Descent had to be told how far to go in each pull-back, and went a tenth of the way.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.diffreps.vector import VectorDiffrep
from ddrep_core.errors import RequestError, RunError, StaleState
from ddrep_core.solvers.protocol import Solver
from ddrep_core.vector.render import Renderer

SWEEPS = 200
STILL = 1e-4
"""Of a colour's range: no sweep moves any of them further at the end."""


class ColourSolver(Solver):
    """argmin over c in [0, 1] of ‖√W (Σ_k M_k c_k + rest − targets)‖², from where the colours are.

    What shows nowhere stays.
    """

    def __init__(self) -> None:
        self._drawn: Renderer | None = None
        self._shares = torch.empty(0)

    def fit(
        self,
        rep: Diffrep,
        targets: Tensor,
        indices: Tensor,
        weights: Tensor,
        sigma: float = 0.0,
        render: Tensor | None = None,
    ) -> int:
        if not isinstance(rep, VectorDiffrep) or list(rep.parameters()) != ["colours"]:
            raise RequestError(f"{type(rep).__name__} has more to it than colours.", "Use the solver auto.")
        with torch.no_grad():
            if self._drawn is not rep.renderer:
                self._drawn, self._shares = rep.renderer, rep.colour_shares().flatten(1).double().cpu()
            shown = rep.render() if render is None else render
            missing = (targets - shown).mean(0).flatten(1).double().cpu()
            if not bool(torch.isfinite(missing).all()):
                raise RunError("Colours could not be found: the target holds a NaN or an infinite number.")
            heavy = self._shares * weights.mean(0).flatten().double().cpu()
            colours = rep.moving_colours().double().cpu()
            change = bounded(
                (heavy @ self._shares.T).numpy(), (heavy @ missing.T).numpy(), -colours.numpy(), 1 - colours.numpy()
            )
            rep.recolour(torch.from_numpy(change))
        return 1

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        if state:
            raise StaleState("The checkpoint was written by another solver.", "Start the job anew.")


def bounded(
    square: NDArray[np.float64], slope: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[K, C] argmin over low ≤ d ≤ high of ½ dᵀ G d − bᵀ d in each column, by descent in one coordinate after another.

    Args:
        square: G [K, K], positive semidefinite; a row of zeros leaves its coordinate at 0.
        slope: b [K, C].
    """
    found = np.clip(np.zeros_like(slope), low, high)
    diagonal = np.diag(square)
    live = np.flatnonzero(diagonal > 1e-9 * max(float(diagonal.max(initial=0)), 1e-30))
    for _ in range(SWEEPS):
        farthest = 0.0
        for row in live:
            old = found[row].copy()
            wanted = old + (slope[row] - square[row] @ found) / diagonal[row]
            found[row] = np.clip(wanted, low[row], high[row])
            farthest = max(farthest, float(np.abs(found[row] - old).max()))
        if farthest < STILL:
            break
    return found
