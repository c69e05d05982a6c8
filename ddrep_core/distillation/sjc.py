"""Score Jacobian chaining (Wang et al., Eq. 12, with the variance reduction of its code)."""

from __future__ import annotations

import torch
from torch import Tensor

from ddrep_core.distillation.objective import ModeSeeker, Objective
from ddrep_core.sampling.look import Ask, Look


class ScoreJacobianChaining(Objective):
    """(sg[ε̂ − ε] · render), every level alike."""

    def weight(self, sigma: float) -> float:
        return 1.0

    def loss(self, look: Look, ask: Ask) -> Tensor:
        return ((look.predicted - look.noise) * look.weights * look.render).sum()


SCORE_JACOBIAN_CHAINING = ModeSeeker("SJC", ScoreJacobianChaining, (0.03, 0.01), torch.optim.Adamax, (0.9, 0.999))
"""t uniform over the levels without the 30 noisiest and the 10 cleanest of a thousand, Adamax."""
