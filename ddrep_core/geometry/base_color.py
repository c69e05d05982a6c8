"""What a mesh wears: the base-colour picture of each part, as its file has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ddrep_core.confined import Confined
from ddrep_core.errors import RequestError
from ddrep_core.geometry.gltf_materials import base_color_info, image_of, material_of
from ddrep_core.geometry.mesh import Mesh, Part
from ddrep_core.pictures import open_picture, to_bytes, to_linear, to_srgb

Pixels = NDArray[np.uint8]
LARGEST_SIDE = 8192
"""What Pillow and a broken file raise."""


def base_color(mesh: Mesh, part: Part, root: Path, worn: Path | None = None) -> Pixels | None:
    """[H, W, 3] sRGB, the first row at v = 1, a glTF material's factor in it; None where a part has no picture or no
    UVs of its own.

    Args:
        root: the folder that no picture's name may lead out of.
        worn: the picture, where that is known better than the mesh's file says.

    Raises:
        RequestError: a picture that cannot be read.
    """
    if part.unwrapped:
        return None
    try:
        files = Confined(root)
        content, factor = _content(mesh, part, files) if worn is None else (files.read_bytes(worn), np.ones(3))
        if not content:
            return None
        pixels = np.array(open_picture(content).convert("RGB"))
        return pixels if (factor == 1).all() else to_bytes(to_srgb(to_linear(pixels / 255) * factor))
    except (OSError, ValueError, LookupError) as error:
        raise RequestError(
            f"The base-colour picture of '{part.object_name}' cannot be read ({error}).", "Export the mesh again."
        ) from error


def base_colors(mesh: Mesh, root: Path, worn: Mapping[str, Path] | None = None) -> dict[str, Tensor]:
    """[3, T, T] sRGB in [0, 1] of each textured part's base colour, by the part's name.

    Args:
        root: the folder that no picture's name may lead out of.
        worn: pictures by the name of a part or an object, which count more than what the mesh says.

    Raises:
        RequestError: a part has no picture, or one that cannot be read.
    """
    known = worn or {}
    own = {part.name: known.get(part.name) or known.get(part.object_name) for part in mesh.textured_parts}
    return {part.name: _square(part, base_color(mesh, part, root, own[part.name])) for part in mesh.textured_parts}


def _square(part: Part, pixels: Pixels | None) -> Tensor:
    if pixels is None:
        raise RequestError(
            f"'{part.name}' has no base-colour picture, so there is nothing to edit.",
            "Texture it first (`ddrep texture`), or name another object.",
        )
    side = min(max(pixels.shape[:2]), LARGEST_SIDE)
    if pixels.shape[:2] != (side, side):
        pixels = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)


def _content(mesh: Mesh, part: Part, files: Confined) -> tuple[bytes, NDArray[np.float64]]:
    """The bytes of the picture, none where there is none; and the linear RGB that it is multiplied by."""
    if mesh.document is None or part.primitive is None:
        material = mesh.materials.get(part.material)
        if material is None or material.image is None:
            return b"", np.ones(3)
        return files.read_bytes(material.image), np.ones(3)
    data = mesh.document.data
    look = material_of(data, data["meshes"][part.primitive.mesh]["primitives"][part.primitive.primitive])
    info = base_color_info(look)
    if not info:
        return b"", np.ones(3)
    factor = look.get("pbrMetallicRoughness", {}).get("baseColorFactor", (1.0, 1.0, 1.0, 1.0))
    number = image_of(data["textures"][info["index"]])
    return mesh.document.picture(number), np.asarray(factor[:3], np.float64)
