"""What an input's own accessors may have wrong, and no written GLB shall have: bounds, alignment, stride, shared views,
and numbers of vertices that are none.

Values that are numbers stay: an accessor gets another view on the same bytes, or an aligned copy of them. An accessor
that is right stays as it is, to the letter.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddrep_core.errors import RequestError
from ddrep_core.geometry.glb_builder import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GlbBuilder, bounds
from ddrep_core.geometry.gltf_document import (
    COMPONENT_TYPES,
    ELEMENT_SIZES,
    GltfDocument,
    is_triangles,
    primitive_faces,
)

PADDED = ("MAT2", "MAT3")  # their columns may have gaps; nothing that we know of a mesh is stored so
LEAST_STRIDE, GREATEST_STRIDE = 4, 252
FROM_UNIT = 0.005  # how far a normal's length may be from 1; the validator lets through a little more


def repair_accessors(builder: GlbBuilder, source: GltfDocument, offsets: list[int]) -> None:
    """Give the builder's accessors the bounds and the places in its binary block that glTF wants.

    Args:
        builder: with the source's JSON, whose views lie in one block.
        source: the document as it was read, for the values; its accessors have the same numbers.
        offsets: where each of its buffers starts in the block.
    """
    data = builder.data
    targets, positions = _roles(data)
    users: dict[int, set[int]] = defaultdict(set)
    for index, entry in enumerate(data.get("accessors", [])):
        if "bufferView" in entry:
            users[entry["bufferView"]].add(index)
    moved = [
        index
        for index, entry in enumerate(data.get("accessors", []))
        if "bufferView" in entry
        and entry["type"] not in PADDED
        and not _well_placed(data, index, targets, users[entry["bufferView"]])
    ]
    for index in moved:
        _place(builder, source, index, targets.get(index), offsets)
    for index, entry in enumerate(data.get("accessors", [])):
        if entry["type"] not in PADDED:
            _bound(entry, source, index, index in positions)
    sound: dict[int, NDArray[np.float32]] = {}
    looked: set[int] = set()
    for mesh in source.data.get("meshes", []):
        for primitive in mesh["primitives"]:
            sound |= sound_numbers(source, primitive, looked)
    for index, values in sound.items():
        entry = data["accessors"][index]
        for key in ("byteOffset", "sparse", "min", "max"):
            entry.pop(key, None)
        entry["bufferView"] = builder.add_elements(values, ARRAY_BUFFER)


def sound_numbers(
    source: GltfDocument, primitive: dict[str, Any], looked: set[int] | None = None
) -> dict[int, NDArray[np.float32]]:
    """What vertices' numbers that are none become, by their accessors: 0; a normal, its faces', of length one.

    Args:
        looked: accessors that need not be looked at; those of this primitive are added.
    """
    looked = set() if looked is None else looked
    found: dict[int, NDArray[np.float32]] = {}
    own = primitive["attributes"]
    for attributes in (own, *primitive.get("targets", ())):
        for name, index in attributes.items():
            if index in looked or name == "POSITION":  # such positions are refused
                continue
            looked.add(index)
            try:
                values = source.accessor(index)
                if values.dtype != np.float32:
                    continue
                right = np.where(np.isfinite(values), values, np.float32(0))
                if name == "NORMAL" and attributes is own:
                    right = _of_length_one(source, primitive, right)
            except (RequestError, LookupError):  # broken, and no part of what was textured
                continue
            if not np.array_equal(right, values):
                found[index] = right
    return found


def _of_length_one(
    source: GltfDocument, primitive: dict[str, Any], normals: NDArray[np.float32]
) -> NDArray[np.float32]:
    """[N, 3] the same where they are of length one; else made so, or the faces' around where they have no direction."""
    lengths = np.linalg.norm(normals.astype(np.float64), axis=1)
    wrong = np.abs(lengths - 1) > FROM_UNIT
    if not wrong.any():
        return normals
    right = normals.astype(np.float64)
    if (lost := lengths < 1e-6).any() and is_triangles(primitive):
        points, faces = source.floats(primitive["attributes"]["POSITION"]), primitive_faces(source, primitive)
        across = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
        around = np.zeros_like(right)
        np.add.at(around, faces.reshape(-1), np.repeat(across, 3, axis=0))
        right[lost] = around[lost]
    lengths = np.linalg.norm(right, axis=1, keepdims=True)
    right = np.where(lengths > 0, right / np.where(lengths > 0, lengths, 1), (0.0, 0.0, 1.0))
    return np.where(wrong[:, None], right, normals).astype(np.float32)


def _roles(data: dict[str, Any]) -> tuple[dict[int, int], set[int]]:
    """The target (vertices or indices) of each accessor of a mesh, and which are positions."""
    targets: dict[int, int] = {}
    positions: set[int] = set()
    for mesh in data.get("meshes", []):
        for primitive in mesh["primitives"]:
            if "indices" in primitive:
                targets[primitive["indices"]] = ELEMENT_ARRAY_BUFFER
            for attributes in (primitive["attributes"], *primitive.get("targets", ())):
                targets.update(dict.fromkeys(attributes.values(), ARRAY_BUFFER))
                if "POSITION" in attributes:
                    positions.add(attributes["POSITION"])
    return targets, positions


def _well_placed(data: dict[str, Any], index: int, targets: dict[int, int], users: set[int]) -> bool:
    entry = data["accessors"][index]
    view = data["bufferViews"][entry["bufferView"]]
    step = COMPONENT_TYPES[entry["componentType"]].itemsize
    size = step * ELEMENT_SIZES[entry["type"]]
    stride, offset = view.get("byteStride") or size, entry.get("byteOffset", 0)
    target = targets.get(index)
    if target == ARRAY_BUFFER:
        step = 4
        if "byteStride" in view and not LEAST_STRIDE <= stride <= GREATEST_STRIDE:
            return False
        if "byteStride" not in view and len(users) > 1:
            return False
    elif "byteStride" in view:
        return False
    return (
        offset % step == 0
        and view.get("byteOffset", 0) % step == 0
        and stride % step == 0
        and stride >= size
        and offset + stride * (entry["count"] - 1) + size <= view["byteLength"]
        and all(targets.get(user) == target for user in users)
        and (target is None or view.get("target", target) == target)
    )


def _place(builder: GlbBuilder, source: GltfDocument, index: int, target: int | None, offsets: list[int]) -> None:
    """Give an accessor a view of its own."""
    entry, before = builder.data["accessors"][index], source.data["accessors"][index]
    view = source.data["bufferViews"][before["bufferView"]]
    plain = {key: value for key, value in before.items() if key != "sparse"}
    try:
        values = GltfDocument({**source.data, "accessors": [plain]}, source.buffers, source.name).accessor(0)
    except RequestError:  # broken before, and no part of what was textured
        return
    size = values.dtype.itemsize * values.shape[1]
    stride = view.get("byteStride") or size
    start = offsets[view["buffer"]] + view.get("byteOffset", 0) + before.get("byteOffset", 0)
    packed = stride == size
    step = 4 if target == ARRAY_BUFFER else values.dtype.itemsize
    in_place = start % step == 0 and stride % step == 0 and len(values) > 0
    if in_place and (packed or (target == ARRAY_BUFFER and size <= stride <= GREATEST_STRIDE)):
        length = stride * (len(values) - 1) + size
        entry["bufferView"] = builder.add_view(start, length, target, None if packed else stride)
    else:
        entry["bufferView"] = builder.add_elements(values, target)
    entry.pop("byteOffset", None)


def _bound(entry: dict[str, Any], source: GltfDocument, index: int, is_position: bool) -> None:
    """Right bounds where glTF wants some, or the file gives some."""
    wanted = ("min", "max") if is_position else tuple(key for key in ("min", "max") if key in entry)
    if not wanted:
        return
    try:
        values = source.accessor(index)
    except RequestError:
        return
    if not len(values):
        return
    for key, right in zip(("min", "max"), bounds(values), strict=True):
        if key in wanted and not _same(entry.get(key), right, values.dtype):
            entry[key] = right


def _same(found: Any, right: list[float], dtype: np.dtype[Any]) -> bool:
    """Whether bounds as a file gives them are these, in the precision of the elements."""
    if not isinstance(found, list) or len(found) != len(right):
        return False
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in found):
        return False
    try:
        with np.errstate(over="ignore"):
            rounded = np.asarray(found, np.float64)
            return bool((rounded.astype(dtype) == right).all()) if dtype.kind == "f" else found == right
    except OverflowError:
        return False
