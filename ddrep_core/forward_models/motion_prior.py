"""Motion behind one picture: a trained network, the pictures that its motion makes, and the prior of the two."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ddrep_core.confined import named
from ddrep_core.forward_models.kept_network import bundled, load_network
from ddrep_core.forward_models.motion_network import (
    BEHIND,
    IMPORTANCE,
    MOTION,
    PICTURE,
    MotionNetwork,
    MotionNetworkShape,
)
from ddrep_core.forward_models.prior import ForwardPrior
from ddrep_core.forward_models.splat import splat, stretched
from ddrep_core.priors.protocol import karras_sigmas

BUNDLED = bundled("motion")
SIGMAS = karras_sigmas(200, sigma_max=8.0)
MIDDLE = 0.5  # sRGB, from which colours are counted


class MovingPicture:
    """A `Forward`: view v of a signal [9, h, w] is its picture, moved by φ_v of its whole motion.

    Args:
        phases: [V] φ.
    """

    def __init__(self, phases: Sequence[float]) -> None:
        self.phases = tuple(phases)

    def __call__(self, signals: Tensor, views: Tensor) -> Tensor:
        """[B, Q, 3, h, w]."""
        return torch.stack([moved(signals, self.phases[view]) for view in views.tolist()], 1)


def moved(signals: Tensor, phase: float, whole: bool = False) -> Tensor:
    """[B, 3, h, w] pictures of signals [B, 9, h, w] when φ of their motion is done; at 0 they are as they were.

    Args:
        whole: surfaces that are stretched stay whole (`splat.stretched`). A network is taught without: what it makes
            thin by stretching it is its own affair.
    """
    motion = phase * signals[:, MOTION]
    areas = stretched(motion) if whole else None
    return splat(signals[:, PICTURE], motion, signals[:, IMPORTANCE], signals[:, BEHIND], areas)


def phases_of(views: int) -> tuple[float, ...]:
    """φ of each view, from 0 to 1."""
    return tuple(view / (views - 1) for view in range(views))


class MotionPrior(ForwardPrior):
    """What is seen later of a picture; views are [3, h, w] sRGB − ½, and view 0 is the picture."""

    def decode(self, latents: Tensor) -> Tensor:
        """[B, 3, h, w] sRGB."""
        return (latents + MIDDLE).clamp(0, 1)

    def encode(self, images: Tensor) -> Tensor:
        """[B, 3, h, w] of sRGB."""
        return images - MIDDLE


def motion_prior(network: MotionNetwork) -> MotionPrior:
    """The prior of a trained network."""
    shape = network.shape
    network.eval().requires_grad_(False)
    picture = (3, shape.size, shape.size)
    forward = MovingPicture(phases_of(shape.views))
    return MotionPrior(network, forward, shape.views, picture, targets=tuple(range(1, shape.views)), sigmas=SIGMAS)


def load_motion_prior(source: str = "bundled") -> MotionPrior:
    """The one that comes along, or one from a folder that `scripts/forward_models/build motion` wrote; on the CPU.

    Raises:
        RequestError: no such folder, or one with something else in it.
    """
    folder = BUNDLED if source == "bundled" else named(source)
    return motion_prior(load_network(folder, source, MotionNetworkShape, MotionNetwork, "makes pictures move"))
