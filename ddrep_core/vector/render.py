"""Draws a drawing: from its numbers to a picture, differentiable in all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any, Self

import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.vector.coverage import coverage
from ddrep_core.vector.drawing import Drawing, Fill, Flat, Gradient, Layer, Shape, Stroke
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
        self._sizes = torch.tensor(drawing.sizes, dtype=torch.long, device=device)
        self._radii = torch.tensor(drawing.radii, dtype=torch.long, device=device).reshape(-1, 2)
        self._areas: list[_Area] = []
        self._area_of: dict[tuple[int, str], int] = {}
        self._collect(drawing.root)
        if len(self._areas) * height * width > MOST_AREA_PIXELS:
            raise RequestError(
                f"A picture of {width} x {height} pixels with {len(self._areas)} fills and strokes is too large.",
                "Draw it smaller.",
            )
        outlines = [(number, outline) for number, area in enumerate(self._areas) for outline in area.shape.outlines]
        owners = [number for number, outline in outlines for _ in outline.curves]

        def table(values: Sequence[Any], kind: torch.dtype, *shape: int) -> Tensor:
            return torch.tensor(values, dtype=kind, device=device).reshape(len(values), *shape)

        self._curves = table([each for _, outline in outlines for each in outline.curves], torch.long, 4)
        self._straight = table([each for _, outline in outlines for each in outline.straight], torch.bool)
        self._scales = table([self._areas[number].scale for number in owners], dtype)
        strokes = [self._areas[number].stroke for number in owners]
        self._curve_width = table([-1 if stroke is None else stroke.width for stroke in strokes], torch.long)
        self._matrices = table([area.matrix for area in self._areas], dtype, 3, 2)
        self._evenodd = table([area.rule == "evenodd" for area in self._areas], torch.bool)

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

    def covered(self, numbers: Numbers) -> Tensor:
        """[A, H, W] how much of each pixel each fill and stroke covers, in the order in which they are drawn."""
        picture = _Picture(self, numbers)
        return torch.stack([picture.coverage(number) for number in range(len(self._areas))])

    def points(self, coordinates: Tensor) -> Tensor:
        """[R, 2] all control points in their shapes' units."""
        coordinates = self._sized(coordinates)
        flat = coordinates.new_zeros(2 * len(self.drawing.points))
        return flat.index_add(0, self._rows, self._factors * coordinates[self._columns]).view(-1, 2)

    def _sized(self, coordinates: Tensor) -> Tensor:
        """Sizes held at zero or more, and rectangles' radii at half of their sides."""
        if len(self._sizes):
            coordinates = coordinates.index_copy(0, self._sizes, held(coordinates[self._sizes], 0.0, math.inf))
        if len(self._radii):
            radius, side = self._radii.T
            coordinates = coordinates.index_copy(0, radius, torch.minimum(coordinates[radius], coordinates[side] / 2))
        return coordinates

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

    @property
    def rule(self) -> str:
        return self.shape.fill.rule if self.what == "fill" and self.shape.fill else "nonzero"


class _Picture:
    """One drawing of a renderer's: the areas are covered as they are asked for, a few at once."""

    def __init__(self, renderer: Renderer, numbers: Numbers) -> None:
        self.renderer, self.numbers = renderer, numbers
        self.size = renderer.height, renderer.width
        control = renderer.points(numbers.coordinates)[renderer._curves]  # [M, 4, 2]
        with torch.no_grad():
            widths = torch.cat([numbers.widths, numbers.widths.new_zeros(1)])[renderer._curve_width]
            counts = chords(control, renderer._straight, renderer._scales, widths / 2)
        self.points, tangents, start = flatten(control, counts)
        self.begins = [*start.tolist(), len(self.points)]  # of each curve's points
        self.first_curves = [0]  # of each area, in order
        polygons: list[Tensor] = []  # several after one another, where they are
        lengths: list[int] = []  # of each polygon
        owners: list[int] = []
        for number, area in enumerate(renderer._areas):
            curve = self.first_curves[-1]
            for outline in area.shape.outlines:
                last = curve + len(outline.curves)
                if area.stroke is None:
                    found = [self.points[self.begins[curve] : self.begins[last]]]
                else:
                    ends = pairwise(self.begins[curve : last + 1])
                    pieces = [(self.points[a:b], tangents[a:b]) for a, b in ends]
                    found = stroke_outline(pieces, outline.closed, self._pen(area))
                polygons += found
                lengths += map(len, found)
                owners += [number] * len(found)
                curve = last
            self.first_curves.append(curve)
        if not any(area.stroke for area in renderer._areas):
            polygons = [self.points]
        length, owner = (torch.tensor(each, dtype=torch.long, device=control.device) for each in (lengths, owners))
        self.owner = torch.repeat_interleave(owner, length)  # [E] which area an edge is of
        self.edges = self._close(torch.cat([self.points[:0], *polygons]), length)
        self.block = range(0)
        self.covered = self.points

    def layer(self, layer: Layer) -> Tensor:
        """[4, H, W] premultiplied."""
        numbers = self.numbers
        picture = numbers.colours.new_zeros(4, *self.size)
        parts = [part for child in layer.children for part in self._parts(child)]
        for block, group in groupby(parts, self._flat_block):
            if block is not None:
                picture = self._lay(picture, [part for part in group if isinstance(part, tuple)])
                continue
            for part in group:
                drawn = self.layer(part) if isinstance(part, Layer) else self._painted(*part)
                picture = drawn + picture * (1 - drawn[3:])
        if layer.opacity is not None:
            picture = picture * numbers.opacities[layer.opacity]
        for clip in layer.clips:
            hidden = torch.ones_like(picture[0])
            for shape in clip:
                hidden = hidden * (1 - self.coverage(self.renderer._area_of[id(shape), "fill"]))
            picture = picture * (1 - hidden)
        return picture

    def coverage(self, number: int) -> Tensor:
        """[H, W] in 0..1, of an area."""
        if number not in self.block:
            block = self._block_of(number)
            chosen = (self.owner >= block.start) & (self.owner < block.stop)
            edges, owner = self.edges[chosen], self.owner[chosen] - block.start
            rules = self.renderer._evenodd[block.start : block.stop]
            self.covered = coverage(edges, owner, rules, self.size, self.renderer.subsamples)
            self.block = block
        return self.covered[number - self.block.start]

    def _block_of(self, number: int) -> range:
        """The areas that are covered together with this one."""
        several = max(1, AREA_PIXELS // (self.size[0] * self.size[1]))
        first = number // several * several
        return range(first, min(first + several, len(self.renderer._areas)))

    def _flat_block(self, part: Layer | tuple[int, Fill | Stroke]) -> int | None:
        """Where the block begins in which an area of one colour is covered; None for what is drawn by itself."""
        if isinstance(part, Layer) or not isinstance(part[1].paint, Flat):
            return None
        return self._block_of(part[0]).start

    def _parts(self, child: Shape | Layer) -> list[Layer | tuple[int, Fill | Stroke]]:
        """What is laid on the picture, from back to front: layers, and the paints of areas."""
        if isinstance(child, Layer):
            return [child]
        both: list[tuple[str, Fill | Stroke | None]] = [("fill", child.fill), ("stroke", child.stroke)]
        ordered = both[::-1] if child.stroke_first else both
        return [(self.renderer._area_of[id(child), what], part) for what, part in ordered if part is not None]

    def _lay(self, picture: Tensor, parts: list[tuple[int, Fill | Stroke]]) -> Tensor:
        """Flat colours over a picture [4, H, W]; their areas are of one block."""
        numbers = self.numbers
        self.coverage(parts[0][0])
        areas = torch.tensor([number - self.block.start for number, _ in parts], device=picture.device)
        paints = [part.paint for _, part in parts if isinstance(part.paint, Flat)]
        opacity = numbers.opacities[[part.opacity for _, part in parts]]
        alpha = opacity * torch.tensor([paint.alpha for paint in paints]).to(opacity)
        colours = numbers.colours[[paint.colour for paint in paints]]
        return laid_over(picture, self.covered[areas] * alpha[:, None, None], colours)

    def _painted(self, number: int, part: Fill | Stroke) -> Tensor:
        """[4, H, W] premultiplied: an area in the colours of a gradient."""
        numbers, area, paint = self.numbers, self.renderer._areas[number], part.paint
        assert isinstance(paint, Gradient)
        opacity = numbers.opacities[[stop.opacity for stop in paint.stops]]
        alpha = opacity * torch.tensor([stop.alpha for stop in paint.stops]).to(opacity)
        stops = torch.cat([numbers.colours[[stop.colour for stop in paint.stops]], alpha[:, None]], dim=1)
        own = self.points[self.begins[self.first_curves[number]] : self.begins[self.first_curves[number + 1]]]
        box = torch.cat([own.amin(0), own.amax(0) - own.amin(0)]) if len(own) else None
        colours = gradient_colours(paint, area.matrix, box, stops, self.size)
        return colours * (self.coverage(number) * numbers.opacities[part.opacity])

    def _close(self, points: Tensor, length: Tensor) -> Tensor:
        """[E, 4] edges in pixels of polygons of so many points [E, 2] each, in the units of their shapes."""
        matrix = self.renderer._matrices[self.owner]
        points = (points[:, :, None] * matrix[:, :2]).sum(1) + matrix[:, 2]
        after = torch.arange(1, len(points) + 1, device=points.device)
        last = length.cumsum(0)
        after[last - 1] = last - length
        return torch.cat([points, points[after]], dim=1)

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


class _Over(torch.autograd.Function):
    """Flat colours laid over a picture, one after the other; the derivative walks back through what lay below each."""

    @staticmethod
    def forward(ctx: Any, picture: Tensor, alpha: Tensor, colours: Tensor) -> Tensor:
        needed = any(ctx.needs_input_grad)
        below = picture.new_empty(len(alpha), *picture.shape) if needed else None
        drawn = picture.clone()
        full = torch.cat([colours, torch.ones_like(colours[:, :1])], dim=1)[:, :, None, None]
        for number in range(len(alpha)):
            if below is not None:
                below[number] = drawn
            drawn += alpha[number] * (full[number] - drawn)
        if below is not None:
            ctx.save_for_backward(alpha, full, below)
        return drawn

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        alpha, full, below = ctx.saved_tensors
        seen = gradients[0].clone()
        through = torch.empty_like(below)  # what of the gradient comes down to each
        for number in reversed(range(len(alpha))):
            through[number] = seen
            seen *= 1 - alpha[number]
        by_alpha = (through * (full - below)).sum(1)
        by_colour = (through[:, :3] * alpha[:, None]).sum((2, 3))
        return seen, by_alpha, by_colour


def laid_over(picture: Tensor, alpha: Tensor, colours: Tensor) -> Tensor:
    """[4, H, W] premultiplied: colours [P, 3] with alpha [P, H, W] over a picture [4, H, W], the last on top."""
    return _Over.apply(picture, alpha, colours)  # type: ignore[no-any-return]


def _scale(matrix: Matrix) -> float:
    """The largest singular value."""
    a, b, c, d, _, _ = matrix
    half, area = (a * a + b * b + c * c + d * d) / 2, a * d - b * c
    return math.sqrt(half + math.sqrt(max(half * half - area * area, 0.0)))
