"""What predicts noise: diffusers models, exact (analytic) priors, and the bundled prior."""

from ddrep_core.priors.empirical import EmpiricalPrior
from ddrep_core.priors.gaussian import GaussianMixturePrior, GaussianPrior
from ddrep_core.priors.load import load_prior
from ddrep_core.priors.protocol import Conditioning, Prior, karras_sigmas

__all__ = [
    "Conditioning",
    "EmpiricalPrior",
    "GaussianMixturePrior",
    "GaussianPrior",
    "Prior",
    "karras_sigmas",
    "load_prior",
]
