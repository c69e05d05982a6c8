# SPDX-License-Identifier: GPL-3.0-or-later
"""A generated object into the scene: read from the engine's GLB, standing at the place the 3D cursor was.

The file is read here, not by Blender's importer: the importer selects what it brings, may be switched off, and lets
nobody say how things are named. What the engine writes is plain glTF 2.0: triangles, one base colour texture.
"""

import contextlib
import json
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..engine.folder import JobFolder
from ..problems import Problem
from .materials import empty_tree
from .outcome import SampleResult
from .textures import MARK, load_picture

COMPONENTS = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
MOST_BESIDE = 8  # samples of one job that come in together, side by side
APART = 1.25  # of their size, from one to the next
Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # glTF's Y-up to Blender's Z-up


@dataclass
class Surface:
    """One mesh of a GLB."""

    vertices: np.ndarray  # [N, 3] Z-up
    faces: np.ndarray  # [F, 3]
    uv: np.ndarray | None  # [N, 2], v upward as in Blender
    picture: bytes | None  # PNG or JPEG


def read_glb(data: bytes) -> list[Surface]:
    """The triangle meshes of a binary glTF.

    Raises:
        ValueError: it is none, or damaged.
    """
    if len(data) < 20 or data[:4] != b"glTF":
        raise ValueError("not a GLB file")
    chunks: dict[bytes, bytes] = {}
    position = 12
    while position + 8 <= len(data):
        length, kind = struct.unpack_from("<I4s", data, position)
        chunks.setdefault(kind, data[position + 8 : position + 8 + length])
        position += 8 + length
    try:
        scene = json.loads(chunks[b"JSON"])
        binary = chunks[b"BIN\0"]
        surfaces = []
        for index, matrix in _nodes(scene):
            for primitive in scene["meshes"][index]["primitives"]:
                if primitive.get("mode", 4) == 4:
                    surfaces.append(_surface(scene, binary, primitive, matrix))
    except (KeyError, IndexError, TypeError, struct.error) as error:
        raise ValueError(f"damaged GLB: {error}") from error
    if not surfaces:
        raise ValueError("the GLB holds no triangles")
    return surfaces


def _nodes(scene: dict[str, Any]) -> list[tuple[int, np.ndarray]]:
    """(mesh, world matrix) of every node that has a mesh."""
    found: list[tuple[int, np.ndarray]] = []
    nodes = scene.get("nodes", [])
    roots = scene["scenes"][scene.get("scene", 0)]["nodes"] if scene.get("scenes") else range(len(nodes))
    waiting = [(number, np.eye(4), 0) for number in roots]
    while waiting:
        number, parent, depth = waiting.pop()
        if depth > 64:
            raise ValueError("the GLB's nodes go round in a circle")
        node = nodes[number]
        matrix = parent @ _local_matrix(node)
        if "mesh" in node:
            found.append((node["mesh"], matrix))
        waiting += [(child, matrix, depth + 1) for child in node.get("children", [])]
    return found


def _local_matrix(node: dict[str, Any]) -> np.ndarray:
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(node.get("scale", (1, 1, 1)), float)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _surface(scene: dict[str, Any], binary: bytes, primitive: dict[str, Any], matrix: np.ndarray) -> Surface:
    attributes = primitive["attributes"]
    points = _accessor(scene, binary, attributes["POSITION"]).astype(float)
    vertices = (points @ matrix[:3, :3].T + matrix[:3, 3]) @ Z_UP.T
    if "indices" in primitive:
        faces = _accessor(scene, binary, primitive["indices"]).reshape(-1, 3).astype(np.int64)
    else:
        faces = np.arange(len(points)).reshape(-1, 3)
    if len(faces) and faces.max() >= len(vertices):
        raise ValueError("damaged GLB: a face names a vertex that is not there")
    uv = None
    if "TEXCOORD_0" in attributes:
        uv = _accessor(scene, binary, attributes["TEXCOORD_0"]).astype(float)
        uv[:, 1] = 1 - uv[:, 1]
    return Surface(vertices, faces, uv, _picture(scene, binary, primitive.get("material")))


def _picture(scene: dict[str, Any], binary: bytes, material: int | None) -> bytes | None:
    if material is None:
        return None
    texture = scene["materials"][material].get("pbrMetallicRoughness", {}).get("baseColorTexture")
    if texture is None:
        return None
    image = scene["images"][scene["textures"][texture["index"]]["source"]]
    return _view(scene, binary, image["bufferView"]) if "bufferView" in image else None


def _view(scene: dict[str, Any], binary: bytes, index: int) -> bytes:
    view = scene["bufferViews"][index]
    start = view.get("byteOffset", 0)
    return binary[start : start + view["byteLength"]]


def _accessor(scene: dict[str, Any], binary: bytes, index: int) -> np.ndarray:
    accessor = scene["accessors"][index]
    kind, width, count = np.dtype(COMPONENTS[accessor["componentType"]]), WIDTHS[accessor["type"]], accessor["count"]
    view = scene["bufferViews"][accessor["bufferView"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    stride = view.get("byteStride") or kind.itemsize * width
    if start + stride * (count - 1) + kind.itemsize * width > len(binary):
        raise ValueError("damaged GLB: a part is cut off")
    values = np.ndarray((count, width), kind, binary, start, (stride, kind.itemsize))
    return values[:, 0] if width == 1 else values.copy()


@lru_cache(maxsize=MOST_BESIDE)
def _surfaces_in(path: Path, version: int) -> list[Surface]:
    """A file's meshes. The last ones are kept: they are read in one slice each and brought in by the next."""
    return read_glb(path.read_bytes())


def prepare(folder: JobFolder, sample: SampleResult) -> Iterator[None]:
    """Read a sample's file and load its pictures, a piece a slice, so that `bring_in` finds them here."""
    if sample.mesh is None:
        return
    with contextlib.suppress(OSError, ValueError):  # `bring_in` tells them
        surfaces = _surfaces_in(sample.mesh, sample.mesh.stat().st_mtime_ns)
        yield
        for number, surface in enumerate(surfaces):
            if surface.picture is not None:
                _image(surface.picture, _title(folder), f"{_mark(folder, sample)}/{number}")
                yield


def _title(folder: JobFolder) -> str:
    """What its objects are called: after the prompt, or the picture that they were made of."""
    return str(folder.request().get("prompt") or folder.scene().get("title", ""))[:48].strip() or "Generated"


def _mark(folder: JobFolder, sample: SampleResult) -> str:
    return f"{folder.name}/{sample.number}/object"


def bring_in(folder: JobFolder, sample: SampleResult, scene: bpy.types.Scene) -> bpy.types.Object:
    """Add a generated object: an empty named after the prompt, standing at the cursor of then, and its mesh below it.

    Raises:
        Problem: the job has no mesh, or a damaged one. Nothing is added then.
    """
    if sample.mesh is None:
        raise Problem(
            "This job has no mesh to bring in. Run it again.", "ddrep.retry_job", "Run again", job=folder.name
        )
    try:
        surfaces = _surfaces_in(sample.mesh, sample.mesh.stat().st_mtime_ns)
    except (OSError, ValueError) as error:
        raise Problem(
            f"The generated mesh can't be read ({error}). Run the job again.",
            "ddrep.retry_job",
            "Run again",
            job=folder.name,
        ) from error
    about, title, mark = folder.scene(), _title(folder), _mark(folder, sample)
    scale, lift = _placing(surfaces, about.get("size"))
    parent = bpy.data.objects.new(title, None)
    parent[MARK] = mark
    parent.empty_display_type = "ARROWS"
    location = about.get("location")
    if isinstance(location, list) and len(location) == 3 and all(isinstance(each, int | float) for each in location):
        parent.location = location
    size = about.get("size")
    if about.get("side_by_side") and isinstance(size, int | float):
        parent.location.x += APART * size * sample.number
    parent.empty_display_size = 0.25 * size if isinstance(size, int | float) else 0.25
    parent.ddrep.job, parent.ddrep.sample = folder.name, sample.number
    collection = scene.collection
    collection.objects.link(parent)
    for number, surface in enumerate(surfaces):
        mesh = _mesh(f"{title} mesh", surface, scale, lift)
        mesh[MARK] = f"{mark}/{number}"
        mesh.materials.append(_material(title, surface, f"{mark}/{number}"))
        thing = bpy.data.objects.new(f"{title} mesh", mesh)
        thing[MARK] = f"{mark}/{number}"
        thing.parent = parent
        collection.objects.link(thing)
    return parent


def discard(folder: JobFolder, number: int) -> None:
    """Remove a sample's objects from the file, with their meshes, materials and images."""
    prefix = f"{folder.name}/{number}/object"
    for collection in (bpy.data.objects, bpy.data.meshes, bpy.data.materials, bpy.data.images):
        for block in [each for each in collection if str(each.get(MARK, "")).startswith(prefix)]:
            collection.remove(block)


def show_only(folder: JobFolder, number: int, scene: bpy.types.Scene) -> bool:
    """Show one sample's object and hide the job's others. Returns whether there is such an object."""
    found = False
    for thing in scene.objects:
        mark = str(thing.get(MARK, ""))
        if not mark.startswith(f"{folder.name}/") or "/object" not in mark:
            continue
        mine = mark.startswith(f"{folder.name}/{number}/")
        thing.hide_viewport = thing.hide_render = not mine
        found = found or mine
    return found


def _placing(surfaces: list[Surface], size: Any) -> tuple[float, np.ndarray]:
    """Scale to the size asked for, and a shift that stands the object with the middle of its foot at the origin."""
    everything = np.concatenate([surface.vertices for surface in surfaces])
    low, high = everything.min(axis=0), everything.max(axis=0)
    extent = float((high - low).max())
    scale = float(size) / extent if isinstance(size, int | float) and extent > 0 else 1.0
    return scale, -np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])


def _mesh(name: str, surface: Surface, scale: float, shift: np.ndarray) -> bpy.types.Mesh:
    mesh = bpy.data.meshes.new(name)
    vertices = (surface.vertices + shift) * scale
    faces = surface.faces
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.astype(np.float32).reshape(-1))
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", faces.reshape(-1).astype(np.int32))
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
    if surface.uv is not None:
        layer = mesh.uv_layers.new(name="UVMap", do_init=False)
        layer.uv.foreach_set("vector", surface.uv[faces.reshape(-1)].astype(np.float32).reshape(-1))
    mesh.update(calc_edges=True)
    mesh.validate()
    return mesh


def _material(title: str, surface: Surface, mark: str) -> bpy.types.Material:
    material = bpy.data.materials.new(title)
    material[MARK] = mark
    nodes, links = empty_tree(material)
    output = nodes.new("ShaderNodeOutputMaterial")
    shader = nodes.new("ShaderNodeBsdfPrincipled")
    output.location = (300, 0)
    shader.inputs["Roughness"].default_value = 0.6
    links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    if surface.picture is not None:
        picture = nodes.new("ShaderNodeTexImage")
        picture.location = (-320, 0)
        picture.image = _image(surface.picture, title, mark)
        links.new(picture.outputs["Color"], shader.inputs["Base Color"])
        nodes.active = picture
    return material


def _image(data: bytes, title: str, mark: str) -> bpy.types.Image:
    """A picture out of a GLB as an image of this file, packed."""
    with tempfile.TemporaryDirectory(prefix="ddrep-") as folder:
        path = Path(folder) / ("texture.png" if data[:4] == b"\x89PNG" else "texture.jpg")
        path.write_bytes(data)
        return load_picture(path, title, mark, "PACK", color=True)
