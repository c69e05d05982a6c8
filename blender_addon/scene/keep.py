# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an object's present picture stays: by faces, vertex group, slot or a painted mask, as the engine reads it."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from ..problems import Problem
from .meshes import CapturedMesh
from .slots import Target

BLEED = 2  # texels that a kept face reaches beyond its edge in the UV map, where no other face lies
IN_GROUP = 0.5
SMALL = 16  # texels along a triangle's box: up to here many are drawn at a time
AT_ONCE = 4096  # such triangles


@dataclass(frozen=True)
class Keeping:
    """What a draft adds to the job: entries of job.json's block, and files by their path in the job."""

    block: dict[str, Any]
    files: dict[str, Iterator[bytes]]


def keeping(objects: Sequence[bpy.types.Object], targets: Sequence[Target], settings: Any) -> Keeping:
    """The masks and pictures of the targets, as the scene's settings say.

    Raises:
        Problem: nothing is chosen, or all; no picture to keep anything of; one of another size than the texture.
    """
    by_name = {thing.name: thing for thing in objects}
    block: dict[str, Any] = {}
    files: dict[str, Iterator[bytes]] = {}
    if settings.keep == "NONE" and not settings.from_texture:
        return Keeping(block, files)
    size, any_kept, any_free = int(settings.resolution), False, False
    for number, target in enumerate(targets):
        mesh, thing = target.mesh, by_name[target.mesh.name]
        faces = kept_faces(thing, mesh, settings)
        if faces is not None:
            any_kept, any_free = any_kept or bool(faces.any()), any_free or not bool(faces.all())
            if not faces.any() and not settings.from_texture:
                continue
        if mesh.uv is None:
            raise Problem(
                f"'{thing.name}' gets a new UV map, so nothing of the picture it wears can stay. Use the map it has.",
                "ddrep.set_uv_source",
                "Use the active UV map",
                source="ACTIVE",
            )
        image = worn_image(thing, mesh, faces)
        if settings.keep != "NONE":
            _require_size(image, size, f"The picture that '{thing.name}' wears")
        block.setdefault("base", []).append({"object": mesh.key, "file": f"inputs/base_{number}.png"})
        files[f"inputs/base_{number}.png"] = picture_pieces(image)
        if settings.keep == "IMAGE":
            mask = _mask_image(settings)
            _require_size(mask, size, "The mask")
            values = _pixels(mask)[..., :3].max(axis=2)
            any_kept, any_free = any_kept or bool((values >= 128).any()), any_free or bool((values < 128).any())
            files[f"inputs/keep_{number}.png"] = iter([png(values)])
        elif faces is not None and faces.any():
            files[f"inputs/keep_{number}.png"] = mask_pieces(mesh.uv.reshape(-1, 3, 2), faces, size)
        if f"inputs/keep_{number}.png" in files:
            block.setdefault("keep", []).append({"object": mesh.key, "file": f"inputs/keep_{number}.png"})
    if settings.keep != "NONE" and not any_kept:
        raise Problem(NOTHING[settings.keep])
    if settings.keep != "NONE" and not any_free:
        raise Problem("Everything is to be kept, so there is nothing left to paint. Choose less.")
    if settings.from_texture:
        block |= {"from_texture": True, "strength": round(settings.change, 4)}
    return Keeping(block, files)


NOTHING = {
    "FACES": "No face is selected, so nothing would be kept. Select the faces that stay, in Edit Mode.",
    "GROUP": "No face lies in that vertex group, so nothing would be kept. Choose another, or assign some vertices.",
    "SLOT": "No face wears the active material slot, so nothing would be kept. Choose another slot.",
    "IMAGE": "The mask is black, so nothing would be kept. Paint white what stays.",
}


def kept_faces(thing: bpy.types.Object, mesh: CapturedMesh, settings: Any) -> np.ndarray | None:
    """[F] booleans; None where faces do not say it."""
    if settings.keep == "FACES":
        return mesh.selected
    if settings.keep == "SLOT":
        return mesh.slots == min(thing.active_material_index, max(0, len(thing.material_slots) - 1))
    if settings.keep == "GROUP":
        if settings.keep_group not in thing.vertex_groups:
            found = ", ".join(f"'{group.name}'" for group in thing.vertex_groups) or "none"
            raise Problem(
                f"'{thing.name}' has no vertex group called '{settings.keep_group}' (it has {found}). Choose another."
            )
        member = mesh.groups.get(settings.keep_group)
        return np.zeros(len(mesh.sizes), bool) if member is None else member[mesh.corners].reshape(-1, 3).all(axis=1)
    return None


def worn_image(thing: bpy.types.Object, mesh: CapturedMesh, faces: np.ndarray | None) -> bpy.types.Image:
    """The one picture that the base colour of these faces shows, straight from the UV map.

    Raises:
        Problem: they show none, or several.
    """
    slots = np.unique(mesh.slots if faces is None or not faces.any() else mesh.slots[faces])
    found = {slot: _image_of_slot(thing, int(slot)) for slot in slots}
    images = set(found.values())
    if images == {None}:
        raise Problem(
            f"The material of '{thing.name}' has no picture as its Base Color, so there is nothing to keep or to start "
            "from. Bake the colour into an Image Texture, or texture it once first."
        )
    if len(images) > 1:
        names = ", ".join(sorted("no picture" if image is None else f"'{image.name}'" for image in images))
        raise Problem(
            f"The faces of '{thing.name}' wear several pictures ({names}), and one texture can keep one. Make a "
            "picture for each slot.",
            "ddrep.set_material_target",
            "A picture for each slot",
            target="SLOTS",
        )
    image = images.pop()
    if image.is_float or image.source == "TILED" or (not image.has_data and not min(image.size)):
        raise Problem(
            f"The picture '{image.name}' is no plain picture of 8 bits, so it cannot be kept exactly. Save it as a PNG "
            "and use that."
        )
    return image


def _image_of_slot(thing: bpy.types.Object, slot: int) -> bpy.types.Image | None:
    material = thing.material_slots[slot].material if slot < len(thing.material_slots) else None
    tree = material.node_tree if material is not None else None
    for node in tree.nodes if tree is not None else ():
        if node.type == "BSDF_PRINCIPLED":
            links = node.inputs["Base Color"].links
            source = links[0].from_node if links else None
            return source.image if source is not None and source.type == "TEX_IMAGE" else None
    return None


def _mask_image(settings: Any) -> bpy.types.Image:
    if settings.keep_image is None:
        raise Problem("No mask is chosen. Choose a picture that is white where the texture stays.")
    return settings.keep_image


def _require_size(image: bpy.types.Image, size: int, what: str) -> None:
    width, height = image.size
    if (width, height) != (size, size):
        raise Problem(
            f"{what} ('{image.name}') is {width} x {height}, and the texture will be {size} x {size}: what is kept "
            "would not stay exactly what it is. Set the texture's Resolution to its size, or scale the picture."
        )


def _pixels(image: bpy.types.Image) -> np.ndarray:
    """[H, W, 4] bytes, the first row on top."""
    width, height = image.size
    values = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    return np.rint(values.reshape(height, width, 4)[::-1].clip(0, 1) * 255).astype(np.uint8)


def picture_pieces(image: bpy.types.Image) -> Iterator[bytes]:
    """A picture as a PNG file, RGBA; its pixels are read now and packed when they are asked for."""
    pixels = _pixels(image)

    def pieces() -> Iterator[bytes]:
        yield png(pixels)

    return pieces()


def png(pixels: np.ndarray) -> bytes:
    """[H, W] grey or [H, W, 4] RGBA bytes."""
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def mask_pieces(triangles: np.ndarray, kept: np.ndarray, size: int) -> Iterator[bytes]:
    """A mask as a PNG file: white over the kept of UV triangles [F, 3, 2]; drawn when it is asked for."""
    yield png(mask_of(triangles, kept, size))


def mask_of(triangles: np.ndarray, kept: np.ndarray, size: int) -> np.ndarray:
    """[T, T] bytes: 255 where a kept face lies over a texel's centre, and a little beyond where no other does."""
    stays, others = (covered(triangles[chosen], size) for chosen in (kept, ~kept))
    stays &= ~others  # where faces share texels, one that is painted changes them
    for _ in range(BLEED):
        grown = stays.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                grown |= np.roll(stays, step, axis)
        stays = grown & ~others
    return np.where(stays, 255, 0).astype(np.uint8)


def covered(triangles: np.ndarray, size: int) -> np.ndarray:
    """[T, T] which texels' centres lie in one of the UV triangles [F, 3, 2], v upward; the texture repeats."""
    found = np.zeros((size, size), bool)
    places = triangles * size - 0.5
    low = np.ceil(places.min(axis=1) - 1e-9).astype(int)
    high = np.floor(places.max(axis=1) + 1e-9).astype(int)
    spans = (high - low).max(axis=1) + 1
    small = np.flatnonzero((spans > 0) & (spans <= SMALL))
    offsets = np.stack(np.meshgrid(np.arange(SMALL), np.arange(SMALL)), axis=-1).reshape(-1, 2)
    for start in range(0, len(small), AT_ONCE):
        chosen = small[start : start + AT_ONCE]
        _mark(found, places[chosen], low[chosen, None] + offsets)
    for number in np.flatnonzero(spans > SMALL):
        columns = np.arange(low[number, 0], high[number, 0] + 1)
        for row in range(low[number, 1], high[number, 1] + 1):
            cells = np.stack([columns, np.full(len(columns), row)], axis=1)
            _mark(found, places[number : number + 1], cells[None])
    return found


def _mark(found: np.ndarray, triangles: np.ndarray, cells: np.ndarray) -> None:
    """Mark those of the cells [F, N, 2] (column, row from below) that lie in their triangle [F, 3, 2]."""
    a, b, c = (triangles[:, None, corner] for corner in range(3))
    area = _cross(b - a, c - a)
    first, second, third = (_cross(q - p, cells - p) * np.sign(area) for p, q in ((a, b), (b, c), (c, a)))
    inside = (first >= -1e-7) & (second >= -1e-7) & (third >= -1e-7) & (area != 0)
    column, row = cells[inside].T
    size = len(found)
    found[(size - 1 - row) % size, column % size] = True


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]


def pinned(settings: Any, names: Sequence[str], number: int = 0) -> Keeping:
    """The picture that one camera's view shall show, if one is chosen.

    Args:
        names: of the views that the job has.

    Raises:
        Problem: a picture without a camera, or a camera that is not among the views.
    """
    if settings.pin_image is None:
        return Keeping({}, {})
    if settings.pin_camera is None:
        raise Problem(f"The picture '{settings.pin_image.name}' is pinned to no camera. Choose the camera it shows.")
    if settings.pin_camera.name not in names:
        raise Problem(
            f"The camera '{settings.pin_camera.name}' is not among those that look, so nothing can be pinned in it. "
            "Tick it under Cameras, or take its picture away."
        )
    path = f"inputs/pin_{number}.png"
    entry = {"camera": settings.pin_camera.name, "file": path, "weight": round(settings.pin_weight, 4)}
    return Keeping({"pins": [entry]}, {path: picture_pieces(settings.pin_image)})
