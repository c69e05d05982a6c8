# SPDX-License-Identifier: GPL-3.0-or-later
"""The lists of cameras and of jobs."""

from typing import Any

import bpy

from .. import runtime

TASK_ICONS = {"texture": "TEXTURE", "generate": "MESH_MONKEY", "panorama": "WORLD", "image": "MATERIAL"}
STATE_ICONS = {
    "preparing": "SORTTIME",
    "waiting": "SORTTIME",
    "starting": "SORTTIME",
    "running": "PLAY",
    "cancelling": "PAUSE",
    "done": "CHECKMARK",
    "failed": "ERROR",
    "cancelled": "CANCEL",
}


class DDREP_UL_cameras(bpy.types.UIList):
    """The scene's cameras: used or not, and how much each counts."""

    def draw_item(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        data: Any,
        item: bpy.types.Object,
        icon: int,
        active_data: Any,
        active_property: str,
        index: int = 0,
        flt_flag: int = 0,
    ) -> None:
        settings = item.ddrep
        row = layout.row(align=True)
        row.prop(settings, "use", text="")
        used = row.row(align=True)
        used.active = settings.use
        usable = item.data.type in {"PERSP", "ORTHO"}
        blind = settings.use and runtime.enabled() and item.name in runtime.current().blind
        used.label(text=item.name, icon="ERROR" if not usable else "HIDE_ON" if blind else "OUTLINER_OB_CAMERA")
        facts = used.row(align=True)
        facts.alignment = "RIGHT"
        facts.label(text=f"{settings.weight:.3g}×")
        facts.label(text="", icon="OUTLINER_OB_FONT" if settings.prompt else "BLANK1")
        facts.label(text="", icon="VIEW_CAMERA" if context.scene.camera == item else "BLANK1")

    def filter_items(self, context: bpy.types.Context, data: Any, property: str) -> tuple[list[int], list[int]]:
        things = getattr(data, property)
        shown = [self.bitflag_filter_item if thing.type == "CAMERA" else 0 for thing in things]
        if self.filter_name:
            wanted = self.filter_name.lower()
            shown = [flag if wanted in thing.name.lower() else 0 for flag, thing in zip(shown, things, strict=True)]
        return shown, bpy.types.UI_UL_list.sort_items_by_name(things, "name")


class DDREP_UL_jobs(bpy.types.UIList):
    """The queue and its history, newest first."""

    def draw_item(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        data: Any,
        item: Any,
        icon: int,
        active_data: Any,
        active_property: str,
        index: int = 0,
        flt_flag: int = 0,
    ) -> None:
        row = layout.row(align=True)
        row.label(text=item.prompt or item.name, icon=TASK_ICONS.get(item.task, "FILE"))
        sub = row.row(align=True)
        sub.alignment = "RIGHT"
        if item.state == "running":
            sub.label(text=f"{item.fraction:.0%}")
        sub.label(text="", icon=STATE_ICONS.get(item.state, "QUESTION"))


CLASSES = (DDREP_UL_cameras, DDREP_UL_jobs)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
