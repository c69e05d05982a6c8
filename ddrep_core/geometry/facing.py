"""Which side of a part is its outside: files whose faces look inward are common, and must be painted all the same."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ddrep_core.errors import DdrepWarning
from ddrep_core.geometry.mesh import Float, Int, Mesh
from ddrep_core.geometry.raycast import ray_caster
from ddrep_core.views import Views

PIXELS = 48  # along a side of the pictures that are looked at
MOSTLY = 0.8  # of what is seen
NOTABLY = 0.25
PAINT_BACKS = (
    "To have backs painted, ask for both sides (--both-sides; texture.both_sides in job.json), or turn the faces "
    "around (in Blender: Mesh > Normals > Recalculate Outside, or Inside for a room)."
)


@dataclass(frozen=True)
class Backs:
    """How much of each part the views see, and how much of that from behind, in pixels; 0 from within the mesh's box.

    Args:
        seen, behind: [V, parts].
    """

    seen: Int
    behind: Int

    def shares(self, views: Sequence[int] | None = None) -> Float:
        """[parts] how much of what these views (or all) see of each part they see from behind, 0..1."""
        chosen = slice(None) if views is None else list(views)
        return self.behind[chosen].sum(axis=0) / np.maximum(self.seen[chosen].sum(axis=0), 1)


def seen_backs(mesh: Mesh, views: Views) -> Backs:
    """Look for backs of faces from every camera outside of the mesh's box.

    One in a room sees its walls from the front, and one that was put into a solid by mistake must not turn it inside
    out.
    """
    caster = ray_caster(mesh)
    seen = np.zeros((len(views), len(mesh.parts)), np.int64)
    behind = np.zeros_like(seen)
    for number, camera in enumerate(views):
        if mesh.surrounds(camera):
            continue
        _, hits = caster.pixel_hits(camera, PIXELS, PIXELS)
        part = mesh.part_of_face[hits.face[hits.hit]]
        seen[number] = np.bincount(part, minlength=len(mesh.parts))
        behind[number] = np.bincount(part[hits.cosine[hits.hit] < 0], minlength=len(mesh.parts))
    return Backs(seen, behind)


def turned_outward(mesh: Mesh, backs: Backs) -> Mesh:
    """The mesh with those parts marked inside out that are seen almost only from behind.

    One that is seen from behind in part only, as a sheet is, or whose faces look both ways, stays as it is.
    """
    parts = []
    for part, share in zip(mesh.parts, backs.shares(), strict=True):
        inside_out = bool(part.textured and share > MOSTLY)
        if inside_out:
            _warn(f"The faces of '{part.name}' look inward; it is painted on the side that the cameras see.")
        parts.append(part if part.inside_out == inside_out else replace(part, inside_out=inside_out))
    if all(new is old for new, old in zip(parts, mesh.parts, strict=True)):
        return mesh  # with what is kept with it
    return replace(mesh, parts=tuple(parts))


def warn_of_backs(mesh: Mesh, backs: Backs, views: Sequence[int] | None = None) -> None:
    """Warn of parts of which these views (or all) see much from behind, where it is not painted."""
    for part, share in zip(mesh.parts, backs.shares(views), strict=True):
        if part.textured and not part.inside_out and share > NOTABLY:
            _warn(
                f"{100 * share:.0f} % of what the cameras see of '{part.name}' are backs of faces, which are not "
                f"painted. {PAINT_BACKS}"
            )


def _warn(message: str) -> None:
    warnings.warn(message, DdrepWarning, stacklevel=3)
