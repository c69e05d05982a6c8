"""The judge of directions: reads "front", "side", "back" or "overhead view" from a picture of a known kind of object.

A second one reads of a side whether it is the left or the right. EfficientNet-Lite0 features on coarse grids and a
small head each. They are asked only about kinds whose renders can be told apart; a ball has no front, and the back of a
house without its door is a side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from configuration import Configuration, work_folder
from ddrep_core.features import GridFeatures
from ddrep_core.training.loop import load_state, save_atomically
from prepare import load_part, parts

Array = np.ndarray
DIRECTIONS = ("front view", "side view", "back view", "overhead view")
SIDES = ("left side view", "right side view")
KINDS_WITH_PLAIN_DIRECTIONS = ("car", "chair", "cow", "dog", "bus", "elephant", "cat", "duck")


@dataclass(frozen=True)
class Renders:
    """Pictures uint8 [N, S, S, 3] of the kinds above, which of the four directions each shows, [N], and which side."""

    pictures: Array
    directions: Array
    sides: Array
    """[N] numbers of `SIDES`; of use where a side is shown."""

    @property
    def of_sides(self) -> Renders:
        """Those that show a side."""
        shown = self.directions == DIRECTIONS.index("side view")
        return Renders(self.pictures[shown], self.directions[shown], self.sides[shown])


def load_renders(configuration: Configuration) -> tuple[Renders, Renders]:
    """Renders to learn from, and those of the last part, whose objects the others do not hold."""
    pictures: list[list[Array]] = [[], []]
    directions: list[list[int]] = [[], []]
    sides: list[list[bool]] = [[], []]
    names = [name for name in parts(configuration) if name.startswith("renders")]
    for name in names:
        data, _, facts = load_part(configuration, name)
        chosen = [
            row
            for row, fact in enumerate(facts)
            if fact.view in DIRECTIONS and fact.group in KINDS_WITH_PLAIN_DIRECTIONS
        ]
        held = name == names[-1]
        pictures[held].append(data[chosen])
        directions[held].extend(DIRECTIONS.index(str(facts[row].view)) for row in chosen)
        sides[held].extend(facts[row].details["azimuth"] % 360.0 >= 180.0 for row in chosen)
    learn, held_out = (
        Renders(np.concatenate(part), np.array(views), np.array(which, dtype=int))
        for part, views, which in zip(pictures, directions, sides, strict=True)
    )
    return learn, held_out


class DirectionReader:
    """A trained judge; `kept` makes it once and keeps it beside the data."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.features = GridFeatures()
        self.mean, self.deviation = state.pop("mean"), state.pop("deviation")
        self.head = build_head(len(self.mean), len(state["4.bias"]))
        self.head.load_state_dict(state)
        self.head.eval()

    @torch.inference_mode()
    def __call__(self, pictures: Array) -> Array:
        """sRGB [N, S, S, 3] in [0, 1] to numbers of `DIRECTIONS`, or of `SIDES`, [N]."""
        return self.head((self.features(pictures) - self.mean) / self.deviation).argmax(1).numpy()

    @staticmethod
    def kept(configuration: Configuration) -> DirectionReader:
        """The judge of the four directions, which are the same mirrored."""

        def train() -> dict[str, Tensor]:
            learn = load_renders(configuration)[0]
            return train_head(learn.pictures, learn.directions, mirrored=learn.directions)

        return _kept(work_folder(configuration) / "direction_reader.pt", train)

    @staticmethod
    def of_sides(configuration: Configuration) -> DirectionReader:
        """The judge of left and right."""

        def train() -> dict[str, Tensor]:
            learn = load_renders(configuration)[0].of_sides
            return train_head(learn.pictures, learn.sides, mirrored=1 - learn.sides)

        return _kept(work_folder(configuration) / "side_reader.pt", train)


def _kept(path: Path, train: Callable[[], dict[str, Tensor]]) -> DirectionReader:
    state = load_state(path)
    if state is None:
        state = train()
        save_atomically(state, path)
    return DirectionReader(state)


def build_head(width: int, answers: int) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(0.4), nn.Linear(width, 192), nn.GELU(), nn.Dropout(0.5), nn.Linear(192, answers))


def train_head(
    pictures: Array, answers: Array, mirrored: Array, steps: int = 500, batch: int = 128
) -> dict[str, Tensor]:
    """Head and the features' mean and deviation. Every other picture is mirrored: its answer is of `mirrored`."""
    pictures, answers = pictures.copy(), answers.copy()
    pictures[::2], answers[::2] = pictures[::2, :, ::-1], mirrored[::2]
    inputs = GridFeatures()(pictures / np.float32(255))
    mean, deviation = inputs.mean(0), inputs.std(0) + 1e-3
    inputs, targets = (inputs - mean) / deviation, torch.from_numpy(answers)
    torch.manual_seed(0)
    head = build_head(inputs.shape[1], int(answers.max()) + 1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.1)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(0, len(inputs), (batch,))
        loss = functional.cross_entropy(head(inputs[rows]), targets[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    return {"mean": mean, "deviation": deviation} | head.state_dict()
