"""Muon (Jordan 2024; scaled as in Liu et al. 2025, "Muon is scalable for LLM training"): momentum made orthogonal.

Every matrix takes a step whose singular values are all about one, so that directions that gradients show rarely are
learned as fast as the common ones. For a short training of convolutions that is worth more than it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ddrep_core.training.loop import multiplies_bfloat16

# Quintic Newton-Schulz iteration: it brings singular values from (0, 1] to about 0.7 to 1.2 in five rounds.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 4


@torch.no_grad()
def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix [m, n] with singular values about one, by products in bfloat16 where that is fast."""
    first, third, fifth = COEFFICIENTS
    value = matrix.bfloat16() if multiplies_bfloat16(matrix.device) else matrix
    upright = value.shape[0] > value.shape[1]
    value = value.T if upright else value
    value = value / (value.norm() + 1e-7)
    for _ in range(ROUNDS):
        gram = value @ value.T
        value = torch.addmm(value, torch.addmm(gram, gram, gram, beta=third, alpha=fifth), value, beta=first)
    return value.T if upright else value


class Muon(torch.optim.Optimizer):
    """For weights of two dimensions or more; a convolution's are taken as [out, in * height * width]."""

    def __init__(
        self, parameters: Iterable[Any], lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for value in group["params"]:
                if value.grad is None:
                    continue
                state = self.state[value]
                if not state:
                    state["momentum"] = torch.zeros_like(value)
                average = state["momentum"]
                average.lerp_(value.grad, 1.0 - group["momentum"])
                ahead = value.grad.lerp(average, group["momentum"]).flatten(1)
                # Times 0.2 sqrt(longer side): updates as large as Adam's usually are, so that rates carry over.
                rate = group["lr"] * 0.2 * max(ahead.shape) ** 0.5
                value.mul_(1.0 - group["lr"] * group["weight_decay"])
                value.add_(orthogonal(ahead).view_as(value), alpha=-rate)


def split_parameters(modules: nn.Module) -> tuple[list[tuple[str, nn.Parameter]], list[tuple[str, nn.Parameter]]]:
    """Named weights for Muon, and those for Adam: vectors, embeddings, and what touches latents, depth or output."""
    matrices, rest = [], []
    for name, value in modules.named_parameters():
        inner = value.ndim >= 2 and "embedding" not in name.replace("time_embedding", "") and ".conv_in" not in name
        (matrices if inner and ".conv_out" not in name else rest).append((name, value))
    return matrices, rest
