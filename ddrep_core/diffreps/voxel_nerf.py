"""A radiance field in a voxel grid: density and latent colours, drawn by summing along rays.

The paper's NeRF (§4.3): a 100³ grid of one density and C latent colours (no view dependence, no limit on colours) in
the box [−1, 1]³, a small background by direction, and a density that starts as a blob in the middle; in plain torch.

Between rays lie voxels that no ray touches: a latent view is a few dozen pixels wide, a grid a hundred. In a
plain grid those voxels never move: the object is full of holes from any new side, and the starting blob stays between
the rays as a fog that no view of the bank sees. Against it: `levels` stores each grid as a sum of itself and of coarser
ones, each half as fine: the same functions, but a step of descent moves neighbourhoods instead of single voxels (one
level is the paper's). And small pictures are drawn with several rays a pixel, so that rays lie no farther apart than
the voxels of the grid that `finest_grid` gives.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Self

import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.ray_samples import Composite, LookUp, Rays, RenderRays, ball_interval, march
from ddrep_core.errors import RequestError
from ddrep_core.noise.fields import CommonNoise
from ddrep_core.sparse import SparseMatrix, scipy_csr
from ddrep_core.views import Camera, Views

# σ_init(x) = 10 (1 − ‖x‖ / r), before the softplus (§4.3). The paper's r = 0.5 is 0.7 to 0.9 of half a frame, for its
# cameras stand near; here the frame is as wide as the field.
BLOB_DENSITY, BLOB_RADIUS = 10.0, 0.7
FAR = 1e6  # where an orthographic camera's rays come from
RAYS_ACROSS = 32  # a picture, at least
STEP_IN_VOXELS = 1.0  # on the longest way through the field; shorter ways have as many samples
DENSITY_SCALE, COLOUR_SCALE = 10.0, 2.0  # raw value of one unit of θ
BACKGROUND_SCALE = 8.0  # faster than all else, or the blob turns into fog of the background's colour
BACKGROUND_SHAPE = (3, 4)  # elevations and azimuths
EMPTINESS = 0.03  # the price of a ray that is stopped, in units of the squared error of a pixel
SPREAD = 0.1  # the price of what is seen at different depths on one ray, in the same units
MIXTURE = 0.05  # the price of the variance of the colours that a pixel mixes, in units of its squared error


class VoxelNerfDiffrep:
    """f(θ, π): the field seen by camera π.

    The field lives in the ball of radius `extent` around the views' target; beyond it lies the background.

    Args:
        views: the bank of V cameras, outside or inside that ball.
        image_shape: (C, h, w) of one view.
        grid: R, voxels along an edge of the box around the ball.
        levels: how many grids each value is the sum of; 1 is the paper's plain grid.
        extent: in the world's units.
        subsamples: rays along a pixel's side; as many as make `RAYS_ACROSS` of a small picture when not given.
        emptiness, spread, mixture: see `render_and_penalty`.

    Raises:
        RequestError: a grid that is too small or too large for its levels.
    """

    learning_rate = 0.02
    """What descent may move θ by in one step: 0.2 in the raw density, 0.04 in the colours."""
    passes = 3
    """Of descent in each pull-back: with five, silhouettes are no better (docs/results.md)."""

    def __init__(
        self,
        views: Views,
        image_shape: tuple[int, int, int],
        grid: int = 100,
        *,
        levels: int = 3,
        extent: float = 1.0,
        subsamples: int | None = None,
        emptiness: float = EMPTINESS,
        spread: float = SPREAD,
        mixture: float = MIXTURE,
        device: torch.device | str = "cpu",
    ) -> None:
        sizes = [math.ceil(grid / 2**level) for level in range(levels)]
        if levels < 1 or sizes[-1] < 4 or grid > 512:
            raise RequestError(f"A grid of {grid} voxels in {levels} levels is not possible.", "Use 32 to 512.")
        self.views, self._image_shape = views, image_shape
        self.grid, self.extent = grid, extent
        self.centre = torch.as_tensor(views.target).float().to(device)
        self.samples = math.ceil(grid / STEP_IN_VOXELS)
        self.subsamples = subsamples or rays_per_pixel(image_shape)
        self.emptiness, self.spread, self.mixture = emptiness, spread, mixture
        channels = image_shape[0]
        self.theta = {
            f"grid_{level}": torch.zeros(1 + channels, size, size, size, device=device)
            for level, size in enumerate(sizes)
        }
        self.theta["background"] = torch.zeros(channels, *BACKGROUND_SHAPE, device=device)
        self._scale = torch.tensor([DENSITY_SCALE] + [COLOUR_SCALE] * channels, device=device)[:, None, None, None]
        self._enlarge = [enlarging(size, grid).to(device) for size in sizes[1:]]
        self.stacked = self.centre.is_cuda
        self._looks: dict[tuple[int, ...], _Look] = {}

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
            self.theta["grid_0"][0].copy_(blob / DENSITY_SCALE)

    def copy(self) -> Self:
        twin = copy.copy(self)
        twin.theta = {name: tensor.detach().clone() for name, tensor in self.theta.items()}
        return twin

    def noise_field(self) -> CommonNoise:
        """One picture's noise for all views. Of noise that every view has by itself, what would decide between objects
        averages out: each seed would draw the same one (docs/results.md)."""
        return CommonNoise((self.view_count, *self.image_shape), device=self.centre.device)

    def render(self, indices: Tensor | None = None) -> Tensor:
        images, _ = self.render_with_opacity(indices)
        return images

    def render_with_opacity(self, indices: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """[B, C, h, w], and how much of the light the object stops: [B, 1, h, w] in 0..1."""
        images, opacity, _, _ = self._render(indices)
        return images, opacity

    def _render(self, indices: Tensor | None) -> tuple[Tensor, ...]:
        """Pictures [B, C, h, w], and opacity, spread, mean square (`Composite.sums`), [B, 1, h, w] each."""
        channels, height, width = self._image_shape
        rows = self.field().flatten(1).T.contiguous()
        background = self._background_rows()
        drawn = [
            torch.cat(RenderRays.apply(rows, look.background @ background, look.look_up, look.step), dim=-1)
            for look in self._seen(indices)
        ]
        values = torch.cat(drawn).view(-1, height, width, self.subsamples**2, channels + 3).mean(dim=3).movedim(-1, 1)
        return values[:, :-3], values[:, -3:-2], values[:, -2:-1], values[:, -1:]

    def render_and_penalty(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The pictures, and what descent pays beside their error: three prices on what no picture forbids.

        *Emptiness*, times the mean opacity: fog of the background's colour changes no picture, so nothing else would
        ever clear it away. *Spread*, times the mean spread of what a ray sees in radii of the field: layers of
        half-transparent matter can show every view another picture, so that views that contradict each other need
        never agree; a ray should meet one surface. *Mixture*, times the variance of the colours that a pixel mixes:
        thin matter of twice the colour draws what a solid surface draws, and emptiness alone prefers it.
        """
        images, opacity, spread, square = self._render(indices)
        covered = opacity.square().clamp_min(1e-6)
        one_surface = (spread / covered * covered.detach()).mean()  # no cheaper where everything is thinner
        mixed = square.mean() / images.shape[1] - images.square().mean()
        return images, (
            self.emptiness * opacity.mean() + self.spread / self.extent * one_surface + self.mixture * mixed
        )

    def render_views(self, views: Views, height: int, width: int) -> tuple[Tensor, Tensor]:
        """`render_with_opacity` for any other cameras, without a graph."""
        found = []
        with torch.no_grad():
            field = self.field()
            for camera in views:
                rays = self.rays(camera, height, width)
                drawn = march(field, rays, self.background(rays.directions), self.extent)
                found.append(drawn.view(height, width, -1, drawn.shape[1]).mean(dim=2).movedim(-1, 0))
        values = torch.stack(found)
        return values[:, :-3], values[:, -3:-2]

    def field(self) -> Tensor:
        """[1 + C, R, R, R] density (absorption a unit of length, zero or more) and colours; axes are z, y, x."""
        raw = self.theta["grid_0"]
        for level, enlarge in enumerate(self._enlarge, start=1):
            wider = enlarge @ (self.theta[f"grid_{level}"] @ enlarge.T)  # along x, then y, then z
            raw = raw + (enlarge @ wider.flatten(2)).view_as(raw)
        raw = raw * self._scale
        return torch.cat([functional.softplus(raw[:1]), raw[1:]])

    def shares(self) -> SparseMatrix:
        """[V * h * w, R³] how much of each pixel shows each voxel's colour: pictures are linear in colours."""
        density, parts = self.field()[:1].flatten(1).T, []
        for look in self._seen(None):
            samples = look.look_up(density).view(len(look.step), -1, 1)
            shares = Composite.of(samples, samples[:, 0, :0], look.step).share / self.subsamples**2
            parts.append(look.look_up.summed(shares.reshape(len(shares) // self.subsamples**2, -1)))
        return sparse.vstack(parts, format="csr")

    def colour_grids(self) -> list[tuple[Tensor, SparseMatrix]]:
        """Of each level, finest first: its colours [C, R', R', R'], live, and [R³, R'³] what a unit of them adds to
        each voxel's colour (`field`)."""
        found = []
        for level in range(1 + len(self._enlarge)):
            along = sparse.eye_array(self.grid) if level == 0 else scipy_csr(self._enlarge[level - 1])
            found.append(
                (self.theta[f"grid_{level}"][1:], COLOUR_SCALE * sparse.kron(along, sparse.kron(along, along)))
            )
        return found

    def concealment(self, resolution: int, samples: int = 24) -> Tensor:
        """[R, R, R] how much of the light between a point and the camera that sees it best is stopped, 0..1.

        A field is only as opaque as its pictures need: shells, hollow inside, soft, and opaque in one place because
        another is not. Which places are *outside* is better known: those that some camera of the bank sees. So this is
        high in everything that no camera sees into, and low wherever one view's picture says that there is nothing,
        whatever fog the others left there. Axes are z, y, x; beyond the field's ball it is 0.

        Args:
            resolution: R, points along an edge of the box around the ball.
            samples: along each way to a camera.
        """
        with torch.no_grad():
            density = self.field()[None, :1]
            points = voxel_centres(resolution, self.extent).to(self.centre).view(-1, 3)
            inside = points.norm(dim=1) < self.extent
            points = points[inside]
            stopped = torch.full((len(points),), math.inf, device=points.device)
            part = ((torch.arange(samples).to(points) + 0.5) / samples)[None, :, None]
            for camera in self.views:
                way = _way_to(camera, self.centre, points)
                _, length = ball_interval(points, functional.normalize(way, dim=1), self.extent)
                length = length.minimum(way.norm(dim=1))
                steps = functional.normalize(way, dim=1)[:, None] * length[:, None, None] * part
                places = (points[:, None] + steps) / self.extent
                met = functional.grid_sample(
                    density, places[None, None], mode="bilinear", padding_mode="border", align_corners=False
                )[0, 0, 0]
                stopped = stopped.minimum(met.mean(dim=1) * length)
            found = torch.zeros(resolution**3, device=points.device)
            found[inside] = 1 - torch.exp(-stopped)
        return found.view(resolution, resolution, resolution)

    def _seen(self, indices: Tensor | None) -> list[_Look]:
        """What is fixed of these views, worked out when they are first asked for.

        One look a view; on a GPU, where a launch costs more than what it does for one view, one look for the whole bank
        wherever the whole bank is asked for.
        """
        if self.stacked and (indices is None or len(indices) == self.view_count):
            wanted = tuple(range(self.view_count)) if indices is None else tuple(indices.tolist())
            return [self._look(wanted)]
        return [self._look((view,)) for view in (range(self.view_count) if indices is None else indices.tolist())]

    def _look(self, chosen: tuple[int, ...]) -> _Look:
        """All rays of these views, view after view."""
        if chosen not in self._looks:
            _, height, width = self._image_shape
            each = [self.rays(self.views[view], height, width) for view in chosen]
            look_up = LookUp(torch.cat([rays.points() for rays in each]), self.grid, self.extent)
            step = torch.cat([rays.step for rays in each])
            self._looks[chosen] = _Look(look_up, step, torch.cat([background_cells(rays.directions) for rays in each]))
        return self._looks[chosen]

    def rays(self, camera: Camera, height: int, width: int) -> Rays:
        """[h * w * S²] rays around the centre."""
        origins, directions = camera.pixel_grid_rays(width, height, self.subsamples)
        start = torch.from_numpy(origins).float().to(self.centre).reshape(-1, 3) - self.centre
        along = torch.from_numpy(directions).float().to(self.centre).reshape(-1, 3)
        return Rays.through(start, along, self.extent, self.samples)

    def background(self, directions: Tensor) -> Tensor:
        """[N, C] the background's colours in directions [N, 3]."""
        return background_cells(directions) @ self._background_rows()

    def _background_rows(self) -> Tensor:
        """[cells, C] the background's colours."""
        return self.theta["background"].flatten(1).T * BACKGROUND_SCALE


def _way_to(camera: Camera, centre: Tensor, points: Tensor) -> Tensor:
    """[N, 3] from points [N, 3] (counted from `centre`) to where the camera sees them from."""
    if camera.is_orthographic:
        backward = torch.from_numpy(camera.matrix_world[:3, 2]).to(points)
        return (FAR * functional.normalize(backward, dim=0)).expand_as(points)
    return torch.from_numpy(camera.position).to(points) - centre - points


@dataclass(frozen=True)
class _Look:
    """What never changes of N rays: look-ups at their samples, their lengths [N], the background's part [N, cells]."""

    look_up: LookUp
    step: Tensor
    background: Tensor


def rays_per_pixel(image_shape: tuple[int, int, int]) -> int:
    """Along a pixel's side, for views of (C, h, w)."""
    return max(1, RAYS_ACROSS // max(image_shape[1:]))


def finest_grid(image_shape: tuple[int, int, int]) -> int:
    """R, voxels along an edge, so that no voxel slips between the rays of views of (C, h, w) that fill their frames."""
    return rays_per_pixel(image_shape) * max(image_shape[1:])


def voxel_centres(grid: int, extent: float) -> Tensor:
    """[R, R, R, 3] positions (x, y, z) of voxels in the order of a field's axes (z, y, x)."""
    line = ((torch.arange(grid) + 0.5) / grid * 2 - 1) * extent
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    return torch.stack([x, y, z], dim=-1)


def enlarging(size: int, grid: int) -> Tensor:
    """[grid, size] linear interpolation along one axis from `size` cells to `grid` cells over the same length."""
    place = ((torch.arange(grid) + 0.5) * size / grid - 0.5).clamp(0, size - 1)
    return (1 - (place[:, None] - torch.arange(size)).abs()).clamp_min(0)


def background_cells(directions: Tensor) -> Tensor:
    """[N, cells] by which the background's cells are seen in directions [N, 3]: closed around the azimuth."""
    rises, turns = BACKGROUND_SHAPE
    turn = (torch.atan2(directions[:, 1], directions[:, 0]) / (2 * math.pi) + 0.5) * turns
    rise = (torch.asin(directions[:, 2].clamp(-1, 1)) / math.pi + 0.5) * (rises - 1)
    by_turn = (1 - (turn[:, None] - torch.arange(turns + 1).to(turn)).abs()).clamp_min(0)
    by_turn = torch.cat([by_turn[:, :1] + by_turn[:, -1:], by_turn[:, 1:-1]], dim=1)
    by_rise = (1 - (rise[:, None] - torch.arange(rises).to(rise)).abs()).clamp_min(0)
    return (by_rise[:, :, None] * by_turn[:, None]).flatten(1)
