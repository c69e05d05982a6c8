"""How both networks are taught: by seconds of the processor, averaged, and gone on with where they were stopped.

Time is counted in seconds of the processor, not of the clock: other programs may run beside.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]
sys.path.append(str(HERE.parent / "prior"))  # last: it has a `prepare` of its own

from ddrep_core.training.loop import (  # noqa: E402
    MovingAverage,
    Workers,
    learning_rate_share,
    load_state,
    save_atomically,
    shuffled_batches,
)
from muon import Muon  # noqa: E402

RATE, WEIGHT_DECAY, WARM_UP, LARGEST_GRADIENT, SEED = 1.5e-3, 0.02, 0.03, 1.0, 0
SAVE_SECONDS = 60.0
SAID = 50  # steps from one line to the next


@dataclass(frozen=True)
class Teaching:
    """What is taught, and on how much.

    Attributes:
        shape: what the network is built of.
        count: of examples; each epoch shows them all, shuffled.
        loss: of some of them [B] by number: what is made smaller, and what is told of it.
        outer: parts of the network's parameters' names that touch pictures or signals or tell of levels: they are
            taught by Adam, as are vectors, and the other matrices by Muon.
        begun_with: the model whose weights the network had at first, if any.
    """

    shape: Any
    count: int
    batch: int
    loss: Callable[[Tensor, torch.Generator], tuple[Tensor, float]]
    outer: tuple[str, ...]
    begun_with: str | None = None


def teach(network: nn.Module, teaching: Teaching, path: Path, seconds: float, workers: Workers) -> None:
    """Until `seconds` of one core are spent, by all workers in all runs; the first keeps the state at `path`."""
    inner = {
        name: value
        for name, value in network.named_parameters()
        if value.ndim > 1 and not any(each in name for each in teaching.outer)
    }
    others = [value for name, value in network.named_parameters() if name not in inner]
    optimizers = (Muon(inner.values(), RATE, weight_decay=WEIGHT_DECAY), torch.optim.Adam(others, RATE, (0.9, 0.98)))
    average, state = MovingAverage(network), load_state(path)
    step, spent, losses, begun_with = 0, 0.0, [], teaching.begun_with
    if state is not None:
        network.load_state_dict(state["network"])
        for optimizer, before in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(before)
        average.shadow, average.updates = state["average"], state["updates"]
        step, spent, losses, begun_with = (state[key] for key in ("step", "seconds", "losses", "begun_with"))
    begun, saved = time.process_time(), time.monotonic()

    def core_seconds() -> float:
        return spent + workers.count * workers.agreed(time.process_time() - begun)

    def save() -> None:
        if workers.rank:
            return
        save_atomically(
            {
                "network": network.state_dict(), "optimizers": [each.state_dict() for each in optimizers],
                "average": average.shadow, "updates": average.updates, "step": step,
                "seconds": now, "losses": losses, "shape": asdict(teaching.shape),
                "examples": teaching.count, "begun_with": begun_with,
            },
            path,
        )  # fmt: skip

    recent: list[float] = []
    now = spent
    for chosen in shuffled_batches(teaching.count, teaching.batch, SEED, step):
        now = core_seconds()
        if now >= seconds:
            break
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = RATE * learning_rate_share(now / seconds, WARM_UP)
        generator = torch.Generator().manual_seed(1_000_003 * step + workers.rank)
        loss, told = teaching.loss(torch.from_numpy(chosen[workers.rank :: workers.count]), generator)
        network.zero_grad()
        loss.backward()
        workers.average_gradients(list(network.parameters()))
        torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        for optimizer in optimizers:
            optimizer.step()
        average.update(network)
        recent.append(told)
        step += 1
        if step % SAID == 0:
            losses.append((step, float(np.mean(recent))))
            if not workers.rank:
                print(f"step {step}, {now:.0f} s: {losses[-1][1]:.5f}", flush=True)
            recent = []
        if time.monotonic() - saved > SAVE_SECONDS:
            save()
            saved = time.monotonic()
    save()
