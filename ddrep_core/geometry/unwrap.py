"""UVs for a part that came without them, by xatlas."""

from __future__ import annotations

import numpy as np

from ddrep_core.geometry.mesh import Float, Part
from ddrep_core.geometry.polygons import keep_polygons_whole

PADDING = 8  # texels between islands, at this resolution
RESOLUTION = 1024


def unwrap(part: Part) -> Float:
    """[F, 3, 2] non-overlapping UVs in 0..1, one per triangle corner, v upward. Takes seconds per 10,000 faces."""
    import xatlas  # here, for most meshes never need it

    # Vertices that no face uses may lie anywhere, even at infinity.
    used, faces = np.unique(part.faces, return_inverse=True)
    vertices = part.vertices[used]
    vertices = vertices - vertices.mean(axis=0)
    vertices = (vertices / max(np.abs(vertices).max(), 1e-30)).astype(np.float32)
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces.reshape(-1, 3).astype(np.uint32))
    pack = xatlas.PackOptions()
    pack.padding, pack.resolution, pack.bilinear = PADDING, RESOLUTION, True
    atlas.generate(xatlas.ChartOptions(), pack)
    _, indices, uv = atlas.get_mesh(0)
    charted = np.asarray(uv, np.float64)[np.asarray(indices, np.int64).reshape(-1, 3)]
    return keep_polygons_whole(part, charted, PADDING / RESOLUTION)
