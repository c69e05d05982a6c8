"""Training pictures from emoji and from materials alone: turned, mirrored, recoloured, cut from other materials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates, zoom
from skimage.color import hsv2rgb, rgb2hsv

from captions import Facts
from emoji import Emoji
from materials import COLOURS, MATERIALS, shade

Array = np.ndarray
BACKGROUNDS = {
    "white": (1.0, 1.0, 1.0),
    "gray": (0.5, 0.5, 0.5),
    "black": (0.0, 0.0, 0.0),
    "light gray": (0.8, 0.8, 0.8),
} | {name: COLOURS[name] for name in ("blue", "green", "yellow", "pink", "light blue", "beige")}
HUES = {
    "red": 0.0,
    "orange": 0.075,
    "yellow": 0.145,
    "green": 0.34,
    "turquoise": 0.49,
    "blue": 0.61,
    "purple": 0.77,
    "pink": 0.92,
}


def random_background(random: np.random.Generator) -> str:
    """White two times in three: that is what an object is shown on by default."""
    return "white" if random.random() < 0.68 else str(random.choice([name for name in BACKGROUNDS if name != "white"]))


@dataclass(frozen=True)
class Placed:
    """An emoji on a clear canvas: `rgba` is [size, size, 4]; what its caption may have to say of how it lies there."""

    rgba: Array
    mirrored: bool
    small: bool


def placed(rgba: Array, size: int, random: np.random.Generator) -> Placed:
    """The picture turned, scaled, stretched and bent, seldom mirrored, on a clear canvas.

    Few pictures are mirrored, and their captions say so: where half of them were, a short training drew both at once
    (elephants with two trunks). Stretching and bending make of one picture a family: without them a model that has
    seen one elephant can only recite it. How far decides how varied a model can be that draws what it was shown: half
    as much left the spread within a name, on white, at a quarter of that within its category.
    """
    mirrored = bool(random.random() < 0.15)
    fine, stretch = 2 * size, np.exp(random.normal(0.0, 0.13))
    extent = random.uniform(0.55, 0.98 / max(stretch, 1.0 / stretch))
    colours = rgba[:, ::-1] if mirrored else rgba
    premultiplied = colours * np.concatenate([np.repeat(colours[..., 3:], 3, -1), np.ones_like(colours[..., 3:])], -1)
    angle = np.deg2rad(random.normal(0.0, 9.0))
    centre = random.normal(0.0, 0.025, 2)
    rows, columns = (np.mgrid[0:fine, 0:fine] + 0.5) / fine - 0.5
    across, down = columns - centre[0], rows - centre[1]
    bends = [zoom(random.normal(0.0, 0.04, (4, 4)), fine / 4, order=3, mode="nearest", grid_mode=True) for _ in "xy"]
    right = (np.cos(angle) * across + np.sin(angle) * down) / (extent * stretch) + bends[0]
    below = (-np.sin(angle) * across + np.cos(angle) * down) * stretch / extent + bends[1]
    places = [(below + 0.5) * len(rgba) - 0.5, (right + 0.5) * len(rgba) - 0.5]
    drawn = np.stack([map_coordinates(premultiplied[..., channel], places, order=1) for channel in range(4)], -1)
    drawn = drawn.reshape(size, 2, size, 2, 4).mean((1, 3))
    alpha = drawn[..., 3:]
    straight = np.where(alpha > 1e-4, drawn[..., :3] / np.maximum(alpha, 1e-4), 0.0)
    return Placed(np.clip(np.concatenate([straight, alpha], -1), 0.0, 1.0), mirrored, extent < 0.62)


def tinted(rgb: Array, random: np.random.Generator) -> Array:
    """The same colours to a word: hue, saturation and brightness a little off."""
    hsv = rgb2hsv(rgb)
    hsv[..., 0] = (hsv[..., 0] + random.normal(0.0, 0.018)) % 1.0
    hsv[..., 1] = np.clip(hsv[..., 1] * random.uniform(0.8, 1.2), 0.0, 1.0)
    hsv[..., 2] = np.clip(hsv[..., 2] * random.uniform(0.88, 1.06), 0.0, 1.0)
    return hsv2rgb(hsv)


def inflated(mask: Array) -> Array:
    """A silhouette as if it were a pillow: depth-like values, near = bright, in [0, 1] with 0 outside; [H, W]."""
    distance = distance_transform_edt(mask)
    height = np.sqrt(distance / max(float(distance.max()), 1.0))
    return np.where(mask, height, 0.0)


def recoloured(rgb: Array, mask: Array, random: np.random.Generator) -> tuple[Array, str] | None:
    """The picture with its main hue turned to that of a colour word, or None where it has no main hue to turn."""
    hsv = rgb2hsv(rgb)
    weight = hsv[..., 1] * hsv[..., 2] * mask
    if weight.sum() < 0.3 * mask.sum():
        return None
    angle = np.angle((weight * np.exp(2j * np.pi * hsv[..., 0])).sum()) / (2 * np.pi)
    if np.abs((weight * np.exp(2j * np.pi * hsv[..., 0])).sum()) < 0.6 * weight.sum():
        return None
    name = str(random.choice(list(HUES)))
    hsv[..., 0] = (hsv[..., 0] - angle + HUES[name]) % 1.0
    return hsv2rgb(hsv), name


def cut_from_material(rgb: Array, mask: Array, name: str, random: np.random.Generator) -> Array:
    """The same object as if made of a material: its light and dark are kept, its colours are not."""
    height, width = mask.shape
    depth = gaussian_filter(inflated(mask) * 0.6, 1.0)
    luminance = gaussian_filter(rgb @ np.array([0.3, 0.59, 0.11]), 0.5)
    inside = luminance[mask]
    relief = (luminance - inside.mean()) / (inside.std() + 0.05)
    bumped = depth + 0.05 * np.clip(relief, -2, 2)
    down, right = np.gradient(bumped, 2.0 / height, 2.0 / width)
    rows, columns = np.mgrid[0:height, 0:width]
    points = np.stack([columns / width * 2 - 1, -bumped, 1 - rows / height * 2], -1)[mask]
    normals = np.stack([-right, -np.ones_like(right) * 0.9, down], -1)[mask]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    light = np.array([-0.35, -0.6, 0.72])
    surface = MATERIALS[name].surface(points, np.tile([[0.0, -1.0, 0.0]], (len(points), 1)), random)
    result = rgb.copy()
    shaded = shade(surface, normals, np.tile([[0.0, -1.0, 0.0]], (len(points), 1)), light / np.linalg.norm(light))
    result[mask] = np.clip(shaded * (1.0 + 0.16 * np.clip(relief[mask], -2, 2))[:, None], 0.0, 1.0)
    return result


def choose_material(random: np.random.Generator) -> str:
    names = list(MATERIALS)
    weights = np.array([MATERIALS[name].weight for name in names])
    return names[int(random.choice(len(names), p=weights / weights.sum()))]


def emoji_picture(emoji: Emoji, size: int, mode: str, random: np.random.Generator) -> tuple[Array, Array, Facts]:
    """One picture of an emoji: sRGB [size, size, 3], depth [size, size] in [0, 1], and what can be said of it.

    `mode` is "plain", "recoloured" or "material".
    """
    place = placed(emoji.rgba, size, random)
    rgb, alpha = place.rgba[..., :3], place.rgba[..., 3]
    mask = alpha > 0.35
    adjectives: tuple[str, ...] = ()
    nouns: tuple[str, ...] = ()
    material = ""
    if mode == "plain":
        rgb = tinted(rgb, random)
    elif mode == "recoloured":
        turned = recoloured(rgb, mask, random)
        if turned is not None:
            rgb, colour = turned
            adjectives = (colour,)
    elif mode == "material":
        material = choose_material(random)
        # Pure paint keeps no detail of the object: colour words are better served by turning hues.
        rgb = cut_from_material(rgb, mask, material, random)
        adjectives, nouns = MATERIALS[material].adjectives, MATERIALS[material].nouns
    background = random_background(random)
    colour_of_ground = np.array(BACKGROUNDS[background])
    picture = rgb * alpha[..., None] + colour_of_ground * (1.0 - alpha[..., None])
    low = random.uniform(0.1, 0.6)
    depth = np.where(mask, low + (1.0 - low) * inflated(mask), 0.0)
    facts = Facts(
        "emoji",
        emoji.names,
        adjectives,
        nouns,
        emoji.view,
        background,
        group=emoji.names[0],
        material=material,
        mirrored=place.mirrored,
        small=place.small,
    )
    return picture, depth, facts


def surface_picture(name: str, size: int, random: np.random.Generator) -> tuple[Array, Array, Facts]:
    """A flat, evenly lit piece of a material that fills the picture; its depth is an even plane."""
    rows, columns = np.mgrid[0 : 2 * size, 0 : 2 * size] / size - 1.0
    zoom = random.uniform(0.7, 1.3)
    points = np.stack([columns.ravel() * zoom, np.zeros(rows.size), -rows.ravel() * zoom], 1) + random.uniform(-2, 2, 3)
    normals = np.tile([[0.0, -1.0, 0.0]], (len(points), 1))
    albedo = MATERIALS[name].surface(points, normals, random).albedo.reshape(size, 2, size, 2, 3).mean((1, 3))
    facts = Facts("surface", (name,), (), MATERIALS[name].nouns, None, "none", group=name, material=name)
    return albedo * random.uniform(0.85, 1.0), np.full((size, size), random.uniform(0.4, 0.9)), facts
