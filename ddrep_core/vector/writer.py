"""Drawings as SVG files: what moved is written in its place, the rest of the file stays as it was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddrep_core.vector.drawing import Drawing, Place
from ddrep_core.vector.markup import Markup
from ddrep_core.vector.path_data import Subpath, write_path
from ddrep_core.vector.render import Numbers
from ddrep_core.vector.style import with_declaration
from ddrep_core.vector.values import written

NAMES = {
    "rect": ("x", "y", "width", "height", "rx", "ry"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "line": ("x1", "y1", "x2", "y2"),
}
FINENESS = 2e5
"""Steps that the canvas's side is written in: finer than any picture shows."""


def write_svg(drawing: Drawing, markup: Markup, numbers: Numbers) -> bytes:
    """The file with these numbers.

    Args:
        drawing, markup: as they were read (`reader.read_svg`).
        numbers: of that drawing. What equals the drawing's own leaves its text untouched, to the byte.
    """
    changes: dict[int, dict[str, str]] = {}
    coordinates, widths = (_list(each) for each in (numbers.coordinates, numbers.widths))
    colours, opacities = (np.clip(_list(each), 0, 1) for each in (numbers.colours, numbers.opacities))
    before = Numbers.of(drawing, numbers.coordinates.dtype)

    def put(place: Place, name: str, value: str) -> None:
        element = markup.elements[place.element]
        found = changes.setdefault(place.element, {})
        if place.where == "style":
            found["style"] = with_declaration(found.get("style", element.attributes.get("style", "")), name, value)
        else:
            found[name] = value

    old = _list(before.coordinates)
    for place in drawing.places["coordinates"]:
        own = slice(place.first, place.first + place.count)
        if not np.array_equal(old[own], coordinates[own]):
            for name, value in geometry(place, coordinates[own], decimals(drawing.units[place.first])).items():
                put(place, name, value)
    for kind, now, text in (
        ("colours", colours, colour_text),
        ("opacities", opacities, lambda value: written(float(value), 4)),
        ("widths", np.maximum(widths, 0), None),
    ):
        old = _list(getattr(before, kind))
        for place in drawing.places[kind]:
            if not np.array_equal(old[place.first], now[place.first]):
                width = text or _width(decimals(drawing.width_units[place.first] if kind == "widths" else 1.0))
                put(place, place.what, width(now[place.first]))
    return markup.changed(changes)


def geometry(place: Place, values: Sequence[float] | NDArray[Any], digits: int) -> dict[str, str]:
    """The attributes that say where an element lies."""
    values = [float(each) for each in values]
    points = list(zip(values[::2], values[1::2], strict=False))
    if place.what == "path":
        subpaths, at = [], 0
        for counts, closed in place.pieces:
            subpath = Subpath(points[at], closed=closed)
            at += 1
            for count in counts:
                subpath.pieces.append(tuple(points[at : at + count]))
                at += count
            subpaths.append(subpath)
        return {"d": write_path(subpaths, digits)}
    if place.what in ("polyline", "polygon"):
        return {"points": " ".join(f"{written(x, digits)},{written(y, digits)}" for x, y in points)}
    sizes = ("width", "height", "r", "rx", "ry")
    found = zip(NAMES[place.what], values, strict=False)
    return {name: written(max(value, 0.0) if name in sizes else value, digits) for name, value in found}


def colour_text(colour: Sequence[float] | NDArray[Any]) -> str:
    """#rrggbb where that says it, else rgb() in percent: no step is lost that a render of 8 bits would show."""
    values = [float(each) for each in colour]
    eighths = [round(value * 255) for value in values]
    if all(abs(value * 255 - whole) < 0.02 for value, whole in zip(values, eighths, strict=True)):
        return "#" + "".join(f"{whole:02x}" for whole in eighths)
    return "rgb(" + ",".join(f"{written(100 * value, 2)}%" for value in values) + ")"


def decimals(unit: float) -> int:
    """After the point, for numbers in which the canvas is so long."""
    return min(max(math.ceil(math.log10(FINENESS / max(unit, 1e-9))), 0), 9)


def _width(digits: int) -> Any:
    return lambda value: written(float(value), digits)


def _list(tensor: Any) -> NDArray[Any]:
    return tensor.detach().cpu().numpy()
