"""What a mesh wears now: the base-colour picture of each part, as its file has it."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddrep_core.geometry.gltf_materials import base_color_info, image_of, material_of
from ddrep_core.geometry.mesh import Mesh, Part
from ddrep_core.pictures import to_bytes, to_linear, to_srgb

Pixels = NDArray[np.uint8]
UNREADABLE = (OSError, ValueError, SyntaxError, LookupError, Image.DecompressionBombError)


def base_colour(mesh: Mesh, part: Part) -> Pixels | None:
    """[H, W, 3] sRGB, the first row at v = 1; None where a part has no picture, no UVs of its own, or one unreadable.

    A glTF material's colour factor is in it.
    """
    if part.unwrapped:
        return None
    try:
        if mesh.document is None or part.primitive is None:
            material = mesh.materials.get(part.material)
            return None if material is None or material.image is None else _pixels(material.image.read_bytes())
        data = mesh.document.data
        primitive = data["meshes"][part.primitive.mesh]["primitives"][part.primitive.primitive]
        look = material_of(data, primitive)
        info = base_color_info(look)
        if not info:
            return None
        picture = _pixels(mesh.document.picture(image_of(data["textures"][info["index"]])))
    except UNREADABLE:
        return None
    factor = np.asarray(look.get("pbrMetallicRoughness", {}).get("baseColorFactor", (1.0, 1.0, 1.0, 1.0))[:3])
    return picture if (factor == 1).all() else to_bytes(to_srgb(to_linear(picture / 255) * factor))


def _pixels(content: bytes) -> Pixels:
    with Image.open(io.BytesIO(content)) as picture:
        return np.array(picture.convert("RGB"))
