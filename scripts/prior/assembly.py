# ruff: noqa: E501 - a table of colours reads best with a few of them a line
"""Objects under way: meshes put together from boxes, balls, rods and turned profiles, each with a role."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import trimesh
from trimesh import creation
from trimesh.transformations import rotation_matrix

Array = np.ndarray
Random = np.random.Generator

ROLES: dict[str, tuple[float, float, float]] = {
    "glass": (0.62, 0.82, 0.93), "tyre": (0.10, 0.10, 0.11), "hub": (0.75, 0.76, 0.78), "lamp": (1.0, 0.93, 0.60), "rear lamp": (0.85, 0.08, 0.06),
    "leaves": (0.22, 0.52, 0.18), "trunk": (0.42, 0.27, 0.15), "roof": (0.62, 0.22, 0.16), "door": (0.42, 0.25, 0.13), "dark": (0.10, 0.09, 0.09),
    "pink": (0.95, 0.62, 0.62), "cream": (0.96, 0.92, 0.82), "yellow": (0.97, 0.80, 0.20), "orange": (0.95, 0.50, 0.12), "red": (0.82, 0.13, 0.11),
    "stalk": (0.93, 0.88, 0.76), "horn": (0.85, 0.78, 0.62), "metal": (0.66, 0.68, 0.71), "bedding": (0.92, 0.92, 0.95), "green": (0.24, 0.56, 0.22),
    "brown": (0.45, 0.28, 0.15), "white": (0.95, 0.95, 0.94), "coffee": (0.28, 0.16, 0.09), "fleece": (0.94, 0.92, 0.87),
}  # fmt: skip


@dataclass
class Shape:
    """Parts under way: a triangle mesh, its role and whether its normals are smooth."""

    parts: list[tuple[trimesh.Trimesh, str, bool]] = field(default_factory=list)

    def add(self, mesh: trimesh.Trimesh, role: str = "body", smooth: bool = True) -> None:
        self.parts.append((mesh, role, smooth))

    def box(self, centre: tuple, size: tuple, role: str = "body", turn: float = 0.0, axis: tuple = (1, 0, 0)) -> None:
        mesh = creation.box(extents=np.abs(size))
        if turn:
            mesh.apply_transform(rotation_matrix(turn, axis))
        mesh.apply_translation(centre)
        self.add(mesh, role, False)

    def ball(
        self, centre: tuple, radii: tuple | float, role: str = "body", turn: float = 0.0, axis: tuple = (1, 0, 0)
    ) -> None:
        mesh = creation.icosphere(subdivisions=2)
        mesh.apply_scale(np.broadcast_to(np.asarray(radii, float), 3))
        if turn:
            mesh.apply_transform(rotation_matrix(turn, axis))
        mesh.apply_translation(centre)
        self.add(mesh, role)

    def rod(self, start: tuple, end: tuple, radius: float, role: str = "body", end_radius: float | None = None) -> None:
        """A round rod, or a frustum where the two radii differ."""
        start_, end_ = np.asarray(start, float), np.asarray(end, float)
        length = float(np.linalg.norm(end_ - start_))
        top = radius if end_radius is None else end_radius
        profile = np.array([[0, 0], [radius, 0], [top, length], [0, length]], float)
        mesh = creation.revolve(profile[:, :], sections=18)
        mesh.apply_transform(trimesh.geometry.align_vectors([0, 0, 1], (end_ - start_) / length))
        mesh.apply_translation(start_)
        self.add(mesh, role, False)

    def limb(
        self, start: tuple, end: tuple, radius: float, role: str = "body", end_radius: float | None = None
    ) -> None:
        """A rod with rounded ends."""
        self.rod(start, end, radius, role, end_radius)
        self.parts[-1] = (*self.parts[-1][:2], True)
        self.ball(start, radius, role)
        self.ball(end, radius if end_radius is None else end_radius, role)

    def lathe(self, profile: list[tuple[float, float]] | Array, role: str = "body", centre: tuple = (0, 0, 0)) -> None:
        """A profile of (radius, height) turned about the vertical."""
        mesh = creation.revolve(np.asarray(profile, float), sections=28)
        mesh.apply_translation(centre)
        self.add(mesh, role)

    def ring(
        self,
        centre: tuple,
        major: float,
        minor: float,
        role: str = "body",
        axis: tuple = (0, 0, 1),
        squash: float = 1.0,
    ) -> None:
        mesh = creation.torus(major, minor, major_sections=24, minor_sections=12)
        mesh.apply_scale([1, 1, squash])
        mesh.apply_transform(trimesh.geometry.align_vectors([0, 0, 1], axis))
        mesh.apply_translation(centre)
        self.add(mesh, role)

    def wheel(self, centre: tuple, radius: float, width: float) -> None:
        x, y, z = centre
        self.rod((x - width / 2, y, z), (x + width / 2, y, z), radius, "tyre")
        self.rod((x - width / 2 - 0.01, y, z), (x + width / 2 + 0.01, y, z), radius * 0.5, "hub")
