"""The materials of a glTF document: what their base colour reads, and the same material with a painted one.

Only the base colour is painted. All else that a material says survives: alpha mode, cut-off and the alpha itself,
metallic and roughness, normal, occlusion and emissive maps, extensions.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddrep_core.errors import DdrepWarning
from ddrep_core.geometry.gltf_document import Float, GltfDocument
from ddrep_core.pictures import open_picture

ROUGHNESS = 0.8
TRANSFORM = "KHR_texture_transform"
# In it the base colour is the diffuse one, and those who know the extension look at no other.
SPECULAR_GLOSSINESS = "KHR_materials_pbrSpecularGlossiness"
SHINE = ("metallicFactor", "roughnessFactor", "metallicRoughnessTexture")
IMAGE_EXTENSIONS = ("EXT_texture_webp", "KHR_texture_basisu")


def material_of(data: Mapping[str, Any], primitive: Mapping[str, Any]) -> dict[str, Any]:
    """A primitive's material; empty where it has none."""
    return data["materials"][primitive["material"]] if "material" in primitive else {}


def base_color_info(material: Mapping[str, Any]) -> dict[str, Any]:
    """How a material names its base-colour texture (index, texCoord, extensions); empty where it has none."""
    glossy = material.get("extensions", {}).get(SPECULAR_GLOSSINESS, {})
    return material.get("pbrMetallicRoughness", {}).get("baseColorTexture") or glossy.get("diffuseTexture", {})


def uv_set(info: Mapping[str, Any]) -> int:
    """Which TEXCOORD a texture reads; 0 where nothing is said."""
    return info.get("extensions", {}).get(TRANSFORM, {}).get("texCoord", info.get("texCoord", 0))


def uv_transform(info: Mapping[str, Any]) -> Float:
    """[2, 3] from an attribute's UVs to the texture's, v downward in both (KHR_texture_transform: T R S).

    A positive rotation turns UVs counter-clockwise as one sees them, which is what the extension's text says and what
    Khronos's viewer does; the GLSL beside that text, read by columns, turns the other way.
    """
    entry = info.get("extensions", {}).get(TRANSFORM, {})
    offset = np.asarray(entry.get("offset", (0.0, 0.0)), np.float64)
    scale = np.asarray(entry.get("scale", (1.0, 1.0)), np.float64)
    cosine, sine = np.cos(float(entry.get("rotation", 0.0))), np.sin(float(entry.get("rotation", 0.0)))
    return np.column_stack([np.array([[cosine, sine], [-sine, cosine]]) * scale, offset])


def base_color_uvs(document: GltfDocument, primitive: Mapping[str, Any]) -> Float | None:
    """[N, 2] where each vertex lies in the base-colour texture, v downward; None without UVs."""
    info = base_color_info(material_of(document.data, primitive))
    if (name := f"TEXCOORD_{uv_set(info)}") not in primitive["attributes"]:
        return None
    uv = document.floats(primitive["attributes"][name])
    if TRANSFORM not in info.get("extensions", {}):
        return uv
    matrix = uv_transform(info)
    with np.errstate(all="ignore"):  # UVs that are not finite are told of later
        return uv @ matrix[:, :2].T + matrix[:, 2]


def uses_alpha(material: Mapping[str, Any]) -> bool:
    """Whether a material's alpha is looked at (alphaMode MASK or BLEND)."""
    return material.get("alphaMode") in ("MASK", "BLEND")


def base_color_alpha(
    document: GltfDocument, material: Mapping[str, Any], size: tuple[int, int]
) -> NDArray[np.uint8] | None:
    """[H, W] for a size of (W, H), the alpha of the old base colour; None where none is used, or it is 1 everywhere.

    Warns:
        DdrepWarning: there is one, and the picture cannot be read.
    """
    info = base_color_info(material)
    if not info or not uses_alpha(material):
        return None
    try:
        picture = open_picture(document.picture(image_of(document.data["textures"][info["index"]])))
        if not picture.has_transparency_data:
            return None
        alpha = picture.convert("RGBA").getchannel("A")
        resized = np.asarray(alpha.resize(size, Image.Resampling.BILINEAR))
    except (OSError, ValueError, LookupError) as error:
        name = material.get("name") or "a material"
        warnings.warn(
            f"The transparency of '{name}' in {document.name} is lost, for its picture cannot be read ({error}).",
            DdrepWarning,
            stacklevel=2,
        )
        return None
    return None if (resized == 255).all() else resized


def image_of(texture: Mapping[str, Any]) -> int:
    """The number of a texture's image: the one that every reader knows, else one of an extension; -1 for none."""
    extensions = texture.get("extensions", {})
    sources = [texture, *(extensions[name] for name in IMAGE_EXTENSIONS if name in extensions)]
    return next((entry["source"] for entry in sources if "source" in entry), -1)


def painted(old: Mapping[str, Any], name: str, texture: int, new_uvs: int | None = None) -> dict[str, Any]:
    """A material with another base colour, and all else that the old one says.

    Args:
        old: the material so far; empty for none.
        name: of the new one.
        texture: the number of the new texture; its alpha stands for the old one's.
        new_uvs: the TEXCOORD that was made for the new texture. What else read it is left out, for its picture lay
            differently. None: the new texture takes the old one's place, with its UVs and their transform.
    """
    info: dict[str, Any] = {"index": texture}
    before = base_color_info(old)
    kept = copy.deepcopy({key: value for key, value in old.items() if key != "name"})
    if new_uvs is not None:
        kept = _without_textures_of(kept, new_uvs)
        if new_uvs:
            info["texCoord"] = new_uvs
    else:
        if before.get("texCoord", 0):
            info["texCoord"] = before["texCoord"]
        if TRANSFORM in before.get("extensions", {}):
            info["extensions"] = {TRANSFORM: copy.deepcopy(before["extensions"][TRANSFORM])}
    metallic = kept.pop("pbrMetallicRoughness", {})
    glossy = kept.get("extensions", {}).get(SPECULAR_GLOSSINESS)
    opacity = _opacity(old) if uses_alpha(old) else 1.0
    surface: dict[str, Any] = {"baseColorTexture": info}
    if opacity < 1:
        surface["baseColorFactor"] = [1.0, 1.0, 1.0, opacity]
    if any(key in metallic for key in SHINE):
        surface |= {key: metallic[key] for key in SHINE if key in metallic}
    else:  # nothing is said of it, and glTF's default is bare metal
        surface |= {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}
    surface |= {key: metallic[key] for key in ("extensions", "extras") if key in metallic}
    if glossy is not None:
        glossy |= {"diffuseTexture": copy.deepcopy(info), "diffuseFactor": [1.0, 1.0, 1.0, opacity]}
    if new_uvs is None and before and kept.get("emissiveTexture", {}).get("index") == before["index"]:
        kept["emissiveTexture"] = copy.deepcopy(info)  # the picture shines by itself, and it was painted over
    first = {key: kept[key] for key in ("doubleSided", "normalTexture", "occlusionTexture") if key in kept}
    return {"name": name, "pbrMetallicRoughness": surface, **first, **kept}


def with_maps(material: dict[str, Any], metallic_roughness: int | None, normal: int | None) -> dict[str, Any]:
    """A painted material with textures for how it shines and where its surface looks, on the base colour's UVs.

    Args:
        metallic_roughness, normal: numbers of textures; None: as the material says.
    """
    material = copy.deepcopy(material)
    surface = material["pbrMetallicRoughness"]
    place = {key: value for key, value in surface["baseColorTexture"].items() if key != "index"}
    if metallic_roughness is not None:
        info = {"index": metallic_roughness, **copy.deepcopy(place)}
        surface |= {"metallicRoughnessTexture": info, "metallicFactor": 1.0, "roughnessFactor": 1.0}
    if normal is not None:
        material["normalTexture"] = {"index": normal, **copy.deepcopy(place)}
    return material


def _opacity(material: Mapping[str, Any]) -> float:
    """The factor that a material's alpha is multiplied with."""
    glossy = material.get("extensions", {}).get(SPECULAR_GLOSSINESS)
    if glossy is not None and "baseColorTexture" not in material.get("pbrMetallicRoughness", {}):
        return float(glossy.get("diffuseFactor", (1.0, 1.0, 1.0, 1.0))[3])
    return float(material.get("pbrMetallicRoughness", {}).get("baseColorFactor", (1.0, 1.0, 1.0, 1.0))[3])


def _without_textures_of(material: dict[str, Any], number: int) -> dict[str, Any]:
    """A material without the textures that read a TEXCOORD, and without the factors that are nothing without them."""
    result = {key: value for key, value in material.items() if not _reads(value, number)}
    if "emissiveTexture" in material and "emissiveTexture" not in result:
        result.pop("emissiveFactor", None)
    metallic = result.get("pbrMetallicRoughness", {})
    if _reads(metallic.get("metallicRoughnessTexture"), number):
        result["pbrMetallicRoughness"] = {key: value for key, value in metallic.items() if key not in SHINE}
    extensions = result.get("extensions", {})
    for name, entry in list(extensions.items()):
        if isinstance(entry, dict) and any(_reads(value, number) for value in entry.values()):
            if name == SPECULAR_GLOSSINESS and not _reads(entry.get("specularGlossinessTexture"), number):
                continue  # it is the diffuse one, which is painted
            del extensions[name]
    return result


def _reads(value: Any, number: int) -> bool:
    """Whether something in a material is a texture that reads this TEXCOORD. What an extension says may be anything."""
    if not (isinstance(value, dict) and isinstance(value.get("index"), int)):
        return False
    extensions = value.get("extensions")
    transform = extensions.get(TRANSFORM) if isinstance(extensions, dict) else None
    own = transform.get("texCoord") if isinstance(transform, dict) else None
    return (value.get("texCoord", 0) if own is None else own) == number
