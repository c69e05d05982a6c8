# SPDX-License-Identifier: GPL-3.0-or-later
"""Bakes the base colours of objects into pictures. A program of its own, for a Blender without a window.

    blender --background --factory-startup --python bake_worker.py -- FOLDER

FOLDER/bake.json says what; FOLDER/scene.blend holds copies of the objects with all they wear. Whatever says the colour
of a surface is made to shine by itself, so that Cycles' pass for emission is that colour: exact, whatever the metallic
or the light. Each texel gets what its centre shows.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from color_sockets import color_sockets, group_ends, source_of, surfaces

MARGIN = 16  # texels that a colour goes on beyond its faces


def bake(folder: Path) -> None:
    """All objects that FOLDER/bake.json names, each into its own picture."""
    told = json.loads((folder / "bake.json").read_text(encoding="utf-8"))
    with bpy.data.libraries.load(str(folder / "scene.blend")) as (source, target):
        target.objects = [each["copy"] for each in told["objects"]]
        target.images = [each["image"] for each in told["images"] if each["image"] in source.images]
    for old, each in zip(target.images, told["images"], strict=True):  # painted on since they were saved
        new = bpy.data.images.load(str(folder / each["file"]))
        new.colorspace_settings.name, new.alpha_mode = old.colorspace_settings.name, old.alpha_mode
        old.user_remap(new)
    scene = bpy.context.scene
    for thing in list(scene.collection.all_objects):
        bpy.data.objects.remove(thing)
    scene.frame_set(told["frame"])
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples = "CPU", 1
    scene.cycles.use_adaptive_sampling = scene.cycles.use_denoising = False
    for thing, each in zip(target.objects, told["objects"], strict=True):
        thing.name = each["name"]  # its random number is its name's
        scene.collection.objects.link(thing)
        layer = _shifted(thing.data, each["layer"], each["tile"]) if each["tile"] else each["layer"]
        picture = _bake(thing, layer, each["slot"], told["size"])
        picture.filepath_raw, picture.file_format = str(folder / each["file"]), "PNG"
        picture.save()
        scene.collection.objects.unlink(thing)


def _shifted(mesh: Any, layer: str, tile: int) -> str:
    """A UV map in which a UDIM tile lies where the first one does: what is shown goes by the old one."""
    row, column = divmod(tile - 1001, 10)
    uv = np.empty(len(mesh.loops) * 2, np.float32)
    mesh.uv_layers[layer].uv.foreach_get("vector", uv)
    made = mesh.uv_layers.new(name="tile", do_init=False)
    made.uv.foreach_set("vector", (uv.reshape(-1, 2) - np.float32((column, row))).ravel())
    return made.name


def _bake(thing: Any, layer: str, slot: int | None, size: int) -> Any:
    """The picture that the base colour of an object's faces makes, of one slot or of all, by a UV map."""
    picture, aside = (bpy.data.images.new(name, edge, edge) for name, edge in (("baked", size), ("aside", 8)))
    if not thing.material_slots:
        thing.data.materials.append(None)
    last = len(thing.material_slots) - 1
    for number, each in enumerate(thing.material_slots):
        own = each.material.copy() if each.material is not None else bpy.data.materials.new("nothing")
        each.link, each.material = "OBJECT", own
        shine(own)
        target = own.node_tree.nodes.new("ShaderNodeTexImage")
        target.image = picture if slot is None or number == min(slot, last) else aside
        own.node_tree.nodes.active = target
    bpy.context.view_layer.update()
    one = {"object": thing, "active_object": thing}
    with bpy.context.temp_override(**one, selected_objects=[thing], selected_editable_objects=[thing]):
        bpy.ops.object.bake(
            type="EMIT", target="IMAGE_TEXTURES", save_mode="INTERNAL", uv_layer=layer,
            margin=MARGIN, margin_type="EXTEND", use_clear=True, use_selected_to_active=False,
        )  # fmt: skip
    return picture


def shine(material: Any) -> None:
    """Have a material show its base colour by itself, and nothing else; groups that it shares are copied."""
    plain = tuple(material.diffuse_color)
    if bpy.app.version < (5, 0, 0) and not material.use_nodes:  # drawn by the few numbers of its own
        material.use_nodes = True
        material.node_tree.nodes.clear()
    tree = material.node_tree
    ends = surfaces(tree)[:1]
    found = bool(ends) and _shine(tree, ends[0])
    end = tree.nodes.new("ShaderNodeOutputMaterial")
    if found:
        tree.links.new(ends[0].links[0].from_socket, end.inputs["Surface"])
    else:
        light = tree.nodes.new("ShaderNodeEmission")
        light.inputs["Color"].default_value = plain
        tree.links.new(light.outputs["Emission"], end.inputs["Surface"])
    for node in [each for each in tree.nodes if each.type == "OUTPUT_MATERIAL" and each != end]:
        tree.nodes.remove(node)


def _shine(tree: Any, end: Any) -> bool:
    """Have what arrives at a socket shine in its colour. Returns whether it has one."""
    colors, inside = color_sockets([end])
    own = {socket.node: socket for socket in colors}
    return _lit(tree, end, own.get, {(node, output) for node, output in inside})


def _lit(tree: Any, end: Any, color_of: Callable[[Any], Any], inside: set[tuple[Any, str]]) -> bool:
    if not end.links:
        return False
    node, output = end.links[0].from_node, end.links[0].from_socket.identifier
    if node.mute:
        return False
    if (color := color_of(node)) is not None:
        light = tree.nodes.new("ShaderNodeEmission")
        light.inputs["Color"].default_value = color.default_value
        if (source := source_of(color)) is not None:
            tree.links.new(source, light.inputs["Color"])
        tree.links.new(light.outputs["Emission"], end)
        return True
    if (node, output) in inside:
        node.node_tree = node.node_tree.copy()
        found = [_shine(node.node_tree, each) for each in group_ends(node.node_tree, output)]
        return any(found)
    if node.type == "REROUTE":
        return _lit(tree, node.inputs[0], color_of, inside)
    if node.type not in ("MIX_SHADER", "ADD_SHADER"):
        return False
    sides = [socket for socket in node.inputs if socket.type == "SHADER"]
    found = [_lit(tree, socket, color_of, inside) for socket in sides]
    if sum(found) == 1:  # what is beside it has no colour: a hole, or a gloss
        tree.links.new(sides[found.index(True)].links[0].from_socket, end)
    return any(found)


def main() -> int:
    """Exit status: 0 done, 1 it could not be done; the traceback is in the log."""
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    try:
        bake(Path(arguments[0]))
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a Blender that takes itself apart as Python's module may crash
