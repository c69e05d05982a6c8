# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets of the settings of each task, kept where Blender keeps all presets. A preset holds no seed and no prompt."""

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

COMMON = (
    "negative_prompt",
    "samples",
    "diversity",
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
        "unlike_kept",
        "resolution",
        "space",
        "depth",
        "occluders",
        "both_sides",
        "detail",
        "uv_source",
        "uv_name",
        "material_target",
        "storage",
        "coverage_map",
    ),
    "generate": ("unlike_kept", "size", "faces", "grid", "views", "resolution"),
    "panorama": ("width", "hdr", "target", "strength"),
    "image": ("resolution", "target", "mapping", "repeat"),
}


def _classes(task: str) -> tuple[type, type, type]:
    """The menu, the operator that adds to it, and the popover of one task: Blender wants a class of each."""
    named = {"image": "tiling material"}.get(task, task)
    title, folder = f"{named.title()} Presets", f"ddrep/{task}"
    menu = type(
        f"DDREP_MT_{task}_presets",
        (bpy.types.Menu,),
        {
            "bl_label": title,
            "preset_subdir": folder,
            "preset_operator": "script.execute_preset",
            "draw": bpy.types.Menu.draw_preset,
        },
    )
    add = type(
        f"DDREP_OT_{task}_preset_add",
        (AddPresetBase, bpy.types.Operator),
        {
            "__doc__": f"Add or remove a preset of the {named} settings",
            "bl_idname": f"ddrep.{task}_preset_add",
            "bl_label": f"Add {named.title()} Preset",
            "preset_menu": menu.__name__,
            "preset_defines": [f"settings = bpy.context.scene.ddrep.{task}"],
            "preset_values": [f"settings.{name}" for name in (*COMMON, *OWN[task])],
            "preset_subdir": folder,
        },
    )
    popover = type(
        f"DDREP_PT_{task}_presets",
        (PresetPanel, bpy.types.Panel),
        {
            "bl_label": title,
            "preset_subdir": folder,
            "preset_operator": "script.execute_preset",
            "preset_add_operator": add.bl_idname,
        },
    )
    return menu, add, popover


_texture, _generate, _panorama = _classes("texture"), _classes("generate"), _classes("panorama")
_image = _classes("image")
DDREP_PT_texture_presets = _texture[2]
DDREP_PT_generate_presets = _generate[2]
DDREP_PT_panorama_presets = _panorama[2]
DDREP_PT_image_presets = _image[2]
CLASSES = (*_texture, *_generate, *_panorama, *_image)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
