"""Teach the network of motion from clips alone: no motion is ever shown to it. Goes on where it was stopped."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

from clips import PHASES, SIDE, make_clips  # noqa: E402
from teaching import SEED, Teaching, teach  # noqa: E402
from train import load_objects  # noqa: E402
from work import work_folder  # noqa: E402

from ddrep_core.forward_models.learn import ObservationLesson, observation_loss  # noqa: E402
from ddrep_core.forward_models.motion_network import (  # noqa: E402
    MOTION,
    PICTURE,
    MotionNetwork,
    MotionNetworkShape,
)
from ddrep_core.forward_models.motion_prior import MIDDLE, MovingPicture, phases_of  # noqa: E402
from ddrep_core.training.denoiser import started  # noqa: E402
from ddrep_core.training.loop import Workers, run_workers  # noqa: E402

BATCH = 24
LESSON = ObservationLesson(context=(0,), context_dropped=0.0, deterministic=0.2, level=(-0.5, 1.7))
SMOOTH, EDGE, FAR = 5e-3, 10.0, 2e-4
"""What a pixel costs whose motion is not between its neighbours', how much less at an edge, and a pixel of motion."""


def load_sprites(folder: Path) -> Tensor:
    """[N, 4, h, w] bytes: every object from each of its eight sides."""
    return load_objects(folder).flatten(0, 1)


def smoothness(signals: Tensor) -> Tensor:
    """What motion costs: bends where the picture has no edge (the paper's edge-aware smoothness), and itself a little.

    Bends, not slopes: what turns is as smooth as what slides. Without it a guess that cannot tell where an object goes
    sprays its pixels over all places where it may be.
    """
    picture, motion = signals[:, PICTURE].detach(), signals[:, MOTION]
    total = FAR * motion.abs().mean()
    for axis in (2, 3):
        edge = picture.diff(dim=axis).abs().mean(1, keepdim=True)
        edge = torch.maximum(edge.narrow(axis, 1, edge.shape[axis] - 1), edge.narrow(axis, 0, edge.shape[axis] - 1))
        total = total + SMOOTH * ((-EDGE * edge).exp() * motion.diff(n=2, dim=axis).abs()).mean()
    return total


def teach_motion(seconds: float, workers: Workers) -> None:
    """Until so many seconds of one core are spent."""
    sprites = load_sprites(work_folder() / f"objects_{SIDE}")
    shape = MotionNetworkShape(SIDE, len(PHASES))
    network = started(lambda: MotionNetwork(shape), torch.Generator().manual_seed(SEED))
    forward = MovingPicture(phases_of(shape.views))

    def loss(chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
        pictures = make_clips(sprites[chosen].float() / 255, generator).pictures - MIDDLE
        found = observation_loss(network, forward, pictures, LESSON, generator, smoothness)
        return found, float(found.detach())

    teaching = Teaching(shape, len(sprites), BATCH, loss, ("place", "into.", "beside.", "head.", "told", "matched.0"))
    teach(network, teaching, work_folder() / "motion.pt", seconds, workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1200.0, help="of one core, all runs and processes together")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    run_workers(teach_motion, arguments.seconds, processes=arguments.processes)


if __name__ == "__main__":
    main()
