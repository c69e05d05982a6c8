#!/usr/bin/env python3
"""Objects from one view of them: the figures of docs/forward_models.md, on objects that the model never saw.

scripts/experiments/from_image.py [--prior FOLDER] [--objects 20] [--samples 2] [--order joint autoregressive]
    [--eta 0.75] [--steps 25] [--guidance 1] [--highest 8] [--sheet SHEET.png]

Wants the objects that scripts/forward_models/prepare.py renders. The baseline is the same network, told the context and
nothing else: the deterministic guess that it was taught beside.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts" / "forward_models")]

from fields_common import kernel_inception_distance  # noqa: E402
from work import work_folder  # noqa: E402

from ddrep_core.features import PictureFeatures  # noqa: E402
from ddrep_core.forward_models import draw_signals  # noqa: E402
from ddrep_core.forward_models.draw import Order, means  # noqa: E402
from ddrep_core.forward_models.field import on_white, seen_as  # noqa: E402
from ddrep_core.forward_models.object_prior import SIGMAS, TARGETS, ObjectPrior, load_object_prior  # noqa: E402
from ddrep_core.forward_models.rig import VIEW_COUNT  # noqa: E402
from ddrep_core.pictures import to_bytes  # noqa: E402
from ddrep_core.priors.protocol import karras_sigmas  # noqa: E402
from ddrep_core.schedules.named import ddim_schedule  # noqa: E402

EVERY = torch.arange(VIEW_COUNT)


def load(name: str, count: int, size: int) -> Tensor:
    """[N, V, 4, h, w] objects as a model sees them."""
    pictures = np.load(work_folder() / f"objects_{size}" / f"{name}.npz")["pictures"][:count]
    values = torch.from_numpy(pictures).float() / 255
    return seen_as(values[:, :, :3], values[:, :, 3:])


@dataclass(frozen=True)
class Way:
    """How samples are drawn: see `draw_signals`; `highest` is the level that noise begins at."""

    order: Order
    eta: float
    steps: int
    guidance: float
    highest: float

    def __str__(self) -> str:
        said = f"{self.order}, η {self.eta:g}, {self.steps} steps from {self.highest:g}"
        return said if self.guidance == 1 else f"{said}, guidance {self.guidance:g}"


def drawn(prior: ObjectPrior, truth: Tensor, samples: int, way: Way) -> Tensor:
    """[N, S, V, 4, h, w] what is seen of samples, each given view 0 of its object."""
    told = truth[:, :1].repeat_interleave(samples, 0)[:, 0]
    known = prior.given({0: told}, TARGETS)
    plan = ddim_schedule(karras_sigmas(200, sigma_max=way.highest), way.steps)
    signals = draw_signals(
        known, len(told), order=way.order, schedule=plan, eta=way.eta, guidance_scale=way.guidance
    ).signals
    return prior.forward(signals, EVERY).unflatten(0, (len(truth), samples))


def guessed(prior: ObjectPrior, truth: Tensor) -> Tensor:
    """[N, V, 4, h, w] what is seen of the deterministic guess."""
    found = [means(prior.given({0: each[0]}, TARGETS)) for each in truth]
    return prior.forward(torch.stack(found), EVERY)


def psnr(found: Tensor, truth: Tensor) -> float:
    """Mean over pictures [..., 3, h, w] before white."""
    error = (on_white(found) - on_white(truth)).square().mean((-3, -2, -1))
    return float((-10 * error.clamp_min(1e-8).log10()).mean())


def features(pictures: Tensor) -> Tensor:
    """[N, K, 1280] of K views of each object, [N, K, 4, h, w]."""
    shown = on_white(pictures).flatten(0, 1).permute(0, 2, 3, 1).numpy()
    return torch.from_numpy(embed(shown)).unflatten(0, pictures.shape[:2])


def distance(found: Tensor, real: Tensor) -> float:
    """KID between views of objects as they were found and as they are, features [N, K, D] of the same objects.

    Two views of one object are more alike than two pictures of either law, and a sample is like its own truth: pairs
    within an object are left out, and of the truth against itself nothing is left. (The plain distance, as if all
    pictures were independent, is .15 for the true views of twenty of these objects against those of sixty.)
    """
    others = 1 - torch.eye(len(found))

    def alike(one: Tensor, two: Tensor) -> float:
        pairs = (torch.einsum("nkd,mld->nmkl", one, two) + 1).pow(3).mean((2, 3))
        return float((pairs * others).sum() / others.sum())

    return alike(found, found) + alike(real, real) - 2 * alike(found, real)


def apart(samples: Tensor, view: int) -> float:
    """Root mean square difference of two samples of one object in a view, sRGB before white."""
    seen = on_white(samples[:, :, view])
    pairs = itertools.combinations(range(seen.shape[1]), 2)
    return float(torch.stack([(seen[:, a] - seen[:, b]).square().mean((1, 2, 3)).sqrt() for a, b in pairs]).mean())


def sheet(truth: Tensor, guess: Tensor, samples: Tensor, path: Path, count: int = 8) -> None:
    """For each object: the truth's views, the guess's, each sample's; four views each."""
    views = [0, 1, 2, 5]
    shown = torch.cat([truth[:count, None], guess[:count, None], samples[:count]], 1)[:, :, views]
    picture = on_white(shown).permute(0, 4, 1, 2, 5, 3)  # N h S V w 3
    n, h, s, v, w, _ = picture.shape
    Image.fromarray(to_bytes(picture.reshape(n * h, s * v * w, 3).numpy())).resize(
        (s * v * w * 3, n * h * 3), Image.Resampling.NEAREST
    ).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", default="bundled")
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--order", nargs="+", default=["joint"])
    parser.add_argument("--eta", nargs="+", type=float, default=[0.75])
    parser.add_argument("--steps", nargs="+", type=int, default=[25])
    parser.add_argument("--guidance", nargs="+", type=float, default=[1.0])
    parser.add_argument("--highest", nargs="+", type=float, default=[float(SIGMAS[0])])
    parser.add_argument("--sets", nargs="+", default=["fresh", "held_out"])
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    prior = load_object_prior(arguments.prior)
    print("| | picture's side, PSNR | others, PSNR | the best's | KID of others; plain | apart: front, sides, back |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in arguments.sets:
        truth = load(name, arguments.objects, prior.image_size)
        every, guess = features(load(name, 60, prior.image_size)[:, 1:]), guessed(prior, truth)

        def both(found: Tensor, every: Tensor = every) -> str:
            """Of views [N, K, 4, h, w]."""
            seen = features(found)
            plain = kernel_inception_distance(seen.flatten(0, 1), every.flatten(0, 1))
            return f"{distance(seen, every[: len(seen)]):.3f}; {plain:.3f}"

        print(
            f"| {name}, deterministic | {psnr(guess[:, 0], truth[:, 0]):.2f} | {psnr(guess[:, 1:], truth[:, 1:]):.2f} "
            f"| | {both(guess[:, 1:])} | 0 |",
            flush=True,
        )
        ways = (arguments.order, arguments.eta, arguments.steps, arguments.guidance, arguments.highest)
        for way in itertools.starmap(Way, itertools.product(*ways)):
            begun = time.process_time()
            samples = drawn(prior, truth, arguments.samples, way)
            seconds = (time.process_time() - begun) / samples[:, :, 0, 0, 0, 0].numel()
            each = torch.tensor(
                [[psnr(one[1:], t[1:]) for one in some] for some, t in zip(samples, truth, strict=True)]
            )
            side = (apart(samples, 1) + apart(samples, 3)) / 2
            front = psnr(samples[:, :, 0], truth[:, None, 0].expand_as(samples[:, :, 0]))
            print(
                f"| {name}, {way} | {front:.2f} "
                f"| {float(each.mean()):.2f} | {float(each.max(1).values.mean()):.2f} "
                f"| {both(samples[:, 0, 1:])} "
                f"| {apart(samples, 0):.3f}, {side:.3f}, {apart(samples, 2):.3f} ({seconds:.1f} s a sample) |",
                flush=True,
            )
            if arguments.sheet:
                path = arguments.sheet.with_stem(f"{arguments.sheet.stem}_{name}_{way.order}")
                sheet(truth, guess, samples, path)


if __name__ == "__main__":
    embed = PictureFeatures()
    main()
