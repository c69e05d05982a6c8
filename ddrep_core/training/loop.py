"""What both training loops share: device, precision, learning rates by time, averages, states that survive a kill."""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@cache
def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the machine multiplies bfloat16 fast: CUDA, or a CPU with AVX512-BF16 or AMX."""
    processor = Path("/proc/cpuinfo")
    return device.type == "cuda" or (processor.exists() and "avx512_bf16" in processor.read_text())


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where the machine multiplies it fast, else a no-op."""
    return torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bfloat16(device))


def learning_rate_share(progress: float, warm_up: float = 0.015) -> float:
    """Linear warm-up, then a cosine to 2 % of the peak; progress in [0, 1]."""
    if progress < warm_up:
        return max(progress, 1e-3) / warm_up
    return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


@dataclass(frozen=True)
class Leg:
    """A stretch of training under one learning-rate schedule, in seconds of training; all legs together make a run.

    A build from nothing is one leg. A run that has ended goes on in a further one, with its own warm-up and peak.
    """

    start: float
    end: float
    peak: float

    def learning_rate(self, seconds: float) -> float:
        """Of a moment of the leg: warm-up, peak, cosine."""
        return self.peak * learning_rate_share((seconds - self.start) / max(self.end - self.start, 1e-9))

    @staticmethod
    def of(state: dict | None, seconds: float, peak: float, more: float) -> Leg:
        """The state's own leg where that is unfinished; else `more` seconds from its end on, or the first leg."""
        if state is None:
            return Leg(0.0, seconds + more, peak)
        last = Leg(**state["leg"])
        if state["seconds"] < last.end or not more:
            return last
        return Leg(state["seconds"], state["seconds"] + more, peak)


def add_leg_arguments(parser: argparse.ArgumentParser) -> None:
    """`--more` and `--peak`: what a further leg needs."""
    parser.add_argument("--more", type=float, default=0.0, metavar="SECONDS", help="once trained: go on for so long")
    parser.add_argument("--peak", type=float, metavar="RATE", help="highest learning rate, instead of the usual one")
    parser.add_argument("--processes", type=int, metavar="N", help="CPU cores to take, instead of all (at most four)")


def shuffled_batches(count: int, batch: int, seed: int, start: int) -> Iterator[np.ndarray]:
    """Endless batches of indices, a new permutation each epoch; from number `start` on, resumed or not, the same."""
    per_epoch = max(1, count // batch)
    index = start
    while True:
        order = np.random.default_rng([seed, index // per_epoch]).permutation(count)
        for within in range(index % per_epoch, per_epoch):
            yield order[within * batch : (within + 1) * batch]
            index += 1


class MovingAverage:
    """Average of a module's parameters whose memory is a fixed share of the training so far.

    The power function of Karras et al. 2024 ("Analyzing and improving the training dynamics of diffusion models",
    section 3.1) with a relative width of 0.1: a fixed decay would be too long for a short training, or lag behind a
    rate that falls.
    """

    EXPONENT = 6.94

    def __init__(self, modules: nn.Module) -> None:
        self.updates = 0
        self.shadow = {name: value.detach().clone() for name, value in modules.state_dict().items()}

    @torch.no_grad()
    def update(self, modules: nn.Module) -> None:
        self.updates += 1
        decay = (1.0 - 1.0 / self.updates) ** (1.0 + self.EXPONENT)
        floats = [
            (self.shadow[name], value) for name, value in modules.state_dict().items() if value.is_floating_point()
        ]
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            [pair[0] for pair in floats], [pair[1] for pair in floats], 1.0 - decay
        )


def save_atomically(state: dict, path: Path) -> None:
    """Write beside, then rename: a kill leaves the old state or the new one, never half of one."""
    unfinished = path.with_suffix(".unfinished")
    torch.save(state, unfinished)
    unfinished.replace(path)


def load_state(path: Path) -> dict | None:
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


class Stopwatch:
    """Seconds of training over all runs: resumed time counts."""

    def __init__(self, before: float = 0.0) -> None:
        self.before, self.start = before, time.monotonic()

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.start


@dataclass(frozen=True)
class Workers:
    """Processes that share one training: each takes its slice of every batch, and gradients are averaged.

    On a CPU two processes of one thread each beat one of two threads wherever other programs run beside them: they
    meet once a step instead of once an operator.
    """

    rank: int
    count: int

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        if self.count == 1:
            return
        used = [value.grad for value in parameters if value.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in used])
        distributed.all_reduce(flat)
        flat /= self.count
        for gradient, mean in zip(used, flat.split([gradient.numel() for gradient in used]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def agreed(self, value: float) -> float:
        """The first worker's value, so that all stop and step alike."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(shared, 0)
        return float(shared)


def _work(rank: int, count: int, port_file: str, function: Callable, arguments: tuple) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{port_file}", rank=rank, world_size=count)
    function(*arguments, Workers(rank, count))
    distributed.destroy_process_group()


def run_workers(function: Callable, *arguments: object, processes: int | None = None) -> None:
    """Call `function(*arguments, workers)`: on CUDA here, on a CPU in `processes`, or one a core (at most four)."""
    count = 1 if torch.cuda.is_available() else processes or min(4, os.cpu_count() or 1)
    if count == 1:
        if not torch.cuda.is_available() and processes == 1:
            torch.set_num_threads(1)
        function(*arguments, Workers(0, 1))
        return
    with tempfile.TemporaryDirectory() as folder:
        spawn(_work, (count, f"{folder}/meeting", function, arguments), nprocs=count)
