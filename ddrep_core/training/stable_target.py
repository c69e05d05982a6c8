"""Stable Target Field: a denoiser's target from many clean samples instead of the one under the noise.

Xu, Tong, Jaakkola, "Stable Target Field for Reduced Variance Score Estimation in Diffusion Models" (ICLR 2023), Alg. 1,
written for x̂0: in the middle of the noise levels several clean samples may lie under one x, and what a network is told
of them contradicts itself. Their mean, weighted by how likely each made x, does so less.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ddrep_core.process import Process


def stable_target(x: Tensor, sigma: Tensor, sources: Tensor, reference: Tensor, process: Process) -> Tensor:
    """Σ w_k x_k over the source of x and a reference batch, w_k ∝ p(x | x_k).

    With an empty reference it is the source itself: denoising score matching. It is biased by less the larger the
    reference, and with the whole data set exact. Where a network is told a condition, sources and reference must share
    it.

    Args:
        x: [B, ...] at levels [B].
        sources: [B, ...] the clean samples that x was made of.
        reference: [n − 1, ...] others; not the sources themselves.
        process: how x was made.
    """
    rows, clean, others = x.flatten(1), sources.flatten(1), reference.flatten(1)
    exactly = "donot_use_mm_for_euclid_dist"
    distance = torch.cat([(rows - clean).norm(dim=1, keepdim=True), torch.cdist(rows, others, compute_mode=exactly)], 1)
    weights = process.log_kernel(distance, sigma[:, None].to(distance), rows.shape[1]).softmax(1)
    return (weights[:, :1] * clean + weights[:, 1:] @ others).reshape(x.shape)


def target_variance(
    data: Tensor, sigma: float, reference: int, process: Process, draws: int, generator: torch.Generator
) -> float:
    """V(σ) = E_x tr Cov(target of the score | x) (Eq. 3.3), by drawing sources and references anew for each x.

    Args:
        data: [M, N] the clean samples, each equally likely.
        reference: n, the size of the batch with the source in it; 1 is denoising score matching.
        draws: of x; as many targets are drawn for each.
    """
    choose = torch.randint(len(data), (draws,), generator=generator)
    levels = torch.full((draws,), sigma, dtype=data.dtype)
    x, _ = process.perturb(data[choose], levels, generator)
    distance = torch.cdist(x, data, compute_mode="donot_use_mm_for_euclid_dist")
    posterior = process.log_kernel(distance, levels[:, None], data.shape[1]).softmax(1)
    sources = torch.multinomial(posterior, draws, replacement=True, generator=generator)  # [draws of x, of sources]
    total = torch.zeros((), dtype=data.dtype)
    for row, level, found in zip(x, levels, sources, strict=True):
        others = torch.randint(len(data), (draws, reference - 1), generator=generator)
        pool = torch.cat([data[found][:, None], data[others]], 1)  # [draws, n, N]
        weights = process.log_kernel((row - pool).norm(dim=2), level.expand(draws, reference), len(row)).softmax(1)
        total += (weights[:, None] @ pool)[:, 0].var(0).sum()
    return float(total) / draws / sigma**4
