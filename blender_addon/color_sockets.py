# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sockets of a material say what colour its surface has: there a picture is linked, and what comes there is worn.

Imports nothing of ours: the process that bakes colours (`scene/bake_worker.py`) reads it, too.
"""

from collections.abc import Iterator, Sequence
from typing import Any

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


def outputs(tree: Any) -> list[Any]:
    """The nodes that renderers take the surface from."""
    found = [tree.get_output_node(target) for target in ("ALL", "EEVEE", "CYCLES")]
    return [node for number, node in enumerate(found) if node is not None and node not in found[:number]]


def surfaces(tree: Any) -> list[Any]:
    """The sockets at which a material's surfaces arrive."""
    return [node.inputs["Surface"] for node in outputs(tree)]


def group_ends(tree: Any, output: str) -> list[Any]:
    """The sockets inside a group that say what it shows at an output."""
    return [
        socket
        for node in tree.nodes
        if node.type == "GROUP_OUTPUT" and node.is_active_output
        for socket in node.inputs
        if socket.identifier == output
    ]


def color_sockets(ends: Sequence[Any]) -> tuple[list[Any], list[tuple[Any, str]]]:
    """What says the colour of what is shown at some sockets.

    Returns:
        The inputs of nodes of this tree, and (group node, output) of those whose colour is said inside.
    """
    shaders = list(dict.fromkeys(_shaders(ends)))
    for kinds in COLORS:
        colors = [node.inputs[kinds[node.type]] for node, _ in shaders if node.type in kinds]
        inside = []
        for node, output in shaders if kinds is COLORS[0] else ():
            if node.type != "GROUP" or node.node_tree is None:
                continue
            color = next((node.inputs[name] for name in GROUP_COLORS if _is_color(node.inputs.get(name))), None)
            if color is not None:
                colors.append(color)
            elif any(color_sockets(group_ends(node.node_tree, output))):
                inside.append((node, output))
        if colors or inside:
            return colors, inside
    return [], []


def source_of(socket: Any) -> Any:
    """The socket that a link brings to `socket`, past reroutes; None where none does."""
    while socket.links:
        source = socket.links[0].from_socket
        if source.node.type != "REROUTE":
            return source
        socket = source.node.inputs[0]
    return None


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
