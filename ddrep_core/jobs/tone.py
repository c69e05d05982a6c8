"""Pictures in the tone of others: shifted by what they differ in at low frequencies, where the others are known."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

WHOLLY = 1 - 1e-4
FEATHER = 1 / 12
"""Of a view's side: standard deviation of how far a kept part's tone is carried on into what was painted beside it."""


def toned(found: Tensor, before: Tensor, inside: Tensor, blur: float) -> Tensor:
    """[G, 3, H, W] pictures in the tone of what they showed before: its low frequencies, their high ones.

    Args:
        found, before: [G, 3, H, W] sRGB in [0, 1]; inside: [G, 1, H, W] the share of each pixel that shows the mesh.
        blur: standard deviation in pixels.
    """
    whole = (inside >= WHOLLY).to(found)
    shift = blurred(whole * (before - found), blur) / blurred(whole, blur).clamp_min(1e-6)
    return torch.where(inside > 0, found + shift, found).clamp(0, 1)


def carried_on(found: Tensor, worn: Tensor, kept: Tensor, side: int) -> Tensor:
    """[V, 3, H, W] pictures that show what is kept where it is, and go on from its tone beside it.

    An autoencoder changes the tone of what it is given, and so of what is kept and of what is painted beside it. By how
    much is told where the run held what is kept; it is taken from what was painted, less and less away from there.

    Args:
        found, worn: [V, 3, H, W] sRGB in [0, 1] what was painted, and what was worn.
        kept: [V, 1, H, W] the share of each pixel that looks at what is kept.
        side: of the prior's own pixels, in those of pictures: one that is kept in part was painted as it liked.
    """
    held = functional.avg_pool2d(kept, side) >= WHOLLY
    whole = held.to(found).repeat_interleave(side, -2).repeat_interleave(side, -1)
    blur = FEATHER * found.shape[-1]
    near = blurred(whole, blur)
    shift = blurred(whole * (worn - found), blur) / near.clamp_min(1e-6)
    found = (found + (2.4 * near).clamp(0, 1) * shift).clamp(0, 1)  # at a straight edge nearly half around is kept
    return torch.where(kept >= WHOLLY, worn, found)


def blurred(images: Tensor, blur: float) -> Tensor:
    """[G, C, H, W] under a Gaussian of this standard deviation in pixels, zero beyond the border."""
    reach = max(1, math.ceil(3 * blur))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device) / blur) ** 2)
    kernel = kernel / kernel.sum()
    flat = images.flatten(0, 1)[:, None]
    flat = functional.conv2d(functional.pad(flat, (reach, reach, 0, 0)), kernel[None, None, None])
    flat = functional.conv2d(functional.pad(flat, (0, 0, reach, reach)), kernel[None, None, :, None])
    return flat.reshape(images.shape)
