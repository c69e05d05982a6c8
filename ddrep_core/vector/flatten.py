"""Cubic Béziers as points close enough that no pixel shows it, with tangents."""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCE = 0.01
"""How far in pixels a chord may lie from its curve."""
MOST_CHORDS = 256
MOST_IN_ALL = 2**21
"""Chords of a drawing; beyond, all curves are drawn more coarsely."""


def chords(control: Tensor, straight: Tensor, scale: Tensor, half_width: Tensor) -> Tensor:
    """[M] int64, into how many chords curves are cut.

    Args:
        control: [M, 4, 2] control points.
        straight: [M] those that are one chord.
        scale: [M] pixels a unit.
        half_width: [M] of the stroke that follows the curve (0 without), which bends more than the curve does.

    Source: Wang's bound on a Bézier's distance from its chords; a stroke's edge turns as far as its control polygon.
    """
    bend = (control[:, :-2] - 2 * control[:, 1:-1] + control[:, 2:]).norm(dim=2).amax(1) * scale
    count = (0.75 * bend / TOLERANCE).sqrt()
    legs = control.diff(dim=1)
    turn = _angle(legs[:, 0], legs[:, 1]) + _angle(legs[:, 1], legs[:, 2])
    count = torch.maximum(count, turn * (half_width * scale / (8 * TOLERANCE)).sqrt())
    count = count.ceil().clamp(1, MOST_CHORDS).nan_to_num(1.0)
    crowd = float(count.sum()) / MOST_IN_ALL
    return torch.where(straight, 1, (count / max(crowd, 1.0)).ceil().long())


def flatten(control: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points and tangents [T, 2] along curves [M, 4, 2], T = Σ (counts + 1); and where each curve's begin [M]."""
    curve = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts + 1)
    start = torch.cumsum(counts + 1, 0) - (counts + 1)
    t = (torch.arange(len(curve), device=counts.device) - start[curve]).to(control) / counts[curve]
    s = 1 - t
    weights = torch.stack([s**3, 3 * s**2 * t, 3 * s * t**2, t**3], dim=1)
    own = control[curve]
    points = (weights[:, :, None] * own).sum(1)
    slopes = torch.stack([s**2, 2 * s * t, t**2], dim=1)
    tangents = (slopes[:, :, None] * own.diff(dim=1)).sum(1)
    # Where control points meet, a curve sets out towards the next one that lies elsewhere.
    with torch.no_grad():
        least = 1e-6 * (own - own[:, :1]).norm(dim=2).amax(1)
    early, late = own[:, 2] - own[:, 0], own[:, 3] - own[:, 1]
    for other in (torch.where(t[:, None] < 0.5, early, late), own[:, 3] - own[:, 0]):
        stuck = tangents.detach().norm(dim=1) <= least
        tangents = torch.where(stuck[:, None], other, tangents)
    return points, tangents, start


def _angle(left: Tensor, right: Tensor) -> Tensor:
    cross = left[:, 0] * right[:, 1] - left[:, 1] * right[:, 0]
    return torch.atan2(cross.abs(), (left * right).sum(1))
