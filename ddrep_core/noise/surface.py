"""Noise that lives on a mesh's surface: cameras that see the same place see the same noise there."""

from __future__ import annotations

import numpy as np
import torch

from ddrep_core.geometry.footprints import view_samples
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.raycast import ray_caster
from ddrep_core.geometry.texel_grids import grid_resolutions, island_groups
from ddrep_core.noise.matrix import MatrixNoise, noise_rows
from ddrep_core.sparse import torch_csr
from ddrep_core.views import Views

CELLS_PER_PIXEL = 1.0
"""Of the view that resolves an island best; a pixel that sees it from twice as far away holds four. Finer cells spread
over more pixels of the next view, and less of a pixel's noise is shared (docs/agreement.md)."""
RAYS = 8
"""Along a pixel's side: each cell goes to the pixel that shows most of it."""
FINEST_GRID = 1 << 16


def surface_noise(
    mesh: Mesh,
    views: Views,
    image_shape: tuple[int, int, int],
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> MatrixNoise:
    """White noise in each view, the same in all where they see the same place.

    Views that each have noise of their own are drawn towards different pictures, and what they then agree on is an
    average: agreement costs variety. Shared noise lets them start from the same picture (docs/agreement.md).

    Each UV island is cut into cells, a square grid in its texture. A pixel's noise is the sum of the cells that its
    rays meet, over the root of their number; what of a pixel shows no textured surface has noise of its own.

    Args:
        mesh: with UVs on all textured parts.
        views: the V cameras.
        image_shape: (C, h, w) of one view in the prior's space.
        dtype, device: of the noise.
    """
    _, height, width = image_shape
    caster = ray_caster(mesh)
    samples = [view_samples(caster, camera, width, height, RAYS) for camera in views]
    resolutions = grid_resolutions(caster, samples, views, FINEST_GRID, CELLS_PER_PIXEL)
    groups = island_groups(mesh)
    sighted, pixels, cells = [], [], []
    for number, view in enumerate(samples):
        grid = resolutions[view.face]
        column, row = (np.floor(view.uv[:, axis] * grid).astype(np.int64) % grid for axis in (0, 1))
        sighted.append(np.full(len(row), number))
        pixels.append(number * height * width + view.pixel)
        cells.append((groups[view.face] << 40) + (row << 20) + column)
    own = 1.0 - np.concatenate([view.share for view in samples])
    matrix = noise_rows(np.concatenate(sighted), np.concatenate(pixels), np.concatenate(cells), own)
    return MatrixNoise(torch_csr(matrix, dtype, "cpu"), (len(views), *image_shape), dtype, device)
