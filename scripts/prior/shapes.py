# ruff: noqa: E501, RUF005 - tables of numbers read best with one object a line; arrays are added, not joined
"""Parametric objects put together from simple parts: each call of a kind gives other proportions.

World is Z-up with the object's front towards -Y. A part has a role: "body" takes the material that the caption names; every other role
is a natural colour (windows, tyres, leaves ...), kept or overpainted by the renderer.
"""

from __future__ import annotations

from collections.abc import Callable
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


def _legs(shape: Shape, width: float, depth: float, height: float, radius: float, square: bool) -> None:
    for x in (-1, 1):
        for y in (-1, 1):
            place = (x * (width / 2 - radius), y * (depth / 2 - radius))
            if square:
                shape.box((*place, height / 2), (2 * radius, 2 * radius, height))
            else:
                shape.rod((*place, 0), (*place, height), radius * 0.7, end_radius=radius)


def chair(shape: Shape, random: Random) -> None:
    u = random.uniform
    width, depth, seat, back, radius = u(0.8, 1.05), u(0.8, 1.0), u(0.8, 1.05), u(0.8, 1.25), u(0.05, 0.09)
    _legs(shape, width, depth, seat, radius, random.random() < 0.6)
    shape.box((0, 0, seat), (width, depth, u(0.07, 0.16)))
    y, lean = depth / 2 - 0.05, u(0.0, 0.15)
    if random.random() < 0.45:
        shape.box((0, y + lean * back / 2, seat + back / 2), (width, 0.08, back), turn=-lean)
    else:
        for x in np.linspace(-width / 2 + 0.05, width / 2 - 0.05, int(random.integers(2, 6))):
            shape.rod((x, y, seat), (x, y + lean * back, seat + back), radius * 0.7)
        shape.box((0, y + lean * back, seat + back), (width, 0.09, u(0.12, 0.35)), turn=-lean)
    if random.random() < 0.3:
        for x in (-1, 1):
            shape.box((x * (width / 2 - 0.04), 0, seat + 0.35), (0.08, depth, 0.07))
            shape.box((x * (width / 2 - 0.04), -depth / 2 + 0.06, seat + 0.18), (0.08, 0.08, 0.35))


def table(shape: Shape, random: Random) -> None:
    u = random.uniform
    width, depth, height = u(1.3, 2.2), u(0.8, 1.2), u(0.7, 1.0)
    if random.random() < 0.3:
        radius = u(0.7, 1.0)
        shape.rod((0, 0, height), (0, 0, height + 0.09), radius)
        shape.rod((0, 0, 0), (0, 0, height), 0.09)
        shape.rod((0, 0, 0), (0, 0, 0.07), 0.4)
        return
    _legs(shape, width, depth, height, u(0.05, 0.1), random.random() < 0.7)
    shape.box((0, 0, height + 0.04), (width + 0.1, depth + 0.1, u(0.07, 0.13)))


def stool(shape: Shape, random: Random) -> None:
    u = random.uniform
    height, radius = u(0.8, 1.5), u(0.4, 0.6)
    for angle in np.arange(3 + int(random.integers(2))) * 2 * np.pi / 4 + 0.4:
        x, y = np.cos(angle), np.sin(angle)
        shape.rod((x * radius, y * radius, 0), (x * radius * 0.6, y * radius * 0.6, height), 0.06)
    shape.rod((0, 0, height - 0.03), (0, 0, height + u(0.08, 0.2)), radius)


def bench(shape: Shape, random: Random) -> None:
    u = random.uniform
    width, depth, seat = u(1.8, 2.4), u(0.5, 0.7), u(0.5, 0.65)
    for y in np.linspace(-depth / 2, depth / 2, 3):
        shape.box((0, y, seat), (width, depth / 3.6, 0.08))
    for x in (-1, 1):
        shape.box((x * width * 0.4, 0, seat / 2), (0.1, depth, seat))
    if random.random() < 0.7:
        for z in (0.25, 0.5):
            shape.box((0, depth / 2 + 0.06, seat + z), (width, 0.06, 0.16))
        for x in (-1, 1):
            shape.box((x * width * 0.4, depth / 2 + 0.1, seat + 0.3), (0.08, 0.06, 0.65))


def sofa(shape: Shape, random: Random) -> None:
    u = random.uniform
    width, depth, seat, back = u(1.5, 2.3), u(0.8, 1.0), u(0.4, 0.5), u(0.5, 0.7)
    shape.box((0, 0, seat / 2 + 0.06), (width, depth, seat))
    shape.box((0, depth / 2 - 0.1, seat / 2 + back / 2 + 0.1), (width, 0.25, seat + back))
    for x in (-1, 1):
        shape.box((x * width / 2, 0, seat * 0.75), (0.24, depth, seat + 0.4))
        if random.random() < 0.5:
            shape.rod((x * width / 2, -depth / 2, seat + 0.35), (x * width / 2, depth / 2, seat + 0.35), 0.15)
    for index in range(2):
        shape.box(((index - 0.5) * (width - 0.24) / 2, -0.08, seat + 0.13), ((width - 0.3) / 2, depth - 0.2, 0.15))


def bed(shape: Shape, random: Random) -> None:
    u = random.uniform
    width, length = u(1.2, 1.7), u(1.9, 2.3)
    shape.box((0, 0, 0.25), (width, length, 0.3))
    shape.box((0, -0.05, 0.47), (width - 0.06, length - 0.1, 0.2), "bedding")
    shape.box((0, -0.25, 0.54), (width - 0.02, length * 0.62, 0.16))
    shape.box((0, length / 2, u(0.55, 0.75)), (width + 0.08, 0.1, u(0.9, 1.2)))
    for x in (-0.25, 0.25):
        shape.ball((x * width, length * 0.36, 0.62), (0.26, 0.18, 0.1), "bedding")


def bookshelf(shape: Shape, random: Random) -> None:
    u = random.uniform
    width, depth, height, shelves = u(1.0, 1.5), u(0.35, 0.5), u(1.6, 2.2), int(random.integers(3, 6))
    for x in (-1, 1):
        shape.box((x * width / 2, 0, height / 2), (0.08, depth, height))
    shape.box((0, depth / 2 - 0.02, height / 2), (width, 0.04, height))
    for index in range(shelves + 1):
        shape.box((0, 0, 0.04 + index * (height - 0.08) / shelves), (width, depth, 0.07))
    for index in range(shelves):
        x = -width / 2 + 0.1
        while x < width / 2 - 0.2 and random.random() < 0.9:
            thick, tall = u(0.05, 0.12), u(0.55, 0.85) * height / shelves
            low = 0.08 + index * (height - 0.08) / shelves
            shape.box(
                (x + thick / 2, -0.02, low + tall / 2),
                (thick, depth * 0.7, tall),
                str(random.choice(["red", "green", "yellow", "cream", "brown"])),
            )
            x += thick + 0.01


def lamp(shape: Shape, random: Random) -> None:
    u = random.uniform
    height, radius = u(1.1, 1.8), u(0.4, 0.6)
    shape.rod((0, 0, 0), (0, 0, 0.07), u(0.25, 0.4))
    shape.rod((0, 0, 0), (0, 0, height), 0.05)
    shape.rod(
        (0, 0, height - 0.15),
        (0, 0, height + u(0.4, 0.6)),
        radius,
        str(random.choice(["body", "cream"])),
        radius * u(0.4, 0.8),
    )


def mug(shape: Shape, random: Random) -> None:
    u = random.uniform
    radius, height = u(0.5, 0.7), u(0.9, 1.4)
    shape.lathe(
        [(0, 0), (radius * u(0.8, 1), 0), (radius, height), (radius - 0.07, height), (radius - 0.08, height - 0.14)]
    )
    shape.lathe([(0, height - 0.14), (radius - 0.07, height - 0.14)], "coffee")
    shape.ring((radius + 0.12, 0, height * 0.5), height * 0.27, 0.07, axis=(0, 1, 0))


def bottle(shape: Shape, random: Random) -> None:
    u = random.uniform
    radius, height, neck = u(0.32, 0.5), u(1.0, 1.5), u(0.11, 0.16)
    shape.lathe(
        [
            (0, 0),
            (radius, 0.02),
            (radius, height),
            (neck, height + u(0.2, 0.4)),
            (neck, height + 0.7),
            (0, height + 0.7),
        ]
    )
    shape.rod((0, 0, height + 0.68), (0, 0, height + 0.8), neck * 1.15, str(random.choice(["red", "brown", "metal"])))


def vase(shape: Shape, random: Random) -> None:
    heights = np.linspace(0, 1.9, 8)
    radii = (
        0.5
        + 0.22 * np.sin(heights * random.uniform(1.5, 3.2) + random.uniform(0, 6))
        + random.uniform(-0.1, 0.1, 8) * 0.5
    )
    shape.lathe([(0, 0), *zip(radii, heights, strict=True), (radii[-1] - 0.07, 1.9), (radii[-1] - 0.1, 1.5), (0, 1.4)])


def bowl(shape: Shape, random: Random) -> None:
    u = random.uniform
    angles = np.linspace(0, np.pi / 2, 7)
    radius, height = u(0.8, 1.0), u(0.5, 0.8)
    outer = [(0.3 + (radius - 0.3) * np.sin(a), height * (1 - np.cos(a))) for a in angles]
    inner = [((0.3 + (radius - 0.3) * np.sin(a)) * 0.9, height * (1 - np.cos(a)) * 0.94 + 0.06) for a in angles[::-1]]
    shape.lathe([(0, 0), *outer, *inner, (0, 0.06)])


def teapot(shape: Shape, random: Random) -> None:
    u = random.uniform
    wide, tall = u(0.65, 0.85), u(0.5, 0.7)
    shape.ball((0, 0, tall), (wide, wide, tall))
    shape.ball((0, 0, 2 * tall - 0.03), (wide * 0.5, wide * 0.5, 0.1))
    shape.ball((0, 0, 2 * tall + 0.12), 0.1)
    shape.limb((wide * 0.8, 0, tall * 0.8), (wide + 0.45, 0, tall * 1.6), 0.15, end_radius=0.08)
    shape.ring((-wide - 0.1, 0, tall), tall * 0.55, 0.07, axis=(0, 1, 0))


def _windows(shape: Shape, width: float, depth: float, low: float, rows: int, step: float, size: float) -> None:
    """Windows on all four walls."""
    for row in range(rows):
        z = low + row * step
        for x in (
            np.linspace(-width / 2, width / 2, 4)[1:3] if width < 1.6 else np.linspace(-width / 2, width / 2, 5)[1:4]
        ):
            shape.box((x, 0, z), (size, depth + 0.04, size * 1.2), "glass")
        for y in np.linspace(-depth / 2, depth / 2, 4)[1:3]:
            shape.box((0, y, z), (width + 0.04, size, size * 1.2), "glass")


def house(shape: Shape, random: Random) -> None:
    u = random.uniform
    width, depth, height, roof = u(1.3, 2.0), u(1.1, 1.8), u(0.8, 1.4), u(0.5, 0.9)
    shape.box((0, 0, height / 2), (width, depth, height))
    along = random.random() < 0.5
    half, length = (depth if along else width) / 2 + 0.12, (width if along else depth) + 0.2
    prism = trimesh.Trimesh(
        np.array([[s * half, e * length / 2, z] for e in (-1, 1) for s, z in ((-1, 0), (1, 0), (0, roof))]),
        np.array([[0, 1, 2], [3, 5, 4], [0, 2, 5], [0, 5, 3], [1, 4, 5], [1, 5, 2], [0, 3, 4], [0, 4, 1]]),
    )
    if along:
        prism.apply_transform(rotation_matrix(np.pi / 2, (0, 0, 1)))
    prism.apply_translation((0, 0, height))
    shape.add(prism, "roof", False)
    shape.box((0, -depth / 2, height * 0.28), (0.32, 0.06, height * 0.56), "door")
    size = u(0.2, 0.28)
    for x in (-0.32, 0.32):
        shape.box((x * width, -depth / 2, height * 0.55), (size, 0.05, size), "glass")
        shape.box((x * width, depth / 2, height * 0.55), (size, 0.05, size), "glass")
    for y in (-0.22, 0.22):
        shape.box((0, y * depth, height * 0.55), (width + 0.05, size, size), "glass")
    if random.random() < 0.5:
        shape.box((width * 0.28, depth * 0.12, height + roof * 0.8), (0.2, 0.2, roof * 0.9), "brown")


def tower(shape: Shape, random: Random) -> None:
    u = random.uniform
    radius, height = u(0.45, 0.65), u(1.5, 2.2)
    shape.rod((0, 0, 0), (0, 0, height), radius * 1.15, end_radius=radius)
    shape.rod((0, 0, height), (0, 0, height + 0.15), radius * 1.25)
    if random.random() < 0.5:
        shape.rod((0, 0, height + 0.15), (0, 0, height + u(0.7, 1.1)), radius * 1.25, "roof", 0.01)
    else:
        for angle in np.arange(8) * np.pi / 4:
            shape.box(
                (np.cos(angle) * radius * 1.1, np.sin(angle) * radius * 1.1, height + 0.24),
                (0.2, 0.2, 0.22),
                turn=angle,
                axis=(0, 0, 1),
            )
    shape.box((0, -radius * 1.1, 0.28), (0.3, 0.18, 0.56), "door")
    for z in (0.5, 0.8):
        shape.box((0, 0, z * height), (0.14, 2.12 * radius, 0.26), "dark")
        shape.box((0, 0, z * height), (2.12 * radius, 0.14, 0.26), "dark")


def castle(shape: Shape, random: Random) -> None:
    u = random.uniform
    width, height = u(0.75, 1.0), u(0.7, 1.0)
    shape.box((0, 0, height / 2), (2 * width, 2 * width, height))
    roof = random.random() < 0.6
    for x in (-1, 1):
        for y in (-1, 1):
            shape.rod((x * width, y * width, 0), (x * width, y * width, height * 1.4), 0.28)
            top = (x * width, y * width, height * 1.4)
            if roof:
                shape.rod(top, (x * width, y * width, height * 1.4 + 0.55), 0.36, "roof", 0.01)
            else:
                shape.rod(top, (x * width, y * width, height * 1.4 + 0.15), 0.34)
    for place in np.linspace(-width * 0.6, width * 0.6, 4):
        for side in (-1, 1):
            shape.box((place, side * (width - 0.06), height + 0.09), (0.2, 0.12, 0.18))
            shape.box((side * (width - 0.06), place, height + 0.09), (0.12, 0.2, 0.18))
    shape.box((0, 0, height * 0.9), (width * 0.8, width * 0.8, height * u(1.0, 1.6)))
    shape.box((0, -width, 0.25), (0.4, 0.08, 0.5), "door")


def office(shape: Shape, random: Random) -> None:
    u = random.uniform
    width, depth, floors = u(0.9, 1.4), u(0.8, 1.2), int(random.integers(3, 7))
    height = floors * 0.38 + 0.3
    shape.box((0, 0, height / 2), (width, depth, height))
    _windows(shape, width, depth, 0.55, floors - 1, 0.38, 0.22)
    shape.box((0, -depth / 2, 0.17), (0.3, 0.06, 0.34), "door")


def tree(shape: Shape, random: Random) -> None:
    u = random.uniform
    height = u(0.7, 1.1)
    shape.rod((0, 0, 0), (0, 0, height + 0.3), u(0.11, 0.17), "trunk", 0.08)
    for _ in range(int(random.integers(3, 8))):
        shape.ball(tuple(random.normal(0, 0.26, 3) + (0, 0, height + 0.6)), u(0.36, 0.56), "leaves")


def pine(shape: Shape, random: Random) -> None:
    u = random.uniform
    shape.rod((0, 0, 0), (0, 0, 0.5), 0.13, "trunk")
    layers, low = int(random.integers(3, 5)), 0.35
    for index in range(layers):
        radius = u(0.7, 0.8) * (1 - 0.2 * index)
        shape.rod((0, 0, low + index * 0.45), (0, 0, low + index * 0.45 + 0.75), radius, "leaves", 0.03)


def cactus(shape: Shape, random: Random) -> None:
    u = random.uniform
    height, radius = u(1.4, 1.9), u(0.2, 0.3)
    shape.limb((0, 0, 0.1), (0, 0, height), radius, "green")
    for side in (-1, 1):
        if random.random() < 0.85:
            z = u(0.5, 0.9)
            shape.limb((0, 0, z), (side * u(0.5, 0.6), 0, z + 0.05), radius * 0.6, "green")
            shape.limb((side * 0.55, 0, z + 0.05), (side * 0.57, 0, z + u(0.4, 0.7)), radius * 0.6, "green")


def mushroom(shape: Shape, random: Random) -> None:
    u = random.uniform
    height, radius = u(0.7, 1.1), u(0.65, 0.95)
    shape.lathe([(0, 0), (u(0.22, 0.32), 0), (0.2, height * 0.6), (0.22, height), (0, height)], "stalk")
    angles = np.linspace(0, np.pi / 2, 7)
    shape.lathe(
        [
            (0.1, height),
            *[(radius * np.cos(a), height + radius * u(0.7, 0.75) * np.sin(a)) for a in angles[:-1]],
            (0, height + radius * 0.73),
        ]
    )


def pumpkin(shape: Shape, random: Random) -> None:
    for angle in np.arange(8) * np.pi / 4:
        shape.ball((np.cos(angle) * 0.45, np.sin(angle) * 0.45, 0.7), (0.45, 0.45, random.uniform(0.6, 0.68)))
    shape.limb((0, 0, 1.2), (0.08, 0, 1.55), 0.1, "green", 0.07)


def apple(shape: Shape, random: Random) -> None:
    angles = np.linspace(0, np.pi, 14)
    shape.lathe(
        [
            (
                0.9 * np.sin(a) * (1 + 0.12 * np.cos(a)),
                0.85 + 0.8 * -np.cos(a) * (1 - 0.28 * np.exp(-12 * np.sin(a) ** 2)),
            )
            for a in angles
        ]
    )
    shape.limb((0, 0, 1.4), (0.06, 0.0, 1.85), 0.05, "brown")
    if random.random() < 0.7:
        shape.ball((0.25, 0, 1.78), (0.25, 0.12, 0.05), "leaves", 0.4, (0, 1, 0))


def donut(shape: Shape, random: Random) -> None:
    u = random.uniform
    major, minor = u(0.6, 0.7), u(0.26, 0.36)
    shape.ring((0, 0, minor), major, minor, "horn", squash=0.9)
    shape.ring((0, 0, minor * 1.18), major, minor * 0.93, squash=0.85)


def cake(shape: Shape, random: Random) -> None:
    u = random.uniform
    radius, height = u(0.7, 0.95), u(0.4, 0.6)
    shape.rod((0, 0, 0), (0, 0, height), radius)
    tiers = int(random.integers(1, 4))
    for tier in range(1, tiers):
        shape.rod((0, 0, height * tier), (0, 0, height * (tier + 1)), radius * (1 - 0.25 * tier))
    top, rim = height * tiers, radius * (1 - 0.25 * (tiers - 1))
    shape.ring((0, 0, top), rim * 0.92, 0.08, "white")
    for angle in np.arange(5) * 2 * np.pi / 5:
        place = (np.cos(angle) * rim * 0.55, np.sin(angle) * rim * 0.55)
        shape.rod((*place, top), (*place, top + 0.3), 0.04, "pink")
        shape.ball((*place, top + 0.35), (0.04, 0.04, 0.07), "yellow")


def ice_cream(shape: Shape, random: Random) -> None:
    shape.rod((0, 0, 0), (0, 0, 1.1), 0.03, "horn", 0.45)
    for index in range(int(random.integers(1, 4))):
        shape.ball((0, 0, 1.25 + 0.5 * index), 0.46 - 0.05 * index, "body" if index % 2 == 0 else "pink")


def car(shape: Shape, random: Random) -> None:
    u = random.uniform
    length, width, body, cabin = u(2.0, 2.5), u(0.9, 1.1), u(0.32, 0.45), u(0.3, 0.45)
    low = 0.2
    shape.box((0, 0, low + body / 2), (width, length, body))
    y0, y1 = u(-0.3, -0.15) * length, u(0.25, 0.42) * length
    slope, top = u(0.12, 0.3), low + body + cabin
    base = np.array([[x * width * 0.48, y, low + body] for x in (-1, 1) for y in (y0, y1)])
    roof = np.array([[x * width * 0.4, y, top] for x in (-1, 1) for y in (y0 + slope, y1 - slope * 0.6)])
    shape.add(trimesh.convex.convex_hull(np.concatenate([base, roof])), "glass", False)
    shape.box((0, (y0 + slope + y1 - slope * 0.6) / 2, top + 0.01), (width * 0.84, y1 - y0 - 1.5 * slope, 0.06))
    for x in (-1, 1):
        for y in (-0.3, 0.32):
            shape.wheel((x * width * 0.48, y * length, 0.24), u(0.23, 0.26), 0.16)
        shape.ball((x * width * 0.34, -length / 2, low + body * 0.62), (0.11, 0.05, 0.08), "lamp")
        shape.box((x * width * 0.36, length / 2, low + body * 0.62), (0.16, 0.04, 0.1), "rear lamp")


def bus(shape: Shape, random: Random) -> None:
    u = random.uniform
    length, width, height = u(2.2, 2.8), 0.9, u(0.85, 1.15)
    shape.box((0, 0, 0.2 + height / 2), (width, length, height))
    for y in np.linspace(-0.42, 0.42, int(random.integers(5, 7))):
        shape.box((0, y * length, 0.2 + height * 0.68), (width + 0.03, length * 0.12, height * 0.32), "glass")
    shape.box((0, -length / 2, 0.2 + height * 0.66), (width * 0.86, 0.04, height * 0.42), "glass")
    shape.box((0, length / 2, 0.2 + height * 0.72), (width * 0.7, 0.04, height * 0.28), "glass")
    for x in (-1, 1):
        for y in (-0.32, 0.32):
            shape.wheel((x * 0.42, y * length, 0.22), 0.22, 0.14)
        shape.ball((x * 0.33, -length / 2, 0.35), (0.09, 0.04, 0.09), "lamp")
        shape.box((x * 0.35, length / 2, 0.38), (0.12, 0.04, 0.1), "rear lamp")


def truck(shape: Shape, random: Random) -> None:
    u = random.uniform
    width, cargo, height = 0.95, u(1.2, 1.8), u(0.9, 1.2)
    shape.box((0, 0.45, 0.25 + height / 2), (width, cargo, height), str(random.choice(["body", "white"])))
    y = 0.45 - cargo / 2 - 0.36
    shape.box((0, y, 0.2 + 0.38), (width * 0.95, 0.62, 0.76))
    shape.box((0, y - 0.31, 0.7), (width * 0.8, 0.05, 0.28), "glass")
    shape.box((0, y - 0.02, 0.72), (width * 0.98, 0.3, 0.26), "glass")
    for x in (-1, 1):
        for place in (y, 0.2 + cargo * 0.1, 0.3 + cargo * 0.42):
            shape.wheel((x * 0.42, place, 0.22), 0.22, 0.16)
        shape.ball((x * 0.33, y - 0.31, 0.35), (0.09, 0.04, 0.08), "lamp")


def train(shape: Shape, random: Random) -> None:
    u = random.uniform
    shape.rod((0, -1.0, 0.65), (0, 0.4, 0.65), u(0.34, 0.42))
    shape.box((0, 0.75, 0.75), (0.95, 0.75, 0.95))
    shape.box((0, 0.75, 1.3), (1.1, 0.9, 0.1), "dark")
    shape.box((0, 0.75, 0.95), (0.98, 0.4, 0.32), "glass")
    shape.rod((0, -0.7, 0.95), (0, -0.7, 1.4), 0.11, "dark", 0.19)
    shape.ball((0, -0.1, 1.05), (0.16, 0.16, 0.14), "yellow")
    shape.rod((0, -1.02, 0.65), (0, -1.06, 0.65), 0.2, "yellow")
    for x in (-1, 1):
        for y in (-0.75, -0.25, 0.3, 0.85):
            shape.wheel((x * 0.4, y, 0.22), 0.22, 0.1)
    shape.box((0, -1.05, 0.2), (0.9, 0.25, 0.16), "red")


def airplane(shape: Shape, random: Random) -> None:
    u = random.uniform
    length, radius = u(1.9, 2.4), u(0.2, 0.28)
    shape.ball((0, 0, 0.6), (radius, length / 2, radius))
    span, sweep = u(0.9, 1.2), u(0.1, 0.45)
    for x in (-1, 1):
        points = [[x * radius * 0.5, y, 0.55 + z] for y in (-0.25, 0.2) for z in (-0.03, 0.03)] + [
            [x * span, y + sweep, 0.6 + z] for y in (-0.12, 0.1) for z in (-0.02, 0.02)
        ]
        shape.add(trimesh.convex.convex_hull(np.array(points)), "body", False)
        tail = [[0, length * 0.36 + y, 0.66 + z] for y in (-0.12, 0.12) for z in (-0.02, 0.02)] + [
            [x * 0.42, length * 0.42 + y, 0.68 + z] for y in (-0.06, 0.08) for z in (-0.01, 0.01)
        ]
        shape.add(trimesh.convex.convex_hull(np.array(tail)), "body", False)
        shape.rod((x * 0.45, -0.25 + sweep * 0.4, 0.48), (x * 0.45, 0.1 + sweep * 0.4, 0.48), 0.09, "metal")
    fin = [[x, length * 0.34 + y, 0.7] for x in (-0.03, 0.03) for y in (-0.15, 0.15)] + [
        [x, length * 0.45 + y, 1.15] for x in (-0.02, 0.02) for y in (-0.06, 0.08)
    ]
    shape.add(trimesh.convex.convex_hull(np.array(fin)), "red" if random.random() < 0.4 else "body", False)
    shape.ball((0, -length * 0.36, 0.7), (radius * 0.6, 0.16, radius * 0.6), "glass")


def boat(shape: Shape, random: Random) -> None:
    u = random.uniform
    length, width = u(1.8, 2.3), u(0.7, 0.9)
    rim = [
        (0, -length / 2),
        (width / 2, -length * 0.15),
        (width / 2, length / 2),
        (-width / 2, length / 2),
        (-width / 2, -length * 0.15),
    ]
    points = [(x, y, 0.5) for x, y in rim] + [(x * 0.6, y * 0.75, 0.0) for x, y in rim]
    shape.add(trimesh.convex.convex_hull(np.array(points)), "body", False)
    if random.random() < 0.6:
        shape.rod((0, 0, 0.4), (0, 0, 2.1), 0.04, "trunk")
        for sign in (-1, 1):
            sail = np.array(
                [
                    [x, y, z]
                    for x in (-0.012, 0.012)
                    for y, z in ((sign * 0.08, 0.75), (sign * 0.75, 0.75), (sign * 0.08, 2.0))
                ]
            )
            shape.add(trimesh.convex.convex_hull(sail), "white", False)
    else:
        shape.box((0, 0.2, 0.68), (width * 0.7, length * 0.4, 0.4), "white")
        shape.box((0, 0.2, 0.74), (width * 0.73, length * 0.3, 0.14), "glass")
        shape.rod((0, 0.3, 0.85), (0, 0.3, 1.25), 0.11, "red")


def rocket(shape: Shape, random: Random) -> None:
    u = random.uniform
    radius, height = u(0.3, 0.42), u(1.2, 1.6)
    shape.lathe([(0, 0.2), (radius * 0.8, 0.2), (radius, 0.7), (radius, height), (radius * 0.6, height + 0.4)])
    shape.lathe([(radius * 0.62, height + 0.38), (radius * 0.3, height + 0.62), (0, height + 0.75)], "red")
    shape.rod((0, 0, 0.05), (0, 0, 0.22), radius * 0.6, "dark")
    for angle in np.arange(4) * np.pi / 2 + np.pi / 4 * int(random.integers(2)):
        fin = np.array(
            [(radius * 0.8, s, 0.75) for s in (-0.03, 0.03)]
            + [(radius * 0.8, s, 0.25) for s in (-0.03, 0.03)]
            + [(radius + 0.4, s, 0.0) for s in (-0.03, 0.03)]
        )
        mesh = trimesh.convex.convex_hull(fin)
        mesh.apply_transform(rotation_matrix(angle, (0, 0, 1)))
        shape.add(mesh, "red", False)
    shape.ball((0, -radius * 0.85, height * 0.85), (0.17, 0.1, 0.17), "glass")


def _animal(shape: Shape, random: Random, *, body: tuple, leg: float, thick: float, neck: tuple, head: tuple, snout: tuple, ears: str, tail: str,
            fur: str = "body", muzzle: str = "body") -> None:  # fmt: skip
    """Four legs, a body, a neck, a head with eyes looking to -Y. Sizes: body (x, y, z) half-widths, neck (forward, up, radius)."""
    u = random.uniform
    wide, long, tall = (value * u(0.88, 1.12) for value in body)
    leg *= u(0.85, 1.15)
    middle = leg + tall * 0.8
    shape.ball((0, 0, middle), (wide, long, tall), fur)
    shape.ball((0, -long * 0.45, middle + 0.02), (wide * 0.95, long * 0.55, tall * 0.98), fur)
    shape.ball((0, long * 0.45, middle), (wide * 0.97, long * 0.52, tall), fur)
    stride = u(-0.1, 0.1)
    for x in (-1, 1):
        for y, sign in ((-0.62, 1), (0.66, -1)):
            hip = (x * wide * 0.6, y * long, middle - tall * 0.3)
            foot = (x * wide * 0.6, y * long + stride * x * sign, thick * 0.6)
            shape.limb(hip, foot, thick * 1.15, "body", thick * 0.85)
    forward, up, radius = neck
    shoulder = np.array([0, -long * 0.75, middle + tall * 0.35])
    centre = shoulder + (0, -forward * u(0.9, 1.1), up * u(0.9, 1.1))
    shape.limb(tuple(shoulder), tuple(centre), radius * 1.25, "body", radius)
    shape.ball(tuple(centre), head)
    nose = centre + (0, -head[1] * 0.8 - snout[1] * 0.3, -head[2] * 0.25)
    shape.ball(tuple(nose), snout, muzzle)
    for x in (-1, 1):
        eye = centre + (x * head[0] * 0.72, -head[1] * 0.68, head[2] * 0.28)
        shape.ball(tuple(eye), head[0] * 0.17, "dark")
        nostril = nose + (x * snout[0] * 0.4, -snout[1] * 0.93, snout[2] * 0.2)
        shape.ball(tuple(nostril), snout[0] * 0.15, "dark")
        side = centre + (x * head[0] * 0.8, head[1] * 0.2, head[2] * 0.7)
        if ears == "floppy":
            shape.ball(tuple(side + (x * 0.07, 0, -0.12)), (0.07, 0.1, 0.2), turn=0.4 * x, axis=(0, 1, 0))
        elif ears == "pointed":
            shape.rod(tuple(side - (x * 0.06, 0, 0.05)), tuple(side + (x * 0.02, 0, 0.26)), 0.12, "body", 0.01)
        elif ears == "long":
            shape.ball(tuple(side + (-x * 0.1, 0, 0.35)), (0.08, 0.06, 0.42))
        elif ears == "round":
            shape.ball(tuple(side + (0, 0, 0.05)), (0.13, 0.06, 0.13))
        elif ears == "huge":
            shape.ball(tuple(side + (x * 0.2, 0.05, -0.15)), (0.3, 0.06, 0.36))
        elif ears in ("cow", "giraffe"):
            shape.ball(tuple(side + (x * 0.12, 0, -0.08)), (0.16, 0.05, 0.08))
            if ears == "cow":
                shape.limb(tuple(side + (-x * 0.08, 0, 0.02)), tuple(side + (x * 0.06, 0, 0.2)), 0.05, "horn", 0.02)
            else:
                shape.limb(tuple(side + (-x * 0.1, 0, 0)), tuple(side + (-x * 0.1, 0, 0.16)), 0.03, "horn", 0.045)
    rump = np.array([0, long * 0.95, middle + tall * 0.35])
    if tail == "long":
        shape.limb(tuple(rump), tuple(rump + (0, 0.16, -0.5)), 0.04, "body", 0.03)
        shape.ball(tuple(rump + (0, 0.17, -0.56)), (0.06, 0.06, 0.12), "dark" if random.random() < 0.3 else "body")
    elif tail == "up":
        shape.limb(tuple(rump), tuple(rump + (0, 0.2, u(0.3, 0.6))), 0.06, "body", 0.04)
    elif tail == "bushy":
        shape.ball(tuple(rump + (0, 0.2, -0.2)), (0.12, 0.16, 0.4), turn=0.4)
    else:
        shape.ball(tuple(rump + (0, 0.05, 0)), 0.12)


def cow(shape: Shape, random: Random) -> None:
    _animal(
        shape,
        random,
        body=(0.42, 0.8, 0.42),
        leg=0.5,
        thick=0.12,
        neck=(0.3, 0.25, 0.2),
        head=(0.22, 0.27, 0.24),
        snout=(0.18, 0.17, 0.15),
        ears="cow",
        tail="long",
        muzzle="pink",
    )


def horse(shape: Shape, random: Random) -> None:
    _animal(
        shape,
        random,
        body=(0.33, 0.78, 0.36),
        leg=0.8,
        thick=0.09,
        neck=(0.42, 0.6, 0.16),
        head=(0.15, 0.24, 0.18),
        snout=(0.12, 0.22, 0.12),
        ears="pointed",
        tail="bushy",
    )


def dog(shape: Shape, random: Random) -> None:
    _animal(
        shape,
        random,
        body=(0.28, 0.6, 0.3),
        leg=0.45,
        thick=0.09,
        neck=(0.2, 0.35, 0.16),
        head=(0.25, 0.26, 0.25),
        snout=(0.13, 0.2, 0.12),
        ears=str(random.choice(["floppy", "pointed"])),
        tail="up",
    )


def cat(shape: Shape, random: Random) -> None:
    _animal(
        shape,
        random,
        body=(0.23, 0.52, 0.24),
        leg=0.4,
        thick=0.07,
        neck=(0.16, 0.28, 0.12),
        head=(0.27, 0.23, 0.23),
        snout=(0.1, 0.08, 0.08),
        ears="pointed",
        tail="up",
    )


def pig(shape: Shape, random: Random) -> None:
    _animal(
        shape,
        random,
        body=(0.46, 0.72, 0.45),
        leg=0.28,
        thick=0.12,
        neck=(0.2, 0.1, 0.26),
        head=(0.3, 0.28, 0.28),
        snout=(0.14, 0.12, 0.12),
        ears="pointed",
        tail="short",
        muzzle="pink",
    )


def sheep(shape: Shape, random: Random) -> None:
    _animal(
        shape,
        random,
        body=(0.48, 0.68, 0.48),
        leg=0.4,
        thick=0.08,
        neck=(0.22, 0.2, 0.2),
        head=(0.19, 0.25, 0.21),
        snout=(0.13, 0.13, 0.12),
        ears="floppy",
        tail="short",
        fur=str(random.choice(["body", "fleece"])),
    )


def elephant(shape: Shape, random: Random) -> None:
    _animal(
        shape,
        random,
        body=(0.56, 0.78, 0.56),
        leg=0.5,
        thick=0.19,
        neck=(0.25, 0.2, 0.3),
        head=(0.34, 0.34, 0.36),
        snout=(0.15, 0.16, 0.16),
        ears="huge",
        tail="long",
    )
    ball = shape.parts[3][0].bounds  # the trunk hangs before everything else
    front = float(min(mesh.bounds[0][1] for mesh, _, _ in shape.parts))
    shape.limb((0, front + 0.1, 1.15), (0, front - 0.08, 0.65), 0.13, "body", 0.1)
    shape.limb((0, front - 0.08, 0.65), (0, front - 0.1, max(0.3, float(ball[0][2]))), 0.1, "body", 0.08)


def giraffe(shape: Shape, random: Random) -> None:
    _animal(
        shape,
        random,
        body=(0.3, 0.58, 0.34),
        leg=0.9,
        thick=0.085,
        neck=(0.35, 1.15, 0.12),
        head=(0.14, 0.2, 0.15),
        snout=(0.1, 0.16, 0.1),
        ears="giraffe",
        tail="long",
    )


def rabbit(shape: Shape, random: Random) -> None:
    _animal(
        shape,
        random,
        body=(0.32, 0.45, 0.34),
        leg=0.15,
        thick=0.11,
        neck=(0.12, 0.26, 0.2),
        head=(0.26, 0.26, 0.25),
        snout=(0.11, 0.09, 0.09),
        ears="long",
        tail="short",
    )


def bear(shape: Shape, random: Random) -> None:
    _animal(
        shape,
        random,
        body=(0.5, 0.72, 0.5),
        leg=0.38,
        thick=0.17,
        neck=(0.26, 0.2, 0.26),
        head=(0.31, 0.3, 0.3),
        snout=(0.15, 0.17, 0.13),
        ears="round",
        tail="short",
    )


def duck(shape: Shape, random: Random) -> None:
    u = random.uniform
    shape.ball((0, 0.1, 0.5), (0.48, u(0.7, 0.85), 0.45))
    shape.ball((0, 0.85, 0.72), (0.2, 0.25, 0.12), turn=0.5)
    up = u(1.05, 1.3)
    shape.limb((0, -0.45, 0.7), (0, -0.5, up), 0.22)
    shape.ball((0, -0.5, up), u(0.28, 0.34))
    shape.ball((0, -0.85, up - 0.03), (0.15, 0.2, 0.06), "orange")
    for x in (-1, 1):
        shape.ball((x * 0.2, -0.72, up + 0.1), 0.055, "dark")
        shape.ball((x * 0.45, 0.15, 0.58), (0.1, 0.5, 0.28))


def bird(shape: Shape, random: Random) -> None:
    u = random.uniform
    shape.ball((0, 0, 0.75), (0.36, 0.55, 0.4), turn=0.35)
    shape.ball((0, -0.42, 1.15), u(0.25, 0.3))
    shape.rod((0, -0.65, 1.13), (0, -0.92, 1.08), 0.09, "yellow", 0.01)
    shape.box((0, 0.72, 0.5), (0.26, 0.55, 0.06), turn=-0.45)
    for x in (-1, 1):
        shape.ball((x * 0.17, -0.58, 1.23), 0.05, "dark")
        shape.ball((x * 0.34, 0.12, 0.78), (0.08, 0.45, 0.24), turn=0.45)
        shape.rod((x * 0.13, 0, 0.45), (x * 0.13, -0.02, 0.0), 0.03, "orange")
        shape.box((x * 0.13, -0.1, 0.02), (0.14, 0.26, 0.04), "orange")


def fish(shape: Shape, random: Random) -> None:
    u = random.uniform
    tall = u(0.4, 0.6)
    shape.ball((0, 0, 0.7), (0.26, u(0.75, 0.95), tall))
    tail = np.array([(x, y, 0.7 + z) for x in (-0.03, 0.03) for y, z in ((0.7, 0.0), (1.25, 0.42), (1.25, -0.42))])
    shape.add(trimesh.convex.convex_hull(tail), "orange" if random.random() < 0.3 else "body", False)
    fin = np.array(
        [(x, y, 0.7 + z) for x in (-0.02, 0.02) for y, z in ((-0.3, tall * 0.8), (0.4, tall * 0.7), (0.3, tall + 0.28))]
    )
    shape.add(trimesh.convex.convex_hull(fin), "body", False)
    for x in (-1, 1):
        shape.ball((x * 0.17, -0.58, 0.82), 0.1, "white")
        shape.ball((x * 0.2, -0.64, 0.82), 0.065, "dark")


def turtle(shape: Shape, random: Random) -> None:
    u = random.uniform
    angles = np.linspace(0, np.pi / 2, 7)
    shape.lathe([(0.85 * np.cos(a), 0.25 + u(0.6, 0.65) * np.sin(a)) for a in angles[:-1]] + [(0, 0.87)])
    shape.ball((0, 0, 0.26), (0.8, 0.85, 0.12), "horn")
    shape.limb((0, -0.7, 0.35), (0, -1.0, 0.5), 0.15, "green")
    shape.ball((0, -1.1, 0.54), (0.2, 0.25, 0.19), "green")
    for x in (-1, 1):
        shape.ball((x * 0.13, -1.25, 0.62), 0.045, "dark")
        for y in (-0.55, 0.55):
            shape.ball((x * 0.65, y, 0.16), (0.22, 0.2, 0.15), "green")


def snowman(shape: Shape, random: Random) -> None:
    shape.ball((0, 0, 0.5), 0.55)
    shape.ball((0, 0, 1.15), 0.4)
    shape.ball((0, 0, 1.65), 0.28)
    shape.rod((0, -0.25, 1.65), (0, -0.55, 1.62), 0.06, "orange", 0.01)
    for x in (-1, 1):
        shape.ball((x * 0.1, -0.25, 1.75), 0.04, "dark")
        shape.rod((x * 0.35, 0, 1.2), (x * 0.85, 0, 1.45), 0.03, "brown")
    for z in (1.0, 1.2, 1.35):
        shape.ball((0, -0.4, z), 0.04, "dark")
    if random.random() < 0.6:
        shape.rod((0, 0, 1.86), (0, 0, 1.92), 0.32, "dark")
        shape.rod((0, 0, 1.9), (0, 0, 2.25), 0.22, "dark")


def robot(shape: Shape, random: Random) -> None:
    u = random.uniform
    width, body = u(0.7, 0.95), u(0.7, 0.95)
    shape.box((0, 0, 0.5 + body / 2), (width, 0.5, body))
    shape.box((0, 0, 0.62 + body + 0.25), (width * 0.75, 0.48, 0.5))
    for x in (-1, 1):
        shape.box((x * width * 0.25, 0, 0.25), (0.22, 0.3, 0.5))
        shape.limb((x * (width / 2 + 0.12), 0, 0.4 + body), (x * (width / 2 + u(0.12, 0.35)), 0, 0.55), 0.1)
        shape.ball((x * width * 0.18, -0.24, 0.9 + body), 0.09, "lamp")
    shape.rod((0, 0, 1.1 + body), (0, 0, 1.35 + body), 0.025, "metal")
    shape.ball((0, 0, 1.38 + body), 0.07, "red")
    shape.box((0, -0.25, 0.5 + body * 0.6), (width * 0.5, 0.04, body * 0.3), "dark")


def figure(shape: Shape, random: Random) -> None:
    """A standing person, as a statue or a toy."""
    u = random.uniform
    hip, shoulder = u(0.85, 1.0), u(1.5, 1.65)
    shape.limb((0, 0, hip), (0, 0, shoulder - 0.1), 0.22, end_radius=0.27)
    shape.ball((0, 0, shoulder + 0.38), (0.2, 0.22, 0.25))
    shape.rod((0, 0, shoulder), (0, 0, shoulder + 0.2), 0.09)
    shape.ball((0, -0.22, shoulder + 0.35), 0.04)
    for x in (-1, 1):
        shape.limb((x * 0.13, 0, hip), (x * u(0.13, 0.25), u(-0.1, 0.1), 0.08), 0.13, end_radius=0.09)
        shape.ball((x * 0.18, -0.1, 0.06), (0.09, 0.17, 0.07))
        elbow = (x * u(0.38, 0.5), u(-0.1, 0.1), shoulder - u(0.3, 0.45))
        shape.limb((x * 0.3, 0, shoulder - 0.05), elbow, 0.09)
        shape.limb(elbow, (x * u(0.35, 0.6), u(-0.35, 0.0), u(0.85, 1.3)), 0.08)


def barrel(shape: Shape, random: Random) -> None:
    u = random.uniform
    height, bulge = u(1.4, 1.7), u(0.08, 0.18)
    heights = np.linspace(0, height, 9)
    radii = 0.5 + bulge * np.sin(np.pi * heights / height)
    shape.lathe([(0, 0), *zip(radii, heights, strict=True), (0, height)])
    for share in (0.15, 0.85):
        shape.ring((0, 0, height * share), 0.5 + bulge * np.sin(np.pi * share), 0.045, "metal")


def ball(shape: Shape, random: Random) -> None:
    shape.ball((0, 0, 1), 1.0)


def cube(shape: Shape, random: Random) -> None:
    shape.box(
        (0, 0, 0.7),
        tuple(random.uniform(1.2, 1.5, 3) if random.random() < 0.5 else (1.4, 1.4, 1.4)),
        turn=random.uniform(0, 1.5),
        axis=(0, 0, 1),
    )


def cylinder(shape: Shape, random: Random) -> None:
    shape.rod((0, 0, 0), (0, 0, random.uniform(0.8, 1.9)), random.uniform(0.5, 0.8))


def cone(shape: Shape, random: Random) -> None:
    shape.rod((0, 0, 0), (0, 0, random.uniform(1.2, 1.9)), random.uniform(0.6, 0.9), end_radius=0.02)


def ring(shape: Shape, random: Random) -> None:
    shape.ring(
        (0, 0, 0.8),
        random.uniform(0.6, 0.75),
        random.uniform(0.15, 0.32),
        axis=(0, 1, 0) if random.random() < 0.5 else (0, 0, 1),
    )


def lathed(shape: Shape, random: Random) -> None:
    """Anything that a lathe makes."""
    heights = np.linspace(0, 1.9, 9)
    phases = random.uniform(0, 6, 3)
    radii = 0.5 + sum(0.25 / n * np.sin(heights * n * 1.7 + phase) for n, phase in enumerate(phases, 1))
    shape.lathe([(0, 0), *zip(np.clip(radii, 0.08, None), heights, strict=True), (0, 1.9)])


def blob(shape: Shape, random: Random) -> None:
    """A soft heap, bent without a plan."""
    mesh = creation.icosphere(subdivisions=3)
    points = np.array(mesh.vertices)
    for _ in range(6):
        wave = random.normal(0, 1.4, 3)
        points += 0.16 * np.sin(points @ wave + random.uniform(0, 6))[:, None] * random.normal(0, 1, 3)
    shape.add(trimesh.Trimesh(points * random.uniform(0.7, 1.2, 3), mesh.faces, process=False))


def heap(shape: Shape, random: Random) -> None:
    """A few simple solids stuck together."""
    for _ in range(int(random.integers(3, 7))):
        centre, size = tuple(random.normal(0, 0.45, 3)), random.uniform(0.25, 0.65, 3)
        if random.random() < 0.4:
            shape.box(centre, tuple(1.6 * size), turn=random.uniform(0, 3), axis=tuple(random.normal(size=3)))
        elif random.random() < 0.5:
            shape.ball(centre, tuple(size))
        else:
            shape.limb(centre, tuple(random.normal(0, 0.6, 3)), float(size[0]) * 0.6)


@dataclass(frozen=True)
class Kind:
    """How an object is made and called, and which materials it wears unasked."""

    build: Callable[[Shape, Random], None]
    names: tuple[str, ...]
    natural: tuple[str, ...] = ()
    """Materials that need no word: "a house" may be of brick."""
    has_front: bool = True
    weight: float = 1.0


KINDS: dict[str, Kind] = {
    "chair": Kind(chair, ("chair",), ("wood", "dark wood", "red", "white"), weight=1.4),
    "table": Kind(table, ("table", "desk"), ("wood", "dark wood", "white"), False),
    "stool": Kind(stool, ("stool",), ("wood", "dark wood", "red"), False, 0.6),
    "bench": Kind(bench, ("bench",), ("wood", "dark wood"), weight=0.7),
    "sofa": Kind(sofa, ("sofa", "couch"), ("red", "gray", "brown", "blue", "green")),
    "bed": Kind(bed, ("bed",), ("wood", "blue", "red", "pink"), weight=0.7),
    "bookshelf": Kind(bookshelf, ("bookshelf", "bookcase"), ("wood", "dark wood", "white"), weight=0.6),
    "lamp": Kind(lamp, ("lamp", "table lamp"), ("gold", "gray", "wood", "black"), False, 0.6),
    "mug": Kind(mug, ("mug", "cup"), ("white", "red", "blue", "green"), False),
    "bottle": Kind(bottle, ("bottle",), ("dark green", "brown", "light blue"), False, 0.8),
    "vase": Kind(vase, ("vase", "pot"), ("blue", "white", "marble", "turquoise", "orange"), False),
    "bowl": Kind(bowl, ("bowl",), ("white", "blue", "wood"), False, 0.7),
    "teapot": Kind(teapot, ("teapot",), ("white", "blue", "red", "silver"), False, 1.2),
    "house": Kind(house, ("house", "home", "cottage"), ("brick", "white", "beige", "wood", "yellow"), weight=1.5),
    "tower": Kind(tower, ("tower",), ("stone", "brick", "sand"), False, 0.8),
    "castle": Kind(castle, ("castle",), ("stone", "sand", "gray"), weight=0.9),
    "office": Kind(office, ("building", "office building"), ("gray", "brick", "beige", "white"), weight=0.8),
    "tree": Kind(tree, ("tree",), (), False),
    "pine tree": Kind(pine, ("pine tree", "fir tree"), (), False, 0.7),
    "cactus": Kind(cactus, ("cactus",), (), False, 0.5),
    "mushroom": Kind(mushroom, ("mushroom",), ("red", "white dots on red", "brown"), False, 0.8),
    "pumpkin": Kind(pumpkin, ("pumpkin",), ("orange",), False, 0.6),
    "apple": Kind(apple, ("apple",), ("red", "green", "yellow"), False, 0.7),
    "donut": Kind(donut, ("donut", "doughnut"), ("pink", "chocolate", "white"), False, 0.7),
    "cake": Kind(cake, ("cake", "birthday cake"), ("pink", "chocolate", "white", "beige"), False, 0.7),
    "ice cream": Kind(ice_cream, ("ice cream", "ice cream cone"), ("pink", "white", "chocolate"), False, 0.5),
    "car": Kind(car, ("car",), ("red", "blue", "white", "gray", "yellow", "green"), weight=1.6),
    "bus": Kind(bus, ("bus",), ("yellow", "red", "blue")),
    "truck": Kind(truck, ("truck",), ("red", "blue", "green", "orange")),
    "train": Kind(train, ("train", "steam train"), ("black", "green", "red", "blue"), weight=0.8),
    "airplane": Kind(airplane, ("airplane", "plane"), ("white", "silver", "blue")),
    "boat": Kind(boat, ("boat", "ship"), ("wood", "white", "red", "blue"), weight=0.8),
    "rocket": Kind(rocket, ("rocket",), ("white", "silver"), False, 0.7),
    "cow": Kind(cow, ("cow",), ("cow", "cow", "brown cow", "brown"), weight=2.0),
    "horse": Kind(horse, ("horse",), ("brown", "brown fur", "white", "black"), weight=1.3),
    "dog": Kind(dog, ("dog",), ("brown fur", "brown", "beige", "white"), weight=1.2),
    "cat": Kind(cat, ("cat",), ("gray", "orange", "black", "white"), weight=1.2),
    "pig": Kind(pig, ("pig",), ("pink",)),
    "sheep": Kind(sheep, ("sheep",), ("white fur",)),
    "elephant": Kind(elephant, ("elephant",), ("gray",)),
    "giraffe": Kind(giraffe, ("giraffe",), ("giraffe",)),
    "rabbit": Kind(rabbit, ("rabbit", "bunny"), ("white", "gray", "brown", "white fur"), weight=1.3),
    "bear": Kind(bear, ("bear",), ("brown fur", "brown", "white")),
    "duck": Kind(duck, ("duck",), ("yellow", "white", "brown")),
    "bird": Kind(bird, ("bird",), ("blue", "red", "yellow", "green")),
    "fish": Kind(fish, ("fish",), ("orange", "blue", "yellow", "red")),
    "turtle": Kind(turtle, ("turtle", "tortoise"), ("green", "dark green", "brown")),
    "snowman": Kind(snowman, ("snowman",), ("white",), weight=0.6),
    "robot": Kind(robot, ("robot",), ("silver", "gray", "blue", "red")),
    "figure": Kind(figure, ("statue", "person", "figure"), ("white", "stone", "marble", "copper")),
    "barrel": Kind(barrel, ("barrel",), ("wood", "dark wood"), False, 0.7),
    "ball": Kind(ball, ("ball", "sphere"), ("red", "blue", "red and white stripes"), False, 0.8),
    "cube": Kind(cube, ("cube", "box"), ("wood", "red", "blue"), False, 0.8),
    "cylinder": Kind(cylinder, ("cylinder",), ("green", "gray", "yellow"), False, 0.4),
    "cone": Kind(cone, ("cone",), ("orange", "blue"), False, 0.4),
    "ring": Kind(ring, ("ring",), ("gold", "silver"), False, 0.5),
    "lathed": Kind(lathed, ("object", "thing", "sculpture"), (), False, 1.2),
    "blob": Kind(blob, ("object", "blob", "thing"), (), False, 1.5),
    "heap": Kind(heap, ("object", "sculpture", "thing"), (), False, 1.5),
}  # fmt: skip


@dataclass(frozen=True)
class Geometry:
    """A finished object inside the unit ball: vertices [V, 3], faces [F, 3], vertex normals per corner [F, 3, 3], role index per face [F]."""

    vertices: Array
    faces: Array
    corner_normals: Array
    face_roles: Array
    roles: tuple[str, ...]


def build_geometry(kind: str, random: Random) -> Geometry:
    """One object of the kind, centred, its bounding ball of radius 1."""
    shape = Shape()
    KINDS[kind].build(shape, random)
    roles = tuple(sorted({role for _, role, _ in shape.parts}))
    vertices, faces, normals, indices, offset = [], [], [], [], 0
    for mesh, role, smooth in shape.parts:
        vertices.append(np.asarray(mesh.vertices))
        faces.append(np.asarray(mesh.faces) + offset)
        offset += len(mesh.vertices)
        flat = np.repeat(mesh.face_normals[:, None], 3, axis=1)
        normals.append(np.asarray(mesh.vertex_normals)[mesh.faces] if smooth else flat)
        indices.append(np.full(len(mesh.faces), roles.index(role)))
    points = np.concatenate(vertices)
    points = points - (points.min(0) + points.max(0)) / 2
    points /= np.linalg.norm(points, axis=1).max()
    return Geometry(points, np.concatenate(faces), np.concatenate(normals), np.concatenate(indices), roles)
