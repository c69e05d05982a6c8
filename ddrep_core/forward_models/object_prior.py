"""Objects behind one picture: a trained network, its renderer, and the prior of views that these two make."""

from __future__ import annotations

from torch import Tensor

from ddrep_core.confined import named
from ddrep_core.forward_models.field import FieldRenderer, on_white, seen_as
from ddrep_core.forward_models.kept_network import bundled, load_network
from ddrep_core.forward_models.object_network import ObjectNetwork, ObjectNetworkShape
from ddrep_core.forward_models.prior import ForwardPrior
from ddrep_core.forward_models.rig import SHOWN, VIEW_COUNT, rig_views
from ddrep_core.priors.protocol import karras_sigmas

BUNDLED = bundled("objects")
TARGETS = tuple(range(1, SHOWN))
SIGMAS = karras_sigmas(200, sigma_max=8.0)
WHITE = 0.98  # sRGB: where a picture that has no coverage of its own shows its ground


class ObjectPrior(ForwardPrior):
    """Views of one object from the rig, given others; a signal is its radiance field [4, R, R, R].

    Views are [4, h, w]: coverage times (sRGB − ½), and coverage (`forward_models.field`).
    """

    def decode(self, latents: Tensor) -> Tensor:
        """[B, 3, h, w] sRGB before a white ground."""
        return on_white(latents)

    def encode(self, images: Tensor) -> Tensor:
        """[B, 4, h, w] of pictures [B, 3, h, w] before a white ground."""
        coverage = (images.amin(-3, keepdim=True) < WHITE).to(images)
        return seen_as(images * coverage, coverage)


def object_prior(network: ObjectNetwork) -> ObjectPrior:
    """The prior of a trained network."""
    shape = network.shape
    network.eval().requires_grad_(False)
    renderer = FieldRenderer(rig_views(shape.size), shape.size, shape.grid)
    return ObjectPrior(network, renderer, VIEW_COUNT, (4, shape.size, shape.size), targets=TARGETS, sigmas=SIGMAS)


def load_object_network(source: str = "bundled") -> ObjectNetwork:
    """The network that comes along, or one from a folder that `scripts/forward_models/build` wrote; on the CPU.

    Raises:
        RequestError: no such folder, or one with something else in it.
    """
    folder = BUNDLED if source == "bundled" else named(source)
    return load_network(folder, source, ObjectNetworkShape, ObjectNetwork, "makes objects of pictures")


def load_object_prior(source: str = "bundled") -> ObjectPrior:
    """The prior of `load_object_network`, which says what it raises."""
    return object_prior(load_object_network(source))
