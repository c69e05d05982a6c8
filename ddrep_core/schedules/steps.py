"""How a run goes through its steps: a walk says what comes next, and may listen to how the last step went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True)
class Reverse:
    """One step down, σ → σ' (Alg. 1, lines 9-16): one evaluation of the prior, two with Heun's correction.

    `views` move (all, or the next mini-batch, when None). `held` ones do not: what they were accepted as stays in the
    fit as weighted observations.
    """

    sigma: float
    sigma_next: float
    eta: float
    heun: bool = False
    views: tuple[int, ...] | None = None
    held: tuple[int, ...] = ()

    @property
    def nfe(self) -> int:
        return 2 if self.heun else 1


@dataclass(frozen=True)
class Jump:
    """One jump up, σ → σ_high: ε ← keep·ε + √(1 − keep²)·noise_scale·ξ, for `views` (None: all of them).

    It costs neither evaluation nor fit.
    """

    sigma: float
    sigma_high: float
    keep: float
    noise_scale: float = 1.0
    views: tuple[int, ...] | None = None

    @property
    def nfe(self) -> int:
        return 0


Step = Reverse | Jump


@dataclass(frozen=True)
class Moved:
    """What one reverse step did.

    Attributes:
        indices: [B] the views that moved.
        clean: [B, C, h, w] the prior's x̂0 of them.
        conflicts: [B] for each view, the part of x̂0 that the representation cannot hold: 0 when it holds all of it,
            about 1 when the view shows something unrelated to what the others show (`disagreement.py`).
        disagreement: the same over all of them, 0..1.
        share: [B] what an unrelated picture would leave in the same fit; near 0, nothing could contradict the view.
        left: [B, C, h, w] what of x̂0 was not held.
    """

    indices: Tensor
    clean: Tensor
    conflicts: Tensor
    disagreement: float
    share: Tensor
    left: Tensor


class Walk(Protocol):
    """One sample's way. A walk is made anew for every sample and keeps whatever state it needs."""

    def next(self) -> Step | None:
        """The next step, or None at the end. May prepare the run for it (put θ back, take up observations)."""
        ...

    def hear(self, step: Step, moved: Moved | None) -> None:
        """What came of that step; `moved` is None after a jump."""
        ...

    @property
    def of(self) -> int:
        """How many steps the whole run has, as far as can be said now."""
        ...

    @property
    def not_agreed(self) -> list[int]:
        """Views that were kept although they do not agree with the rest."""
        ...

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON from which `load` goes on to the same bytes."""
        ...

    def load(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None: ...


class Plan(Protocol):
    """What `sample(schedule=...)` takes: a fixed `Schedule`, or one that decides as it goes."""

    @property
    def nfe(self) -> float:
        """Evaluations that a run costs; at most, where it decides as it goes."""
        ...

    def walk(self, run: Any) -> Walk: ...
