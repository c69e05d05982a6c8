"""Noise fields: ε(π), the same noise whenever the same view returns."""

from ddrep_core.noise.fields import CommonNoise, MixedNoise, NoiseField, ViewNoise
from ddrep_core.noise.matrix import MatrixNoise

__all__ = ["CommonNoise", "MatrixNoise", "MixedNoise", "NoiseField", "ViewNoise"]
