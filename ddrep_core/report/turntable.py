"""A film and a still of a textured mesh turning once around."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ddrep_core.geometry.bake import BakedTexture
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.pictures import to_bytes
from ddrep_core.report.film import write_film
from ddrep_core.report.renderer import Renderer
from ddrep_core.views import Views, orbit_views

FILL = 0.84  # of the picture's half side, by the mesh's widest frame


def turntable(
    mesh: Mesh,
    textures: Mapping[str, BakedTexture | Tensor],
    film: str | Path,
    still: str | Path | None = None,
    *,
    frames: int = 48,
    size: int = 384,
    frames_per_second: int = 16,
    elevation_degrees: float = 18.0,
    still_degrees: float = 35.0,
    front_degrees: float = 0.0,
    progress: Callable[[float], object] = lambda share: None,
) -> None:
    """Write an MP4 (H.264) of the mesh turning, and a PNG of it from the front's right at twice the size.

    Args:
        textures: by part name.
        film, still: where to; no still when None.
        size: the film's width and height in pixels.
        still_degrees: where the still is taken from, from the front towards the mesh's own left.
        front_degrees: which way the mesh faces, where the film begins: around Z from -Y (0) towards +X (90).
        progress: told from time to time what share is done, 0 to 1.

    Raises:
        RunError: the film cannot be written; the still is there by then.
        OSError: the still cannot be written.
    """
    renderer = Renderer(mesh, textures)
    if still is not None:  # first: it needs no encoder, and stays where the film cannot be made
        camera = framed_orbit(mesh, 1, elevation_degrees, 2 * size, front_degrees + still_degrees)[0]
        Image.fromarray(to_bytes(renderer.lit(camera, 2 * size, 2 * size))).save(still, format="PNG")
    side = size - size % 2  # H.264 wants even sides
    cameras = framed_orbit(mesh, frames, elevation_degrees, size, front_degrees)

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for number, camera in enumerate(cameras):
            progress(number / frames)
            yield to_bytes(renderer.lit(camera, side, side))

    write_film(pictures(), film, frames_per_second=frames_per_second, what="turntable")


def framed_orbit(
    mesh: Mesh, count: int, elevation_degrees: float, size: int, start_degrees: float = 0.0, fov_degrees: float = 28.0
) -> Views:
    """Cameras around a mesh at the one distance from which its widest frame fills the picture."""
    points = mesh.triangles.reshape(-1, 3)
    points = points[:: max(1, len(points) // 20_000)]
    distance = float(np.linalg.norm(np.ptp(mesh.bounds, axis=0))) * 2

    def around(number: int, start: float) -> Views:
        return orbit_views(
            number, (elevation_degrees,), distance, fov_degrees, mesh, width=size, height=size, start_degrees=start
        )

    for _ in range(4):
        reach = max(
            float(np.abs(camera.project(points)[0] / size * 2 - 1).max()) for camera in around(16, start_degrees)
        )
        distance *= max(reach / FILL, 0.3)
    return around(count, start_degrees)
