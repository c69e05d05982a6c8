# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons that errors carry. Each does one plain thing, and can be undone."""

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from .. import __package__ as base_package
from ..problems import Problem
from ..scene.draft import require_object_mode
from ..scene.meshes import no_base_faces, no_faces, require_own
from .telling import telling


class _OnObject:
    """An operator on one object, by its name."""

    object_name: StringProperty(name="Object", description="The object's name", options={"SKIP_SAVE"})

    def found(self) -> bpy.types.Object:
        """The object. Raises a Problem where there is none, or it can't be got at."""
        thing = bpy.context.scene.objects.get(self.object_name)
        if thing is None:
            raise Problem(f"There is no object '{self.object_name}' any more.")
        if thing.name not in bpy.context.view_layer.objects:
            raise Problem(
                f"'{thing.name}' is in a collection that is excluded from this view layer. Tick that collection in the "
                "Outliner first."
            )
        return thing

    def found_mesh(self) -> bpy.types.Object:
        """The object, which is a mesh of this file's own. Raises a Problem where it is not."""
        thing = self.found()
        if thing.type != "MESH":
            raise Problem(f"'{thing.name}' is not a mesh.")
        require_own(thing)
        return thing


class DDREP_OT_open_preferences(bpy.types.Operator):
    """Open this extension's preferences"""

    bl_idname = "ddrep.open_preferences"
    bl_label = "Open the Preferences"
    bl_options = {"REGISTER", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not bpy.app.background:
            bpy.ops.preferences.addon_show(module=base_package)
        return {"FINISHED"}


class DDREP_OT_use_orbit(bpy.types.Operator):
    """Look from an orbit around the selection instead of the scene's cameras"""

    bl_idname = "ddrep.use_orbit"
    bl_label = "Use an Orbit"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.ddrep.cameras.source = "ORBIT"
        return {"FINISHED"}


class DDREP_OT_leave_camera_out(bpy.types.Operator):
    """Untick this camera"""

    bl_idname = "ddrep.leave_camera_out"
    bl_label = "Leave the Camera Out"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    camera: StringProperty(name="Camera", description="The camera's name", options={"SKIP_SAVE"})

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        camera = context.scene.objects.get(self.camera)
        if camera is None:
            raise Problem(f"There is no camera '{self.camera}' any more.")
        camera.ddrep.use = False
        if context.scene.ddrep.cameras.source in {"ACTIVE", "FRAMES"}:
            context.scene.ddrep.cameras.source = "SCENE"
        return {"FINISHED"}


class DDREP_OT_set_frame_step(bpy.types.Operator):
    """Use fewer frames of the animation"""

    bl_idname = "ddrep.set_frame_step"
    bl_label = "Use Fewer Frames"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    step: IntProperty(name="Every", description="Use every n-th frame", default=10, min=1)

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.ddrep.cameras.frame_step = self.step
        return {"FINISHED"}


class DDREP_OT_leave_mode(bpy.types.Operator):
    """Go back to Object Mode"""

    bl_idname = "ddrep.leave_mode"
    bl_label = "Object Mode"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if context.mode != "OBJECT":
            bpy.ops.object.mode_set(mode="OBJECT")
        return {"FINISHED"}


class DDREP_OT_show_object(_OnObject, bpy.types.Operator):
    """Show this hidden object"""

    bl_idname = "ddrep.show_object"
    bl_label = "Show the Object"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        thing = self.found()
        thing.hide_viewport = False
        thing.hide_set(False)
        return {"FINISHED"}


class DDREP_OT_deselect(_OnObject, bpy.types.Operator):
    """Deselect this object"""

    bl_idname = "ddrep.deselect"
    bl_label = "Deselect the Object"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        self.found().select_set(False)
        return {"FINISHED"}


class DDREP_OT_make_local(_OnObject, bpy.types.Operator):
    """Make this object and its mesh this file's own. The library's file is not changed"""

    bl_idname = "ddrep.make_local"
    bl_label = "Make Local"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        thing = self.found().make_local(clear_liboverride=True)
        if thing.data is not None and (thing.data.library is not None or thing.data.override_library is not None):
            thing.data.make_local(clear_liboverride=True)
        thing.select_set(True)
        return {"FINISHED"}


class DDREP_OT_make_single_user(_OnObject, bpy.types.Operator):
    """Give this object a mesh of its own, a copy of the one it shares"""

    bl_idname = "ddrep.make_single_user"
    bl_label = "Own Mesh"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        thing = self.found_mesh()
        thing.data = thing.data.copy()
        return {"FINISHED"}


class DDREP_OT_turn_modifier_off(_OnObject, bpy.types.Operator):
    """Turn this modifier off in the viewport, so that the mesh below it is textured"""

    bl_idname = "ddrep.turn_modifier_off"
    bl_label = "Turn the Modifier Off"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    modifier: StringProperty(name="Modifier", description="The modifier's name", options={"SKIP_SAVE"})

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        modifier = self.found().modifiers.get(self.modifier)
        if modifier is None:
            raise Problem(f"There is no modifier '{self.modifier}' any more.")
        modifier.show_viewport = False
        return {"FINISHED"}


class DDREP_OT_unwrap(_OnObject, bpy.types.Operator):
    """Add a UV map to this mesh with Smart UV Project"""

    bl_idname = "ddrep.unwrap"
    bl_label = "Unwrap"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        require_object_mode(context)
        thing = self.found_mesh()
        if not thing.data.polygons:
            raise no_base_faces(thing) if thing.modifiers else no_faces(thing)
        if thing.data.library is not None:
            raise Problem(
                f"The mesh of '{thing.name}' is linked from another file. Make it local first.",
                "ddrep.make_local",
                f"Make '{thing.name}' local",
                object_name=thing.name,
            )
        if not thing.visible_get():
            raise Problem(
                f"'{thing.name}' is hidden. Show it first.",
                "ddrep.show_object",
                f"Show '{thing.name}'",
                object_name=thing.name,
            )
        layer_objects = context.view_layer.objects
        active, selected = layer_objects.active, list(context.selected_objects)
        try:
            for other in selected:
                other.select_set(False)
            thing.select_set(True)
            layer_objects.active = thing
            bpy.ops.object.mode_set(mode="EDIT")
            bpy.ops.mesh.select_all(action="SELECT")
            bpy.ops.uv.smart_project()
        finally:
            if thing.mode != "OBJECT":
                bpy.ops.object.mode_set(mode="OBJECT")
            thing.select_set(False)
            for other in selected:
                other.select_set(True)
            layer_objects.active = active
        return {"FINISHED"}


class DDREP_OT_apply_modifiers(_OnObject, bpy.types.Operator):
    """Make what this object's modifiers show its own mesh. Other objects that share its mesh keep theirs"""

    bl_idname = "ddrep.apply_modifiers"
    bl_label = "Apply the Modifiers"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        require_object_mode(context)
        thing = self.found_mesh()
        depsgraph = context.evaluated_depsgraph_get()
        evaluated = thing.evaluated_get(depsgraph)
        mesh = bpy.data.meshes.new_from_object(evaluated, preserve_all_data_layers=True, depsgraph=depsgraph)
        if not mesh.polygons:
            bpy.data.meshes.remove(mesh)
            raise no_faces(thing)
        for material in list(thing.data.materials)[len(mesh.materials) :]:
            mesh.materials.append(material)
        mesh.name = thing.data.name
        thing.data = mesh
        for modifier in [each for each in thing.modifiers if each.show_viewport]:
            thing.modifiers.remove(modifier)
        return {"FINISHED"}


class DDREP_OT_set_uv_source(bpy.types.Operator):
    """Choose another UV map for the texture"""

    bl_idname = "ddrep.set_uv_source"
    bl_label = "Choose the UV Map"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    source: EnumProperty(
        name="UV Map",
        description="Which UV map",
        items=(("ACTIVE", "Active", "Each object's active one"), ("NEW", "New", "A new one")),
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.ddrep.texture.uv_source = self.source
        return {"FINISHED"}


class DDREP_OT_set_material_target(bpy.types.Operator):
    """Choose what gets a picture: the whole object, or its material slots"""

    bl_idname = "ddrep.set_material_target"
    bl_label = "Choose What Gets a Picture"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    target: EnumProperty(
        name="Into",
        description="What gets a picture",
        items=(("OBJECT", "Whole Object", "One for all slots"), ("SLOTS", "Each Slot", "One for each slot")),
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.ddrep.texture.material_target = self.target
        return {"FINISHED"}


class DDREP_OT_pack_textures(bpy.types.Operator):
    """Keep textures in the .blend"""

    bl_idname = "ddrep.pack_textures"
    bl_label = "Keep Textures in the .blend"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.ddrep.texture.storage = "PACK"
        return {"FINISHED"}


class DDREP_OT_dismiss(bpy.types.Operator):
    """Clear this message"""

    bl_idname = "ddrep.dismiss"
    bl_label = "Dismiss"
    bl_options = {"REGISTER", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.ddrep.problem = context.window_manager.ddrep.warnings = ""
        return {"FINISHED"}


CLASSES = (
    DDREP_OT_open_preferences,
    DDREP_OT_use_orbit,
    DDREP_OT_leave_camera_out,
    DDREP_OT_set_frame_step,
    DDREP_OT_leave_mode,
    DDREP_OT_show_object,
    DDREP_OT_deselect,
    DDREP_OT_make_local,
    DDREP_OT_make_single_user,
    DDREP_OT_turn_modifier_off,
    DDREP_OT_unwrap,
    DDREP_OT_apply_modifiers,
    DDREP_OT_set_uv_source,
    DDREP_OT_set_material_target,
    DDREP_OT_pack_textures,
    DDREP_OT_dismiss,
)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
