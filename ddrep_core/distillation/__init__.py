"""The mode-seekers: gradient ascent on a prior's score through a representation, to compare with and to edit with."""

from ddrep_core.distillation.mode_seeking import SCORE_DISTILLATION, SCORE_JACOBIAN_CHAINING, ModeSeeker, distill

__all__ = ["SCORE_DISTILLATION", "SCORE_JACOBIAN_CHAINING", "ModeSeeker", "distill"]
