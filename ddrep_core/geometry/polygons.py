"""UVs that a polygon mesh can carry: one UV per face corner.

xatlas charts triangles, and may cut a bent quad along its diagonal. The two triangles then want different UVs at the
corners they share, which no face corner can hold. Such polygons get a place of their own beside the charts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ddrep_core.geometry.mesh import Float, Int, Part


def keep_polygons_whole(part: Part, uv: Float, gap: float) -> Float:
    """[F, 3, 2] UVs that agree at every face corner of the file.

    Args:
        part: gives the polygons: triangles that share a face corner are of one.
        uv: [F, 3, 2] in 0..1, without overlaps.
        gap: room between islands, in UV units.
    """
    layout = np.zeros((part.corner_count, 2))
    layout[part.corners] = uv
    split = (np.abs(layout[part.corners] - uv) > 1e-9).any(axis=(1, 2))
    if not split.any():
        return uv
    polygon = _polygon_of_triangle(part)
    torn = np.isin(polygon, polygon[split])
    places = [np.flatnonzero(polygon == label) for label in np.unique(polygon[split])]
    flat = [_flattened(part, triangles) * _density(part, uv, ~torn) for triangles in places]
    moved, height = _on_shelves(flat, gap)
    result = uv / (1 + height)
    for triangles, corners in zip(places, moved, strict=True):
        result[triangles] = (corners + np.array([0.0, 1.0])) / (1 + height)
    return result


def _polygon_of_triangle(part: Part) -> Int:
    """[F] the polygon that each triangle was cut from."""
    count = len(part.corners)
    rows = np.repeat(np.arange(count), 3)
    shares = coo_matrix(
        (np.ones(3 * count), (rows, part.corners.reshape(-1))), shape=(count, part.corner_count)
    ).tocsr()
    return connected_components(shares @ shares.T, directed=False)[1].astype(np.int64)


def _flattened(part: Part, triangles: NDArray[np.int64]) -> Float:
    """[T, 3, 2] a polygon's triangles laid into its mean plane, in the world's units, its lower left at the origin."""
    points = part.triangles[triangles]
    normal = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]).sum(axis=0)
    first = points[0, 1] - points[0, 0]
    first = first / max(float(np.linalg.norm(first)), 1e-30)
    second = np.cross(normal, first)
    second = second / max(float(np.linalg.norm(second)), 1e-30)
    flat = np.stack([points @ first, points @ second], axis=-1)
    return flat - flat.min(axis=(0, 1))


def _density(part: Part, uv: Float, kept: NDArray[np.bool_]) -> float:
    """UV units to a unit of the world, as in the charts that stay."""
    first, second = uv[kept, 1] - uv[kept, 0], uv[kept, 2] - uv[kept, 0]
    in_uv = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sum()
    points = part.triangles[kept]
    in_world = np.linalg.norm(np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]), axis=1).sum()
    if in_uv > 0 and in_world > 0:
        return float(np.sqrt(in_uv / in_world))
    return 0.5 / max(float(np.ptp(part.triangles, axis=(0, 1)).max()), 1e-30)


def _on_shelves(islands: list[Float], gap: float) -> tuple[list[Float], float]:
    """The islands side by side on shelves of width 1, the highest first; and the height of all shelves."""
    sizes = np.array([island.max(axis=(0, 1)) for island in islands])
    shrink = min(1.0, (1 - 2 * gap) / sizes[:, 0].max())
    moved: list[Float] = [np.zeros(0)] * len(islands)
    x, y, shelf = gap, gap, 0.0
    for number in np.argsort(-sizes[:, 1], kind="stable"):
        width, height = sizes[number] * shrink
        if x + width > 1 - gap and x > gap:
            x, y, shelf = gap, y + shelf + gap, 0.0
        moved[number] = islands[number] * shrink + (x, y)
        x, shelf = x + width + gap, max(shelf, float(height))
    return moved, y + shelf + gap
