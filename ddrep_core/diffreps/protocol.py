"""What a differentiable representation (diffrep) is: parameters θ and a render f(θ, π) for each view of a bank.

A diffrep is built over a finite bank of V views, because the noise of a view must be the same noise when the view
returns (docs/method.md). A view is its index in that bank. A new representation is one new file with one class that has
the members of `Diffrep`; nothing else in the engine needs to know it. What it has beyond them is one of the protocols
below, and serves it: an exact pull-back, a noise of its own, prices on what no picture forbids.
"""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from ddrep_core.noise.fields import NoiseField


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
class MatrixRendering(Diffrep, Protocol):
    """What a diffrep adds when it knows which of what the views share each pixel looks at, and how heavily."""

    def matrix(self) -> Tensor:
        """A [R, P], dense or sparse CSR; the same for the whole run. R counts the rows of all V views, in order."""
        ...

    def to_rows(self, images: Tensor) -> Tensor:
        """[B, C, h, w] -> [B * R / V, K], in the order of A's rows."""
        ...


@runtime_checkable
class LinearRendering(MatrixRendering, Protocol):
    """What a diffrep adds when f(θ) = Aθ + offset: then the pull-back is exact (`solvers.linear.LinearSolver`).

    θ is [P, K], and all of the parameters: K columns share the matrix A (K = C for a texture, whose channels all look
    through the same weights; K = 1 where A mixes channels).
    """

    theta: Tensor  # [P, K]


@runtime_checkable
class WithNoise(Diffrep, Protocol):
    """What a diffrep adds when its views should see noise in common, wherever nobody says otherwise."""

    def noise_field(self) -> NoiseField:
        """White in every view; drawn anew for every sample."""
        ...


@runtime_checkable
class WithOwnParts(Diffrep, Protocol):
    """What a diffrep adds when views also have parameters of their own, so that what others paint does not show."""

    def look(self, indices: Tensor) -> None:
        """Let views [B] show what is painted already, in place."""
        ...


@runtime_checkable
class Descended(Diffrep, Protocol):
    """What a diffrep adds when descent fits it, and pictures alone do not say what it should be.

    Attributes:
        learning_rate: what descent may move θ by in one step.
        passes: steps of descent that a pull-back needs where each goes on from the last.
    """

    learning_rate: float
    passes: int

    def render_and_penalty(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The views [B, C, h, w], and what descent pays beside their error."""
        ...


@runtime_checkable
class Renewing(Descended, Protocol):
    """What a diffrep adds when θ is rows of like things, of which idle ones can serve elsewhere."""

    def renew(self, target: Tensor) -> list[int]:
        """Use idle rows of θ anew, in place, where they bring the view nearest to its target [C, h, w].

        Returns:
            the rows as they lie now, each by its number before, and −1 where it is new; empty where nothing changed.
        """
        ...
