# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras: what they see, and one more where none looks."""

import bpy
import numpy as np
from bpy.props import BoolProperty
from mathutils import Matrix

from .. import runtime
from ..problems import Problem
from ..scene.cameras import ORBIT_FIELD_OF_VIEW, scene_cameras
from ..scene.coverage import Estimate, best_new_view
from .telling import telling


def selected_meshes(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The meshes that cameras are asked about. Raises a Problem when there are none."""
    meshes = [thing for thing in context.selected_objects if thing.type == "MESH" and thing.visible_get()]
    if not meshes:
        raise Problem("Nothing is selected. Select the meshes that the cameras should see.")
    return meshes


def finished_estimate(context: bpy.types.Context) -> Estimate:
    """What the chosen cameras see of the selection; measured to the end."""
    known = runtime.current()
    if known.estimate is None or known.coverage_key != runtime.coverage_key(context):
        runtime.measure_coverage(context, selected_meshes(context))
    estimate = known.estimate
    assert estimate is not None
    while not estimate.step(1.0):
        pass
    return estimate


class DDREP_OT_measure_coverage(bpy.types.Operator):
    """Measure what share of the selected surface the chosen cameras see"""

    bl_idname = "ddrep.measure_coverage"
    bl_label = "Measure"
    bl_options = {"REGISTER", "INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.mode != "OBJECT":
            cls.poll_message_set("Go back to Object Mode first")
            return False
        if not any(thing.type == "MESH" for thing in context.selected_objects):
            cls.poll_message_set("Select the meshes that the cameras should see")
            return False
        return True

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        runtime.measure_coverage(context, selected_meshes(context))
        return {"FINISHED"}


class DDREP_OT_add_camera(bpy.types.Operator):
    """Add a camera to the scene that looks at what no chosen camera sees of the selection"""

    bl_idname = "ddrep.add_camera"
    bl_label = "Add a Camera Where None Looks"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.mode != "OBJECT":
            cls.poll_message_set("Go back to Object Mode first")
            return False
        if not any(thing.type == "MESH" for thing in context.selected_objects):
            cls.poll_message_set("Select the meshes that the cameras should see")
            return False
        if context.scene.ddrep.cameras.source != "SCENE":
            cls.poll_message_set("Choose the scene's cameras above; this adds one to them")
            return False
        return True

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = context.scene
        meshes = selected_meshes(context)
        if any(camera.ddrep.use for camera in scene_cameras(scene)):
            estimate = finished_estimate(context)
            surface, seen = estimate.surface, estimate.seen.any(axis=0)
        else:
            from ..scene.coverage import Surface

            surface = Surface(meshes, context.evaluated_depsgraph_get())
            seen = np.zeros(len(surface.points), bool)
        found = best_new_view(surface, seen, meshes)
        if found is None:
            raise Problem("No place was found from which a camera would see more: the rest is hidden inside.")
        view, gained = found
        data = bpy.data.cameras.new("DDRep Camera")
        data.sensor_fit = "HORIZONTAL" if scene.render.resolution_x <= scene.render.resolution_y else "VERTICAL"
        data.angle = ORBIT_FIELD_OF_VIEW
        distance = float(np.linalg.norm(view.matrix_world[:3, 3] - surface.points.mean(axis=0)))
        data.clip_start, data.clip_end = max(distance * 0.01, 1e-4), max(distance * 10, 100.0)
        camera = bpy.data.objects.new("DDRep Camera", data)
        camera.matrix_world = Matrix(view.matrix_world.tolist())
        scene.collection.objects.link(camera)
        runtime.touch_coverage()
        self.report({"INFO"}, f"The new camera sees {gained:.0%} of the surface that none saw")
        return {"FINISHED"}


class DDREP_OT_use_all_cameras(bpy.types.Operator):
    """Tick or untick all of the scene's cameras"""

    bl_idname = "ddrep.use_all_cameras"
    bl_label = "Use All Cameras"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    use: BoolProperty(name="Use", description="Whether to use them", default=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
        for camera in scene_cameras(context.scene):
            camera.ddrep.use = self.use
        return {"FINISHED"}


CLASSES = (DDREP_OT_measure_coverage, DDREP_OT_add_camera, DDREP_OT_use_all_cameras)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
