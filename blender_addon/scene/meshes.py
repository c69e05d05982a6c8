# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes of the scene as the engine gets them: evaluated, in world space, with a UV per face corner.

Reading is quick and uses Blender; writing works on arrays alone, in slices, so that a large mesh does not hold the
interface up.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import bpy
import numpy as np

from ..problems import Problem

NEW_LAYER = "DDRep"
MOST_UV_LAYERS = 8
LINES_A_PIECE = 4096
LONGEST_KEY = 64  # letters: results are files named after it


@dataclass
class CapturedMesh:
    """One object's surface at one moment; no reference into Blender is kept.

    A mesh with UVs is cut into Blender's own triangles, so that nobody can cut its polygons another way. One without
    is kept in polygons: the new UVs come back per polygon corner.
    """

    name: str  # in Blender
    vertices: np.ndarray  # [N, 3] float64, world
    corners: np.ndarray  # [L] vertex of each face corner
    sizes: np.ndarray  # [F] corners of each face
    loops: np.ndarray  # [L] the mesh loop that each face corner is
    slots: np.ndarray  # [F] the material slot that each face wears
    uv: np.ndarray | None  # [L, 2]
    layer: str  # the UV map they come from, or the one to be made
    warnings: list[str] = field(default_factory=list)
    key: str = ""  # in the job: letters, digits, "_", "-", "."
    selected: np.ndarray | None = None  # [F] whether each face is selected
    groups: dict[str, np.ndarray] = field(default_factory=dict)  # [N] by vertex group, which vertices belong to it
    tiled: bool = False  # whether its UVs lie in UDIM tiles, each of which gets a texture

    @property
    def makes_layer(self) -> bool:
        return self.uv is None


def require_textureable(thing: bpy.types.Object, uv_source: str = "ACTIVE", uv_name: str = "") -> None:
    """The checks that cost nothing: kind, ownership, visibility, UV maps by name.

    Raises:
        Problem: the object can't be textured, with what to do.
    """
    _require_mesh(thing)
    require_own(thing)
    _require_at_hand(thing)
    _require_uv_maps(thing, uv_source, uv_name)
    if len(thing.data.polygons) == 0 and not thing.modifiers:
        raise no_faces(thing)


def no_faces(thing: bpy.types.Object) -> Problem:
    """What to say of a mesh without a surface, whether its own or the one that its modifiers make."""
    words = f"'{thing.name}' has no faces, so there is nothing to paint. Give it some, or deselect it."
    if thing.modifiers:
        words = (
            f"The modifiers of '{thing.name}' leave it no faces, so there is nothing to paint. If they make instances, "
            "add Realize Instances as their last node; or deselect it."
        )
    return Problem(words, "ddrep.deselect", f"Deselect '{thing.name}'", object_name=thing.name)


def no_base_faces(thing: bpy.types.Object) -> Problem:
    """What to say of a mesh whose faces are all its modifiers', where its own would be needed."""
    return Problem(
        f"All faces of '{thing.name}' are made by its modifier '{_topology_modifier(thing)}', so its own mesh has none "
        "to put a UV map on. Store a UV map in the modifier's nodes, or apply its modifiers.",
        "ddrep.apply_modifiers",
        f"Apply the modifiers of '{thing.name}'",
        object_name=thing.name,
    )


def _require_mesh(thing: bpy.types.Object) -> None:
    name = thing.name
    if thing.type != "MESH":
        kind = thing.type.replace("_", " ").lower()
        if thing.type in {"CURVE", "SURFACE", "FONT", "META"}:
            raise Problem(f"'{name}' is a {kind}, not a mesh. Convert it to a mesh (Object > Convert), or deselect it.")
        raise Problem(
            f"'{name}' is not a mesh ({kind}). Select meshes only.",
            "ddrep.deselect",
            f"Deselect '{name}'",
            object_name=name,
        )


def require_own(thing: bpy.types.Object) -> None:
    """Raises a Problem where an object belongs to another file."""
    name = thing.name
    if thing.override_library is not None:
        raise Problem(
            f"'{name}' is a library override: its mesh belongs to another file. Make it local first.",
            "ddrep.make_local",
            f"Make '{name}' local",
            object_name=name,
        )
    if thing.library is not None:
        raise Problem(
            f"'{name}' is linked from {thing.library.filepath} and can't be changed here. Make it local first.",
            "ddrep.make_local",
            f"Make '{name}' local",
            object_name=name,
        )


def _require_at_hand(thing: bpy.types.Object) -> None:
    name = thing.name
    if thing.hide_viewport or thing.hide_get() or not thing.visible_get():
        raise Problem(
            f"'{name}' is hidden, so nobody would see its texture. Show it, or deselect it.",
            "ddrep.show_object",
            f"Show '{name}'",
            object_name=name,
        )
    if thing.mode != "OBJECT":
        raise Problem(
            f"'{name}' is in {thing.mode.replace('_', ' ').title()} Mode. Go back to Object Mode first.",
            "ddrep.leave_mode",
            "Object Mode",
        )


def _require_uv_maps(thing: bpy.types.Object, uv_source: str, uv_name: str) -> None:
    name, mesh = thing.name, thing.data
    layers = mesh.uv_layers
    if mesh.library is not None and (uv_source == "NEW" or not layers or not thing.material_slots):
        raise Problem(
            f"The mesh of '{name}' is linked from another file and can't get a UV map or a material slot. "
            "Make it local first.",
            "ddrep.make_local",
            f"Make '{name}' local",
            object_name=name,
        )
    if not mesh.polygons:
        return  # its faces are its modifiers' doing, and so are their UV maps
    if uv_source == "NAMED" and uv_name not in layers:
        found = ", ".join(f"'{layer.name}'" for layer in layers) or "none"
        raise Problem(
            f"'{name}' has no UV map called '{uv_name}' (it has {found}). Choose another, or use the active one.",
            "ddrep.set_uv_source",
            "Use the active UV map",
            source="ACTIVE",
        )
    if (uv_source == "NEW" or not layers) and len(layers) >= MOST_UV_LAYERS:
        raise Problem(
            f"'{name}' has {MOST_UV_LAYERS} UV maps already, all that Blender allows. Delete one, or texture one.",
            "ddrep.set_uv_source",
            "Use the active UV map",
            source="ACTIVE",
        )


def capture(
    thing: bpy.types.Object,
    depsgraph: bpy.types.Depsgraph,
    uv_source: str = "ACTIVE",
    uv_name: str = "",
    needs_uv: bool = True,
    group: str = "",
) -> CapturedMesh:
    """Copy an object's evaluated surface into arrays.

    Args:
        uv_source: "ACTIVE", "NAMED" (`uv_name`) or "NEW": leave the UVs out, the engine makes a layer.
        needs_uv: False for an object that only stands in the way.
        group: a vertex group whose members are told, where the object has it.

    Raises:
        Problem: it has no surface, its UVs were lost by a modifier, or lie across the borders of tiles.
    """
    evaluated = thing.evaluated_get(depsgraph)
    mesh = evaluated.to_mesh(preserve_all_data_layers=True, depsgraph=depsgraph)
    try:
        return _captured(thing, mesh, np.array(evaluated.matrix_world, float), uv_source, uv_name, needs_uv, group)
    finally:
        evaluated.to_mesh_clear()


def _captured(
    thing: bpy.types.Object,
    mesh: bpy.types.Mesh,
    matrix: np.ndarray,
    uv_source: str,
    uv_name: str,
    needs_uv: bool,
    group: str = "",
) -> CapturedMesh:
    vertices = _world_vertices(thing, mesh, matrix)
    layer = _layer_name(thing.data if thing.data.polygons else mesh, uv_source, uv_name) if needs_uv else ""
    makes_layer = needs_uv and not layer
    slots = slots_of(thing, mesh)
    selected = _integers(mesh.polygons, "select").astype(bool)
    if makes_layer:
        _require_same_topology(thing, mesh)
        corners, loops = _integers(mesh.loops, "vertex_index"), np.arange(len(mesh.loops))
        sizes = _integers(mesh.polygons, "loop_total")
    else:
        mesh.calc_loop_triangles()
        corners = _integers(mesh.loop_triangles, "vertices", 3).reshape(-1)
        loops = _integers(mesh.loop_triangles, "loops", 3).reshape(-1)
        sizes = np.full(len(mesh.loop_triangles), 3)
        polygon = _integers(mesh.loop_triangles, "polygon_index")
        slots, selected = slots[polygon], selected[polygon]
    uv, warnings, tiled = None, [], False
    if layer:
        uv = _uv_of(thing, mesh, layer)[loops]
        tiled = _leaves_first_tile(uv) and wears_tiles(thing)
        if tiled:
            _require_in_tiles(thing, uv.reshape(-1, 3, 2))
        warnings = _judge_uv(thing, layer, vertices[corners].reshape(-1, 3, 3), uv.reshape(-1, 3, 2))
    if needs_uv:
        warnings += _judge_materials(thing, mesh)
    if np.linalg.det(matrix[:3, :3]) < 0:  # mirrored: turn every face over, and remember which loop went where
        order = reversed_faces(sizes)
        corners, loops = corners[order], loops[order]
        uv = uv[order] if uv is not None else None
    return CapturedMesh(
        thing.name, vertices, corners, sizes, loops, slots, uv, layer or NEW_LAYER, warnings, selected=selected,
        groups={group: _members(thing, mesh, group)} if group in thing.vertex_groups else {}, tiled=tiled,
    )  # fmt: skip


def _members(thing: bpy.types.Object, mesh: bpy.types.Mesh, group: str) -> np.ndarray:
    """[N] which vertices belong to a vertex group by half at least."""
    index = thing.vertex_groups[group].index
    return np.array(
        [any(each.group == index and each.weight >= 0.5 for each in vertex.groups) for vertex in mesh.vertices], bool
    )


def slots_of(thing: bpy.types.Object, mesh: bpy.types.Mesh) -> np.ndarray:
    """[F] the material slot that each polygon of an object's mesh wears, as Blender shows it."""
    return _integers(mesh.polygons, "material_index").clip(0, max(0, len(thing.material_slots) - 1))


def _world_vertices(thing: bpy.types.Object, mesh: bpy.types.Mesh, matrix: np.ndarray) -> np.ndarray:
    """[N, 3] float64. Raises a Problem where there is no surface to speak of."""
    if len(mesh.polygons) == 0:
        raise no_faces(thing)
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-18:
        raise Problem(f"'{thing.name}' is scaled to nothing along an axis. Clear its scale, or deselect it.")
    vertices = _floats(mesh.vertices, "co", 3) @ matrix[:3, :3].T + matrix[:3, 3]
    if not np.isfinite(vertices).all():
        raise Problem(f"'{thing.name}' has vertices at infinity. Run Mesh > Clean Up, or undo what moved them.")
    return vertices


def _uv_of(thing: bpy.types.Object, mesh: bpy.types.Mesh, layer: str) -> np.ndarray:
    """[L, 2] float64. Raises a Problem where a modifier lost them, or they are spread over tiles that nobody means."""
    if layer not in mesh.uv_layers:
        raise _lost_uv(thing, layer)
    uv = _floats(mesh.uv_layers[layer].uv, "vector", 2)
    _check_tiles(thing, uv)
    return uv


def _judge_uv(thing: bpy.types.Object, layer: str, triangles: np.ndarray, uv: np.ndarray) -> list[str]:
    """Warnings about a surface [F, 3, 3] whose UVs are [F, 3, 2]. Raises a Problem where they have no area at all."""
    lost = _share_without_uv(triangles, uv)
    if lost > 0.999:
        if _topology_modifier(thing):
            raise _lost_uv(thing, layer)
        raise Problem(
            f"The UV map '{layer}' of '{thing.name}' has no area: every face lies on a point or a line of it. "
            "Unwrap the mesh, or use a new map.",
            "ddrep.set_uv_source",
            "Use a new UV map",
            source="NEW",
        )
    if lost > 0.02:
        return [f"{lost:.0%} of the surface of '{thing.name}' has no place in the UV map '{layer}'."]
    return []


def _judge_materials(thing: bpy.types.Object, mesh: bpy.types.Mesh) -> list[str]:
    """A warning about faces whose material is set by a modifier, over whatever the object's slots show."""
    own = {slot.material.name for slot in thing.material_slots if slot.material is not None}
    others = [each.name for each in mesh.materials if each is not None and each.name not in own]
    if not others:
        return []
    return [
        f"The modifiers of '{thing.name}' set the material '{others[0]}' themselves: those faces will not show the "
        "texture until the modifier lets the object's own material through."
    ]


def _require_same_topology(thing: bpy.types.Object, mesh: bpy.types.Mesh) -> None:
    """Raises a Problem where new UVs for the evaluated mesh could not be carried back to the object's own."""
    if not thing.data.polygons:
        raise no_base_faces(thing)
    if not _same_topology(thing.data, mesh) and thing.data.uv_layers:
        raise Problem(
            f"The modifier '{_topology_modifier(thing)}' of '{thing.name}' changes its faces, so a new UV map "
            "could not be carried back. Use the map it has, or apply the modifier.",
            "ddrep.set_uv_source",
            "Use the active UV map",
            source="ACTIVE",
        )
    if not _same_topology(thing.data, mesh):
        raise Problem(
            f"'{thing.name}' has no UV map, and its modifier '{_topology_modifier(thing)}' changes its faces, so new "
            "UVs could not be carried back. Unwrap the mesh, or apply the modifier.",
            "ddrep.unwrap",
            f"Unwrap '{thing.name}'",
            object_name=thing.name,
        )


def _floats(collection: bpy.types.bpy_prop_collection, attribute: str, width: int) -> np.ndarray:
    values = np.empty(len(collection) * width, np.float32)
    collection.foreach_get(attribute, values)
    return values.reshape(-1, width).astype(np.float64)


def _integers(collection: bpy.types.bpy_prop_collection, attribute: str, width: int = 1) -> np.ndarray:
    values = np.empty(len(collection) * width, np.int32)
    collection.foreach_get(attribute, values)
    return values if width == 1 else values.reshape(-1, width)


def _layer_name(mesh: bpy.types.Mesh, uv_source: str, uv_name: str) -> str:
    """The UV map to use, "" when one must be made."""
    names = [layer.name for layer in mesh.uv_layers if not layer.name.startswith(".")]  # those are nodes' own, nameless
    if uv_source == "NEW" or not names:
        return ""
    active = mesh.uv_layers.active
    return uv_name if uv_source == "NAMED" else active.name if active and active.name in names else names[0]


def _lost_uv(thing: bpy.types.Object, layer: str) -> Problem:
    return Problem(
        f"The modifier '{_topology_modifier(thing)}' on '{thing.name}' makes a new surface that the UV map '{layer}' "
        "does not reach. Apply the modifier and unwrap, or turn it off.",
        "ddrep.turn_modifier_off",
        f"Turn '{_topology_modifier(thing)}' off",
        object_name=thing.name,
        modifier=_topology_modifier(thing),
    )


def _topology_modifier(thing: bpy.types.Object) -> str:
    """The last modifier that can change faces: the likeliest culprit."""
    harmless = {
        "ARMATURE", "CAST", "CURVE", "DISPLACE", "HOOK", "LAPLACIANDEFORM", "LATTICE", "MESH_DEFORM", "SHRINKWRAP",
        "SIMPLE_DEFORM", "SMOOTH", "CORRECTIVE_SMOOTH", "LAPLACIANSMOOTH", "SURFACE_DEFORM", "WARP", "WAVE", "CLOTH",
        "SOFT_BODY", "COLLISION", "UV_PROJECT", "UV_WARP", "WEIGHTED_NORMAL", "NORMAL_EDIT", "DATA_TRANSFER",
        "VERTEX_WEIGHT_EDIT", "VERTEX_WEIGHT_MIX", "VERTEX_WEIGHT_PROXIMITY",
    }  # fmt: skip
    names = [each.name for each in thing.modifiers if each.show_viewport and each.type not in harmless]
    return names[-1] if names else (thing.modifiers[-1].name if thing.modifiers else "")


def _same_topology(base: bpy.types.Mesh, mesh: bpy.types.Mesh) -> bool:
    if len(base.loops) != len(mesh.loops) or len(base.polygons) != len(mesh.polygons):
        return False
    return np.array_equal(_integers(base.loops, "vertex_index"), _integers(mesh.loops, "vertex_index"))


def _check_tiles(thing: bpy.types.Object, uv: np.ndarray) -> None:
    """Tiles without a picture in tiles: one texture can't fill them."""
    if not _leaves_first_tile(uv) or wears_tiles(thing):
        return
    outside = ((uv < -1e-4) | (uv > 1 + 1e-4)).any(axis=1).mean()
    if (np.floor(uv.reshape(-1, 2)).max(axis=0) - np.floor(uv.reshape(-1, 2)).min(axis=0)).max() >= 2 and outside > 0.5:
        raise Problem(
            f"The UVs of '{thing.name}' are spread over several tiles, so parts of it would share their texels. "
            "Use a UV map that stays in the first tile, or a new one. If they are UDIM tiles, give it a material with "
            "a UDIM image first.",
            "ddrep.set_uv_source",
            "Use a new UV map",
            source="NEW",
        )


def _leaves_first_tile(uv: np.ndarray) -> bool:
    return bool(uv.min() < -1e-4 or uv.max() > 1 + 1e-4)


def wears_tiles(thing: bpy.types.Object) -> bool:
    """Whether a material of an object shows a UDIM image: then its UVs are meant to lie in tiles."""
    for slot in thing.material_slots:
        tree = slot.material.node_tree if slot.material is not None else None
        for node in tree.nodes if tree is not None else ():
            if node.type == "TEX_IMAGE" and node.image is not None and node.image.source == "TILED":
                return True
    return False


def _require_in_tiles(thing: bpy.types.Object, uv: np.ndarray) -> None:
    """Raises a Problem where a triangle's UVs [F, 3, 2] lie in no UDIM tile, or in two."""
    tile = np.floor(uv.mean(axis=1))
    corner = uv - tile[:, None]
    wrong = ((corner < -1e-4) | (corner > 1 + 1e-4)).any(axis=(1, 2))
    wrong |= (tile < 0).any(axis=1) | (tile[:, 0] > 9) | (tile[:, 1] > 99)
    if wrong.any():
        raise Problem(
            f"{int(wrong.sum())} triangles of '{thing.name}' lie in no UDIM tile, or across the border of one. Move "
            "each island into one tile in the UV editor, or use a new UV map.",
            "ddrep.set_uv_source",
            "Use a new UV map",
            source="NEW",
        )


def _share_without_uv(triangles: np.ndarray, uv: np.ndarray) -> float:
    """Share of the surface [F, 3, 3] whose UV triangles [F, 3, 2] have no area."""
    area = np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)
    first, second = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    flat = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) < 1e-12
    return float(area[flat].sum() / max(area.sum(), 1e-30))


def reversed_faces(sizes: np.ndarray) -> np.ndarray:
    """[L] the order of corners that turns each face over, keeping its first corner."""
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    position = np.arange(int(sizes.sum())) - np.repeat(starts, sizes)
    return np.repeat(starts, sizes) + (np.repeat(sizes, sizes) - position) % np.repeat(sizes, sizes)


def job_names(names: Sequence[str]) -> list[str]:
    """For each Blender name one of its own that any file system and any OBJ reader takes."""
    taken: set[str] = set()
    keys: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._")[:LONGEST_KEY] or "object"
        key, number = plain, 1
        while key.lower() in taken:
            number += 1
            key = f"{plain}_{number}"
        taken.add(key.lower())
        keys.append(key)
    return keys


def obj_pieces(meshes: Sequence[CapturedMesh]) -> Iterator[bytes]:
    """The OBJ file of some meshes, in pieces of a few thousand lines. World space, Z-up, nine digits."""
    yield b"# ddrep: world space, Z-up, metres\n"
    first_vertex = first_uv = 1
    for mesh in meshes:
        yield f"o {mesh.key}\n".encode()
        yield from _rows("v %.9g %.9g %.9g\n", mesh.vertices)
        if mesh.uv is not None:
            yield from _rows("vt %.9g %.9g\n", mesh.uv)
        yield from _faces(mesh, first_vertex, first_uv)
        first_vertex += len(mesh.vertices)
        first_uv += len(mesh.uv) if mesh.uv is not None else 0


def _rows(form: str, values: np.ndarray) -> Iterator[bytes]:
    for start in range(0, len(values), LINES_A_PIECE):
        piece = values[start : start + LINES_A_PIECE]
        yield ((form * len(piece)) % tuple(piece.reshape(-1).tolist())).encode()


def _faces(mesh: CapturedMesh, first_vertex: int, first_uv: int) -> Iterator[bytes]:
    corners = (mesh.corners + first_vertex).tolist()
    sizes = mesh.sizes.tolist()
    position = 0
    for start in range(0, len(sizes), LINES_A_PIECE):
        lines = []
        for size in sizes[start : start + LINES_A_PIECE]:
            numbers = range(position, position + size)
            if mesh.uv is None:
                lines.append("f " + " ".join(str(corners[number]) for number in numbers))
            else:
                lines.append("f " + " ".join(f"{corners[number]}/{first_uv + number}" for number in numbers))
            position += size
        yield ("\n".join(lines) + "\n").encode()
