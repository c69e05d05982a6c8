"""What is wrong with a job.json, as a person would say it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any

from pydantic_core import ErrorDetails

from ddrep_core.json_text import is_writable_text


def problem(details: ErrorDetails, known_keys: Callable[[tuple[int | str, ...]], list[str]]) -> str:
    """One pydantic error as a person would say it.

    Args:
        known_keys: of the block at a location.
    """
    where = ".".join(str(part) for part in details["loc"])
    kind, context, value = details["type"], details.get("ctx", {}), details.get("input")
    if kind == "extra_forbidden":
        known = known_keys(details["loc"][:-1])
        nearest = difflib.get_close_matches(str(details["loc"][-1]), known, n=1)
        return f"unknown key '{where}'" + (f" (did you mean '{nearest[0]}'?)" if nearest else "")
    if kind == "missing":
        return f"the key '{where}' is missing"
    wanted = _wanted(kind, context)
    if wanted:
        return f"'{where}' must be {wanted}, not {in_words(value)}"
    if kind in ("path", "cameras", "damage"):
        return f"'{where}' ({in_words(value)}) {details['msg']}"
    return f"'{where}': {details['msg']}" if where else details["msg"]


def _wanted(kind: str, context: dict[str, Any]) -> str:
    words = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "int_parsing": "a whole number",
        "float_type": "a number",
        "float_parsing": "a number",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "text",
        "string_unicode": "text that can be written as UTF-8",
        "list_type": "a list",
        "model_type": "an object with keys",
        "model_attributes_type": "an object with keys",
        "greater_than_equal": "at least {ge}",
        "greater_than": "above {gt}",
        "less_than_equal": "at most {le}",
        "less_than": "below {lt}",
        "string_too_short": "text that is not empty",
        "string_too_long": "at most {max_length} characters long",
        "too_short": "a list that is not empty",
        "literal_error": "{expected}",
    }
    if kind == "string_pattern_mismatch":
        return "auto, cpu, cuda, cuda:N or mps"
    return words.get(kind, "").format(**{k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()})


def in_words(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        if not is_writable_text(value):
            return "text with half a character (a lone surrogate)"
        shown = value if len(value) <= 60 else value[:57] + "..."
        return f'the text "{shown}"'
    if isinstance(value, int):
        return f"{value}" if abs(value) < 10**30 else "a number of more than thirty digits"
    if isinstance(value, float):
        return f"{value}" if math.isfinite(value) else "NaN or infinity"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else f"a {type(value).__name__}"
