"""Fluent Emoji 3D pictures and their names, as RGBA arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from configuration import HERE

Array = np.ndarray


@dataclass(frozen=True)
class Emoji:
    """One picture: `rgba` is [H, W, 4] float32 in [0, 1], sRGB, alpha straight."""

    names: tuple[str, ...]
    rgba: Array
    view: str | None = None
    """The words for the side it shows, where it shows one."""


def _lines() -> list[tuple[str, tuple[str, ...], str | None]]:
    """CLDR names, the words of prompts, and the side that is shown, in the order of the list."""
    result = []
    for line in (HERE / "emoji_objects.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            line, _, view = line.partition("@")
            label, _, words = line.partition("=")
            names = tuple(name.strip() for name in (words or label).lower().split("|"))
            result.append((label.strip().lower(), names, view.strip() or None))
    return result


def emoji_names(count: int) -> list[str]:
    """What the first so many are called."""
    return [names[0] for _, names, _ in _lines()[:count]]


def load_emoji(packages: Path, size: int) -> list[Emoji]:
    """The objects of `emoji_objects.txt`, in its order; raises KeyError where a name is in no package."""
    entries = json.loads((packages / "emojibase-data" / "en" / "data.json").read_text())
    codes = {entry["label"].lower(): entry["hexcode"].lower() for entry in entries}
    assets = packages / "@lobehub" / "fluent-emoji-3d" / "assets"
    result = []
    for label, names, view in _lines():
        code = codes[label]
        candidates = [code, code.replace("-fe0f", ""), f"{code}-fe0f"]
        path = next((assets / f"{name}.webp" for name in candidates if (assets / f"{name}.webp").exists()), None)
        if path is None:
            raise KeyError(f"no picture for {label!r} ({code})")
        picture = Image.open(path).convert("RGBa").resize((size, size), Image.Resampling.BOX).convert("RGBA")
        result.append(Emoji(names, np.asarray(picture, np.float32) / 255.0, view))
    return result
