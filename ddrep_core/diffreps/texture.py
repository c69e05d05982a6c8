"""A mesh's texture, seen by fixed cameras: each pixel is a fixed weighted sum of texels, so f(θ) = Aθ."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.errors import RequestError
from ddrep_core.geometry.footprints import ViewSamples, view_samples
from ddrep_core.geometry.mesh import Float, Int, Mesh
from ddrep_core.geometry.raycast import ray_caster
from ddrep_core.geometry.sight import Sight, sight
from ddrep_core.geometry.texel_grids import grid_resolutions, island_groups
from ddrep_core.progress import Progress, counted, portion, unheard
from ddrep_core.sparse import torch_csr
from ddrep_core.views import Camera, Views

LATENT_FACTOR = 8  # pixels of a picture per latent pixel, where nobody says otherwise


def rays_along_pixel(size: int) -> int:
    """How many rays cross a pixel's side in pictures of `size` x `size`: more for small pictures."""
    return max(4, 128 // size)


def _refuse_blind(camera: Camera, sight: Sight) -> None:
    if sight is Sight.nothing:
        raise RequestError(
            f"Camera '{camera.name}' sees nothing of the mesh.", "Turn it to the mesh, move it out of it, or remove it."
        )
    if sight is Sight.within:
        raise RequestError(
            f"Camera '{camera.name}' stands inside the mesh, and sees only the backs of its faces.",
            "Move it out, remove it, or paint both sides (Mesh.both_sides).",
        )


class TextureDiffrep(MatrixDiffrep):
    """The texture of a mesh in the prior's space, drawn by ray casting; linear in θ.

    Every pixel is the mean of `subsamples`² rays, every ray a bilinear look-up in the texture: the texture is filtered
    over the pixel's footprint. Rays that miss (or meet what is not textured) read a free background, one value a pixel
    and view, so A is the identity there and a mixture along the silhouette; rows of A sum to one.

    The texture that is *sampled* need not be as fine as the one delivered: latent views are 16 to 128 pixels wide,
    and texels that fall between a view's rays would never be painted. Each UV island has therefore a texel grid of its
    own, as fine as the nearest view resolves it (`texels_per_pixel`), never finer than `resolution`. Because grids are
    per island, islands do not bleed into each other at coarse resolutions; islands that overlap in UV space share one.
    `geometry.bake` makes the delivered texture from the decoded views.

    Args:
        mesh: with UVs on all textured parts.
        views: the bank of V cameras.
        resolution: T of the texture that will be delivered, an upper bound for the one sampled.
        channels: C of the prior's space.
        view_size: (height, width) of a rendered view. When not given: the camera's size where channels is 3, an
            eighth of it otherwise.
        sampling_resolution: sample a texture of this resolution on all islands instead of one that follows the views.
        texels_per_pixel: texels of the sampled texture to a pixel of the nearest view.
        subsamples: rays along a pixel's side; more for smaller views when not given.
        dtype, device: of θ and A.
        progress: told what share of the views was looked through.

    Attributes:
        texels: [N, 3] the (island group, row, column) of the first N rows of θ, each group on a grid of its own.

    Raises:
        RequestError: a camera that sees nothing or stands inside, no textured part, sizes below one.
    """

    damping = 1e-3
    """Of the mean texel: one that a view barely touches keeps its colour instead of taking up what others contradict
    about."""

    def __init__(
        self,
        mesh: Mesh,
        views: Views,
        resolution: int = 1024,
        channels: int = 4,
        *,
        view_size: tuple[int, int] | None = None,
        sampling_resolution: int | None = None,
        texels_per_pixel: float = 1.0,
        subsamples: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        progress: Progress = unheard,
    ) -> None:
        if view_size is None:
            factor = 1 if channels == 3 else LATENT_FACTOR
            view_size = (max(views[0].height // factor, 1), max(views[0].width // factor, 1))
        height, width = view_size
        if min(height, width, channels, resolution) < 1:
            raise RequestError(f"A texture of {resolution} texels under views of {width} x {height} is not possible.")
        if not mesh.textured_parts:
            raise RequestError(f"Nothing in {mesh.path.name} is to be textured.", "Name at least one object.")
        self.mesh = mesh
        self.views = views
        self.resolution = resolution
        rays_per_side = subsamples or rays_along_pixel(max(height, width))
        caster = ray_caster(mesh)
        looking = counted(views, portion(progress, 0, 0.6))
        samples = [view_samples(caster, camera, width, height, rays_per_side) for camera in looking]
        for camera, view in zip(views, samples, strict=True):
            _refuse_blind(camera, sight(mesh, camera, view.cosine))
        if sampling_resolution is None:
            resolutions = grid_resolutions(caster, samples, views, resolution, texels_per_pixel)
        else:
            resolutions = np.full(len(mesh.faces), sampling_resolution)
        matrix, self.texels = rendering_matrix(mesh, samples, resolutions)
        weights = np.stack([view.pixel_weights().reshape(1, height, width) for view in samples])
        super().__init__(
            torch_csr(matrix, dtype, device),
            (channels, height, width),
            columns=channels,
            pixel_weights=torch.from_numpy(weights).to(device=device, dtype=dtype),
            transposed=torch_csr(matrix.T, dtype, device),
        )

    @property
    def texel_count(self) -> int:
        """How many of θ's rows are texels; the others are background pixels."""
        return len(self.texels)


def bilinear(uv: Float, resolution: Int) -> tuple[Int, Int, Float]:
    """The four texels around each UV in a repeating texture.

    Args:
        uv: [N, 2]; resolution: [N] of the texture each is looked up in.

    Returns:
        row, column and weight, each [N, 4].
    """
    x, y = uv[:, 0] * resolution - 0.5, (1 - uv[:, 1]) * resolution - 0.5
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, down = x - column, y - row
    weight = np.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], axis=1)
    size = resolution[:, None]
    columns, rows = np.stack([column, column + 1] * 2, axis=1), np.stack([row, row, row + 1, row + 1], axis=1)
    return rows % size, columns % size, weight


def rendering_matrix(mesh: Mesh, samples: list[ViewSamples], resolutions: Int) -> tuple[sparse.csr_array, Int]:
    """What these views see of a texture.

    Args:
        samples: of each view, all of one size.
        resolutions: [F] of the texel grid on each face.

    Returns:
        A [V * h * w, P], and [N, 3] the (group, row, column) of its first N columns; the others are background pixels.
    """
    size = samples[0].width * samples[0].height
    groups = island_groups(mesh)
    rows, keys, values = [], [], []
    for number, view in enumerate(samples):
        grid = resolutions[view.face]
        row, column, weight = bilinear(view.uv, grid)
        keys.append(((groups[view.face, None] << 40) + (row << 20) + column).reshape(-1))
        rows.append(np.repeat(number * size + view.pixel, 4))
        values.append((weight / view.subsamples**2).reshape(-1))
    texels, index = np.unique(np.concatenate(keys), return_inverse=True)
    background: Float = 1 - np.concatenate([view.share for view in samples])
    partly = np.flatnonzero(background > 1e-9)
    all_rows = np.concatenate([*rows, partly])
    columns = np.concatenate([index.reshape(-1), len(texels) + np.arange(len(partly))])
    all_values = np.concatenate([*values, background[partly]])
    shape = (size * len(samples), len(texels) + len(partly))
    matrix = sparse.coo_array((all_values, (all_rows, columns)), shape=shape).tocsr()
    matrix.sum_duplicates()
    return matrix, np.stack([texels >> 40, (texels >> 20) & 0xFFFFF, texels & 0xFFFFF], axis=1)
