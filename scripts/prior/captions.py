"""Captions from what is known of a picture; the same facts are worded differently each time they are seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from directions import FROM_ABOVE, RAISED, aslant, eighth

PREFIXES = ("a photo of ", "a picture of ", "a 3d render of ", "an image of ", "a rendering of ")
SUFFIXES = (", high quality", ", detailed", ", best quality", ", 3d render", ", highly detailed", ", studio light")


@dataclass(frozen=True)
class Facts:
    """What a caption may say. `kind` is what the data set counts by: "emoji", "render", "surface" or "landscape"."""

    kind: str
    names: tuple[str, ...]
    adjectives: tuple[str, ...] = ()
    nouns: tuple[str, ...] = ()
    view: str | None = None
    background: str = "white"
    group: str = ""
    """The object's identity, for evaluation: one emoji or one parametric kind."""
    material: str = ""
    mirrored: bool = False
    small: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Facts:
        return Facts(**{key: tuple(value) if isinstance(value, list) else value for key, value in data.items()})


def article(words: str) -> str:
    """Words with "a" or "an" before them; plurals and pairs are left as they are."""
    first, last = words.split()[0], words.split(",")[0].split()[-1]
    if (last.endswith("s") and not last.endswith(("ss", "us", "bus"))) or first in ("a", "an", "the"):
        return words
    return ("an " if first[0] in "aeiou" and first not in ("unicorn", "ufo") else "a ") + words


def view_phrase(facts: Facts, random: np.random.Generator) -> str | None:
    """Words for the side that is shown: the eighth of a turn, or for a plain front, side or back just that.

    What has no front of its own has sides all the same, and is told them less often; so is an emoji its front.
    """
    if facts.kind == "emoji":
        return facts.view if random.random() < 0.6 else None
    if facts.view in ("overhead view", "bottom view"):
        return facts.view
    azimuth = facts.details["azimuth"]
    if facts.view is None:
        if random.random() < 0.4:
            return None
    elif aslant(azimuth) <= 20.0 and random.random() < 0.4:
        return facts.view
    raised = facts.details["elevation"] > RAISED and random.random() < 0.7
    return eighth(azimuth) + (f" {FROM_ABOVE}" if raised else "")


def caption(facts: Facts, random: np.random.Generator) -> str:
    """One wording of the facts."""
    chance = random.random
    name = facts.names[int(random.integers(len(facts.names)))] if chance() < 0.55 else facts.names[0]
    if facts.kind == "surface":
        noun = facts.nouns[int(random.integers(len(facts.nouns)))]
        return [f"{noun} texture", f"{noun} texture, flat surface", f"a surface of {noun}", noun][
            int(random.integers(4))
        ]
    if facts.kind == "landscape":
        sky = f" {facts.nouns[0]}" if chance() < (0.4 if "blue" in facts.nouns[0] else 0.85) else ""
        words = (name if chance() < 0.6 else article(name)) + sky
        if chance() < 0.15:
            words = PREFIXES[int(random.integers(len(PREFIXES)))] + words
        return words + (f", {facts.view}" if facts.view and chance() < 0.85 else "")
    if facts.kind == "render" and facts.adjectives and chance() < 0.06:
        name = ("object", "thing", "toy", "sculpture", "statue")[int(random.integers(5))]
    if facts.small and chance() < 0.7:
        name = f"small {name}"
    if facts.adjectives and facts.nouns and chance() < 0.2:
        words = (
            article(name)
            + (" made of " if chance() < 0.7 else " of ")
            + facts.nouns[int(random.integers(len(facts.nouns)))]
        )
    elif facts.adjectives:
        words = article(facts.adjectives[int(random.integers(len(facts.adjectives)))] + " " + name)
    else:
        words = article(name) if chance() < 0.85 else name
    if chance() < 0.15:
        words = PREFIXES[int(random.integers(len(PREFIXES)))] + words
    parts = []
    view = view_phrase(facts, random)
    if view and chance() < 0.85:
        parts.append(f", {view}")
    if facts.mirrored and chance() < 0.9:
        parts.append(", mirrored")
    if chance() < (0.3 if facts.background == "white" else 0.92):
        parts.append(f", on a {facts.background} background" if chance() < 0.7 else f", {facts.background} background")
    if chance() < 0.12:
        parts.append(SUFFIXES[int(random.integers(len(SUFFIXES)))])
    if len(parts) > 1 and chance() < 0.2:
        parts = parts[::-1]
    return words + "".join(parts)
