"""A radiance field in a voxel grid: density and latent colours, drawn by summing along rays.

The paper's NeRF (§4.3): a 100³ grid of one density and C latent colours (no view dependence, no limit on colours) in
the box [−1, 1]³, a small background by direction, and a density that starts as a blob in the middle; in plain torch.

Between rays lie voxels that no ray touches: a latent view is a few dozen pixels wide, a grid a hundred. In a
plain grid those voxels never move, and the object is full of holes from any new side. `levels` stores each grid as
a sum of itself and of coarser ones, each half as fine: the same functions, but a step of descent moves neighbourhoods
instead of single voxels. One level is the paper's.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ddrep_core.errors import RequestError
from ddrep_core.views import Camera, Views, look_at, perspective_projection

BLOB_DENSITY, BLOB_RADIUS = 10.0, 0.5  # σ_init(x) = 10 (1 − ‖x‖ / 0.5), before the softplus (§4.3)
STEP_IN_VOXELS = 1.0
NEGLIGIBLE = 1e-4  # a sample that can absorb no more than this share of a ray is skipped
SAMPLES_AT_ONCE = 1_000_000  # bounds memory: about 400 bytes a sample
DENSITY_SCALE, COLOUR_SCALE = 10.0, 2.0  # raw value of one unit of θ
BACKGROUND_SCALE = 8.0  # faster than all else, or the blob turns into fog of the background's colour
BACKGROUND_SHAPE = (3, 4)  # elevations and azimuths
EMPTINESS = 0.03  # the price of a ray that is stopped, in units of the squared error of a pixel


class VoxelNerfDiffrep:
    """f(θ, π): the field seen by camera π.

    Args:
        views: the bank of V cameras, outside or inside the box [−extent, extent]³ around their target.
        image_shape: (C, h, w) of one view.
        grid: R, voxels along an edge.
        levels: how many grids each value is the sum of; 1 is the paper's plain grid.
        extent: half the edge of the box, in the world's units.
        subsamples: rays along a pixel's side.
        emptiness: see `render_and_penalty`.
        samples_at_once: the memory bound, in samples along rays.

    Raises:
        RequestError: a grid that is too small or too large for its levels.
    """

    learning_rate = 0.02
    """What descent may move θ by in one step: 0.2 in the raw density, 0.04 in the colours."""

    def __init__(
        self,
        views: Views,
        image_shape: tuple[int, int, int],
        grid: int = 100,
        *,
        levels: int = 3,
        extent: float = 1.0,
        subsamples: int = 1,
        emptiness: float = EMPTINESS,
        samples_at_once: int = SAMPLES_AT_ONCE,
        device: torch.device | str = "cpu",
    ) -> None:
        channels, height, width = image_shape
        sizes = [math.ceil(grid / 2**level) for level in range(levels)]
        if levels < 1 or sizes[-1] < 4 or grid > 512:
            raise RequestError(f"A grid of {grid} voxels in {levels} levels is not possible.", "Use 32 to 512.")
        self.views, self._image_shape = views, image_shape
        self.grid, self.extent, self.samples_at_once = grid, extent, samples_at_once
        self.centre = torch.as_tensor(views.target).float().to(device)
        self.step = STEP_IN_VOXELS * 2 * extent / grid
        self.subsamples, self.emptiness = subsamples, emptiness
        rays = [camera.pixel_grid_rays(width, height, self.subsamples) for camera in views]
        self.origins = torch.from_numpy(np.stack([origin for origin, _ in rays])).float().to(device) - self.centre
        self.directions = torch.from_numpy(np.stack([direction for _, direction in rays])).float().to(device)
        self.theta: dict[str, Tensor] = {}
        for level, size in enumerate(sizes):
            self.theta[f"density_{level}"] = torch.zeros(1, 1, size, size, size, device=device)
            self.theta[f"colour_{level}"] = torch.zeros(1, channels, size, size, size, device=device)
        self.theta["background"] = torch.zeros(1, channels, *BACKGROUND_SHAPE, device=device)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self._image_shape

    @property
    def view_count(self) -> int:
        return len(self.views)

    def parameters(self) -> dict[str, Tensor]:
        return self.theta

    def pixel_weights(self) -> Tensor | None:
        return None

    def reset(self, generator: torch.Generator) -> None:
        """A blob of density without colour before nothing: every render is zero, and every voxel of it can move."""
        with torch.no_grad():
            for tensor in self.theta.values():
                tensor.zero_()
            points = voxel_centres(self.grid, self.extent).to(self.centre)
            blob = BLOB_DENSITY * (1 - points.norm(dim=-1) / (BLOB_RADIUS * self.extent))
            self.theta["density_0"].copy_(blob[None, None] / DENSITY_SCALE)

    def copy(self) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.theta = {name: tensor.detach().clone() for name, tensor in self.theta.items()}
        return twin

    def render(self, indices: Tensor | None = None) -> Tensor:
        images, _ = self.render_with_opacity(indices)
        return images

    def render_with_opacity(self, indices: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """[B, C, h, w], and how much of the light the object stops: [B, 1, h, w] in 0..1."""
        if indices is None:
            indices = torch.arange(self.view_count)
        return self.render_rays(self.origins[indices], self.directions[indices])

    def render_and_penalty(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The pictures, and what descent pays for density beside their error: emptiness · mean opacity.

        Fog of the background's colour changes no picture, so nothing else would ever clear it away; where density is
        needed, the price moves the opacity by less than a hundredth.
        """
        images, opacity = self.render_with_opacity(indices)
        return images, self.emptiness * opacity.mean()

    def render_views(self, views: Views, height: int, width: int) -> tuple[Tensor, Tensor]:
        """`render_with_opacity` for any other cameras, without a graph."""
        with torch.no_grad():
            rays = [camera.pixel_grid_rays(width, height, self.subsamples) for camera in views]
            origins = torch.from_numpy(np.stack([origin for origin, _ in rays])).float().to(self.centre) - self.centre
            directions = torch.from_numpy(np.stack([direction for _, direction in rays])).float().to(self.centre)
            return self.render_rays(origins, directions)

    def render_rays(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, C, h, w] and opacity [B, 1, h, w] for rays [B, h, w, S, 3] from around the centre."""
        batch, height, width, subsamples, _ = origins.shape
        field = self.field()
        occupied = self._occupied(field[:, :1].detach())
        origins, directions = origins.reshape(-1, 3), directions.reshape(-1, 3)
        near, far = box_interval(origins, directions, self.extent)
        # The whole box's diagonal, so that pieces of any view have the same samples; most of them are skipped.
        count = max(1, math.ceil(float((far - near).max()) / self.step))
        rays_at_once = max(1, self.samples_at_once // count)
        pieces = []
        for start in range(0, len(origins), rays_at_once):
            part = slice(start, start + rays_at_once)
            arguments = (field, occupied, origins[part], directions[part], near[part], far[part], count)
            if torch.is_grad_enabled() and len(origins) > rays_at_once:
                pieces.append(checkpoint(self._march, *arguments, use_reentrant=False))
            else:
                pieces.append(self._march(*arguments))
        values = torch.cat(pieces)  # [N, C + 1]
        values = values.reshape(batch, height, width, subsamples, -1).mean(dim=3).movedim(-1, 1)
        return values[:, :-1], values[:, -1:]

    def field(self) -> Tensor:
        """[1, 1 + C, R, R, R] density (absorption a unit of length, zero or more) and colours; axes are z, y, x."""
        densities = [tensor for name, tensor in self.theta.items() if name.startswith("density")]
        colours = [tensor for name, tensor in self.theta.items() if name.startswith("colour")]
        raw = torch.cat([_sum_of_levels(densities) * DENSITY_SCALE, _sum_of_levels(colours) * COLOUR_SCALE], dim=1)
        return torch.cat([functional.softplus(raw[:, :1]), raw[:, 1:]], dim=1)

    def _occupied(self, density: Tensor) -> Tensor:
        """[R, R, R] where a sample, or a neighbour of it, can absorb anything."""
        return functional.max_pool3d(density, 3, stride=1, padding=1)[0, 0] * self.step > NEGLIGIBLE

    def _march(
        self,
        field: Tensor,
        occupied: Tensor,
        origins: Tensor,
        directions: Tensor,
        near: Tensor,
        far: Tensor,
        count: int,
    ) -> Tensor:
        """[N, C + 1] colour and opacity of rays: Σ T (1 − exp(−density·step)) colour, then the background."""
        distance = near[:, None] + (torch.arange(count).to(near) + 0.5) * self.step  # [N, S]
        inside = distance < far[:, None]
        ray, position = inside.nonzero(as_tuple=True)
        points = (origins[ray] + distance[ray, position, None] * directions[ray]) / self.extent  # [M, 3]
        cell = ((points + 1) * (0.5 * self.grid)).int().clamp_(0, self.grid - 1)
        kept = occupied.view(-1)[((cell[:, 2] * self.grid + cell[:, 1]) * self.grid + cell[:, 0]).long()]
        ray, position, points = ray[kept], position[kept], points[kept]
        looked_up = functional.grid_sample(
            field, points[None, None, None], mode="bilinear", padding_mode="border", align_corners=False
        )[0, :, 0, 0]  # [1 + C, M]
        absorbed = torch.zeros_like(distance).index_put((ray, position), looked_up[0] * self.step)  # optical depth
        before = absorbed.cumsum(dim=1) - absorbed
        share = torch.exp(-before) * -torch.expm1(-absorbed)  # [N, S]
        weighted = looked_up[1:] * share[ray, position]  # [C, M]
        colour = torch.zeros(len(origins), weighted.shape[0]).to(weighted).index_add(0, ray, weighted.T)
        opacity = share.sum(dim=1, keepdim=True)
        return torch.cat([colour + (1 - opacity) * self._background(directions), opacity], dim=1)

    def _background(self, directions: Tensor) -> Tensor:
        """[N, C] a small picture on the sphere of directions, closed around the azimuth."""
        background = self.theta["background"] * BACKGROUND_SCALE
        background = torch.cat([background, background[..., :1]], dim=-1)
        azimuth = torch.atan2(directions[:, 1], directions[:, 0]) / math.pi
        elevation = torch.asin(directions[:, 2].clamp(-1, 1)) / (math.pi / 2)
        grid = torch.stack([azimuth, elevation], dim=-1)[None, None]
        return functional.grid_sample(background, grid, mode="bilinear", padding_mode="border", align_corners=True)[
            0, :, 0
        ].T


def voxel_centres(grid: int, extent: float) -> Tensor:
    """[R, R, R, 3] positions (x, y, z) of voxels in the order of a field's axes (z, y, x)."""
    line = ((torch.arange(grid) + 0.5) / grid * 2 - 1) * extent
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    return torch.stack([x, y, z], dim=-1)


def box_interval(origins: Tensor, directions: Tensor, extent: float) -> tuple[Tensor, Tensor]:
    """Where rays [N, 3] enter and leave the box [−extent, extent]³, [N] each; equal where they miss it."""
    safe = torch.where(directions.abs() < 1e-9, 1e-9, directions)
    one, two = (-extent - origins) / safe, (extent - origins) / safe
    near = torch.minimum(one, two).amax(dim=-1).clamp_min(0)
    far = torch.maximum(one, two).amin(dim=-1)
    return near, torch.maximum(near, far)


def sphere_bank(
    count: int = 16,
    generator: torch.Generator | None = None,
    *,
    distance: float = 1.5,
    elevations: tuple[float, float] = (-10.0, 60.0),
    fov_degrees: tuple[float, float] = (40.0, 60.0),
    size: int = 64,
) -> Views:
    """Cameras around the origin, well spread: azimuths in equal strata, elevations and fields of view in the best
    order to be met with them (a lattice of the golden ratio's powers), each jittered within its stratum.

    Args:
        elevations: degrees; spread evenly in their sine, so that equal areas get equal shares.
        fov_degrees: the range of fields of view.
        size: of the pictures, in pixels.
    """
    generator = generator or torch.Generator().manual_seed(0)
    jitter = torch.rand(count, 3, generator=generator).numpy()
    low, high = (math.sin(math.radians(angle)) for angle in elevations)
    cameras = []
    for number in range(count):
        azimuth = 2 * math.pi * (number + 0.5 * (jitter[number, 0] - 0.5)) / count
        spread = ((number * 0.7548776662 + 0.35) % 1, (number * 0.5698402910 + 0.6) % 1)
        elevation = math.asin(low + (high - low) * spread[0])
        fov = fov_degrees[0] + (fov_degrees[1] - fov_degrees[0]) * spread[1]
        offset = np.array(
            [math.sin(azimuth) * math.cos(elevation), -math.cos(azimuth) * math.cos(elevation), math.sin(elevation)]
        )
        matrix = look_at(distance * offset, (0.0, 0.0, 0.0))
        cameras.append(Camera(f"bank {number}", matrix, perspective_projection(fov), size, size))
    return Views(tuple(cameras))


def _sum_of_levels(levels: list[Tensor]) -> Tensor:
    total = levels[0]
    for coarse in levels[1:]:
        total = total + functional.interpolate(coarse, size=total.shape[2:], mode="trilinear", align_corners=False)
    return total
