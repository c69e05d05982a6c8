"""How clean and noise make x, and how a step moves them; knows nothing else of ours."""

from ddrep_core.process.diffusion import langevin_share

__all__ = ["langevin_share"]
