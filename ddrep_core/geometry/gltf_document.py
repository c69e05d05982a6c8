"""A glTF 2.0 document (.glb, .gltf): its JSON and its buffers, and what can be read out of them without any mesh."""

from __future__ import annotations

import base64
import copy
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from ddrep_core.confined import Confined, LeadsOut
from ddrep_core.errors import RequestError
from ddrep_core.geometry.gltf_schema import read_json

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
# What an attribute's elements are; those that are not named here may be anything.
ATTRIBUTE_KINDS: dict[str, tuple[str, ...]] = {
    "POSITION": ("VEC3",),
    "NORMAL": ("VEC3",),
    "TANGENT": ("VEC3", "VEC4"),  # VEC3 in morph targets
    "TEXCOORD": ("VEC2",),
    "COLOR": ("VEC3", "VEC4"),
    "JOINTS": ("VEC4",),
    "WEIGHTS": ("VEC4",),
}
INDEX_TYPES = (5121, 5123, 5125)
TRIANGLES, TRIANGLE_STRIP, TRIANGLE_FAN = 4, 5, 6
GLB_MAGIC, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942


@dataclass
class GltfDocument:
    """A glTF file in memory: its JSON as it was, and the bytes of each buffer.

    Args:
        data: the document's JSON, as `read_json` lets it in.
        buffers: one block of bytes per entry of data["buffers"].
        name: the file's, for messages.
        pictures: the bytes of each image that has an address, by its number; the others lie in the buffers.
    """

    data: dict[str, Any]
    buffers: Sequence[bytes | bytearray]
    name: str
    pictures: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, files: Confined | None = None) -> GltfDocument:
        """Read .glb or .gltf with its buffers and pictures.

        Args:
            path: the file.
            files: where the files that it names must lie; its own folder or below where nothing is given.

        Raises:
            RequestError: not glTF 2, broken, truncated, compressed, or a buffer or picture is missing.
        """
        files = files or Confined(path.parent)
        content = path.read_bytes()
        binary: bytes | None = None
        text = content
        if content[:4] == b"glTF":
            try:
                text, binary = _glb_chunks(content)
            except (ValueError, struct.error) as error:
                raise RequestError(f"{path.name} cannot be read as glTF: {error}.", "Export it again.") from error
        buffers: list[bytes] = []
        document = cls(read_json(text, path.name), buffers, path.name)
        for index, buffer in enumerate(document.data.get("buffers", [])):
            uri = buffer.get("uri")
            block = binary if uri is None and index == 0 else _fetch(path, uri, files) if uri else None
            if block is None or len(block) < buffer["byteLength"]:
                raise RequestError(f"{path.name} is cut short: buffer {index} is not all there.", "Export it again.")
            buffers.append(block[: buffer["byteLength"]])
        for index, image in enumerate(document.data.get("images", [])):
            if uri := image.get("uri"):
                document.pictures[index] = _fetch(path, uri, files)
        return document

    def copy(self) -> GltfDocument:
        """The same document with a JSON of its own."""
        return GltfDocument(copy.deepcopy(self.data), list(self.buffers), self.name, self.pictures)

    def picture(self, image: int) -> bytes:
        """The bytes of an image file, wherever it lies; none where the document does not say."""
        if image in self.pictures:
            return self.pictures[image]
        entry = self.data["images"][image] if image >= 0 else {}
        if "bufferView" not in entry:
            return b""
        view = self.data["bufferViews"][entry["bufferView"]]
        start = view.get("byteOffset", 0)
        return bytes(self.buffers[view["buffer"]][start : start + view["byteLength"]])

    def accessor(self, index: int) -> NDArray[Any]:
        """[count, n] an accessor's elements in the type they are stored in, sparse replacements applied.

        Raises:
            RequestError: it reaches past its buffer, or its sparse part past its elements.
        """
        entry = self.data["accessors"][index]
        dtype, width = COMPONENT_TYPES[entry["componentType"]], ELEMENT_SIZES[entry["type"]]
        count = entry["count"]
        if "bufferView" in entry:
            values = self._elements(entry["bufferView"], entry.get("byteOffset", 0), dtype, width, count)
        else:
            if count > sum(map(len, self.buffers)):  # more zeros than the file has bytes: nobody means that
                raise self._broken(f"accessor {index} promises {count:,} elements that are nowhere")
            values = np.zeros((count, width), dtype)
        if sparse := entry.get("sparse"):
            where, what, changed = sparse["indices"], sparse["values"], sparse["count"]
            index_type = COMPONENT_TYPES[where["componentType"]]
            rows = self._elements(where["bufferView"], where.get("byteOffset", 0), index_type, 1, changed)[:, 0]
            if len(rows) and rows.max() >= count:
                raise self._broken(f"accessor {index} is sparse, and replaces an element that is not there")
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
            raise RequestError(f"{self.name} is cut short: an accessor reaches past its buffer.", "Export it again.")
        return np.ndarray((count, width), dtype, block, start if count else 0, (stride, dtype.itemsize))

    def check_primitive(self, primitive: Mapping[str, Any]) -> None:
        """See that all that a primitive of triangles names can be read, and fits together.

        Raises:
            RequestError: attributes of another type or number than the positions; indices that are none.
        """
        entries = self.data["accessors"]
        count = entries[primitive["attributes"]["POSITION"]]["count"]
        for attributes in (primitive["attributes"], *primitive.get("targets", ())):
            for name, index in attributes.items():
                entry = entries[index]
                kinds = ATTRIBUTE_KINDS.get(name.split("_")[0])
                if kinds and entry["type"] not in kinds:
                    raise self._broken(f"{name} is of type {entry['type']}")
                if entry["count"] != count:
                    raise self._broken(f"{name} has {entry['count']:,} elements for {count:,} vertices")
                self.accessor(index)
        if "indices" in primitive:
            entry = entries[primitive["indices"]]
            if entry["type"] != "SCALAR" or entry["componentType"] not in INDEX_TYPES:
                raise self._broken("the indices of a mesh are no whole numbers")
            indices = self.accessor(primitive["indices"])
            if len(indices) and indices.max() >= count:
                raise self._broken("a face asks for a vertex that is not there")

    def _broken(self, what: str) -> RequestError:
        return RequestError(f"{self.name} cannot be read as glTF: {what}.", "Export it again.")


def _fetch(document: Path, uri: str, files: Confined) -> bytes:
    """The bytes behind an address: a data URI, or a file where it may lie.

    Raises:
        RequestError: a missing file, or one that leads out.
    """
    if uri.startswith("data:"):
        try:
            return base64.b64decode(uri.partition(",")[2], validate=True)
        except ValueError as error:
            raise RequestError(f"{document.name} holds data that is not base64.", "Export it again.") from error
    shown = uri if len(uri) < 100 else f"{uri[:100]}…"
    try:
        return files.read_bytes(document.parent.absolute() / unquote(uri))
    except LeadsOut as error:
        message = f"The glTF file {document.name} asks for '{shown}', outside its own folder."
        raise RequestError(message, "Export it as .glb.") from error
    except OSError as error:
        message = f"The glTF file {document.name} asks for '{shown}', which is not beside it."
        raise RequestError(message, "Copy it there, or export as .glb.") from error


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
    x, y, z, w = np.asarray(node.get("rotation", (0.0, 0.0, 0.0, 1.0)), np.float64)
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


def is_triangles(primitive: Mapping[str, Any]) -> bool:
    """Whether a primitive is made of triangles, not of points or lines."""
    return primitive.get("mode", TRIANGLES) in (TRIANGLES, TRIANGLE_STRIP, TRIANGLE_FAN)


def primitive_faces(document: GltfDocument, primitive: Mapping[str, Any]) -> Int:
    """[F, 3] the vertices of each triangle of a primitive of triangles."""
    mode = primitive.get("mode", TRIANGLES)
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
