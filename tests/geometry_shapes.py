"""Small meshes for the geometry tests, written as files so that they come in through the front door."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddrep_core.views import Camera, Views, look_at, perspective_projection

CUBE_POINTS = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
# Six quads, corners counter-clockwise seen from outside.
CUBE_QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def cube_obj(path: Path, uv: bool = True, header: str = "o Cube\n") -> Path:
    """A cube of side 2 around the origin, each face on its own sixth of the texture."""
    lines = [header.strip()] if header else []
    lines += [f"v {x} {y} {z}" for x, y, z in CUBE_POINTS]
    for face in range(6):
        u, v = face % 3 / 3 + 0.02, face // 3 / 2 + 0.02
        lines += [f"vt {u + a * 0.28:.6f} {v + b * 0.44:.6f}" for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
    for face, quad in enumerate(CUBE_QUADS):
        words = [f"{p + 1}/{face * 4 + k + 1}" if uv else f"{p + 1}" for k, p in enumerate(quad)]
        lines.append("f " + " ".join(words))
    path.write_text("\n".join(lines) + "\n")
    return path


def grid_obj(path: Path, cells: int = 4, split: bool = False) -> Path:
    """A square of side 2 in the world's plane z = 0, facing up.

    `split`: the right half is an island of its own, turned by 90 degrees in the texture and half as large.
    """
    lines, faces, count = ["o Grid"], [], 0
    steps = np.linspace(-1, 1, cells + 1)
    lines += [f"v {x:.9g} 0 {-y:.9g}" for y in steps for x in steps]  # OBJ is Y-up: world (x, y, 0)
    for row in range(cells):
        for column in range(cells):
            quad = [(row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column)]
            words = []
            for r, c in quad:
                x, y = steps[c], steps[r]
                if not split:
                    u, v = 0.1 + 0.4 * (x + 1), 0.1 + 0.4 * (y + 1)
                elif column < cells // 2:
                    u, v = 0.05 + 0.4 * (x + 1), 0.05 + 0.4 * (y + 1)
                else:
                    u, v = 0.55 + 0.2 * (y + 1), 0.75 - 0.2 * x
                count += 1
                lines.append(f"vt {u:.9g} {v:.9g}")
                words.append(f"{r * (cells + 1) + c + 1}/{count}")
            faces.append("f " + " ".join(words))
    path.write_text("\n".join(lines + faces) + "\n")
    return path


def write_glb(path: Path, data: dict[str, Any], binary: bytes) -> Path:
    """A GLB file from its two chunks."""
    binary += b"\0" * (-len(binary) % 4)
    data = {**data, "buffers": [{"byteLength": len(binary)}]}
    text = json.dumps(data).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    path.write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks)
    return path


def scene_glb(path: Path, uv: bool = True) -> Path:
    """Two nodes under a turned parent share one mesh of two primitives (two materials); a third node holds lines.

    Positions are deliberately odd numbers, so that any rounding on the way would show.
    """
    random = np.random.default_rng(3)
    blocks: list[bytes] = []
    views, accessors = [], []

    def add(values: np.ndarray, kind: str) -> int:
        codes = {"float32": 5126, "uint16": 5123, "uint8": 5121}
        content = values.tobytes()
        offset = sum(len(block) for block in blocks)
        blocks.append(content + b"\0" * (-len(content) % 4))
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": len(content)})
        entry = {
            "bufferView": len(views) - 1,
            "componentType": codes[values.dtype.name],
            "count": len(values),
            "type": kind,
        }
        if kind == "VEC3" and values.dtype == np.float32:
            entry |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        accessors.append(entry)
        return len(accessors) - 1

    primitives = []
    for number in range(2):
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
        flat = np.concatenate([corners, np.full((4, 1), float(number))], axis=1)
        points = (flat * 1.1 + random.normal(size=(4, 3)) * 0.05).astype(np.float32)
        attributes = {"POSITION": add(points, "VEC3"), "COLOR_0": add(np.full((4, 3), 0.5, np.float32), "VEC3")}
        if uv:
            attributes["TEXCOORD_0"] = add((corners * 0.9 + 0.05).astype(np.float32), "VEC2")
        indices = add(np.array([0, 1, 2, 0, 2, 3], np.uint16), "SCALAR")
        primitives.append({"attributes": attributes, "indices": indices, "material": number})
    line = {"attributes": {"POSITION": add(np.eye(3, dtype=np.float32), "VEC3")}, "mode": 3}
    data = {
        "asset": {"version": "2.0", "copyright": "kept"},
        "scene": 0,
        "scenes": [{"nodes": [0], "name": "kept too"}],
        "nodes": [
            {"name": "Parent", "rotation": [0, 0.6, 0, 0.8], "children": [1, 2, 3]},
            {"name": "Left", "mesh": 0, "translation": [-2, 0.25, 0]},
            {"name": "Right", "mesh": 0, "translation": [2, 0, 0.5], "scale": [1, 2, 1], "extras": {"note": "mine"}},
            {"name": "Wire", "mesh": 1},
        ],
        "meshes": [{"name": "Shared", "primitives": primitives}, {"name": "Lines", "primitives": [line]}],
        "materials": [
            {"name": "Paint", "doubleSided": True, "pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}},
            {"name": "Metal", "pbrMetallicRoughness": {"metallicFactor": 1.0}},
        ],
        "bufferViews": views,
        "accessors": accessors,
    }
    return write_glb(path, data, b"".join(blocks))


def cameras(positions: Sequence[tuple[float, float, float]], size: int = 24, fov_degrees: float = 45.0) -> Views:
    """Cameras that look at the origin."""
    projection = perspective_projection(fov_degrees)
    return Views(
        tuple(Camera(f"camera {n}", look_at(p, (0, 0, 0)), projection, size, size) for n, p in enumerate(positions))
    )
