# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pieces of layout."""

import textwrap
from typing import Any

import bpy

from ..problems import Problem, decode


def paragraph(layout: bpy.types.UILayout, text: str, icon: str = "NONE", width: int = 38) -> None:
    """Text over as many lines as it needs: Blender's labels do not wrap."""
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(text, width) or [""]):
        column.label(text=line, icon=icon if number == 0 else ("NONE" if icon == "NONE" else "BLANK1"))


def width_of(context: bpy.types.Context) -> int:
    """About how many letters fit in a line of the region."""
    region = context.region
    if region is None:
        return 38
    scale = context.preferences.system.ui_scale
    return max(20, int((region.width / scale - 70) / 6.2))


def fix_button(layout: bpy.types.UILayout, problem: Problem) -> None:
    """The button that puts a problem right."""
    if not problem.fix.startswith("ddrep."):  # problems can come from a job's files: only our own operators
        return
    button = layout.operator(problem.fix, text=problem.label or "Fix", icon="TOOL_SETTINGS")
    for name, value in problem.arguments.items():
        if name in button.bl_rna.properties and isinstance(value, str | int | float | bool):
            setattr(button, name, value)


def draw_loras(layout: bpy.types.UILayout, settings: Any, task: str) -> None:
    """A row for each LoRA, and a button for more."""
    column = layout.column(align=True)
    for index, lora in enumerate(settings.loras):
        row = column.row(align=True)
        row.prop(lora, "file", text="")
        weight = row.row(align=True)
        weight.ui_units_x = 3.5
        weight.prop(lora, "weight", text="")
        remove = row.operator("ddrep.remove_lora", text="", icon="X")
        remove.task, remove.index = task, index
    column.operator("ddrep.add_lora", icon="ADD").task = task


def draw_controlnets(layout: bpy.types.UILayout, settings: Any, task: str) -> None:
    """Two rows for each ControlNet, and a button for more."""
    column = layout.column(align=True)
    for index, controlnet in enumerate(settings.controlnets):
        row = column.row(align=True)
        row.prop(controlnet, "folder", text="")
        remove = row.operator("ddrep.remove_controlnet", text="", icon="X")
        remove.task, remove.index = task, index
        row = column.row(align=True)
        row.prop(controlnet, "kind", text="")
        scale = row.row(align=True)
        scale.ui_units_x = 3.5
        scale.prop(controlnet, "scale", text="")
    column.operator("ddrep.add_controlnet", icon="ADD").task = task


def draw_reference(layout: bpy.types.UILayout, settings: Any) -> None:
    """The picture to look at; what it needs stands below it once there is one."""
    column = layout.column(align=True)
    column.label(text="Reference Picture")
    column.template_ID(settings, "reference", open="image.open")
    if settings.reference is not None:
        column.prop(settings, "reference_scale")
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(settings, "ip_adapter")
        column.prop(settings, "image_encoder")


def draw_problem(
    layout: bpy.types.UILayout, problem: Problem | str, width: int = 38, without_fix: bool = False
) -> None:
    """What is wrong, and the button that helps."""
    told = decode(problem) if isinstance(problem, str) else problem
    if told is None:
        return
    box = layout.box()
    paragraph(box, told.message, icon="ERROR", width=width)
    if told.fix and not without_fix:
        fix_button(box, told)
