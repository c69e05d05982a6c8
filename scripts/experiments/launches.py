#!/usr/bin/env python3
"""What a step asks of a graphics card beside the network, counted without one; prints JSON.

    scripts/experiments/launches.py [--steps 8] [--size 512] [--kinds texture cylinder]

Launches of operations, waits of the processor for the card (numbers that are read, copies to main memory, sizes that
depend on values), copies and their bytes, on a make-believe card (`make_believe.py`). A run of each kind, eight views
of the duck, Stable Diffusion's latents: the median step, and the dearest one (where views meet in RGB). Network and
autoencoder are stand-ins of one operation or two, so what is counted is ddrep's own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent))
from make_believe import CARD, card

import ddrep_core as dd
from ddrep_core.diffreps.image_texture import ImageTextureDiffrep
from ddrep_core.diffreps.panorama import CylinderDiffrep, SphereDiffrep
from ddrep_core.diffreps.texture import TextureDiffrep
from ddrep_core.priors import levels
from ddrep_core.priors.diffusers_prior import DiffusersPrior
from ddrep_core.priors.prompts import TextEmbedding

FACTOR, VIEWS = 8, 8
KINDS = ("texture", "meeting", "cylinder", "sphere")
SCHEDULER = {
    "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000, "prediction_type": "epsilon",
}  # fmt: skip


class Network:
    """Stands for a U-Net: one operation."""

    hears: frozenset[str] = frozenset()
    listener = None
    told_guidance = False

    def __call__(self, x: torch.Tensor, timesteps: torch.Tensor, text: Any, controls: Any) -> torch.Tensor:
        return 0.9 * x

    def row_bytes(self, height: int, width: int) -> float:
        return 1.0


class Autoencoder:
    """Stands for Stable Diffusion's: colours are three of the latents, enlarged."""

    channels, factor, scaling_factor, rests = 4, FACTOR, 1.0, False
    watch = SimpleNamespace(look=lambda: None, settle=lambda: None)

    def make_room(self) -> None:
        return

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        colours = latents[:, :3].repeat_interleave(FACTOR, 2, output_size=FACTOR * latents.shape[2])
        return colours.repeat_interleave(FACTOR, 3, output_size=FACTOR * latents.shape[3]).clamp(0, 1)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        small = functional.avg_pool2d(images.to(CARD), FACTOR)
        return torch.cat([small, small[:, :1]], 1)


def make_prior(cells: int) -> DiffusersPrior:
    """Stable Diffusion's levels and latents around the stand-ins."""

    def words(text: str, **told: Any) -> TextEmbedding:
        return TextEmbedding(torch.zeros(1, 77, 8).to(CARD), None)

    return DiffusersPrior(
        name="stand-in", network=Network(), levels=levels.diffusion_levels(SCHEDULER), prompt_encoder=words,
        autoencoder=Autoencoder(), latent_size=(cells, cells), device=CARD, dtype=torch.float32, max_batch=64,
    )  # type: ignore[arg-type]  # fmt: skip


def make_rep(kind: str, prior: DiffusersPrior, count: int = VIEWS) -> tuple[Any, Any]:
    """A representation on the card, and its cameras."""
    shape = prior.image_shape
    if kind == "cylinder":
        return CylinderDiffrep(shape, device=CARD), None
    if kind == "sphere":
        return SphereDiffrep(shape, device=CARD), None
    mesh = dd.load_mesh(dd.demo_mesh_path())
    size = prior.image_size
    views = dd.orbit_views(count, target=mesh, width=size, height=size)
    if kind == "texture":
        return TextureDiffrep(mesh, views, 512, 4, view_size=shape[1:], texels_per_pixel=0.25, device=CARD), views
    return ImageTextureDiffrep(mesh, views, prior, 512, device=CARD), views


def count(kind: str, steps: int, cells: int, views: int = VIEWS) -> dict[str, Any]:
    """Of every step of a run but the first, which builds what is kept."""
    with card() as counts:
        prior = make_prior(cells)
        rep, cameras = make_rep(kind, prior, views)
        found: list[Counter[str]] = []
        before = Counter(counts)

        def listen(step: Any) -> None:
            now = Counter(counts)
            found.append(now - before)
            before.clear()
            before.update(now)

        dd.sample(
            rep, prior, cameras, prompt="a duck", guidance_scale=7.5, schedule=dd.ddim_schedule(prior.sigmas, steps),
            callback=listen,
        )  # fmt: skip
    names = sorted({name for each in found[1:] for name in each})
    return {
        "steps": len(found),
        "median": {name: statistics.median([each[name] for each in found[1:]]) for name in names},
        "dearest": {name: max(each[name] for each in found[1:]) for name in names},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--size", type=int, default=512, help="pixels along a side")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options = parser.parse_args()
    report = {kind: count(kind, options.steps, options.size // FACTOR) for kind in options.kinds}
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
