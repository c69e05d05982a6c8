"""Small glTF documents for the tests, put together from arrays; wrong ones too, where a test asks for it."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import geometry_shapes as shapes
import numpy as np
from PIL import Image

from ddrep_core.geometry import write_glb
from ddrep_core.geometry.mesh import Mesh

CODES = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
GLOSSY = "KHR_materials_pbrSpecularGlossiness"
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class Maker:
    """A glTF document in the making, and its only buffer."""

    def __init__(self, **data: Any) -> None:
        self.data: dict[str, Any] = {"asset": {"version": "2.0"}, **data}
        self.binary = bytearray()

    def append(self, array: str, entry: dict[str, Any]) -> int:
        self.data.setdefault(array, []).append(entry)
        return len(self.data[array]) - 1

    def view(self, block: bytes, gap: int = 0, **more: Any) -> int:
        """A buffer view on new bytes; `gap` bytes after the next multiple of four."""
        self.binary.extend(b"\0" * (-len(self.binary) % 4 + gap))
        start = len(self.binary)
        self.binary.extend(block)
        return self.append("bufferViews", {"buffer": 0, "byteOffset": start, "byteLength": len(block), **more})

    def accessor(self, values: Any, gap: int = 0, **more: Any) -> int:
        values = np.asarray(values)
        values = values.reshape(len(values), -1)
        entry = {"bufferView": self.view(values.tobytes(), gap), "componentType": CODES[values.dtype.name]}
        entry |= {"count": len(values), "type": KINDS[values.shape[1]]}
        if values.shape[1] == 3 and "min" not in more:
            entry |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        return self.append("accessors", {**entry, **more})

    def texture(self, picture: bytes, mime_type: str = "image/png", **more: Any) -> int:
        image = self.append("images", {"bufferView": self.view(picture), "mimeType": mime_type})
        return self.append("textures", {"source": image, **more})

    def mesh(self, *primitives: dict[str, Any], **node: Any) -> int:
        mesh = self.append("meshes", {"primitives": list(primitives)})
        number = self.append("nodes", {"mesh": mesh, **node})
        self.data.setdefault("scenes", [{"nodes": []}])[0]["nodes"].append(number)
        self.data.setdefault("scene", 0)
        return number

    def glb(self, path: Path) -> Path:
        return shapes.write_glb(path, self.data, bytes(self.binary))

    def document(self) -> dict[str, Any]:
        """The JSON with the buffer in it, as a .gltf has it."""
        uri = "data:application/octet-stream;base64," + base64.b64encode(self.binary).decode()
        return {**self.data, "buffers": [{"byteLength": len(self.binary), "uri": uri}]}

    def gltf(self, path: Path) -> Path:
        path.write_text(json.dumps(self.document()))
        return path


def cube() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positions [24, 3], normals [24, 3], UVs [24, 2] (v downward) in 0.02..0.98 and faces [12, 3] of a cube."""
    points = np.array(shapes.CUBE_POINTS, np.float32)[np.array(shapes.CUBE_QUADS).reshape(-1)]
    faces = np.concatenate([np.array([[0, 1, 2], [0, 2, 3]]) + 4 * side for side in range(6)])
    sides = points.reshape(6, 4, 3)
    normals = np.repeat(np.cross(sides[:, 1] - sides[:, 0], sides[:, 2] - sides[:, 0]), 4, axis=0)
    normals = (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    cells = np.array([(side % 3 / 3 + 0.02, side // 3 / 2 + 0.02) for side in range(6)])
    uv = (cells[:, None] + square * (0.28, 0.44)).reshape(-1, 2).astype(np.float32)
    return points, normals, uv, faces.astype(np.uint16)


def cube_primitive(maker: Maker, uv: np.ndarray | None = None, **more: Any) -> dict[str, Any]:
    points, normals, own, faces = cube()
    attributes = {
        "POSITION": maker.accessor(points),
        "NORMAL": maker.accessor(normals),
        "TEXCOORD_0": maker.accessor(own if uv is None else uv),
    }
    return {"attributes": attributes, "indices": maker.accessor(faces.reshape(-1)), **more}


def picture(kind: str = "PNG", mode: str = "RGB", size: int = 8, seed: int = 0) -> bytes:
    """An image file of noise."""
    channels = len(mode)
    values = np.random.default_rng(seed).integers(0, 256, (size, size, channels), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(values[..., 0] if channels == 1 else values, mode).save(stream, kind)
    return stream.getvalue()


def rich() -> Maker:
    """A cube that uses all that the reader and the writer look at, and a second one without UVs."""
    maker = Maker(extensionsUsed=["KHR_texture_transform", "EXT_texture_webp", "KHR_materials_clearcoat", GLOSSY])
    maker.append("samplers", {"wrapS": 10497})
    color = maker.texture(picture(mode="RGBA"), sampler=0)
    shine, bumps = maker.texture(picture(seed=1)), maker.texture(picture("JPEG", seed=2), "image/jpeg")
    image = maker.append("images", {"uri": "data:image/webp;base64," + base64.b64encode(picture("WEBP")).decode()})
    webp = maker.append("textures", {"source": 0, "extensions": {"EXT_texture_webp": {"source": image}}})
    transform = {"offset": [0.1, 0.0], "rotation": 0.1, "scale": [0.8, 0.8], "texCoord": 0}
    maker.append(
        "materials",
        {
            "name": "Skin",
            "pbrMetallicRoughness": {
                "baseColorFactor": [1, 1, 1, 0.9],
                "baseColorTexture": {"index": color, "extensions": {"KHR_texture_transform": transform}},
                "metallicFactor": 0.2,
                "roughnessFactor": 0.3,
                "metallicRoughnessTexture": {"index": shine},
            },
            "normalTexture": {"index": bumps, "scale": 0.5},
            "occlusionTexture": {"index": shine, "texCoord": 0},
            "emissiveTexture": {"index": webp},
            "emissiveFactor": [1, 1, 1],
            "alphaMode": "MASK",
            "alphaCutoff": 0.4,
            "doubleSided": True,
            "extensions": {
                "KHR_materials_clearcoat": {"clearcoatFactor": 1, "clearcoatTexture": {"index": bumps}},
                GLOSSY: {
                    "diffuseFactor": [1, 1, 1, 1],
                    "diffuseTexture": {"index": color},
                },
            },
            "extras": {"mine": [1, "two", None]},
        },
    )
    first = cube_primitive(maker, material=0)
    count = 24
    first["attributes"]["COLOR_0"] = maker.accessor(np.full((count, 4), 200, np.uint8), normalized=True)
    first["attributes"]["JOINTS_0"] = maker.accessor(np.zeros((count, 4), np.uint8))
    first["attributes"]["WEIGHTS_0"] = maker.accessor(np.tile(np.float32([1, 0, 0, 0]), (count, 1)))
    base = maker.accessor(np.zeros((count, 3), np.float32))
    rows, values = maker.view(np.uint16([1, 3]).tobytes()), maker.view(np.float32([[0, 0, 1], [0, 1, 0]]).tobytes())
    maker.data["accessors"][base]["sparse"] = {
        "count": 2,
        "indices": {"bufferView": rows, "byteOffset": 0, "componentType": 5123},
        "values": {"bufferView": values, "byteOffset": 0},
    }
    maker.data["accessors"][base]["max"] = [0.0, 1.0, 1.0]
    first["targets"] = [{"POSITION": base}]
    number = maker.mesh(first, skin=0, name="Body")
    pose = {"translation": [0, 0, 1], "rotation": [0, 0, 0, 1], "scale": [1, 1, 1]}
    bone = maker.append("nodes", {"name": "Bone", **pose})
    maker.data["nodes"][number]["children"] = [bone]
    bind = maker.accessor(np.eye(4, dtype=np.float32).reshape(1, 16))
    maker.append("skins", {"joints": [bone], "inverseBindMatrices": bind})
    second = cube_primitive(maker)
    del second["attributes"]["TEXCOORD_0"]
    maker.mesh(second, name="Plain", matrix=[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 3, 0, 0, 1])
    return maker


def paint(mesh: Mesh, path: Path) -> Path:
    """The GLB that a job would write of a mesh, its textures grey."""
    write_glb(mesh, {part.name: np.full((3, 4, 4), 0.5) for part in mesh.textured_parts}, path)
    return path
