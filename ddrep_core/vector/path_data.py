"""The `d` of a path: what its letters draw, as lines, quadratic and cubic Béziers in absolute coordinates."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TypeAlias

from ddrep_core.vector.values import NUMBER, bounded, written

Point: TypeAlias = tuple[float, float]
_TOKEN = re.compile(rf"([MmLlHhVvCcSsQqTtAaZz])|({NUMBER})|([\s,]+)|(.)", re.S)
_FLAG = re.compile(r"[\s,]*([01])")
ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}


@dataclass
class Subpath:
    """A start and the pieces that follow it.

    Attributes:
        pieces: each one's further control points: one for a line, two for a quadratic Bézier, three for a cubic.
    """

    start: Point
    pieces: list[tuple[Point, ...]] = field(default_factory=list)
    closed: bool = False


def parse_path(text: str) -> tuple[list[Subpath], bool]:
    """The subpaths, and whether all of the text was understood: SVG draws a path up to its first fault."""
    found: list[Subpath] = []
    at: Point = (0.0, 0.0)
    reflected: tuple[str, Point] = ("", at)  # which curve came last, and its last control point
    reader, sound = _Reader(text), True
    letter, values = reader.next()
    while letter:
        kind, relative = letter.upper(), letter.islower()
        if not found and kind != "M":
            sound = False
            break
        x, y = at if relative else (0.0, 0.0)
        if kind == "Z":
            found[-1].closed = True
            at = found[-1].start
        elif kind == "M":
            at = bounded(x + values[0]), bounded(y + values[1])
            found.append(Subpath(at))
        else:
            if found[-1].closed:
                found.append(Subpath(at))
            pieces = _pieces(kind, values, at, x, y, relative, reflected)
            found[-1].pieces += pieces
            at = pieces[-1][-1] if pieces else at
            reflected = (kind, pieces[-1][-2]) if kind in "CSQT" else ("", at)
        if kind in "MZLHVA":
            reflected = ("", at)
        letter, values = reader.next()
    return found, sound and reader.sound


def _pieces(
    kind: str, values: list[float], at: Point, x: float, y: float, relative: bool, reflected: tuple[str, Point]
) -> list[tuple[Point, ...]]:
    last_kind, last = reflected
    pairs: list[Point] = []
    if kind not in "HVA":
        pairs = [(bounded(x + a), bounded(y + b)) for a, b in zip(values[::2], values[1::2], strict=True)]
    match kind:
        case "L":
            return [(pairs[0],)]
        case "H":
            return [((bounded(x + values[0]), at[1]),)]
        case "V":
            return [((at[0], bounded(y + values[0])),)]
        case "C":
            return [(pairs[0], pairs[1], pairs[2])]
        case "S":
            control = (2 * at[0] - last[0], 2 * at[1] - last[1]) if last_kind in ("C", "S") else at
            return [(control, pairs[0], pairs[1])]
        case "Q":
            return [(pairs[0], pairs[1])]
        case "T":
            control = (2 * at[0] - last[0], 2 * at[1] - last[1]) if last_kind in ("Q", "T") else at
            return [(control, pairs[0])]
        case _:
            end = bounded(x + values[5]), bounded(y + values[6])
            return arc(at, values[0], values[1], values[2], values[3] != 0, values[4] != 0, end)


def arc(
    start: Point, rx: float, ry: float, degrees: float, large: bool, sweep: bool, end: Point
) -> list[tuple[Point, ...]]:
    """An elliptical arc as cubic Béziers, each a quarter turn at most (2.7e-4 of a radius away from the ellipse).

    Source: SVG 2, appendix B.2.4 and B.2.5.
    """
    rx, ry = abs(rx), abs(ry)
    if start == end:
        return []
    if rx == 0 or ry == 0:
        return [(end,)]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half = (start[0] - end[0]) / 2, (start[1] - end[1]) / 2
    px, py = cosine * half[0] + sine * half[1], -sine * half[0] + cosine * half[1]
    need = (px / rx) ** 2 + (py / ry) ** 2
    if need > 1:
        rx, ry = rx * math.sqrt(need), ry * math.sqrt(need)
        need = 1.0
    root = math.sqrt(max(1 / need - 1, 0.0)) * (-1 if large == sweep else 1) if need > 0 else 0.0
    cx, cy = root * rx * py / ry, -root * ry * px / rx
    first = math.atan2((py - cy) / ry, (px - cx) / rx)
    turn = math.atan2((-py - cy) / ry, (-px - cx) / rx) - first
    if sweep and turn < 0:
        turn += 2 * math.pi
    if not sweep and turn > 0:
        turn -= 2 * math.pi
    centre = cosine * cx - sine * cy + (start[0] + end[0]) / 2, sine * cx + cosine * cy + (start[1] + end[1]) / 2

    def place(a: float, b: float) -> Point:
        return (
            bounded(centre[0] + cosine * rx * a - sine * ry * b),
            bounded(centre[1] + sine * rx * a + cosine * ry * b),
        )

    count = max(1, math.ceil(abs(turn) / (math.pi / 2) - 1e-9))
    reach = 4 / 3 * math.tan(turn / count / 4)
    found: list[tuple[Point, ...]] = []
    for number in range(count):
        a, b = first + turn * number / count, first + turn * (number + 1) / count
        last = end if number == count - 1 else place(math.cos(b), math.sin(b))
        found.append(
            (
                place(math.cos(a) - reach * math.sin(a), math.sin(a) + reach * math.cos(a)),
                place(math.cos(b) + reach * math.sin(b), math.sin(b) - reach * math.cos(b)),
                last,
            )
        )
    return found


def write_path(subpaths: list[Subpath], decimals: int) -> str:
    """The `d` that draws these."""

    def pair(point: Point) -> str:
        return f"{written(point[0], decimals)},{written(point[1], decimals)}"

    pieces = []
    for subpath in subpaths:
        pieces.append(f"M{pair(subpath.start)}")
        pieces += [" LQC"[len(piece)] + " ".join(map(pair, piece)) for piece in subpath.pieces]
        if subpath.closed:
            pieces.append("Z")
    return " ".join(pieces)


class _Reader:
    """Letters with as many numbers as each takes; a letter that has more is said again."""

    def __init__(self, text: str) -> None:
        self.text, self.position, self.letter, self.sound = text, 0, "", True

    def next(self) -> tuple[str, list[float]]:
        """The next letter and its numbers; ("", []) at the end or at a fault."""
        kind, value, end = self._token()
        if kind == "letter":
            self.letter, self.position = value, end
        elif kind == "number" and self.letter and self.letter not in "Zz":
            self.letter = {"M": "L", "m": "l"}.get(self.letter, self.letter)
        else:
            self.sound = self.sound and kind == "end"
            return "", []
        values = []
        for place in range(ARGUMENTS[self.letter.upper()]):
            number = self._flag() if self.letter in "Aa" and place in (3, 4) else self._number()
            if number is None:
                self.sound = False
                return "", []
            values.append(number)
        return self.letter, values

    def _token(self) -> tuple[str, str, int]:
        position = self.position
        while found := _TOKEN.match(self.text, position):
            if found[3] is None:
                return ("letter" if found[1] else "number" if found[2] else "fault"), found[0], found.end()
            position = found.end()
        return "end", "", position

    def _number(self) -> float | None:
        kind, value, end = self._token()
        if kind != "number":
            return None
        self.position = end
        return bounded(float(value))

    def _flag(self) -> float | None:
        found = _FLAG.match(self.text, self.position)
        if not found:
            return None
        self.position = found.end()
        return float(found[1])
