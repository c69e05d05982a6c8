"""JSON from files that a stranger may have written: only what a program can go on with comes in."""

from __future__ import annotations

import json
import math
from typing import Any


def parse_json(text: str) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: it is not JSON, it is nested too deeply, or it holds NaN, infinity or a number that no float holds.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_int=_whole, parse_float=_real)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number that JSON knows")


def _whole(digits: str) -> int:
    _real(digits)
    return int(digits)


def _real(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        shown = digits if len(digits) <= 24 else f"{digits[:20]}… ({len(digits)} digits)"
        raise ValueError(f"{shown} is larger than any number that can be computed with")
    return number


def is_writable_text(text: str) -> bool:
    """Whether a text can be written as UTF-8: JSON also spells halves of characters (lone surrogates)."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
