# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets of the settings of each task, kept where Blender keeps all presets. A preset holds no seed and no prompt."""

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

COMMON = (
    "negative_prompt",
    "samples",
    "quality",
    "steps",
    "prior",
    "controlnet",
    "own_guidance",
    "guidance_scale",
    "own_eta",
    "eta",
    "device",
    "precision",
    "max_batch",
)
OWN = {
    "texture": (
        "resolution",
        "space",
        "depth",
        "occluders",
        "uv_source",
        "uv_name",
        "material_target",
        "storage",
        "coverage_map",
    ),
    "generate": ("size", "faces", "grid", "views", "resolution"),
    "panorama": ("width", "hdr", "target", "strength"),
}


def _values(task: str) -> list[str]:
    return [f"settings.{name}" for name in (*COMMON, *OWN[task])]


class DDREP_MT_texture_presets(bpy.types.Menu):
    bl_label = "Texture Presets"
    preset_subdir = "ddrep/texture"
    preset_operator = "script.execute_preset"
    draw = bpy.types.Menu.draw_preset


class DDREP_MT_generate_presets(bpy.types.Menu):
    bl_label = "Generate Presets"
    preset_subdir = "ddrep/generate"
    preset_operator = "script.execute_preset"
    draw = bpy.types.Menu.draw_preset


class DDREP_MT_panorama_presets(bpy.types.Menu):
    bl_label = "Panorama Presets"
    preset_subdir = "ddrep/panorama"
    preset_operator = "script.execute_preset"
    draw = bpy.types.Menu.draw_preset


class DDREP_OT_texture_preset_add(AddPresetBase, bpy.types.Operator):
    """Add or remove a preset of the texture settings"""

    bl_idname = "ddrep.texture_preset_add"
    bl_label = "Add Texture Preset"
    preset_menu = "DDREP_MT_texture_presets"
    preset_defines = ["settings = bpy.context.scene.ddrep.texture"]
    preset_values = _values("texture")
    preset_subdir = "ddrep/texture"


class DDREP_OT_generate_preset_add(AddPresetBase, bpy.types.Operator):
    """Add or remove a preset of the generate settings"""

    bl_idname = "ddrep.generate_preset_add"
    bl_label = "Add Generate Preset"
    preset_menu = "DDREP_MT_generate_presets"
    preset_defines = ["settings = bpy.context.scene.ddrep.generate"]
    preset_values = _values("generate")
    preset_subdir = "ddrep/generate"


class DDREP_OT_panorama_preset_add(AddPresetBase, bpy.types.Operator):
    """Add or remove a preset of the panorama settings"""

    bl_idname = "ddrep.panorama_preset_add"
    bl_label = "Add Panorama Preset"
    preset_menu = "DDREP_MT_panorama_presets"
    preset_defines = ["settings = bpy.context.scene.ddrep.panorama"]
    preset_values = _values("panorama")
    preset_subdir = "ddrep/panorama"


class DDREP_PT_texture_presets(PresetPanel, bpy.types.Panel):
    bl_label = "Texture Presets"
    preset_subdir = "ddrep/texture"
    preset_operator = "script.execute_preset"
    preset_add_operator = "ddrep.texture_preset_add"


class DDREP_PT_generate_presets(PresetPanel, bpy.types.Panel):
    bl_label = "Generate Presets"
    preset_subdir = "ddrep/generate"
    preset_operator = "script.execute_preset"
    preset_add_operator = "ddrep.generate_preset_add"


class DDREP_PT_panorama_presets(PresetPanel, bpy.types.Panel):
    bl_label = "Panorama Presets"
    preset_subdir = "ddrep/panorama"
    preset_operator = "script.execute_preset"
    preset_add_operator = "ddrep.panorama_preset_add"


CLASSES = (
    DDREP_MT_texture_presets,
    DDREP_MT_generate_presets,
    DDREP_MT_panorama_presets,
    DDREP_OT_texture_preset_add,
    DDREP_OT_generate_preset_add,
    DDREP_OT_panorama_preset_add,
    DDREP_PT_texture_presets,
    DDREP_PT_generate_presets,
    DDREP_PT_panorama_presets,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
