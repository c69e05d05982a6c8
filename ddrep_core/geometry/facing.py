"""Which side of a part is its outside: files whose faces look inward are common, and must be painted all the same."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from ddrep_core.errors import DdrepWarning
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.raycast import ray_caster
from ddrep_core.views import Views

PIXELS = 48  # along a side of the pictures that are looked at
MOSTLY = 0.8  # of what is seen
NOTABLY = 0.25


def facing_views(mesh: Mesh, views: Views) -> Mesh:
    """The mesh with those parts marked inside out that the cameras see almost only from behind.

    Only cameras outside of the mesh's box are asked: one in a room sees its walls from the front, and one that was
    put into a solid by mistake must not turn it inside out. A part that is seen from behind in part only, as a sheet
    is, or a mesh whose faces look both ways, stays as it is, with a warning.
    """
    caster = ray_caster(mesh)
    behind, seen = np.zeros(len(mesh.parts)), np.zeros(len(mesh.parts))
    for camera in views:
        if mesh.surrounds(camera):
            continue
        _, hits = caster.pixel_hits(camera, PIXELS, PIXELS)
        part = mesh.part_of_face[hits.face[hits.hit]]
        seen += np.bincount(part, minlength=len(mesh.parts))
        behind += np.bincount(part, hits.cosine[hits.hit] < 0, minlength=len(mesh.parts))
    parts = []
    for part, share in zip(mesh.parts, behind / np.maximum(seen, 1), strict=True):
        inside_out = part.textured and share > MOSTLY
        if inside_out:
            _warn(f"The faces of '{part.name}' look inward; it is painted on the side that the cameras see.")
        elif part.textured and share > NOTABLY:
            _warn(
                f"{100 * share:.0f} % of what the cameras see of '{part.name}' are backs of faces, which are not "
                "painted. Should they be, recalculate the normals (in Blender: Mesh > Normals > Recalculate Outside)."
            )
        parts.append(part if part.inside_out == inside_out else replace(part, inside_out=bool(inside_out)))
    if all(new is old for new, old in zip(parts, mesh.parts, strict=True)):
        return mesh  # with all that is kept with it
    return replace(mesh, parts=tuple(parts))


def _warn(message: str) -> None:
    warnings.warn(message, DdrepWarning, stacklevel=3)
