"""The exact denoiser of Gaussian signals, and mixtures of them, under linear forward maps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_NOISE = 1e-4


@dataclass(frozen=True)
class GaussianSignals:
    """S ~ Σ_k w_k N(m_k, Σ_k), O_v = A_v S, numbers as pictures of one row.

    Attributes:
        means: [K, D].
        covariances: [K, D, D].
        weights: [K], of sum 1.
        maps: [V, O, D].
    """

    means: Tensor
    covariances: Tensor
    weights: Tensor
    maps: Tensor

    def forward(self, signals: Tensor, views: Tensor) -> Tensor:
        """[B, Q, 1, 1, O] of signals [B, D]."""
        return torch.einsum("qod,bd->bqo", self.maps[views], signals)[:, :, None, None]

    def denoise(self, seen: Tensor, levels: Tensor) -> Tensor:
        """E[S | what is seen], [B, D]: a view at σ is A_v S + σ n; at 0, with the least noise that can be inverted."""
        found = seen.new_zeros(len(seen), self.means.shape[1])
        patterns, which = levels.unique(dim=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            rows = which == number
            means, _, weights = self._posterior(seen.flatten(2)[rows], pattern)
            found[rows] = (weights[..., None] * means).sum(1)
        return found

    def posterior(self, context: dict[int, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Means [K, D], covariances [K, D, D] and weights [K] of S given clean views [O]."""
        seen = torch.zeros(len(self.maps), self.maps.shape[1], dtype=self.means.dtype)
        levels = torch.full((len(self.maps),), torch.inf, dtype=self.means.dtype)
        for view, numbers in context.items():
            seen[view], levels[view] = numbers.flatten(), 0.0
        means, covariances, shares = self._posterior(seen[None], levels)
        return means[0], covariances, shares[0]

    def _posterior(self, seen: Tensor, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means [B, K, D], covariances [K, D, D] and weights [B, K] of what is seen, [B, V, O], at levels [V]."""
        used = ~levels.isinf()
        if not bool(used.any()):
            return self.means.expand(len(seen), -1, -1), self.covariances, self.weights.expand(len(seen), -1)
        look = self.maps[used].flatten(0, 1)  # [M, D]
        noise = levels[used].clamp_min(LEAST_NOISE).square().repeat_interleave(self.maps.shape[1])
        gap = seen[:, used].flatten(1)[:, None] - self.means @ look.T  # [B, K, M]
        cross = self.covariances @ look.T  # [K, D, M]
        factor = torch.linalg.cholesky(look @ cross + noise.diag())
        solved = torch.cholesky_solve(gap.permute(1, 2, 0), factor)  # [K, M, B]
        means = self.means + (cross @ solved).permute(2, 0, 1)
        covariances = self.covariances - cross @ torch.cholesky_solve(cross.mT, factor)
        squares = (gap * solved.permute(2, 0, 1)).sum(2)
        logs = self.weights.log() - 0.5 * squares - factor.diagonal(dim1=1, dim2=2).log().sum(1)
        return means, covariances, logs.softmax(1)
