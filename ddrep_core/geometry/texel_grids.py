"""Texel grids as fine as the views resolve them, one for each UV island."""

from __future__ import annotations

import itertools

import numpy as np

from ddrep_core.geometry.footprints import ViewSamples, texel_densities
from ddrep_core.geometry.kept import kept
from ddrep_core.geometry.mesh import Int, Mesh
from ddrep_core.geometry.raycast import RayCaster
from ddrep_core.geometry.texels import texture_groups
from ddrep_core.views import Views


def grid_resolutions(
    caster: RayCaster, samples: list[ViewSamples], views: Views, limit: int, texels_per_pixel: float
) -> Int:
    """[F] the texel grid's resolution for each face, one number an island (group): as fine as the nearest view.

    A texture can disagree with its views only where texels are no finer than pixels: between the rays of two views,
    finer ones hold both pictures, whatever these show (docs/agreement.md).

    Args:
        limit: no grid is finer.
        texels_per_pixel: texels to a pixel of the view that resolves an island best.
    """
    mesh = caster.mesh
    density = np.zeros(len(mesh.faces))
    for view, camera in zip(samples, views, strict=True):
        face, here = texel_densities(caster, view, camera)
        np.maximum.at(density, face, here)
    side = mesh.uv[:, 1:] - mesh.uv[:, :1]
    uv_area = np.abs(side[:, 0, 0] * side[:, 1, 1] - side[:, 0, 1] * side[:, 1, 0]) / 2
    groups = island_groups(mesh)
    resolutions = np.ones(len(mesh.faces), np.int64)
    by_group = np.argsort(groups, kind="stable")
    bounds = np.flatnonzero(np.diff(groups[by_group], prepend=-2, append=groups.max() + 1))
    for first, end in itertools.pairwise(bounds):
        group = by_group[first:end]
        member = group[density[group] > 0]
        if groups[group[0]] < 0 or not len(member):
            continue
        # The density that three quarters of the island's seen texture stay below.
        order = member[np.argsort(density[member])]
        filled = np.cumsum(uv_area[order])
        typical = density[order[np.searchsorted(filled, 0.75 * filled[-1])]]
        resolutions[group] = int(np.clip(np.ceil(np.sqrt(typical * texels_per_pixel)), 1, limit))
    return resolutions


def island_groups(mesh: Mesh) -> Int:
    """[F] a number for each set of islands that share texels, through all parts; -1 where nothing is textured."""

    def make() -> Int:
        groups = np.full(len(mesh.faces), -1, np.int64)
        count = 0
        for part, start in zip(mesh.parts, mesh.face_starts, strict=False):
            if part.textured:
                own = texture_groups(part)
                groups[start : start + len(own)] = own + count
                count += int(own.max()) + 1
        return groups

    return kept(mesh, "island_groups", make)
