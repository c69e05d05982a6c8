"""The mode-seekers: gradient ascent on a prior's score through a representation, to compare with and to edit with."""

from ddrep_core.distillation.descend import distill
from ddrep_core.distillation.objective import ModeSeeker, Objective
from ddrep_core.distillation.sds import SCORE_DISTILLATION
from ddrep_core.distillation.sjc import SCORE_JACOBIAN_CHAINING

__all__ = ["SCORE_DISTILLATION", "SCORE_JACOBIAN_CHAINING", "ModeSeeker", "Objective", "distill"]
