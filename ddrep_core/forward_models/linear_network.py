"""A small denoiser of signals whose views are linear in them: a known estimate, and what a network adds to it.

What EDM's c_skip, c_in and c_out are to a picture under noise (Karras et al. 2022, Table 1), the posterior of a plain
Gaussian is to a signal of which some views are seen, each under noise of its own: its mean m is passed on, and the
network, which hears m, says by how many of its deviations L (L Lᵀ = C, its covariance) the signal is elsewhere. So
what is known well is kept as well as it is known, and what the network says is of order one at every level.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ddrep_core.training.denoiser import ResidualNetwork

LEAST_NOISE = 1e-3  # that a clean view is taken to have
LEAST_ERROR = 1e-3  # of one number of a view


class LinearSignalNetwork(nn.Module):
    """A `SignalDenoiser` of signals [D] with O_v = A_v S.

    Args:
        maps: [V, O, D] A.
        deviation: of one number of a signal.
    """

    maps: Tensor

    def __init__(self, maps: Tensor, deviation: float = 1.0, width: int = 96, blocks: int = 3) -> None:
        super().__init__()
        self.register_buffer("maps", maps, persistent=False)
        self.deviation = deviation
        views, _, size = maps.shape
        self.network = ResidualNetwork(size + size**2, size, 3 * views, width, blocks)

    def estimate(self, seen: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [B, D] and covariance [B, D, D], float64, of S ~ N(0, deviation²) given what is seen."""
        maps = self.maps.double()
        sure = torch.where(levels.isinf(), 0.0, levels.double().clamp_min(LEAST_NOISE) ** -2)
        rows = torch.where(levels.isinf()[..., None], 0.0, seen.flatten(2).double())
        precision = torch.einsum("bv,vod,voe->bde", sure, maps, maps)
        precision = precision + torch.eye(maps.shape[2]).to(maps) / self.deviation**2
        covariance = torch.linalg.inv(precision)
        pull = torch.einsum("bv,vod,bvo->bd", sure, maps, rows)
        return (covariance @ pull[..., None])[..., 0], covariance

    def forward(self, seen: Tensor, levels: Tensor) -> Tensor:
        mean, covariance = self.estimate(seen, levels)
        factor = torch.linalg.cholesky((covariance + covariance.mT) / 2)
        there = (~levels.isinf()).to(seen)
        level = torch.where(levels.isinf(), 1.0, levels).to(seen)
        told = torch.cat([there, (levels == 0).to(seen), there * level.clamp_min(1e-3).log() / 4], 1)
        into = torch.cat([mean, factor.flatten(1)], 1).to(seen) / self.deviation
        off = self.network(into, told)
        return mean.to(seen) + (factor.to(seen) @ off[..., None])[..., 0]

    def weights(self, seen: Tensor, levels: Tensor) -> Tensor:
        """[B, V, O] what a squared error of each number of a view counts: one over what the estimate leaves of it."""
        _, covariance = self.estimate(seen, levels)
        maps = self.maps.double()
        left = torch.einsum("vod,bde,voe->bvo", maps, covariance, maps)
        return (1 / (left + LEAST_ERROR**2)).to(seen)
