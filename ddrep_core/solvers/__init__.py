"""Who moves θ so that the renders meet their targets: one file a solver."""

from ddrep_core.solvers.choose import choose_solver
from ddrep_core.solvers.protocol import Solver

__all__ = ["Solver", "choose_solver"]
