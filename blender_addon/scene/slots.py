# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an object is painted where its material slots count: one slot, or each slot by itself.

Slots often have the whole UV square to themselves, so one picture cannot serve two of them. The job is told of the
faces of a slot as of an object of its own; the object's other faces only stand in the way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import bpy
import numpy as np

from ..problems import Problem
from .meshes import CapturedMesh

POINTS = 100_000  # spread over the UVs of a slot to see which texels it has
A_TEXEL = 4  # points at least, so that hardly one is missed
SMALLEST = 16  # texels: of a slot that has fewer, most lie on its edge
OVERLAP = 0.25  # of a slot's texels; its edges touch others' texels, too


@dataclass(frozen=True)
class Target:
    """What gets one picture.

    Args:
        mesh: the faces.
        slot: the material slot whose picture it is; None: all of the object's.
        slot_name: what that slot's material is called.
    """

    mesh: CapturedMesh
    slot: int | None = None
    slot_name: str = ""
    one_of_several: bool = False  # the object's other slots get pictures, too


def split(
    thing: bpy.types.Object, mesh: CapturedMesh, material_target: str, layer_is_there: bool
) -> tuple[list[Target], CapturedMesh | None]:
    """What gets a picture of an object, and its other faces.

    Args:
        material_target: "OBJECT", "SLOT" (the active one) or "SLOTS" (each by itself).
        layer_is_there: the UV map is the artist's own: two slots may lie on one another in it.

    Raises:
        Problem: the active slot has no faces; or one picture cannot serve all slots, for their UVs lie on one another.
    """
    used = [int(each) for each in np.unique(mesh.slots)]
    if material_target == "OBJECT":
        if layer_is_there:
            _require_one_picture(thing, mesh, used)
        return [Target(mesh)], None
    if material_target == "SLOTS":
        if len(used) == 1:
            return [Target(mesh, used[0], _name_of(thing, used[0]))], None
        names = {slot: _name_of(thing, slot) for slot in used}
        return [Target(_faces_of(mesh, mesh.slots == slot), slot, names[slot], True) for slot in used], None
    slot = active_slot(thing)
    if slot not in used:
        raise Problem(
            f"No face of '{thing.name}' wears its active material slot, '{_name_of(thing, slot)}', so there is nothing "
            "to paint. Choose another slot, or texture the whole object.",
            "ddrep.set_material_target",
            "Texture the whole object",
            target="OBJECT",
        )
    chosen = mesh.slots == slot
    target = Target(mesh if chosen.all() else _faces_of(mesh, chosen), slot, _name_of(thing, slot))
    return [target], None if chosen.all() else _faces_of(mesh, ~chosen)


def active_slot(thing: bpy.types.Object) -> int:
    """The slot that is chosen in an object's list of materials."""
    return min(thing.active_material_index, max(0, len(thing.material_slots) - 1))


def _name_of(thing: bpy.types.Object, slot: int) -> str:
    material = thing.material_slots[slot].material if slot < len(thing.material_slots) else None
    return material.name if material is not None else f"slot {slot + 1}"


def _faces_of(mesh: CapturedMesh, chosen: np.ndarray) -> CapturedMesh:
    """Some of a mesh's faces [F] bool, with the vertices they use."""
    corner = np.repeat(chosen, mesh.sizes)
    used, corners = np.unique(mesh.corners[corner], return_inverse=True)
    return replace(
        mesh,
        vertices=mesh.vertices[used],
        corners=corners.reshape(-1),
        sizes=mesh.sizes[chosen],
        loops=mesh.loops[corner],
        slots=mesh.slots[chosen],
        selected=mesh.selected[chosen] if mesh.selected is not None else None,
        groups={name: member[used] for name, member in mesh.groups.items()},
        uv=mesh.uv[corner] if mesh.uv is not None else None,
    )


def _require_one_picture(thing: bpy.types.Object, mesh: CapturedMesh, used: Sequence[int]) -> None:
    if mesh.uv is None or len(used) < 2:
        return
    for first, second in overlapping(mesh):
        raise Problem(
            f"The material slots '{_name_of(thing, first)}' and '{_name_of(thing, second)}' of '{thing.name}' lie on "
            f"one another in the UV map '{mesh.layer}', so one picture cannot serve both. Make a picture for each "
            "slot, or use a new UV map.",
            "ddrep.set_material_target",
            "A picture for each slot",
            target="SLOTS",
        )


def overlapping(mesh: CapturedMesh) -> Iterator[tuple[int, int]]:
    """Pairs of slots that share much of the UV square."""
    assert mesh.uv is not None
    triangles = mesh.uv.reshape(-1, 3, 2)
    first, second = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    areas = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / 2
    slots = [int(each) for each in np.unique(mesh.slots)]
    totals = {slot: float(areas[mesh.slots == slot].sum()) for slot in slots}
    grid = int(np.sqrt(POINTS / A_TEXEL / max(1.0, *totals.values())))
    taken: dict[int, np.ndarray] = {}
    for slot in slots:
        if totals[slot] * grid * grid >= SMALLEST:
            texels = _texels(triangles[mesh.slots == slot], areas[mesh.slots == slot], grid)
            for other, theirs in taken.items():
                if len(np.intersect1d(texels, theirs)) > OVERLAP * min(len(texels), len(theirs)):
                    yield other, slot
            taken[slot] = texels


def _texels(triangles: np.ndarray, areas: np.ndarray, grid: int) -> np.ndarray:
    """The numbers of the texels that UV triangles [F, 3, 2] cover, by points spread over them."""
    rng = np.random.default_rng(0)
    total = areas.cumsum()
    chosen = np.searchsorted(total, rng.random(POINTS) * total[-1], side="right").clip(max=len(areas) - 1)
    along, across = np.sqrt(rng.random(POINTS)), rng.random(POINTS)
    weights = np.stack([1 - along, along * (1 - across), along * across], axis=1)
    points = np.einsum("nc,ncd->nd", weights, triangles[chosen])
    cell = np.floor((points - np.floor(points)) * grid).astype(int).clip(max=grid - 1)
    return np.unique(cell[:, 0] * grid + cell[:, 1])
