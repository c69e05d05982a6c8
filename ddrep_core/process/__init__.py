"""How clean and noise make x, and how a step moves them; knows nothing else of ours."""

from ddrep_core.process.diffusion import Diffusion, langevin_share
from ddrep_core.process.poisson import Poisson
from ddrep_core.process.protocol import Process

__all__ = ["Diffusion", "Poisson", "Process", "langevin_share"]
