"""What a training step sees: shares of kinds of pictures, how often each sees depth, and which pictures come oftener.

A short training knows a few things or none. So depth teaches every shape there is, while what is to be drawn from
words alone is narrowed to objects that prompts name, mostly in their own colours and on white.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from captions import Facts
from directions import aslant
from shapes import KINDS

Array = np.ndarray

# Kinds without a front that prompts name all the same; the others without one are shapes for depth to practise on.
NAMED_WITHOUT_FRONT = frozenset(
    {"table", "lamp", "mug", "bottle", "vase", "teapot", "tree", "pine tree", "cactus", "mushroom", "pumpkin", "apple"}
    | {"donut", "cake", "ice cream", "rocket"}
)
OFTENER_BY_VIEW = {"back view": 1.8, "overhead view": 1.6, "front view": 4.0, "side view": 0.8, "bottom view": 0.5}


def emoji_weight(fact: Facts) -> float:
    """Objects as they are, and on white, come oftener."""
    return (1.0 if fact.adjectives else 3.0) * (1.0 if fact.background == "white" else 0.5)


def view_weight(fact: Facts) -> float:
    """Objects that prompts name, natural ones oftener, directions about evenly."""
    kind = KINDS[fact.group]
    if not kind.has_front and fact.group not in NAMED_WITHOUT_FRONT:
        return 0.0
    natural = 1.0 if fact.adjectives else 5.0
    direction = OFTENER_BY_VIEW.get(fact.view or "", 0.5) * plainness(fact)
    return natural * direction * (1.0 if fact.background == "white" else 0.5)


def plainness(fact: Facts) -> float:
    """How much a picture's direction is asked for: straight sides most, for their words are also the coarse ones."""
    if fact.view not in ("front view", "side view", "back view"):
        return 1.0
    off = aslant(fact.details["azimuth"])
    return 1.0 if off <= 20.0 else 0.75 if off <= 30.0 else 0.5


def even_weight(fact: Facts) -> float:
    del fact
    return 1.0


@dataclass(frozen=True)
class Stream:
    """One kind of picture in every batch."""

    kind: str
    share: float
    """Of the batch."""
    sees_depth: bool
    weight: Callable[[Facts], float]


STREAMS = (
    Stream("emoji", 0.37, False, emoji_weight),
    Stream("render", 0.43, False, view_weight),
    Stream("render", 0.10, True, even_weight),
    Stream("emoji", 0.02, True, even_weight),
    Stream("surface", 0.03, False, even_weight),
    Stream("landscape", 0.05, False, even_weight),
)


class Mixture:
    """Draws the rows of each step's batch; the same step always draws the same rows."""

    def __init__(self, facts: Sequence[Facts], learned: set[str], seed: int) -> None:
        self.seed = seed
        self.rows: list[tuple[Stream, Array, Array]] = []
        for stream in STREAMS:
            rows = np.array(
                [
                    index
                    for index, fact in enumerate(facts)
                    if fact.kind == stream.kind and (fact.kind != "emoji" or fact.group in learned)
                ],
                dtype=int,
            )
            weights = np.array([stream.weight(facts[index]) for index in rows])
            if weights.sum():
                self.rows.append((stream, rows, np.cumsum(weights) / weights.sum()))

    def draw(self, batch: int, step: int) -> tuple[Array, Array]:
        """Row numbers of one step, those that see depth and those that do not."""
        random = np.random.default_rng([self.seed, 7, step])
        controlled: list[Array] = []
        free: list[Array] = []
        for stream, rows, bounds in self.rows:
            chosen = np.searchsorted(bounds, random.random(max(1, round(stream.share * batch))))
            (controlled if stream.sees_depth else free).append(rows[np.minimum(chosen, len(rows) - 1)])
        return np.concatenate(controlled), np.concatenate(free)
