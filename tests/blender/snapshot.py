"""Everything about a file that the extension must leave alone, as plain data that can be compared."""

from __future__ import annotations

import hashlib
from typing import Any

import bpy
import numpy as np

NOT_COMPARED = {"ddrep", "users", "rna_type"}  # what is ours, and counts that any reference changes


def snapshot() -> dict[str, Any]:
    """The state of the open file: settings, selection, mode, datablocks and what is in them."""
    scene = bpy.context.scene
    return {
        "frame": (scene.frame_current, scene.frame_subframe),
        "camera": scene.camera.name if scene.camera else None,
        "world": scene.world.name if scene.world else None,
        "mode": bpy.context.mode,
        "active": bpy.context.view_layer.objects.active.name if bpy.context.view_layer.objects.active else None,
        "selection": sorted(thing.name for thing in bpy.context.selected_objects),
        "cursor": tuple(scene.cursor.location),
        "render": properties(scene.render),
        "image_settings": properties(scene.render.image_settings),
        "cycles": properties(scene.cycles) if hasattr(scene, "cycles") else None,
        "eevee": properties(scene.eevee),
        "view": properties(scene.view_settings),
        "display": properties(scene.display_settings),
        "tools": properties(scene.tool_settings),
        "units": properties(scene.unit_settings),
        "compositor": tree(getattr(scene, "compositing_node_group", None) or getattr(scene, "node_tree", None)),
        "objects": {thing.name: object_state(thing) for thing in bpy.data.objects},
        "meshes": {mesh.name: mesh_state(mesh) for mesh in bpy.data.meshes},
        "materials": {
            material.name: (properties(material), tree(material.node_tree)) for material in bpy.data.materials
        },
        "worlds": {world.name: (properties(world), tree(world.node_tree)) for world in bpy.data.worlds},
        "cameras": {camera.name: properties(camera) for camera in bpy.data.cameras},
        "images": {image.name: (tuple(image.size), image.filepath) for image in bpy.data.images},
        "collections": {each.name: sorted(thing.name for thing in each.objects) for each in bpy.data.collections},
    }


def properties(block: Any) -> dict[str, Any]:
    """All plain RNA properties of a struct."""
    values = {}
    for rna in block.bl_rna.properties:
        if rna.identifier in NOT_COMPARED or rna.type == "COLLECTION":
            continue
        try:
            value = getattr(block, rna.identifier)
        except Exception:  # some properties can't be read in the background
            continue
        values[rna.identifier] = plain(value)
    return values


def plain(value: Any) -> Any:
    if isinstance(value, bpy.types.ID):
        return value.name
    if isinstance(value, bpy.types.bpy_struct):
        return type(value).__name__
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    try:
        return tuple(plain(each) for each in value)
    except TypeError:
        return type(value).__name__


def tree(node_tree: Any) -> Any:
    """Nodes, their values and links."""
    if node_tree is None:
        return None
    nodes = {
        node.name: (
            node.bl_idname,
            {socket.name: plain(getattr(socket, "default_value", None)) for socket in node.inputs},
        )
        for node in node_tree.nodes
    }
    links = sorted(
        (link.from_node.name, link.from_socket.name, link.to_node.name, link.to_socket.name) for link in node_tree.links
    )
    return nodes, links


def object_state(thing: Any) -> dict[str, Any]:
    return {
        "data": thing.data.name if thing.data is not None else None,
        "matrix": tuple(map(tuple, thing.matrix_world)),
        "basis": tuple(map(tuple, thing.matrix_basis)),
        "parent": thing.parent.name if thing.parent else None,
        "hidden": (thing.hide_viewport, thing.hide_render, thing.hide_get()),
        "modifiers": [(each.name, properties(each)) for each in thing.modifiers],
        "slots": [(slot.link, slot.material.name if slot.material else None) for slot in thing.material_slots],
        "mode": thing.mode,
    }


def mesh_state(mesh: Any) -> dict[str, Any]:
    return {
        "vertices": digest(mesh.vertices, "co", 3, np.float32),
        "corners": digest(mesh.loops, "vertex_index", 1, np.int32),
        "faces": digest(mesh.polygons, "material_index", 1, np.int32),
        "uv": {layer.name: digest(layer.uv, "vector", 2, np.float32) for layer in mesh.uv_layers},
        "active_uv": (mesh.uv_layers.active_index, [layer.active_render for layer in mesh.uv_layers]),
        "materials": [material.name if material else None for material in mesh.materials],
    }


def digest(collection: Any, attribute: str, width: int, kind: type) -> tuple[int, str]:
    values = np.empty(len(collection) * width, kind)
    collection.foreach_get(attribute, values)
    return len(collection), hashlib.sha256(values.tobytes()).hexdigest()


def without(state: dict[str, Any], **allowed: set[str]) -> dict[str, Any]:
    """A snapshot without the named new datablocks."""
    return {
        key: {name: value for name, value in part.items() if name not in allowed[key]} if key in allowed else part
        for key, part in state.items()
    }


def changed(before, after, *keys):
    """Keys of the snapshots that differ."""
    return {key for key in before if before[key] != after[key]} - set(keys)
