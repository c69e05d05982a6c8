"""Runs in Blender: a figure, a box, two cameras and a light into scene.blend; the engine into the preferences."""

import os
import sys
from pathlib import Path

import bpy
from mathutils import Vector

WORK = Path(os.environ["DDREP_TEST_FOLDER"])

for thing in list(bpy.data.objects):
    if thing.type != "LIGHT":
        bpy.data.objects.remove(thing)
bpy.ops.wm.obj_import(filepath=str(WORK / "figure.obj"))
figure = bpy.context.object
figure.name = "Figure"
figure.scale = [each / max(figure.dimensions) for each in figure.scale]
bpy.ops.mesh.primitive_cube_add(size=0.7, location=(1.4, 0, 0))
bpy.context.object.name = "Box"
scene = bpy.context.scene
for name, place in (("Front", (0.6, -4.5, 1.5)), ("Side", (-3.2, 2.5, 2))):
    camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    camera.location = place
    camera.rotation_euler = (Vector((0.6, 0, 0)) - camera.location).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(camera)
    scene.camera = camera
scene.render.resolution_x = scene.render.resolution_y = 96
addon = sys.modules["bl_ext.user_default.ddrep"]
addon.preferences.preferences().engine = os.environ["DDREP_TEST_ENGINE"]
addon.preferences.preferences().jobs_folder = str(WORK / "jobs")
bpy.ops.wm.save_userpref()
bpy.ops.wm.save_as_mainfile(filepath=str(WORK / "scene.blend"))
