"""How a run goes through its steps: a walk says what comes next, and may listen to how the last step went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from ddrep_core.errors import RequestError

if TYPE_CHECKING:
    from ddrep_core.sampling.run import Run
    from ddrep_core.sampling.schedule import Schedule, Step


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

    def walk(self, run: Run) -> Walk: ...


class FixedWalk:
    """Through a schedule, step by step, whatever happens."""

    not_agreed: list[int] = []  # noqa: RUF012  never written

    def __init__(self, schedule: Schedule, eta: float) -> None:
        self.steps = list(schedule.steps(eta))
        self.position = 0

    @property
    def of(self) -> int:
        return len(self.steps)

    def next(self) -> Step | None:
        return self.steps[self.position] if self.position < len(self.steps) else None

    def hear(self, step: Step, moved: Moved | None) -> None:
        self.position += 1

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {}, {"position": self.position}

    def load(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        self.position = int(numbers["position"])
        if self.position > len(self.steps):
            raise RequestError("The state to go on from belongs to a longer schedule.", "Start the job anew.")
