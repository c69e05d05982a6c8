"""Normals for a part that came without."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ddrep_core.geometry.kept import kept
from ddrep_core.geometry.mesh import Float, Part
from ddrep_core.geometry.scan import expand, pieces
from ddrep_core.geometry.texels import position_ids

CREASE_DEGREES = 45.0
PAIRS = 1_000_000  # of a corner and a face around it, at a time
UP = (0.0, 0.0, 1.0)


def corner_normals(part: Part) -> Float:
    """[F, 3, 3] of length 1: the file's own normals, and smooth ones where it has none that are of any use."""
    if part.normals is None:
        return crease_normals(part)
    length = np.linalg.norm(part.normals, axis=-1, keepdims=True)
    if ((length > 1e-6) & (length < 1e6)).all():
        return part.normals
    good = np.isfinite(part.normals).all(axis=-1, keepdims=True) & (length > 0) & np.isfinite(length)
    return np.where(good, part.normals / np.where(good, length, 1.0), crease_normals(part))


def crease_normals(part: Part, crease_degrees: float = CREASE_DEGREES) -> Float:
    """[F, 3, 3] smooth normals per corner that break where faces meet at more than an angle.

    Each corner takes the mean, weighted by area, of the faces around its vertex that are within the angle of its own.
    A face without area has no angle: its corners take the mean of all faces around, and point up where there is none.
    """
    return kept(part, f"crease_normals {crease_degrees}", lambda: _crease_normals(part, crease_degrees))


def _crease_normals(part: Part, crease_degrees: float) -> Float:
    edges = part.triangles[:, 1:] - part.triangles[:, :1]
    weighted = np.cross(edges[:, 0], edges[:, 1])
    length = np.linalg.norm(weighted, axis=1, keepdims=True)
    unit = weighted / np.where(length > 0, length, 1.0)
    place = position_ids(part).reshape(-1)
    face = np.repeat(np.arange(len(part.faces)), 3)
    alike, mean = _smooth_places(part, unit, weighted, crease_degrees)
    normals = mean[place]
    rest = np.flatnonzero(~alike[place])
    around = sparse.csr_array((np.ones(len(place)), (place, face)), shape=(place.max() + 1, len(part.faces)))
    counts = np.diff(around.indptr)[place[rest]].astype(np.int64)
    for piece in pieces(counts, PAIRS):
        asked = rest[piece]
        corner, entry = expand(around.indptr[place[asked]].astype(np.int64), counts[piece])
        other = around.indices[entry]
        own = face[asked][corner]
        near = np.einsum("ij,ij->i", unit[own], unit[other]) >= np.cos(np.radians(crease_degrees))
        near |= (length[:, 0] == 0)[own]
        size = len(asked)
        sums = np.stack([np.bincount(corner, weighted[other, k] * near, minlength=size) for k in range(3)], axis=1)
        total = np.linalg.norm(sums, axis=1, keepdims=True)
        normals[asked] = np.where(total > 0, sums / np.where(total > 0, total, 1.0), unit[face[asked]])
    normals[~normals.any(axis=1)] = UP
    return normals.reshape(-1, 3, 3)


def _smooth_places(part: Part, unit: Float, weighted: Float, crease_degrees: float) -> tuple[NDArray[np.bool_], Float]:
    """[P] the places around which any two faces are surely within the angle, and the mean [P, 3] there.

    Surely: all of them are within half of it of their mean. So no pairs need be looked at; on a smooth mesh, anywhere.

    Args:
        unit, weighted: [F, 3] normals of length 1 and of twice the area.
    """
    place = position_ids(part)
    size = int(place.max()) + 1
    sums = np.stack([np.bincount(place.reshape(-1), np.repeat(column, 3), size) for column in weighted.T], axis=1)
    total = np.linalg.norm(sums, axis=1, keepdims=True)
    mean = sums / np.where(total > 0, total, 1.0)
    first, second, third = place.T
    odd = (first == second) | (second == third) | (third == first) | ~unit.any(axis=1)
    enough = np.cos(np.radians(min(crease_degrees, 180.0) / 2)) + 1e-6
    alike = np.ones(size, bool)
    for corner in place.T:
        straight = np.einsum("ij,ij->i", unit, mean[corner]) >= enough
        alike[corner[odd | ~straight]] = False
    return alike, mean
