"""The mode-seekers: gradient ascent on a prior's score through a representation, to compare with and to edit with."""

from ddrep_core.distillation.dds import DELTA_DENOISING
from ddrep_core.distillation.descend import distill
from ddrep_core.distillation.objective import ModeSeeker, Objective
from ddrep_core.distillation.pds import POSTERIOR_DISTILLATION, posterior_distillation
from ddrep_core.distillation.sds import SCORE_DISTILLATION
from ddrep_core.distillation.sjc import SCORE_JACOBIAN_CHAINING

__all__ = [
    "DELTA_DENOISING",
    "POSTERIOR_DISTILLATION",
    "SCORE_DISTILLATION",
    "SCORE_JACOBIAN_CHAINING",
    "ModeSeeker",
    "Objective",
    "distill",
    "posterior_distillation",
]
