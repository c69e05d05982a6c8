"""Pictures that are their own parameters: nothing is shared between views."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor


class LatentPictures:
    """f(θ, π) = θ[π]: V pictures in the prior's space, which begin as white noise.

    Args:
        view_count: V.
        image_shape: (C, h, w).
        dtype, device: of θ.
    """

    def __init__(
        self,
        view_count: int,
        image_shape: tuple[int, int, int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.theta = torch.zeros(view_count, *image_shape, dtype=dtype, device=device)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.theta.shape[1], self.theta.shape[2], self.theta.shape[3]

    @property
    def view_count(self) -> int:
        return len(self.theta)

    def parameters(self) -> dict[str, Tensor]:
        return {"theta": self.theta}

    def reset(self, generator: torch.Generator) -> None:
        drawn = torch.randn(self.theta.shape, generator=generator, dtype=self.theta.dtype)
        with torch.no_grad():
            self.theta.copy_(drawn)

    def render(self, indices: Tensor | None = None) -> Tensor:
        return self.theta if indices is None else self.theta[indices]

    def pixel_weights(self) -> Tensor | None:
        return None

    def copy(self) -> Self:
        twin = type(self)(self.view_count, self.image_shape, self.theta.dtype, self.theta.device)
        twin.theta = self.theta.detach().clone()
        return twin
