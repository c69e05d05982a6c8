"""How much of each pixel polygons cover: exactly, with exact derivatives.

Every edge adds the signed area between itself and the picture's right end to the pixels of its rows, as font
rasterisers do (Levien's font-rs; FreeType's smooth rasteriser): the sums are the winding number's mean over each pixel.
Its derivative stands in closed form. Where an edge moves by v(s), a pixel's mean changes by the integral of v · n over
the part of the edge that lies in it (Reynolds' transport theorem), so that nothing of the accumulation is
differentiated.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ddrep_core.errors import RequestError

PIECES_AT_ONCE = 2**21
MOST_PIECES = 2**28


@dataclass(frozen=True)
class Pieces:
    """Edges cut at the borders of pixels: N pieces, each in one pixel.

    Attributes:
        edge: [N] whose it is.
        row, column: [N]; the column is −1 left of the picture, and the width right of it.
        enter, leave: [N] where on the edge it lies, 0..1.
        height: [N] how far it goes down, by the edge's own ends: pieces of one row add up to what the edge crosses.
    """

    edge: Tensor
    row: Tensor
    column: Tensor
    enter: Tensor
    leave: Tensor
    height: Tensor


def cut(edges: Tensor, height: int, width: int) -> Pieces:
    """Edges [E, 4] (x0, y0, x1, y1 in pixels) by the pixels of a picture; what lies above or below it is left out."""
    x0, y0, x1, y1 = edges.unbind(1)
    # By rows.
    first = torch.minimum(y0, y1).floor().clamp(0, height)
    last = torch.maximum(y0, y1).ceil().clamp(0, height)
    level = (y0 == y1) & (y0 >= 0) & (y0 < height)  # covers nothing, but its derivative counts
    edge, place = _repeated(torch.where(level, 1, (last - first).clamp_min(0)).long())
    row = first[edge] + place
    x0, y0, x1, y1 = (each[edge] for each in (x0, y0, x1, y1))
    dx, dy = x1 - x0, y1 - y0
    steep = torch.where(dy == 0, torch.ones_like(dy), dy)
    upper, lower = (row - y0) / steep, (row + 1 - y0) / steep
    enter = torch.where(dy == 0, 0.0, torch.minimum(upper, lower).clamp(0, 1))
    leave = torch.where(dy == 0, 1.0, torch.maximum(upper, lower).clamp(0, 1))
    down = y1.clamp(row, row + 1) - y0.clamp(row, row + 1)
    # By columns.
    ends = torch.stack([x0 + enter * dx, x0 + leave * dx]).clamp(-0.5, width + 0.5)
    left = ends.amin(0).floor()
    count = (ends.amax(0).ceil() - left).clamp_min(1).long()
    line, place = _repeated(count)
    column = left[line] + place
    x0, dx, enter, leave = (each[line] for each in (x0, dx, enter, leave))
    flat = torch.where(dx == 0, torch.ones_like(dx), dx)
    low = torch.where(place == 0, -torch.inf, column)  # the first and last take what is left
    high = torch.where(place == count[line] - 1, torch.inf, column + 1)
    at_low, at_high = (low - x0) / flat, (high - x0) / flat
    upright = dx == 0
    begin = torch.where(upright, enter, torch.minimum(at_low, at_high).clamp(enter, leave))
    end = torch.where(upright, leave, torch.maximum(at_low, at_high).clamp(enter, leave))
    span = leave - enter
    share = torch.where(span > 0, (end - begin) / torch.where(span > 0, span, 1.0), (place == 0).to(span))
    return Pieces(edge[line], row[line].long(), column.long(), begin, end, down[line] * share)


class _Winding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: Tensor, area: Tensor, count: int, height: int, width: int) -> Tensor:
        sums = edges.new_zeros(count * height * (width + 2))
        groups = _groups(edges, height, width)
        kept = None
        for group in groups:
            own = edges[group]
            pieces = cut(own, height, width)
            middle = (pieces.enter + pieces.leave) / 2
            x = own[pieces.edge, 0] + middle * (own[pieces.edge, 2] - own[pieces.edge, 0])
            left = torch.where(pieces.column < 0, 1.0, (x - pieces.column).clamp(0, 1))  # of a pixel
            place = (area[group][pieces.edge] * height + pieces.row) * (width + 2) + pieces.column.clamp_max(width)
            sums.index_add_(0, place.clamp_min(0), pieces.height * (1 - left))
            sums.index_add_(0, place + 1, pieces.height * left)
            kept = pieces if len(groups) == 1 else None
        ctx.save_for_backward(edges, area)
        ctx.shape, ctx.groups, ctx.kept = (count, height, width), groups, kept
        return sums.view(count, height, width + 2).cumsum(2)[:, :, :width]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        edges, area = ctx.saved_tensors
        _, height, width = ctx.shape
        rows = gradients[0].reshape(-1)
        sums = edges.new_zeros(2, len(edges))
        for group in ctx.groups:
            pieces = ctx.kept or cut(edges[group], height, width)
            seen = (pieces.column >= 0) & (pieces.column < width)
            place = (area[group][pieces.edge] * height + pieces.row) * width + pieces.column.clamp(0, width - 1)
            gradient = torch.where(seen, rows[place], 0.0) * (pieces.leave - pieces.enter)
            to_end = gradient * (pieces.enter + pieces.leave) / 2
            sums[:, group].index_add_(1, pieces.edge, torch.stack([gradient - to_end, to_end]))
        dx, dy = edges[:, 2] - edges[:, 0], edges[:, 3] - edges[:, 1]
        return torch.stack([-sums[0] * dy, sums[0] * dx, -sums[1] * dy, sums[1] * dx], dim=1), None, None, None, None


def _groups(edges: Tensor, height: int, width: int) -> list[slice]:
    """Edges in groups that are cut at once, so that no picture needs much memory."""
    ends = edges.detach().clamp(min=-1)
    across = (ends[:, 2].clamp_max(width + 1) - ends[:, 0].clamp_max(width + 1)).abs()
    down = (ends[:, 3].clamp_max(height + 1) - ends[:, 1].clamp_max(height + 1)).abs()
    total = (across + down + 2).cumsum(0)
    if not len(total) or float(total[-1]) <= PIECES_AT_ONCE:
        return [slice(0, len(edges))] if len(edges) else []
    if float(total[-1]) > MOST_PIECES:
        raise RequestError(
            f"The drawing is too intricate for a picture of {width} x {height} pixels.",
            "Simplify it, or draw it smaller.",
        )
    number = (total / PIECES_AT_ONCE).floor().long()
    starts = [0, *(number.diff().nonzero().flatten() + 1).tolist(), len(edges)]
    return [slice(a, b) for a, b in pairwise(starts)]


def mean_winding(edges: Tensor, area: Tensor, count: int, height: int, width: int) -> Tensor:
    """[count, height, width] the mean over each pixel of the winding number of each area's closed polygons.

    Args:
        edges: [E, 4] x0, y0, x1, y1 in pixels, x to the right and y down; the edges of an area close.
        area: [E] int64, which area each belongs to.

    Raises:
        RequestError: more edges across more pixels than we draw.
    """
    return _Winding.apply(edges, area, count, height, width)  # type: ignore[no-any-return]


def coverage(edges: Tensor, area: Tensor, evenodd: Tensor, size: tuple[int, int], subsamples: int = 4) -> Tensor:
    """[count, height, width] in 0..1: how much of each pixel lies inside of areas, by the non-zero or even-odd rule.

    The mean winding number tells it exactly in a pixel whose points are either outside or at one winding number. Where
    parts of an area lap over each other, or turn against each other, a pixel at their edge is told by its subpixels,
    each in the same way.

    Args:
        edges, area: as for `mean_winding`.
        evenodd: [count] which areas are filled by that rule.
        size: (height, width).
        subsamples: along a pixel's side, where they are needed; 1 does without.
    """
    winding = mean_winding(edges, area, len(evenodd), *size)
    found = _by_rule(winding, evenodd[:, None, None])
    if subsamples == 1:
        return found
    boxes = [_ambiguous(each) for each in winding.detach()]
    if not any(boxes):
        return found
    refined = [
        plain if box is None else _refined(plain, edges[area == number], evenodd[number], box, subsamples)
        for number, (plain, box) in enumerate(zip(found, boxes, strict=True))
    ]
    return torch.stack(refined)


def _refined(plain: Tensor, edges: Tensor, evenodd: Tensor, box: tuple[int, int, int, int], subsamples: int) -> Tensor:
    """[height, width] one area's coverage, told by subpixels inside of the box."""
    top, bottom, left, right = box
    finer = (edges - edges.new_tensor([left, top, left, top])) * subsamples
    size = (bottom - top) * subsamples, (right - left) * subsamples
    area = torch.zeros(len(edges), dtype=torch.long, device=edges.device)
    fine = _by_rule(mean_winding(finer, area, 1, *size)[0], evenodd)
    fine = fine.view(bottom - top, subsamples, right - left, subsamples).mean((1, 3))
    height, width = plain.shape
    inside = torch.nn.functional.pad(fine, (left, width - right, top, height - bottom))
    outside = torch.ones_like(plain)
    outside[top:bottom, left:right] = 0
    return plain * outside + inside


def _by_rule(winding: Tensor, evenodd: Tensor) -> Tensor:
    plain = winding.abs().clamp_max(1)
    if not bool(evenodd.any()):
        return plain
    folded = winding.remainder(2)
    return torch.where(evenodd, torch.where(folded > 1, 2 - folded, folded), plain)


def _ambiguous(winding: Tensor) -> tuple[int, int, int, int] | None:
    """(top, bottom, left, right) around the pixels that may lie at two winding numbers beside outside."""
    slight = 1e-3
    several = winding.abs() > 1 + slight
    over, under = winding > slight, winding < -slight
    if bool(over.any()) and bool(under.any()):
        several = several | (under if int(under.sum()) < int(over.sum()) else over)
    if not bool(several.any()):
        return None
    rows, columns = several.any(1).nonzero().flatten(), several.any(0).nonzero().flatten()
    height, width = winding.shape
    return (
        max(int(rows[0]) - 1, 0), min(int(rows[-1]) + 2, height),
        max(int(columns[0]) - 1, 0), min(int(columns[-1]) + 2, width),
    )  # fmt: skip


def _repeated(counts: Tensor) -> tuple[Tensor, Tensor]:
    """[Σ counts] which each is a repeat of, and its number among them."""
    index = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    start = torch.cumsum(counts, 0) - counts
    return index, torch.arange(len(index), device=counts.device) - start[index]
