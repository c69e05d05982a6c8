"""Objects behind one picture: a trained network, its renderer, and the prior of views that these two make."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from ddrep_core.confined import is_folder, named
from ddrep_core.errors import RequestError
from ddrep_core.forward_models.field import FieldRenderer, on_white, seen_as
from ddrep_core.forward_models.object_network import ObjectNetwork, ObjectNetworkShape
from ddrep_core.forward_models.prior import ForwardPrior
from ddrep_core.forward_models.rig import SHOWN, VIEW_COUNT, rig_views
from ddrep_core.priors.model_files import read_weights
from ddrep_core.priors.protocol import karras_sigmas

BUNDLED = Path(__file__).resolve().parent / "bundled"
CONFIGURATION, WEIGHTS = "config.json", "model.safetensors"
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


def load_object_prior(source: str = "bundled") -> ObjectPrior:
    """The one that comes along, or one from a folder that `scripts/forward_models/build` wrote; on the CPU.

    Raises:
        RequestError: no such folder, or one with something else in it.
    """
    folder = BUNDLED if source == "bundled" else named(source)
    if not is_folder(folder):
        raise RequestError(
            f"There is no folder {source} with a model that makes objects of pictures.",
            "Leave --prior out to take the one that comes along; a diffusion model cannot do this.",
        )
    try:
        settings = json.loads((folder / CONFIGURATION).read_text(encoding="utf-8"))
        network = ObjectNetwork(ObjectNetworkShape(**settings["network"]))
        wanted = network.state_dict()
        found = read_weights([folder / WEIGHTS], torch.float32, source)
        if found.keys() != wanted.keys() or any(found[name].shape != wanted[name].shape for name in wanted):
            raise ValueError("its weights are of another network")
        if not all(bool(torch.isfinite(value).all()) for value in found.values()):
            raise ValueError("its weights hold numbers that are not finite")
        network.load_state_dict(found)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RequestError(
            f"{folder} holds no model that makes objects of pictures ({reason}).",
            "Leave --prior out to take the one that comes along; a diffusion model cannot do this.",
        ) from error
    return object_prior(network)


def save_object_network(network: ObjectNetwork, folder: Path, about: dict[str, object]) -> None:
    """Write what `load_object_prior` reads: weights as 16-bit floats, and what the network is built of.

    Args:
        about: whatever else is to be known of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(weights))
    text = json.dumps({"network": asdict(network.shape), **about}, indent=2)
    (folder / CONFIGURATION).write_text(text + "\n", encoding="utf-8")
