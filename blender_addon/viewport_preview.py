# SPDX-License-Identifier: GPL-3.0-or-later
"""The texture on its way, drawn over the object in the viewport.

Nothing of the file is touched: no material, no image that stays, nothing to undo and nothing that could be saved by
mistake. The drawing is a batch of triangles and a texture on the graphics card.
"""

from pathlib import Path
from typing import Any

import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader

from .scene.meshes import slots_of

LARGEST = 512  # pixels a side: larger previews would hold the interface up
NEARER = 2e-4  # in normalized depth: lifts the drawing above the surface it covers

_levels = np.arange(256) / 255
# sRGB to linear light, by 8-bit level: the viewport takes linear colours, and the textures' bytes are sRGB.
LINEAR = np.where(_levels <= 0.04045, _levels / 12.92, ((_levels + 0.055) / 1.055) ** 2.4).astype(np.float32)


class Overlay:
    """One object, or the faces of one of its slots, with a texture drawn over it."""

    def __init__(self, name: str, layer: str, slot: int | None = None) -> None:
        self.name = name
        self.layer = layer
        self.slot = slot
        self.batch: Any = None
        self.texture: Any = None


_overlays: dict[tuple[str, int | None], Overlay] = {}
_handler: Any = None


def show(name: str, layer: str, picture: Path, slot: int | None = None) -> bool:
    """Draw `picture` over the object `name` (or its faces in one slot), by its UV map `layer`. Returns whether it can
    be."""
    if bpy.app.background:
        return False
    texture = _texture(picture)
    if texture is None:
        return False
    overlay = _overlays.get((name, slot))
    if overlay is None or overlay.layer != layer:
        for key in [each for each in _overlays if each[0] == name and (each[1] is None or slot is None)]:
            del _overlays[key]  # a whole object and a part of it are never drawn over each other
        overlay = _overlays[name, slot] = Overlay(name, layer, slot)
    overlay.texture = texture
    _listen(True)
    return True


def clear() -> None:
    """Stop drawing over objects."""
    _overlays.clear()
    _listen(False)


def shapes_changed(depsgraph: bpy.types.Depsgraph) -> None:
    """The depsgraph was updated: objects that have another shape now are drawn with it."""
    if not _overlays:
        return
    for update in depsgraph.updates:
        if update.is_updated_geometry and isinstance(update.id, bpy.types.Object):
            for overlay in _overlays.values():
                if overlay.name == update.id.name:
                    overlay.batch = None


def shown() -> list[str]:
    """The objects that are drawn over."""
    return sorted({overlay.name for overlay in _overlays.values()})


def _listen(on: bool) -> None:
    global _handler
    if on and _handler is None:
        _handler = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW")
    elif not on and _handler is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_handler, "WINDOW")
        _handler = None


def _texture(path: Path) -> Any:
    """A picture on the graphics card. The image datablock lives for this call only."""
    try:
        image = bpy.data.images.load(str(path), check_existing=False)
    except RuntimeError:
        return None
    try:
        width, height = image.size
        if not (0 < width <= LARGEST and 0 < height <= LARGEST):
            return None
        pixels = np.empty(width * height * image.channels, np.float32)
        image.pixels.foreach_get(pixels)
        if image.channels != 4:
            return None
    finally:
        bpy.data.images.remove(image)
    pixels = LINEAR[(pixels * 255 + 0.5).astype(np.uint8)]
    return gpu.types.GPUTexture((width, height), format="RGBA16F", data=gpu.types.Buffer("FLOAT", pixels.size, pixels))


def _draw() -> None:
    context = bpy.context
    shader = gpu.shader.from_builtin("IMAGE")
    gpu.state.depth_test_set("LESS_EQUAL")
    gpu.state.face_culling_set("NONE")
    try:
        for overlay in list(_overlays.values()):
            thing = bpy.data.objects.get(overlay.name)
            if thing is None or thing.mode != "OBJECT" or not thing.visible_get(viewport=context.space_data):
                continue
            batch = _batch(overlay, thing, shader)
            if batch is None:
                continue
            shader.bind()
            shader.uniform_sampler("image", overlay.texture)
            with gpu.matrix.push_pop(), gpu.matrix.push_pop_projection():
                projection = gpu.matrix.get_projection_matrix()
                if abs(projection[3][3]) > 0.5:  # orthographic: depth is P22 z + P23
                    projection[2][3] -= NEARER
                else:  # perspective: depth is -P22 - P23 / z
                    projection[2][2] += NEARER
                gpu.matrix.load_projection_matrix(projection)
                gpu.matrix.multiply_matrix(thing.matrix_world)
                batch.draw(shader)
    finally:
        gpu.state.depth_test_set("NONE")


def _batch(overlay: Overlay, thing: bpy.types.Object, shader: Any) -> Any:
    """The evaluated triangles with their UVs."""
    if overlay.batch is not None:
        return overlay.batch
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.data
    if overlay.layer not in mesh.uv_layers:
        return None
    mesh.calc_loop_triangles()
    positions = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", positions)
    corners = np.empty(len(mesh.loop_triangles) * 3, np.int32)
    mesh.loop_triangles.foreach_get("vertices", corners)
    loops = np.empty(len(mesh.loop_triangles) * 3, np.int32)
    mesh.loop_triangles.foreach_get("loops", loops)
    if overlay.slot is not None:
        polygons = np.empty(len(mesh.loop_triangles), np.int32)
        mesh.loop_triangles.foreach_get("polygon_index", polygons)
        mine = np.repeat(slots_of(thing, mesh)[polygons] == overlay.slot, 3)
        corners, loops = corners[mine], loops[mine]
    uv = np.empty(len(mesh.loops) * 2, np.float32)
    mesh.uv_layers[overlay.layer].uv.foreach_get("vector", uv)
    overlay.batch = batch_for_shader(
        shader, "TRIS", {"pos": positions.reshape(-1, 3)[corners], "texCoord": uv.reshape(-1, 2)[loops]}
    )
    return overlay.batch


def register() -> None:
    pass


def unregister() -> None:
    clear()
