"""Makes the small mesh that comes with the package: a toy duck, blended from ellipsoids, with UVs by xatlas.

    python scripts/make_demo_mesh.py            # writes ddrep_core/geometry/assets/duck.obj

The shape is this project's own, so the file carries no licence but the package's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from skimage.measure import marching_cubes

from ddrep_core.geometry.mesh import Y_UP_TO_WORLD, Part
from ddrep_core.geometry.unwrap import unwrap

TARGET = Path(__file__).parents[1] / "ddrep_core" / "geometry" / "assets" / "duck.obj"
GRID = 36
LOW, HIGH = np.array([-0.75, -1.05, -0.6]), np.array([0.75, 1.05, 1.15])

Array = NDArray[np.float64]


def ellipsoid(points: Array, centre: tuple[float, ...], radii: tuple[float, ...], pitch: float = 0.0) -> Array:
    """Approximate signed distance [N] to an ellipsoid turned by `pitch` degrees about the X axis."""
    p = points - np.array(centre)
    c, s = np.cos(np.radians(pitch)), np.sin(np.radians(pitch))
    p = np.stack([p[:, 0], c * p[:, 1] + s * p[:, 2], -s * p[:, 1] + c * p[:, 2]], axis=1)
    scaled, steep = np.linalg.norm(p / radii, axis=1), np.linalg.norm(p / np.square(radii), axis=1)
    return scaled * (scaled - 1) / np.maximum(steep, 1e-9)


def blend(a: Array, b: Array, width: float) -> Array:
    """Smooth union of two signed distances."""
    h = np.clip(0.5 + 0.5 * (b - a) / width, 0, 1)
    return b + (a - b) * h - width * h * (1 - h)


def duck(points: Array) -> Array:
    """Signed distance [N]: negative inside. The duck looks towards -Y and sits on z = -0.55."""
    mirrored = np.abs(points) * [1, 0, 0] + points * [0, 1, 1]
    d = ellipsoid(points, (0, 0.08, -0.05), (0.52, 0.72, 0.46))  # body
    d = blend(d, ellipsoid(points, (0, 0.66, 0.22), (0.26, 0.30, 0.15), 38), 0.16)  # tail
    d = blend(d, ellipsoid(points, (0, -0.32, 0.32), (0.24, 0.24, 0.34)), 0.18)  # neck
    d = blend(d, ellipsoid(points, (0, -0.40, 0.68), (0.37, 0.37, 0.36)), 0.08)  # head
    d = blend(d, ellipsoid(points, (0, -0.76, 0.63), (0.20, 0.22, 0.065), -6), 0.04)  # upper beak
    d = blend(d, ellipsoid(points, (0, -0.72, 0.555), (0.15, 0.17, 0.045), 8), 0.03)  # lower beak
    d = blend(d, ellipsoid(mirrored, (0.47, 0.16, 0.06), (0.12, 0.42, 0.24), 14), 0.04)  # wings
    d = blend(d, ellipsoid(mirrored, (0.235, -0.61, 0.77), (0.075, 0.07, 0.085)), 0.02)  # eyes
    d = blend(d, ellipsoid(points, (0, -0.30, 1.02), (0.07, 0.10, 0.09), 30), 0.07)  # tuft
    return np.maximum(d, -0.50 - points[:, 2])  # a flat foot to stand on


def surface() -> tuple[Array, NDArray[np.int64]]:
    """Vertices [N, 3] and faces [F, 3] of the duck, evenly spread over its surface."""
    axes = [np.linspace(low, high, GRID) for low, high in zip(LOW, HIGH, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    step = (HIGH - LOW) / (GRID - 1)
    vertices, faces, _, _ = marching_cubes(duck(grid).reshape(GRID, GRID, GRID), 0.0, spacing=tuple(step))
    vertices, faces = vertices.astype(np.float64) + LOW, faces[:, ::-1].astype(np.int64)
    # Marching cubes leaves slivers: let vertices slide towards their neighbours' mean and back onto the surface.
    i, j = np.concatenate([faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2))]).T
    links = sparse.csr_array((np.ones(len(i)), (i, j)), shape=(len(vertices),) * 2)
    links.data[:] = 1
    degree = links.sum(axis=1)[:, None]
    for _ in range(30):
        vertices += 0.5 * (links @ vertices / degree - vertices)
        for _ in range(2):
            steps = np.eye(3) * 1e-4
            slope = np.stack([(duck(vertices + h) - duck(vertices - h)) / 2e-4 for h in steps], axis=1)
            length = np.maximum((slope**2).sum(axis=1, keepdims=True), 1e-6)
            vertices -= np.clip(duck(vertices)[:, None] * slope / length, -0.02, 0.02)
    edges = vertices[faces[:, 1:]] - vertices[faces[:, :1]]
    volume = np.einsum("ij,ij->i", vertices[faces[:, 0]], np.cross(edges[:, 0], edges[:, 1])).sum()
    return vertices, faces if volume > 0 else faces[:, ::-1]


def main() -> None:
    vertices, faces = surface()
    vertices = np.round(vertices @ Y_UP_TO_WORLD, 5)  # to the file's Y-up axes
    corners = np.arange(faces.size).reshape(-1, 3)
    uv = unwrap(Part("duck", "duck", "", vertices, faces, None, corners, faces.size))
    points, index = np.unique(np.round(uv.reshape(-1, 2), 5), axis=0, return_inverse=True)
    index = index.reshape(-1, 3)
    lines = ["# A toy duck, made by scripts/make_demo_mesh.py.", "o Duck"]
    lines += [f"v {x:g} {y:g} {z:g}" for x, y, z in vertices]
    lines += [f"vt {u:g} {v:g}" for u, v in points]
    for face, coordinates in zip(faces, index, strict=True):
        lines.append("f " + " ".join(f"{v + 1}/{t + 1}" for v, t in zip(face, coordinates, strict=True)))
    TARGET.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{TARGET}: {len(vertices)} vertices, {len(faces)} faces, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
