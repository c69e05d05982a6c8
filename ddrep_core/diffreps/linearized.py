"""What a nonlinear representation may add so that its pull-back is solved by Gauss-Newton instead of by descent.

f(θ + δ) ≈ f(θ) + J δ. A linearisation holds what J needs (activations), so that J and Jᵀ cost a fraction of a render
each, and it knows an approximate inverse of JᵀJ that is cheap because it knows the representation's structure.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep

Change: TypeAlias = tuple[Tensor, ...]
"""δ: one tensor a parameter, in the order of `parameters()`."""


class Linearization(Protocol):
    """J at one θ, for some views: B views of [C, h, w]."""

    @property
    def render(self) -> Tensor:
        """[B, C, h, w] f(θ), without a graph."""
        ...

    def push(self, change: Change) -> Tensor:
        """J δ: [B, C, h, w]."""
        ...

    def pull(self, images: Tensor) -> Change:
        """Jᵀ v for v [B, C, h, w]."""
        ...

    def gram(self) -> Tensor:
        """J Jᵀ [R, R], R = B * C * h * w in the order of `images.flatten()`: the neural tangent kernel."""
        ...

    def precondition(self, gradient: Change, damping: float) -> Change:
        """About (JᵀJ + damping)⁻¹ δ, symmetric and positive."""
        ...


@runtime_checkable
class LinearizedRendering(Diffrep, Protocol):
    """A diffrep that can be linearised."""

    def linearize(self, indices: Tensor | None = None) -> Linearization:
        """J at the present θ for these views (all when None)."""
        ...

    def apply(self, change: Change) -> None:
        """θ ← θ + δ, in place."""
        ...
