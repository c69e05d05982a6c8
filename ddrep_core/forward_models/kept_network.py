"""Trained networks in folders: what a network is built of (config.json), and its weights (model.safetensors)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save
from torch import nn

from ddrep_core.confined import is_folder
from ddrep_core.errors import RequestError
from ddrep_core.priors.model_files import read_weights

CONFIGURATION, WEIGHTS = "config.json", "model.safetensors"

Network = TypeVar("Network", bound=nn.Module)
Shape = TypeVar("Shape")


def bundled(name: str) -> Path:
    """Where the model of that name is that comes along."""
    return Path(__file__).resolve().parent / "bundled" / name


def load_network(
    folder: Path, source: str, shape: Callable[..., Shape], network: Callable[[Shape], Network], what: str
) -> Network:
    """A network that `save_network` wrote, on the CPU.

    Args:
        source: what the folder was called, for messages.
        shape: takes config.json's "network".
        what: the model does: "makes objects of pictures".

    Raises:
        RequestError: no such folder, or one with something else in it.
    """
    fix = "Leave --prior out to take the one that comes along; a diffusion model cannot do this."
    if not is_folder(folder):
        raise RequestError(f"There is no folder {source} with a model that {what}.", fix)
    try:
        settings = json.loads((folder / CONFIGURATION).read_text(encoding="utf-8"))
        found = network(shape(**settings["network"]))
        wanted, weights = found.state_dict(), read_weights([folder / WEIGHTS], torch.float32, source)
        if weights.keys() != wanted.keys() or any(weights[name].shape != wanted[name].shape for name in wanted):
            raise ValueError("its weights are of another network")
        if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
            raise ValueError("its weights hold numbers that are not finite")
        found.load_state_dict(weights)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RequestError(f"{folder} holds no model that {what} ({reason}).", fix) from error
    return found


def save_network(network: nn.Module, shape: Any, folder: Path, about: dict[str, object]) -> None:
    """Write what `load_network` reads; weights as 16-bit floats.

    Args:
        shape: a dataclass of numbers, what the network is built of.
        about: whatever else is to be known of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(weights))
    text = json.dumps({"network": asdict(shape), **about}, indent=2)
    (folder / CONFIGURATION).write_text(text + "\n", encoding="utf-8")
