# SPDX-License-Identifier: GPL-3.0-or-later
"""The LoRAs and ControlNets of a task: what bends the prior, in lists."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, IntProperty, StringProperty

from ..problems import Problem
from ..scene.adapters import require_controlnet
from .make import TASKS
from .telling import telling

MOST_LORAS, MOST_CONTROLNETS = 32, 8  # what a job takes
SHAPED = tuple(item for item in TASKS if item[0] in {"texture", "generate"})


class DDREP_OT_add_lora(bpy.types.Operator):
    """Add LoRA files to the list: they bend the prior towards a style or a thing"""

    bl_idname = "ddrep.add_lora"
    bl_label = "Add LoRA"
    bl_options = {"REGISTER", "UNDO"}

    task: EnumProperty(name="Task", description="Whose list", items=TASKS, default="texture")
    directory: StringProperty(name="Folder", description="Where the files are", subtype="DIR_PATH")
    files: CollectionProperty(
        name="Files", description="The files in it", type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE"}
    )
    filter_glob: StringProperty(default="*.safetensors", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        loras = getattr(context.scene.ddrep, self.task).loras
        names = [element.name for element in self.files if element.name]
        if not names:
            raise Problem("No LoRA file was chosen.")
        if wrong := [name for name in names if not name.lower().endswith(".safetensors")]:
            raise Problem(f"{wrong[0]} is no .safetensors file; others can run code when they are opened.")
        if len(loras) + len(names) > MOST_LORAS:
            raise Problem(f"A job takes {MOST_LORAS} LoRAs at most.")
        for name in names:
            loras.add().file = str(Path(self.directory) / name)
        return {"FINISHED"}


class DDREP_OT_remove_lora(bpy.types.Operator):
    """Take this LoRA off the list; its file stays where it is"""

    bl_idname = "ddrep.remove_lora"
    bl_label = "Remove LoRA"
    bl_options = {"REGISTER", "UNDO"}

    task: EnumProperty(name="Task", description="Whose list", items=TASKS, default="texture")
    index: IntProperty(name="Index", description="Which of them", min=0)

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        loras = getattr(context.scene.ddrep, self.task).loras
        if self.index >= len(loras):
            raise Problem("That LoRA is not in the list any more.")
        loras.remove(self.index)
        return {"FINISHED"}


class DDREP_OT_add_controlnet(bpy.types.Operator):
    """Add a ControlNet to the list, a folder in diffusers' format: it is shown the shape"""

    bl_idname = "ddrep.add_controlnet"
    bl_label = "Add ControlNet"
    bl_options = {"REGISTER", "UNDO"}

    task: EnumProperty(name="Task", description="Whose list", items=SHAPED, default="texture")
    directory: StringProperty(name="Folder", description="The ControlNet's folder", subtype="DIR_PATH")
    filter_folder: BoolProperty(default=True, options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        controlnets = getattr(context.scene.ddrep, self.task).controlnets
        if not self.directory.strip():
            raise Problem("No folder was chosen. Choose the ControlNet's.")
        require_controlnet(Path(bpy.path.abspath(self.directory)))
        if len(controlnets) >= MOST_CONTROLNETS:
            raise Problem(f"A job takes {MOST_CONTROLNETS} ControlNets at most. Take one off the list first.")
        controlnets.add().folder = self.directory
        return {"FINISHED"}


class DDREP_OT_remove_controlnet(bpy.types.Operator):
    """Take this ControlNet off the list; its folder stays where it is"""

    bl_idname = "ddrep.remove_controlnet"
    bl_label = "Remove ControlNet"
    bl_options = {"REGISTER", "UNDO"}

    task: EnumProperty(name="Task", description="Whose list", items=SHAPED, default="texture")
    index: IntProperty(name="Index", description="Which of them", min=0)

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        controlnets = getattr(context.scene.ddrep, self.task).controlnets
        if self.index >= len(controlnets):
            raise Problem("That ControlNet is not in the list any more.")
        controlnets.remove(self.index)
        return {"FINISHED"}


CLASSES = (DDREP_OT_add_lora, DDREP_OT_remove_lora, DDREP_OT_add_controlnet, DDREP_OT_remove_controlnet)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
