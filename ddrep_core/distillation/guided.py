"""A mode-seeker whose x̂0 is bent by a guide before its gradient is taken."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from ddrep_core.distillation.objective import Objective
from ddrep_core.sampling.guide import Guide
from ddrep_core.sampling.look import Ask, Look


@dataclass
class Guided(Objective):
    """base, towards what the guide makes of x̂0.

    With `ParticleGuidance` it is repulsive score distillation whose γ is w h/(σ² + s²), h the kernel's bandwidth (and
    Σ k for log Σ k): a weight that means the same in any number of dimensions. Let it see x̂0: on renders, what it adds
    it sees again in the next step, and a weight above 1 runs away.

    Args:
        base: any objective that follows `look.predicted`.
        guide: sees all samples.
        where: [V, 1, h, w] 1 where alone it looks and bends; None: everywhere.
    """

    base: Objective
    guide: Guide
    where: Tensor | None = None

    def weight(self, sigma: float) -> float:
        return self.base.weight(sigma)

    def loss(self, look: Look, ask: Ask) -> Tensor:
        seen = replace(look, render=look.render.detach())
        if self.where is not None:
            seen = replace(seen, weights=look.weights * self.where[look.indices.to(self.where.device)].to(look.weights))
        return self.base.loss(look.bent(self.guide.bend(seen, ask.prior.decode)), ask)

    def after(self, look: Look) -> None:
        self.base.after(look)

    def state(self) -> dict[str, Tensor]:
        return self.base.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.base.load_state(state)
