# ruff: noqa: E501 - tables of numbers read best with one object a line
"""Solid (three-dimensional) procedural materials: what a word such as "wooden" or "brick" looks like at a point.

A material is a function of points [N, 3] (object space, the object about 2 units tall), normals [N, 3] and a random generator, to
sRGB albedo [N, 3] with a gloss and a metalness. Colour words are materials too: plain, slightly glossy paint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.12, 0.10), "orange": (0.96, 0.52, 0.10), "yellow": (0.98, 0.84, 0.15), "green": (0.18, 0.62, 0.22),
    "blue": (0.12, 0.33, 0.85), "purple": (0.50, 0.20, 0.72), "pink": (0.97, 0.55, 0.72), "brown": (0.45, 0.27, 0.14),
    "black": (0.09, 0.09, 0.10), "white": (0.93, 0.93, 0.92), "gray": (0.52, 0.53, 0.55), "turquoise": (0.16, 0.72, 0.70),
    "beige": (0.86, 0.78, 0.62), "light blue": (0.53, 0.78, 0.95), "dark green": (0.07, 0.30, 0.14), "dark blue": (0.07, 0.12, 0.40),
}  # fmt: skip


@dataclass(frozen=True)
class Surface:
    """Albedo [N, 3] in sRGB, gloss in [0, 1] (height of the highlight) and metalness in [0, 1]."""

    albedo: Array
    gloss: float = 0.15
    metal: float = 0.0


Material = Callable[[Array, Array, np.random.Generator], Surface]


def lattice_noise(points: Array, seed: int) -> Array:
    """Value noise in [0, 1] with one random value a unit cell, smoothly interpolated; points [N, 3] -> [N]."""
    cell = np.floor(points).astype(np.int64)
    part = points - cell
    part = part * part * (3.0 - 2.0 * part)
    result = np.zeros(len(points))
    for corner in range(8):
        offset = np.array([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
        key = cell + offset
        mixed = (key[:, 0] * 374761393 + key[:, 1] * 668265263 + key[:, 2] * 2147483647 + seed * 974634777) & 0xFFFFFFFF
        mixed = ((mixed ^ (mixed >> 13)) * 1274126177) & 0xFFFFFFFF
        value = ((mixed ^ (mixed >> 16)) & 0xFFFF) / 65535.0
        weight = np.prod(np.where(offset == 1, part, 1.0 - part), axis=1)
        result += weight * value
    return result


def fractal_noise(points: Array, seed: int, octaves: int = 3) -> Array:
    """Octaves of value noise, each twice as fine and half as strong, brought to [0, 1]; [N, 3] -> [N]."""
    total, weight = np.zeros(len(points)), 0.0
    for octave in range(octaves):
        strength = 0.5**octave
        total += strength * lattice_noise(points * 2.0**octave + 17.3 * octave, seed + octave)
        weight += strength
    return total / weight


def _mix(low: Array, high: Array, share: Array) -> Array:
    """Linear blend of two colours ([3] or [N, 3]) by a share [N]."""
    return low + (high - low) * share[:, None]


def _step(value: Array, edge: float, softness: float) -> Array:
    """0 below the edge, 1 above, a ramp of the given half-width between."""
    return np.clip((value - edge) / (2.0 * softness) + 0.5, 0.0, 1.0)


def _tint(colour: tuple[float, float, float], random: np.random.Generator, amount: float = 0.05) -> Array:
    """The same colour, a little different each time."""
    return np.clip(
        np.array(colour) + random.normal(0.0, amount, 3) * 0.6 + random.normal(0.0, amount) * 0.6, 0.02, 0.98
    )


def _seed(random: np.random.Generator) -> int:
    return int(random.integers(1 << 20))


def _turned(points: Array, random: np.random.Generator, amount: float = 0.15) -> Array:
    """Points a little turned and shifted, so that no two pieces are cut alike."""
    return points @ (np.eye(3) + random.normal(0.0, amount, (3, 3))) + random.uniform(-5.0, 5.0, 3)


def _plain(colour: str, gloss: float = 0.2) -> Material:
    def material(points: Array, normals: Array, random: np.random.Generator) -> Surface:
        return Surface(np.broadcast_to(_tint(COLOURS[colour], random), points.shape), gloss)

    return material


def _wood(light: tuple[float, float, float], dark: tuple[float, float, float]) -> Material:
    def material(points: Array, normals: Array, random: np.random.Generator) -> Surface:
        moved = _turned(points, random, 0.08)
        wobble = fractal_noise(moved * np.array([1.5, 1.5, 0.5]), _seed(random), 2)
        axis = moved[:, :2] - np.floor(moved[:, :2].mean(0)) + 0.7
        rings = np.linalg.norm(axis, axis=1) * random.uniform(4.0, 6.0) + 2.5 * wobble
        grain = lattice_noise(moved * np.array([14.0, 14.0, 1.5]), _seed(random))
        share = 0.65 * (0.5 + 0.5 * np.sin(2.0 * np.pi * rings)) ** 1.5 + 0.35 * grain
        return Surface(_mix(_tint(light, random, 0.03), _tint(dark, random, 0.03), share), 0.1)

    return material


def _planar(points: Array, normals: Array) -> tuple[Array, Array]:
    """Coordinates along the wall (u: along its foot, v: up) for each point, by the face it lies on."""
    dominant = np.abs(normals).argmax(axis=1)
    u = np.where(dominant == 0, points[:, 1], points[:, 0])
    v = np.where(dominant == 2, points[:, 1], points[:, 2])
    return u, v


def _brick(colour: tuple[float, float, float]) -> Material:
    def material(points: Array, normals: Array, random: np.random.Generator) -> Surface:
        u, v = _planar(points, normals)
        height = random.uniform(0.16, 0.24)
        row = np.floor(v / height)
        along = u / (2.2 * height) + 0.5 * (row % 2)
        within_u, within_v = along - np.floor(along), v / height - row
        joint = (within_v < 0.18) | (within_u < 0.09)
        brick = lattice_noise(
            np.stack([np.floor(along) * 1.7 + 0.5, row * 1.3 + 0.5, np.zeros_like(u)], 1) * 3.1, _seed(random)
        )
        albedo = _tint(colour, random) * (0.75 + 0.5 * brick)[:, None]
        albedo[joint] = np.array([0.80, 0.77, 0.72])
        return Surface(np.clip(albedo, 0.0, 1.0), 0.03)

    return material


def _marble(points: Array, normals: Array, random: np.random.Generator) -> Surface:
    moved = _turned(points, random, 0.4)
    turbulence = fractal_noise(moved * 1.6, _seed(random), 3)
    veins = np.abs(np.sin(2.0 * moved[:, 0] + 1.2 * moved[:, 2] + 9.0 * turbulence)) ** 0.5
    return Surface(
        _mix(np.array([0.45, 0.46, 0.50]), _tint((0.94, 0.93, 0.92), random, 0.02), np.clip(veins * 1.25, 0, 1)), 0.5
    )


def _stone(points: Array, normals: Array, random: np.random.Generator) -> Surface:
    moved = _turned(points, random)
    share = 0.6 * fractal_noise(moved * 3.0, _seed(random), 3) + 0.4 * lattice_noise(moved * 14.0, _seed(random))
    return Surface(_mix(np.array([0.28, 0.28, 0.29]), _tint((0.74, 0.73, 0.70), random, 0.04), share), 0.03)


def _mossy(points: Array, normals: Array, random: np.random.Generator) -> Surface:
    stone = _stone(points, normals, random).albedo
    moved = _turned(points, random)
    cover = fractal_noise(moved * 2.2, _seed(random), 3) + 0.16 * normals[:, 2]
    green = _mix(np.array([0.13, 0.27, 0.06]), np.array([0.45, 0.60, 0.16]), lattice_noise(moved * 11.0, _seed(random)))
    return Surface(_mix(stone, green, _step(cover, 0.46, 0.05)), 0.02)


def _grass(points: Array, normals: Array, random: np.random.Generator) -> Surface:
    moved = _turned(points, random)
    share = 0.5 * lattice_noise(moved * np.array([13.0, 13.0, 6.0]), _seed(random)) + 0.5 * fractal_noise(
        moved * 3.0, _seed(random), 2
    )
    return Surface(_mix(np.array([0.10, 0.30, 0.05]), np.array([0.55, 0.78, 0.22]), share), 0.02)


def _metal(colour: tuple[float, float, float], gloss: float = 0.9) -> Material:
    def material(points: Array, normals: Array, random: np.random.Generator) -> Surface:
        return Surface(np.broadcast_to(_tint(colour, random, 0.025), points.shape), gloss, 1.0)

    return material


def _rust(points: Array, normals: Array, random: np.random.Generator) -> Surface:
    moved = _turned(points, random)
    share = fractal_noise(moved * 3.0, _seed(random), 3)
    rust = _mix(np.array([0.30, 0.13, 0.06]), np.array([0.76, 0.38, 0.14]), lattice_noise(moved * 9.0, _seed(random)))
    return Surface(_mix(np.array([0.50, 0.49, 0.48]), rust, _step(share, 0.42, 0.06)), 0.1)


def _stripes(first: str, second: str) -> Material:
    def material(points: Array, normals: Array, random: np.random.Generator) -> Surface:
        direction = random.normal(0.0, 0.12, 3) + np.eye(3)[random.choice([0, 2, 2])]
        wave = np.sin(2.0 * np.pi * (points @ direction) * random.uniform(1.6, 2.6) + random.uniform(0, 6))
        return Surface(
            _mix(_tint(COLOURS[first], random), _tint(COLOURS[second], random), _step(wave, 0.0, 0.15)), 0.15
        )

    return material


def _dots(ground: str, dot: str) -> Material:
    def material(points: Array, normals: Array, random: np.random.Generator) -> Surface:
        spacing = random.uniform(0.42, 0.6)
        # Layers of a face-centred lattice: any flat or curved cut through it shows well-spread dots.
        moved = points / spacing + random.uniform(0.0, 1.0, 3)
        nearest = np.full(len(points), np.inf)
        for shift in ((0.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5)):
            offset = moved - np.array(shift)
            nearest = np.minimum(nearest, np.linalg.norm(offset - np.round(offset), axis=1))
        return Surface(
            _mix(_tint(COLOURS[dot], random), _tint(COLOURS[ground], random), _step(nearest, 0.27, 0.035)), 0.15
        )

    return material


def _checkered(first: str, second: str) -> Material:
    def material(points: Array, normals: Array, random: np.random.Generator) -> Surface:
        cells = np.floor(points / random.uniform(0.28, 0.42) + random.uniform(0.0, 1.0, 3) + 1e-4)
        return Surface(_mix(_tint(COLOURS[first], random), _tint(COLOURS[second], random), cells.sum(1) % 2), 0.15)

    return material


def _patches(
    ground: tuple[float, float, float], patch: tuple[float, float, float], scale: float, share: float
) -> Material:
    def material(points: Array, normals: Array, random: np.random.Generator) -> Surface:
        moved = _turned(points, random)
        field = 0.8 * lattice_noise(moved * scale, _seed(random)) + 0.2 * lattice_noise(
            moved * scale * 2.5, _seed(random)
        )
        return Surface(
            _mix(_tint(ground, random, 0.02), _tint(patch, random, 0.02), _step(field, 1.0 - share, 0.03)), 0.05
        )

    return material


def _fur(light: tuple[float, float, float], dark: tuple[float, float, float]) -> Material:
    def material(points: Array, normals: Array, random: np.random.Generator) -> Surface:
        moved = _turned(points, random)
        share = 0.55 * lattice_noise(moved * np.array([18.0, 18.0, 5.0]), _seed(random)) + 0.45 * fractal_noise(
            moved * 2.5, _seed(random), 2
        )
        return Surface(_mix(_tint(dark, random, 0.03), _tint(light, random, 0.03), share), 0.02)

    return material


def _lava(points: Array, normals: Array, random: np.random.Generator) -> Surface:
    moved = _turned(points, random)
    crack = np.abs(fractal_noise(moved * 2.4, _seed(random), 3) - 0.5) * 2.0
    glow = _mix(np.array([1.0, 0.85, 0.25]), np.array([0.95, 0.25, 0.03]), np.clip(crack * 6.0, 0, 1))
    return Surface(_mix(glow, np.array([0.12, 0.08, 0.08]), _step(crack, 0.17, 0.06)), 0.05)


def _ice(points: Array, normals: Array, random: np.random.Generator) -> Surface:
    share = fractal_noise(_turned(points, random) * 2.0, _seed(random), 3)
    return Surface(_mix(np.array([0.52, 0.78, 0.92]), np.array([0.93, 0.98, 1.0]), _step(share, 0.5, 0.2)), 0.8)


def _rainbow(points: Array, normals: Array, random: np.random.Generator) -> Surface:
    phase = points[:, 2] * random.uniform(0.42, 0.6) + random.uniform(0.0, 1.0)
    albedo = 0.5 + 0.45 * np.cos(2.0 * np.pi * (phase[:, None] + np.array([0.0, 0.33, 0.67])))
    return Surface(albedo, 0.15)


def _knitted(points: Array, normals: Array, random: np.random.Generator) -> Surface:
    u, v = _planar(points, normals)
    stitch = np.sin(26.0 * v + 3.0 * np.abs(np.sin(13.0 * u))) * 0.5 + 0.5
    colour = _tint(COLOURS[str(random.choice(["red", "blue", "beige", "green", "pink"]))], random)
    return Surface(colour * (0.65 + 0.45 * stitch)[:, None], 0.0)


def _chocolate(points: Array, normals: Array, random: np.random.Generator) -> Surface:
    return Surface(np.broadcast_to(_tint((0.30, 0.16, 0.09), random, 0.02), points.shape), 0.45)


def _sand(points: Array, normals: Array, random: np.random.Generator) -> Surface:
    share = 0.5 * lattice_noise(points * 22.0, _seed(random)) + 0.5 * fractal_noise(points * 2.0, _seed(random), 2)
    return Surface(_mix(np.array([0.72, 0.58, 0.38]), np.array([0.95, 0.84, 0.62]), share), 0.0)


def _leaves(low: tuple[float, float, float], high: tuple[float, float, float]) -> Material:
    def material(points: Array, normals: Array, random: np.random.Generator) -> Surface:
        moved = _turned(points, random)
        share = 0.6 * lattice_noise(moved * 8.0, _seed(random)) + 0.4 * fractal_noise(moved * 2.5, _seed(random), 2)
        return Surface(_mix(np.array(low), np.array(high), _step(share, 0.5, 0.22)), 0.03)

    return material


@dataclass(frozen=True)
class NamedMaterial:
    """A material with the words that call it: adjectives go before the noun, nouns stand in "made of ..." and "... texture"."""

    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]
    surface: Material
    weight: float = 1.0


def _colour_material(name: str) -> NamedMaterial:
    return NamedMaterial(
        (name, f"{name} painted", f"shiny {name}"), (f"{name} paint", f"{name} plastic"), _plain(name), 0.6
    )


MATERIALS: dict[str, NamedMaterial] = {name: _colour_material(name) for name in COLOURS} | {
    "wood": NamedMaterial(("wooden", "wooden", "wood"), ("wood", "oak wood"), _wood((0.80, 0.58, 0.34), (0.50, 0.30, 0.14)), 3.0),
    "dark wood": NamedMaterial(("dark wooden", "walnut"), ("dark wood", "walnut wood"), _wood((0.45, 0.27, 0.15), (0.22, 0.12, 0.06))),
    "brick": NamedMaterial(("red brick", "brick"), ("red bricks", "bricks"), _brick((0.66, 0.27, 0.19)), 2.0),
    "white brick": NamedMaterial(("white brick",), ("white bricks",), _brick((0.88, 0.86, 0.82)), 0.4),
    "marble": NamedMaterial(("marble", "white marble"), ("marble", "white marble"), _marble, 2.0),
    "stone": NamedMaterial(("stone", "gray stone", "rock"), ("stone", "rock", "granite"), _stone, 2.0),
    "moss": NamedMaterial(("mossy stone", "mossy", "moss covered"), ("moss", "mossy stone"), _mossy, 2.0),
    "grass": NamedMaterial(("grass", "grassy"), ("grass",), _grass),
    "gold": NamedMaterial(("golden", "gold", "shiny gold"), ("gold",), _metal((0.98, 0.76, 0.22)), 2.0),
    "silver": NamedMaterial(("silver", "metal", "steel", "shiny metal"), ("metal", "silver", "steel"), _metal((0.78, 0.80, 0.83)), 2.0),
    "copper": NamedMaterial(("copper", "bronze"), ("copper", "bronze"), _metal((0.85, 0.48, 0.30))),
    "rust": NamedMaterial(("rusty", "rusty metal"), ("rust", "rusty metal"), _rust, 1.5),
    "red and white stripes": NamedMaterial(("red and white striped",), ("red and white stripes",), _stripes("red", "white")),
    "blue and white stripes": NamedMaterial(("blue and white striped", "striped"), ("blue and white stripes",), _stripes("blue", "white")),
    "black and white stripes": NamedMaterial(("black and white striped", "zebra striped"), ("black and white stripes",), _stripes("black", "white")),
    "yellow and black stripes": NamedMaterial(("yellow and black striped",), ("yellow and black stripes",), _stripes("yellow", "black")),
    "white dots on red": NamedMaterial(("red polka dot", "red dotted"), ("red with white dots",), _dots("red", "white")),
    "white dots on blue": NamedMaterial(("blue polka dot", "polka dot"), ("blue with white dots",), _dots("blue", "white")),
    "pink dots on white": NamedMaterial(("white polka dot", "dotted"), ("white with pink dots",), _dots("white", "pink")),
    "black and white checks": NamedMaterial(("black and white checkered", "checkered"), ("black and white checkerboard",), _checkered("black", "white")),
    "red and yellow checks": NamedMaterial(("red and yellow checkered",), ("red and yellow checkerboard",), _checkered("red", "yellow")),
    "cow": NamedMaterial(("black and white spotted", "cow spotted"), ("black and white cow spots", "cow hide"), _patches((0.94, 0.93, 0.90), (0.10, 0.09, 0.09), 1.9, 0.47), 2.0),
    "brown cow": NamedMaterial(("brown and white spotted",), ("brown and white cow spots",), _patches((0.94, 0.92, 0.88), (0.48, 0.27, 0.13), 1.9, 0.47)),
    "leopard": NamedMaterial(("leopard spotted", "leopard"), ("leopard fur", "leopard print"), _patches((0.90, 0.68, 0.32), (0.22, 0.13, 0.06), 5.5, 0.38)),
    "giraffe": NamedMaterial(("giraffe patterned",), ("giraffe skin",), _patches((0.95, 0.84, 0.58), (0.62, 0.36, 0.14), 3.2, 0.55)),
    "camouflage": NamedMaterial(("camouflage", "army camouflage"), ("camouflage",), _patches((0.45, 0.47, 0.27), (0.22, 0.26, 0.13), 2.8, 0.48)),
    "brown fur": NamedMaterial(("furry brown", "furry"), ("brown fur", "fur"), _fur((0.66, 0.44, 0.24), (0.32, 0.19, 0.09)), 1.5),
    "white fur": NamedMaterial(("fluffy white", "woolly"), ("white wool", "white fur"), _fur((0.97, 0.96, 0.94), (0.72, 0.71, 0.69))),
    "lava": NamedMaterial(("lava", "glowing lava"), ("lava",), _lava, 1.5),
    "ice": NamedMaterial(("ice", "frozen", "icy"), ("ice",), _ice, 1.5),
    "rainbow": NamedMaterial(("rainbow", "rainbow colored", "colorful"), ("rainbow colors",), _rainbow, 1.5),
    "wool": NamedMaterial(("knitted", "knitted wool"), ("wool", "knitted wool"), _knitted),
    "chocolate": NamedMaterial(("chocolate",), ("chocolate",), _chocolate, 1.2),
    "sand": NamedMaterial(("sandstone", "sand"), ("sand", "sandstone"), _sand),
    "leaves": NamedMaterial(("leafy", "leafy green"), ("green leaves", "leaves"), _leaves((0.09, 0.28, 0.07), (0.42, 0.66, 0.20))),
    "autumn leaves": NamedMaterial(("autumn leaf covered",), ("autumn leaves",), _leaves((0.66, 0.20, 0.06), (0.95, 0.66, 0.15)), 0.6),
}  # fmt: skip


def shade(surface: Surface, normals: Array, towards_eye: Array, light: Array) -> Array:
    """One lamp, a bright sky and a highlight: sRGB [N, 3]. Normals, eye and light directions are unit vectors in one frame, +Z up."""
    lit = np.clip(normals @ light, 0.0, 1.0)
    sky = 0.5 + 0.5 * normals[:, 2]
    brightness = 0.42 + 0.20 * sky + 0.46 * lit
    halfway = towards_eye + light
    halfway /= np.linalg.norm(halfway, axis=1, keepdims=True) + 1e-9
    highlight = surface.gloss * np.clip((normals * halfway).sum(1), 0.0, 1.0) ** 24
    colour = surface.albedo * brightness[:, None]
    if surface.metal:
        # A metal shows its surroundings in its own colour: a made-up room with a bright ceiling and a dark horizon.
        mirrored = 2.0 * (normals * towards_eye).sum(1, keepdims=True) * normals - towards_eye
        room = 0.45 + 0.75 * _step(mirrored[:, 2], 0.18, 0.22) - 0.22 * _step(-mirrored[:, 2], 0.3, 0.3) * 1.0
        colour = surface.albedo * room[:, None]
    return np.clip(colour + 0.55 * highlight[:, None], 0.0, 1.0)
