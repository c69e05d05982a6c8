#!/usr/bin/env python
"""What a detail pass adds, what it leaves as it was, and what it costs: docs/control.md's table.

    python scripts/experiments/detail.py MESH "a golden cow" [MESH PROMPT ...] --out FOLDER     # minutes a mesh
    python scripts/experiments/detail.py MESH "a golden cow" --finer 2048 --out FOLDER  # ddrep detail of one of 1024²

Each mesh is textured with the bundled prior, once, with --detail; the texture before the close-ups is told by a job
without. Figures are of the finished files: both textures are drawn from cameras that neither pass used, as finely as
the texels are, and compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion, gaussian_filter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ddrep_core.features import PerceptualDistance
from ddrep_core.geometry.load import load_mesh
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.wish import wish_of
from ddrep_core.report.renderer import Renderer
from ddrep_core.views import orbit_views

SIDE = 512  # of the pictures that are compared
PRIOR_SIDE = 64  # of the views that the bundled prior sees


def run(mesh: str, prompt: str, out: Path, detail: bool, told: argparse.Namespace) -> tuple[dict, float]:
    """result.json's sample, and the seconds of processor time that the job took."""
    wish = wish_of(
        "texture",
        {"mesh": mesh, "prompt": prompt, "steps": told.steps, "resolution": told.resolution, "detail": detail or None},
    )
    folder = create_job(out, wish.request, copies=wish.copies, overwrite=True)
    start = time.process_time()
    result = run_job(folder.path)
    return json.loads(result.read_text())["samples"][0], time.process_time() - start


def drawn(out: Path) -> NDArray[np.float32]:
    """[4, SIDE, SIDE, 3] the result from between the views of the orbit."""
    mesh = load_mesh(out / "outputs" / "mesh.glb")
    picture = np.asarray(Image.open(out / "outputs" / "texture.png").convert("RGB"), np.float32) / 255
    texture = torch.from_numpy(picture).permute(2, 0, 1)
    renderer = Renderer(mesh, {part.name: texture for part in mesh.textured_parts})
    views = orbit_views(4, (30.0, 5.0), target=mesh, width=SIDE, height=SIDE, start_degrees=22.5)
    return np.stack([renderer.flat(camera, SIDE, SIDE) for camera in views])


def closely(source: Path, out: Path, told: argparse.Namespace) -> tuple[dict, float]:
    """As `run`, of `ddrep detail` of a finished job, at a higher resolution."""
    wish = wish_of("detail", {"source": str(source), "steps": told.steps, "resolution": told.finer})
    folder = create_job(out, wish.request, copies=wish.copies, overwrite=True)
    start = time.process_time()
    result = run_job(folder.path)
    return json.loads(result.read_text())["samples"][0], time.process_time() - start


def finer_than(out: Path, resolution: int) -> float:
    """Root mean square, in grey levels, of what a texture holds that one of so many texels a side cannot."""
    with Image.open(out / "outputs" / "texture.png") as file:
        picture = file.convert("L")
    small = picture.resize((resolution, resolution), Image.Resampling.BOX)
    small = small.resize(picture.size, Image.Resampling.BICUBIC)
    return float(np.sqrt(np.square(np.asarray(picture, np.float32) - np.asarray(small, np.float32)).mean()))


def energy_above(pictures: NDArray[np.float32], side: int) -> float:
    """Root mean square, in grey levels of 255, of what is finer than two pixels of pictures of so many a side; over the
    mesh, away from its outline."""
    grey = pictures.mean(-1)
    inside = (pictures < 1).any(-1)
    blur = SIDE / side / 2
    weight = np.stack([gaussian_filter(each.astype(np.float32), blur) for each in inside])
    low = np.stack([gaussian_filter(each, blur) for each in grey * inside]) / np.maximum(weight, 1e-6)
    deep = np.stack([binary_erosion(each, iterations=round(blur)) for each in inside])
    return float(255 * np.sqrt(((grey - low)[deep] ** 2).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("meshes", nargs="+", help="MESH PROMPT ...")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--resolution", type=int, default=1024)
    parser.add_argument("--finer", type=int, help="close-ups are a job of their own, of a texture of so many texels")
    told = parser.parse_args()
    distance = PerceptualDistance()
    print("| mesh | close-ups | resolved | above the base's band | perceptual | far views | seconds |")
    print("|---" * 7 + "|")
    for mesh, prompt in zip(told.meshes[::2], told.meshes[1::2], strict=True):
        name = Path(mesh).stem
        _, base_seconds = run(mesh, prompt, told.out / f"{name}-base", False, told)
        if told.finer:
            sample, seconds = closely(told.out / f"{name}-base", told.out / f"{name}-detail", told)
            seconds += base_seconds
            held = finer_than(told.out / f"{name}-detail", told.resolution)
            print(f"{name}: finer than {told.resolution} texels: {held:.2f} grey levels", flush=True)
        else:
            sample, seconds = run(mesh, prompt, told.out / f"{name}-detail", True, told)
        base, fine = drawn(told.out / f"{name}-base"), drawn(told.out / f"{name}-detail")
        small, large = (torch.from_numpy(each).permute(0, 3, 1, 2) * 2 - 1 for each in (base, fine))
        perceptual = float(distance(large, small))
        about, by = sample["detail"], sample["detail"]["resolved"]
        above = [energy_above(each, PRIOR_SIDE) for each in (base, fine)]
        print(
            f"| {name}, {prompt} | {about['close_ups']} | {by[0]:.2f} → {by[1]:.2f} | "
            f"{above[0]:.1f} → {above[1]:.1f} | {perceptual:.4f} | {about['far_change']:.4f} | "
            f"{base_seconds:.0f} + {seconds - base_seconds:.0f} |",
            flush=True,
        )
        both = np.concatenate([np.concatenate(list(each), 1) for each in (base, fine)])
        Image.fromarray((both.clip(0, 1) * 255).astype(np.uint8)).save(told.out / f"{name}.png")


if __name__ == "__main__":
    main()
