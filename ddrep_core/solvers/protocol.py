"""The pull-back: θ ← argmin over θ' of E_π w(π) ‖f(θ', π) − f'(π)‖² (Eq. 5-8)."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep


class Solver(Protocol):
    """Moves θ so that the renders meet their targets. Each sample has a solver of its own (`twin`).

    Attributes:
        rendered: [B, C, h, w] what the views of the last fit look like since, where the solver knows it.
    """

    rendered: Tensor | None = None

    def fit(
        self,
        rep: Diffrep,
        targets: Tensor,
        indices: Tensor,
        weights: Tensor,
        sigma: float = 0.0,
        render: Tensor | None = None,
    ) -> int:
        """One pull-back, in place.

        Args:
            targets: [B, C, h, w] what the renders of these views should become.
            indices: [B] the views.
            weights: [B, 1, h, w] importance of each pixel, zero or more.
            render: [B, C, h, w] what these views look like now, where the caller knows: it is not drawn again.
            sigma: the noise that the renders are seen through next (σ'), 0 where they are what the run gives back. A
                solver may leave what such noise hides: the next pull-back asks for it again.

        Returns:
            how many render passes (forward, or forward and backward) it took.
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """What must be kept so that a resumed run goes on to the same bytes (moments); may be empty."""
        ...

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()`."""
        ...

    def twin(self) -> Solver:
        """One for another sample: the same settings, and what was prepared for views and weights, but no moments."""
        return self

    def joining(self) -> Solver:
        """The solver for a run whose views join one by one, each held to what it became; most are their own."""
        return self
