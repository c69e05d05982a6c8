#!/usr/bin/env python3
"""Cutting objects out of grounds of many colours: the table of docs/forward_models.md.

scripts/experiments/cut_out.py [--sheet SHEET.png]

Renders of objects lie on photographs that come with scikit-image; how well GrabCut finds them again, as intersection
over union, and how often it is believed. Wants OpenCV.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts" / "forward_models")]

import prepare  # noqa: E402
from ddrep_core.jobs.grab_cut import grab_cut  # noqa: E402

KINDS = ("teapot", "pig", "truck", "stool", "rocket", "mug", "apple", "duck")
GROUNDS = (
    "rocket.jpg", "gravel.png", "grass.png", "brick.png", "chelsea.png", "astronaut.png", "motorcycle_left.png",
    "coffee.png",
)  # fmt: skip
SIDE, OBJECT = 160, 112


def ground(name: str) -> np.ndarray:
    """[SIDE, SIDE, 3] the middle of a photograph."""
    picture = Image.open(Path(skimage.__path__[0]) / "data" / name).convert("RGB")
    short = min(picture.size)
    left, top = ((side - short) // 2 for side in picture.size)
    return np.asarray(picture.crop((left, top, left + short, top + short)).resize((SIDE, SIDE)), np.float32) / 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    prepare.PLACES = prepare.PLACES[:1]
    objects = [
        prepare.object_views(kind, OBJECT, np.random.default_rng([9, number]))[0].astype(np.float32) / 255
        for number, kind in enumerate(KINDS)
    ]
    begin = (SIDE - OBJECT) // 2
    window = slice(begin, begin + OBJECT)
    print("| ground | believed | intersection over union of these |\n| --- | --- | --- |")
    rows, every = [], []
    for name in GROUNDS:
        found, shown = [], []
        for each in objects:
            picture, truth = ground(name), np.zeros((SIDE, SIDE), bool)
            picture[window, window] = each[:3].transpose(1, 2, 0) + (1 - each[3][..., None]) * picture[window, window]
            truth[window, window] = each[3] > 0.5
            cut = grab_cut(picture)
            grey = np.full_like(picture, 0.5)
            shown += [picture, grey if cut is None else np.where(cut[..., None] > 0.5, picture, 1)]
            if cut is not None:
                found.append(((cut > 0.5) & truth).sum() / ((cut > 0.5) | truth).sum())
        every += found
        rows.append(np.concatenate(shown, 1))
        print(f"| {name} | {len(found)} of {len(objects)} | {', '.join(f'{x:.2f}' for x in found)} |", flush=True)
    print(f"| all | {len(every)} of {len(objects) * len(GROUNDS)} | mean {np.mean(every):.2f} |")
    if arguments.sheet:
        Image.fromarray((255 * np.concatenate(rows)).astype(np.uint8)).save(arguments.sheet)


if __name__ == "__main__":
    main()
