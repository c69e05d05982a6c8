"""The judge of directions: reads front, left or right side, back, or overhead from a picture of a known kind of object.

EfficientNet-Lite0 features on coarse grids and a small head. It is asked only about kinds whose renders it can tell
apart; a ball has no front, and the back of a house without its door is a side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from captions import Facts
from configuration import Configuration, work_folder
from directions import other_way_round
from features import GridFeatures
from prepare import load_part, parts
from training import load_state, save_atomically

Array = np.ndarray
READ = ("front view", "left side view", "back view", "right side view", "overhead view")
TURNED = np.array([READ.index(str(other_way_round(view))) for view in READ])
"""What the same picture shows when it is mirrored."""
KINDS_WITH_PLAIN_DIRECTIONS = ("car", "chair", "cow", "dog", "bus", "elephant", "cat", "duck")


@dataclass(frozen=True)
class Renders:
    """Pictures uint8 [N, S, S, 3] of the kinds above, and which of `READ` each shows, [N]."""

    pictures: Array
    directions: Array


def load_renders(configuration: Configuration) -> tuple[Renders, Renders]:
    """Renders to learn from, and those of the last part, whose objects the others do not hold."""
    pictures: list[list[Array]] = [[], []]
    directions: list[list[int]] = [[], []]
    names = [name for name in parts(configuration) if name.startswith("renders")]
    for name in names:
        data, _, facts = load_part(configuration, name)
        chosen = [
            row for row, fact in enumerate(facts) if shown(fact) in READ and fact.group in KINDS_WITH_PLAIN_DIRECTIONS
        ]
        held = name == names[-1]
        pictures[held].append(data[chosen])
        directions[held].extend(READ.index(str(shown(facts[row]))) for row in chosen)
    learn, held_out = (
        Renders(np.concatenate(part), np.array(answers)) for part, answers in zip(pictures, directions, strict=True)
    )
    return learn, held_out


def shown(fact: Facts) -> str | None:
    """The direction of a render in the reader's words; a side is left or right."""
    if fact.view != "side view":
        return fact.view
    return "left side view" if fact.details["azimuth"] % 360.0 < 180.0 else "right side view"


class DirectionReader:
    """A trained judge; `kept` makes it once and keeps it beside the data."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.features = GridFeatures()
        self.mean, self.deviation = state.pop("mean"), state.pop("deviation")
        self.head = build_head(len(self.mean))
        self.head.load_state_dict(state)
        self.head.eval()

    @torch.inference_mode()
    def __call__(self, pictures: Array) -> Array:
        """sRGB [N, S, S, 3] in [0, 1] to numbers of `READ`, [N]."""
        return self.head((self.features(pictures) - self.mean) / self.deviation).argmax(1).numpy()

    @staticmethod
    def kept(configuration: Configuration) -> DirectionReader:
        path = work_folder(configuration) / "direction_reader.pt"
        state = load_state(path)
        if state is None:
            state = train_head(load_renders(configuration)[0])
            save_atomically(state, path)
        return DirectionReader(state)


def build_head(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(0.4), nn.Linear(width, 192), nn.GELU(), nn.Dropout(0.5), nn.Linear(192, len(READ)))


def train_head(renders: Renders, steps: int = 500, batch: int = 128) -> dict[str, Tensor]:
    """Head and the features' mean and deviation. Every other picture is mirrored, and its direction with it."""
    pictures, directions = renders.pictures.copy(), renders.directions.copy()
    pictures[::2] = pictures[::2, :, ::-1]
    directions[::2] = TURNED[directions[::2]]
    inputs = GridFeatures()(pictures / np.float32(255))
    mean, deviation = inputs.mean(0), inputs.std(0) + 1e-3
    inputs, targets = (inputs - mean) / deviation, torch.from_numpy(directions)
    torch.manual_seed(0)
    head = build_head(inputs.shape[1])
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
