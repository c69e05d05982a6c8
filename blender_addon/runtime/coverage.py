# SPDX-License-Identifier: GPL-3.0-or-later
"""What share of the selection the chosen cameras see, measured by itself while nothing else is going on."""

import time
from collections.abc import Sequence

import bpy

from ..problems import Problem
from ..scene.cameras import chosen_cameras, chosen_views, left_to_engine
from ..scene.coverage import LARGEST_AUTOMATIC, Estimate, Surface
from ..scene.front import front_degrees
from ..scene.slots import active_slot
from .rows import redraw
from .state import current, enabled, wake

REST_SECONDS = 0.4  # after the last change before coverage is measured again


def touch_coverage() -> None:
    """Something that the cameras see may have changed: measure again after a moment of rest."""
    if enabled():
        current().coverage_due = time.monotonic() + REST_SECONDS
        wake()


def forget_coverage() -> None:
    """What was measured is void."""
    current().estimate = None
    current().coverage_key = ()
    current().blind = frozenset()


def measure_coverage(context: bpy.types.Context, objects: Sequence[bpy.types.Object]) -> None:
    """Begin to measure what the chosen cameras see of `objects`. Raises a Problem when there is nothing to measure."""
    if left_to_engine(context.scene):
        raise Problem("The engine chooses these cameras, so what they see is known when it runs.")
    views = chosen_views(context, objects, front_degrees(context, objects))
    surface = painted_surface(context, objects)
    current().blind = frozenset()
    current().estimate = Estimate(surface, views, context.scene.ddrep.texture.both_sides)
    current().coverage_key = coverage_key(context)
    current().coverage_due = 0.0  # all changes so far are in it, and so is the walk through an animation's frames
    wake()


def painted_surface(context: bpy.types.Context, objects: Sequence[bpy.types.Object]) -> Surface:
    """What a texture of `objects` would be painted on. Raises a Problem where there is nothing."""
    only = context.scene.ddrep.texture.material_target == "SLOT"
    slots = {thing.name: active_slot(thing) for thing in objects} if only else {}
    surface = Surface(objects, context.evaluated_depsgraph_get(), slots=slots)
    if not len(surface.points):
        raise Problem("The selection has no faces, so there is nothing for a camera to see.")
    return surface


def coverage_key(context: bpy.types.Context) -> tuple:
    """What coverage depends on, cheap to compare."""
    scene = context.scene
    settings = scene.ddrep.cameras
    render = scene.render
    meshes = sorted((thing for thing in context.selected_objects if thing.type == "MESH"), key=lambda each: each.name)
    texture = scene.ddrep.texture
    selection = tuple(
        (
            thing.name,
            tuple(map(tuple, thing.matrix_world)),
            len(thing.data.vertices),
            texture.material_target == "SLOT" and active_slot(thing),
        )
        for thing in meshes
    )
    cameras = tuple(
        (
            camera.name,
            tuple(map(tuple, camera.matrix_world)),
            camera.data.type,
            camera.data.angle,
            camera.data.ortho_scale,
            camera.data.shift_x,
            camera.data.shift_y,
            camera.data.sensor_fit,
            camera.ddrep.weight > 0,
            camera.ddrep.own_resolution and (camera.ddrep.width, camera.ddrep.height),
        )
        for camera in chosen_cameras(scene)
    )
    size = (render.resolution_x, render.resolution_y, render.pixel_aspect_x, render.pixel_aspect_y)
    orbit = (settings.source, settings.orbit_count, settings.orbit_low, settings.orbit_high, settings.frame_step)
    orbit = (*orbit, settings.placement, settings.orthographic)
    return selection, texture.both_sides, cameras, size, orbit, front_degrees(context, meshes)


def measuring() -> bool:
    """Whether a measurement is under way."""
    estimate = current().estimate
    return estimate is not None and not estimate.done


def step_coverage() -> None:
    """Measure for a few milliseconds, if there is something to measure."""
    context = bpy.context
    known = current()
    if known.coverage_due and time.monotonic() >= known.coverage_due:
        known.coverage_due = 0.0
        _begin_automatic(context)
        return  # to read the surface is enough for one slice
    estimate = known.estimate
    if estimate is None or estimate.done:
        return
    if estimate.step():
        window = context.window_manager.ddrep
        window.coverage, window.coverage_words = estimate.share, ""
        window.coverage_behind = estimate.behind_share
        known.blind = frozenset(estimate.blind)
        redraw()


def _begin_automatic(context: bpy.types.Context) -> None:
    scene = context.scene
    if scene is None or not scene.ddrep.cameras.automatic_coverage or context.mode != "OBJECT":
        return
    meshes = [thing for thing in context.selected_objects if thing.type == "MESH" and thing.visible_get()]
    if not meshes:
        _no_coverage("")
        return
    if scene.ddrep.cameras.source == "FRAMES":  # it would have to change the frame
        _no_coverage("Animated: press to measure")
        return
    if left_to_engine(scene):
        _no_coverage("The engine chooses the cameras")
        return
    depsgraph = context.evaluated_depsgraph_get()
    if sum(len(thing.evaluated_get(depsgraph).data.polygons) for thing in meshes) > LARGEST_AUTOMATIC:
        _no_coverage("Large mesh: press to measure")
        return
    if current().estimate is not None and coverage_key(context) == current().coverage_key:
        return
    try:
        measure_coverage(context, meshes)
    except Problem:  # the panel says beside the button what is wrong
        _no_coverage("")


def _no_coverage(words: str) -> None:
    forget_coverage()
    window = bpy.context.window_manager.ddrep
    window.coverage, window.coverage_behind, window.coverage_words = -1.0, 0.0, words
    redraw()
