"""Which cameras between them see most of a mesh's texture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ddrep_core.geometry.footprints import GRAZING
from ddrep_core.geometry.mesh import Float, Mesh
from ddrep_core.geometry.raycast import RayCaster, ray_caster
from ddrep_core.geometry.texels import covered_share, rasterize
from ddrep_core.views import Camera, Views

TEXELS = 20_000  # that are asked about, of all textures together
FINEST = 256


def best_seen(mesh: Mesh, candidates: Views, count: int) -> tuple[list[int], float]:
    """The cameras that see most of the texels between them, found greedily.

    Each next one is that which adds most to the sum, over all texels, of how straight on its best camera sees it:
    within a factor of 1 - 1/e of the best choice there is (Nemhauser, Wolsey and Fisher 1978, for such sums).

    Args:
        mesh: with UVs on all textured parts.
        candidates: to choose from.
        count: how many at most; fewer where further ones would add nothing.

    Returns:
        The numbers of the chosen, the one that sees most first; and the share of the texels, 0..1, that they see.
    """
    caster = ray_caster(mesh)
    places, normals = _texels(mesh, caster)
    if not len(places):
        return list(range(min(count, len(candidates)))), 0.0
    straight = np.stack([_straightness(caster, camera, places, normals) for camera in candidates])
    best, chosen = np.zeros(len(places), np.float32), []
    while len(chosen) < count:
        gains = np.maximum(straight - best, 0).sum(axis=1)
        gains[chosen] = 0
        found = int(gains.argmax())
        if gains[found] <= 0:
            break
        chosen.append(found)
        best = np.maximum(best, straight[found])
    return chosen, float((best > 0).mean())


def _texels(mesh: Mesh, caster: RayCaster) -> tuple[Float, Float]:
    """[N, 3] where texels of all textures lie, and their normals."""
    share = sum(covered_share(part) for part in mesh.textured_parts)
    resolution = int(np.clip(np.sqrt(TEXELS / max(share, 1e-6)), 8, FINEST))
    places, normals = [np.zeros((0, 3))], [np.zeros((0, 3))]
    starts = dict(zip((part.name for part in mesh.parts), mesh.face_starts, strict=False))
    for part in mesh.textured_parts:
        texels = rasterize(part, resolution)
        places.append(texels.positions(part))
        normals.append(caster.face_normals[starts[part.name] + texels.face])
    return np.concatenate(places), np.concatenate(normals)


def _straightness(caster: RayCaster, camera: Camera, places: Float, normals: Float) -> NDArray[np.float32]:
    """[N] how straight on a camera sees each place, 0..1; 0 where it would not paint it."""
    seen = caster.visible(camera, places, normals, least_cosine=GRAZING[0])
    if camera.is_orthographic:
        back = np.broadcast_to(camera.matrix_world[:3, 2], places.shape)
    else:
        back = camera.position - places
    back = back / np.maximum(np.linalg.norm(back, axis=1, keepdims=True), 1e-30)
    cosine = np.abs(np.einsum("ij,ij->i", back, normals))
    return np.where(seen, cosine, 0.0).astype(np.float32)
