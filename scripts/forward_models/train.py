"""Teach the network objects from pictures of them alone (losses 8 and 9 of the paper); goes on where it was stopped."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

from teaching import SEED, Teaching, teach  # noqa: E402
from work import work_folder  # noqa: E402

from ddrep_core.forward_models.field import FieldRenderer, seen_as  # noqa: E402
from ddrep_core.forward_models.object_network import ObjectNetwork, ObjectNetworkShape  # noqa: E402
from ddrep_core.forward_models.object_prior import load_object_network  # noqa: E402
from ddrep_core.forward_models.rig import SHOWN, VIEW_COUNT, mirrored, rig_views, turned  # noqa: E402
from ddrep_core.training.denoiser import started  # noqa: E402
from ddrep_core.training.loop import Workers, run_workers  # noqa: E402

BATCH = 16
LEVEL = (-0.4, 1.6)  # mean and deviation of ln σ
DROPPED, DETERMINISTIC, TOLD_MORE = 0.1, 0.15, 0.15  # no context; no noisy view; another view is context, too
COVERAGE, SPREAD = 0.5, 0.01  # what a squared error of coverage and a radius of spread cost
EVERY = 2  # of rows and columns: a quarter of the rays


def load_objects(folder: Path) -> Tensor:
    """[N, V, 4, h, w] bytes of all parts."""
    parts = sorted(folder.glob("part_*.npz"))
    if not parts:
        sys.exit("there are no objects yet; run prepare.py")
    return torch.from_numpy(np.concatenate([np.load(path)["pictures"] for path in parts]))


def varied(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """[B, V, 4, h, w] the same objects turned by quarters, mirrored, and in other colours."""
    found = []
    for each in pictures:
        quarters, mirror, hue = (int(torch.randint(n, (1,), generator=generator)) for n in (SHOWN, 2, 8))
        each = each[turned(VIEW_COUNT, quarters)]
        if mirror:
            each = each[mirrored(VIEW_COUNT)].flip(-1)
        channels = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))[max(0, hue - 2)]
        found.append(each[:, [*channels, 3]])
    values = torch.stack(found).float() / 255
    return seen_as(values[:, :, :3], values[:, :, 3:])


def draw_levels(count: int, generator: torch.Generator) -> Tensor:
    """[count, V] 0 for context, σ for noisy, ∞ for unseen; one σ an object."""

    def chance(share: float, columns: int = 1) -> Tensor:
        return torch.rand(count, columns, generator=generator) < share

    context = chance(TOLD_MORE, SHOWN) & chance(0.6)
    context[:, :1] = ~chance(DROPPED)
    noisy = ~context & (chance(0.7) | chance(0.5, SHOWN)) & ~chance(DETERMINISTIC)
    sigma = (LEVEL[0] + LEVEL[1] * torch.randn(count, 1, generator=generator)).exp()
    levels = torch.full((count, VIEW_COUNT), torch.inf)
    levels[:, :SHOWN] = torch.where(context, 0.0, torch.where(noisy, sigma, torch.inf))
    return levels


def loss_of(
    network: ObjectNetwork, render: FieldRenderer, pictures: Tensor, generator: torch.Generator
) -> tuple[Tensor, float]:
    """What is minimised, and the squared error within it."""
    levels = draw_levels(len(pictures), generator)
    finite = torch.where(levels.isinf(), 0.0, levels)[:, :, None, None, None]
    noise = torch.randn(pictures.shape, generator=generator)
    seen = (pictures + finite * noise) * ~levels.isinf()[:, :, None, None, None]
    field = network(seen, levels)
    low, high = (torch.randperm(SHOWN, generator=generator)[:2] for _ in range(2))
    views = torch.cat([low, SHOWN + high])
    row, column = torch.randint(EVERY, (2,), generator=generator).tolist()
    found, spread = render.with_spread(field, views, EVERY, (row, column))
    error = (found - pictures[:, views, :, row::EVERY, column::EVERY]).square()
    squared = error[:, :, :3].mean() + COVERAGE * error[:, :, 3:].mean()
    return squared + SPREAD * spread.mean(), float(squared.detach())


def teach_objects(size: int, seconds: float, begin: str | None, workers: Workers) -> None:
    """Until so many seconds of one core are spent."""
    folder = work_folder() / f"objects_{size}"
    objects = load_objects(folder)
    shape = ObjectNetworkShape(size=size, grid=3 * size // 4)
    network = started(lambda: ObjectNetwork(shape), torch.Generator().manual_seed(SEED))
    if begin:
        network.load_state_dict(load_object_network(begin).state_dict())
    render = FieldRenderer(rig_views(shape.size), shape.size, shape.grid)

    def loss(chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
        return loss_of(network, render, varied(objects[chosen], generator), generator)

    teaching = Teaching(shape, len(objects), BATCH, loss, ("place", "picture.", "head.", "told."), begin)
    teach(network, teaching, folder / "network.pt", seconds, workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=900.0, help="of one core, all runs and processes together")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--begin", help="a model's folder, or `bundled`: a new training begins with its weights")
    arguments = parser.parse_args()
    run_workers(teach_objects, arguments.size, arguments.seconds, arguments.begin, processes=arguments.processes)


if __name__ == "__main__":
    main()
