"""Teach the network objects from pictures of them alone (losses 8 and 9 of the paper); goes on where it was stopped.

Time is counted in seconds of the processor, not of the clock: other programs may run beside.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

from ddrep_core.forward_models.field import FieldRenderer, seen_as  # noqa: E402
from ddrep_core.forward_models.object_network import ObjectNetwork, ObjectNetworkShape  # noqa: E402
from ddrep_core.forward_models.rig import SHOWN, VIEW_COUNT, mirrored, rig_views, turned  # noqa: E402
from ddrep_core.training.denoiser import started  # noqa: E402
from ddrep_core.training.loop import (  # noqa: E402
    MovingAverage,
    learning_rate_share,
    load_state,
    save_atomically,
    shuffled_batches,
)
from prepare import work_folder  # noqa: E402

BATCH, RATE, SEED = 16, 1.5e-3, 0
SAVE_SECONDS = 60.0
LEVEL = (-0.6, 1.4)  # mean and deviation of ln σ
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=900.0, help="of one core, all runs together")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = work_folder() / f"objects_{arguments.size}"
    objects, path = load_objects(folder), folder / "network.pt"
    shape = ObjectNetworkShape(size=arguments.size, grid=3 * arguments.size // 4)
    network = started(lambda: ObjectNetwork(shape), torch.Generator().manual_seed(SEED))
    render = FieldRenderer(rig_views(shape.size), shape.size, shape.grid)
    matrices = [value for value in network.parameters() if value.ndim > 1]
    vectors = [value for value in network.parameters() if value.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}], RATE, (0.9, 0.98)
    )
    average, state = MovingAverage(network), load_state(path)
    step, spent, losses = 0, 0.0, []
    if state is not None:
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        average.shadow, average.updates = state["average"], state["updates"]
        step, spent, losses = state["step"], state["seconds"], state["losses"]

    begun, saved = time.process_time() - spent, time.monotonic()

    def save() -> None:
        save_atomically(
            {
                "network": network.state_dict(), "optimizer": optimizer.state_dict(), "average": average.shadow,
                "updates": average.updates, "step": step, "seconds": time.process_time() - begun, "losses": losses,
                "shape": asdict(shape), "objects": len(objects),
            },
            path,
        )  # fmt: skip

    recent: list[float] = []
    for chosen in shuffled_batches(len(objects), BATCH, SEED, step):
        seconds = time.process_time() - begun
        if seconds >= arguments.seconds:
            break
        for group in optimizer.param_groups:
            group["lr"] = RATE * learning_rate_share(seconds / arguments.seconds, 0.03)
        generator = torch.Generator().manual_seed(1_000_003 * SEED + step)
        loss, squared = loss_of(network, render, varied(objects[torch.from_numpy(chosen)], generator), generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update(network)
        recent.append(squared)
        step += 1
        if step % 50 == 0:
            losses.append((step, float(np.mean(recent))))
            print(f"step {step}, {seconds:.0f} s: {losses[-1][1]:.5f}", flush=True)
            recent = []
        if time.monotonic() - saved > SAVE_SECONDS:
            save()
            saved = time.monotonic()
    save()


if __name__ == "__main__":
    main()
