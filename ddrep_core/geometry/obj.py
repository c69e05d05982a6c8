"""Wavefront OBJ: objects, materials and polygons, with the order of the file's face corners kept.

trimesh reads OBJ too, but merges and reorders vertices and forgets which polygon corner a triangle corner was; Blender
needs that order to take new UVs back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ddrep_core.confined import Confined, LeadsOut
from ddrep_core.errors import RequestError
from ddrep_core.geometry.mesh import Float, Int, Mesh, Part, SimpleMaterial


@dataclass
class _Object:
    """The polygons of one `o` block, as they come."""

    name: str
    sizes: list[int] = field(default_factory=list)  # corners per polygon
    corners: list[tuple[int, int, int]] = field(default_factory=list)  # (v, vt, vn), -1 for none
    materials: list[str] = field(default_factory=list)  # one a polygon


def read_obj(path: Path, axes_to_world: Float, files: Confined) -> Mesh:
    """Read an OBJ file and its material library.

    An object with several materials becomes several parts. Polygons are cut into triangles: convex ones as a fan,
    others by clipping ears.

    Args:
        files: what the file names (material libraries and their pictures) is read from in there, or not at all.

    Raises:
        RequestError: a line that cannot be read, or an index to something that is not there.
    """
    text = path.read_bytes().decode("utf-8", errors="replace").replace("\\\r\n", " ").replace("\\\n", " ")
    positions: list[list[float]] = []
    uvs: list[list[float]] = []
    normals: list[list[float]] = []
    materials: dict[str, SimpleMaterial] = {}
    notes: list[str] = []
    objects: dict[str, _Object] = {}
    current = _Object(path.stem)
    material = ""
    number = 0
    try:
        for line in text.splitlines():
            number += 1
            keyword, _, rest = line.strip().partition(" ")
            if keyword == "v":
                positions.append([float(value) for value in rest.split()[:3]])
            elif keyword == "vt":
                values = [float(value) for value in rest.split()[:2]]
                uvs.append(values if len(values) == 2 else [values[0], 0.0])
            elif keyword == "vn":
                normals.append([float(value) for value in rest.split()[:3]])
            elif keyword == "f":
                words = rest.split()
                if len(words) < 3:
                    continue  # a point or an edge
                if not current.sizes:
                    objects.setdefault(current.name, current)
                current.sizes.append(len(words))
                current.materials.append(material)
                for word in words:
                    current.corners.append(_corner(word, len(positions), len(uvs), len(normals)))
            elif keyword == "o":
                name = rest.strip() or path.stem
                current = objects.get(name) or _Object(name)
            elif keyword == "usemtl":
                material = rest.strip()
            elif keyword == "mtllib":
                materials.update(_read_materials(path.parent / rest.strip(), files, notes))
    except (ValueError, IndexError) as error:
        raise RequestError(f"{path.name}, line {number}, cannot be read: {error}.", "Export the mesh again.") from error
    if any(len(position) != 3 for position in positions):
        raise RequestError(f"{path.name} has a vertex without three coordinates.", "Export the mesh again.")
    with np.errstate(invalid="ignore"):  # infinite vertices are refused in words later
        vertices = np.asarray(positions, np.float64).reshape(-1, 3) @ axes_to_world.T
    directions = np.asarray(normals, np.float64).reshape(-1, 3) @ axes_to_world.T
    coordinates = np.asarray(uvs, np.float64).reshape(-1, 2)
    parts: list[Part] = []
    for entry in objects.values():
        parts.extend(_parts(entry, vertices, coordinates, directions, path, whole=len(objects) == 1))
    return Mesh(path, tuple(parts), axes_to_world, materials=materials, warnings=tuple(notes))


def _corner(word: str, vertices: int, uvs: int, normals: int) -> tuple[int, int, int]:
    """Zero-based (v, vt, vn) of a face corner such as `7/2/5` or `-1//-1`; -1 for what is not given."""
    fields = word.split("/")

    def index(position: int, count: int) -> int:
        if position >= len(fields) or not fields[position]:
            return -1
        value = int(fields[position])
        found = value - 1 if value > 0 else count + value
        if not 0 <= found < count:
            raise ValueError(f"'{word}' asks for something that is not there")
        return found

    return index(0, vertices), index(1, uvs), index(2, normals)


def _parts(entry: _Object, vertices: Float, uvs: Float, normals: Float, path: Path, whole: bool) -> list[Part]:
    """An object's parts, one a material. `whole`: the object has all the file's vertices to itself."""
    corners = np.asarray(entry.corners, np.int64)
    if (corners[:, 0] < 0).any():
        raise RequestError(f"{path.name}: a face of '{entry.name}' lacks a vertex.", "Export the mesh again.")
    triangles, polygon = _triangulate(np.asarray(entry.sizes, np.int64), vertices[corners[:, 0]])
    names = list(dict.fromkeys(entry.materials))
    wears = np.array([names.index(name) for name in entry.materials])[polygon]
    parts = []
    for number, material in enumerate(names):
        own = triangles[wears == number]  # [F, 3] corner numbers
        faces, used = corners[own, 0], np.arange(len(vertices))
        if not (whole and len(names) == 1):
            used, flat = np.unique(faces, return_inverse=True)
            faces = flat.reshape(-1, 3)
        has_uv, has_normals = (corners[own, 1] >= 0).all(), (corners[own, 2] >= 0).all()
        parts.append(
            Part(
                name="",
                object_name=entry.name,
                material=material,
                vertices=vertices[used],
                faces=faces,
                uv=uvs[corners[own, 1]] if has_uv else None,
                corners=own,
                corner_count=len(corners),
                normals=normals[corners[own, 2]] if has_normals else None,
            )
        )
    return parts


def _triangulate(sizes: Int, points: Float) -> tuple[Int, Int]:
    """Triangles [F, 3] of corner numbers, and [F] the polygon of each, in the polygons' order.

    Args:
        sizes: [N] corners per polygon.
        points: [sum(sizes), 3] where the corners are.
    """
    starts = np.cumsum(sizes) - sizes
    polygon = np.repeat(np.arange(len(sizes)), sizes - 2)
    step = np.arange(len(polygon)) - np.repeat(np.cumsum(sizes - 2) - (sizes - 2), sizes - 2)
    first = starts[polygon]
    triangles = np.stack([first, first + step + 1, first + step + 2], axis=1)
    # A fan is right where all its triangles turn the same way; the few other polygons are clipped ear by ear.
    edges = points[triangles[:, 1:]] - points[triangles[:, :1]]
    normals = np.cross(edges[:, 0], edges[:, 1])
    total = np.zeros((len(sizes), 3))
    np.add.at(total, polygon, normals)
    wrong = np.unique(polygon[(np.einsum("ij,ij->i", normals, total[polygon]) < 0) & (sizes[polygon] > 3)])
    for index in wrong:
        local = _clip_ears(points[starts[index] : starts[index] + sizes[index]], total[index])
        triangles[polygon == index] = starts[index] + local
    return triangles, polygon


def _clip_ears(points: Float, normal: Float) -> Int:
    """[N - 2, 3] triangles of a simple polygon [N, 3] by ear clipping in its own plane."""
    drop = int(np.argmax(np.abs(normal)))
    flat = np.delete(points, drop, axis=1)
    if (normal[drop] < 0) != (drop == 1):  # keep it counter-clockwise after the projection
        flat = flat * np.array([-1.0, 1.0])

    def cross(a: Float, b: Float, c: Float) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    left, result = list(range(len(points))), []
    while len(left) > 3:
        for k in range(len(left)):
            a, b, c = left[k - 1], left[k], left[(k + 1) % len(left)]
            if cross(flat[a], flat[b], flat[c]) <= 0:
                continue
            others = (flat[i] for i in left if i not in (a, b, c))
            if not any(
                cross(flat[a], flat[b], p) >= 0 and cross(flat[b], flat[c], p) >= 0 and cross(flat[c], flat[a], p) >= 0
                for p in others
            ):
                break
        else:
            k, a, b, c = 1, left[0], left[1], left[2]  # not simple: any cut is as good
        result.append((a, b, c))
        left.pop(k)
    result.append(tuple(left))
    return np.asarray(result, np.int64)


def _read_materials(path: Path, files: Confined, notes: list[str]) -> dict[str, SimpleMaterial]:
    """The materials of an MTL file: diffuse colour, opacity, texture. A library that is not there has none.

    What leads out of where a mesh may read is left out; `notes` says so.
    """
    try:
        text = files.read_bytes(path).decode("utf-8", errors="replace")
    except OSError:
        return {}
    except LeadsOut as error:
        notes.append(f"The mesh's material library was not read: {error.message}")
        return {}
    found: dict[str, SimpleMaterial] = {}
    name = ""
    for line in text.splitlines():
        keyword, _, rest = line.strip().partition(" ")
        if keyword == "newmtl":
            name = rest.strip()
            found[name] = SimpleMaterial(name)
        elif name and keyword in ("Kd", "d", "map_Kd"):
            old = found[name]
            if keyword == "map_Kd":
                image = path.parent / rest.split(" -")[0].strip().split()[-1] if rest.startswith("-") else None
                image = image or path.parent / rest.strip()
                try:
                    found[name] = SimpleMaterial(name, old.color, files.path(image))
                except LeadsOut as error:
                    notes.append(f"The picture of the material '{name}' was left out: {error.message}")
                continue
            try:
                values = [float(value) for value in rest.split()]
            except ValueError:
                continue
            if keyword == "Kd" and len(values) == 3:
                color = (values[0], values[1], values[2], old.color[3])
                found[name] = SimpleMaterial(name, color, old.image)
            elif keyword == "d" and len(values) == 1:
                found[name] = SimpleMaterial(name, (*old.color[:3], values[0]), old.image)
    return found
