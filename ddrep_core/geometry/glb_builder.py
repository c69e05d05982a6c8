"""A GLB file in the making: a glTF document with one binary block, to which accessors and pictures are added."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddrep_core.geometry.gltf_document import (
    BINARY_CHUNK,
    COMPONENT_TYPES,
    ELEMENT_SIZES,
    GLB_MAGIC,
    JSON_CHUNK,
    GltfDocument,
)

ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
REPEAT = 10497
WEBP, WEBP_EXTENSION = "image/webp", "EXT_texture_webp"


class GlbBuilder:
    """A glTF document with one binary block.

    Args:
        data: the document's JSON so far, all of whose buffer views lie in `binary`.
        binary: its bytes so far.
    """

    def __init__(self, data: dict[str, Any], binary: bytes = b"") -> None:
        self.data = data
        self._binary = bytearray(binary)

    def _append(self, name: str, entry: dict[str, Any]) -> int:
        self.data.setdefault(name, []).append(entry)
        return len(self.data[name]) - 1

    def add_view(self, offset: int, length: int, target: int | None = None, stride: int | None = None) -> int:
        """A new buffer view on bytes that are there."""
        view: dict[str, Any] = {"buffer": 0, "byteOffset": offset, "byteLength": length}
        if target is not None:
            view["target"] = target
        if stride is not None:
            view["byteStride"] = stride
        return self._append("bufferViews", view)

    def add_bytes(self, block: bytes, target: int | None = None, stride: int | None = None) -> int:
        """A new buffer view on new bytes."""
        self._binary.extend(b"\0" * (-len(self._binary) % 4))
        view = self.add_view(len(self._binary), len(block), target, stride)
        self._binary.extend(block)
        return view

    def add_elements(self, values: NDArray[Any], target: int | None) -> int:
        """A new buffer view on [count, n] values; vertex attributes are aligned to four bytes each."""
        rows = np.ascontiguousarray(values)
        row_bytes = rows.dtype.itemsize * rows.shape[1]
        if target != ARRAY_BUFFER or row_bytes % 4 == 0:
            return self.add_bytes(rows.tobytes(), target)
        padded = np.zeros((len(rows), row_bytes + -row_bytes % 4), np.uint8)
        padded[:, :row_bytes] = rows.view(np.uint8).reshape(len(rows), row_bytes)
        return self.add_bytes(padded.tobytes(), target, padded.shape[1])

    def add_accessor(
        self,
        values: NDArray[Any],
        kind: str,
        target: int,
        like: Mapping[str, Any] | None = None,
        *,
        is_position: bool = False,
    ) -> int:
        """A new accessor over [count, n] values; `like` lends it what an older accessor says of its elements."""
        assert values.shape[1] == ELEMENT_SIZES[kind]
        component = next(code for code, dtype in COMPONENT_TYPES.items() if dtype == values.dtype)
        entry: dict[str, Any] = {"componentType": component, "count": len(values), "type": kind}
        entry["bufferView"] = self.add_elements(values, target)
        if like and like.get("normalized"):
            entry["normalized"] = True
        if len(values) and (is_position or (kind == "VEC3" and values.dtype == np.float32)):
            entry["min"], entry["max"] = bounds(values)
        return self._append("accessors", entry)

    def values(self, accessor: int) -> NDArray[Any]:
        """[count, n] an accessor's elements in the type they are stored in."""
        return (
            GltfDocument(self.data, [self._binary], "").accessor(accessor).copy()
        )  # a view would fix the block's size

    def add_texture(self, content: bytes, name: str) -> int:
        """A new texture of an image file that `mime_type` knows."""
        image: dict[str, Any] = {"name": name, "mimeType": mime_type(content), "bufferView": self.add_bytes(content)}
        entry: dict[str, Any] = {"source": self._append("images", image)}
        entry["sampler"] = self._append("samplers", {"wrapS": REPEAT, "wrapT": REPEAT})
        if image["mimeType"] == WEBP:
            self.name_webp(entry)
        return self._append("textures", entry)

    def name_webp(self, texture: dict[str, Any]) -> None:
        """Let a texture name its WebP image as the extension wants it, for glTF itself has only PNG and JPEG."""
        texture.setdefault("extensions", {})[WEBP_EXTENSION] = {"source": texture.pop("source")}
        self.use_extension(WEBP_EXTENSION, required=True)

    def use_extension(self, name: str, required: bool = False) -> None:
        """List an extension among those that the document uses."""
        for key in ("extensionsUsed", "extensionsRequired") if required else ("extensionsUsed",):
            if name not in self.data.setdefault(key, []):
                self.data[key].append(name)

    def add_material(self, entry: dict[str, Any]) -> int:
        """A new material."""
        return self._append("materials", entry)

    def write(self, path: Path) -> None:
        """Write the GLB file."""
        self._binary.extend(b"\0" * (-len(self._binary) % 4))
        self.data["buffers"] = [{"byteLength": len(self._binary)}]
        # A file's own name may hold bytes that are no text; they must not cost the result.
        text = json.dumps(self.data, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
        text += b" " * (-len(text) % 4)
        with path.open("wb") as file:
            file.write(struct.pack("<III", GLB_MAGIC, 2, 12 + 8 + len(text) + 8 + len(self._binary)))
            file.write(struct.pack("<II", len(text), JSON_CHUNK) + text)
            file.write(struct.pack("<II", len(self._binary), BINARY_CHUNK))
            file.write(self._binary)


def bounds(values: NDArray[Any]) -> tuple[list[float], list[float]]:
    """The least and the greatest of each column of [count, n], of what is finite."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        low = np.where(np.isfinite(values), values, np.inf).min(axis=0)
        high = np.where(np.isfinite(values), values, -np.inf).max(axis=0)
        return np.where(np.isfinite(low), low, 0).tolist(), np.where(np.isfinite(high), high, 0).tolist()
    return values.min(axis=0).tolist(), values.max(axis=0).tolist()


def mime_type(content: bytes) -> str | None:
    """What an image file is by its first bytes: PNG, JPEG, WebP, KTX 2; None for anything else."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8"):
        return "image/jpeg"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return WEBP
    return "image/ktx2" if content.startswith(b"\xabKTX 20\xbb") else None
