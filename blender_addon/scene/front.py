# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way the objects face: words like "front view" are told from there, and an orbit begins there."""

import math
from collections.abc import Sequence

import bpy
from mathutils import Vector

WORLD_FRONTS = {"MINUS_Y": 0.0, "PLUS_X": 90.0, "PLUS_Y": 180.0, "MINUS_X": 270.0}
STEEP = math.radians(30.0)  # an axis this close to straight up or down points nowhere, seen from above


def front_degrees(context: bpy.types.Context, objects: Sequence[bpy.types.Object]) -> float:
    """Degrees around Z from -Y (0) towards +X (90), below 360, as the scene's settings say.

    Automatic: as the active object faces, or the first by name where the active one is not among `objects`.
    """
    setting = context.scene.ddrep.cameras.front
    if setting in WORLD_FRONTS:
        return WORLD_FRONTS[setting]
    if not objects:
        return 0.0
    active = context.view_layer.objects.active
    front = own_front(active if active in objects else min(objects, key=lambda thing: thing.name))
    return round(math.degrees(math.atan2(front.x, -front.y)), 4) % 360


def own_front(thing: bpy.types.Object) -> Vector:
    """Where an object's own front points in the world: its -Y, however it is turned or mirrored.

    Where that points up or down, the mesh may be one that was made Y-up and set upright: its own Y is up, and its front
    +Z. Of any other that lies on its face or its back nothing is known; it faces the world's -Y.
    """
    axes = thing.matrix_world.to_3x3()
    front, upright = -axes.col[1], axes.col[1].z > 0
    if not _steep(front):
        return front
    return axes.col[2] if upright and not _steep(axes.col[2]) else Vector((0.0, -1.0, 0.0))


def _steep(axis: Vector) -> bool:
    return axis.xy.length <= math.tan(STEEP) * abs(axis.z)
