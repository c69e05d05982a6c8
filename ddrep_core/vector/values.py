"""What attributes of SVG say: numbers, lengths, colours, transforms."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TypeAlias

from PIL import ImageColor

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBER = re.compile(NUMBER)
_LENGTH = re.compile(rf"\s*({NUMBER})\s*([a-zA-Z%]*)\s*\Z")
_FUNCTION = re.compile(r"\s*,?\s*([A-Za-z]+)\s*\(([^)]*)\)")
UNITS = {
    "": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0, "em": 16.0, "ex": 8.0,
}  # fmt: skip
LARGEST = 1e6

Matrix: TypeAlias = tuple[float, float, float, float, float, float]
"""x' = a x + c y + e, y' = b x + d y + f, as SVG's matrix(a b c d e f)."""

IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def numbers(text: str) -> list[float]:
    """All numbers of a list; those that no picture could hold are held at the largest that one can."""
    return [bounded(float(each)) for each in _NUMBER.findall(text)]


def bounded(value: float) -> float:
    return min(max(value, -LARGEST), LARGEST) if math.isfinite(value) else 0.0


def length(text: str | None, whole: float, otherwise: float = 0.0) -> float:
    """A length in user units; percentages are of `whole`. What is none is `otherwise`."""
    found = _LENGTH.match(text or "")
    if not found:
        return otherwise
    value, unit = float(found[1]), found[2].lower()
    if unit == "%":
        return bounded(value / 100 * whole)
    return bounded(value * UNITS[unit]) if unit in UNITS else otherwise


def share(text: str | None, otherwise: float = 1.0) -> float:
    """An opacity or offset, 0..1."""
    return min(max(length(text, 1.0, otherwise), 0.0), 1.0)


def colour(text: str) -> tuple[tuple[float, float, float], float] | None:
    """sRGB in 0..1 and alpha of a CSS colour; None where it is none."""
    text = text.strip().lower()
    if text == "transparent":
        return (0.0, 0.0, 0.0), 0.0
    found = _FUNCTION.fullmatch(text)
    if found and found[1] in ("rgb", "rgba"):
        parts = re.findall(rf"({NUMBER})\s*(%?)", found[2])
        if len(parts) not in (3, 4):
            return None
        red, green, blue = (float(value) / (100 if percent else 255) for value, percent in parts[:3])
        alpha = float(parts[3][0]) / (100 if parts[3][1] else 1) if len(parts) == 4 else 1.0
        return tuple(min(max(each, 0.0), 1.0) for each in (red, green, blue)), min(max(alpha, 0.0), 1.0)  # type: ignore[return-value]
    alpha = 1.0
    if found and found[1] in ("hsl", "hsla"):
        parts = re.findall(rf"{NUMBER}", found[2])
        if len(parts) not in (3, 4):
            return None
        alpha = float(parts[3]) if len(parts) == 4 else 1.0
        text = f"hsl({parts[0]}, {parts[1]}%, {parts[2]}%)"
    if len(text) > 100:
        return None
    try:
        values = ImageColor.getrgb(text)
    except ValueError:
        return None
    red, green, blue = (each / 255 for each in values[:3])
    return (red, green, blue), min(max(alpha, 0.0), 1.0) * (values[3] / 255 if len(values) == 4 else 1.0)


def multiply(outer: Matrix, inner: Matrix) -> Matrix:
    """First `inner`, then `outer`."""
    a, b, c, d, e, f = outer
    g, h, i, j, k, m = inner
    found = (a * g + c * h, b * g + d * h, a * i + c * j, b * i + d * j, a * k + c * m + e, b * k + d * m + f)
    return tuple(bounded(each) for each in found)  # type: ignore[return-value]


def transform(text: str | None) -> Matrix | None:
    """The matrix of a list of transforms; None where it is none, so that what wears it is not drawn."""
    matrix, position, text = IDENTITY, 0, (text or "").strip()
    while position < len(text):
        found = _FUNCTION.match(text, position)
        step = _step(found[1], numbers(found[2])) if found else None
        if not found or step is None:
            return None
        matrix, position = multiply(matrix, step), found.end()
        while position < len(text) and text[position].isspace():
            position += 1
    return matrix


def _step(name: str, values: Sequence[float]) -> Matrix | None:
    match name, len(values):
        case "matrix", 6:
            a, b, c, d, e, f = values
            return a, b, c, d, e, f
        case "translate", 1 | 2:
            return 1.0, 0.0, 0.0, 1.0, values[0], values[1] if len(values) == 2 else 0.0
        case "scale", 1 | 2:
            return values[0], 0.0, 0.0, values[-1], 0.0, 0.0
        case "rotate", 1 | 3:
            cosine, sine = math.cos(math.radians(values[0])), math.sin(math.radians(values[0]))
            turn = (cosine, sine, -sine, cosine, 0.0, 0.0)
            if len(values) == 1:
                return turn
            there, back = (1, 0, 0, 1, values[1], values[2]), (1, 0, 0, 1, -values[1], -values[2])
            return multiply(multiply(there, turn), back)
        case "skewX", 1:
            return 1.0, 0.0, bounded(math.tan(math.radians(values[0]))), 1.0, 0.0, 0.0
        case "skewY", 1:
            return 1.0, bounded(math.tan(math.radians(values[0]))), 0.0, 1.0, 0.0, 0.0
    return None


def written(value: float, decimals: int = 4) -> str:
    """A number as short as it can be."""
    text = f"{value:.{decimals}f}".rstrip("0").rstrip(".") if decimals > 0 else f"{value:.0f}"
    return "0" if text in ("-0", "") else text
