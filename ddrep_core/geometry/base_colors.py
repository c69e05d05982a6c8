"""The pictures that a mesh wears already."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddrep_core.confined import Confined
from ddrep_core.errors import RequestError
from ddrep_core.geometry.gltf_materials import base_color_info, image_of, material_of
from ddrep_core.geometry.mesh import Mesh, Part
from ddrep_core.pictures import to_linear, to_srgb

LARGEST_SIDE = 8192


def base_colors(mesh: Mesh, root: Path, worn: Mapping[str, Path] | None = None) -> dict[str, Tensor]:
    """[3, T, T] sRGB in [0, 1] of each textured part's base colour, its factor in it, by the part's name.

    Args:
        root: the folder that no picture's name may lead out of.
        worn: pictures by the name of a part or an object, which count more than what the mesh says.

    Raises:
        RequestError: a part has no picture, or one that cannot be read.
    """
    return {part.name: _picture(mesh, part, Confined(root), worn or {}) for part in mesh.textured_parts}


def _picture(mesh: Mesh, part: Part, files: Confined, worn: Mapping[str, Path]) -> Tensor:
    try:
        if own := worn.get(part.name) or worn.get(part.object_name):
            content, factor = own.read_bytes(), (1.0, 1.0, 1.0)
        else:
            content, factor = _content(mesh, part, files)
        if not content:
            raise RequestError(
                f"'{part.name}' has no base-colour picture, so there is nothing to edit.",
                "Texture it first (`ddrep texture`), or name another object.",
            )
        with Image.open(io.BytesIO(content)) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, LookupError, Image.DecompressionBombError) as error:
        raise RequestError(
            f"The base-colour picture of '{part.name}' cannot be read ({error}).", "Export the mesh again."
        ) from error
    side = min(max(picture.size), LARGEST_SIDE)
    if picture.size != (side, side):
        picture = picture.resize((side, side), Image.Resampling.LANCZOS)
    colors = np.asarray(picture, np.float32) / 255
    if factor != (1.0, 1.0, 1.0):
        colors = to_srgb(to_linear(colors) * np.asarray(factor, np.float32)).clip(0, 1)
    return torch.from_numpy(np.ascontiguousarray(colors)).permute(2, 0, 1).float()


def _content(mesh: Mesh, part: Part, files: Confined) -> tuple[bytes, tuple[float, ...]]:
    """The bytes of the picture, none where there is none; and the linear RGB that it is multiplied by."""
    if mesh.document is None or part.primitive is None:
        material = mesh.materials.get(part.material)
        if material is None or material.image is None:
            return b"", (1.0, 1.0, 1.0)
        with files.open(material.image) as file:
            return file.read(), (1.0, 1.0, 1.0)
    data = mesh.document.data
    material = material_of(data, data["meshes"][part.primitive.mesh]["primitives"][part.primitive.primitive])
    info = base_color_info(material)
    if not info:
        return b"", (1.0, 1.0, 1.0)
    factor = material.get("pbrMetallicRoughness", {}).get("baseColorFactor", (1.0, 1.0, 1.0, 1.0))
    number = image_of(data["textures"][info["index"]])
    return mesh.document.picture(number), tuple(float(value) for value in factor[:3])
