"""Drawings that are to be sampled: closed round paths, one colour each, from the back to the front."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ddrep_core.vector.drawing import Drawing
from ddrep_core.vector.markup import Markup
from ddrep_core.vector.path_data import Subpath, write_path
from ddrep_core.vector.reader import QUARTER, parse_svg
from ddrep_core.vector.writer import colour_text, decimals

SIDE = 64
"""Of the square canvas, in user units."""
CORNERS = 4
"""Cubic Béziers a path."""
LARGEST, SMALLEST = 0.3, 0.06
"""Radii of the first and the last circle, in canvas sides."""
TRIED = 24
"""Places for each circle, of which the one farthest from its like is taken."""


def scattered(count: int, generator: torch.Generator) -> Tensor:
    """[count, 3] circles (x, y, radius) in canvas sides, large ones first.

    The radii fall evenly in their logarithm; each circle lies where, of a few places drawn at random, it is farthest
    from what is there already, in the radii of both (Mitchell's best candidate): every size covers the canvas.
    """
    found: list[tuple[float, float, float]] = []
    for number in range(count):
        radius = LARGEST * (SMALLEST / LARGEST) ** (number / max(count - 1, 1))
        spots = torch.rand(TRIED, 2, generator=generator).tolist() if number else [[0.5, 0.5]]
        room = [
            min((math.hypot(x - a, y - b) / (radius + other) for a, b, other in found), default=math.inf)
            for x, y in spots
        ]
        x, y = spots[room.index(max(room))]
        found.append((x, y, radius))
    return torch.tensor(found).reshape(count, 3)


def circle_points(circles: Tensor) -> Tensor:
    """[P, 3 CORNERS, 2] the control points of closed cubic Béziers around circles [P, 3]; the first starts them."""
    k = QUARTER
    unit = [(1, 0), (1, k), (k, 1), (0, 1), (-k, 1), (-1, k), (-1, 0), (-1, -k), (-k, -1), (0, -1), (k, -1), (1, -k)]
    return circles[:, None, :2] + circles[:, None, 2:] * circles.new_tensor(unit)


def blob_svg(points: Tensor, colours: Tensor, opacities: Tensor, title: str = "") -> str:
    """An SVG file of closed paths on white.

    Args:
        points: [P, 3 CORNERS, 2] in canvas sides.
        colours: [P, 3] sRGB in 0..1.
        opacities: [P] in 0..1.
        title: what it shows.
    """
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}">']
    if title:
        escaped = title.replace("&", "&amp;").replace("<", "&lt;")
        lines.append(f"  <title>{escaped}</title>")
    lines.append(f'  <rect id="background" width="{SIDE}" height="{SIDE}" fill="#ffffff"/>')
    rows = zip((points.double() * SIDE).tolist(), colours.clamp(0, 1).tolist(), opacities.tolist(), strict=True)
    for number, (own, colour, opacity) in enumerate(rows, start=1):
        corners = [(x, y) for x, y in own]
        pieces = [tuple((corners + corners[:1])[3 * k + 1 : 3 * k + 4]) for k in range(CORNERS)]
        path = write_path([Subpath(corners[0], pieces, closed=True)], decimals(SIDE))
        faded = "" if opacity >= 1 else f' fill-opacity="{max(opacity, 0.0):.3f}"'
        lines.append(f'  <path id="path-{number}" fill="{colour_text(colour)}"{faded} d="{path}"/>')
    return "\n".join([*lines, "</svg>", ""])


def blob_drawing(count: int) -> tuple[Drawing, Markup]:
    """`count` paths as `blob_svg` writes them, whatever their points."""
    circles = torch.tensor([[0.5, 0.5, 0.25]]).expand(count, 3)
    return parse_svg(blob_svg(circle_points(circles), torch.zeros(count, 3), torch.full((count,), 0.5)))
