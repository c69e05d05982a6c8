"""How much particles resemble one another, and which way they would go to do so less."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST = 1e-20
"""Of bandwidths: particles at one place have no direction to go, and no force."""


@dataclass(frozen=True)
class Resemblance:
    """What a kernel says of N particles in B views, each compared with all N and with M others.

    Attributes:
        away: [N, B, F] Σ_j k(i, j) (φ_i − φ_j), which is −h/2 ∇_{φ_i} Σ_j k: where they resemble one another less.
        similar: [N, B] Σ_j k(i, j); the particle itself counts, with 1.
        bandwidth: [B] h.
    """

    away: Tensor
    similar: Tensor
    bandwidth: Tensor

    @property
    def log_slope(self) -> Tensor:
        """[N, B, F] −∇_{φ_i} log Σ_j k(i, j), the force of repulsive score distillation.

        It pushes apart: the minus is the code's, and not in the paper's Eq. 15, 22 and 23. Of two particles d apart,
        with the bandwidth of their distance, it is 2 ln 2 / (3 d) long.
        """
        return (2 / self.bandwidth)[:, None] * self.away / self.similar[..., None]


@dataclass(frozen=True)
class RadialKernel:
    """k(a, b) = exp(−‖a − b‖²/h), in every view, or of all views at once.

    Args:
        bandwidth: h; when None, m²/log n of the n particles that there are, with m the median of their distances (Liu
            and Wang, "Stein Variational Gradient Descent"). Only different particles make the median, and the logarithm
            counts all: a median with zeros in it, or log(n − 1), would leave two particles without a force.
        turned: the views are an orbit in its order, and an object that is another one turned resembles it: two are
            compared at the cyclic shift of views at which they are nearest.
        pooled: the views are of one object: all of them make one point, with one kernel. Views that are compared each
            for itself may be pushed towards different others, which no object could follow.
        least: how far apart particles count at least for a median bandwidth: the root mean square of a number's
            difference. Copies that begin at one place (a SIREN that shows nothing yet) would be thrown apart by a force
            of one over their distance, whatever γ; with it they part by themselves first.
    """

    bandwidth: float | None = None
    turned: bool = False
    pooled: bool = False
    least: float = 0.0

    def resemblance(self, points: Tensor, others: Tensor | None = None) -> Resemblance:
        """Compare φ [N, B, F] with each other and with others [M, B, F], which stay where they are."""
        everyone = points if others is None else torch.cat([points, others.to(points)])
        count, views, total = *points.shape[:2], len(everyone)
        shifts = range(views) if self.turned else range(1)
        # View π of the one against view π + s of the other; one pair at a time, for pictures may be large.
        squares = torch.stack(
            [torch.stack([_squares(points, one.roll(-shift, 0)) for one in everyone], 1) for shift in shifts]
        )  # [S, N, N + M, B]
        best = squares.mean(-1).argmin(0)  # [N, N + M]
        squares = squares.gather(0, best[None, ..., None].expand(1, -1, -1, views))[0]
        if self.pooled:
            squares = squares.sum(-1, keepdim=True).expand_as(squares)
        itself = torch.eye(count, total, dtype=torch.bool, device=points.device)
        bandwidth = self._bandwidth(squares[~itself], total, points.shape[2] * (views if self.pooled else 1))
        weights = (-squares / bandwidth).exp().masked_fill(itself[..., None], 0.0)
        away = torch.zeros_like(points)
        for shift in shifts:
            chosen = weights * (best == shift)[..., None]
            away += chosen.sum(1)[..., None] * points - torch.einsum("nmb,mbf->nbf", chosen, everyone.roll(-shift, 1))
        return Resemblance(away, weights.sum(1) + 1, bandwidth)

    def _bandwidth(self, squares: Tensor, total: int, numbers: int) -> Tensor:
        """[B] h for the squared distances [pairs, B] of different particles of so many numbers."""
        if self.bandwidth is not None or total < 2:
            return torch.full_like(squares[:1].sum(0), 1.0 if self.bandwidth is None else self.bandwidth)
        median = squares.sqrt().quantile(0.5, dim=0).square().clamp_min(self.least**2 * numbers)
        return (median / math.log(total)).clamp_min(SMALLEST)


def _squares(points: Tensor, other: Tensor) -> Tensor:
    """[N, B] ‖φ_i(π) − other(π)‖² of points [N, B, F] and one other [B, F]; by differences, that nothing cancels."""
    return (points - other).square().sum(-1)
