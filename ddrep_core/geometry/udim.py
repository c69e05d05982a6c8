"""UDIM: UVs that lie in several unit tiles, a texture for each. A tile of an object is a part of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ddrep_core.errors import RequestError
from ddrep_core.geometry.mesh import Float, Int, Mesh, Part

FIRST, ACROSS = 1001, 10
HIGHEST = 99  # rows of tiles: 1001 to 2000
OVER = 1e-4  # of a tile, that a corner may lie over its border


def tiles_of(uv: Float) -> Int:
    """[F] the tile that each face [F, 3, 2] lies in, 1001 + column + 10 row; 0 where in none, or in two."""
    column, row = np.floor(uv.mean(axis=1)).astype(np.int64).T
    corner = uv - np.stack([column, row], axis=-1)[:, None]
    inside = (corner >= -OVER).all(axis=(1, 2)) & (corner <= 1 + OVER).all(axis=(1, 2))
    possible = (column >= 0) & (column < ACROSS) & (row >= 0) & (row <= HIGHEST)
    return np.where(inside & possible, FIRST + column + ACROSS * row, 0)


def seem_tiled(uv: Float) -> bool:
    """Whether UVs [F, 3, 2] look as if they were UDIM tiles: several, and each face in one."""
    tiles = tiles_of(uv)
    return bool((tiles > 0).all()) and len(np.unique(tiles)) > 1


def in_tiles(mesh: Mesh) -> Mesh:
    """The mesh with each textured part cut into its tiles, named 'Body.1001'; UVs stay, for textures repeat.

    Raises:
        RequestError: a face that lies in no tile, or in two; UVs that are still to be made.
    """
    parts: list[Part] = []
    for part in mesh.parts:
        parts += _tiles(part) if part.textured else [part]
    return replace(mesh, parts=tuple(parts))


def _tiles(part: Part) -> list[Part]:
    if part.uv is None or not np.isfinite(part.uv).all():
        raise RequestError(
            f"'{part.name}' has no UVs that could lie in UDIM tiles.", "Unwrap it first, or leave --udim out."
        )
    tiles = tiles_of(part.uv)
    if wrong := int((tiles == 0).sum()):
        raise RequestError(
            f"{wrong:,} of {len(tiles):,} faces of '{part.name}' lie in no UDIM tile, or across the border of one.",
            "Move each island into one tile, right of and above 0 (in Blender's UV editor), or leave --udim out.",
        )
    found = []
    for tile in np.unique(tiles).tolist():
        rows = np.flatnonzero(tiles == tile)
        used, faces = np.unique(part.faces[rows], return_inverse=True)
        found.append(
            replace(
                part,
                name=f"{part.name}.{tile}",
                vertices=part.vertices[used],
                faces=faces.reshape(-1, 3),
                uv=part.uv[rows],
                corners=part.corners[rows],
                normals=None if part.normals is None else part.normals[rows],
                tile=int(tile),
                rows=rows,
            )
        )
    return found
