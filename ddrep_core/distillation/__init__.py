"""The mode-seekers: gradient ascent on a prior's score through a representation, to compare with and to edit with."""

from ddrep_core.distillation.dds import DELTA_DENOISING
from ddrep_core.distillation.descend import distill
from ddrep_core.distillation.guided import Guided
from ddrep_core.distillation.nfsd import NOISE_FREE_SCORE_DISTILLATION
from ddrep_core.distillation.objective import ModeSeeker, Objective
from ddrep_core.distillation.pds import POSTERIOR_DISTILLATION, posterior_distillation
from ddrep_core.distillation.repulsive import Repulsive, repulsive
from ddrep_core.distillation.sds import SCORE_DISTILLATION
from ddrep_core.distillation.sjc import SCORE_JACOBIAN_CHAINING
from ddrep_core.distillation.vsd import VARIATIONAL_SCORE_DISTILLATION, ParticlesThemselves, variational

__all__ = [
    "DELTA_DENOISING",
    "NOISE_FREE_SCORE_DISTILLATION",
    "POSTERIOR_DISTILLATION",
    "SCORE_DISTILLATION",
    "SCORE_JACOBIAN_CHAINING",
    "VARIATIONAL_SCORE_DISTILLATION",
    "Guided",
    "ModeSeeker",
    "Objective",
    "ParticlesThemselves",
    "Repulsive",
    "distill",
    "posterior_distillation",
    "repulsive",
    "variational",
]
