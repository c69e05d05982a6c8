"""Meshes out: GLB with the new base-colour textures, everything else as it came.

A mesh that came as glTF keeps its document: nodes, accessors, animations, other materials. Only the textured
primitives' materials are new. Other formats become a plain document with one node an object.
"""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from ddrep_core.confined import Confined, LeadsOut
from ddrep_core.errors import RequestError
from ddrep_core.geometry.gltf_document import (
    BINARY_CHUNK,
    COMPONENT_TYPES,
    ELEMENT_SIZES,
    GLB_MAGIC,
    JSON_CHUNK,
    TRIANGLES,
    GltfDocument,
    base_color_uv_set,
)
from ddrep_core.geometry.mesh import Y_UP_TO_WORLD, Int, Mesh, Part, SimpleMaterial
from ddrep_core.geometry.normals import crease_normals
from ddrep_core.pictures import png_bytes, to_uint8

ROUGHNESS = 0.8
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
REPEAT = 10497
KEPT_FROM_OLD_MATERIAL = ("doubleSided", "normalTexture", "occlusionTexture")


def write_glb(mesh: Mesh, textures: Mapping[str, Tensor | ArrayLike], path: str | Path) -> None:
    """Write a mesh with new base-colour textures.

    Args:
        mesh: as `load_mesh` gave it.
        textures: by part name, [3, T, T] sRGB in [0, 1]. Parts without one keep their material.
        path: of the .glb.

    Raises:
        RequestError: a name that is no part of the mesh.
    """
    if unknown := [name for name in textures if name not in {part.name for part in mesh.parts}]:
        raise RequestError(f"{mesh.path.name} has no part called '{unknown[0]}'.")
    images = {name: png_bytes(Image.fromarray(to_uint8(texture))) for name, texture in textures.items()}
    builder = _patched(mesh, mesh.document, images) if mesh.document else _built(mesh, images)
    if mesh.both_sides:
        old = len(mesh.document.data.get("materials", [])) if mesh.document else 0
        painted = {painted_name(name) for name in images}
        for entry in builder.data.get("materials", [])[old:]:
            if entry["name"] in painted:
                entry["doubleSided"] = True
    Path(path).write_bytes(builder.content())


def painted_name(part_name: str) -> str:
    """What a part's new material is called."""
    return f"{part_name} (ddrep)"


class _Builder:
    """A glTF document with one binary block, to which accessors, images and materials are added."""

    def __init__(self, data: dict[str, Any], binary: bytes = b"") -> None:
        self.data = data
        self._binary = bytearray(binary)

    def _append(self, name: str, entry: dict[str, Any]) -> int:
        self.data.setdefault(name, []).append(entry)
        return len(self.data[name]) - 1

    def add_bytes(self, block: bytes, target: int | None = None) -> int:
        """A new buffer view."""
        self._binary.extend(b"\0" * (-len(self._binary) % 4))
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(block)}
        if target is not None:
            view["target"] = target
        self._binary.extend(block)
        return self._append("bufferViews", view)

    def add_accessor(self, values: NDArray[Any], kind: str, target: int, like: Mapping[str, Any] | None = None) -> int:
        """A new accessor over [count, n] values; `like` lends it what an older accessor says of its elements."""
        rows = np.ascontiguousarray(values)
        component = next(code for code, dtype in COMPONENT_TYPES.items() if dtype == rows.dtype)
        row_bytes = rows.dtype.itemsize * ELEMENT_SIZES[kind]
        entry = {"componentType": component, "count": len(rows), "type": kind}
        if target == ARRAY_BUFFER and row_bytes % 4:  # vertex attributes are aligned to four bytes
            padded = np.zeros((len(rows), row_bytes + -row_bytes % 4), np.uint8)
            padded[:, :row_bytes] = rows.view(np.uint8).reshape(len(rows), row_bytes)
            view = self.add_bytes(padded.tobytes(), target)
            self.data["bufferViews"][view]["byteStride"] = padded.shape[1]
        else:
            view = self.add_bytes(rows.tobytes(), target)
        entry["bufferView"] = view
        if like and like.get("normalized"):
            entry["normalized"] = True
        if kind == "VEC3" and rows.dtype == np.float32 and len(rows):
            entry["min"], entry["max"] = rows.min(axis=0).tolist(), rows.max(axis=0).tolist()
        return self._append("accessors", entry)

    def add_texture(self, content: bytes, name: str, mime_type: str = "image/png") -> int:
        image = self._append("images", {"name": name, "mimeType": mime_type, "bufferView": self.add_bytes(content)})
        sampler = self._append("samplers", {"wrapS": REPEAT, "wrapT": REPEAT})
        return self._append("textures", {"source": image, "sampler": sampler})

    def add_material(self, entry: dict[str, Any]) -> int:
        return self._append("materials", entry)

    def painted_material(self, name: str, png: bytes, uv_set: int = 0, old: Mapping[str, Any] | None = None) -> int:
        """A PBR material with a new base colour; what shapes the surface is kept from the old one."""
        info: dict[str, Any] = {"index": self.add_texture(png, name)}
        if uv_set:
            info["texCoord"] = uv_set
        entry: dict[str, Any] = {
            "name": painted_name(name),
            "pbrMetallicRoughness": {
                "baseColorTexture": info,
                "metallicFactor": 0.0,
                "roughnessFactor": ROUGHNESS,
            },
        }
        entry.update({key: old[key] for key in KEPT_FROM_OLD_MATERIAL if old and key in old})
        return self.add_material(entry)

    def content(self) -> bytes:
        """The GLB file."""
        self._binary.extend(b"\0" * (-len(self._binary) % 4))
        self.data["buffers"] = [{"byteLength": len(self._binary)}]
        text = json.dumps(self.data, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), JSON_CHUNK) + text
        chunks += struct.pack("<II", len(self._binary), BINARY_CHUNK) + self._binary
        return struct.pack("<III", GLB_MAGIC, 2, 12 + len(chunks)) + chunks


# --- a document that came as glTF -------------------------------------------------------------------------------


def _patched(mesh: Mesh, source: GltfDocument, images: Mapping[str, bytes]) -> _Builder:
    """The source document, its buffers joined and images taken in, with the textured primitives' materials new."""
    document = source.copy()
    data = document.data
    binary = bytearray()
    offsets = []
    for block in document.buffers:
        binary.extend(b"\0" * (-len(binary) % 4))
        offsets.append(len(binary))
        binary.extend(block)
    for view in data.get("bufferViews", []):
        offset = offsets[view["buffer"]]
        if offset:
            view["byteOffset"] = view.get("byteOffset", 0) + offset
        view["buffer"] = 0
    builder = _Builder(data, bytes(binary))
    for image in data.get("images", []):
        if "uri" in image:
            uri = image.pop("uri")
            content = document.resolve(uri)
            image["bufferView"] = builder.add_bytes(content)
            image["mimeType"] = "image/jpeg" if content[:2] == b"\xff\xd8" else "image/png"
    _own_meshes(mesh, data, images)
    for part in mesh.parts:
        if part.name not in images or part.primitive is None:
            continue
        where = part.primitive
        primitive = data["meshes"][data["nodes"][where.node]["mesh"]]["primitives"][where.primitive]
        uv_set = 0 if part.unwrapped else base_color_uv_set(data, primitive)
        old = data["materials"][primitive["material"]] if "material" in primitive else None
        if part.unwrapped:
            _split_primitive(builder, document, primitive, part)
            old = {key: old[key] for key in ("doubleSided",) if key in old} if old else None
        primitive["material"] = builder.painted_material(part.name, images[part.name], uv_set, old)
        if "COLOR_0" in primitive["attributes"]:  # it would tint the texture; the underscore keeps it as plain data
            primitive["attributes"]["_COLOR_0"] = primitive["attributes"].pop("COLOR_0")
    return builder


def _own_meshes(mesh: Mesh, data: dict[str, Any], images: Mapping[str, bytes]) -> None:
    """Nodes that share a mesh but get textures of their own get copies of it; the accessors stay shared."""
    users = [node.get("mesh") for node in data.get("nodes", [])]
    for node in dict.fromkeys(part.primitive.node for part in mesh.parts if part.primitive and part.name in images):
        number = data["nodes"][node]["mesh"]
        if users.count(number) > 1:
            data["meshes"].append(copy.deepcopy(data["meshes"][number]))
            data["nodes"][node]["mesh"] = len(data["meshes"]) - 1


def _split_primitive(builder: _Builder, document: GltfDocument, primitive: dict[str, Any], part: Part) -> None:
    """Give a primitive new UVs: vertices are doubled where the texture has a seam, faces keep their order."""
    assert part.uv is not None
    uv = np.stack([part.uv[..., 0], 1 - part.uv[..., 1]], axis=-1).astype(np.float32).reshape(-1, 2)
    source, corner, faces = _split_corners(part.faces.reshape(-1), uv)
    entries = document.data["accessors"]

    def gathered(accessor: int) -> int:
        entry = entries[accessor]
        return builder.add_accessor(document.accessor(accessor)[source], entry["type"], ARRAY_BUFFER, entry)

    attributes = {
        name: gathered(index) for name, index in primitive["attributes"].items() if not name.startswith("TEXCOORD_")
    }
    attributes["TEXCOORD_0"] = builder.add_accessor(uv[corner], "VEC2", ARRAY_BUFFER)
    primitive["attributes"] = attributes
    if "targets" in primitive:
        primitive["targets"] = [{name: gathered(index) for name, index in t.items()} for t in primitive["targets"]]
    primitive["indices"] = builder.add_accessor(faces.reshape(-1, 1).astype(np.uint32), "SCALAR", ELEMENT_ARRAY_BUFFER)
    primitive.pop("mode", None)


def _split_corners(vertex: Int, *attributes: NDArray[Any]) -> tuple[Int, Int, Int]:
    """Give each distinct (vertex, attributes…) a vertex of its own, in the order of the old vertices.

    Args:
        vertex: [3F] old vertex of each corner; attributes: [3F, n] each.

    Returns:
        source [N], the old vertex of each new one; corner [N], a corner that has its attributes; faces [F, 3].
    """
    columns = [vertex.astype(np.int64).reshape(-1, 1)]
    columns += [np.unique(values, axis=0, return_inverse=True)[1].reshape(-1, 1) for values in attributes]
    unique, corner, flat = np.unique(np.concatenate(columns, axis=1), axis=0, return_index=True, return_inverse=True)
    return unique[:, 0], corner, flat.reshape(-1, 3)


# --- a document made from nothing -------------------------------------------------------------------------------


def _built(mesh: Mesh, images: Mapping[str, bytes]) -> _Builder:
    """A new document, Y-up, with one node and one mesh an object."""
    builder = _Builder(
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
        primitives = []
        for part in (part for part in mesh.parts if part.object_name == name):
            primitive = _primitive(builder, part)
            if part.name in images:
                primitive["material"] = builder.painted_material(part.name, images[part.name])
            elif part.material:
                if part.material not in materials:
                    known = mesh.materials.get(part.material, SimpleMaterial(part.material))
                    materials[part.material] = builder.add_material(_pbr(builder, known))
                primitive["material"] = materials[part.material]
            primitives.append(primitive)
        builder.data["meshes"].append({"name": name, "primitives": primitives})
        builder.data["nodes"].append({"name": name, "mesh": len(builder.data["meshes"]) - 1})
        builder.data["scenes"][0]["nodes"].append(len(builder.data["nodes"]) - 1)
    return builder


def _pbr(builder: _Builder, material: SimpleMaterial) -> dict[str, Any]:
    """The glTF twin of an MTL material."""
    entry: dict[str, Any] = {
        "name": material.name,
        "pbrMetallicRoughness": {
            "baseColorFactor": list(material.color),
            "metallicFactor": 0.0,
            "roughnessFactor": ROUGHNESS,
        },
    }
    if material.color[3] < 1:
        entry["alphaMode"] = "BLEND"
    if material.image is not None and material.image.suffix.lower() in (".png", ".jpg", ".jpeg"):
        try:
            content = Confined(material.image.parent).read_bytes(material.image)
        except (OSError, LeadsOut):
            return entry
        mime_type = "image/jpeg" if content[:2] == b"\xff\xd8" else "image/png"
        texture = builder.add_texture(content, material.image.stem, mime_type)
        entry["pbrMetallicRoughness"]["baseColorTexture"] = {"index": texture}
        entry["pbrMetallicRoughness"]["baseColorFactor"] = [1.0, 1.0, 1.0, material.color[3]]
    return entry


def _primitive(builder: _Builder, part: Part) -> dict[str, Any]:
    """A part's triangles, normals and UVs in glTF's own axes."""
    normals = part.normals if part.normals is not None else crease_normals(part)
    normals = (normals @ Y_UP_TO_WORLD).reshape(-1, 3).astype(np.float32)  # the inverse of a rotation is its transpose
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    attributes = [np.round(normals * 1e5)]
    uv = None
    if part.uv is not None:
        uv = np.stack([part.uv[..., 0], 1 - part.uv[..., 1]], axis=-1).astype(np.float32).reshape(-1, 2)
        attributes.append(uv)
    source, corner, faces = _split_corners(part.faces.reshape(-1), *attributes)
    positions = (part.vertices @ Y_UP_TO_WORLD).astype(np.float32)[source]
    entry = {
        "POSITION": builder.add_accessor(positions, "VEC3", ARRAY_BUFFER),
        "NORMAL": builder.add_accessor(normals[corner], "VEC3", ARRAY_BUFFER),
    }
    if uv is not None:
        entry["TEXCOORD_0"] = builder.add_accessor(uv[corner], "VEC2", ARRAY_BUFFER)
    indices = builder.add_accessor(faces.reshape(-1, 1).astype(np.uint32), "SCALAR", ELEMENT_ARRAY_BUFFER)
    return {"attributes": entry, "indices": indices, "mode": TRIANGLES}
