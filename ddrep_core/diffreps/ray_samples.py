"""Volume rendering along fixed rays: look-ups as a sparse matrix, compositing with its derivatives in closed form.

A bank's rays never move, so which voxels a sample lies between, and with what weights, is worked out once: looking a
field up is one sparse product, and its adjoint another. Against `grid_sample`, which works both out anew in every pass
and adds gradients voxel by voxel, a pass on a CPU costs about a sixth (`docs/results.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from ddrep_core.sparse import SparseMatrix, scipy_csr, unchecked_csr


@dataclass(frozen=True)
class Rays:
    """N rays and where on each the field begins and ends.

    Attributes:
        origins, directions: [N, 3] from the field's centre; directions have unit length.
        near: [N] where the ray enters the ball of radius `extent`, or its origin, where that lies inside.
        step: [N] the distance between samples, and the length that each stands for; 0 for a ray that misses the ball.
        count: K, samples on every ray.
    """

    origins: Tensor
    directions: Tensor
    near: Tensor
    step: Tensor
    count: int

    @classmethod
    def through(cls, origins: Tensor, directions: Tensor, extent: float, count: int) -> Rays:
        """`count` equal pieces of what each ray crosses of the ball."""
        near, far = ball_interval(origins, directions, extent)
        return cls(origins, directions, near, (far - near) / count, count)

    def points(self) -> Tensor:
        """[N, K, 3] the middles of the pieces."""
        distance = self.near[:, None] + (torch.arange(self.count).to(self.near) + 0.5) * self.step[:, None]
        return self.origins[:, None] + distance[..., None] * self.directions[:, None]


class LookUp:
    """Trilinear look-up at fixed points of fields on an R³ grid over [−extent, extent]³, a field's border beyond it."""

    def __init__(self, points: Tensor, grid: int, extent: float) -> None:
        corners, weights = trilinear_corners(points.reshape(-1, 3), grid, extent)
        rows = torch.arange(0, corners.numel() + 1, 8, dtype=torch.int32, device=corners.device)
        size = (len(corners), grid**3)
        self._forward = unchecked_csr(rows, corners.reshape(-1).int(), weights.reshape(-1), size)

    def __call__(self, field: Tensor) -> Tensor:
        """[M, ·] values at the points, of a field [R³, ·] in the order z, y, x."""
        return self._forward @ field

    def adjoint(self, values: Tensor) -> Tensor:
        """[R³, ·] what voxels collect from values [M, ·] at the points."""
        return self._backward @ values

    def summed(self, shares: Tensor) -> SparseMatrix:
        """[N, R³] what Σ_k shares[n, k] (the value at point n K + k) takes of each voxel, for shares [N, K]."""
        count, each = shares.shape
        ends = np.arange(0, count * each + 1, each)
        values = shares.double().cpu().numpy().ravel()
        sums = sparse.csr_array((values, np.arange(count * each), ends), shape=(count, count * each))
        return sums @ scipy_csr(self._forward)

    @cached_property
    def _backward(self) -> Tensor:
        turned = self._forward.to_sparse_coo().t().coalesce().to_sparse_csr()
        return unchecked_csr(
            turned.crow_indices().int(), turned.col_indices().int(), turned.values(), tuple(turned.shape)
        )


@dataclass(frozen=True)
class Composite:
    """What the samples of N rays add up to, and its derivatives.

    With absorption a at a sample (density times length), T the light that reaches it and T' = T exp(−a) the light that
    leaves it, a ray's picture is Σ (T − T') colour + T_end background.

    Attributes:
        samples: [N, K, 1 + C] density and colour; background: [N, C].
        share: [N, K] T − T'; leaving: [N, K] T'.
        step: [N, 1] the samples' length.
    """

    samples: Tensor
    background: Tensor
    share: Tensor
    leaving: Tensor
    step: Tensor

    @classmethod
    def of(cls, samples: Tensor, background: Tensor, step: Tensor) -> Composite:
        """From samples [N, K, 1 + C], the background [N, C] and the lengths [N]."""
        step = step[:, None]
        leaving = torch.exp(-(samples[..., 0] * step).cumsum(dim=1))
        share = torch.cat([1 - leaving[:, :1], leaving[:, :-1] - leaving[:, 1:]], dim=1)
        return cls(samples, background, share, leaving, step)

    def sums(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The picture [N, C], the opacity 1 − T_end, the spread of what is seen and its mean square, [N, 1] each.

        The spread is Σ_ij share_i share_j |d_i − d_j|, d being the distance along the ray (the first term of the
        distortion loss of Barron et al. 2022, "Mip-NeRF 360", Eq. 15): 0 for a surface, large for layers of fog. The
        mean square is Σ share |colour|² + T_end |background|²: what it exceeds the picture's square by is the variance
        of the colours that a ray mixes.
        """
        end = self.leaving[:, -1:]
        picture = torch.bmm(self.share[:, None], self.samples)[:, 0, 1:] + end * self.background
        spread = (self.share * self.distances()).sum(dim=1, keepdim=True)
        square = (self.share * self.squares()).sum(dim=1, keepdim=True)
        return picture, 1 - end, spread, square + end * self.background.square().sum(dim=1, keepdim=True)

    def squares(self) -> Tensor:
        """[N, K] |colour|²."""
        return self.samples[..., 1:].square().sum(dim=-1)

    def distances(self) -> Tensor:
        """[N, K] Σ_j share_j |d_k − d_j|: from each sample to all that is seen, by running sums."""
        place = torch.arange(self.share.shape[1]).to(self.share)
        share, moment = self.share.cumsum(dim=1), (self.share * place).cumsum(dim=1)
        return (place * (2 * share - share[:, -1:]) - 2 * moment + moment[:, -1:]) * self.step

    def pull(
        self, by_picture: Tensor, by_opacity: Tensor, by_spread: Tensor, by_square: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Adjoint: from [N, C] and three times [N, 1] to samples [N, K, 1 + C] and background [N, C]."""
        end = self.leaving[:, -1:]
        by_colour = functional.pad(by_picture, (1, 0))  # [N, 1 + C]: slices of samples would be copied
        alike = torch.bmm(self.samples, by_colour[..., None])[..., 0]
        alike = alike + 2 * by_spread * self.distances() + by_square * self.squares()
        seen = (self.share * alike).cumsum(dim=1)
        by_background = by_picture + by_square * self.background
        beyond = end * ((self.background * by_background).sum(dim=1, keepdim=True) - by_opacity) + seen[:, -1:]
        by_samples = self.share[..., None] * torch.addcmul(by_colour[:, None], self.samples, 2 * by_square[..., None])
        by_samples[..., 0] = (self.leaving * alike + seen - beyond) * self.step
        return by_samples, end * (by_background + by_square * self.background)


class RenderRays(torch.autograd.Function):
    """`Composite` of a field looked up along rays, with its closed-form adjoint instead of a graph."""

    @staticmethod
    def forward(
        ctx: Any, field: Tensor, background: Tensor, look_up: LookUp, step: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        found = Composite.of(look_up(field).view(len(step), -1, field.shape[1]), background, step)
        ctx.look_up, ctx.found = look_up, found
        return found.sums()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:  # pyright: ignore
        samples, background = ctx.found.pull(*gradients)
        return ctx.look_up.adjoint(samples.flatten(0, 1)), background, None, None


def march(field: Tensor, rays: Rays, background: Tensor, extent: float) -> Tensor:
    """[N, C + 3] what `Composite.sums` gives, along any rays, by `grid_sample`: `RenderRays` without preparation.

    Args:
        field: [1 + C, R, R, R] density and colours.
        background: [N, C].
    """
    points = rays.points() / extent
    looked_up = functional.grid_sample(
        field[None], points[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )[0, :, 0]  # [1 + C, N, K]
    return torch.cat(Composite.of(looked_up.movedim(0, -1), background, rays.step).sums(), dim=-1)


def ball_interval(origins: Tensor, directions: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Where rays [N, 3] of unit direction enter and leave the ball around 0, [N] each; equal where they miss it."""
    along = -(origins * directions).sum(dim=-1)
    half = (radius**2 - origins.square().sum(dim=-1) + along**2).clamp_min(0).sqrt()
    far = (along + half).clamp_min(0)
    return (along - half).clamp_min(0).minimum(far), far


def trilinear_corners(points: Tensor, grid: int, extent: float) -> tuple[Tensor, Tensor]:
    """The eight voxels around points [M, 3] (x, y, z): indices [M, 8] into a field's R³, and weights [M, 8]."""
    place = ((points / extent + 1) * (grid / 2) - 0.5).clamp(0, grid - 1)
    low = place.floor().clamp_max(grid - 2)
    upper = place - low
    x, y, z = low.long().unbind(-1)
    corners, weights = [], []
    for dz, dy, dx in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist():
        corners.append(((z + dz) * grid + y + dy) * grid + x + dx)
        sides = [upper[:, axis] if d else 1 - upper[:, axis] for axis, d in enumerate((dx, dy, dz))]
        weights.append(sides[0] * sides[1] * sides[2])
    return torch.stack(corners, dim=1), torch.stack(weights, dim=1)
