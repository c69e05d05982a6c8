"""Grown sampling: one view decides what the object is, and the others join it, each until the prior accepts it.

Views that start together choose apart and are then averaged, which blurs and favours what is common
(docs/agreement.md). Here the most important view, the hero, is sampled alone: one view has no conflict, so it is a fair
draw. Then views join in the order of their overlap with what is painted. What is painted stays in the fit as weighted
observations; a joining view starts from it and from fresh noise, at the level where the hero's own picture began to be
decided, and comes down in a few large steps. On the way and at the end it is judged: does the prior, looking at it,
want what the representation can hold together with what is painted? If not, another round with other noise. At last,
all views move together: down all the plan's levels from a low one, then in single steps from the lowest for as long as
these still make them agree better.

A view that is given (pinned) is the hero, and already is what it is. Of one that is given as a whole, only the levels
at which its picture would be decided are asked of the prior; of one that is given mostly, the rest is sampled first.

Nothing is tuned to one prior: the levels come from the hero's descent, conflicts are measured against unrelated
pictures (`disagreement.py`), and the threshold from what remains when the hero joins its own picture.
"""

from __future__ import annotations

import bisect
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from ddrep_core.errors import DdrepWarning, RequestError, StaleState
from ddrep_core.schedules.overlap import Overlap
from ddrep_core.schedules.steps import Hold, Join, Jump, Moved, Paint, Recall, Remember, Reverse, Setting, Walk, Word

UNDECIDED, DECIDED = 0.9, 0.1
"""Of how far the hero's x̂0 was from its final picture at first: this much where the critical band begins, and ends."""

JUDGED = 0.25
"""Part of the level at which the hero had decided: where joining views are judged for the first time."""

FIRST = 0.02
"""Of one view's pixels, this much must be given for the others to join it: what lies behind a thing is not, nor counted
apart, and those at a silhouette are given in part."""

MEASURED = 10
"""Levels at which the prior is asked what it sees in a view that is given as a whole."""

LENIENCE = 5.0
"""How many times the tolerance may be exceeded at the first judgement: colours still settle after it."""

SETTLING = 1 / 3
"""The ratio of one level to the one before while a view that was judged settles."""

UNCHALLENGED = 0.005
"""Where less than this of an unrelated picture would be left, that a view agrees says nothing."""

GAIN, NEGLIGIBLE = 0.95, 1e-4
"""Single steps from the lowest level go on while each leaves at most this part of the disagreement before it, and more
than that in all: colours settle on those that are painted, and a wrong picture stays as it is. A view of which little
is painted settles slowly, for its prior asks for one colour of the whole: where an eighth is, each step takes away a
tenth of the difference."""


@dataclass(frozen=True)
class Grown:
    """A plan: the hero alone, then the others, checked; then all together.

    Args:
        levels: of a whole descent, falling to 0.
        group: how many views join at once; more make larger batches, fewer agree better.
        budget: evaluations (of all views) after which nothing is refused any more; three descents when not given.
        tolerance: a view is accepted when its conflict is at most this, plus what is left when the hero joins its own
            picture. 0 is perfect agreement, 1 an unrelated picture.
        eta: DDIM's stochastic share while a view joins; None takes the run's.
        screening: steps from a joining view's first level to the one at which it is first judged. Few are better: in
            many, what is not painted yet makes up its own mind before what is painted can be heard.
        settling: steps from there to the end of a joining view's descent, where it is judged again.
        joint: where the last pass of all views together starts, as a part of the level at which the hero had decided;
            0 leaves it out.
        polishing: at most this many single steps from the lowest level, for a view that joins before it is judged again
            and for all views at the end.
    """

    levels: tuple[float, ...]
    group: int = 1
    budget: float | None = None
    tolerance: float = 0.05
    eta: float | None = 0.0
    screening: int = 4
    settling: int = 4
    joint: float = 0.06
    polishing: int = 48

    def __post_init__(self) -> None:
        if len(self.levels) < 3 or self.levels[-1] != 0:
            raise RequestError("Grown sampling needs noise levels that fall to zero, two steps or more.")
        if self.group < 1 or self.tolerance <= 0:
            raise RequestError("Grown sampling needs a group of at least one view and a tolerance above zero.")
        if min(self.screening, self.settling) < 1 or self.polishing < 0 or not 0 <= self.joint <= 1:
            raise RequestError("Grown sampling needs steps in which views join, and a joint pass from 0 to 1.")

    @property
    def nfe(self) -> float:
        """The most that a run is meant to cost; most runs cost about one plain descent."""
        return self.budget or 3.0 * (len(self.levels) - 1)

    def walk(self, setting: Setting) -> Walk:
        return GrownWalk(self, setting)


@dataclass
class Progress:
    """How far a grown run is: all that its walk decides by, beside what the hero looked like on its way.

    Attributes:
        phase: hero, floor, grow, settle, joint, polish or done.
        descent: the levels of the descent under way, and `at` which of them.
        moving, held, waiting, pending: views; those pending join next.
        drafts: views that the budget did not suffice for.
        unchallenged: views that what was painted before them could not have contradicted.
        words: what is to be done before the next step.
        jumped: whether the descent's noise is drawn already.
        remembered: whether θ is kept as it was before the round.
        band: the levels at which the hero's picture began and ceased to be undecided.
        floor: what is left when the hero joins its own picture.
        reference: how far the hero was from its picture at first.
        refused: evaluations spent on rounds that were not accepted, for all views; `refused_here` for these.
        scores: by view, of its best round.
        steps: of this round; `taken` of the run.
        disagreement: after the last step of polishing.
    """

    descent: list[float]
    moving: list[int]
    waiting: list[int]
    phase: str = "hero"
    at: int = 0
    jumped: bool = True
    held: list[int] = field(default_factory=list)
    drafts: list[int] = field(default_factory=list)
    unchallenged: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    remembered: bool = False
    band: tuple[float, float] = (0.0, 0.0)
    floor: float = 0.0
    reference: float = 0.0
    refused: float = 0.0
    refused_here: float = 0.0
    round: int = 0
    scores: dict[int, float] = field(default_factory=dict)
    steps: int = 0
    taken: int = 0
    polished: int = 0
    settled: bool = False
    disagreement: float | None = None

    def to_json(self) -> dict[str, Any]:
        words = [{"word": type(word).__name__, **asdict(word)} for word in self.words]
        descent = ["inf" if math.isinf(level) else level for level in self.descent]  # JSON has no infinity
        scores = {str(view): score for view, score in self.scores.items()}
        return asdict(self) | {"words": words, "descent": descent, "scores": scores}

    @classmethod
    def from_json(cls, numbers: dict[str, Any]) -> Progress:
        """Raises StaleState: not the progress of a run of this kind."""
        if set(numbers) != {each.name for each in fields(cls)}:
            raise StaleState("The state to go on from belongs to another schedule.", "Start the job anew.")
        kinds = {kind.__name__: kind for kind in (Remember, Recall, Hold, Paint, Join)}
        words = []
        for entry in numbers["words"]:
            rest: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()
            }
            words.append(kinds[rest.pop("word")](**rest))
        read = {
            "words": words,
            "descent": [float(level) for level in numbers["descent"]],
            "scores": {int(view): score for view, score in numbers["scores"].items()},
            "band": tuple(numbers["band"]),
        }
        return cls(**(numbers | read))


class GrownWalk:
    """One sample of a `Grown` plan.

    Raises:
        RequestError: several samples at once, or views that are given in small parts: it decides for one sample and all
            its views.
    """

    joins = True

    def __init__(self, plan: Grown, setting: Setting) -> None:
        if setting.particles > 1:
            said = "Grown sampling decides view by view, which several samples together cannot."
            raise RequestError(said, "Take another schedule, e.g. repaint.")
        if setting.known and (max(setting.known.values()) < FIRST or len(setting.known) == len(setting.weights)):
            said = "Grown sampling can be given single views, and no parts of all of them."
            raise RequestError(said, "Take another schedule, e.g. repaint.")
        self.plan, self.setting = plan, setting
        weights, views = setting.weights, setting.views
        self.overlap = Overlap(setting.rep, weights, views)
        importance = weights.amax((1, 2, 3)) if views is None else torch.as_tensor(views.weights)
        seeing = weights.sum((1, 2, 3)).cpu() > 0
        rank = torch.where(seeing, importance.cpu().double(), -1.0)
        given = [view for view in setting.known if bool(seeing[view])]
        hero = max(given, key=lambda view: (setting.known[view], float(rank[view]))) if given else int(rank.argmax())
        # Those that are given as a whole are held in every step, and need not join.
        waiting = [v for v in range(len(weights)) if v != hero and v not in setting.whole and bool(seeing[v])]
        levels = list(plan.levels)
        if hero in setting.whole:
            last, stride = len(levels) - 1, math.ceil((len(levels) - 1) / MEASURED)
            levels = [levels[step] for step in sorted({*range(0, last, stride), last - 1, last})]
        self.progress = Progress(levels, [hero], waiting)
        self.hero: dict[int, Tensor] = {}  # [C, h, w] its x̂0 after each step; 0: what it looks like now

    # What the loop asks

    @property
    def not_agreed(self) -> list[int]:
        return sorted(self.progress.drafts)

    @property
    def of(self) -> int:
        """This many if every view is accepted at its next round."""
        now = self.progress
        here = len(now.descent) - 1 - now.at
        low = now.band[1] or self.plan.levels[len(self.plan.levels) // 3]
        rounds = math.ceil(len(now.waiting) / self.plan.group)
        joint = len(self._below(self.plan.joint * low)) if now.phase != "joint" else 0
        return now.taken + here + rounds * (1 + self._steps_to_join) + joint

    @property
    def _steps_to_join(self) -> int:
        """At least: with one step of polishing."""
        return self.plan.screening + self.plan.settling + 1

    def next(self) -> Word | None:
        now = self.progress
        while not now.words and now.phase != "done" and now.at >= len(now.descent) - 1:
            self._end_descent()
        if now.words:
            return now.words[0]
        if now.phase == "done":
            return None
        views = tuple(now.moving)
        start = now.descent[now.at]
        if not now.jumped:
            return Jump(0.0, start, keep=0.0, views=views)
        held = tuple(now.held) if now.phase in ("floor", "grow", "settle") else ()
        eta = self.setting.eta if self.plan.eta is None else self.plan.eta
        end = now.descent[now.at + 1]
        # The others follow the hero: second-order steps keep its picture's variance, and are one view's evaluations.
        heun = now.phase == "hero" and eta == 0 and end > 0 and math.isfinite(start) and not self.setting.known
        return Reverse(start, end, eta, heun, views=views, held=held)

    def hear(self, word: Word, moved: Moved | None) -> None:
        now = self.progress
        if isinstance(word, Jump):
            now.taken += 1
            now.jumped = True
            return
        if moved is None:
            now.words.pop(0)
            return
        now.taken += 1
        now.at += 1
        now.steps += 1
        if now.phase == "hero":
            # What the prior sees in a given picture ends at what it makes of it, which need not be the picture.
            self.hero[now.at] = moved.unled[0]
            self.hero[0] = moved.unled[0] if self.setting.known else moved.render[0]
        elif now.phase == "floor":
            now.floor = self._score(moved, 0)
        elif now.phase == "grow" and now.at == self.plan.screening:
            self._judge(moved, LENIENCE * self.plan.tolerance + now.floor)
        elif now.phase == "settle" and not self._polishes(float(moved.conflicts.max())):
            self._judge(moved, self.plan.tolerance)
        elif now.phase == "polish" and not self._polishes(moved.disagreement):
            now.phase = "done"

    # Phases

    def _end_descent(self) -> None:
        now = self.progress
        if now.phase in ("joint", "polish"):
            self._polish("polish")
            return
        if now.phase in ("grow", "settle") and now.moving and not now.settled:
            self._polish("settle")
            return
        if now.phase == "hero":
            self._find_band()
            self._accept()
            now.held += [view for view in self.setting.whole if view not in now.held]
            if now.waiting:
                self._start_round("floor", now.held[:1])
                return
        elif now.phase == "floor":
            now.words.append(Recall("before"))
            now.moving = []
        if now.moving:
            self._accept()
        if not now.pending and not self._next_group():
            self._start_joint()
            return
        self._start_round("grow", now.pending)

    def _find_band(self) -> None:
        """Where the hero's picture was decided."""
        now = self.progress
        levels, weights = now.descent, self.setting.weights[now.moving[0]]
        final = self.hero[0]
        profile = [float((weights * (self.hero[step] - final) ** 2).sum()) for step in range(1, len(levels))]
        self.hero.clear()
        first = max(profile[0], 1e-30)
        now.reference = first / max(float(weights.sum()), 1e-30)
        undecided = [i for i, value in enumerate(profile) if value >= UNDECIDED * first]
        decided = next((i for i in range(len(profile)) if max(profile[i:]) <= DECIDED * first), len(profile) - 1)
        begin = min(undecided[-1] if undecided else 0, len(levels) - 3)
        if math.isinf(levels[begin]):
            begin += 1
        decided = min(max(decided, begin + 1), len(levels) - 2)
        now.band = (levels[begin], levels[decided])

    def _next_group(self) -> bool:
        """The views that share most with what is painted, and little with each other."""
        now = self.progress
        if not now.waiting:
            return False
        painted = self.overlap.painted(now.held)
        group: list[int] = []
        for _ in range(min(self.plan.group, len(now.waiting))):
            among = self.overlap.painted(group) if group else torch.zeros_like(painted)
            best = max((v for v in now.waiting if v not in group), key=lambda v: (float(painted[v] - among[v]), -v))
            group.append(best)
        now.pending = group
        now.waiting = [view for view in now.waiting if view not in group]
        now.refused_here, now.scores, now.round = 0.0, {}, 0
        return True

    def _start_round(self, phase: str, views: Sequence[int]) -> None:
        now = self.progress
        # Where the last round was refused, θ as it was without it.
        now.words.append(Recall("before") if now.remembered else Remember("before"))
        now.remembered = True
        if phase == "grow":
            now.words.append(Join(tuple(views)))
        now.descent = self._joining(now.round)
        if phase == "floor":  # the step after which views are judged for the first time
            now.descent = now.descent[self.plan.screening - 1 : self.plan.screening + 1]
        now.round += phase == "grow"
        now.phase, now.at, now.jumped, now.moving = phase, 0, False, list(views)
        now.steps, now.polished, now.settled, now.disagreement = 0, 0, False, None

    def _start_joint(self) -> None:
        now = self.progress
        if now.remembered:  # the last view was given up: θ without its last round
            now.words.append(Recall("before"))
            now.remembered = False
        self._warn()
        everyone = sorted(view for view in now.held + now.drafts if view not in self.setting.whole)
        if not everyone or len(now.held + now.drafts) < 2 or self.plan.joint == 0:
            now.phase = "done"
            return
        now.descent = self._below(self.plan.joint * now.band[1])
        now.phase, now.at, now.jumped, now.moving = "joint", 0, False, everyone
        now.polished, now.disagreement = 0, None

    def _warn(self) -> None:
        """Say where agreement is worth nothing."""
        views, free = self.setting.views, sorted(self.progress.unchallenged)
        if free:
            names = ", ".join(str(view) if views is None else f"'{views[view].name}'" for view in free)
            warnings.warn(
                f"Views {names} could not be contradicted by those painted before them: they overlap too little, or "
                "the representation is finer than the views resolve it. They may show something else.",
                DdrepWarning,
                stacklevel=2,
            )

    def _polish(self, phase: str) -> None:
        """One more step of what moves from the lowest level, with the noise that it has."""
        now = self.progress
        now.phase, now.descent, now.at, now.jumped = phase, [self.plan.levels[-2], 0.0], 0, True

    def _polishes(self, disagreement: float) -> bool:
        """Whether another such step is worth its evaluation."""
        now = self.progress
        before = now.disagreement
        now.polished, now.disagreement = now.polished + 1, disagreement
        gains = disagreement > NEGLIGIBLE and (before is None or disagreement <= GAIN * before)
        now.settled = not gains or now.polished >= self.plan.polishing
        return not now.settled

    def _judge(self, moved: Moved, tolerance: float) -> None:
        """Which of the views that join may stay; the best round of each is kept in case none is ever accepted."""
        now = self.progress
        agreed: list[int] = []
        for row, view in enumerate(moved.indices.tolist()):
            score = self._score(moved, row)
            if score <= now.scores.get(view, math.inf):
                now.scores[view] = score
                now.words.append(Remember("best", (view,)))
            if score <= tolerance:
                agreed.append(view)
                if float(moved.share[row]) < UNCHALLENGED and view not in now.unchallenged:
                    now.unchallenged.append(view)
        refused = [view for view in moved.indices.tolist() if view not in agreed]
        if not refused:
            return
        spent = len(refused) * now.steps / len(self.setting.weights)
        now.refused += spent
        now.refused_here += spent
        now.moving = agreed
        if not self._may_refuse():
            self._give_up(refused)
        if not agreed:
            now.at = len(now.descent) - 1

    def _give_up(self, views: list[int]) -> None:
        """The budget is spent: their best round is drawn, but not held; the joint pass makes of it what it can."""
        now = self.progress
        best = Paint(tuple(views), tuple(now.held), "best")
        now.words += [Remember("now"), Recall("before"), best, Remember("before"), Recall("now")]
        now.drafts = now.drafts + views
        now.pending = [view for view in now.pending if view not in views]

    def _score(self, moved: Moved, row: int) -> float:
        return float(moved.conflicts[row]) * self._content(moved, row)

    def _content(self, moved: Moved, row: int) -> float:
        """A view's variance over how far the hero was from its picture at first, which counts its colour too."""
        weights, clean = self.setting.weights[moved.indices[row]], moved.clean[row]
        total = weights.sum().clamp_min(1e-30)
        mean = (weights * clean).sum((1, 2), keepdim=True) / total
        variance = float((weights * (clean - mean) ** 2).sum() / total)
        return variance / max(variance, self.progress.reference, 1e-30)

    def _may_refuse(self) -> bool:
        """Half of what is left beyond the descents that are due may go to these views."""
        now, views = self.progress, len(self.setting.weights)
        due = (2 * (len(self.plan.levels) - 1) + (views - 1) * self._steps_to_join) / views
        due += len(self._below(self.plan.joint * now.band[1]))
        earlier = now.refused - now.refused_here
        return now.refused_here < 0.5 * max(0.0, self.plan.nfe - due - earlier)

    def _accept(self) -> None:
        """What moved is painted: from now on it is held as it is now."""
        now = self.progress
        moving = tuple(now.moving)
        now.words.append(Hold(moving))
        if now.held:  # without what refused views left in θ
            now.words += [Recall("before"), Paint(moving, tuple(now.held))]
        now.held = now.held + now.moving
        now.pending = [view for view in now.pending if view not in moving]
        now.moving = []
        now.remembered = False

    def _joining(self, round_: int) -> list[float]:
        """The few levels of a round, through the critical band to well below it, where the view is judged.

        Rounds start at and above the band's upper end, in turn. Lower would be cheaper, but what is not painted yet is
        drawn as zero, and below that level the prior would take the zeros for a picture.
        """
        high, low = self.progress.band
        start = min(
            high * (1.0, 2.0, 1.5, 3.0)[round_ % 4], max(level for level in self.plan.levels if level < math.inf)
        )
        judged = JUDGED * low
        ratio = (judged / start) ** (1 / self.plan.screening)
        screening = [start * ratio**step for step in range(self.plan.screening)]
        return [*screening, *(judged * SETTLING**step for step in range(self.plan.settling)), 0.0]

    def _below(self, sigma: float) -> list[float]:
        """The plan's levels from `sigma` down."""
        ascending = [-level for level in self.plan.levels]
        return list(self.plan.levels[min(bisect.bisect_left(ascending, -sigma), len(self.plan.levels) - 1) :])

    # What a checkpoint keeps

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {f"walk.{step}": tensor.clone() for step, tensor in self.hero.items()}, self.progress.to_json()

    def load(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        self.progress = Progress.from_json(numbers)
        self.hero = {
            int(name.removeprefix("walk.")): tensor.to(self.setting.weights)
            for name, tensor in tensors.items()
            if name.startswith("walk.")
        }
