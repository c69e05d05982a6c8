# SPDX-License-Identifier: GPL-3.0-or-later
"""The LoRAs of a task: files that bend the prior, in a list."""

from pathlib import Path

import bpy
from bpy.props import CollectionProperty, EnumProperty, IntProperty, StringProperty

from ..problems import Problem
from .make import TASKS
from .telling import telling

MOST_LORAS = 32  # what a job takes


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


CLASSES = (DDREP_OT_add_lora, DDREP_OT_remove_lora)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
