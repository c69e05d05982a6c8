"""How much memory a model needs, told from its configurations and the headers of its weights: nothing large is read."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ddrep_core.priors.adapters.ip_adapter import IpAdapter, adapter_files
from ddrep_core.priors.autoencoder import TILE, autoencoder_dtype, picture_bytes
from ddrep_core.priors.families import native_sides
from ddrep_core.priors.model_files import ModelFiles
from ddrep_core.priors.model_folder import ModelFolder
from ddrep_core.priors.single_file import SingleFile

VIEWS = 8
"""Of a usual job, both branches of guidance each."""


@dataclass(frozen=True)
class MemoryNeeds:
    """Bytes on the device.

    Args:
        weights: {part: its weights in the precision that it runs in}.
        resident: what stays there while a job samples: the denoising network, ControlNets and an IP-Adapter beside it.
            Text and image encoders leave when they have read.
        autoencoder: its weights, which stay too where there is room, and else come when views meet.
        view: the activations of one view under guidance.
        picture: those of decoding one picture, or one tile of it.
    """

    weights: dict[str, float]
    resident: float
    autoencoder: float
    view: float
    picture: float

    @property
    def least(self) -> float:
        """With one row at a time, pictures in tiles, and the autoencoder in main memory between meetings."""
        reader = max((size for part, size in self.weights.items() if _reads(part)), default=0.0)
        return self.resident + max(self.view / 2, self.autoencoder + self.picture, reader)

    @property
    def comfortable(self) -> float:
        """With all views of a usual job at once, and the autoencoder beside them."""
        return self.resident + self.autoencoder + max(VIEWS * self.view, self.picture)

    def __str__(self) -> str:
        parts = ", ".join(f"{part} {_gigabytes(size)}" for part, size in self.weights.items())
        return (
            f"{_gigabytes(self.least)} at least, {_gigabytes(self.comfortable)} with {VIEWS} views at once "
            f"(weights: {parts}; encoders of text and pictures leave when they have read, and with less than "
            f"{_gigabytes(self.comfortable)} the autoencoder waits in main memory between meetings)"
        )


def _reads(part: str) -> bool:
    return part.startswith(("text", "image"))


def memory_needs(
    folder: ModelFolder | SingleFile,
    dtype: torch.dtype,
    controlnets: Sequence[Path] = (),
    ip_adapter: IpAdapter | None = None,
) -> MemoryNeeds:
    """What a model needs in some precision.

    Args:
        folder: the model.
        dtype: of its network.
        controlnets: the folders of ControlNets that go with it.
        ip_adapter: what lets it look at a picture.

    Raises:
        RequestError: a configuration or weights that cannot be read, an IP-Adapter without its image encoder.
    """
    half = dtype in (torch.float16, torch.bfloat16)
    vae_config = folder.config("vae")
    vae_dtype = autoencoder_dtype(vae_config, dtype)
    weights: dict[str, float] = {}
    for part in (folder.family.network, "vae", *folder.text_encoders()):
        size = vae_dtype.itemsize if part == "vae" else dtype.itemsize
        weights[part] = size * float(_count_part(folder, part, half))
    beside = [(ModelFiles(path, str(path)), ".") for path in controlnets] or [(folder.files, "controlnet")]
    for files, place in beside:
        if files.has(f"{place}/config.json"):
            size = dtype.itemsize * float(count_weights(files.weight_files(place, half)))
            weights["controlnet"] = weights.get("controlnet", 0.0) + size
    if ip_adapter is not None:
        file, encoder = adapter_files(ip_adapter, folder.files)
        weights["ip_adapter"] = dtype.itemsize * float(count_weights([file]))
        seeing = ModelFiles(encoder, str(encoder)).weight_files(".", half)
        weights["image_encoder"] = dtype.itemsize * float(count_weights(seeing))
    resident = sum(size for part, size in weights.items() if part != "vae" and not _reads(part))

    config = folder.config(folder.family.network)
    cells = max(native_sides(config, folder.family))
    widths = config.get("block_out_channels")
    if widths:
        row = 40.0 * widths[0] * cells**2 * dtype.itemsize
    else:
        side = 2 if folder.family.style == "flux" else config.get("patch_size", 2)
        tokens = cells**2 / side**2 + 512
        row = (
            20.0 * config.get("num_attention_heads", 1) * config.get("attention_head_dim", 64) * tokens * dtype.itemsize
        )
    vae_widths = vae_config.get("block_out_channels") or [128]
    factor = 2 ** (len(vae_widths) - 1)
    picture = picture_bytes(vae_widths[0], (min(cells, TILE) * factor) ** 2)
    return MemoryNeeds(weights, resident, weights["vae"], 2 * row, picture)


def _count_part(folder: ModelFolder | SingleFile, part: str, half: bool) -> int:
    if isinstance(folder, SingleFile):
        return folder.count(part)
    return count_weights(folder.files.weight_files(part, half))


def count_weights(files: list[Path]) -> int:
    """How many numbers some safetensors files hold, from their headers."""
    total = 0
    for path in files:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        total += sum(math.prod(entry["shape"]) for key, entry in header.items() if key != "__metadata__")
    return total


def _gigabytes(size: float) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 0.05 * 2**30 else f"{size / 2**20:.0f} MB"
