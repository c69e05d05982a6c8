"""Meshes out: GLB with the new base-colour textures, everything else as it came.

A mesh that came as glTF keeps its document: nodes, accessors, animations, other materials. Only the textured
primitives' materials are new. Other formats become a plain document with one node an object.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from ddrep_core.confined import Confined, LeadsOut
from ddrep_core.errors import RequestError
from ddrep_core.geometry.glb_builder import (
    ARRAY_BUFFER,
    ELEMENT_ARRAY_BUFFER,
    WEBP,
    GlbBuilder,
    mime_type,
)
from ddrep_core.geometry.glb_repair import repair_accessors, sound_numbers
from ddrep_core.geometry.gltf_document import TRIANGLES, GltfDocument, primitive_faces
from ddrep_core.geometry.gltf_materials import (
    ROUGHNESS,
    TRANSFORM,
    base_color_alpha,
    base_color_info,
    material_of,
    painted,
    uses_alpha,
    uv_set,
    with_maps,
)
from ddrep_core.geometry.mesh import Y_UP_TO_WORLD, Float, GltfPrimitive, Int, Mesh, Part, SimpleMaterial
from ddrep_core.geometry.normals import corner_normals
from ddrep_core.geometry.texels import distinct_rows
from ddrep_core.pictures import open_picture, png_bytes, to_uint8

ROUNDING = 5e-5  # how far single precision may move a vertex, as a share of its object's size


def write_glb(
    mesh: Mesh,
    textures: Mapping[str, Tensor | ArrayLike | Path],
    path: str | Path,
    maps: Mapping[str, Mapping[str, Path]] | None = None,
) -> None:
    """Write a mesh with new base-colour textures.

    Args:
        mesh: as `load_mesh` gave it.
        textures: by part name, [3, T, T] sRGB in [0, 1], or the path of a PNG file of it, which is taken in as it is.
            Parts without one keep their material.
        path: of the .glb.
        maps: by part name, PNG files of data for its new material: "metallic_roughness" (roughness in green, metallic
            in blue) and "normal".

    Raises:
        RequestError: a name that is no part of the mesh.
    """
    if unknown := [name for name in textures if name not in {part.name for part in mesh.parts}]:
        raise RequestError(f"{mesh.path.name} has no part called '{unknown[0]}'.")
    pictures = {name: _png(texture) for name, texture in textures.items()}
    data = maps or {}
    builder = _patched(mesh, mesh.document, pictures, data) if mesh.document else _built(mesh, pictures, data)
    builder.write(Path(path))


PngMaker = Callable[[], bytes]
DataMaps = Mapping[str, Mapping[str, Path]]


def _png(texture: Tensor | ArrayLike | Path) -> PngMaker:
    """What gives a texture's PNG file when it is due, so that no two are held at a time."""
    if isinstance(texture, Path):
        return texture.read_bytes
    return lambda: png_bytes(Image.fromarray(to_uint8(texture)))


# --- a document that came as glTF -------------------------------------------------------------------------------


def _mapped(builder: GlbBuilder, material: dict[str, Any], name: str, maps: DataMaps) -> dict[str, Any]:
    """A part's new material with the maps that it has."""
    if not (own := maps.get(name)):
        return material
    numbers = {
        what: builder.add_texture(own[what].read_bytes(), f"{name} {what}") if what in own else None
        for what in ("metallic_roughness", "normal")
    }
    return with_maps(material, numbers["metallic_roughness"], numbers["normal"])


def _patched(mesh: Mesh, source: GltfDocument, pictures: Mapping[str, PngMaker], maps: DataMaps) -> GlbBuilder:
    """The source document, its buffers joined and images taken in, with the textured primitives' materials new."""
    data = source.copy().data
    builder = _joined(data, source)
    _embed_images(builder, source)
    _own_meshes(mesh, data, pictures)
    split = _split_tiles(builder, source, mesh)
    for part in mesh.parts:
        if part.name not in pictures or part.primitive is None:
            continue
        where = part.primitive
        primitive = split.get(part.name)
        if primitive is None:
            primitive = data["meshes"][data["nodes"][where.node]["mesh"]]["primitives"][where.primitive]
        old = material_of(data, primitive)
        new_uvs = (
            _split_primitive(builder, source, primitive, part, uv_set(base_color_info(old))) if part.unwrapped else None
        )
        content = pictures[part.name]()
        if new_uvs is None:
            content = _with_alpha(content, source, old)
        texture = builder.add_texture(content, part.name)
        material = _seen_from(mesh, painted(old, f"{part.name} (ddrep)", texture, new_uvs))
        material = _mapped(builder, material, part.name, maps)
        if TRANSFORM in base_color_info(material).get("extensions", {}):
            builder.use_extension(TRANSFORM)
        primitive["material"] = builder.add_material(material)
        _hide_vertex_colors(builder, primitive, old)
    return builder


def _with_alpha(content: bytes, source: GltfDocument, material: Mapping[str, Any]) -> bytes:
    """A texture's PNG file with the alpha that the old material's texture had, if it had one."""
    picture = open_picture(content)
    if picture.mode != "RGB":
        return content
    alpha = base_color_alpha(source, material, picture.size)
    return content if alpha is None else png_bytes(Image.fromarray(np.dstack([np.asarray(picture), alpha])))


def _seen_from(mesh: Mesh, material: dict[str, Any]) -> dict[str, Any]:
    """A new material, seen from both sides where both are painted."""
    return {**material, "doubleSided": True} if mesh.both_sides else material


def _joined(data: dict[str, Any], source: GltfDocument) -> GlbBuilder:
    """A builder on a copy of the source's JSON, with all its buffers in one block and its accessors in good order."""
    binary = bytearray()
    offsets = []
    for block in source.buffers:
        binary.extend(b"\0" * (-len(binary) % 4))
        offsets.append(len(binary))
        binary.extend(block)
    for view in data.get("bufferViews", []):
        start = view.get("byteOffset", 0)
        rest = len(source.buffers[view["buffer"]]) - start
        if 0 < rest < view["byteLength"]:  # it reached past its buffer
            view["byteLength"] = rest
        if offsets[view["buffer"]]:
            view["byteOffset"] = start + offsets[view["buffer"]]
        view["buffer"] = 0
    builder = GlbBuilder(data, bytes(binary))
    repair_accessors(builder, source, offsets)
    return builder


def _embed_images(builder: GlbBuilder, source: GltfDocument) -> None:
    """Take the images in, each with the type that its bytes say."""
    images = builder.data.get("images", [])
    for number, image in enumerate(images):
        content = source.picture(number)
        if "uri" in image:
            del image["uri"]
            image["bufferView"] = builder.add_bytes(content)
            image["mimeType"] = mime_type(content) or image.get("mimeType", "image/png")
        elif found := mime_type(content):
            image["mimeType"] = found
    for texture in builder.data.get("textures", []):
        if "source" in texture and images[texture["source"]].get("mimeType") == WEBP:
            builder.name_webp(texture)


def _own_meshes(mesh: Mesh, data: dict[str, Any], pictures: Collection[str]) -> None:
    """Nodes that share a mesh but get textures of their own get copies of it; the accessors stay shared."""
    users = [node.get("mesh") for node in data.get("nodes", [])]
    for node in dict.fromkeys(part.primitive.node for part in mesh.parts if part.primitive and part.name in pictures):
        number = data["nodes"][node]["mesh"]
        if users.count(number) > 1:
            data["meshes"].append(copy.deepcopy(data["meshes"][number]))
            data["nodes"][node]["mesh"] = len(data["meshes"]) - 1


def _split_tiles(builder: GlbBuilder, source: GltfDocument, mesh: Mesh) -> dict[str, dict[str, Any]]:
    """A primitive for each UDIM tile, by its part's name: the first in the old one's place, the others at the end.

    They share the old one's vertices, whose UVs stay: a texture that repeats shows them the tile that they lie in.
    """
    data, found = builder.data, {}
    tiles: dict[GltfPrimitive, list[Part]] = {}
    for part in mesh.parts:
        if part.primitive is not None and part.rows is not None:
            tiles.setdefault(part.primitive, []).append(part)
    for where, parts in tiles.items():
        primitives = data["meshes"][data["nodes"][where.node]["mesh"]]["primitives"]
        old = primitives[where.primitive]
        faces = primitive_faces(source, old)
        for number, part in enumerate(parts):
            assert part.rows is not None
            own = copy.deepcopy(old)
            if len(parts) > 1:
                indices = faces[part.rows].reshape(-1, 1).astype(np.uint32)
                own["indices"] = builder.add_accessor(indices, "SCALAR", ELEMENT_ARRAY_BUFFER)
                own.pop("mode", None)
            if number:
                primitives.append(own)
            else:
                primitives[where.primitive] = own
            found[part.name] = own
    return found


def _split_primitive(
    builder: GlbBuilder, source: GltfDocument, primitive: dict[str, Any], part: Part, wanted: int
) -> int:
    """Give a primitive new UVs: vertices are doubled where the texture has a seam, faces keep their order.

    Args:
        wanted: the TEXCOORD that the base colour reads, which has no use as it is.

    Returns:
        the number of the TEXCOORD that is new: the wanted one, or if it is not there the first that is free.
    """
    assert part.uv is not None
    old = primitive["attributes"]
    taken = {name for name in old if name.startswith("TEXCOORD_")}
    number = wanted if f"TEXCOORD_{wanted}" in taken else next(n for n in range(99) if f"TEXCOORD_{n}" not in taken)
    uv = np.stack([part.uv[..., 0], 1 - part.uv[..., 1]], axis=-1).astype(np.float32).reshape(-1, 2)
    # The part's own vertices are only those that it uses; here the file's numbers are due.
    found, corner, faces = _split_corners(primitive_faces(source, primitive).reshape(-1), uv)
    entries, sound = source.data["accessors"], sound_numbers(source, primitive)

    def gathered(attributes: dict[str, int]) -> dict[str, int]:
        return {
            name: builder.add_accessor(
                (sound[index] if index in sound else source.accessor(index))[found],
                entries[index]["type"],
                ARRAY_BUFFER,
                entries[index],
                is_position=name == "POSITION",
            )
            for name, index in attributes.items()
        }

    attributes = gathered({name: index for name, index in old.items() if name != f"TEXCOORD_{number}"})
    attributes[f"TEXCOORD_{number}"] = builder.add_accessor(uv[corner], "VEC2", ARRAY_BUFFER)
    primitive["attributes"] = attributes
    if "targets" in primitive:
        primitive["targets"] = [gathered(target) for target in primitive["targets"]]
    primitive["indices"] = builder.add_accessor(faces.reshape(-1, 1).astype(np.uint32), "SCALAR", ELEMENT_ARRAY_BUFFER)
    primitive.pop("mode", None)
    return number


def _hide_vertex_colors(builder: GlbBuilder, primitive: dict[str, Any], old: Mapping[str, Any]) -> None:
    """Vertex colours would tint the texture: an underscore keeps them as data. Their alpha stays where it counts."""
    attributes = primitive["attributes"]
    if "COLOR_0" not in attributes:
        return
    index = attributes.pop("COLOR_0")
    attributes.setdefault("_COLOR_0", index)
    entry = builder.data["accessors"][index]
    if not uses_alpha(old) or entry["type"] != "VEC4":
        return
    values = builder.values(index)
    one = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    if (values[:, 3] < one).any():
        values[:, :3] = one
        attributes["COLOR_0"] = builder.add_accessor(values, "VEC4", ARRAY_BUFFER, entry)


def _split_corners(vertex: Int, *attributes: NDArray[Any]) -> tuple[Int, Int, Int]:
    """Give each distinct (vertex, attributes…) a vertex of its own, in the order of the old vertices.

    Args:
        vertex: [3F] old vertex of each corner; attributes: [3F, n] each.

    Returns:
        source [N], the old vertex of each new one; corner [N], a corner that has its attributes; faces [F, 3].
    """
    columns = [vertex.astype(np.int64)]
    columns += [distinct_rows(list(values.T))[0] for values in attributes]
    number, corner = distinct_rows(columns)
    return columns[0][corner], corner, number.reshape(-1, 3)


# --- a document made from nothing -------------------------------------------------------------------------------


def _built(mesh: Mesh, pictures: Mapping[str, PngMaker], maps: DataMaps) -> GlbBuilder:
    """A new document, Y-up, with one node and one mesh an object."""
    builder = GlbBuilder(
        {
            "asset": {"version": "2.0", "generator": "ddrep"},
            "scene": 0,
            "scenes": [{"nodes": []}],
            "nodes": [],
            "meshes": [],
        }
    )
    materials: dict[str, int] = {}
    for name in mesh.object_names:
        parts = [part for part in mesh.parts if part.object_name == name]
        origin = _far_origin(parts)
        primitives = []
        for part in parts:
            primitive = _primitive(builder, part, origin)
            known = mesh.materials.get(part.material, SimpleMaterial(part.material))
            if part.name in pictures:
                texture = builder.add_texture(pictures[part.name](), part.name)
                material = _seen_from(mesh, painted(_transparency(known), f"{part.name} (ddrep)", texture))
                primitive["material"] = builder.add_material(_mapped(builder, material, part.name, maps))
            elif part.material:
                if part.material not in materials:
                    materials[part.material] = builder.add_material(_pbr(builder, known))
                primitive["material"] = materials[part.material]
            primitives.append(primitive)
        builder.data["meshes"].append({"name": name, "primitives": primitives})
        node = {"name": name, "mesh": len(builder.data["meshes"]) - 1}
        if origin is not None:
            node["translation"] = origin.tolist()
        builder.data["nodes"].append(node)
        builder.data["scenes"][0]["nodes"].append(len(builder.data["nodes"]) - 1)
    return builder


def _far_origin(parts: Sequence[Part]) -> Float | None:
    """[3] in glTF's axes, where an object's own origin must be for single precision to hold its shape; None: anywhere.

    Coordinates of the earth (UTM) are millions of metres; single precision has steps of half a metre there. The origin
    is a number of single precision itself, for many readers keep transforms in it.
    """
    points = np.concatenate([part.triangles.reshape(-1, 3) for part in parts]) @ Y_UP_TO_WORLD
    low, high = points.min(axis=0), points.max(axis=0)
    step = float(np.spacing(np.float32(max(np.abs(low).max(), np.abs(high).max()))))
    if step / 2 <= ROUNDING * float((high - low).max()):
        return None
    return ((low + high) / 2).astype(np.float32).astype(np.float64)


def _transparency(material: SimpleMaterial) -> dict[str, Any]:
    """What of an MTL material stays under a painted texture. Opacity 0 is some exporters' word for 1."""
    opacity = _colors(material)[3]
    if not 0 < opacity < 1:
        return {}
    return {"pbrMetallicRoughness": {"baseColorFactor": [1.0, 1.0, 1.0, opacity]}, "alphaMode": "BLEND"}


def _colors(material: SimpleMaterial) -> list[float]:
    """[4] linear RGBA within what glTF allows."""
    return np.clip(np.nan_to_num(material.color, nan=1.0), 0.0, 1.0).tolist()


def _pbr(builder: GlbBuilder, material: SimpleMaterial) -> dict[str, Any]:
    """The glTF twin of an MTL material."""
    color = _colors(material)
    entry: dict[str, Any] = {
        "name": material.name,
        "pbrMetallicRoughness": {"baseColorFactor": color, "metallicFactor": 0.0, "roughnessFactor": ROUGHNESS},
    }
    if color[3] < 1:
        entry["alphaMode"] = "BLEND"
    content = None if material.image is None else _image_for_gltf(material.image)
    if material.image is not None and content is not None:
        texture = builder.add_texture(content, material.image.stem)
        entry["pbrMetallicRoughness"]["baseColorTexture"] = {"index": texture}
        entry["pbrMetallicRoughness"]["baseColorFactor"] = [1.0, 1.0, 1.0, color[3]]
    return entry


def _image_for_gltf(path: Path) -> bytes | None:
    """An image file as glTF may hold it: PNG, JPEG and WebP as they are, others as PNG; None for what is no image."""
    try:
        content = Confined(path.parent).read_bytes(path)
        if mime_type(content) in ("image/png", "image/jpeg", WEBP):
            return content
        picture = open_picture(content)
        return png_bytes(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))
    except (OSError, LeadsOut, ValueError):
        return None


def _primitive(builder: GlbBuilder, part: Part, origin: Float | None) -> dict[str, Any]:
    """A part's triangles, normals and UVs in glTF's own axes, from an origin."""
    normals = (corner_normals(part) @ Y_UP_TO_WORLD).reshape(-1, 3).astype(np.float32)  # a rotation: no inverse is due
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    attributes = [np.round(normals * 1e5)]
    uv = None
    if part.uv is not None:
        uv = np.stack([part.uv[..., 0], 1 - part.uv[..., 1]], axis=-1).astype(np.float32).reshape(-1, 2)
        attributes.append(uv)
    source, corner, faces = _split_corners(part.faces.reshape(-1), *attributes)
    points = part.vertices @ Y_UP_TO_WORLD
    positions = (points if origin is None else points - origin).astype(np.float32)[source]
    entry = {
        "POSITION": builder.add_accessor(positions, "VEC3", ARRAY_BUFFER),
        "NORMAL": builder.add_accessor(normals[corner], "VEC3", ARRAY_BUFFER),
    }
    if uv is not None:
        entry["TEXCOORD_0"] = builder.add_accessor(uv[corner], "VEC2", ARRAY_BUFFER)
    indices = builder.add_accessor(faces.reshape(-1, 1).astype(np.uint32), "SCALAR", ELEMENT_ARRAY_BUFFER)
    return {"attributes": entry, "indices": indices, "mode": TRIANGLES}
