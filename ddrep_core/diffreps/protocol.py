"""What a differentiable representation (diffrep) is: parameters θ and a render f(θ, π) for each view of a bank.

A diffrep is built over a finite bank of V views, because the noise of a view must be the same noise when the view
returns (DESIGN §2). A view is its index in that bank. A new representation is one new file with one class that has
these members; nothing else in the engine needs to know it.
"""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Diffrep(Protocol):
    """θ ↦ f(θ, π), differentiable in θ, in the prior's space (latent or RGB)."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of one rendered view."""
        ...

    @property
    def view_count(self) -> int:
        """V, the number of views in the bank."""
        ...

    def parameters(self) -> dict[str, Tensor]:
        """θ: the live tensors by name, on one device. Solvers move them in place; checkpoints store them."""
        ...

    def reset(self, generator: torch.Generator) -> None:
        """Put θ at the start of a run: argmin over θ of E‖f(θ, π)‖ (Alg. 1, line 2), or what serves in its place."""
        ...

    def render(self, indices: Tensor | None = None) -> Tensor:
        """[B, C, h, w]: the views with these indices (all V when None), with a graph when θ requires gradients."""
        ...

    def pixel_weights(self) -> Tensor | None:
        """[V, 1, h, w], zero or more, or None for all ones. A pixel of weight zero is drawn, but does not paint."""
        ...

    def copy(self) -> Self:
        """The same geometry with a θ of its own."""
        ...


@runtime_checkable
class LinearRendering(Diffrep, Protocol):
    """What a diffrep adds when f(θ) = Aθ + offset: then the pull-back is exact (`solvers.linear.LinearSolver`).

    θ is [P, K]: K columns share the matrix A [R, P] (K = C for a texture, whose channels all look through the same
    weights; K = 1 where A mixes channels). R counts the rows of all V views, view after view.
    """

    theta: Tensor  # [P, K]

    def matrix(self) -> Tensor:
        """A [R, P], dense or sparse CSR; the same for the whole run."""
        ...

    def to_rows(self, images: Tensor) -> Tensor:
        """[B, C, h, w] -> [B * R / V, K], in the order of A's rows."""
        ...
