"""Write the training pictures of one configuration: `data/{emoji,landscapes,surfaces,renders_NN}.npz`, facts beside."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import rendering
from captions import Facts
from configuration import Configuration, load_configuration, work_folder
from emoji import load_emoji
from landscapes import LANDS, landscape_picture
from materials import MATERIALS
from pictures import emoji_picture, surface_picture
from shapes import KINDS, build_geometry

Array = np.ndarray
Sample = tuple[Array, Array, Facts]


def packages_folder(configuration: Configuration) -> Path:
    return work_folder(configuration).parent / "npm" / "node_modules"


def emoji_samples(configuration: Configuration) -> Iterable[Sample]:
    """Every emoji `emoji_variants` times: two in five as it is, one recoloured, two of another material."""
    modes = ("plain", "material", "plain", "material", "recoloured")
    for index, emoji in enumerate(load_emoji(packages_folder(configuration), 2 * configuration.image_size)):
        random = np.random.default_rng([configuration.seed, 1, index])
        for variant in range(configuration.emoji_variants):
            yield emoji_picture(emoji, configuration.image_size, modes[variant % len(modes)], random)


def surface_samples(configuration: Configuration) -> Iterable[Sample]:
    names = list(MATERIALS)
    for index in range(configuration.surface_pictures):
        random = np.random.default_rng([configuration.seed, 2, index])
        yield surface_picture(names[index % len(names)], configuration.image_size, random)


def landscape_samples(configuration: Configuration) -> Iterable[Sample]:
    names = list(LANDS)
    for index in range(configuration.landscape_pictures):
        random = np.random.default_rng([configuration.seed, 4, index])
        yield landscape_picture(names[index % len(names)], configuration.image_size, random)


def render_samples(configuration: Configuration, first: int, count: int) -> Iterable[Sample]:
    """Objects number `first` on of every kind: one geometry a (kind, number), so that more can be added later."""
    for index, kind in enumerate(KINDS):
        for number in range(first, first + max(1, round(count * KINDS[kind].weight))):
            random = np.random.default_rng([configuration.seed, 3, index, number])
            geometry = build_geometry(kind, random)
            yield from rendering.render_samples(
                kind,
                geometry,
                configuration.views_per_geometry,
                configuration.materials_per_view,
                configuration.image_size,
                random,
            )


def write_part(configuration: Configuration, part: str, samples: Iterable[Sample]) -> int:
    """Store samples as bytes; the file appears only when it is whole."""
    folder = work_folder(configuration) / "data"
    folder.mkdir(exist_ok=True)
    pictures, depths, facts = [], [], []
    for picture, depth, fact in samples:
        pictures.append(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))
        depths.append(np.rint(np.clip(depth, 0, 1) * 255).astype(np.uint8))
        facts.append(fact.as_json())
    unfinished = folder / f"{part}.unfinished.npz"
    np.savez(unfinished, pictures=np.stack(pictures), depths=np.stack(depths))
    (folder / f"{part}.json").write_text(json.dumps(facts))
    unfinished.rename(folder / f"{part}.npz")
    return len(facts)


def render_part_name(number: int) -> str:
    return f"renders_{number:02d}"


def parts(configuration: Configuration) -> list[str]:
    """The parts that are there, in a fixed order."""
    return sorted(
        path.stem for path in (work_folder(configuration) / "data").glob("*.npz") if "unfinished" not in path.name
    )


def load_part(configuration: Configuration, part: str) -> tuple[Array, Array, list[Facts]]:
    """Pictures uint8 [N, S, S, 3], depths uint8 [N, S, S] and facts, in their order."""
    folder = work_folder(configuration) / "data"
    with np.load(folder / f"{part}.npz") as data:
        pictures, depths = data["pictures"], data["depths"]
    return pictures, depths, [Facts.from_json(item) for item in json.loads((folder / f"{part}.json").read_text())]


def main() -> None:
    """Write every part that is not there yet; the parts of renders are made by as many processes as there are cores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configuration")
    configuration = load_configuration(parser.parse_args().configuration)
    present = set(parts(configuration))
    names = [
        "surfaces",
        "landscapes",
        "emoji",
        *(render_part_name(number) for number in range(configuration.render_parts)),
    ]
    with ProcessPoolExecutor() as pool:
        for message in pool.map(
            _write_named, [configuration] * len(names), [name for name in names if name not in present]
        ):
            print(message, flush=True)


def _write_named(configuration: Configuration, part: str) -> str:
    start = time.monotonic()
    if part == "emoji":
        samples = emoji_samples(configuration)
    elif part == "surfaces":
        samples = surface_samples(configuration)
    elif part == "landscapes":
        samples = landscape_samples(configuration)
    else:
        number, per_part = int(part.rsplit("_", 1)[1]), configuration.geometries_per_kind
        samples = render_samples(configuration, number * per_part, per_part)
    count = write_part(configuration, part, samples)
    return f"{part}: {count} pictures in {time.monotonic() - start:.0f} s"


if __name__ == "__main__":
    main()
