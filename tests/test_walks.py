"""Walks without a prior: their words are answered by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.errors import RequestError
from ddrep_core.schedules.grown import Grown, GrownWalk
from ddrep_core.schedules.named import repaint_schedule
from ddrep_core.schedules.steps import (
    Hold,
    Join,
    Jump,
    Moved,
    Paint,
    Recall,
    Remember,
    Reverse,
    Setting,
    Walk,
    Word,
)

VIEWS, SIZE = 4, 6
LEVELS = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.1, 0.0)


def setting(**changes: Any) -> Setting:
    """Windows on a ring, each half as wide again as the step between them; no prior is ever asked."""
    ring = 4 * VIEWS
    matrix = torch.zeros(VIEWS * SIZE, ring, dtype=torch.float64)
    for view in range(VIEWS):
        for pixel in range(SIZE):
            matrix[view * SIZE + pixel, (view * 4 + pixel) % ring] = 1.0
    rep = LinearDiffrep(matrix, image_shape=(1, 1, SIZE))
    weights = torch.ones(VIEWS, 1, 1, SIZE, dtype=torch.float64)
    nobody: Any = None
    return Setting(
        **(
            {"rep": rep, "prior": nobody, "views": None, "weights": weights, "eta": 0.75, "views_per_step": VIEWS}
            | changes
        )
    )


def answer(word: Reverse, conflict: float, share: float = 0.5) -> Moved:
    """A step after which each view that moved contradicts the others so much; x̂0 settles as σ falls."""
    count = len(word.views or range(VIEWS))
    picture = torch.linspace(-1, 1, SIZE, dtype=torch.float64).expand(count, 1, 1, SIZE)
    clean = picture / (1 + word.sigma**2)
    indices = torch.tensor(word.views if word.views is not None else range(VIEWS))
    each = torch.full((count,), conflict, dtype=torch.float64)
    shares = torch.full((count,), share)
    return Moved(indices, clean, each, conflict, shares, 0 * clean, picture, clean, (1.0, 1.0, 1.0))


def follow(walk: Walk, conflict_of: Any, most: int = 500) -> list[Word]:
    said: list[Word] = []
    while (word := walk.next()) is not None and len(said) < most:
        assert walk.next() == word  # asking twice changes nothing
        said.append(word)
        walk.hear(word, answer(word, conflict_of(word)) if isinstance(word, Reverse) else None)
    assert word is None, "it never ends"
    return said


def test_a_fixed_walk_says_its_steps() -> None:
    schedule = repaint_schedule(LEVELS[:-1], 5, 1, 1, 2)
    walk = schedule.walk(setting(eta=0.3))
    said = follow(walk, lambda word: 0.0)
    assert said == list(schedule.steps(0.3)) and not walk.joins and walk.of == len(said)


def test_views_that_agree_are_held_one_after_another() -> None:
    walk = Grown(LEVELS).walk(setting())
    said = follow(walk, lambda word: 0.0)
    assert walk.joins and walk.not_agreed == []
    held = [word.views for word in said if isinstance(word, Hold)]
    assert held[0] == (0,) and sorted(view for views in held for view in views) == list(range(VIEWS))
    for place, word in enumerate(said):
        if isinstance(word, Hold) and place > len(LEVELS):  # θ as it was without the others, then this view alone
            assert said[place + 1] == Recall("before") and isinstance(said[place + 2], Paint)
            assert said[place + 2] == Paint(word.views, said[place + 2].held)  # pyright: ignore
            assert word.views[0] not in said[place + 2].held  # pyright: ignore
    joining = [word for word in said if isinstance(word, Reverse) and word.held and word.views != (0,)]
    assert joining and all(set(word.held).isdisjoint(word.views or ()) for word in joining)
    assert [word for word in said if isinstance(word, Join)] and isinstance(said[-1], Reverse)


def test_nothing_is_recalled_or_painted_that_was_not_remembered_or_held() -> None:
    for conflict in (0.0, 0.2, 1.0):
        known: set[str] = set()
        held: set[int] = set()
        pictures: set[int] = set()
        for word in follow(Grown(LEVELS, 2, budget=40).walk(setting()), lambda w, c=conflict: c if w.held else 0.0):
            match word:
                case Remember(name, views):
                    (pictures.update(views) if views else known.add(name))
                case Recall(name):
                    assert name in known
                case Hold(views):
                    held.update(views)
                case Paint(views, kept, name):
                    assert set(kept) <= held and set(views) <= (held if name is None else pictures)
                case Reverse():
                    assert set(word.held) <= held


def test_a_view_that_never_agrees_is_refused_until_the_budget_is_spent_and_left_out() -> None:
    walk = Grown(LEVELS, budget=40).walk(setting())
    said = follow(walk, lambda word: 1.0 if word.held and word.views == (2,) else 0.0)
    assert walk.not_agreed == [2]
    given_up = next(word for word in said if isinstance(word, Paint) and word.name == "best")
    assert given_up.views == (2,) and 2 not in {view for word in said if isinstance(word, Hold) for view in word.views}
    rounds = [word for word in said if isinstance(word, Jump) and word.views == (2,)]
    assert len(rounds) > 1  # other noise each time


def test_a_walk_goes_on_from_its_state_with_the_same_words_even_between_words() -> None:
    plan = Grown(LEVELS, 2, budget=40)

    def conflict(word: Reverse) -> float:
        return 0.6 if word.held and 3 in (word.views or ()) else 0.0

    first = plan.walk(setting())
    whole = follow(first, conflict)
    assert 3 in first.not_agreed
    for cut in range(0, len(whole), 7):
        walk = plan.walk(setting())
        for word in whole[:cut]:
            assert walk.next() == word
            walk.hear(word, answer(word, conflict(word)) if isinstance(word, Reverse) else None)
        tensors, numbers = walk.state()
        again = plan.walk(setting())
        again.load(tensors, json.loads(json.dumps(numbers)))
        assert follow(again, conflict) == whole[cut:]
        assert again.not_agreed == first.not_agreed


def test_the_walk_changes_nothing_of_its_setting() -> None:
    own = setting()
    before = own.rep.parameters()["theta"].clone()
    walk = Grown(LEVELS).walk(own)
    follow(walk, lambda word: 0.0)
    assert torch.equal(own.rep.parameters()["theta"], before) and isinstance(walk, GrownWalk)
    with pytest.raises(AttributeError):
        own.eta = 1.0  # pyright: ignore


def test_the_state_of_another_walk_is_refused() -> None:
    with pytest.raises(RequestError, match="another schedule"):
        Grown(LEVELS).walk(setting()).load({}, {"position": 3})
