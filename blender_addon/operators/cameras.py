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
from ..scene.draft import require_object_mode
from .telling import allowed, telling


def require_meshes(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The meshes that cameras are asked about. Raises a Problem when there are none, or they are being edited."""
    require_object_mode(context)
    meshes = [thing for thing in context.selected_objects if thing.type == "MESH" and thing.visible_get()]
    if not meshes:
        raise Problem("Select the meshes that the cameras should see.")
    return meshes


def require_scene_cameras(context: bpy.types.Context) -> None:
    """Raises a Problem where a camera added to the scene would not be used."""
    if context.scene.ddrep.cameras.source != "SCENE":
        raise Problem("Choose the scene's cameras above; this adds one to them.")


def finished_estimate(context: bpy.types.Context) -> Estimate:
    """What the chosen cameras see of the selection; measured to the end."""
    known = runtime.current()
    if known.estimate is None or known.coverage_key != runtime.coverage_key(context):
        runtime.measure_coverage(context, require_meshes(context))
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
        return allowed(cls, lambda: require_meshes(context))

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        runtime.measure_coverage(context, require_meshes(context))
        return {"FINISHED"}


class DDREP_OT_add_camera(bpy.types.Operator):
    """Add a camera to the scene that looks at what no chosen camera sees of the selection"""

    bl_idname = "ddrep.add_camera"
    bl_label = "Add a Camera Where None Looks"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return allowed(cls, lambda: (require_meshes(context), require_scene_cameras(context)))

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = context.scene
        meshes = require_meshes(context)
        if any(camera.ddrep.use for camera in scene_cameras(scene)):
            estimate = finished_estimate(context)
            surface, seen = estimate.surface, estimate.painted
        else:
            surface = runtime.painted_surface(context, meshes)
            seen = np.zeros(len(surface.points), bool)
        found = best_new_view(surface, seen, meshes, both_sides=scene.ddrep.texture.both_sides)
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


class DDREP_OT_leave_blind_out(bpy.types.Operator):
    """Untick the cameras that see nothing of the selection"""

    bl_idname = "ddrep.leave_blind_out"
    bl_label = "Leave Them Out"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        if runtime.current().coverage_key != runtime.coverage_key(context):
            raise Problem(
                "Something has changed since it was measured what the cameras see.",
                "ddrep.measure_coverage",
                "Measure again",
            )
        blind = [each for each in scene_cameras(context.scene) if each.name in runtime.current().blind]
        if not any(each.ddrep.use for each in blind):
            raise Problem("Every ticked camera sees something, as far as it was measured.")
        for camera in blind:
            camera.ddrep.use = False
        return {"FINISHED"}


CLASSES = (DDREP_OT_measure_coverage, DDREP_OT_add_camera, DDREP_OT_use_all_cameras, DDREP_OT_leave_blind_out)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
