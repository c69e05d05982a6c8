"""What a forward model is: a map from signals to what is seen of them, and who guesses signals from what was seen.

Tewari, Yin et al., "Diffusion with Forward Models: Solving Stochastic Inverse Problems Without Direct Supervision"
(NeurIPS 2023). There are V ways to look at a signal S, numbered 0 to V − 1: O_v = forward(S, v).
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Forward(Protocol):
    """Known and differentiable: a renderer, a warp, a generator."""

    def __call__(self, signals: Tensor, views: Tensor) -> Tensor:
        """[B, Q, C, h, w] what is seen of signals [B, ...] from views [Q]."""
        ...


class SignalDenoiser(Protocol):
    """Ŝ = denoise(context, noisy targets; their levels) (Eq. 4), of any set of views at once."""

    def __call__(self, seen: Tensor, levels: Tensor) -> Tensor:
        """[B, ...] signals.

        Args:
            seen: [B, V, C, h, w] each view of each signal: clean, or under noise of its level, or anything where it is
                not seen.
            levels: [B, V] σ of each: 0 of a context, ∞ of what is not seen.
        """
        ...
