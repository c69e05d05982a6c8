"""What a camera sees of a mesh: whether there is anything in its picture that it could paint."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from ddrep_core.geometry.footprints import GRAZING
from ddrep_core.geometry.mesh import Float, Mesh
from ddrep_core.geometry.raycast import ray_caster
from ddrep_core.views import Camera, Views

FRONTS_FROM_WITHIN = 0.05
"""Of what a camera within the mesh's box sees. A camera that stands inside a solid sees the backs of its faces, and now
and then a front through a gap."""


class Sight(StrEnum):
    """What a camera sees of what is to be textured."""

    surface = "surface"  # something that it can paint
    nothing = "nothing"  # nothing at all: it looks away, or something else stands before it
    within = "within"  # backs of faces alone, from inside the mesh
    behind = "behind"  # only from behind, or edge on


def sight(mesh: Mesh, camera: Camera, cosine: Float) -> Sight:
    """What a camera sees, by the cosines [N] at which its rays meet the textured parts (`Hits.cosine`)."""
    if not len(cosine):
        return Sight.nothing
    if mesh.surrounds(camera) and (cosine > 0).mean() < FRONTS_FROM_WITHIN:
        return Sight.within
    return Sight.surface if cosine.max() > GRAZING[0] else Sight.behind


def sights(mesh: Mesh, views: Views, across: int) -> list[Sight]:
    """What each camera sees, asked with `across` rays along each side of its picture."""
    caster = ray_caster(mesh)
    textured = np.array([part.textured for part in mesh.parts])
    found = []
    for camera in views:
        _, hits = caster.pixel_hits(camera, across, across)
        face = hits.face[hits.hit]
        found.append(sight(mesh, camera, hits.cosine[hits.hit][textured[mesh.part_of_face[face]]]))
    return found
