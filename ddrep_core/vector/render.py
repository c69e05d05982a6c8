"""Draws a drawing: from its numbers to a picture, differentiable in all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.vector.coverage import coverage, mean_winding
from ddrep_core.vector.drawing import Drawing, Fill, Flat, Layer, Paint, Shape, Stroke
from ddrep_core.vector.flatten import chords, flatten
from ddrep_core.vector.paint import gradient_colours
from ddrep_core.vector.stroke import Pen, stroke_outline
from ddrep_core.vector.values import Matrix, multiply

LARGEST_SIDE = 8192
MOST_PIXELS = 2**26
AREA_PIXELS = 2**22
"""Pixels of areas that are covered at once."""
MOST_AREA_PIXELS = 2**34


@dataclass(frozen=True)
class Numbers:
    """What of a drawing can move, as tensors.

    Attributes:
        coordinates: [G] in user units of their shapes.
        colours: [K, 3] sRGB, meant for 0..1; drawn as if they were held there.
        opacities: [O], as colours.
        widths: [S] of strokes, in user units; drawn as zero or more.
    """

    coordinates: Tensor
    colours: Tensor
    opacities: Tensor
    widths: Tensor

    @classmethod
    def of(cls, drawing: Drawing, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Self:
        """The drawing's own."""
        return cls(
            torch.tensor(drawing.coordinates, dtype=dtype, device=device),
            torch.tensor(drawing.colours, dtype=dtype, device=device).reshape(-1, 3),
            torch.tensor(drawing.opacities, dtype=dtype, device=device),
            torch.tensor(drawing.widths, dtype=dtype, device=device),
        )


class Renderer:
    """Draws one drawing at one size; what does not depend on its numbers is worked out once.

    Args:
        drawing: what is drawn; its own numbers are not looked at.
        height, width: of the picture in pixels.
        subsamples: along a pixel's side where parts of a shape lap over each other; 1 is quicker, and a little off.

    Raises:
        RequestError: a picture larger than we draw.
    """

    def __init__(
        self,
        drawing: Drawing,
        height: int,
        width: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        subsamples: int = 4,
    ) -> None:
        check_size(height, width)
        self.drawing, self.height, self.width = drawing, height, width
        self.canvas = drawing.canvas_matrix(height, width)
        self.dtype, self.device, self.subsamples = dtype, torch.device(device), subsamples
        terms = [
            (2 * number + axis, column, factor)
            for number, point in enumerate(drawing.points)
            for axis, expression in enumerate(point)
            for column, factor in expression
        ]
        rows, columns, factors = zip(*terms, strict=True) if terms else ((), (), ())
        self._rows = torch.tensor(rows, dtype=torch.long, device=device)
        self._columns = torch.tensor(columns, dtype=torch.long, device=device)
        self._factors = torch.tensor(factors, dtype=dtype, device=device)
        self._areas: list[_Area] = []
        self._area_of: dict[tuple[int, str], int] = {}
        self._collect(drawing.root)
        if len(self._areas) * height * width > MOST_AREA_PIXELS:
            raise RequestError(
                f"A picture of {width} x {height} pixels with {len(self._areas)} fills and strokes is too large.",
                "Draw it smaller.",
            )
        outlines = [(area, outline) for area in self._areas for outline in area.shape.outlines]
        curves = [curve for _, outline in outlines for curve in outline.curves]
        self._curves = torch.tensor(curves, dtype=torch.long, device=device).reshape(-1, 4)
        straight = [each for _, outline in outlines for each in outline.straight]
        self._straight = torch.tensor(straight, dtype=torch.bool, device=device)
        scales = [area.scale for area, outline in outlines for _ in outline.curves]
        self._scales = torch.tensor(scales, dtype=dtype, device=device)
        strokes = [area.stroke for area, outline in outlines for _ in outline.curves]
        widths = [-1 if stroke is None else stroke.width for stroke in strokes]
        self._curve_width = torch.tensor(widths, dtype=torch.long, device=device)

    def render(self, numbers: Numbers) -> Tensor:
        """[4, H, W] premultiplied sRGB and opacity."""
        numbers = replace(
            numbers,
            colours=held(numbers.colours, 0.0, 1.0),
            opacities=held(numbers.opacities, 0.0, 1.0),
            widths=held(numbers.widths, 0.0, math.inf),
        )
        return _Picture(self, numbers).layer(self.drawing.root)

    def over(self, numbers: Numbers, background: Tensor | float = 1.0) -> Tensor:
        """[3, H, W] on a background: white, or [3, 1, 1] sRGB."""
        drawn = self.render(numbers)
        return drawn[:3] + (1 - drawn[3:]) * background

    def points(self, coordinates: Tensor) -> Tensor:
        """[R, 2] all control points in their shapes' units."""
        flat = coordinates.new_zeros(2 * len(self.drawing.points))
        return flat.index_add(0, self._rows, self._factors * coordinates[self._columns]).view(-1, 2)

    def _collect(self, layer: Layer) -> None:
        """Areas in the order in which they are asked for."""
        for clip in layer.clips:
            for shape in clip:
                self._add(shape, "fill")
        for child in layer.children:
            if isinstance(child, Layer):
                self._collect(child)
                continue
            for what in ("fill", "stroke"):
                if getattr(child, what) is not None:
                    self._add(child, what)

    def _add(self, shape: Shape, what: str) -> None:
        matrix = multiply(self.canvas, shape.matrix)
        self._area_of[id(shape), what] = len(self._areas)
        self._areas.append(_Area(shape, what, matrix, _scale(matrix)))


@dataclass(frozen=True)
class _Area:
    """What a fill or a stroke covers. `scale` is how many pixels a unit of its shape is long at most."""

    shape: Shape
    what: str
    matrix: Matrix
    scale: float

    @property
    def stroke(self) -> Stroke | None:
        return self.shape.stroke if self.what == "stroke" else None


class _Picture:
    """One drawing of a renderer's: the areas are covered as they are asked for, a few at once."""

    def __init__(self, renderer: Renderer, numbers: Numbers) -> None:
        self.renderer, self.numbers = renderer, numbers
        self.size = renderer.height, renderer.width
        control = renderer.points(numbers.coordinates)[renderer._curves]  # [M, 4, 2]
        with torch.no_grad():
            widths = torch.cat([numbers.widths, numbers.widths.new_zeros(1)])[renderer._curve_width]
            counts = chords(control, renderer._straight, renderer._scales, widths / 2)
        points, tangents, start = flatten(control, counts)
        self.edges: list[Tensor] = []
        self.boxes: list[Tensor | None] = []
        begins, ends = start.tolist(), (start + counts + 1).tolist()
        number = 0
        for area in renderer._areas:
            polygons: list[Tensor] = []
            seen: list[Tensor] = []
            for outline in area.shape.outlines:
                own = range(number, number + len(outline.curves))
                number += len(own)
                curves = [(points[begins[k] : ends[k]], tangents[begins[k] : ends[k]]) for k in own]
                seen += [each for each, _ in curves]
                if area.stroke is None:
                    polygons += [torch.cat([each for each, _ in curves])] if curves else []
                else:
                    polygons += stroke_outline(curves, outline.closed, self._pen(area))
            self.edges.append(_edges(polygons, area.matrix, renderer))
            self.boxes.append(_box(seen))
        self.covered: dict[int, Tensor] = {}

    def layer(self, layer: Layer) -> Tensor:
        """[4, H, W] premultiplied."""
        numbers = self.numbers
        picture = numbers.colours.new_zeros(4, *self.size)
        for child in layer.children:
            drawn = [self.layer(child)] if isinstance(child, Layer) else self.shape(child)
            for each in drawn:
                picture = each + picture * (1 - each[3:])
        if layer.opacity is not None:
            picture = picture * numbers.opacities[layer.opacity]
        for clip in layer.clips:
            hidden = torch.ones_like(picture[:1])
            for shape in clip:
                hidden = hidden * (1 - self.coverage(shape, "fill"))
            picture = picture * (1 - hidden)
        return picture

    def shape(self, shape: Shape) -> list[Tensor]:
        """What is laid on the picture for a shape, from back to front."""
        found = []
        for what in ("stroke", "fill") if shape.stroke_first else ("fill", "stroke"):
            part: Fill | Stroke | None = getattr(shape, what)
            if part is not None:
                colours = self.paint(part.paint, shape)
                found.append(colours * (self.coverage(shape, what) * self.numbers.opacities[part.opacity]))
        return found

    def paint(self, paint: Paint, shape: Shape) -> Tensor:
        """[4, H, W] or [4, 1, 1], premultiplied."""
        numbers = self.numbers
        if isinstance(paint, Flat):
            alpha = numbers.colours.new_full((1,), paint.alpha)
            return torch.cat([numbers.colours[paint.colour] * paint.alpha, alpha])[:, None, None]
        opacity = numbers.opacities[[stop.opacity for stop in paint.stops]]
        alpha = opacity * torch.tensor([stop.alpha for stop in paint.stops]).to(opacity)
        stops = torch.cat([numbers.colours[[stop.colour for stop in paint.stops]], alpha[:, None]], dim=1)
        known = self.renderer._area_of
        number = known[id(shape), "fill"] if (id(shape), "fill") in known else known[id(shape), "stroke"]
        area = self.renderer._areas[number]
        return gradient_colours(paint, area.matrix, self.boxes[number], stops, self.size)

    def coverage(self, shape: Shape, what: str) -> Tensor:
        """[1, H, W] in 0..1."""
        number = self.renderer._area_of[id(shape), what]
        if number not in self.covered:
            self.covered = {}
            several = max(1, AREA_PIXELS // (self.size[0] * self.size[1]))
            chosen = range(number, min(number + several, len(self.edges)))
            edges = torch.cat([self.edges[each] for each in chosen])
            lengths = torch.tensor([len(self.edges[each]) for each in chosen], device=edges.device)
            area = torch.repeat_interleave(torch.arange(len(chosen), device=edges.device), lengths)
            winding = mean_winding(edges, area, len(chosen), *self.size)
            for place, each in enumerate(chosen):
                found = self.renderer._areas[each]
                rule = found.shape.fill.rule if found.what == "fill" and found.shape.fill else "nonzero"
                self.covered[each] = coverage(self.edges[each], winding[place], rule, self.renderer.subsamples)[None]
        return self.covered[number]

    def _pen(self, area: _Area) -> Pen:
        stroke = area.stroke
        assert stroke is not None
        half = self.numbers.widths[stroke.width] / 2
        return Pen(half, stroke.cap, stroke.join, stroke.miter_limit, area.scale)


def check_size(height: int, width: int) -> None:
    """Raises RequestError where a picture is larger than we draw."""
    if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE) or height * width > MOST_PIXELS:
        raise RequestError(
            f"A picture of {width} x {height} pixels cannot be drawn.",
            f"At most {LARGEST_SIDE} pixels a side, and {MOST_PIXELS // 2**20} million in all.",
        )


class _Held(torch.autograd.Function):
    """Clamps; what was clamped still hears a gradient that leads back inside."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(values)
        ctx.bounds = low, high
        return values.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (values,) = ctx.saved_tensors
        low, high = ctx.bounds
        gradient = gradients[0]
        outward = ((values <= low) & (gradient > 0)) | ((values >= high) & (gradient < 0))
        return torch.where(outward, 0.0, gradient), None, None


def held(values: Tensor, low: float, high: float) -> Tensor:
    """Values in [low, high]; descent can lead back what lies outside."""
    return _Held.apply(values, low, high)  # type: ignore[no-any-return]


def _edges(polygons: list[Tensor], matrix: Matrix, renderer: Renderer) -> Tensor:
    """[E, 4] in pixels; each polygon is closed."""
    if not polygons:
        return torch.zeros(0, 4, dtype=renderer.dtype, device=renderer.device)
    a, b, c, d, e, f = matrix
    points = torch.cat(polygons)
    linear = points.new_tensor([[a, b], [c, d]])
    points = points @ linear + points.new_tensor([e, f])
    after = torch.arange(1, len(points) + 1, device=points.device)
    first = 0
    for polygon in polygons:
        after[first + len(polygon) - 1] = first
        first += len(polygon)
    return torch.cat([points, points[after]], dim=1)


def _box(points: list[Tensor]) -> Tensor | None:
    """[4] x, y, width, height."""
    if not points:
        return None
    every = torch.cat(points)
    return torch.cat([every.amin(0), every.amax(0) - every.amin(0)])


def _scale(matrix: Matrix) -> float:
    """The largest singular value."""
    a, b, c, d, _, _ = matrix
    half, area = (a * a + b * b + c * c + d * d) / 2, a * d - b * c
    return math.sqrt(half + math.sqrt(max(half * half - area * area, 0.0)))
