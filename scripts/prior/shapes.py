# ruff: noqa: E501, RUF005 - tables of numbers read best with one object a line; arrays are added, not joined
"""Parametric objects put together from simple parts: each call of a kind gives other proportions.

World is Z-up with the object's front towards -Y. A part has a role: "body" takes the material that the caption names; every other role
is a natural colour (windows, tyres, leaves ...), kept or overpainted by the renderer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import trimesh
from trimesh import creation
from trimesh.transformations import rotation_matrix

from animals import bear, bird, cat, cow, dog, duck, elephant, fish, giraffe, horse, pig, rabbit, sheep, turtle
from assembly import Random, Shape

Array = np.ndarray


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
