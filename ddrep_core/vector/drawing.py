"""A vector drawing: shapes in layers, and the numbers that they are made of.

Everything that can move is one of four lists: coordinates, colours, opacities, stroke widths. A control point is a
linear combination of coordinates (a circle's are of its centre and radius), so that a shape of any kind is drawn in one
way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ddrep_core.vector.values import IDENTITY, Matrix


@dataclass(frozen=True)
class Stop:
    """Of a gradient: its offset in 0..1, and which colour and opacity it has; `alpha` is its colour's own."""

    offset: float
    colour: int
    opacity: int
    alpha: float


@dataclass(frozen=True)
class Flat:
    """One colour; `alpha` is the colour's own, beside the opacity that moves."""

    colour: int
    alpha: float = 1.0


@dataclass(frozen=True)
class Gradient:
    """Colours along a line (x1, y1, x2, y2) or around a point (cx, cy, r, fx, fy, fr).

    Attributes:
        matrix: from the gradient's space to the shape's, or to the unit square of its box where `of_box`.
        spread: "pad", "reflect" or "repeat".
    """

    kind: str
    numbers: tuple[float, ...]
    stops: tuple[Stop, ...]
    matrix: Matrix
    of_box: bool
    spread: str


Paint: TypeAlias = Flat | Gradient


@dataclass(frozen=True)
class Outline:
    """A subpath: cubic Béziers, each by four points of the drawing; a straight one is a line from first to last.

    A closed one's last curve ends in the point `start`, where its first begins.
    """

    curves: tuple[tuple[int, int, int, int], ...]
    straight: tuple[bool, ...]
    closed: bool
    start: int


@dataclass(frozen=True)
class Stroke:
    """How a shape's outlines are stroked; `width` is an index."""

    paint: Paint
    opacity: int
    width: int
    cap: str
    join: str
    miter_limit: float


@dataclass(frozen=True)
class Fill:
    paint: Paint
    opacity: int
    rule: str


@dataclass(frozen=True)
class Shape:
    """What is drawn at once: a fill, a stroke above it (or below)."""

    name: str
    outlines: tuple[Outline, ...]
    matrix: Matrix
    fill: Fill | None
    stroke: Stroke | None
    stroke_first: bool = False


@dataclass(frozen=True)
class Layer:
    """Shapes and layers, from back to front.

    Attributes:
        opacity: index of the whole layer's, None where it is simply part of what lies around it.
        clips: shapes (by their fills) that together let it show, for each clip; all of them apply.
    """

    children: tuple[Shape | Layer, ...]
    opacity: int | None = None
    clips: tuple[tuple[Shape, ...], ...] = ()

    def shapes(self) -> Iterator[Shape]:
        """All shapes below, in the order they are drawn; without clips."""
        for child in self.children:
            if isinstance(child, Shape):
                yield child
            else:
                yield from child.shapes()


@dataclass(frozen=True)
class Place:
    """Where in the file numbers of the drawing stand.

    Attributes:
        element: its number.
        what: "path", "circle" and so on for coordinates; else the property.
        first, count: in the drawing's list.
        where: "attribute" or "style".
        pieces: of a path: for each subpath how many points each piece has, and whether it is closed.
    """

    element: int
    what: str
    first: int
    count: int = 1
    where: str = "attribute"
    pieces: tuple[tuple[tuple[int, ...], bool], ...] = ()


@dataclass
class Drawing:
    """Everything that is drawn of a file, or was laid out.

    Attributes:
        view_box: (x, y, width, height) in user units.
        size: (width, height) of the picture in CSS pixels, as the file says.
        fit: how the view box lies in a picture of another aspect: ("xMidYMid", "meet") and so on.
        coordinates, units: each number, and how long the canvas is in what that number counts.
        sizes: coordinates that are drawn, and written, as zero or more: widths, heights, radii.
        radii: (radius, side): a rectangle's radius is drawn as half of that side at most.
        points: each control point (x, y) as terms (coordinate, factor).
        colours, opacities, widths, width_units: sRGB in 0..1, 0..1, user units of the shape, as `units`.
        still: {"coordinates": …}: which of each list stay, by index: what is not in the file's own words (a colour
            that elements inherit where <use> shows them).
        places: where they are written.
        not_drawn: what the file holds that is not drawn, or not as it should be, in words.
    """

    view_box: tuple[float, float, float, float]
    size: tuple[float, float]
    fit: tuple[str, str] = ("xMidYMid", "meet")
    coordinates: list[float] = field(default_factory=list)
    units: list[float] = field(default_factory=list)
    points: list[tuple[tuple[tuple[int, float], ...], tuple[tuple[int, float], ...]]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    radii: list[tuple[int, int]] = field(default_factory=list)
    colours: list[tuple[float, float, float]] = field(default_factory=list)
    opacities: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    width_units: list[float] = field(default_factory=list)
    still: dict[str, set[int]] = field(
        default_factory=lambda: {kind: set() for kind in ("coordinates", "colours", "opacities", "widths")}
    )
    places: Mapping[str, list[Place]] = field(
        default_factory=lambda: {kind: [] for kind in ("coordinates", "colours", "opacities", "widths")}
    )
    root: Layer = field(default_factory=lambda: Layer(()))
    not_drawn: list[str] = field(default_factory=list)

    def canvas_matrix(self, height: int, width: int) -> Matrix:
        """From user units to pixels of a picture [height, width] (SVG 2, §8.2)."""
        x, y, box_width, box_height = self.view_box
        return viewport_matrix((x, y, box_width, box_height), (0.0, 0.0, width, height), self.fit)


def viewport_matrix(
    box: tuple[float, float, float, float], viewport: tuple[float, float, float, float], fit: tuple[str, str]
) -> Matrix:
    """From a view box to the viewport (x, y, width, height) that it is shown in."""
    x, y, box_width, box_height = box
    left, top, width, height = viewport
    across, down = width / box_width, height / box_height
    if fit[0] == "none":
        return across, 0.0, 0.0, down, left - across * x, top - down * y
    scale = max(across, down) if fit[1] == "slice" else min(across, down)
    share = {"Min": 0.0, "Mid": 0.5, "Max": 1.0}
    along, up = share.get(fit[0][1:4], 0.5), share.get(fit[0][5:8], 0.5)
    return (
        scale, 0.0, 0.0, scale,
        left - scale * x + (width - scale * box_width) * along, top - scale * y + (height - scale * box_height) * up,
    )  # fmt: skip


__all__ = ["IDENTITY", "Drawing", "Fill", "Flat", "Gradient", "Layer", "Outline", "Place", "Shape", "Stop", "Stroke"]
