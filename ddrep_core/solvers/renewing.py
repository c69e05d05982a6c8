"""Descent for a representation that uses idle parts of itself anew."""

from __future__ import annotations

import torch
from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep, Renewing
from ddrep_core.solvers.first_order import WarmStartSolver

SETTLING = 4
"""Times as many steps where the render is what the run gives back."""


class RenewingSolver(WarmStartSolver):
    """Before each descent, rows of θ that serve nothing are put where the picture is farthest from its target.

    Descent alone leaves a path behind others where it is, for nothing that it sees changes. What the moments know of a
    row moves with it; a new one knows nothing.
    """

    def fit(
        self,
        rep: Diffrep,
        targets: Tensor,
        indices: Tensor,
        weights: Tensor,
        sigma: float = 0.0,
        render: Tensor | None = None,
    ) -> int:
        order = rep.renew(targets[0]) if isinstance(rep, Renewing) else []
        if order:
            place = torch.tensor(order, device=targets.device)
            for name, moment in self._moments.items():
                rows = moment[place.clamp_min(0)]
                rows[place < 0] = 0
                self._moments[name] = rows
        passes = 0
        for _ in range(SETTLING if sigma == 0 else 1):
            passes += self.descend(rep, targets, indices, weights)
        return passes
