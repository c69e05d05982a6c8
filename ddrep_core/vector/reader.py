"""SVG files as drawings. Nothing is fetched; what cannot be drawn is named."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ddrep_core.confined import Confined
from ddrep_core.errors import RequestError
from ddrep_core.vector.drawing import (
    Drawing,
    Fill,
    Flat,
    Gradient,
    Layer,
    Outline,
    Paint,
    Place,
    Shape,
    Stop,
    Stroke,
    viewport_matrix,
)
from ddrep_core.vector.markup import MOST_BYTES, Element, Markup, parse_markup
from ddrep_core.vector.path_data import parse_path
from ddrep_core.vector.style import ROOT, Sheet, Style, refuse_fetching
from ddrep_core.vector.values import IDENTITY, Matrix, colour, length, multiply, numbers, share, transform

MOST_SHAPES = 20_000
MOST_VISITED = 60_000
"""Elements, each as often as <use> shows it."""
MOST_NUMBERS = 2_000_000
QUARTER = 4 / 3 * (math.sqrt(2) - 1)
"""How far the control points of a quarter circle's Bézier lie from its ends, in radii."""
GROUPS = ("svg", "g", "a", "switch")
SHAPES = ("path", "rect", "circle", "ellipse", "line", "polyline", "polygon")
NEVER_DRAWN = {
    "title", "desc", "metadata", "defs", "symbol", "linearGradient", "radialGradient", "clipPath", "style", "stop",
    "marker", "pattern", "mask", "filter", "view",
}  # fmt: skip
_REFERENCE = re.compile(r"""url\(\s*["']?#([^)"']+)["']?\s*\)\s*(.*)""", re.S)


def read_svg(path: str | Path) -> tuple[Drawing, Markup]:
    """The drawing of an SVG file, and the file's text, to be written again (`writer.write_svg`).

    Raises:
        RequestError: the file is not there, or `parse_svg` refuses it.
    """
    path = Path(path)
    try:
        with Confined(path.absolute().parent).open(path.name) as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise RequestError(f"The drawing {path} cannot be read: {error}.", "Name an SVG file.") from error
    return parse_svg(data)


def parse_svg(data: bytes | str) -> tuple[Drawing, Markup]:
    """As `read_svg`, from a text.

    Raises:
        RequestError: it is no SVG, refers to something outside of itself, defines entities, has no size, or is larger
            than we read.
    """
    markup = parse_markup(data.encode("utf-8") if isinstance(data, str) else data)
    return _Reader(markup).drawing, markup


class _Reader:
    """Walks through a file once and lays out its drawing."""

    def __init__(self, markup: Markup) -> None:
        for element in markup.elements:
            _refuse_references(element)
        self.by_id: dict[str, Element] = {}
        for element in markup.elements:
            self.by_id.setdefault(element.attributes.get("id", ""), element)
        self.sheet = Sheet(markup)
        self.drawing = Drawing(*_canvas(markup.root))
        self.diagonal = math.hypot(*self.drawing.view_box[2:]) / math.sqrt(2)
        self.canvas = max(self.drawing.view_box[2:])
        self.shapes, self.visited, self.used_now = 0, 0, 0
        self.outlines: dict[int, tuple[Outline, ...]] = {}
        self.known: dict[tuple[str, int, str], int] = {}
        self.stops: dict[int, Stop] = {}
        self.shared = {
            below.number
            for element in markup.elements
            if element.tag == "use"
            for below in self._target(element, "use").below()
        }
        for selector in self.sheet.unknown:
            self.note(f"the style sheet's '{selector[:60]}' is not applied")
        self.drawing.root = Layer(self._children(markup.root, self.sheet.style(markup.root, ROOT), IDENTITY))
        if not any(True for _ in self.drawing.root.shapes()):
            self.note("nothing: the drawing holds no shape that can be drawn")

    def note(self, words: str) -> None:
        if words not in self.drawing.not_drawn and len(self.drawing.not_drawn) < 200:
            self.drawing.not_drawn.append(words)

    # Elements

    def _children(self, element: Element, style: Style, matrix: Matrix) -> tuple[Shape | Layer, ...]:
        found = (self._element(child, style, matrix) for child in element.children)
        return tuple(each for each in found if each is not None)

    def _element(self, element: Element, parent: Style, matrix: Matrix) -> Shape | Layer | None:
        if element.tag is None or element.tag in NEVER_DRAWN:
            return None
        self.visited += 1
        if self.visited > MOST_VISITED:
            raise RequestError(f"The SVG shows more than {MOST_VISITED} elements through <use>.", "Simplify it.")
        style = self.sheet.style(element, parent)
        if style["display"] == "none":
            return None
        if element.tag not in (*GROUPS, *SHAPES, "use"):
            self.note(f"{element.name} is not drawn")
            return None
        own = transform(style["transform"])
        if own is None:
            self.note(f"{element.name} is not drawn: its transform '{style['transform'][:40]}' cannot be read")
            return None
        matrix = multiply(matrix, own)
        if element.tag in SHAPES:
            shape = self._shape(element, style, matrix)
            content = () if shape is None else (shape,)
        elif element.tag == "use":
            content = self._use(element, style, matrix)
        elif element.tag == "svg":
            content = self._children(element, style, self._inner_viewport(element, matrix))
        else:
            chosen = element.children[:1] if element.tag == "switch" else element.children
            found = (self._element(child, style, matrix) for child in chosen)
            content = tuple(each for each in found if each is not None)
        return self._layer(element, style, matrix, content)

    def _layer(
        self, element: Element, style: Style, matrix: Matrix, content: tuple[Shape | Layer, ...]
    ) -> Shape | Layer | None:
        if not content:
            return None
        for effect in ("mask", "filter", "mix-blend-mode"):
            if style[effect] not in ("none", "normal"):
                self.note(f"{element.name} is drawn without its {effect}")
        clips = self._clips(element, style, matrix)
        value = share(style["opacity"])
        if value == 1 and not clips:
            return content[0] if len(content) == 1 else Layer(content)
        opacity = None if value == 1 else self._number("opacities", element, "opacity", value, style)
        return Layer(content, opacity, clips)

    def _use(self, element: Element, style: Style, matrix: Matrix) -> tuple[Shape | Layer, ...]:
        target = self._target(element, "use")
        if target.tag is None:
            self.note(f"{element.name} is not drawn: it refers to nothing")
            return ()
        if self.used_now >= 8:
            self.note(f"{element.name} is not drawn: it refers to itself, or through more than eight others")
            return ()
        x, y = (length(element.attributes.get(name), self._whole(name)) for name in ("x", "y"))
        matrix = multiply(matrix, (1.0, 0.0, 0.0, 1.0, x, y))
        self.used_now += 1
        if target.tag in ("symbol", "svg"):
            inner = self._inner_viewport(target, matrix, element)
            found: tuple[Shape | Layer, ...] = self._children(target, self.sheet.style(target, style), inner)
        else:
            one = self._element(target, style, matrix)
            found = () if one is None else (one,)
        self.used_now -= 1
        return found

    def _target(self, element: Element, kind: str) -> Element:
        name = element.attributes.get("href", "").strip()
        target = self.by_id.get(name[1:]) if name.startswith("#") and len(name) > 1 else None
        if target is None or (kind == "use" and _is_around(target, element)):
            return Element(-1, None, {}, 0)
        return target

    def _inner_viewport(self, element: Element, matrix: Matrix, use: Element | None = None) -> Matrix:
        said = dict(element.attributes)
        if use is not None:
            said |= {name: value for name, value in use.attributes.items() if name in ("width", "height")}
        x, y = (0.0, 0.0) if use else (length(said.get(name), self._whole(name)) for name in ("x", "y"))
        width, height = (length(said.get(n), self._whole(n), self._whole(n)) for n in ("width", "height"))
        box = numbers(element.attributes.get("viewBox", ""))
        if len(box) != 4 or min(box[2:]) <= 0 or min(width, height) <= 0:
            return multiply(matrix, (1.0, 0.0, 0.0, 1.0, x, y))
        view = viewport_matrix((box[0], box[1], box[2], box[3]), (x, y, width, height), _fit(element))
        return multiply(matrix, view)

    def _whole(self, name: str) -> float:
        """What a percentage of this attribute is of."""
        if name in ("x", "width", "cx", "rx", "x1", "x2", "fx"):
            return self.drawing.view_box[2]
        return self.drawing.view_box[3] if name in ("y", "height", "cy", "ry", "y1", "y2", "fy") else self.diagonal

    # Shapes

    def _shape(self, element: Element, style: Style, matrix: Matrix) -> Shape | None:
        if style["visibility"] in ("hidden", "collapse"):
            return None
        self.shapes += 1
        if self.shapes > MOST_SHAPES:
            raise RequestError(f"The SVG draws more than {MOST_SHAPES} shapes.", "Simplify it.")
        fill = self._fill(element, style)
        stroke = self._stroke(element, style, matrix)
        if fill is None and stroke is None:
            return None
        outlines = self._outlines(element, matrix)
        if not outlines:
            return None
        for marker in ("marker-start", "marker-mid", "marker-end"):
            if style[marker] != "none":
                self.note(f"{element.name} is drawn without its {marker}")
        first = style["paint-order"].split()[:1] == ["stroke"]
        return Shape(element.name, outlines, matrix, fill, stroke, first)

    def _fill(self, element: Element, style: Style) -> Fill | None:
        paint = self._paint(element, style, "fill")
        if paint is None:
            return None
        opacity = self._number("opacities", element, "fill-opacity", share(style["fill-opacity"]), style)
        return Fill(paint, opacity, "evenodd" if style["fill-rule"] == "evenodd" else "nonzero")

    def _stroke(self, element: Element, style: Style, matrix: Matrix) -> Stroke | None:
        width = length(style["stroke-width"], self.diagonal, 1.0)
        paint = self._paint(element, style, "stroke") if width > 0 else None
        if paint is None:
            return None
        if style["stroke-dasharray"] != "none" and any(numbers(style["stroke-dasharray"])):
            self.note(f"the dashed stroke of {element.name} is drawn unbroken")
        opacity = self._number("opacities", element, "stroke-opacity", share(style["stroke-opacity"]), style)
        before = len(self.drawing.widths)
        index = self._number("widths", element, "stroke-width", width, style)
        if len(self.drawing.widths) > before:
            self.drawing.width_units.append(self._unit(matrix))
        limit = max(length(style["stroke-miterlimit"], 1.0, 4.0), 1.0)
        return Stroke(paint, opacity, index, style["stroke-linecap"], style["stroke-linejoin"], limit)

    def _unit(self, matrix: Matrix) -> float:
        """The canvas's longer side in an element's own units."""
        scale = math.sqrt(abs(matrix[0] * matrix[3] - matrix[1] * matrix[2]))
        return self.canvas / scale if scale > 1e-9 else self.canvas

    def _number(self, kind: str, element: Element, name: str, value: object, style: Style) -> int:
        """The index of a colour, opacity or width; what is shared through <use> moves where it was declared, or not."""
        key = (kind, element.number, name)
        values = getattr(self.drawing, kind)
        if key in self.known and values[self.known[key]] == value:
            return self.known[key]
        values.append(value)
        index = len(values) - 1
        fixed = key in self.known or (element.number in self.shared and name not in style.declared)
        self.known.setdefault(key, index)
        if fixed:
            self.drawing.still[kind].add(index)
            return index
        where = "attribute" if style.declared.get(name, "attribute") == "attribute" else "style"
        self.drawing.places[kind].append(Place(element.number, name, index, where=where))
        return index

    # Outlines

    def _outlines(self, element: Element, matrix: Matrix) -> tuple[Outline, ...]:
        if element.number not in self.outlines:
            maker = _Outliner(self.drawing, element, self._unit(matrix), self._whole, self.note)
            self.outlines[element.number] = maker.outlines()
            if len(self.drawing.coordinates) > MOST_NUMBERS:
                raise RequestError(f"The SVG's paths have more than {MOST_NUMBERS} numbers.", "Simplify it.")
        return self.outlines[element.number]

    # Paints

    def _paint(self, element: Element, style: Style, name: str) -> Paint | None:
        said = style[name].strip()
        reference = _REFERENCE.match(said)
        if reference:
            target = self.by_id.get(reference[1])
            if target is not None and target.tag in ("linearGradient", "radialGradient"):
                return self._gradient(target)
            what = "nothing" if target is None else target.name
            said = reference[2].strip() or "none"
            self.note(f"the {name} of {element.name} refers to {what}, and is drawn as '{said[:40]}'")
        if said.lower() in ("none", ""):
            return None
        if said.lower() == "currentcolor":
            said = style["color"]
        found = colour(said)
        if found is None:
            if said.lower() not in ("context-fill", "context-stroke"):
                self.note(f"the {name} of {element.name}, '{said[:40]}', is not a colour that is known: it is left out")
            return None
        return Flat(self._number("colours", element, name, found[0], style), found[1])

    def _gradient(self, element: Element) -> Paint | None:
        chain: list[Element] = [element]
        while len(chain) < 8 and (after := self._target(chain[-1], "gradient")).tag and after not in chain:
            chain.append(after)
        said: dict[str, str] = {}
        for each in reversed(chain):
            said |= {name: value for name, value in each.attributes.items() if name != "id"}
        holder = next((each for each in chain if any(child.tag == "stop" for child in each.children)), None)
        stops = [] if holder is None else [self._stop(child) for child in holder.children if child.tag == "stop"]
        if not stops:
            return None
        highest = 0.0
        for place, stop in enumerate(stops):
            highest = max(highest, stop.offset)
            stops[place] = Stop(highest, stop.colour, stop.opacity, stop.alpha)
        if len(stops) == 1 and self.drawing.opacities[stops[0].opacity] == 1:
            return Flat(stops[0].colour, stops[0].alpha)
        of_box = said.get("gradientUnits") != "userSpaceOnUse"
        matrix = transform(said.get("gradientTransform"))
        if matrix is None:
            self.note(f"{element.name} is left out: its transform cannot be read")
            return None

        def number(name: str, otherwise: str) -> float:
            return length(said.get(name, otherwise), 1.0 if of_box else self._whole(name), 0.0)

        if element.tag == "linearGradient":
            values = (number("x1", "0%"), number("y1", "0%"), number("x2", "100%"), number("y2", "0%"))
        else:
            cx, cy, r = number("cx", "50%"), number("cy", "50%"), number("r", "50%")
            fx, fy = (number(own, said[own]) if own in said else centre for own, centre in (("fx", cx), ("fy", cy)))
            values = (cx, cy, r, fx, fy, number("fr", "0%"))
        spread = said.get("spreadMethod", "pad")
        return Gradient(element.tag or "", values, tuple(stops), matrix, of_box, spread)

    def _stop(self, element: Element) -> Stop:
        if element.number not in self.stops:
            style = self.sheet.style(element, ROOT)
            said = style["color"] if style["stop-color"].lower() == "currentcolor" else style["stop-color"]
            rgb, alpha = colour(said) or ((0.0, 0.0, 0.0), 1.0)
            self.stops[element.number] = Stop(
                share(element.attributes.get("offset"), 0.0),
                self._number("colours", element, "stop-color", rgb, style),
                self._number("opacities", element, "stop-opacity", share(style["stop-opacity"]), style),
                alpha,
            )
        return self.stops[element.number]

    # Clips

    def _clips(self, element: Element, style: Style, matrix: Matrix) -> tuple[tuple[Shape, ...], ...]:
        said = style["clip-path"].strip()
        if said == "none":
            return ()
        found = _REFERENCE.match(said)
        target = self.by_id.get(found[1]) if found else None
        if target is None or target.tag != "clipPath" or target.attributes.get("clipPathUnits") == "objectBoundingBox":
            self.note(f"{element.name} is drawn without its clip-path")
            return ()
        own = multiply(matrix, transform(target.attributes.get("transform")) or IDENTITY)
        inner = self.sheet.style(target, ROOT)
        shapes: list[Shape] = []
        for child in target.children:
            if child.tag in SHAPES:
                child_style = self.sheet.style(child, inner)
                outlines = self._outlines(child, own)
                placed = transform(child_style["transform"])
                if outlines and placed is not None and child_style["display"] != "none":
                    rule = "evenodd" if child_style["clip-rule"] == "evenodd" else "nonzero"
                    shapes.append(Shape(child.name, outlines, multiply(own, placed), Fill(Flat(0), 0, rule), None))
            elif child.tag not in NEVER_DRAWN and child.tag is not None:
                self.note(f"{child.name} does not clip")
        return (tuple(shapes),)


class _Outliner:
    """The control points of one element."""

    def __init__(
        self,
        drawing: Drawing,
        element: Element,
        unit: float,
        whole: Callable[[str], float],
        note: Callable[[str], None],
    ) -> None:
        self.drawing, self.element, self.unit, self.whole, self.note = drawing, element, unit, whole, note
        self.first = len(drawing.coordinates)

    def outlines(self) -> tuple[Outline, ...]:
        tag = self.element.tag
        if tag == "path":
            return self._path()
        if tag in ("polyline", "polygon"):
            values = numbers(self.element.attributes.get("points", ""))
            values = values[: len(values) // 2 * 2]
            if len(values) < 4:
                return ()
            indices = self._keep(values)
            return (self._polygon([self._point(x, x + 1) for x in indices[::2]], tag == "polygon"),)
        if tag == "line":
            x1, y1, x2, y2 = self._keep([self._length(name) for name in ("x1", "y1", "x2", "y2")])
            return (self._polygon([self._point(x1, y1), self._point(x2, y2)], False),)
        if tag == "rect":
            return self._rect()
        return self._ellipse()

    def _keep(self, values: Sequence[float], pieces: tuple[tuple[tuple[int, ...], bool], ...] = ()) -> range:
        """The indices of new coordinates, which belong to this element."""
        drawing = self.drawing
        first = len(drawing.coordinates)
        drawing.coordinates += values
        drawing.units += [self.unit] * len(values)
        what = self.element.tag or ""
        drawing.places["coordinates"].append(Place(self.element.number, what, first, len(values), pieces=pieces))
        return range(first, first + len(values))

    def _length(self, name: str) -> float:
        return length(self.element.attributes.get(name), self.whole(name))

    def _point(self, x: int, y: int) -> int:
        return self._mixed(((x, 1.0),), ((y, 1.0),))

    def _mixed(self, x: tuple[tuple[int, float], ...], y: tuple[tuple[int, float], ...]) -> int:
        self.drawing.points.append((x, y))
        return len(self.drawing.points) - 1

    def _polygon(self, points: list[int], closed: bool) -> Outline:
        ends = zip(points, points[1:] + points[:1] if closed else points[1:], strict=False)
        curves = tuple((a, a, b, b) for a, b in ends)
        return Outline(curves, (True,) * len(curves), closed, points[0])

    def _path(self) -> tuple[Outline, ...]:
        subpaths, sound = parse_path(self.element.attributes.get("d", ""))
        if not sound:
            self.note(f"{self.element.name} is drawn up to a fault in its path")
        subpaths = [subpath for subpath in subpaths if subpath.pieces or subpath.closed]
        points = [(subpath.start, *(point for piece in subpath.pieces for point in piece)) for subpath in subpaths]
        values = [number for subpath in points for point in subpath for number in point]
        if not values:
            return ()
        pieces = tuple((tuple(len(piece) for piece in subpath.pieces), subpath.closed) for subpath in subpaths)
        place = self._keep(values, pieces).start
        found = []
        for counts, closed in pieces:
            start = at = self._point(place, place + 1)
            at_place, place = place, place + 2
            curves, straight = [], []
            for count in counts:
                own = [self._point(place + 2 * k, place + 2 * k + 1) for k in range(count)]
                if count == 1:
                    curves.append((at, at, own[0], own[0]))
                elif count == 2:
                    curves.append((at, *self._elevated(at_place, place, place + 2), own[1]))
                else:
                    curves.append((at, own[0], own[1], own[2]))
                straight.append(count == 1)
                at, at_place, place = own[-1], place + 2 * count - 2, place + 2 * count
            if closed:
                curves.append((at, at, start, start))
                straight.append(True)
            found.append(Outline(tuple(curves), tuple(straight), closed, start))
        return tuple(found)

    def _elevated(self, start: int, control: int, end: int) -> tuple[int, int]:
        """The inner control points of a quadratic Bézier as a cubic one; by the places of their x."""
        near, far = (tuple(((each + axis, 1 / 3), (control + axis, 2 / 3)) for axis in (0, 1)) for each in (start, end))
        return self._mixed(*near), self._mixed(*far)

    def _rect(self) -> tuple[Outline, ...]:
        x, y, width, height = (self._length(name) for name in ("x", "y", "width", "height"))
        if width <= 0 or height <= 0:
            return ()
        given = {name: self._length(name) for name in ("rx", "ry") if name in self.element.attributes}
        given = {name: value for name, value in given.items() if value >= 0 and self.element.attributes[name] != "auto"}
        rx, ry = given.get("rx", given.get("ry", 0.0)), given.get("ry", given.get("rx", 0.0))
        rx, ry = min(rx, width / 2), min(ry, height / 2)
        values = [x, y, width, height] + ([rx, ry] if rx > 0 and ry > 0 else [])
        left, top, wide, high, *radii = self._keep(values)
        self.drawing.sizes += [wide, high, *radii]
        self.drawing.radii += zip(radii, (wide, high), strict=False)

        def corner(right: bool, bottom: bool, along: float = 0.0, down: float = 0.0) -> int:
            """A corner, moved inwards by so many radii."""
            at_x = [(left, 1.0)] + ([(wide, 1.0)] if right else [])
            at_y = [(top, 1.0)] + ([(high, 1.0)] if bottom else [])
            if radii:
                at_x.append((radii[0], -along if right else along))
                at_y.append((radii[1], -down if bottom else down))
            return self._mixed(tuple(at_x), tuple(at_y))

        corners = ((False, False), (True, False), (True, True), (False, True))
        if not radii:
            return (self._polygon([corner(*each) for each in corners], True),)
        curves: list[tuple[int, int, int, int]] = []
        near = 1 - QUARTER
        bends = []
        for number, each in enumerate(corners):
            ends = ((0.0, 1.0), (0.0, near), (near, 0.0), (1.0, 0.0))
            bends.append(tuple(corner(*each, *end) for end in (ends if number % 2 == 0 else ends[::-1])))
        for bend, after in zip(bends, bends[1:] + bends[:1], strict=True):
            curves += [bend, (bend[3], bend[3], after[0], after[0])]
        return (Outline(tuple(curves), (False, True) * 4, True, bends[0][0]),)

    def _ellipse(self) -> tuple[Outline, ...]:
        names = ("cx", "cy", "r") if self.element.tag == "circle" else ("cx", "cy", "rx", "ry")
        values = [self._length(name) for name in names]
        if self.element.tag == "ellipse":  # one that is not given is the other
            said = [self.element.attributes.get(name, "auto") for name in ("rx", "ry")]
            values[2] = values[3] if said[0] == "auto" else values[2]
            values[3] = values[2] if said[1] == "auto" else values[3]
        if min(values[2:]) <= 0:
            return ()
        cx, cy, *radii = self._keep(values)
        self.drawing.sizes += radii
        rx, ry = radii[0], radii[-1]

        def place(x: float, y: float) -> int:
            return self._mixed(((cx, 1.0), (rx, x)), ((cy, 1.0), (ry, y)))

        k, curves = QUARTER, []
        ends = [place(1, 0), place(0, 1), place(-1, 0), place(0, -1)]
        inner = (((1, k), (k, 1)), ((-k, 1), (-1, k)), ((-1, -k), (-k, -1)), ((k, -1), (1, -k)))
        for number, (one, two) in enumerate(inner):
            curves.append((ends[number], place(*one), place(*two), ends[(number + 1) % 4]))
        return (Outline(tuple(curves), (False,) * 4, True, ends[0]),)


def _canvas(
    root: Element,
) -> tuple[tuple[float, float, float, float], tuple[float, float], tuple[str, str]]:
    box = numbers(root.attributes.get("viewBox", ""))
    if box and (len(box) != 4 or min(box[2:]) <= 0):
        raise RequestError(
            f"The SVG's viewBox '{root.attributes['viewBox'][:60]}' is no rectangle.", "Four numbers: x y width height."
        )
    width = length(root.attributes.get("width"), box[2] if box else 300.0, box[2] if box else 300.0)
    height = length(root.attributes.get("height"), box[3] if box else 150.0, box[3] if box else 150.0)
    if width <= 0 or height <= 0:
        raise RequestError("The SVG is of no size: its width or height is zero.", "Give it a width and a height.")
    view = (box[0], box[1], box[2], box[3]) if box else (0.0, 0.0, width, height)
    return view, (width, height), _fit(root)


def _fit(element: Element) -> tuple[str, str]:
    said = element.attributes.get("preserveAspectRatio", "").split()
    if not said or not re.fullmatch("none|x(Min|Mid|Max)Y(Min|Mid|Max)", said[0]):
        return "xMidYMid", "meet"
    return said[0], "slice" if said[1:2] == ["slice"] else "meet"


def _is_around(target: Element, element: Element) -> bool:
    above = element.parent
    while above is not None and above is not target:
        above = above.parent
    return above is not None


def _refuse_references(element: Element) -> None:
    """Raises RequestError where an element would have something outside of the file fetched."""
    if element.tag is not None and element.tag != "a":
        said = element.attributes.get("href", "").strip()
        if said and not said.startswith("#") and not said.lower().startswith("data:"):
            raise RequestError(
                f"{element.name} refers to something outside of the SVG ('{said[:80]}'), which is not fetched.",
                "Remove the reference, or save the drawing with everything inside.",
            )
    for name, value in element.attributes.items():
        if "url(" in value or (name == "style" and "@import" in value):
            refuse_fetching(value)
