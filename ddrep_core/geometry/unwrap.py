"""UVs for a part that came without them, by xatlas."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from numpy.typing import NDArray

from ddrep_core.errors import RequestError
from ddrep_core.geometry.mesh import Float, Int, Part
from ddrep_core.geometry.polygons import keep_polygons_whole

PADDING = 8  # texels between islands, at this resolution
RESOLUTION = 1024
FACES_AT_ONCE = 5000  # more are unwrapped by a process of their own
# xatlas lets no other thread of its process run, for minutes where faces are many: nobody would hear how long it has
# been at work. From standard input to standard output.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
import numpy as np
from xatlas import Atlas, ChartOptions, PackOptions
source, target = sys.stdin.buffer, sys.stdout.buffer
faces_count, padding, resolution = (int(word) for word in source.readline().split())
faces = np.frombuffer(source.read(12 * faces_count), np.uint32).reshape(-1, 3)
vertices = np.frombuffer(source.read(), np.float32).reshape(-1, 3)
atlas, pack = Atlas(), PackOptions()
pack.padding, pack.resolution, pack.bilinear = padding, resolution, True
atlas.add_mesh(vertices, faces)
atlas.generate(ChartOptions(), pack)
_, indices, uv = atlas.get_mesh(0)
target.write(np.asarray(indices, np.uint32).tobytes() + np.asarray(uv, np.float32).tobytes())
"""


def unwrap(part: Part) -> Float:
    """[F, 3, 2] non-overlapping UVs in 0..1, one per triangle corner, v upward. Takes seconds per 10,000 faces.

    Raises:
        RequestError: xatlas cannot unwrap it.
    """
    # Vertices that no face uses may lie anywhere, even at infinity.
    used, faces = np.unique(part.faces, return_inverse=True)
    vertices = part.vertices[used]
    vertices = vertices - vertices.mean(axis=0)
    vertices = (vertices / max(np.abs(vertices).max(), 1e-30)).astype(np.float32)
    faces = faces.reshape(-1, 3).astype(np.uint32)
    if len(faces) <= FACES_AT_ONCE:
        indices, uv = _charts(vertices, faces)
    else:
        indices, uv = _charts_elsewhere(vertices, faces, part.name)
    return keep_polygons_whole(part, uv[indices.reshape(-1, 3)], PADDING / RESOLUTION)


def _charts(vertices: NDArray[np.float32], faces: NDArray[np.uint32]) -> tuple[Int, Float]:
    """Indices [3 F] of the corners' UVs, and those [N, 2]."""
    import xatlas  # here, for most meshes never need it

    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces)
    pack = xatlas.PackOptions()
    pack.padding, pack.resolution, pack.bilinear = PADDING, RESOLUTION, True
    atlas.generate(xatlas.ChartOptions(), pack)
    _, indices, uv = atlas.get_mesh(0)
    return np.asarray(indices, np.int64).reshape(-1), np.asarray(uv, np.float64)


def _charts_elsewhere(vertices: NDArray[np.float32], faces: NDArray[np.uint32], name: str) -> tuple[Int, Float]:
    """`_charts` by another process; what ends that one does not end ours."""
    told = f"{len(faces)} {PADDING} {RESOLUTION}\n".encode() + faces.tobytes() + vertices.tobytes()
    ended = subprocess.run([sys.executable, "-c", PROGRAM], input=told, capture_output=True, check=False)
    if ended.returncode or len(ended.stdout) <= 12 * len(faces):
        raise RequestError(
            f"'{name}' has no UVs, and xatlas could not make any (status {ended.returncode}).",
            "Give it UVs (in Blender: UV > Smart UV Project), then export it again.",
        )
    indices = np.frombuffer(ended.stdout, np.uint32, count=3 * len(faces))
    uv = np.frombuffer(ended.stdout, np.float32, offset=12 * len(faces)).reshape(-1, 2)
    return indices.astype(np.int64), uv.astype(np.float64)
