"""A generator's latents behind a part of its picture: several, whose pictures agree there and differ elsewhere.

The signal is the latent, the forward map the generator followed by a crop. Any differentiable generator will do; what
guesses its latents is taught by `learn_signals` from pictures that it makes, or from others of its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.forward_models.protocol import Forward

Generator: TypeAlias = Callable[[Tensor], Tensor]
"""[B, C, H, W] pictures of latents [B, D]."""
CHUNK = 64  # latents whose derivatives are held at once


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


def refined(
    forward: Forward, latents: Tensor, known: Mapping[int, Tensor], *, noise: float = 0.02, rounds: int = 3
) -> Tensor:
    """Latents [B, D] moved as little as makes them show what is known: a few steps of Gauss-Newton.

    Least of |forward(z) − known|² / noise² + |z − latents|²: directions that the known views hardly show stay as they
    were drawn.

    Args:
        known: {view: [C, h, w] or [B, C, h, w]}.
        noise: of a number of what is known; the smaller, the nearer they come to it.
        rounds: a linear generator needs one.
    """
    views = torch.tensor(list(known))
    wanted = torch.stack([each.expand(len(latents), *each.shape[-3:]) for each in known.values()], 1).flatten(1)

    def shown(latent: Tensor) -> Tensor:
        return forward(latent[None], views).flatten()

    found = latents
    for _ in range(rounds):
        slopes = torch.vmap(torch.func.jacrev(shown), chunk_size=CHUNK)(found)  # [B, N, D]
        gap = wanted - forward(found, views).flatten(1) + (slopes @ (found - latents)[..., None])[..., 0]
        square = slopes.mT @ slopes + noise**2 * torch.eye(latents.shape[1]).to(latents)
        found = latents + torch.linalg.solve(square, slopes.mT @ gap[..., None])[..., 0]
    return found


def quarters(side: int) -> list[tuple[int, int]]:
    """The corners of a picture's four quarters of `side` pixels: upper left, upper right, lower left, lower right."""
    return [(row, column) for row in (0, side) for column in (0, side)]
