"""Do the views agree? What of the views' x̂0 the representation cannot hold, measured against unrelated pictures.

The residual of the pull-back says how much the views contradict each other, but not on what scale: pixels that only one
view sees can always be held, and a fine texture holds much of any contradiction between its texels. So the same fit is
asked once to hold unrelated pictures (noise with a picture's spectrum); the share of them that is left is what total
disagreement leaves. A view's conflict is its residual over that share and over the variance of x̂0: 0 for views of one
object, about 1 and more for unrelated pictures, whatever the prior, the resolution and the overlap.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep, MatrixRendering
from ddrep_core.noise.pictures import unrelated_pictures
from ddrep_core.solvers.protocol import Solver
from ddrep_core.sparse import absolute, transpose


def unrelated_share(rep: Diffrep, solver: Solver, indices: Tensor, weights: Tensor, moving: int) -> Tensor:
    """[moving] the share of an unrelated picture that could not be held, for each of the views that move.

    Args:
        rep: the representation; not changed.
        solver: of the run; not changed, but for what it prepares for the same weights.
        indices: [B] the views in the fit: those that move first, then those that are held.
        weights: [B, 1, h, w] of their pixels.
        moving: how many of them move.
    """
    if not isinstance(rep, MatrixRendering):
        return torch.ones(moving, dtype=weights.dtype, device=weights.device)
    twin = rep.copy()
    twin.reset(torch.Generator())  # the same answer whenever it is asked, in a run that goes on, too
    with torch.no_grad():
        before = twin.render(indices)
        probe = torch.zeros_like(before)
        probe[:moving] = unrelated_pictures(tuple(before[:moving].shape)).to(before)
    solver.twin().fit(twin, before + probe, indices, weights, math.inf, before)
    with torch.no_grad():
        left = weights * (before + probe - twin.render(indices)) ** 2
        whole = weights * probe**2
    return (left[:moving].sum((1, 2, 3)) / whole[:moving].sum((1, 2, 3)).clamp_min(1e-30)).clamp(0.0, 1.0)


def conflicts(left: Tensor, clean: Tensor, weights: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """How far each view, and all of them, contradict what is held.

    Args:
        left: [B, C, h, w] what of x̂0 was not held.
        clean: [B, C, h, w] x̂0.
        weights: [B, 1, h, w] of the pixels.
        share: [B] what an unrelated picture would leave, from `unrelated_share`.

    Returns:
        [B] conflicts (0 agreement, about 1 unrelated), and the same of all [], a disagreement once it is cut off at 1.
    """
    total = weights.sum().clamp_min(1e-30)
    mean = (weights * clean).sum((0, 2, 3), keepdim=True) / total
    content = (weights * (clean - mean) ** 2).sum((1, 2, 3))
    size = (weights * clean**2).sum((1, 2, 3))
    # A view that nothing could contradict, or that is empty, has no conflict.
    possible = share * content.clamp_min((1e-9 * size.max().double()).to(size))
    remaining = (weights * left**2).sum((1, 2, 3))
    each = torch.where(share > 1e-6, remaining / possible.clamp_min(1e-30), torch.zeros_like(remaining))
    counted = torch.where(share > 1e-6, remaining, torch.zeros_like(remaining)).sum()
    return each, counted / possible.sum().clamp_min(1e-30)


def disagreement_map(rep: MatrixRendering, left: Tensor, weights: Tensor) -> Tensor:
    """[P] where on the representation the views disagree: the mean squared residual of the pixels that look at each
    parameter (a texel, a point of the canvas), zero where none does.

    Args:
        left: [V, C, h, w] what of all V views' x̂0 was not held (`StepReport.left`).
        weights: [V, 1, h, w] of the pixels.
    """
    matrix = rep.matrix()
    rows = rep.to_rows(left).square().sum(1, keepdim=True)
    row_weights = rep.to_rows(weights.expand_as(left).contiguous())[:, :1]
    transposed = transpose(absolute(matrix))
    seen = transposed @ row_weights
    return torch.where(seen > 0, (transposed @ (row_weights * rows)) / seen.clamp_min(1e-30), 0.0)[:, 0]
