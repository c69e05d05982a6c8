"""What is sampled: θ ↦ f(θ, π), one file a representation."""

from ddrep_core.diffreps.linear import LinearDiffrep
from ddrep_core.diffreps.protocol import Diffrep, LinearRendering

__all__ = ["Diffrep", "LinearDiffrep", "LinearRendering"]
