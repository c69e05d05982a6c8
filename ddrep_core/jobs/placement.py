"""Where a job's cameras stand when no file says so, in words: orbit:8, coverage:6, front-back, six-sides:ortho."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

MOST_CAMERAS = 512
FORMS = "orbit:N, coverage:N, front-back or six-sides, each with or without :ortho"
_WORD = re.compile(r"(orbit|coverage|front-back|six-sides)(:.*)?", re.DOTALL)
_PLACEMENT = re.compile(
    r"(?:(?P<counted>orbit|coverage):(?P<count>\d{1,9})|(?P<fixed>front-back|six-sides))(?P<ortho>:ortho)?"
)
FIXED = {"front-back": 2, "six-sides": 6}


@dataclass(frozen=True)
class Placement:
    """Cameras around a mesh that the engine places.

    Attributes:
        kind: a ring at two heights; its front and its back; its six sides; or those that see most of it.
        count: how many.
        orthographic: without perspective.
    """

    kind: Literal["orbit", "coverage", "front-back", "six-sides"]
    count: int
    orthographic: bool = False


def is_placement(text: str) -> bool:
    """Whether this speaks of a placement, rightly or wrongly, and names no file."""
    return _WORD.fullmatch(text) is not None


def placement_of(text: str) -> Placement | None:
    """The placement that a text says; None where it says none, or one of no camera or too many."""
    match = _PLACEMENT.fullmatch(text)
    if match is None:
        return None
    kind = match["counted"] or match["fixed"]
    count = int(match["count"]) if match["count"] else FIXED[kind]
    return Placement(kind, count, match["ortho"] is not None) if 1 <= count <= MOST_CAMERAS else None  # type: ignore[arg-type]
