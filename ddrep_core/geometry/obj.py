"""Wavefront OBJ: objects, materials and polygons, with the order of the file's face corners kept.

trimesh reads OBJ too, but merges and reorders vertices and forgets which polygon corner a triangle corner was; Blender
needs that order to take new UVs back.
"""

from __future__ import annotations

import math
import re
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ddrep_core.confined import Confined
from ddrep_core.errors import RequestError
from ddrep_core.geometry.mesh import Float, Int, Mesh, Part, SimpleMaterial
from ddrep_core.geometry.mtl import read_materials
from ddrep_core.geometry.obj_text import library_names, lines, split_statement
from ddrep_core.geometry.triangulation import triangulate

NONE = -1  # an index that is not given
# What C libraries print where a number is none: "1.#QNAN", "-1.#IND", "nan(ind)".
_NOT_A_NUMBER = re.compile(r"[+-]?(\d\.#(IND|QNAN|SNAN|INF)\d*|nan\(\w*\))", re.IGNORECASE)


@dataclass
class _Object:
    """The polygons of one `o` block, as they come."""

    name: str
    sizes: array[int] = field(default_factory=lambda: array("q"))  # corners per polygon
    corners: array[int] = field(default_factory=lambda: array("q"))  # v, vt, vn of each corner in a row
    materials: array[int] = field(default_factory=lambda: array("q"))  # one a polygon


def read_obj(path: Path, axes_to_world: Float, files: Confined) -> Mesh:
    """Read an OBJ file and its material library.

    An object with several materials becomes several parts. Polygons are cut into triangles: convex ones as a fan,
    others by clipping ears. Vertex colours and weights are left aside, and so are points, lines and curves.

    Args:
        files: what the file names (material libraries and their pictures) is read from in there, or not at all.

    Raises:
        RequestError: a line that cannot be read, or an index to something that is not there.
    """
    positions, uvs, normals = array("d"), array("d"), array("d")
    materials: dict[str, SimpleMaterial] = {}
    material_numbers = {"": 0}
    notes: list[str] = []
    objects: dict[str, _Object] = {}
    current = _Object(path.stem)
    material = 0
    number = 0
    try:
        for position, line in lines(path.read_bytes()):
            number = position  # for the message
            words = line.split()
            if not words:
                continue
            keyword = words[0]
            if keyword == "v":
                positions.extend(_numbers(words, 3))
            elif keyword == "vt":
                uvs.extend(_numbers(words, 2) if len(words) > 2 else (*_numbers(words, 1), 0.0))
            elif keyword == "vn":
                normals.extend(_numbers(words, 3))
            elif keyword in ("f", "fo"):  # fo: how faces were called before 1990
                if "#" in line:
                    words = line.partition("#")[0].split()
                if len(words) < 4:
                    continue  # a point or an edge
                if not current.sizes:
                    objects.setdefault(current.name, current)
                current.sizes.append(len(words) - 1)
                current.materials.append(material)
                for word in words[1:]:
                    current.corners.extend(_corner(word, len(positions) // 3, len(uvs) // 2, len(normals) // 3))
            elif keyword == "o":
                name = split_statement(line)[1] or path.stem
                current = objects.get(name) or _Object(name)
            elif keyword == "usemtl":
                material = material_numbers.setdefault(split_statement(line)[1], len(material_numbers))
            elif keyword == "mtllib":
                for library in library_names(split_statement(line)[1], path.parent):
                    materials.update(read_materials(library, files, notes))
    except (ValueError, OverflowError) as error:
        raise RequestError(f"{path.name}, line {number}, cannot be read: {error}.", "Export the mesh again.") from error
    with np.errstate(invalid="ignore"):  # infinite vertices are refused in words later
        vertices = np.asarray(positions, np.float64).reshape(-1, 3) @ axes_to_world.T
        directions = np.asarray(normals, np.float64).reshape(-1, 3) @ axes_to_world.T
    coordinates = np.asarray(uvs, np.float64).reshape(-1, 2)
    parts: list[Part] = []
    for entry in objects.values():
        whole = len(objects) == 1
        parts.extend(_parts(entry, list(material_numbers), vertices, coordinates, directions, path, whole))
    return Mesh(path, tuple(parts), axes_to_world, materials=materials, warnings=tuple(notes))


def _numbers(words: list[str], count: int) -> list[float]:
    """The first `count` numbers behind a keyword."""
    if len(words) <= count:
        raise ValueError(f"'{' '.join(words)}' needs {count} number{'s' if count > 1 else ''}")
    try:
        return [float(word) for word in words[1 : count + 1]]
    except ValueError:
        return [_number(word) for word in words[1 : count + 1]]


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        if _NOT_A_NUMBER.fullmatch(word):
            return math.nan
        if "," in word:
            raise ValueError(f"'{word}' has a comma where a number has its point") from None
        raise ValueError(f"'{word[:40]}' is no number") from None


def _corner(word: str, vertices: int, uvs: int, normals: int) -> tuple[int, int, int]:
    """Zero-based (v, vt, vn) of a face corner such as `7/2/5` or `-1//-1`; NONE for what is not given.

    Indices below zero count back from what has been read so far; the others may name what comes later.
    """
    fields = word.split("/")

    def index(position: int, count: int) -> int:
        if position >= len(fields) or not fields[position]:
            return NONE
        try:
            value = int(fields[position])
        except ValueError:
            raise ValueError(f"'{word[:40]}' is no corner of a face") from None
        if value > 0:
            return value - 1
        if value < 0 <= count + value:
            return count + value
        if value == 0 and position:
            return NONE
        raise ValueError(f"'{word}' asks for something that is not there")

    vertex = index(0, vertices)
    if vertex == NONE:
        raise ValueError(f"'{word}' has no vertex")
    return vertex, index(1, uvs), index(2, normals)


def _parts(
    entry: _Object, material_names: list[str], vertices: Float, uvs: Float, normals: Float, path: Path, whole: bool
) -> list[Part]:
    """An object's parts, one a material. `whole`: the object has all the file's vertices to itself."""
    corners = _checked_corners(entry, len(vertices), len(uvs), len(normals), path)
    triangles, polygon = triangulate(np.asarray(entry.sizes, np.int64), vertices[corners[:, 0]])
    wears = np.asarray(entry.materials, np.int64)[polygon]
    numbers = list(dict.fromkeys(entry.materials))
    parts = []
    for number in numbers:
        own = triangles[wears == number]  # [F, 3] corner numbers
        faces, used = corners[own, 0], np.arange(len(vertices))
        if not (whole and len(numbers) == 1):
            used, flat = np.unique(faces, return_inverse=True)
            faces = flat.reshape(-1, 3)
        has_uv, has_normals = (corners[own, 1] >= 0).all(), (corners[own, 2] >= 0).all()
        parts.append(
            Part(
                name="",
                object_name=entry.name,
                material=material_names[number],
                vertices=vertices[used],
                faces=faces,
                uv=uvs[corners[own, 1]] if has_uv else None,
                corners=own,
                corner_count=len(corners),
                normals=normals[corners[own, 2]] if has_normals else None,
            )
        )
    return parts


def _checked_corners(entry: _Object, vertices: int, uvs: int, normals: int, path: Path) -> Int:
    """[corners, 3] of an object, all to what is there; a normal that is not there is none."""
    corners = np.asarray(entry.corners, np.int64).reshape(-1, 3)
    for column, (what, count) in enumerate((("vertex", vertices), ("UV", uvs))):
        if (asked := int(corners[:, column].max())) >= count:
            raise RequestError(
                f"{path.name}: a face of '{entry.name}' asks for {what} {asked + 1}, and there are {count}.",
                "Export the mesh again.",
            )
    corners[corners[:, 2] >= normals, 2] = NONE
    return corners
