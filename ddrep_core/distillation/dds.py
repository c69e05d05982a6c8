"""Delta denoising score (Hertz, Aberman and Cohen-Or 2023, Eq. 4): an edit follows what other words change in ε̂."""

from __future__ import annotations

import torch
from torch import Tensor

from ddrep_core.distillation.objective import ModeSeeker, Objective
from ddrep_core.sampling.look import Ask, Look


class DeltaDenoising(Objective):
    """(sg[ε̂(x, target) − ε̂(x_source, source)] · render), both under the same noise; every level alike, as the authors
    have it.

    What ε̂ errs by at both, and the noise that it does not recognise, cancel. Where target and source are Gaussians of
    one variance the edit ends w_CFG times the difference of their means away from the source: guidance scales it
    without bound, so `guidance_scale` is a sampler's and not SDS's 100.
    """

    def loss(self, look: Look, ask: Ask) -> Tensor:
        change = look.predicted - ask.of_source(look).predicted
        return (change * look.weights * look.render).sum()


DELTA_DENOISING = ModeSeeker(
    "DDS", DeltaDenoising, (0.02, 0.02), torch.optim.Adam, (0.9, 0.99), guidance_scale=7.5, steps=1000
)
"""t uniform in 2-98 %, Adam. Start where the source is: `distill(rep, ..., source_prompt="a cow")`."""
