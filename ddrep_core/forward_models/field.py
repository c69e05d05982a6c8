"""Radiance fields as signals: a grid of density and colours, and what the rig's cameras see of it.

Colours are counted from a middle grey, and so is what is seen: a picture of [4, h, w] is coverage times (sRGB − ½), and
the coverage; of nothing, it is zero. So noise is added about what a picture of nothing is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ddrep_core.diffreps.ray_samples import Composite, LookUp, Rays
from ddrep_core.diffreps.voxel_nerf import voxel_centres
from ddrep_core.sparse import unchecked_csr
from ddrep_core.views import Camera, Views

MIDDLE = 0.5  # sRGB, from which colours are counted
NEXT = ((0, 0), (0, 1), (1, 0), (1, 1))  # pixels around a place


class _Rendering(torch.autograd.Function):
    """`diffreps.ray_samples.RenderRays` of several fields along the same rays."""

    @staticmethod
    def forward(ctx: Any, fields: Tensor, look_up: LookUp, step: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, N, 4] and spreads [B, N] of fields [B, 4, R³] along N rays."""
        count, rays = len(fields), len(step)
        rows = fields.permute(2, 0, 1).flatten(1).contiguous()
        samples = look_up(rows).view(rays, -1, count, 4).permute(2, 0, 1, 3).flatten(0, 1)
        found = Composite.of(samples, samples.new_zeros(1, 3), step.repeat(count))
        picture, opacity, spread, _ = found.sums()
        ctx.look_up, ctx.found, ctx.count = look_up, found, count
        return torch.cat([picture, opacity], 1).unflatten(0, (count, rays)), spread.view(count, rays)

    @staticmethod
    def backward(ctx: Any, by_picture: Tensor, by_spread: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        by, spread = by_picture.flatten(0, 1), by_spread.reshape(-1, 1)
        samples, _ = ctx.found.pull(by[:, :3], by[:, 3:], spread, torch.zeros_like(spread))
        rows = samples.unflatten(0, (ctx.count, -1)).permute(1, 2, 0, 3).flatten(0, 1).flatten(1).contiguous()
        return ctx.look_up.adjoint(rows).unflatten(1, (ctx.count, 4)).permute(1, 2, 0), None, None


class FieldRenderer:
    """A `Forward`: fields [B, 4, R, R, R] (density, colours; axes z, y, x) in the unit ball, as pictures [4, h, w].

    Args:
        views: the rig's cameras.
        size: h = w.
        grid: R.
    """

    def __init__(self, views: Views, size: int, grid: int) -> None:
        self.views, self.size, self.grid = views, size, grid
        self._looks: dict[tuple[int, ...], tuple[LookUp, Tensor]] = {}

    def __call__(self, signals: Tensor, views: Tensor) -> Tensor:
        return self.with_spread(signals, views)[0]

    def with_spread(
        self, signals: Tensor, views: Tensor, every: int = 1, begin: tuple[int, int] = (0, 0)
    ) -> tuple[Tensor, Tensor]:
        """Pictures [B, Q, 4, h, w], and over what depth each pixel's matter lies [B, Q, h, w] (`Composite.sums`).

        Args:
            every, begin: only so many of the rows and columns, from these on: training needs no more.
        """
        fields = signals.flatten(2)
        drawn = [_Rendering.apply(fields, *self._look(view, every, begin)) for view in views.tolist()]
        pictures = torch.stack([picture for picture, _ in drawn], 1).movedim(-1, 2)
        spreads = torch.stack([spread for _, spread in drawn], 1)
        shape = (self.size // every, self.size // every)
        return pictures.unflatten(-1, shape), spreads.unflatten(-1, shape)

    def _look(self, view: int, every: int, begin: tuple[int, int]) -> tuple[LookUp, Tensor]:
        key = (view, every, *begin)
        if key not in self._looks:
            rays = rays_of(self.views[view], self.size, self.grid, every, begin)
            self._looks[key] = LookUp(rays.points(), self.grid, 1.0), rays.step
        return self._looks[key]


def rays_of(camera: Camera, size: int, count: int, every: int = 1, begin: tuple[int, int] = (0, 0)) -> Rays:
    """One ray a pixel through the unit ball, `count` samples each; only `every` row and column from `begin` on."""
    row, column = begin
    origins, directions = (
        torch.from_numpy(each[row::every, column::every].reshape(-1, 3)).float()
        for each in camera.pixel_grid_rays(size, size, 1)
    )
    return Rays.through(origins, directions, 1.0, count)


def laid_into_space(camera: Camera, size: int, grid: int) -> Tensor:
    """[R³, size²] sparse: what a picture shows where each voxel is seen; voxels beyond its frame are of its edge."""
    points = voxel_centres(grid, 1.0).reshape(-1, 3)
    pixels, _ = camera.project(points.double().numpy())
    place = (torch.from_numpy(pixels) * (size / camera.width) - 0.5).clamp(0, size - 1)  # (x, y)
    low = place.floor().clamp_max(size - 2)
    part = (place - low).float()
    (column, row), (right, down) = low.long().unbind(1), part.unbind(1)
    columns = torch.stack([(row + dy) * size + column + dx for dy, dx in NEXT], 1)
    weights = torch.stack([(down if dy else 1 - down) * (right if dx else 1 - right) for dy, dx in NEXT], 1)
    order = torch.arange(0, columns.numel() + 1, 4, dtype=torch.int32)
    return unchecked_csr(order, columns.reshape(-1).int(), weights.reshape(-1), (len(points), size * size))


def seen_as(colours: Tensor, coverage: Tensor) -> Tensor:
    """[..., 4, h, w] of colours that lie on black [..., 3, h, w] and coverage [..., 1, h, w], sRGB in [0, 1]."""
    return torch.cat([colours - MIDDLE * coverage, coverage], -3)


def on_white(seen: Tensor) -> Tensor:
    """[..., 3, h, w] sRGB in [0, 1] before a white ground."""
    coverage = seen[..., 3:, :, :]
    return (seen[..., :3, :, :] + MIDDLE * coverage + 1 - coverage).clamp(0, 1)
