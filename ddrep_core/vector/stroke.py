"""The outline of a stroke: polygons whose non-zero winding is the stroke.

Each side of a curve is the curve moved along its normal, as strokers do (Skia's): joins and caps where curves meet and
end, and where a side would turn back on itself (the stroke is wider than the curve is round), straight pieces that meet
in the curve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ddrep_core.vector.flatten import TOLERANCE


@dataclass(frozen=True)
class Pen:
    """How a line is drawn: half its width (a tensor []), its caps and joins; `scale` is pixels a unit."""

    half: Tensor
    cap: str
    join: str
    miter_limit: float
    scale: float


def stroke_outline(curves: list[tuple[Tensor, Tensor]], closed: bool, pen: Pen) -> list[Tensor]:
    """Closed polygons [n, 2] around a subpath.

    Args:
        curves: points [n, 2] and tangents [n, 2] along each curve, ends included.
        closed: whether the last ends where the first begins, and is joined to it.
    """
    moving = [(points, _unit(tangents)) for points, tangents in curves if _extent(points) > 0]
    if not moving:
        return _dot(curves[0][0][0], pen) if curves else []
    left = [_side(points, tangents, pen.half) for points, tangents in moving]
    right = [_side(points, tangents, -pen.half) for points, tangents in moving]
    corners = list(zip(moving, moving[1:] + moving[:1] if closed else moving[1:], strict=False))
    joins = [_join(one[0][-1], one[1][-1], two[1][0], pen) for one, two in corners]
    forward: list[Tensor] = []
    for number, side in enumerate(left):
        forward += [side, joins[number][0]] if number < len(joins) else [side]
    backward: list[Tensor] = []
    for number in reversed(range(len(right))):
        if number < len(joins):
            backward.append(joins[number][1].flip(0))
        backward.append(right[number].flip(0))
    if closed:
        return [torch.cat(forward), torch.cat(backward)]
    (first, first_tangents), (last, last_tangents) = moving[0], moving[-1]
    end = _cap(last[-1], last_tangents[-1], pen)
    start = _cap(first[0], -first_tangents[0], pen)
    return [torch.cat([*forward, end, *backward, start])]


def _side(points: Tensor, tangents: Tensor, distance: Tensor) -> Tensor:
    """The points moved along the normals; in straight pieces through the curve where that would turn back."""
    moved = points + distance * _normal(tangents)
    if len(points) == 2:
        return moved
    with torch.no_grad():
        back = (moved.diff(dim=0) * points.diff(dim=0)).sum(1) <= 0
        back &= points.diff(dim=0).norm(dim=1) > 0
    if not bool(back.any()):
        return moved
    along = _normal(_unit(points.diff(dim=0)))
    pieces = torch.stack([points[:-1] + distance * along, points[1:] + distance * along, points[1:]], dim=1)
    return torch.cat([moved[:1], points[:1], pieces.flatten(0, 1), moved[-1:]])


def _join(at: Tensor, before: Tensor, after: Tensor, pen: Pen) -> tuple[Tensor, Tensor]:
    """What stands between two curves on the left [n, 2] and on the right [m, 2], both in the direction of the line."""
    none = at.new_zeros(0, 2)
    bend = torch.atan2(before[0] * after[1] - before[1] * after[0], (before * after).sum())
    turn = float(bend.detach())
    if abs(turn) < 1e-4:
        return none, none
    inner = at[None]
    side = -1.0 if turn > 0 else 1.0  # turning towards its left normal, a line's right side is the outer one
    outer = none
    if pen.join == "round":
        outer = _arc(at, side * _normal(before), bend, pen)
    elif pen.join != "bevel" and pen.miter_limit * math.sin((math.pi - abs(turn)) / 2) >= 1:
        middle = _normal(before) + _normal(after)
        outer = (at + side * pen.half * middle / (1 + (before * after).sum()).clamp_min(1e-6))[None]
    return (inner, outer) if turn > 0 else (outer, inner)


def _cap(at: Tensor, outward: Tensor, pen: Pen) -> Tensor:
    """From the left side of a line to its right, around its end."""
    normal = _normal(outward)
    if pen.cap == "round":
        return _arc(at, normal, -math.pi, pen)
    if pen.cap == "square":
        return torch.stack([at + pen.half * (outward + normal), at + pen.half * (outward - normal)])
    return at.new_zeros(0, 2)


def _dot(at: Tensor, pen: Pen) -> list[Tensor]:
    """A line of no length: what its caps draw."""
    if pen.cap == "round":
        return [_arc(at, at.new_tensor([0.0, -1.0]), 2 * math.pi, pen)]
    if pen.cap == "square":
        corners = at.new_tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
        return [at + pen.half * corners]
    return []


def _arc(at: Tensor, start: Tensor, turn: Tensor | float, pen: Pen) -> Tensor:
    """[n, 2] around a point, from a unit vector on, by an angle; the ends themselves are left out."""
    radius = max(float(pen.half.detach()) * pen.scale, 1e-6)
    step = 2 * math.acos(max(1 - TOLERANCE / radius, 0.0)) if radius > TOLERANCE else math.pi
    angle = float(turn.detach()) if isinstance(turn, Tensor) else turn
    count = min(max(2, math.ceil(abs(angle) / step)), 256)
    angles = torch.arange(1, count, dtype=at.dtype, device=at.device) * (turn / count)
    cosine, sine = angles.cos()[:, None], angles.sin()[:, None]
    return at + pen.half * (cosine * start + sine * _normal(start))


def _normal(tangents: Tensor) -> Tensor:
    """Turned by a quarter, from x towards y."""
    return torch.stack([-tangents[..., 1], tangents[..., 0]], dim=-1)


def _unit(vectors: Tensor) -> Tensor:
    size = vectors.norm(dim=-1, keepdim=True)
    return vectors / torch.where(size > 0, size, 1.0)


def _extent(points: Tensor) -> float:
    with torch.no_grad():
        return float((points - points[:1]).abs().amax())
