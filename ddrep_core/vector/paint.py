"""What colour a paint has at each pixel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ddrep_core.vector.drawing import Gradient, Stop
from ddrep_core.vector.values import Matrix


def inverse(matrix: Matrix) -> Matrix | None:
    """None where it cannot be inverted."""
    a, b, c, d, e, f = matrix
    area = a * d - b * c
    if abs(area) < 1e-12:
        return None
    return d / area, -b / area, -c / area, a / area, (c * f - d * e) / area, (b * e - a * f) / area


def gradient_colours(
    paint: Gradient, to_pixels: Matrix, box: Tensor | None, stops: Tensor, size: tuple[int, int]
) -> Tensor:
    """[4, H, W] premultiplied, of a gradient seen at the centres of pixels.

    Args:
        to_pixels: from the shape's space to pixels.
        box: [4] x, y, width, height of the shape in its own space, for gradients that are of it.
        stops: [S, 4] sRGB and opacity of each stop.
        size: (H, W).
    """
    height, width = size
    last = stops[-1]
    solid = torch.cat([last[:3] * last[3:], last[3:]])[:, None, None].expand(4, height, width)
    nothing = torch.zeros_like(solid)
    to_shape, to_gradient = inverse(to_pixels), inverse(paint.matrix)
    if to_shape is None or to_gradient is None:
        return nothing
    down, across = torch.meshgrid(
        torch.arange(height, dtype=stops.dtype, device=stops.device) + 0.5,
        torch.arange(width, dtype=stops.dtype, device=stops.device) + 0.5,
        indexing="ij",
    )
    x, y = _moved(to_shape, across, down)
    if paint.of_box:
        if box is None or bool((box[2:] <= 0).any()):
            return nothing  # a gradient of a box without a size draws nothing
        x, y = (x - box[0]) / box[2], (y - box[1]) / box[3]
    x, y = _moved(to_gradient, x, y)
    if paint.kind == "linearGradient":
        x1, y1, x2, y2 = paint.numbers
        square = (x2 - x1) ** 2 + (y2 - y1) ** 2
        if square == 0:
            return solid
        place, drawn = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / square, None
    else:
        if paint.numbers[2] <= 0:
            return solid
        place, drawn = _radial(x, y, paint.numbers)
    colours = _ramp(_spread(place, paint.spread), paint.stops, stops)
    return colours if drawn is None else torch.where(drawn, colours, 0.0)


def _moved(matrix: Matrix, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    a, b, c, d, e, f = matrix
    return a * x + c * y + e, b * x + d * y + f


def _radial(x: Tensor, y: Tensor, numbers: tuple[float, ...]) -> tuple[Tensor, Tensor | None]:
    """The largest t whose circle, of centre f + t (c − f) and radius fr + t (r − fr), goes through a point."""
    cx, cy, radius, fx, fy, start = numbers
    if start == 0:
        away = math.hypot(fx - cx, fy - cy)
        if away > 0.999 * radius:  # a focus outside of the circle lies on it (SVG 1.1)
            fx, fy = cx + (fx - cx) * 0.999 * radius / away, cy + (fy - cy) * 0.999 * radius / away
    dx, dy, dr = cx - fx, cy - fy, radius - start
    px, py = x - fx, y - fy
    a = dx * dx + dy * dy - dr * dr
    b = px * dx + py * dy + start * dr
    c = px * px + py * py - start * start
    if abs(a) < 1e-9:
        place = c / (2 * torch.where(b == 0, 1e-12, b))
        return place, start + place * dr >= 0
    inside = b * b - a * c
    root = inside.clamp_min(0).sqrt()
    one, two = (b + root) / a, (b - root) / a
    high, low = torch.maximum(one, two), torch.minimum(one, two)
    place = torch.where(start + high * dr >= 0, high, low)
    if start == 0:
        return place, None
    return place, (inside >= 0) & (start + place * dr >= 0)


def _spread(place: Tensor, spread: str) -> Tensor:
    if spread == "repeat":
        return place - place.floor()
    if spread == "reflect":
        folded = place.remainder(2)
        return torch.where(folded > 1, 2 - folded, folded)
    return place.clamp(0, 1)


def _ramp(place: Tensor, offsets: tuple[Stop, ...], stops: Tensor) -> Tensor:
    """[4, H, W] premultiplied: colours and opacities interpolated as they are, then multiplied (SVG 2, §14.2.4)."""
    at = torch.tensor([stop.offset for stop in offsets], dtype=place.dtype, device=place.device)
    after = torch.searchsorted(at, place.contiguous(), right=True)  # how many stops lie at or before it
    low, high = (after - 1).clamp(0, len(at) - 1), after.clamp(0, len(at) - 1)
    gap = at[high] - at[low]
    share = torch.where(gap > 0, (place - at[low]) / torch.where(gap > 0, gap, 1.0), 0.0)[..., None]
    mixed = stops[low] * (1 - share) + stops[high] * share
    return torch.cat([mixed[..., :3] * mixed[..., 3:], mixed[..., 3:]], dim=-1).movedim(-1, 0)
