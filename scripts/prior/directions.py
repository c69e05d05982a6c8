"""The words for where a camera stands that the prior is taught, by the eighth of a turn.

"Side view" does not say which side, and views of an object that each may choose make two heads.
"""

from __future__ import annotations

from typing import Any

AROUND = (
    "front view",
    "front left view",
    "left side view",
    "back left view",
    "back view",
    "back right view",
    "right side view",
    "front right view",
)
"""Evenly around from the front towards the object's own left (an object seen from its left looks to the picture's)."""
FROM_ABOVE = "from above"
RAISED = 30.0
"""Degrees above the horizon from which a view is one from above; from 60 on it is "overhead"."""


def eighth(azimuth: float) -> str:
    """The words for an azimuth in degrees, counted as in `AROUND`."""
    return AROUND[round(azimuth / 45.0) % 8]


def aslant(azimuth: float) -> float:
    """Degrees, 0 to 45, from the nearest of front, sides and back."""
    return abs((azimuth + 45.0) % 90.0 - 45.0)


def for_ddrep() -> dict[str, Any]:
    """What `ddrep.json` says of them, so that ddrep's prompts use the words that were taught."""
    return {"directions": {"around": list(AROUND), "from_above": FROM_ABOVE}}
