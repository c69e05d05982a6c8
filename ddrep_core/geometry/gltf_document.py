"""A glTF 2.0 document (.glb, .gltf): its JSON and its buffers, and what can be read out of them without any mesh."""

from __future__ import annotations

import base64
import binascii
import copy
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from ddrep_core.confined import Confined, LeadsOut
from ddrep_core.errors import RequestError

Float = NDArray[np.float64]
Int = NDArray[np.int64]

COMPONENT_TYPES: dict[int, np.dtype[Any]] = {
    5120: np.dtype("<i1"),
    5121: np.dtype("<u1"),
    5122: np.dtype("<i2"),
    5123: np.dtype("<u2"),
    5125: np.dtype("<u4"),
    5126: np.dtype("<f4"),
}
ELEMENT_SIZES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
COMPRESSIONS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
TRIANGLES, TRIANGLE_STRIP, TRIANGLE_FAN = 4, 5, 6
GLB_MAGIC, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942


@dataclass
class GltfDocument:
    """A glTF file in memory: its JSON as it was, and the bytes of each buffer.

    Args:
        data: the document's JSON.
        buffers: one block of bytes per entry of data["buffers"].
        folder: where relative addresses start.
        files: where the files that it names must lie.
    """

    data: dict[str, Any]
    buffers: list[bytes]
    folder: Path
    files: Confined

    @classmethod
    def read(cls, path: Path, files: Confined | None = None) -> GltfDocument:
        """Read .glb or .gltf with its buffers; `files` it names lie in its own folder or below, where none are given.

        Raises:
            RequestError: not glTF 2, truncated, compressed, or a buffer is missing.
        """
        content = path.read_bytes()
        binary: bytes | None = None
        try:
            if content[:4] == b"glTF":
                text, binary = _glb_chunks(content)
            else:
                text = content
            data = json.loads(text)
            if not isinstance(data, dict) or not str(data["asset"]["version"]).startswith("2"):
                raise RequestError(f"{path.name} is not a glTF 2 file.", "Export it again as glTF 2.0 or OBJ.")
        except (ValueError, KeyError, TypeError, struct.error) as error:
            raise RequestError(f"{path.name} cannot be read as glTF: {error}.", "Export it again.") from error
        used = [name for name in COMPRESSIONS if name in data.get("extensionsUsed", [])]
        if used:
            raise RequestError(f"{path.name} is compressed ({used[0]}).", "Export it without compression.")
        document = cls(data, [], path.parent, files or Confined(path.parent))
        for index, buffer in enumerate(data.get("buffers", [])):
            uri = buffer.get("uri")
            block = binary if uri is None and index == 0 else document.resolve(uri) if uri else None
            if block is None or len(block) < buffer["byteLength"]:
                raise RequestError(f"{path.name} is cut short: buffer {index} is not all there.", "Export it again.")
            document.buffers.append(block[: buffer["byteLength"]])
        return document

    def copy(self) -> GltfDocument:
        """The same document with a JSON of its own."""
        return GltfDocument(copy.deepcopy(self.data), list(self.buffers), self.folder, self.files)

    def resolve(self, uri: str) -> bytes:
        """The bytes behind an address: a data URI, or a file where it may lie.

        Raises:
            RequestError: a missing file, or one that leads out.
        """
        if uri.startswith("data:"):
            try:
                return base64.b64decode(uri.partition(",")[2], validate=True)
            except binascii.Error as error:
                raise RequestError("The glTF file holds data that is not base64.", "Export it again.") from error
        try:
            return self.files.read_bytes(self.folder / unquote(uri))
        except LeadsOut as error:
            message = f"The glTF file asks for '{uri}', outside its own folder."
            raise RequestError(message, "Export it as .glb.") from error
        except OSError as error:
            raise RequestError(
                f"The glTF file asks for '{uri}', which is not beside it.", "Copy it there, or export as .glb."
            ) from error

    def accessor(self, index: int) -> NDArray[Any]:
        """[count, n] an accessor's elements in the type they are stored in, sparse replacements applied."""
        entry = self.data["accessors"][index]
        dtype, width = COMPONENT_TYPES[entry["componentType"]], ELEMENT_SIZES[entry["type"]]
        count = entry["count"]
        if "bufferView" in entry:
            values = self._elements(entry["bufferView"], entry.get("byteOffset", 0), dtype, width, count)
        else:
            values = np.zeros((count, width), dtype)
        if sparse := entry.get("sparse"):
            where, what, changed = sparse["indices"], sparse["values"], sparse["count"]
            index_type = COMPONENT_TYPES[where["componentType"]]
            rows = self._elements(where["bufferView"], where.get("byteOffset", 0), index_type, 1, changed)[:, 0]
            values = values.copy()
            values[rows] = self._elements(what["bufferView"], what.get("byteOffset", 0), dtype, width, changed)
        return values

    def floats(self, index: int) -> Float:
        """[count, n] an accessor's elements as numbers, normalised integers brought to [0, 1] or [-1, 1]."""
        values = self.accessor(index)
        result = values.astype(np.float64)
        if self.data["accessors"][index].get("normalized") and values.dtype.kind in "iu":
            result = np.maximum(result / np.iinfo(values.dtype).max, -1.0)
        return result

    def _elements(self, view_index: int, offset: int, dtype: np.dtype[Any], width: int, count: int) -> NDArray[Any]:
        view = self.data["bufferViews"][view_index]
        block = self.buffers[view["buffer"]]
        start = view.get("byteOffset", 0) + offset
        size = dtype.itemsize * width
        stride = view.get("byteStride", 0) or size
        if count and start + stride * (count - 1) + size > len(block):
            raise RequestError("The glTF file is cut short: an accessor reaches past its buffer.", "Export it again.")
        return np.ndarray((count, width), dtype, block, start, (stride, dtype.itemsize))


def _glb_chunks(content: bytes) -> tuple[bytes, bytes | None]:
    """The JSON chunk and, if there is one, the binary chunk."""
    _, version, length = struct.unpack_from("<III", content, 0)
    if version != 2:
        raise ValueError(f"GLB version {version}")
    if length > len(content):
        raise ValueError(f"{length} bytes were promised, {len(content)} are there")
    text, binary, position = None, None, 12
    while position + 8 <= length:
        size, kind = struct.unpack_from("<II", content, position)
        chunk = content[position + 8 : position + 8 + size]
        if kind == JSON_CHUNK and text is None:
            text = chunk
        elif kind == BINARY_CHUNK and binary is None:
            binary = chunk
        position += 8 + size
    if text is None:
        raise ValueError("there is no JSON chunk")
    return text, binary


def node_matrix(node: dict[str, Any]) -> Float:
    """[4, 4] a node's own transform."""
    if "matrix" in node:
        return np.asarray(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0.0, 0.0, 0.0, 1.0))
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.asarray(node.get("scale", (1.0, 1.0, 1.0)), np.float64)
    matrix[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return matrix


def world_matrices(data: dict[str, Any]) -> dict[int, Float]:
    """[4, 4] file-space transform of each node in the scene, in the order of the hierarchy."""
    nodes = data.get("nodes", [])
    scenes = data.get("scenes", [])
    if scenes:
        roots = scenes[data.get("scene", 0)].get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", [])}
        roots = [index for index in range(len(nodes)) if index not in children]
    found: dict[int, Float] = {}
    stack = [(root, np.eye(4)) for root in reversed(roots)]
    while stack:
        index, parent = stack.pop()
        if index in found:
            continue
        found[index] = parent @ node_matrix(nodes[index])
        stack.extend((child, found[index]) for child in reversed(nodes[index].get("children", [])))
    return found


def base_color_uv_set(data: dict[str, Any], primitive: dict[str, Any]) -> int:
    """Which TEXCOORD the primitive's base-colour texture reads; 0 where it has none."""
    if "material" not in primitive:
        return 0
    material = data["materials"][primitive["material"]]
    info = material.get("pbrMetallicRoughness", {}).get("baseColorTexture", {})
    transform = info.get("extensions", {}).get("KHR_texture_transform", {})
    return int(transform.get("texCoord", info.get("texCoord", 0)))


def primitive_faces(document: GltfDocument, primitive: dict[str, Any]) -> Int | None:
    """[F, 3] triangles of a primitive; None where it is made of points or lines."""
    mode = primitive.get("mode", TRIANGLES)
    if mode not in (TRIANGLES, TRIANGLE_STRIP, TRIANGLE_FAN):
        return None
    if "indices" in primitive:
        order = document.accessor(primitive["indices"])[:, 0].astype(np.int64)
    else:
        order = np.arange(document.data["accessors"][primitive["attributes"]["POSITION"]]["count"])
    if mode == TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    if len(order) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == TRIANGLE_FAN:
        return np.stack([np.full(len(order) - 2, order[0]), order[1:-1], order[2:]], axis=1)
    faces = np.stack([order[:-2], order[1:-1], order[2:]], axis=1)
    faces[1::2] = faces[1::2, [1, 0, 2]]
    return faces
