# SPDX-License-Identifier: GPL-3.0-or-later
"""Textures into materials.

The new material belongs to the object's slot, not to the mesh (Blender's "link: object"): the mesh keeps its own
materials and its faces their slots, other users of the mesh see nothing, and going back is exact.
"""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..engine.folder import JobFolder, slug
from ..problems import Problem, disk_problem
from ..scene.meshes import MOST_UV_LAYERS, NEW_LAYER, reversed_faces, slots_of
from .materials import painted, show_maps
from .outcome import ObjectResult, SampleResult, tile_path

MARK = "ddrep_result"  # custom property of the datablocks we make: which job, object and sample they show
OBJECT, SLOT = "ddrep_object", "ddrep_slot"  # of a material: the object it was made for, and the slots
ALL_SLOTS = -1
PICTURE_BEGINNINGS = {".png": b"\x89PNG", ".jpg": b"\xff\xd8\xff", ".hdr": b"#?"}
LINEAR = {".hdr"}  # what Blender reads as linear light by itself


def bring_in(folder: JobFolder, sample: SampleResult) -> list[bpy.types.Object]:
    """Put a sample's textures on the objects of the job.

    Raises:
        Problem: an object is gone or was changed so much that the texture does not fit any more. Nothing is changed
            then.
    """
    about = folder.scene()
    pairs = [(thing, entry, _result_for(sample, entry)) for thing, entry in _objects(about)]
    if not pairs:
        raise Problem("This job does not say which objects it is for. Open its folder to get at the files.")
    for thing, entry, result in pairs:
        _require_fit(folder, thing, entry, result)
    pictures = Pictures(folder, about, sample)
    for _, entry, result in pairs:
        pictures.load(entry, result)
        pictures.maps(entry, result)  # before anything is changed: a picture may be damaged
    made = {
        thing: _ensure_layer(thing, [(entry, result) for other, entry, result in pairs if other == thing])
        for thing, entry, _ in pairs
        if entry.get("makes_layer")
    }
    for thing, entry, result in pairs:
        layer = made[thing] if entry.get("makes_layer") else str(entry.get("layer", ""))
        _show(thing, pictures, entry, result, layer)
        thing.ddrep.job, thing.ddrep.sample = folder.name, sample.number
    return list(dict.fromkeys(thing for thing, _, _ in pairs))


def prepare(folder: JobFolder, sample: SampleResult) -> Iterator[None]:
    """Load a sample's pictures, one a slice, so that `bring_in` finds them here. Nothing uses them yet."""
    about = folder.scene()
    pictures = Pictures(folder, about, sample)
    entries = about.get("objects")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            pictures.load(entry, _result_for(sample, entry))
            yield
            pictures.maps(entry, _result_for(sample, entry))


def forget_unused(folder: JobFolder) -> None:
    """Remove pictures of a job that were prepared in vain."""
    for image in [each for each in bpy.data.images if str(each.get(MARK, "")).startswith(f"{folder.name}/")]:
        if not image.users:
            bpy.data.images.remove(image)


class Pictures:
    """The pictures of one sample, as images of this file.

    Args:
        about: blender.json: where they are kept, and whether coverage maps are wanted.
    """

    def __init__(self, folder: JobFolder, about: dict[str, Any], sample: SampleResult) -> None:
        self.prefix = f"{folder.name}/{sample.number}"
        request = folder.request()
        self.prompt = str(request.get("prompt", ""))
        texture = request.get("texture") or request.get("edit") or request.get("detail")
        self.both_sides = isinstance(texture, dict) and texture.get("both_sides") is True
        self.seed = sample.seed
        self.storage = "BESIDE" if about.get("storage") == "BESIDE" else "PACK"
        self.wants_coverage = about.get("coverage_map") is True

    def mark(self, entry: dict[str, Any]) -> str:
        """What tells the material of one object from all others."""
        return f"{self.prefix}/{entry.get('key')}"

    def title(self, entry: dict[str, Any]) -> str:
        """What the material of one object is called."""
        slot = f" · {name}" if (name := entry.get("slot_name")) else ""
        return f"{self.prompt[:32].strip() or 'DDRep'} · {entry.get('name')}{slot} · {self.seed}"

    def load(self, entry: dict[str, Any], result: ObjectResult) -> tuple[bpy.types.Image, bpy.types.Image | None]:
        """The texture of one object and, if it is wanted, its coverage map. Raises a Problem where one is damaged."""
        mark, title = self.mark(entry), self.title(entry)
        texture = load_picture(result.texture, title, mark, self.storage, color=True, tiles=result.tiles)
        if not self.wants_coverage or result.coverage is None:
            return texture, None
        title, mark = f"{title} · coverage", f"{mark}/coverage"
        return texture, load_picture(result.coverage, title, mark, self.storage, color=False, tiles=result.tiles)

    def maps(self, entry: dict[str, Any], result: ObjectResult) -> dict[str, bpy.types.Image]:
        """The material maps of one object, by what they are; they are data. Raises a Problem where one is damaged."""
        found = {}
        for what in ("metallic_roughness", "normal"):
            if (path := getattr(result, what)) is not None:
                title, mark = f"{self.title(entry)} · {what.replace('_', ' ')}", f"{self.mark(entry)}/{what}"
                found[what] = load_picture(path, title, mark, self.storage, color=False, tiles=result.tiles)
        return found


def bring_back_original(thing: bpy.types.Object) -> None:
    """Give an object the materials it had before the first texture came."""
    settings = thing.ddrep
    if not settings.original_kept:
        return
    for number, kept in enumerate(settings.original_slots):
        if number >= len(thing.material_slots):
            break
        slot = thing.material_slots[number]
        if kept.link == "OBJECT":
            slot.link, slot.material = "OBJECT", kept.material
        else:
            if slot.link == "OBJECT":
                slot.material = None
            slot.link = "DATA"
    if not len(settings.original_slots) and thing.data.library is None:
        _drop_empty_slots(thing)
    settings.original_slots.clear()
    settings.original_kept = False
    settings.job = ""


def _drop_empty_slots(thing: bpy.types.Object) -> None:
    """The mesh had no slots at all: take back the one we gave it, unless another object uses it now."""
    materials = thing.data.materials
    others = [each for each in bpy.data.objects if each.data is thing.data and each is not thing]
    if any(material is not None for material in materials) or any(each.ddrep.original_kept for each in others):
        return
    materials.clear()


def discard(folder: JobFolder, number: int) -> None:
    """Remove a sample's materials and images from the file, and show the original where it was shown."""
    prefix = f"{folder.name}/{number}/"
    for thing in bpy.data.objects:
        if thing.ddrep.job == folder.name and thing.ddrep.sample == number and thing.type == "MESH":
            bring_back_original(thing)
    for collection in (bpy.data.materials, bpy.data.node_groups, bpy.data.images):
        for block in [each for each in collection if str(each.get(MARK, "")).startswith(prefix)]:
            collection.remove(block)


def materials_of(folder: JobFolder, number: int) -> list[bpy.types.Material]:
    """The materials that show a sample."""
    return [each for each in bpy.data.materials if str(each.get(MARK, "")).startswith(f"{folder.name}/{number}/")]


def load_picture(
    path: Path, name: str, mark: str, storage: str, color: bool, tiles: Sequence[int] = ()
) -> bpy.types.Image:
    """A picture of a job as an image of this file: sRGB if it is colour, Non-Color if it is data.

    Args:
        tiles: UDIM: it is one image with all of these tiles, and `path` is the first one's.

    Raises:
        Problem: it can't be read, or not be kept where the artist wants it.
    """
    for image in bpy.data.images:
        if image.get(MARK) == mark:
            return image
    try:
        for tile in tiles[1:]:
            _require_picture(tile_path(path, tiles[0], tile))
        _require_picture(path)
        source = path if storage == "PACK" else _beside(path, f"{name} {mark.split('/')[0][-4:]}", tiles)
    except OSError as error:
        raise disk_problem(error, Path(bpy.path.abspath("//textures"))) from error
    image = bpy.data.images.load(str(source), check_existing=False)
    image.name = name
    image[MARK] = mark
    if tiles:
        _show_tiles(image, source, tiles)
        source = tile_path(source, tiles[0], "<UDIM>")
    if path.suffix not in LINEAR:  # not by image.is_float: asking it decodes the picture, here and now
        image.colorspace_settings.name = "sRGB" if color else "Non-Color"
    if storage == "PACK":
        image.pack()
        image.filepath_raw = f"//{source.name}"  # a packed picture should not point into the job's folder
        for packed in image.packed_files:
            packed.filepath = f"//{source.name}".replace("<UDIM>", str(packed.tile_number))
    else:
        image.filepath_raw = bpy.path.relpath(str(source))
    return image


def _show_tiles(image: bpy.types.Image, first: Path, tiles: Sequence[int]) -> None:
    """Make one image of the files of UDIM tiles: those of the job, and no other that may lie beside them."""
    image.source = "TILED"
    image.filepath_raw = str(tile_path(first, tiles[0], "<UDIM>"))
    for tile in [each for each in image.tiles if each.number not in tiles]:
        image.tiles.remove(tile)
    for number in tiles:
        if image.tiles.get(number) is None:
            image.tiles.new(tile_number=number)


def _require_picture(path: Path) -> None:
    """Raises a Problem where a file does not begin as its kind of picture does."""
    beginning = PICTURE_BEGINNINGS.get(path.suffix)
    with path.open("rb") as file:
        if beginning is None or not file.read(16).startswith(beginning):
            raise Problem(f"The picture {path} can't be read. Run the job again.")


def _beside(path: Path, name: str, tiles: Sequence[int] = ()) -> Path:
    """A copy of a picture beside the .blend. `name` holds the job's own letters: no result overwrites another's."""
    if not bpy.data.filepath:
        raise Problem(
            "This .blend was never saved, so there is no folder beside it. Save it, or keep textures in the .blend.",
            "ddrep.pack_textures",
            "Keep them in the .blend",
        )
    folder = Path(bpy.path.abspath("//textures"))
    folder.mkdir(parents=True, exist_ok=True)
    if not tiles:
        target = folder / f"{slug(name, 80)}{path.suffix}"
        shutil.copyfile(path, target)
        return target
    target = folder / f"{slug(name, 80)}.{tiles[0]}{path.suffix}"
    for tile in tiles:
        shutil.copyfile(tile_path(path, tiles[0], tile), tile_path(target, tiles[0], tile))
    return target


def _objects(about: dict[str, Any]) -> list[tuple[bpy.types.Object, dict[str, Any]]]:
    """The objects a job was made for: by name, for pointers do not outlive an undo."""
    found = []
    entries = about.get("objects")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict):
            continue
        name = str(entry.get("name", ""))
        thing = bpy.data.objects.get((name, None)) or bpy.data.objects.get(name)
        if thing is None:
            raise Problem(
                f"There is no object '{name}' in this file any more. If it was renamed, name it '{name}' again; "
                "if it is in another file, open that one."
            )
        if thing.type != "MESH" or thing.library is not None or thing.override_library is not None:
            raise Problem(f"'{name}' is no mesh of this file's own any more, so it can't get the texture.")
        found.append((thing, entry))
    return found


def _result_for(sample: SampleResult, entry: dict[str, Any]) -> ObjectResult:
    for result in sample.objects:
        if result.key == entry.get("key"):
            return result
    if len(sample.objects) == 1 and not sample.objects[0].key:
        return sample.objects[0]
    raise Problem(f"The job made no texture for '{entry.get('name')}'. Run it again.")


def _require_fit(folder: JobFolder, thing: bpy.types.Object, entry: dict[str, Any], result: ObjectResult) -> None:
    mesh = thing.data
    if thing.mode != "OBJECT":
        raise Problem(
            f"'{thing.name}' is being edited. Go back to Object Mode first.", "ddrep.leave_mode", "Object Mode"
        )
    slot = _slot_number(entry.get("slot"))
    if slot >= max(1, len(thing.material_slots)):
        raise Problem(
            f"'{thing.name}' has no material slot {slot + 1} any more, which the texture was made for. "
            "Undo the change, or run the job again."
        )
    if not entry.get("makes_layer"):
        if not _has_layer(thing, str(entry.get("layer", ""))):
            raise Problem(
                f"'{thing.name}' has no UV map '{entry.get('layer')}' any more, which the texture was made for. "
                "Bring the map back under that name, then import again."
            )
        return
    corners = _corners_of(thing, entry)
    if len(corners) != entry.get("corners"):
        raise Problem(
            f"The faces of '{thing.name}' were changed since the job was made, so its new UV map does not fit. "
            "Undo the change, or run the job again.",
            "ddrep.bring_in",
            "Import again",
            job=folder.name,
        )
    if NEW_LAYER not in mesh.uv_layers and len(mesh.uv_layers) >= MOST_UV_LAYERS:
        raise Problem(
            f"'{thing.name}' has {MOST_UV_LAYERS} UV maps by now, as many as Blender allows. Delete one first."
        )
    if result.uv is None or len(result.uv) != len(corners):
        raise Problem(f"The engine sent no UV map that fits '{thing.name}'. Run the job again.")


def _has_layer(thing: bpy.types.Object, layer: str) -> bool:
    """Whether a UV map is on the mesh, or on the one that the modifiers make of it where it has no faces of its own."""
    if layer in thing.data.uv_layers or thing.data.polygons:
        return layer in thing.data.uv_layers
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    return layer in evaluated.data.uv_layers


def _ensure_layer(thing: bpy.types.Object, made: list[tuple[dict[str, Any], ObjectResult]]) -> str:
    """Add the layer that the engine made; the layers that were there, and which is active, stay as they are.

    Where it made UVs for some faces only, the others lie in the new layer as in the active one.
    """
    mesh = thing.data
    uv = np.zeros((len(mesh.loops), 2), np.float32)
    if mesh.uv_layers.active is not None:
        mesh.uv_layers.active.uv.foreach_get("vector", uv.reshape(-1))
    for entry, result in made:
        uv[_corners_of(thing, entry)] = np.asarray(result.uv, np.float32).reshape(-1, 2)
    name = NEW_LAYER
    number = 1
    while (existing := mesh.uv_layers.get(name)) is not None:
        have = np.empty(len(mesh.loops) * 2, np.float32)
        existing.uv.foreach_get("vector", have)
        if np.allclose(have.reshape(-1, 2), uv, atol=1e-6):
            return name
        number += 1
        name = f"{NEW_LAYER} {number}"
    if len(mesh.uv_layers) >= MOST_UV_LAYERS:
        raise Problem(
            f"'{thing.name}' has {MOST_UV_LAYERS} UV maps by now, as many as Blender allows. Delete one first."
        )
    layer = mesh.uv_layers.new(name=name, do_init=False)
    layer.uv.foreach_set("vector", uv.reshape(-1))
    mesh.update()
    return layer.name


def _corners_of(thing: bpy.types.Object, entry: dict[str, Any]) -> np.ndarray:
    """[L] the loops of the mesh that an entry is for, in the order in which the job has them.

    All of them, or those of the faces that wear its slot; each face turned over where the object was mirrored.
    """
    mesh = thing.data
    sizes = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("loop_total", sizes)
    loops = reversed_faces(sizes) if entry.get("turned") else np.arange(len(mesh.loops))
    slot = _slot_number(entry.get("slot"))
    if slot < 0 or len(loops) == entry.get("corners"):
        return loops
    return loops[np.repeat(slots_of(thing, mesh) == slot, sizes)]


def _show(thing: bpy.types.Object, pictures: Pictures, entry: dict[str, Any], result: ObjectResult, layer: str) -> None:
    """Show a texture on an object: one new material for each that its slots had before."""
    for old, slots in _worn(thing, entry.get("slot")).items():
        assign(thing, _material(pictures, entry, result, layer, old, slots), slots)


def _worn(thing: bpy.types.Object, slot: Any) -> dict[bpy.types.Material | None, list[int]]:
    """What an object of its own wears in one slot, or in all, and in which: by material, in the slots' order."""
    found: dict[bpy.types.Material | None, list[int]] = {}
    count = len(thing.material_slots)
    for number in _slot_numbers(slot, count):
        found.setdefault(_own_material(thing, number), []).append(number)
    if len(found) <= 1 and not 0 <= _slot_number(slot) < count:
        return {old: [] for old in found or [None]}  # all there are, and all there will be
    return found


def _own_material(thing: bpy.types.Object, number: int) -> bpy.types.Material | None:
    """What an object wore in a slot before any texture of ours."""
    shown, settings = thing.material_slots[number].material, thing.ddrep
    if shown is None or not shown.get(MARK) or not settings.original_kept:
        return shown
    if number >= len(settings.original_slots):
        return None
    kept = settings.original_slots[number]
    return kept.material if kept.link == "OBJECT" else thing.data.materials[number]


def _material(
    pictures: Pictures,
    entry: dict[str, Any],
    result: ObjectResult,
    layer: str,
    old: bpy.types.Material | None,
    slots: list[int],
) -> bpy.types.Material:
    mark = pictures.mark(entry)
    for material in bpy.data.materials:
        if material.get(MARK) == mark and _listed(material.get(SLOT)) == slots:
            return material
    texture, coverage = pictures.load(entry, result)
    material = painted(old, pictures.title(entry)[:60], (MARK, mark), texture, layer, coverage)
    show_maps(material, texture, pictures.maps(entry, result), layer)
    if pictures.both_sides:
        material.use_backface_culling = False
    material[OBJECT], material[SLOT] = str(entry.get("name")), slots or ALL_SLOTS
    return material


def _slot_number(slot: Any) -> int:
    return slot if isinstance(slot, int) and not isinstance(slot, bool) else ALL_SLOTS


def _listed(slots: Any) -> list[int]:
    """A material's slots as its custom property holds them: a list, a number, or ALL_SLOTS (here an empty list)."""
    if isinstance(slots, int):
        return [slots] if slots >= 0 else []
    return [int(each) for each in slots] if slots is not None else []


def _slot_numbers(slots: Any, count: int) -> list[int]:
    """Which of an object's slots are meant: those that are there; all where none is named, or none of them is there."""
    if slots is None or isinstance(slots, bool | str):
        return list(range(count))
    return [each for each in _listed(slots) if 0 <= each < count] or list(range(count))


def assign(thing: bpy.types.Object, material: bpy.types.Material, slots: Any) -> None:
    """Show a material on an object: in some slots, or in all; what was there before is remembered first."""
    settings = thing.ddrep
    if not settings.original_kept:
        for each in thing.material_slots:
            kept = settings.original_slots.add()
            kept.link, kept.material = each.link, each.material
        settings.original_kept = True
    _fill(thing, material, slots)


def _fill(thing: bpy.types.Object, material: bpy.types.Material, slots: Any) -> None:
    if not thing.material_slots:
        thing.data.materials.append(None)
    for each in _slot_numbers(slots, len(thing.material_slots)):
        thing.material_slots[each].link = "OBJECT"
        thing.material_slots[each].material = material


@contextlib.contextmanager
def shown_on(thing: bpy.types.Object, material: bpy.types.Material) -> Iterator[None]:
    """A result's material on its object for a while; then everything is as it was, remembered originals included."""
    had_slots = bool(thing.material_slots)
    before = []
    for slot in thing.material_slots:
        link = slot.link
        slot.link = "OBJECT"
        before.append((link, slot.material))
        slot.link = link
    _fill(thing, material, material.get(SLOT))
    try:
        yield
    finally:
        for slot, (link, own) in zip(thing.material_slots, before, strict=False):
            slot.link = "OBJECT"
            slot.material = own
            slot.link = link
        if not had_slots:
            thing.data.materials.clear()
