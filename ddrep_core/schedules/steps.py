"""What a run can be asked to do, in words. A walk speaks; the run alone moves θ.

A walk says what comes next and is told how it went (`Moved`). It sees the run's setting, which it cannot change, and so
it can be tested without a prior: answer its words by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.priors.protocol import Prior
from ddrep_core.views.camera import Views


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


@dataclass(frozen=True)
class Remember:
    """Keep θ under a name; or, where views are named, what these look like now."""

    name: str
    views: tuple[int, ...] = ()


@dataclass(frozen=True)
class Recall:
    """θ as it was when this name was remembered."""

    name: str


@dataclass(frozen=True)
class Hold:
    """From now on these views are accepted as they look now: a step that holds them keeps them so."""

    views: tuple[int, ...]


@dataclass(frozen=True)
class Paint:
    """Fit θ to pictures of these views, held ones kept: those remembered under a name, or what they are held as."""

    views: tuple[int, ...]
    held: tuple[int, ...] = ()
    name: str | None = None


@dataclass(frozen=True)
class Join:
    """Let these views show what the others have painted, where they have parameters of their own that hide it."""

    views: tuple[int, ...]


Step: TypeAlias = Reverse | Jump
"""What moves a run between noise levels, is counted, and reported to the caller."""
Word: TypeAlias = Step | Remember | Recall | Hold | Paint | Join
"""Whatever a walk may say. Each but a step is done at once and costs no evaluation."""


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
        render: [B, C, h, w] what they look like now.
        unled: [B, C, h, w] what the prior said before what is given of them was heeded; `clean` where nothing is.
        powers: the mean squares of x̂0, ε̂ and ε.
    """

    indices: Tensor
    clean: Tensor
    conflicts: Tensor
    disagreement: float
    share: Tensor
    left: Tensor
    render: Tensor
    unled: Tensor
    powers: tuple[float, float, float]


@dataclass(frozen=True)
class Setting:
    """What a run is about, for a plan to look at and not to change.

    Attributes:
        rep: what is sampled, before it is.
        prior: what it is sampled from.
        views: the cameras, if there are any.
        weights: [V, 1, h, w] of all pixels in the pull-back.
        eta: the run's stochastic share.
        views_per_step: B; V where every step moves all views.
        particles: how many samples go through the same steps together.
        known: views of which something is given and stays; by their numbers, the share of their pixels that is given.
        whole: those of which nothing is left to sample: they are held in every step.
    """

    rep: Diffrep
    prior: Prior
    views: Views | None
    weights: Tensor
    eta: float
    views_per_step: int
    particles: int = 1
    known: Mapping[int, float] = field(default_factory=dict)
    whole: tuple[int, ...] = ()


class Walk(Protocol):
    """One sample's way. A walk is made anew for every sample and keeps whatever state it needs."""

    joins: bool
    """Whether views join one by one, each held to what it became."""

    def next(self) -> Word | None:
        """What is to be done next, or None at the end; the same until `hear` is told of it."""
        ...

    def hear(self, word: Word, moved: Moved | None) -> None:
        """It is done; `moved` says what came of a reverse step, and is None after anything else."""
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

    def walk(self, setting: Setting) -> Walk: ...
