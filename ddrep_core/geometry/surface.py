"""From a grid to a mesh: one closed surface without floaters, light enough to be used."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ddrep_core.errors import RequestError, RunError
from ddrep_core.geometry.mesh import Z_UP_TO_WORLD, Float, Int, Mesh, Part

if TYPE_CHECKING:
    import trimesh

SMALLEST_SOLID = 64  # voxels: less is dust
SMOOTHING_STEPS = 10
MARGIN = 3  # voxels around the box, so that what touches it is closed there
BLUR = 0.7  # voxels
LEAST_STEP = 0.1  # of the level: how far solid and empty voxels are kept from it


def extract_surface(
    solidity: ArrayLike, level: float, extent: float = 1.0, faces: int = 20_000
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The surface of the largest solid piece, where the solidity is equal to a level.

    Args:
        solidity: [R, R, R] in the order z, y, x, of the box [−extent, extent]³; any quantity that is larger inside.
        level: what counts as solid.
        extent: half the box's edge.
        faces: at most about so many triangles (quadric decimation).

    Returns:
        vertices [N, 3] and faces [F, 3], closed, normals outward.

    Raises:
        RunError: nothing, or only dust, is solid.
    """
    import trimesh  # with scikit-image it takes a second or two, which only who makes a surface should pay
    from skimage import measure

    values = np.pad(np.asarray(solidity, np.float64), MARGIN)
    solid = largest_piece(values > level)
    # Only this piece reaches the level: its hollows are filled, and other pieces stay below.
    share = np.clip(values / level, np.where(solid, 1 + LEAST_STEP, 0), np.where(solid, 2, 1 - LEAST_STEP))
    smooth = ndimage.gaussian_filter(share, BLUR)
    vertices, triangles, _, _ = measure.marching_cubes(
        smooth, min(1.0, 0.6 * smooth.max()), gradient_direction="ascent"
    )
    grid = np.asarray(solidity).shape[0]
    world = (((vertices - MARGIN + 0.5) / grid) * 2 - 1)[:, ::-1] * extent
    surface = trimesh.Trimesh(world, triangles[:, ::-1], process=True)
    trimesh.smoothing.filter_taubin(surface, iterations=SMOOTHING_STEPS)
    surface = decimated(largest_component(surface), faces)
    if surface.volume < 0:
        surface.invert()
    return np.asarray(surface.vertices, np.float64), np.asarray(surface.faces, np.int64)


def largest_piece(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest face-connected piece, its inner hollows filled: floaters are gone, and the surface is one shell.

    Raises:
        RunError: the largest piece is dust.
    """
    from skimage import measure

    labels = np.asarray(measure.label(solid, connectivity=1))
    sizes = np.bincount(labels.reshape(-1), minlength=2)[1:]
    if sizes.max() < SMALLEST_SOLID:
        raise RunError("The sampled field holds nothing solid.", "Try another --seed, or words for a single object.")
    return np.asarray(ndimage.binary_fill_holes(labels == int(sizes.argmax()) + 1), bool)


def largest_component(surface: trimesh.Trimesh) -> trimesh.Trimesh:
    """The connected component with the most faces (pieces that touch in an edge only come apart in the surface)."""
    pieces = surface.split(only_watertight=False)
    return max(pieces, key=lambda piece: len(piece.faces)) if len(pieces) > 1 else surface


def require_decimation() -> None:
    """Before minutes are spent on a surface: whether it could be made as light as was asked for.

    Raises:
        RequestError: PyVista is not there. It brings VTK (100 MB), and nothing but `ddrep generate` needs it.
    """
    if find_spec("pyvista") is None:
        raise RequestError(
            "`ddrep generate` makes its surfaces lighter with PyVista, which is not installed.",
            "pip install -c constraints.txt pyvista; the other commands do without it.",
        )


def decimated(surface: trimesh.Trimesh, faces: int) -> trimesh.Trimesh:
    """The same surface with about so many faces, still closed: quadrics, or what keeps the topology if they tear it."""
    if len(surface.faces) <= faces:
        return surface
    require_decimation()
    import pyvista  # loads VTK, which takes seconds that only a job with too many faces should pay
    import trimesh

    share = 1 - faces / len(surface.faces)
    poly = pyvista.make_tri_mesh(np.asarray(surface.vertices), np.asarray(surface.faces))
    for lighter in (poly.decimate(share), poly.decimate_pro(share, preserve_topology=True)):
        found = trimesh.Trimesh(lighter.points, lighter.regular_faces, process=True)
        if found.is_watertight or not surface.is_watertight:
            return found
    return surface


def rest_on_ground(vertices: Float, size: float) -> Float:
    """[N, 3] scaled so that the longest side is `size`, centred on the world's Z axis, the lowest point at Z = 0."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    scale = size / max(float((high - low).max()), 1e-12)
    middle = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    return (vertices - middle) * scale


def mesh_of(vertices: Float, faces: Int, uv: Float | None = None, name: str = "object") -> Mesh:
    """A single-part mesh that came from no file; `uv` [F, 3, 2] as `unwrap` makes it."""
    corners = np.arange(len(faces) * 3).reshape(-1, 3)
    part = Part(name, name, name, vertices, faces, uv, corners, len(faces) * 3)
    return Mesh(Path(f"{name}.glb"), (part,), Z_UP_TO_WORLD)


def best_level(
    levels: Sequence[float], silhouettes: Callable[[float], NDArray[np.bool_]], wanted: NDArray[np.bool_]
) -> tuple[float, float]:
    """The level whose silhouettes are most like the wanted ones, and their intersection over union.

    Levels where nothing is solid count as no likeness at all.
    """
    best, best_likeness = math.nan, -1.0
    for level in levels:
        try:
            likeness = intersection_over_union(silhouettes(level), wanted)
        except RunError:
            continue
        if likeness > best_likeness:
            best, best_likeness = level, likeness
    if math.isnan(best):
        raise RunError("The sampled field holds nothing solid.", "Try another --seed, or words for a single object.")
    return best, best_likeness


def intersection_over_union(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """|A ∩ B| / |A ∪ B| over all pixels; 1 where both are empty."""
    union = int((one | two).sum())
    return float((one & two).sum() / union) if union else 1.0
