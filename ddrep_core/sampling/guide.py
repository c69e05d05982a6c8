"""What may bend a step: particles that repel each other, a measurement to agree with, results to keep away from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.sampling.look import Look

Decode: TypeAlias = Callable[[Tensor], Tensor]
"""[B, C, h, w] -> [B, 3, H, W], sRGB in [0, 1]; gradients flow where the prior lets them."""


class Guide(Protocol):
    """Says what the step should take for x̂0. A run's guides are asked in turn, between prior and pull-back."""

    def bend(self, look: Look, decode: Decode) -> Tensor:
        """x̂0 [N, B, C, h, w] as the step shall take it; finite at σ = ∞, too.

        Args:
            look: what the prior said of N particles in the same B views.
            decode: to pictures, for what is judged in colours.
        """
        ...


@runtime_checkable
class InTurn(Protocol):
    """What a guide may be besides: one that heeds the samples that were made before in the same call."""

    def following(self, earlier: Sequence[Diffrep]) -> Guide:
        """The guide of the next sample, given those that are finished."""
        ...
