"""What the engine knows of a mesh: world-space triangles with UVs, and enough of the file to write it back.

Coordinates are the world's (Z-up, -Y front, metres); `axes_to_world` says how the file's own axes map there. UV
coordinates have v upward, as in OBJ and Blender; a texture image has its first row at v = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ddrep_core.errors import RequestError
from ddrep_core.geometry.gltf_document import Float, GltfDocument, Int

if TYPE_CHECKING:
    from ddrep_core.geometry.symmetry import Symmetry
    from ddrep_core.views import Camera

# Columns are where the file's x, y and z point in the world. Both are exact: a permutation with a sign.
Y_UP_TO_WORLD: Float = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
Z_UP_TO_WORLD: Float = np.eye(3)


@dataclass(frozen=True)
class SimpleMaterial:
    """A material of a file that is not glTF: what its GLB twin needs."""

    name: str
    color: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)  # linear RGBA
    image: Path | None = None  # base-colour texture


@dataclass(frozen=True)
class GltfPrimitive:
    """Where a part comes from in a glTF file."""

    node: int
    mesh: int
    primitive: int


@dataclass(frozen=True)
class Part:
    """What shares one texture: the faces of one object that wear one material.

    Args:
        name: unique in the mesh; the object's name, with the material's behind a slash where an object has several.
        object_name: the object's name in the file.
        material: the material's name in the file, "" for none.
        vertices: [N, 3] in the world, in the file's order.
        faces: [F, 3] triangles, in the file's order.
        uv: [F, 3, 2] one UV per triangle corner, v upward; None while there are none.
        corners: [F, 3] the number of each corner among the object's face corners (Blender: loops) in the file's order.
        corner_count: how many face corners the object has in the file, over all its parts.
        normals: [F, 3, 3] the file's own normals per corner, in the world; None where it has none.
        textured: False for what only stands in the way.
        unwrapped: the UVs were made here, for the file had none.
        inside_out: its outside is where its faces, by the order of their corners, look away from (`geometry.facing`).
        primitive: where the part lies in a glTF file.
        tile: the UDIM tile that it is, 1001 and more; 0 where its texture is no tile.
        rows: [F] which of its primitive's triangles a tile has, in their order; None: all.
    """

    name: str
    object_name: str
    material: str
    vertices: Float
    faces: Int
    uv: Float | None
    corners: Int
    corner_count: int
    normals: Float | None = None
    textured: bool = True
    unwrapped: bool = False
    inside_out: bool = False
    primitive: GltfPrimitive | None = None
    tile: int = 0
    rows: Int | None = None

    @cached_property
    def triangles(self) -> Float:
        """[F, 3, 3] corners in the world."""
        return self.vertices[self.faces]


@dataclass(frozen=True)
class Mesh:
    """All the parts of one file, in the file's order. Faces are numbered through all parts.

    Args:
        path: the file.
        parts: at least one, each with UVs if it is textured.
        axes_to_world: [3, 3] the file's axes in the world.
        document: the glTF structure that the file came with, to write it back unchanged.
        materials: by name, for files that are not glTF.
        warnings: what a person should know about this mesh.
        both_sides: faces are painted from behind as well; both sides of a face wear the same picture.
        symmetry: a mirror plane; what lies behind it has the texels of what lies before it.
    """

    path: Path
    parts: tuple[Part, ...]
    axes_to_world: Float
    document: GltfDocument | None = None
    materials: dict[str, SimpleMaterial] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    both_sides: bool = False
    symmetry: Symmetry | None = None

    @property
    def textured_parts(self) -> tuple[Part, ...]:
        """The parts that get a texture."""
        return tuple(part for part in self.parts if part.textured)

    @property
    def object_names(self) -> tuple[str, ...]:
        """Each object's name once, in the file's order."""
        return tuple(dict.fromkeys(part.object_name for part in self.parts))

    @cached_property
    def vertices(self) -> Float:
        """[N, 3] of all parts, in the world."""
        return np.concatenate([part.vertices for part in self.parts])

    @cached_property
    def faces(self) -> Int:
        """[F, 3] of all parts, into `vertices`."""
        starts = np.cumsum([0] + [len(part.vertices) for part in self.parts])
        return np.concatenate([part.faces + start for part, start in zip(self.parts, starts, strict=False)])

    @cached_property
    def face_starts(self) -> Int:
        """[parts + 1] the number of each part's first face."""
        return np.cumsum([0] + [len(part.faces) for part in self.parts]).astype(np.int64)

    @cached_property
    def part_of_face(self) -> Int:
        """[F] which part a face belongs to."""
        return np.repeat(np.arange(len(self.parts)), np.diff(self.face_starts))

    @cached_property
    def uv(self) -> Float:
        """[F, 3, 2] of all parts; NaN where a part has none (it is not textured, then)."""
        blocks = [np.full((len(p.faces), 3, 2), np.nan) if p.uv is None else p.uv for p in self.parts]
        return np.concatenate(blocks)

    @cached_property
    def triangles(self) -> Float:
        """[F, 3, 3] corners in the world."""
        return self.vertices[self.faces]

    @cached_property
    def bounds(self) -> Float:
        """[2, 3] lower and upper corner of everything in the file."""
        return extremes(self.triangles.reshape(-1, 3))

    def surrounds(self, camera: Camera) -> bool:
        """Whether a camera stands within the box around everything; an orthographic one stands nowhere."""
        within = (camera.position > self.bounds[0]) & (camera.position < self.bounds[1])
        return bool(within.all()) and not camera.is_orthographic

    def with_textured(self, objects: Sequence[str] | None) -> Mesh:
        """The same mesh with only these objects textured; the others still stand in the way. None: all of them.

        Raises:
            RequestError: a name that is no object of the mesh, or no name at all.
        """
        if objects is None:
            return replace(self, parts=tuple(replace(part, textured=True) for part in self.parts))
        known = self.object_names
        if unknown := [name for name in objects if name not in known]:
            raise RequestError(
                f"{self.path.name} has no object called '{unknown[0]}'.", f"Its objects are: {', '.join(known)}."
            )
        if not objects:
            raise RequestError("The list of objects to texture is empty.", "Name at least one, or leave the list out.")
        wanted = set(objects)
        return replace(self, parts=tuple(replace(p, textured=p.object_name in wanted) for p in self.parts))

    def uv_layout(self, object_name: str) -> Float:
        """[L, 2] an object's UVs, one per face corner in the file's order, v upward (`outputs/uv_<object>.json`)."""
        parts = [part for part in self.parts if part.object_name == object_name and part.uv is not None]
        if not parts:
            raise RequestError(f"{self.path.name} has no object called '{object_name}' with UVs.")
        layout = np.zeros((parts[0].corner_count, 2))
        for part in parts:
            if part.uv is not None:
                layout[part.corners.reshape(-1)] = part.uv.reshape(-1, 2)
        return layout


def used_vertices(part: Part) -> NDArray[np.bool_]:
    """[N] which vertices some face of a part uses."""
    used = np.zeros(len(part.vertices), bool)
    used[part.faces] = True
    return used


def extremes(points: Float) -> Float:
    """[2, K] the least and the greatest of each column of [N, K]; faster than reductions along the long axis."""
    return np.array([[column.min() for column in points.T], [column.max() for column in points.T]])
