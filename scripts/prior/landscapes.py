# ruff: noqa: E501 - tables of colours read best with one landscape a line
"""Landscapes for panoramas: whole procedural worlds, functions of a direction, seen by a camera that stands in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from captions import Facts
from materials import fractal_noise

Array = np.ndarray
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Sky:
    """Colours from the horizon up, in sRGB; what is said of it; how much of it clouds cover; how bright the land is."""

    words: str
    horizon: Colour
    zenith: Colour
    clouds: float
    cloud: Colour
    light: Colour
    stars: bool = False


SKIES = {
    "day": Sky("under a blue sky", (0.80, 0.91, 0.98), (0.22, 0.50, 0.90), 0.12, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    "cloudy": Sky("under a cloudy sky", (0.86, 0.89, 0.92), (0.45, 0.58, 0.74), 0.62, (0.93, 0.94, 0.95), (0.84, 0.87, 0.9)),
    "sunset": Sky("at sunset", (1.0, 0.66, 0.34), (0.36, 0.28, 0.58), 0.25, (0.98, 0.58, 0.50), (0.95, 0.68, 0.56)),
    "night": Sky("at night", (0.12, 0.16, 0.32), (0.02, 0.03, 0.11), 0.0, (0.1, 0.1, 0.2), (0.24, 0.28, 0.44), True),
}  # fmt: skip
SKY_CHANCES = {"day": 0.42, "cloudy": 0.23, "sunset": 0.2, "night": 0.15}


@dataclass(frozen=True)
class Ridge:
    """One skyline around the horizon: mean height and roughness in radians, and its colour."""

    height: float
    roughness: float
    waves: float
    colour: Colour
    snow: float = 9.0
    """Height above which it is white."""
    boxes: bool = False


@dataclass(frozen=True)
class Land:
    """One kind of landscape: its names, the ground's two colours and grain, skylines from far to near."""

    names: tuple[str, ...]
    low: Colour
    high: Colour
    grain: float
    ridges: tuple[Ridge, ...]
    water: bool = False


LANDS = {
    "mountain landscape": Land(
        ("mountain landscape", "mountains"), (0.28, 0.50, 0.20), (0.48, 0.66, 0.30), 2.5,
        (Ridge(0.34, 0.30, 2.5, (0.50, 0.55, 0.66), 0.38), Ridge(0.16, 0.16, 3.5, (0.34, 0.44, 0.38)), Ridge(0.04, 0.06, 5.0, (0.22, 0.40, 0.22))),
    ),
    "snowy mountains": Land(
        ("snowy mountains", "snowy landscape", "winter landscape"), (0.84, 0.89, 0.96), (0.97, 0.98, 1.0), 1.2,
        (Ridge(0.36, 0.30, 2.5, (0.46, 0.50, 0.60), 0.26), Ridge(0.13, 0.12, 4.0, (0.80, 0.85, 0.92)), Ridge(0.05, 0.10, 16.0, (0.16, 0.30, 0.26))),
    ),
    "green hills": Land(
        ("green hills", "meadow", "grassy field"), (0.30, 0.58, 0.18), (0.55, 0.76, 0.28), 3.0,
        (Ridge(0.16, 0.14, 1.6, (0.42, 0.62, 0.42)), Ridge(0.07, 0.09, 2.4, (0.34, 0.62, 0.26))),
    ),
    "desert": Land(
        ("desert", "sand dunes"), (0.84, 0.64, 0.36), (0.95, 0.79, 0.50), 1.6,
        (Ridge(0.14, 0.14, 2.0, (0.80, 0.55, 0.36)), Ridge(0.05, 0.08, 3.0, (0.88, 0.67, 0.40))),
    ),
    "sea": Land(("sea", "ocean"), (0.05, 0.28, 0.52), (0.18, 0.52, 0.72), 2.2, (), True),
    "island": Land(
        ("island", "tropical beach", "beach"), (0.10, 0.45, 0.62), (0.30, 0.70, 0.78), 2.0,
        (Ridge(0.00, 0.22, 1.6, (0.24, 0.46, 0.26)), Ridge(-0.02, 0.13, 1.6, (0.93, 0.84, 0.62))), True,
    ),
    "forest": Land(
        ("forest", "forest clearing", "woods"), (0.20, 0.38, 0.14), (0.36, 0.52, 0.20), 3.5,
        (Ridge(0.40, 0.26, 9.0, (0.20, 0.40, 0.24)), Ridge(0.24, 0.30, 14.0, (0.10, 0.28, 0.13))),
    ),
    "city skyline": Land(
        ("city skyline", "city"), (0.40, 0.41, 0.44), (0.54, 0.55, 0.57), 1.5,
        (Ridge(0.34, 0.46, 7.0, (0.56, 0.62, 0.70), boxes=True), Ridge(0.14, 0.34, 9.0, (0.38, 0.42, 0.50), boxes=True)),
    ),
}  # fmt: skip


def landscape(land: Land, sky: Sky, random: np.random.Generator) -> Callable[[Array], tuple[Array, Array]]:
    """A world: unit directions [N, 3], Z up, to sRGB [N, 3] and nearness [N] in [0, 1] (the sky 0)."""
    seeds = [int(value) for value in random.integers(0, 1 << 20, 4 + len(land.ridges))]
    tint = random.normal(0.0, 0.025, 3)
    sun = random.uniform(0.0, 2 * np.pi)
    light = np.array(sky.light)

    def colours(directions: Array) -> tuple[Array, Array]:
        up = directions[:, 2]
        level = np.arcsin(np.clip(up, -1.0, 1.0))
        around = np.stack([directions[:, 0], directions[:, 1], np.zeros_like(up)], 1)
        around /= np.maximum(np.linalg.norm(around, axis=1, keepdims=True), 1e-6)
        result = _sky(directions, level, sky, sun, seeds)
        near = np.zeros(len(up))
        for number, ridge in enumerate(land.ridges):
            top = ridge.height + ridge.roughness * (_skyline(around, ridge, seeds[4 + number]) - 0.5)
            inside = (level < top) & (level > -0.2)
            colour = np.broadcast_to(np.array(ridge.colour) + tint, (len(up), 3)) * light
            detail = fractal_noise(np.stack([around[:, 0] * 9, around[:, 1] * 9, level * 14], 1), seeds[0] + number, 2)
            colour = colour * (0.8 + 0.4 * detail)[:, None]
            colour = np.where((level + 0.1 * (detail - 0.5) > ridge.snow)[:, None], light * 0.97, colour)
            if ridge.boxes:
                lit = _windows(around, level, seeds[1] + number)
                colour = np.where(lit[:, None], np.array((0.98, 0.86, 0.5)) if sky.stars else colour * 1.35, colour)
            # Air takes the horizon's colour the farther the skyline is.
            haze = 0.35 * (len(land.ridges) - number) / max(len(land.ridges), 1)
            result = np.where(inside[:, None], (1 - haze) * colour + haze * np.array(sky.horizon), result)
            near = np.where(inside, 0.12 + 0.08 * number, near)
        below = level < 0.0
        distance = 1.0 / np.maximum(-up, 1e-3)
        points = np.stack([directions[:, 0] * distance, directions[:, 1] * distance, np.zeros_like(up)], 1)
        stretched = points * (np.array([1.0, 2.2, 1.0]) if land.water else 1.0)
        grain = fractal_noise(stretched * land.grain, seeds[2], 3)
        broad = fractal_noise(points * 0.35, seeds[3], 2)
        fade = np.exp(-distance / 9.0)
        share = np.clip(0.5 + (grain - 0.5) * 1.6 * fade + (broad - 0.5) * 0.8, 0.0, 1.0)[:, None]
        ground = (np.array(land.low) * (1 - share) + np.array(land.high) * share + tint) * light
        haze = 0.55 * (1.0 - np.exp(-distance / 18.0))[:, None]
        ground = (1 - haze) * ground + haze * np.array(sky.horizon)
        front = below & ((level < -0.02) | (near == 0.0))
        if land.water:
            front = below & (near == 0.0)
        result = np.where(front[:, None], ground, result)
        near = np.where(front, np.clip(1.0 / distance, 0.05, 1.0), near)
        return np.clip(result, 0.0, 1.0), near

    return colours


def _sky(directions: Array, level: Array, sky: Sky, sun: float, seeds: list[int]) -> Array:
    share = (np.clip(level, 0.0, None) / (np.pi / 2)) ** 0.6
    result = np.array(sky.horizon) * (1 - share)[:, None] + np.array(sky.zenith) * share[:, None]
    if sky.words == SKIES["sunset"].words:
        towards = directions @ np.array([np.cos(sun), np.sin(sun), 0.06])
        glow = np.clip((towards - 0.6) / 0.4, 0.0, 1.0)[:, None] ** 2
        result = result * (1 - 0.6 * glow) + 0.6 * glow * np.array((1.0, 0.83, 0.45))
        result = np.where((towards > 0.995)[:, None], np.array((1.0, 0.95, 0.75)), result)
    if sky.clouds:
        height = np.maximum(directions[:, 2], 0.0) + 0.18
        points = np.stack([directions[:, 0] / height, directions[:, 1] / height, np.zeros_like(height)], 1)
        cover = fractal_noise(points * 1.3, seeds[0], 4)
        edge = 0.72 - 0.45 * sky.clouds
        thick = np.clip((cover - edge) / 0.16, 0.0, 1.0)[:, None]
        result = result * (1 - 0.9 * thick) + 0.9 * thick * np.array(sky.cloud)
    if sky.stars:
        cells = np.floor(directions * 26).astype(np.int64)
        chance = (cells[:, 0] * 73856093 ^ cells[:, 1] * 19349663 ^ cells[:, 2] * 83492791 ^ seeds[1]) % 100
        centre = np.linalg.norm(directions * 26 - cells - 0.5, axis=1) < 0.33
        result = np.where(((chance < 9) & centre)[:, None], 0.95, result)
    return result


def _skyline(around: Array, ridge: Ridge, seed: int) -> Array:
    """Height of a skyline in [0, 1] for each horizontal unit direction: hills and peaks, or a row of boxes."""
    if not ridge.boxes:
        return fractal_noise(around * ridge.waves, seed, 4) * 1.6 - 0.3
    turn = np.arctan2(around[:, 1], around[:, 0]) / (2 * np.pi) + 0.5
    count = int(ridge.waves * 9)
    return np.random.default_rng(seed).random(count)[np.minimum((turn * count).astype(int), count - 1)]


def _windows(around: Array, level: Array, seed: int) -> Array:
    turn = np.arctan2(around[:, 1], around[:, 0])
    column, row = np.floor(turn * 60).astype(np.int64), np.floor(level * 48).astype(np.int64)
    chosen = (column * 73856093 ^ row * 19349663 ^ seed) % 10 < 4
    return chosen & ((turn * 60) % 1 > 0.4) & ((level * 48) % 1 > 0.4)


def camera_rays(size: int, fov_degrees: float, pitch_degrees: float, turn: float) -> Array:
    """[size², 3] unit directions of a level camera's pixels, Z up, rows from the top."""
    half = np.tan(np.deg2rad(fov_degrees) / 2)
    down, right = ((np.mgrid[0:size, 0:size] + 0.5) / size * 2 - 1) * half
    pitch = np.deg2rad(pitch_degrees)
    forward = np.cos(pitch) + down * np.sin(pitch)
    up = np.sin(pitch) - down * np.cos(pitch)
    directions = np.stack(
        [forward * np.cos(turn) + right * np.sin(turn), forward * np.sin(turn) - right * np.cos(turn), up], -1
    ).reshape(-1, 3)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def random_pitch(random: np.random.Generator) -> float:
    """Degrees above the horizon: about level oftenest, then anywhere, now and then straight up or down."""
    chance = random.random()
    if chance < 0.5:
        return float(random.normal(0.0, 7.0))
    if chance < 0.8:
        return float(random.uniform(-60.0, 60.0))
    return float(random.choice([-1.0, 1.0]) * random.uniform(60.0, 90.0))


def looking(pitch_degrees: float) -> str | None:
    """The words for a window far above or below the horizon."""
    if abs(pitch_degrees) < 30.0:
        return None
    return "looking up" if pitch_degrees > 0 else "looking down"


def landscape_picture(name: str, size: int, random: np.random.Generator) -> tuple[Array, Array, Facts]:
    """One view of a new world of a kind: sRGB [size, size, 3], nearness [size, size], and what can be said of it."""
    land = LANDS[name]
    sky = SKIES[str(random.choice(list(SKY_CHANCES), p=list(SKY_CHANCES.values())))]
    world = landscape(land, sky, random)
    pitch = random_pitch(random)
    rays = camera_rays(2 * size, random.uniform(42.0, 95.0), pitch, random.uniform(0.0, 2 * np.pi))
    colours, near = world(rays)
    picture = colours.reshape(size, 2, size, 2, 3).mean((1, 3))
    facts = Facts("landscape", land.names, (), (sky.words,), looking(pitch), "none", group=name)
    return picture, near.reshape(size, 2, size, 2).mean((1, 3)), facts
