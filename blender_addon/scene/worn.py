# SPDX-License-Identifier: GPL-3.0-or-later
"""What an object wears: one plain picture, taken as it is; or a colour that must be baked into one first."""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import bpy
import numpy as np

from ..color_sockets import color_sockets, source_of, surfaces
from ..engine import process
from ..engine.folder import Waiting
from ..problems import Problem
from .meshes import CapturedMesh
from .slots import Target

WORKER = Path(__file__).with_name("bake_worker.py")
MOST_NAMED = 4


def worn_image(thing: bpy.types.Object, mesh: CapturedMesh, slots: Sequence[int]) -> bpy.types.Image | None:
    """The one picture that the base colour of some slots shows straight from the UV map; None where it is not so plain.

    Raises:
        Problem: nothing is worn, or a picture cannot be found.
    """
    materials = [_material_of(thing, slot) for slot in slots]
    if not any(materials):
        raise Problem(
            f"'{thing.name}' wears no material, so there is nothing to keep or to start from. Give it one, or texture "
            "it once first."
        )
    for material in filter(None, materials):
        for image in dict.fromkeys(images_of(material.node_tree)):
            if not image.has_data and not min(image.size) and image.source != "GENERATED":
                raise Problem(
                    f"The picture '{image.name}' that the material '{material.name}' shows cannot be found. Use File > "
                    "External Data > Find Missing Files."
                )
    images = {_plain_image(thing, mesh.layer, material) for material in materials}
    return images.pop() if len(images) == 1 else None


def what_is_baked(thing: bpy.types.Object, slots: Sequence[int]) -> str:
    """In words: the materials, and what says the colour of each."""
    told = []
    for material in dict.fromkeys(_material_of(thing, slot) for slot in slots):
        if material is None:
            told.append("an empty slot (grey)")
            continue
        colors, inside = color_sockets(surfaces(material.node_tree)) if material.node_tree is not None else ([], [])
        sources = dict.fromkeys(filter(None, map(source_of, colors)))
        names = [source.node.label or source.node.bl_label for source in sources]
        names += [node.node_tree.name for node, _ in inside]
        told.append(f"'{material.name}' ({', '.join(dict.fromkeys(names)) or 'a plain colour'})")
    return ", ".join(told[:MOST_NAMED]) + (f" and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else "")


def images_of(tree: Any) -> Iterator[bpy.types.Image]:
    """All pictures that a node tree and its groups show."""
    for node in tree.nodes if tree is not None else ():
        if node.type == "GROUP":
            yield from images_of(node.node_tree)
        elif node.type in ("TEX_IMAGE", "TEX_ENVIRONMENT") and node.image is not None:
            yield node.image


def _material_of(thing: bpy.types.Object, slot: int) -> bpy.types.Material | None:
    return thing.material_slots[slot].material if slot < len(thing.material_slots) else None


def _plain_image(thing: bpy.types.Object, layer: str, material: bpy.types.Material | None) -> bpy.types.Image | None:
    """The picture of 8 bits that alone is a material's base colour, laid out by a UV map."""
    if material is None or material.node_tree is None or (bpy.app.version < (5, 0, 0) and not material.use_nodes):
        return None
    colors, inside = color_sockets(surfaces(material.node_tree))
    sources = [source_of(color) for color in colors]
    if inside or not sources or None in sources:
        return None
    images = {source.node.image if _is_plain(thing, layer, source) else None for source in sources}
    return images.pop() if len(images) == 1 else None


def _is_plain(thing: bpy.types.Object, layer: str, source: Any) -> bool:
    """Whether a socket shows the bytes of a picture where the UV map says."""
    node = source.node
    if node.type != "TEX_IMAGE" or source.identifier != "Color" or node.mute or node.image is None:
        return False
    image = node.image
    if image.is_float or image.source not in ("FILE", "GENERATED") or image.colorspace_settings.name != "sRGB":
        return False
    if node.projection != "FLAT" or node.extension != "REPEAT":
        return False
    shown = next((each.name for each in thing.data.uv_layers if each.active_render), layer)
    place = source_of(node.inputs["Vector"])
    if place is None or (place.node.type == "TEX_COORD" and place.identifier == "UV"):
        return shown == layer
    return place.node.type == "UVMAP" and (place.node.uv_map or shown) == layer


@dataclass
class Baking:
    """Base colours that a Blender beside this one bakes, of copies of the objects as they are now.

    Nothing of the open file is left changed: no engine, no selection, no node.
    """

    size: int
    folder: Any = field(default_factory=lambda: tempfile.TemporaryDirectory(prefix="ddrep-bake-"))
    process: "Popen[bytes] | None" = None
    names: list[str] = field(default_factory=list)

    def snapshot(
        self, wanted: Sequence[tuple[bpy.types.Object, Target, int]], depsgraph: bpy.types.Depsgraph
    ) -> None:
        """Take copies of objects and of all that they wear, in the order in which `picture` is asked for them.

        Args:
            wanted: of a UDIM tile, with its number; else 0.

        Raises:
            Problem: this Blender has no Cycles, or tiles were painted and not saved.
        """
        if not bpy.app.build_options.cycles:
            raise Problem(
                "The base colour is a node graph, and this Blender has no Cycles to bake it with. Bake it into an "
                "Image Texture elsewhere."
            )
        place = Path(self.folder.name)
        objects, copies = [], []
        try:
            for number, (thing, target, tile) in enumerate(wanted):
                copies.append(_copy_of(thing, depsgraph))
                objects.append({
                    "name": thing.name, "copy": copies[-1].name, "layer": target.mesh.layer, "slot": target.slot,
                    "tile": tile, "file": f"{number}.png",
                })  # fmt: skip
                self.names.append(thing.name)
            images = _unsaved([thing for thing, *_ in wanted], place)
            bpy.data.libraries.write(str(place / "scene.blend"), {*copies}, path_remap="ABSOLUTE", fake_user=True)
        finally:
            for copy in copies:
                mesh = copy.data
                bpy.data.objects.remove(copy)
                bpy.data.meshes.remove(mesh)
        told = {"size": self.size, "frame": bpy.context.scene.frame_current, "objects": objects, "images": images}
        (place / "bake.json").write_text(json.dumps(told), encoding="utf-8")

    def picture(self, number: int) -> Iterator[bytes | Waiting]:
        """The pieces of a PNG file; the first who asks has all of them baked.

        Raises:
            Problem: the bake failed.
        """
        place = Path(self.folder.name)
        if self.process is None:
            self.process = process.start(_command(place), place / "bake.log")
        baker = self.process
        try:
            while baker.poll() is None:
                yield Waiting(f"Baking the colour of '{self.names[number]}'")
        finally:
            process.end(baker, baker.pid, place, force=True)
        path = place / f"{number}.png"
        if baker.returncode or not path.is_file():
            lines = (place / "bake.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            said = lines[-1] if lines else "Blender ended"
            raise Problem(
                f"The base colour of '{self.names[number]}' could not be baked: {said}. "
                "Bake it into an Image Texture by hand (Render Properties > Bake), or start from nothing."
            )
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                yield piece


def _command(place: Path) -> list[str]:
    """What bakes: the Blender that runs, or the Python whose module it is."""
    if not bpy.app.binary_path:
        return [sys.executable, str(WORKER), str(place)]
    options = ["--background", "--factory-startup", "--python-exit-code", "1", "--python", str(WORKER)]
    return [bpy.app.binary_path, *options, "--", str(place)]


def _copy_of(thing: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> bpy.types.Object:
    """An object as it is shown, without what made it so."""
    evaluated = thing.evaluated_get(depsgraph)
    mesh = bpy.data.meshes.new_from_object(evaluated, preserve_all_data_layers=True, depsgraph=depsgraph)
    mesh.use_auto_texspace = False  # generated coordinates are those of the shape before modifiers
    mesh.texspace_location, mesh.texspace_size = thing.data.texspace_location, thing.data.texspace_size
    copy = thing.copy()
    copy.animation_data_clear()
    copy.modifiers.clear()
    copy.constraints.clear()
    copy.parent = None
    copy.data = mesh
    copy.matrix_world = evaluated.matrix_world.copy()
    for own, each in zip(copy.material_slots, thing.material_slots, strict=False):
        own.link, own.material = "OBJECT", each.material
    return copy


def _unsaved(things: Sequence[bpy.types.Object], place: Path) -> list[dict[str, str]]:
    """Save copies of the pictures whose pixels are only in this Blender's memory, and say which is which."""
    trees = [slot.material.node_tree for thing in things for slot in thing.material_slots if slot.material is not None]
    told = []
    for image in dict.fromkeys(image for tree in trees for image in images_of(tree)):
        if not image.is_dirty:
            continue
        if image.source == "TILED":
            raise Problem(f"The tiles of '{image.name}' were painted and not saved. Use Image > Save All Images first.")
        pixels = np.empty(image.size[0] * image.size[1] * image.channels, np.float32)
        image.pixels.foreach_get(pixels)
        copy = bpy.data.images.new("copy", *image.size, alpha=True, float_buffer=image.is_float)
        try:
            if image.channels != 4:
                pixels = _with_alpha(pixels.reshape(-1, image.channels))
            copy.pixels.foreach_set(pixels)
            copy.file_format = "OPEN_EXR" if image.is_float else "PNG"
            file = f"image_{len(told)}{'.exr' if image.is_float else '.png'}"
            copy.filepath_raw = str(place / file)
            copy.save()
        finally:
            bpy.data.images.remove(copy)
        told.append({"image": image.name, "file": file})
    return told


def _with_alpha(pixels: np.ndarray) -> np.ndarray:
    """[N * 4] of [N, 1] grey or [N, 3]."""
    full = np.ones((len(pixels), 4), np.float32)
    full[:, :3] = pixels[:, :3] if pixels.shape[1] >= 3 else pixels[:, :1]
    return full.ravel()
