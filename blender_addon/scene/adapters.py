# SPDX-License-Identifier: GPL-3.0-or-later
"""What bends the prior, as a job has it: LoRAs, ControlNets, a reference picture with its IP-Adapter."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import bpy

from ..problems import Problem
from .keep import picture_pieces

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
Files = dict[str, Iterable[bytes]]


def lora(entry: Any) -> dict[str, Any]:
    """Raises a Problem where its file is not there."""
    path = Path(bpy.path.abspath(entry.file))
    if not entry.file.strip() or not path.is_file():
        named = f"There is no LoRA file {path}." if entry.file.strip() else "A LoRA has no file."
        raise Problem(f"{named} Choose it again in the Advanced panel, or take it off the list.")
    return {"file": str(path.resolve()), "weight": round(entry.weight, 6)}


def controlnet(entry: Any) -> dict[str, Any]:
    """Raises a Problem where its folder is not there, or is none of a ControlNet."""
    told = entry.folder.strip()
    if not told:
        raise Problem("A ControlNet has no folder. Choose it in the Advanced panel, or take it off the list.")
    path = Path(bpy.path.abspath(told))
    if path.is_dir():
        require_controlnet(path)
        folder = str(path.resolve())
    elif HUB_ID.fullmatch(told):
        folder = told
    else:
        raise Problem(
            f"There is no ControlNet folder {path}. Choose it again in the Advanced panel, or take it off the list."
        )
    kind = None if entry.kind == "AUTO" else entry.kind
    return {"folder": folder, "kind": kind, "scale": round(entry.scale, 6)}


def require_controlnet(path: Path) -> None:
    """Raises a Problem for a folder that holds none in diffusers' format."""
    if not (path / "config.json").is_file():
        raise Problem(
            f"{path} is no ControlNet in diffusers' format: it has no config.json. Choose the folder that holds it."
        )


def reference(settings: Any, cameras: Sequence[bpy.types.Object], names: Sequence[str]) -> tuple[dict[str, Any], Files]:
    """What a job says of the picture to look at, and the pictures by their place in the job; nothing where none is
    chosen.

    Args:
        cameras: those of the scene that look.
        names: of the job's views; an animated camera has several.

    Raises:
        Problem: no IP-Adapter, one that is not there, or a picture that cannot be written.
    """
    if settings.reference is None:
        return {}, {}
    adapter = Path(bpy.path.abspath(settings.ip_adapter))
    if not settings.ip_adapter.strip():
        raise Problem(
            f"The picture '{settings.reference.name}' wants an IP-Adapter of the prior's family to be looked at. "
            "Choose its .safetensors file in the Advanced panel, or take the picture away."
        )
    if adapter.suffix.lower() != ".safetensors" or not adapter.is_file():
        raise Problem(
            f"There is no IP-Adapter {adapter}: it is a .safetensors file. Choose it again in the Advanced panel, or "
            "take the reference picture away."
        )
    encoder = Path(bpy.path.abspath(settings.image_encoder)) if settings.image_encoder.strip() else None
    if encoder is not None and not (encoder / "config.json").is_file():
        raise Problem(
            f"{encoder} is no image encoder: it has no config.json. Choose the folder of the CLIP vision model, or "
            "leave it empty where it lies beside the IP-Adapter."
        )
    block: dict[str, Any] = {
        "picture": "inputs/reference.png",
        "adapter": str(adapter.resolve()),
        "image_encoder": None if encoder is None else str(encoder.resolve()),
        "scale": round(settings.reference_scale, 6),
    }
    files: Files = {"inputs/reference.png": _picture(settings.reference)}
    own = []
    for number, camera in enumerate(camera for camera in cameras if camera.ddrep.reference is not None):
        place = f"inputs/reference_{number}.png"
        looks = [name for name in names if name == camera.name or name.startswith(f"{camera.name} @ ")]
        own += [{"camera": name, "file": place} for name in looks]
        if looks:
            files[place] = _picture(camera.ddrep.reference)
    return {"reference": {**block, **({"cameras": own} if own else {})}}, files


def _picture(image: bpy.types.Image) -> Iterable[bytes]:
    if image.is_float or image.source == "TILED" or not min(image.size):
        raise Problem(
            f"The reference picture '{image.name}' is no plain picture of 8 bits. Save it as a PNG, and choose that."
        )
    return picture_pieces(image)
