"""Score distillation sampling (Poole et al., "DreamFusion", Eq. 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from ddrep_core.distillation.objective import ModeSeeker, Objective
from ddrep_core.sampling.look import Ask, Look


class ScoreDistillation(Objective):
    """w(σ) (sg[ε̂ − ε] · render)."""

    def loss(self, look: Look, ask: Ask) -> Tensor:
        return (self.weight(look.sigma) * (look.predicted - look.noise) * look.weights * look.render).sum()


SCORE_DISTILLATION = ModeSeeker("SDS", ScoreDistillation, (0.02, 0.02), torch.optim.Adam, (0.9, 0.99))
"""t uniform in 2-98 %, Adam, guidance 100."""
