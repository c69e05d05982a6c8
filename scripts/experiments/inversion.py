#!/usr/bin/env python3
"""A patch to several latents of a small generator: the table of docs/forward_models.md.

scripts/experiments/inversion.py [--pictures 6000] [--steps 2500] [--sheet SHEET.png]

The generator is a decoder of 16 numbers to pictures of 16 × 16, taught as a variational autoencoder on views of the
objects that scripts/forward_models/prepare.py renders. What is known is the upper left quarter.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np
import torch
from fields_common import kernel_inception_distance
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts" / "forward_models")]

from work import work_folder  # noqa: E402

from ddrep_core.features import PictureFeatures  # noqa: E402
from ddrep_core.forward_models import (  # noqa: E402
    ForwardPrior,
    ObservationLesson,
    SignalNetwork,
    draw_signals,
    learn_signals,
)
from ddrep_core.forward_models.draw import means  # noqa: E402
from ddrep_core.forward_models.field import on_white, seen_as  # noqa: E402
from ddrep_core.forward_models.inversion import Patches, quarters, refined  # noqa: E402
from ddrep_core.pictures import to_bytes  # noqa: E402
from ddrep_core.priors.protocol import karras_sigmas  # noqa: E402
from ddrep_core.schedules.named import ddim_schedule  # noqa: E402
from ddrep_core.training.denoiser import started  # noqa: E402

SIDE, LATENT, CHANNELS = 16, 16, 4
NOISES = (0.02, 0.1, 0.3)  # of what is known; the second is what the generator was taught under


class Decoder(nn.Module):
    """[B, 4, 16, 16] of latents [B, 16]."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(LATENT, 192), nn.SiLU(), nn.Linear(192, 256), nn.SiLU(), nn.Linear(256, CHANNELS * SIDE**2)
        )

    def forward(self, latents: Tensor) -> Tensor:
        return 0.3 * self.network(latents).unflatten(1, (CHANNELS, SIDE, SIDE))


def pictures(count: int) -> Tensor:
    """[N, 4, 16, 16] views of rendered objects, in a random order."""
    parts = sorted((work_folder() / "objects_32").glob("part_*.npz"))
    every = np.concatenate([np.load(path)["pictures"] for path in parts]).reshape(-1, CHANNELS, 32, 32)
    chosen = np.random.default_rng(0).permutation(len(every))[:count]
    values = functional.avg_pool2d(torch.from_numpy(every[chosen]).float() / 255, 2)
    return seen_as(values[:, :3], values[:, 3:])


def taught_generator(data: Tensor, steps: int, source: torch.Generator) -> Decoder:
    """By a variational autoencoder's bound, every number of a picture under noise of 0.1."""
    decoder = started(Decoder, source)
    encoder = started(
        lambda: nn.Sequential(nn.Linear(CHANNELS * SIDE**2, 256), nn.SiLU(), nn.Linear(256, 2 * LATENT)), source
    )
    optimizer = torch.optim.Adam([*decoder.parameters(), *encoder.parameters()], 2e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - 0.95 * step / steps)
        batch = data[torch.randint(len(data), (128,), generator=source)]
        mean, log = encoder(batch.flatten(1)).chunk(2, 1)
        latents = mean + (log / 2).exp() * torch.randn(mean.shape, generator=source)
        error = (decoder(latents) - batch).square().flatten(1).sum(1) / (2 * 0.1**2)
        divergence = 0.5 * (mean.square() + log.exp() - 1 - log).sum(1)
        loss = (error + divergence).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return decoder.requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=6000)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source, begun = torch.Generator().manual_seed(0), time.process_time()
    generator = taught_generator(pictures(arguments.pictures), arguments.steps, source)
    print(f"generator: {time.process_time() - begun:.0f} s", flush=True)
    forward = Patches(generator, quarters(SIDE // 2), SIDE // 2)
    shape = (CHANNELS, SIDE // 2, SIDE // 2)

    def draw(count: int, source: torch.Generator) -> Tensor:
        return forward.cut(generator(torch.randn(count, LATENT, generator=source)))

    size = CHANNELS * (SIDE // 2) ** 2
    model = started(lambda: SignalNetwork(4, size, LATENT, deviation=0.25, width=192), source)
    lesson = ObservationLesson(steps=arguments.steps, batch=128, learning_rate=1e-3, context_most=3, level=(-1.0, 1.4))
    learn_signals(model, forward, draw, lesson, source)
    print(f"latents' guesser: {time.process_time() - begun:.0f} s", flush=True)
    model.requires_grad_(False)

    count, samples = 60, 4
    truth = generator(torch.randn(count, LATENT, generator=torch.Generator().manual_seed(9)))
    known = forward.cut(truth)[:, 0]
    prior = ForwardPrior(model, forward, 4, shape, sigmas=karras_sigmas(200, sigma_max=8.0))
    guess = torch.stack([means(prior.given({0: each}, (1, 2, 3))) for each in known])
    found = {"deterministic": generator(guess)[:, None]}
    for noise in NOISES:
        found[f"deterministic, refined to {noise:g}"] = generator(refined(forward, guess, {0: known}, noise=noise))[
            :, None
        ]
    told = prior.given({0: known.repeat_interleave(samples, 0)}, (1, 2, 3))
    plan = ddim_schedule(prior.sigmas, 25)
    for order in ("joint", "autoregressive"):
        drawn = draw_signals(told, count * samples, order=order, schedule=plan, eta=0.75)  # pyright: ignore
        found[order] = generator(drawn.signals).unflatten(0, (count, samples))
        told_again = {0: known.repeat_interleave(samples, 0)}
        for noise in NOISES:
            closer = refined(forward, drawn.signals, told_again, noise=noise)
            found[f"{order}, refined to {noise:g}"] = generator(closer).unflatten(0, (count, samples))
    embed = PictureFeatures()

    def features(values: Tensor) -> Tensor:
        return torch.from_numpy(embed(on_white(values).permute(0, 2, 3, 1).numpy()))

    real = features(generator(torch.randn(200, LATENT, generator=torch.Generator().manual_seed(10))))
    print("| | RMS error in the patch | KID of pictures | samples apart: in the patch, elsewhere |")
    print("| --- | --- | --- | --- |")
    for name, values in found.items():
        error = float((forward.cut(values[:, 0])[:, 0] - known).square().mean().sqrt())
        inside, outside = [], []
        for a, b in itertools.combinations(range(values.shape[1]), 2):
            gap = forward.cut(values[:, a] - values[:, b]).square().mean((2, 3, 4))
            inside.append(float(gap[:, 0].mean().sqrt()))
            outside.append(float(gap[:, 1:].mean().sqrt()))
        kid = kernel_inception_distance(features(values[:, 0]), real)
        print(f"| {name} | {error:.4f} | {kid:.4f} | {np.mean(inside or [0]):.4f}, {np.mean(outside or [0]):.4f} |")
    if arguments.sheet:
        rows = torch.cat(
            [truth[:10, None], found["deterministic"][:10], found["autoregressive, refined to 0.1"][:10]], 1
        )
        shown = on_white(rows).permute(0, 3, 1, 4, 2)
        n, h, s, w, _ = shown.shape
        picture = Image.fromarray(to_bytes(shown.reshape(n * h, s * w, 3).numpy()))
        picture.resize((s * w * 6, n * h * 6), Image.Resampling.NEAREST).save(arguments.sheet)


if __name__ == "__main__":
    main()
