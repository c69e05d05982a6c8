#!/usr/bin/env python3
"""Motion from one picture: the figures of docs/forward_models.md, on objects that the model never saw.

scripts/experiments/motion.py [--prior FOLDER] [--clips 60] [--samples 4] [--sheet SHEET.png]

Wants the objects that scripts/forward_models/prepare.py renders. The baseline is the same network, told the picture and
nothing else: the deterministic guess that it was taught beside. How far things go is the mean over the object's pixels;
a direction is that of their mean, where that is at least a pixel, and its entropy is over eight of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts" / "forward_models")]

from clips import PHASES, SIDE, Clips, make_clips  # noqa: E402
from work import work_folder  # noqa: E402

from ddrep_core.forward_models import draw_signals  # noqa: E402
from ddrep_core.forward_models.motion_network import MOTION  # noqa: E402
from ddrep_core.forward_models.motion_prior import MIDDLE, MotionPrior, load_motion_prior  # noqa: E402
from ddrep_core.pictures import to_bytes  # noqa: E402
from ddrep_core.schedules.named import ddim_schedule  # noqa: E402

STEPS, BINS, GOES, MANY = 25, 8, 1.0, 480  # GOES: pixels; MANY: clips


def load(name: str, count: int, seed: int) -> Clips:
    """Clips of objects that no part has."""
    pictures = np.load(work_folder() / f"objects_{SIDE}" / f"{name}.npz")["pictures"]
    sprites = torch.from_numpy(pictures).flatten(0, 1).float() / 255
    generator = torch.Generator().manual_seed(seed)
    return make_clips(sprites[torch.randperm(len(sprites), generator=generator)[:count]], generator)


def drawn(prior: MotionPrior, clips: Clips, samples: int, eta: float) -> Tensor:
    """[N, S, 9, h, w] signals of samples, each given the first picture of its clip."""
    told = (clips.pictures[:, 0] - MIDDLE).repeat_interleave(samples, 0)
    known = prior.given({0: told}, prior.targets)
    found = draw_signals(known, len(told), order="joint", schedule=ddim_schedule(prior.sigmas, STEPS), eta=eta)
    return found.signals.unflatten(0, (-1, samples))


def guessed(prior: MotionPrior, clips: Clips) -> Tensor:
    """[N, 9, h, w] the signals that the network guesses without noise."""
    seen = torch.zeros_like(clips.pictures)
    seen[:, 0] = clips.pictures[:, 0] - MIDDLE
    levels = torch.full(seen.shape[:2], torch.inf)
    levels[:, 0] = 0
    return prior.denoise(seen, levels)


def mean_motion(motion: Tensor, object_: Tensor) -> tuple[Tensor, Tensor]:
    """[N] how far an object's pixels go on average, and [N, 2] where to, of motion [N, 2, h, w]."""
    area = object_.sum((1, 2, 3)).clamp_min(1)
    length = (motion.norm(dim=1, keepdim=True) * object_).sum((1, 2, 3)) / area
    return length, (motion * object_).sum((2, 3)) / area[:, None]


def directions(vectors: Tensor) -> Tensor:
    """[BINS] how often each direction, from the right downwards, among vectors [N, 2] that go somewhere."""
    going = vectors[vectors.norm(dim=1) > GOES]
    angle = torch.atan2(going[:, 1], going[:, 0])
    bins = (angle / (2 * torch.pi / BINS)).round().long() % BINS
    return torch.bincount(bins, minlength=BINS) / max(1, len(going))


def entropy(shares: Tensor) -> float:
    """In nats."""
    return float(-(shares * shares.clamp_min(1e-12).log()).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", default="bundled")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--eta", type=float, default=0.0)
    parser.add_argument("--sets", nargs="+", default=["fresh", "held_out"])
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    prior = load_motion_prior(arguments.prior)
    print("| | how far, pixels | of the truth's | directions: right, down, left, up | their entropy | go somewhere |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in arguments.sets:
        clips = load(name, arguments.clips, 5)
        begun = time.process_time()
        signals = drawn(prior, clips, arguments.samples, arguments.eta)
        seconds = (time.process_time() - begun) / signals[:, :, 0, 0, 0].numel()
        many = load(name, MANY, 6)  # what directions the data have wants more than a few clips
        rows = {
            "truth": (clips.motion, clips),
            "samples": (signals[:, :, MOTION].flatten(0, 1), clips),
            f"truth of {MANY}": (many.motion, many),
            f"deterministic, of {MANY}": (guessed(prior, many)[:, MOTION], many),
        }
        for what, (motion, of) in rows.items():
            truth = float(mean_motion(of.motion, of.object)[0].mean())
            length, vectors = mean_motion(motion, of.object.repeat_interleave(len(motion) // len(of.object), 0))
            shares, far = directions(vectors), float(length.mean())
            going = float((vectors.norm(dim=1) > GOES).float().mean())
            print(
                f"| {name}, {what} | {far:.2f} | {far / truth:.2f} | {', '.join(f'{x:.2f}' for x in shares[::2])} "
                f"| {entropy(shares):.2f} | {going:.2f} |",
                flush=True,
            )
        print(f"{seconds:.2f} s a sample")
        if arguments.sheet:
            sheet(
                prior,
                clips,
                guessed(prior, clips),
                signals,
                arguments.sheet.with_stem(f"{arguments.sheet.stem}_{name}"),
            )


def sheet(prior: MotionPrior, clips: Clips, guess: Tensor, signals: Tensor, path: Path, count: int = 10) -> None:
    """For each clip: its first picture, its last, the guess's last, each sample's last."""
    last = torch.tensor([len(PHASES) - 1])
    ends = prior.forward(signals[:count].flatten(0, 1), last)[:, 0].unflatten(0, (count, -1)) + MIDDLE
    shown = torch.cat(
        [clips.pictures[:count, [0, -1]], prior.forward(guess[:count], last) + MIDDLE, ends], 1
    )  # N K 3 h w
    n, k, _, h, w = shown.shape
    picture = Image.fromarray(to_bytes(shown.permute(0, 3, 1, 4, 2).reshape(n * h, k * w, 3).numpy()))
    picture.resize((k * w * 3, n * h * 3), Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    main()
