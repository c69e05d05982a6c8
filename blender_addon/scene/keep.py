# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an object's present picture stays: by faces, vertex group, slot or a painted mask, as the engine reads it."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import bpy
import numpy as np

from ..engine.folder import Piece
from ..problems import Problem
from .meshes import CapturedMesh
from .slots import Target
from .worn import Baking, what_is_baked, worn_image

BLEED = 2  # texels that a kept face reaches beyond its edge in the UV map, where no other face lies
IN_GROUP = 0.5
SMALL, MIDDLE = (2, 4, 8), 16  # texels along a triangle's box: up to here many are drawn at a time
AT_ONCE = 16384  # texels that are looked at in a slice
BAND = 16384  # pixels of a picture that are packed in a slice


@dataclass(frozen=True)
class Keeping:
    """What a draft adds to the job: entries of job.json's block, and files by their path in the job.

    Args:
        warnings: what to tell the artist of it.
        baked: by the mesh's name in the job, what of its colour is baked first.
    """

    block: dict[str, Any]
    files: dict[str, Iterator[Piece]]
    warnings: list[str] = field(default_factory=list)
    baked: dict[str, str] = field(default_factory=dict)


def keeping(
    objects: Sequence[bpy.types.Object], targets: Sequence[Target], settings: Any, depsgraph: bpy.types.Depsgraph
) -> Keeping:
    """The masks and pictures of the targets, as the scene's settings say.

    Raises:
        Problem: nothing is chosen, or all; nothing is worn to keep anything of; a picture of another size.
    """
    by_name = {thing.name: thing for thing in objects}
    kept = Keeping({}, {})
    block, files = kept.block, kept.files
    if settings.keep == "NONE" and not settings.from_texture:
        return kept
    size, any_kept, any_free = int(settings.resolution), False, False
    baking, baked = Baking(size), []
    pieces = [(target, tile, own) for target in targets for tile, own in _tiles(target.mesh)]
    for number, (target, tile, own) in enumerate(pieces):
        mesh, thing = target.mesh, by_name[target.mesh.name]
        name = f"{mesh.key}.{tile}" if tile else mesh.key
        faces = kept_faces(thing, mesh, settings)
        if faces is not None:
            faces = faces & own
            any_kept, any_free = any_kept or bool(faces.any()), any_free or not bool(faces[own].all())
            if not faces.any() and not settings.from_texture:
                continue
        if mesh.uv is None:
            raise Problem(
                f"'{thing.name}' gets a new UV map, so nothing of what it wears can stay. Use the map it has.",
                "ddrep.set_uv_source",
                "Use the active UV map",
                source="ACTIVE",
            )
        shown = mesh.slots[own if faces is None or not faces.any() else faces]
        image = worn_image(thing, mesh, [int(slot) for slot in np.unique(shown)])
        if image is not None:
            if settings.keep != "NONE":
                _require_size(image, size, f"The picture that '{thing.name}' wears")
            files[f"inputs/base_{number}.png"] = picture_pieces(image)
        else:
            files[f"inputs/base_{number}.png"] = baking.picture(len(baked))
            baked.append((thing, target, tile))
            kept.baked[mesh.key] = what_is_baked(thing, [int(slot) for slot in np.unique(mesh.slots)])
            told = f"What '{thing.name}' wears is baked into a picture of {size} x {size} first"
            kept.warnings.append(f"{told}{', for each tile' if tile else ''}: {kept.baked[mesh.key]}.")
        block.setdefault("base", []).append({"object": name, "file": f"inputs/base_{number}.png"})
        if settings.keep == "IMAGE":
            if tile:
                raise Problem(f"A mask is one picture, and '{thing.name}' has tiles. Keep faces, a group or a slot.")
            mask = _mask_image(settings)
            _require_size(mask, size, "The mask")
            values = _pixels(mask)[..., :3].max(axis=2)
            any_kept, any_free = any_kept or bool((values >= 128).any()), any_free or bool((values < 128).any())
            files[f"inputs/keep_{number}.png"] = png_pieces(values)
        elif faces is not None and faces.any():
            triangles = mesh.uv.reshape(-1, 3, 2)[own] - _corner(tile)
            files[f"inputs/keep_{number}.png"] = mask_pieces(triangles, faces[own], size)
        if f"inputs/keep_{number}.png" in files:
            block.setdefault("keep", []).append({"object": name, "file": f"inputs/keep_{number}.png"})
    if settings.keep != "NONE" and not any_kept:
        raise Problem(NOTHING[settings.keep])
    if settings.keep != "NONE" and not any_free:
        raise Problem("Everything is to be kept, so there is nothing left to paint. Choose less.")
    if settings.from_texture:
        block |= {"from_texture": True, "strength": round(settings.change, 4)}
    if baked:
        baking.snapshot(baked, depsgraph)
    return replace(kept, warnings=list(dict.fromkeys(kept.warnings)))


def _tiles(mesh: CapturedMesh) -> list[tuple[int, np.ndarray]]:
    """The UDIM tiles of a mesh, and [F] which faces lie in each; tile 0 has all faces where it has none."""
    if not mesh.tiled or mesh.uv is None:
        return [(0, np.ones(len(mesh.sizes), bool))]
    place = np.floor(mesh.uv.reshape(-1, 3, 2).mean(axis=1)).astype(int)
    tiles = 1001 + place[:, 0] + 10 * place[:, 1]
    return [(int(tile), tiles == tile) for tile in np.unique(tiles)]


def _corner(tile: int) -> tuple[int, int]:
    """The lower left UV of a tile."""
    row, column = divmod(tile - 1001, 10) if tile else (0, 0)
    return column, row


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
    """A picture as a PNG file, RGBA; its pixels are read now, rounded and packed a band at a time when asked for."""
    width, height = image.size
    values = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    return png_pieces(values.reshape(height, width, 4)[::-1])


def png_pieces(pixels: np.ndarray) -> Iterator[bytes]:
    """The pieces of a PNG file: [H, W] grey or [H, W, 4] RGBA, bytes or floats within 0..1; each is soon made."""
    height, width = pixels.shape[:2]
    yield b"\x89PNG\r\n\x1a\n"
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 6, 0, 0, 0))
    packer = zlib.compressobj(6)
    band = max(1, BAND * 4 // pixels[0].size)
    for start in range(0, height, band):
        part = pixels[start : start + band]
        if part.dtype != np.uint8:
            part = np.rint(part.clip(0, 1) * 255).astype(np.uint8)
        rows = np.zeros((len(part), 1 + part[0].size), np.uint8)
        rows[:, 1:] = part.reshape(len(part), -1)
        packed = packer.compress(rows.tobytes())
        yield _chunk(b"IDAT", packed) if packed else b""
    yield _chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def mask_pieces(triangles: np.ndarray, kept: np.ndarray, size: int) -> Iterator[bytes]:
    """A mask as a PNG file: white over the kept of UV triangles [F, 3, 2]; drawn in slices when it is asked for."""
    stays, others = np.zeros((2, size, size), bool)
    for found, chosen in ((stays, kept), (others, ~kept)):
        for _ in mark_covered(found, triangles[chosen]):
            yield b""
    stays &= ~others  # where faces share texels, one that is painted changes them
    for _ in range(BLEED):
        grown = stays.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                grown |= np.roll(stays, step, axis)
        stays = grown & ~others
        yield b""
    yield from png_pieces(np.where(stays, np.uint8(255), np.uint8(0)))


def mark_covered(found: np.ndarray, triangles: np.ndarray) -> Iterator[None]:
    """Mark, in slices, the texels [T, T] whose centres lie in one of the UV triangles [F, 3, 2], v upward.

    The texture repeats.
    """
    places = triangles * len(found) - 0.5
    low = np.ceil(places.min(axis=1) - 1e-9).astype(int)
    high = np.floor(places.max(axis=1) + 1e-9).astype(int)
    spans = (high - low).max(axis=1) + 1
    below = 0
    for edge in (*SMALL, MIDDLE):
        offsets = np.stack(np.meshgrid(np.arange(edge), np.arange(edge)), axis=-1).reshape(-1, 2)
        numbers = np.flatnonzero((spans > below) & (spans <= edge))
        at_once = max(1, AT_ONCE // len(offsets))
        for start in range(0, len(numbers), at_once):
            chosen = numbers[start : start + at_once]
            _mark(found, places[chosen], low[chosen, None] + offsets)
            yield
        below = edge
    for number in np.flatnonzero(spans > MIDDLE):
        columns = np.arange(low[number, 0], high[number, 0] + 1)
        height = max(1, AT_ONCE // len(columns))
        for row in range(low[number, 1], high[number, 1] + 1, height):
            rows = np.arange(row, min(row + height, high[number, 1] + 1))
            cells = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(1, -1, 2)
            _mark(found, places[number : number + 1], cells)
            yield


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
