"""Grown sampling: one view decides what the object is, and the others join it, each until the prior accepts it.

Views that start together choose apart and are then averaged, which blurs and favours what is common
(docs/agreement.md). Here the most important view, the hero, is sampled alone: one view has no conflict, so it is a fair
draw. Then views join in the order of their overlap with what is painted. What is painted stays in the fit as weighted
observations; a joining view starts from it and from fresh noise, at the level where the hero's own picture began to be
decided, and comes down in a few large steps. On the way and at the end it is judged: does the prior, looking at it,
want what the representation can hold together with what is painted? If not, another round with other noise. At last,
all views move together: down all the plan's levels from a low one, then in single steps from the lowest for as long as
these still make them agree better.

Nothing is tuned to one prior: the levels come from the hero's descent, conflicts are measured against unrelated
pictures (`disagreement.py`), and the threshold from what remains when the hero joins its own picture.
"""

from __future__ import annotations

import bisect
import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddrep_core.diffreps.image_texture import ImageTextureDiffrep
from ddrep_core.errors import DdrepWarning, RequestError
from ddrep_core.schedules.overlap import Overlap
from ddrep_core.schedules.steps import Jump, Moved, Reverse, Step, Walk

UNDECIDED, DECIDED = 0.9, 0.1
"""Of how far the hero's x̂0 was from its final picture at first: this much where the critical band begins, and ends."""

JUDGED = 0.25
"""Part of the level at which the hero had decided: where joining views are judged for the first time."""

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

    def walk(self, run: Any) -> Walk:
        return GrownWalk(self, run)


class GrownWalk:
    """One sample of a `Grown` plan. All that changes is in `numbers` (JSON) and `tensors`."""

    def __init__(self, plan: Grown, run: Any) -> None:
        self.plan, self.run = plan, run
        run.solver = run.solver.joining()
        self.overlap = Overlap(run.rep, run.weights, run.views)
        importance = run.weights.amax((1, 2, 3)) if run.views is None else torch.as_tensor(run.views.weights)
        seeing = run.weights.sum((1, 2, 3)).cpu() > 0
        hero = int(torch.where(seeing, importance.cpu().double(), -1.0).argmax())
        self.tensors: dict[str, Tensor] = {}
        self.numbers: dict[str, Any] = {
            "phase": "hero",
            "descent": list(plan.levels),  # the levels of the descent under way
            "at": 0,
            "jumped": True,
            "keep": 0.0,  # of the noise, in the jump that is due
            "moving": [hero],
            "held": [],
            "drafts": [],  # views that the budget did not suffice for
            "unchallenged": [],  # views that what was painted before them could not have contradicted
            "pending": [],
            "waiting": [view for view in range(run.rep.view_count) if view != hero and bool(seeing[view])],
            "band": [0.0, 0.0],
            "floor": 0.0,
            "reference": 0.0,
            "refused": 0.0,  # evaluations spent on rounds that were not accepted, for all views and for these
            "refused_here": 0.0,
            "round": 0,
            "scores": {},
            "steps": 0,  # of this round
            "polished": 0,
            "settled": False,
            "disagreement": None,
        }

    # What the loop asks

    @property
    def not_agreed(self) -> list[int]:
        return sorted(self.numbers["drafts"])

    @property
    def of(self) -> int:
        """This many if every view is accepted at its next round."""
        numbers = self.numbers
        here = len(numbers["descent"]) - 1 - numbers["at"]
        low = numbers["band"][1] or self.plan.levels[len(self.plan.levels) // 3]
        rounds = math.ceil(len(numbers["waiting"]) / self.plan.group)
        joint = len(self._below(self.plan.joint * low)) if numbers["phase"] != "joint" else 0
        return self.run.position + here + rounds * (1 + self._steps_to_join) + joint

    @property
    def _steps_to_join(self) -> int:
        """At least: with one step of polishing."""
        return self.plan.screening + self.plan.settling + 1

    def next(self) -> Step | None:
        numbers = self.numbers
        while numbers["at"] >= len(numbers["descent"]) - 1:
            self._end_descent()
            if numbers["phase"] == "done":
                return None
        views = tuple(numbers["moving"])
        start = numbers["descent"][numbers["at"]]
        if not numbers["jumped"]:
            return Jump(numbers["keep"] * start, start, keep=numbers["keep"], views=views)
        held = tuple(numbers["held"]) if numbers["phase"] in ("floor", "grow", "settle") else ()
        eta = self.run.eta if self.plan.eta is None else self.plan.eta
        return Reverse(_level(start), _level(numbers["descent"][numbers["at"] + 1]), eta, views=views, held=held)

    def hear(self, step: Step, moved: Moved | None) -> None:
        numbers = self.numbers
        if isinstance(step, Jump) or moved is None:
            numbers["jumped"] = True
            return
        numbers["at"] += 1
        numbers["steps"] += 1
        if numbers["phase"] == "hero":
            self.tensors[f"hero.{numbers['at']}"] = moved.clean[0]
        elif numbers["phase"] == "floor":
            numbers["floor"] = self._score(moved, 0)
        elif numbers["phase"] == "grow" and numbers["at"] == self.plan.screening:
            self._judge(moved, LENIENCE * self.plan.tolerance + numbers["floor"])
        elif numbers["phase"] == "settle" and not self._polishes(float(moved.conflicts.max())):
            self._judge(moved, self.plan.tolerance)
        elif numbers["phase"] == "polish" and not self._polishes(moved.disagreement):
            numbers["phase"] = "done"

    # Phases

    def _end_descent(self) -> None:
        numbers = self.numbers
        if numbers["phase"] == "done":
            return
        if numbers["phase"] in ("joint", "polish"):
            self._polish("polish")
            return
        if numbers["phase"] in ("grow", "settle") and numbers["moving"] and not numbers["settled"]:
            self._polish("settle")
            return
        if numbers["phase"] == "hero":
            self._find_band()
            self._accept()
            if numbers["waiting"]:
                self._start_round("floor", numbers["held"])
                return
        elif numbers["phase"] == "floor":
            self.run.put_back(self._before())
            numbers["moving"] = []
        if numbers["moving"]:
            self._accept()
        if not numbers["pending"] and not self._next_group():
            self._start_joint()
            return
        self._start_round("grow", numbers["pending"])

    def _find_band(self) -> None:
        """Where the hero's picture was decided."""
        run, levels = self.run, self.plan.levels
        hero = self.numbers["moving"][0]
        index = torch.tensor([hero], device=run.device)
        weights = run.weights[hero]
        final = run.rep.render(index)[0].detach()
        cleans = [self.tensors.pop(f"hero.{step}") for step in range(1, len(levels))]
        profile = [float((weights * (clean - final) ** 2).sum()) for clean in cleans]
        first = max(profile[0], 1e-30)
        self.numbers["reference"] = first / max(float(weights.sum()), 1e-30)
        undecided = [i for i, value in enumerate(profile) if value >= UNDECIDED * first]
        decided = next((i for i in range(len(profile)) if max(profile[i:]) <= DECIDED * first), len(profile) - 1)
        begin = min(undecided[-1] if undecided else 0, len(levels) - 3)
        if math.isinf(levels[begin]):
            begin += 1
        decided = min(max(decided, begin + 1), len(levels) - 2)
        self.numbers["band"] = [levels[begin], levels[decided]]

    def _next_group(self) -> bool:
        """The views that share most with what is painted, and little with each other."""
        numbers = self.numbers
        waiting: list[int] = numbers["waiting"]
        if not waiting:
            return False
        painted = self.overlap.painted(numbers["held"])
        group: list[int] = []
        for _ in range(min(self.plan.group, len(waiting))):
            among = self.overlap.painted(group) if group else torch.zeros_like(painted)
            best = max((v for v in waiting if v not in group), key=lambda v: (float(painted[v] - among[v]), -v))
            group.append(best)
        numbers["pending"] = group
        numbers["waiting"] = [view for view in waiting if view not in group]
        numbers["refused_here"], numbers["scores"], numbers["round"] = 0.0, {}, 0
        return True

    def _start_round(self, phase: str, views: list[int]) -> None:
        numbers = self.numbers
        if before := self._before():  # the last round was refused: θ as it was without it
            self.run.put_back(before)
        self.tensors |= {f"before.{name}": tensor for name, tensor in self.run.theta().items()}
        if phase == "grow" and isinstance(self.run.rep, ImageTextureDiffrep):  # its latents are each view's own
            self.run.rep.look(torch.tensor(views, device=self.run.device))
        descent = self._joining(numbers["round"])
        if phase == "floor":  # the step after which views are judged for the first time
            descent = descent[self.plan.screening - 1 : self.plan.screening + 1]
        numbers |= {
            "phase": phase,
            "descent": descent,
            "round": numbers["round"] + (phase == "grow"),
            "at": 0,
            "jumped": False,
            "keep": 0.0,
            "moving": list(views),
            "steps": 0,
            "polished": 0,
            "settled": False,
            "disagreement": None,
        }

    def _start_joint(self) -> None:
        numbers = self.numbers
        if before := self._before():  # the last view was given up: θ without its last round
            self.run.put_back(before)
        self.tensors.clear()
        self._warn()
        everyone = sorted(numbers["held"] + numbers["drafts"])
        if len(everyone) < 2 or self.plan.joint == 0:
            numbers["phase"] = "done"
            return
        descent = self._below(self.plan.joint * numbers["band"][1])
        numbers |= {"phase": "joint", "descent": descent, "at": 0, "jumped": False, "keep": 0.0, "moving": everyone}
        numbers |= {"polished": 0, "disagreement": None}

    def _warn(self) -> None:
        """Say where agreement is worth nothing."""
        views, free = self.run.views, sorted(self.numbers["unchallenged"])
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
        self.numbers |= {"phase": phase, "descent": [self.plan.levels[-2], 0.0], "at": 0, "jumped": True}

    def _polishes(self, disagreement: float) -> bool:
        """Whether another such step is worth its evaluation."""
        numbers = self.numbers
        before = numbers["disagreement"]
        numbers |= {"polished": numbers["polished"] + 1, "disagreement": disagreement}
        gains = disagreement > NEGLIGIBLE and (before is None or disagreement <= GAIN * before)
        numbers["settled"] = not gains or numbers["polished"] >= self.plan.polishing
        return not numbers["settled"]

    def _judge(self, moved: Moved, tolerance: float) -> None:
        """Which of the views that join may stay; the best round of each is kept in case none is ever accepted."""
        numbers, run = self.numbers, self.run
        renders = run.rep.render(moved.indices).detach()
        agreed: list[int] = []
        for row, view in enumerate(moved.indices.tolist()):
            score = self._score(moved, row)
            if score <= numbers["scores"].get(str(view), math.inf):
                numbers["scores"][str(view)] = score
                self.tensors[f"best.{view}"] = renders[row].clone()
            if score <= tolerance:
                agreed.append(view)
                if float(moved.share[row]) < UNCHALLENGED and view not in numbers["unchallenged"]:
                    numbers["unchallenged"].append(view)
        refused = [view for view in moved.indices.tolist() if view not in agreed]
        if not refused:
            return
        spent = len(refused) * numbers["steps"] / run.rep.view_count
        numbers["refused"] += spent
        numbers["refused_here"] += spent
        numbers["moving"] = agreed
        if not self._may_refuse():
            self._give_up(refused)
        if not agreed:
            numbers["at"] = len(numbers["descent"]) - 1

    def _give_up(self, views: list[int]) -> None:
        """The budget is spent: their best round is drawn, but not held; the joint pass makes of it what it can."""
        numbers, run = self.numbers, self.run
        before = self._before()
        now = run.theta()
        run.put_back(before)
        targets = torch.stack([self.tensors.pop(f"best.{view}") for view in views])
        run.pull_back(targets, torch.tensor(views, device=run.device), tuple(numbers["held"]))
        self.tensors |= {f"before.{name}": tensor for name, tensor in run.theta().items()}
        run.put_back(now)
        numbers["drafts"] = numbers["drafts"] + views
        numbers["pending"] = [view for view in numbers["pending"] if view not in views]

    def _score(self, moved: Moved, row: int) -> float:
        return float(moved.conflicts[row]) * self._content(moved, row)

    def _content(self, moved: Moved, row: int) -> float:
        """A view's variance over how far the hero was from its picture at first, which counts its colour too."""
        weights, clean = self.run.weights[moved.indices[row]], moved.clean[row]
        total = weights.sum().clamp_min(1e-30)
        mean = (weights * clean).sum((1, 2), keepdim=True) / total
        variance = float((weights * (clean - mean) ** 2).sum() / total)
        return variance / max(variance, self.numbers["reference"], 1e-30)

    def _may_refuse(self) -> bool:
        """Half of what is left beyond the descents that are due may go to these views."""
        numbers, views = self.numbers, self.run.rep.view_count
        due = (len(self.plan.levels) - 1 + (views - 1) * self._steps_to_join) / views
        due += len(self._below(self.plan.joint * numbers["band"][1]))
        earlier = numbers["refused"] - numbers["refused_here"]
        return numbers["refused_here"] < 0.5 * max(0.0, self.plan.nfe - due - earlier)

    def _accept(self) -> None:
        """What moved is painted: from now on it is held as it is now."""
        numbers, run = self.numbers, self.run
        moving, held = numbers["moving"], numbers["held"]
        index = torch.tensor(moving, device=run.device)
        pictures = run.rep.render(index).detach()
        if held:  # without what refused views left in θ
            run.put_back(self._before())
            run.pull_back(pictures, index, tuple(held))
        for row, view in enumerate(moving):
            run.observations[view] = pictures[row].clone()
            self.tensors.pop(f"best.{view}", None)
        numbers["held"] = held + moving
        numbers["pending"] = [view for view in numbers["pending"] if view not in moving]
        numbers["moving"] = []
        self.tensors = {name: t for name, t in self.tensors.items() if not name.startswith("before.")}

    def _before(self) -> dict[str, Tensor]:
        return {name.removeprefix("before."): t for name, t in self.tensors.items() if name.startswith("before.")}

    def _joining(self, round_: int) -> list[float]:
        """The few levels of a round, through the critical band to well below it, where the view is judged.

        Rounds start at and above the band's upper end, in turn. Lower would be cheaper, but what is not painted yet is
        drawn as zero, and below that level the prior would take the zeros for a picture.
        """
        high, low = self.numbers["band"]
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
        numbers = self.numbers | {"descent": [_number(level) for level in self.numbers["descent"]]}
        return {f"walk.{name}": tensor.clone() for name, tensor in self.tensors.items()}, dict(numbers)

    def load(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        if set(numbers) != set(self.numbers):
            raise RequestError("The state to go on from belongs to another schedule.", "Start the job anew.")
        self.numbers = dict(numbers) | {"descent": [_level(level) for level in numbers["descent"]]}
        self.tensors = {
            name.removeprefix("walk."): tensor.to(self.run.noise)
            for name, tensor in tensors.items()
            if name.startswith("walk.")
        }


def _level(value: float | str) -> float:
    return float(value)


def _number(value: float) -> float | str:
    """JSON has no infinity."""
    return "inf" if math.isinf(value) else value
