"""A generator's latents behind a part of its picture: several, whose pictures agree there and differ elsewhere.

The signal is the latent, the forward map the generator followed by a crop. Any differentiable generator will do; what
guesses its latents is taught by `learn_signals` from pictures that it makes, or from others of its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ddrep_core.errors import RequestError

Generator: TypeAlias = Callable[[Tensor], Tensor]
"""[B, C, H, W] pictures of latents [B, D]."""


@dataclass(frozen=True)
class Patches:
    """A `Forward`: view v of a latent is a square of its picture.

    Attributes:
        generator: that makes pictures of latents.
        corners: (row, column) of each square's first pixel.
        side: of all squares, in pixels.
    """

    generator: Generator
    corners: Sequence[tuple[int, int]]
    side: int

    def __call__(self, signals: Tensor, views: Tensor) -> Tensor:
        return self.cut(self.generator(signals), views)

    def cut(self, pictures: Tensor, views: Tensor | None = None) -> Tensor:
        """[B, Q, C, side, side] what views, all when not given, show of pictures [B, C, H, W].

        Raises:
            RequestError: a square that is not within the picture.
        """
        chosen = range(len(self.corners)) if views is None else views.tolist()
        found = []
        for row, column in (self.corners[view] for view in chosen):
            square = pictures[:, :, row : row + self.side, column : column + self.side]
            if min(row, column) < 0 or square.shape[-2:] != (self.side, self.side):
                raise RequestError(
                    f"There is no square of {self.side} pixels at row {row}, column {column} of a picture of "
                    f"{pictures.shape[-1]} x {pictures.shape[-2]} pixels."
                )
            found.append(square)
        return torch.stack(found, 1)


def quarters(side: int) -> list[tuple[int, int]]:
    """The corners of a picture's four quarters of `side` pixels: upper left, upper right, lower left, lower right."""
    return [(row, column) for row in (0, side) for column in (0, side)]
