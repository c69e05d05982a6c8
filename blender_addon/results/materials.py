# SPDX-License-Identifier: GPL-3.0-or-later
"""A result's material: the one that was there before, with the picture as its colour.

What was not painted survives, for the new material is a copy: alpha and how it blends, normal and bump maps, metallic,
roughness, emission, displacement, whatever hangs on them. Only the colour's own socket is linked anew.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import bpy

# By node type, the input that says which colour a surface has. The first group that a material has one of is painted: a
# gloss over a diffuse coat keeps its own colour, and only what is nothing but light is painted as light.
COLORS: tuple[dict[str, str], ...] = (
    {
        "BSDF_PRINCIPLED": "Base Color",
        "BSDF_DIFFUSE": "Color",
        "BSDF_TOON": "Color",
        "BSDF_METALLIC": "Base Color",
        "SUBSURFACE_SCATTERING": "Color",
        "EEVEE_SPECULAR": "Base Color",
    },
    {"BSDF_GLOSSY": "Color", "BSDF_SHEEN": "Color", "BSDF_GLASS": "Color", "BSDF_REFRACTION": "Color"},
    {"EMISSION": "Color"},
)
GROUP_COLORS = ("Base Color", "Color", "Albedo", "Diffuse Color", "Diffuse")  # what a group's colour input is called
ROUGHNESS = 0.6  # of a material that stands in for none


def painted(
    old: bpy.types.Material | None,
    name: str,
    mark: tuple[str, str],
    texture: bpy.types.Image,
    layer: str,
    coverage: bpy.types.Image | None = None,
) -> bpy.types.Material:
    """A new material that looks like `old` painted with `texture` by the UV map `layer`.

    Args:
        old: what the surface wears; None: nothing.
        mark: custom property (key, value) of every datablock that is made.
        coverage: a map to mask with, added to the material and linked to nothing.
    """
    material = _like(old, name)
    material[mark[0]] = mark[1]
    tree = material.node_tree
    ends = [node.inputs["Surface"] for node in _outputs(tree)]
    if not _paint(tree, ends, texture, layer, mark):
        shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
        shader.inputs["Roughness"].default_value = ROUGHNESS
        for end in ends:
            tree.links.new(shader.outputs["BSDF"], end)
        _link(tree, [shader.inputs["Base Color"]], texture, layer)
    if coverage is not None:
        extra, coordinates = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeUVMap")
        extra.label, extra.image, coordinates.uv_map = "Coverage", coverage, layer
        extra.location, coordinates.location = (-320, -420), (-540, -520)
        tree.links.new(coordinates.outputs["UV"], extra.inputs["Vector"])
    return material


def show_maps(material: bpy.types.Material, texture: bpy.types.Image, maps: dict[str, Any], layer: str) -> None:
    """Link material maps to the Principled shaders whose base colour shows a texture, in place of what was there.

    Args:
        maps: images of data: "metallic_roughness" (roughness in green, metallic in blue) and "normal" (+Y up).
        layer: the UV map that they are laid out in.
    """
    tree = material.node_tree
    shaders = [
        node
        for node in tree.nodes
        if node.type == "BSDF_PRINCIPLED"
        and any(getattr(link.from_node, "image", None) == texture for link in node.inputs["Base Color"].links)
    ]
    if not maps or not shaders:
        return
    x, y = shaders[0].location
    coordinates = tree.nodes.new("ShaderNodeUVMap")
    coordinates.uv_map, coordinates.location = layer, (x - 860, y - 200)
    active = tree.nodes.active
    for number, (what, image) in enumerate(maps.items()):
        picture = tree.nodes.new("ShaderNodeTexImage")
        picture.image, picture.label = image, what.replace("_", " ").title()
        picture.location = (x - 620, y - 120 - 300 * number)
        tree.links.new(coordinates.outputs["UV"], picture.inputs["Vector"])
        if what == "normal":
            between = tree.nodes.new("ShaderNodeNormalMap")
            between.uv_map = layer
            tree.links.new(picture.outputs["Color"], between.inputs["Color"])
            ends = {"Normal": between.outputs["Normal"]}
        else:
            between = tree.nodes.new("ShaderNodeSeparateColor")
            tree.links.new(picture.outputs["Color"], between.inputs["Color"])
            ends = {"Roughness": between.outputs["Green"], "Metallic": between.outputs["Blue"]}
        between.location = (x - 300, y - 120 - 300 * number)
        for shader in shaders:
            for name, output in ends.items():
                tree.links.new(output, shader.inputs[name])
        picture.select = between.select = False
    coordinates.select = False
    tree.nodes.active = active


def empty_tree(block: Any) -> tuple[Any, Any]:
    """A datablock's node tree without nodes. From Blender 5.0 on there is always a tree."""
    if block.node_tree is None:
        block.use_nodes = True
    block.node_tree.nodes.clear()
    return block.node_tree.nodes, block.node_tree.links


def _like(old: bpy.types.Material | None, name: str) -> bpy.types.Material:
    """A copy of a material with nodes; where there is none, a plain one."""
    if old is None:
        material = bpy.data.materials.new(name)
        nodes, links = empty_tree(material)
        output, shader = nodes.new("ShaderNodeOutputMaterial"), nodes.new("ShaderNodeBsdfPrincipled")
        output.location, shader.location = (300, 0), (0, 0)
        shader.inputs["Roughness"].default_value = ROUGHNESS
        links.new(shader.outputs["BSDF"], output.inputs["Surface"])
        return material
    material = old.copy()
    material.name = name
    for key in [each for each in material.keys() if each.startswith("ddrep_")]:  # noqa: SIM118  (not a dict)
        del material[key]  # of a result that is painted over
    if bpy.app.version < (5, 0, 0) and not material.use_nodes:  # drawn by the few numbers of its own
        material.use_nodes = True
        for node in material.node_tree.nodes:
            if node.type == "BSDF_PRINCIPLED":
                node.inputs["Metallic"].default_value = old.metallic
                node.inputs["Roughness"].default_value = old.roughness
    if not _outputs(material.node_tree):
        material.node_tree.nodes.new("ShaderNodeOutputMaterial")
    return material


def _outputs(tree: Any) -> list[Any]:
    """The nodes that renderers take the surface from."""
    found = [tree.get_output_node(target) for target in ("ALL", "EEVEE", "CYCLES")]
    return [node for number, node in enumerate(found) if node is not None and node not in found[:number]]


def _paint(tree: Any, ends: Sequence[Any], texture: bpy.types.Image, layer: str, mark: tuple[str, str]) -> bool:
    """Link the picture to the colour of what is shown at `ends`. Returns whether there was a colour to link it to."""
    shaders = list(dict.fromkeys(_shaders(ends)))
    for kinds in COLORS:
        colors = [node.inputs[kinds[node.type]] for node, _ in shaders if node.type in kinds]
        groups = []
        for node, output in shaders:
            if node.type == "GROUP" and node.node_tree is not None and kinds is COLORS[0]:
                color = next((node.inputs[name] for name in GROUP_COLORS if _is_color(node.inputs.get(name))), None)
                colors += [color] if color is not None else []
                groups += [(node, output)] if color is None else []
        inside = [_paint_group(node, output, texture, layer, mark) for node, output in groups]
        if colors:
            _link(tree, colors, texture, layer)
        if colors or any(inside):
            return True
    return False


def _paint_group(node: Any, output: str, texture: bpy.types.Image, layer: str, mark: tuple[str, str]) -> bool:
    """Paint what a group shows at `output`, in a copy of the group: others use it, too."""
    own = node.node_tree.copy()
    ends = [
        socket
        for each in own.nodes
        if each.type == "GROUP_OUTPUT" and each.is_active_output
        for socket in each.inputs
        if socket.identifier == output
    ]
    if not _paint(own, ends, texture, layer, mark):
        bpy.data.node_groups.remove(own)
        return False
    own[mark[0]] = mark[1]
    node.node_tree = own
    return True


def _shaders(ends: Sequence[Any]) -> Iterator[tuple[Any, str]]:
    """The nodes that make what arrives at some sockets, and by which output, through mixes and reroutes."""
    waiting, seen = list(ends), set()
    while waiting:
        for link in waiting.pop(0).links:
            node, output = link.from_node, link.from_socket.identifier
            if (node.name, output) in seen or node.mute:
                continue
            seen.add((node.name, output))
            yield node, output
            if node.type != "GROUP":
                waiting += [socket for socket in node.inputs if socket.type == "SHADER"]


def _is_color(socket: Any) -> bool:
    return socket is not None and socket.type == "RGBA"


def _link(tree: Any, colors: Sequence[Any], texture: bpy.types.Image, layer: str) -> None:
    picture, coordinates = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeUVMap")
    first = colors[0].node.location
    picture.location, coordinates.location = (first[0] - 320, first[1] + 320), (first[0] - 540, first[1] + 200)
    picture.image, coordinates.uv_map = texture, layer
    tree.links.new(coordinates.outputs["UV"], picture.inputs["Vector"])
    for color in colors:
        tree.links.new(picture.outputs["Color"], color)
    for node in tree.nodes:
        node.select = False
    tree.nodes.active = picture  # what the viewport's solid mode and texture paint look at
