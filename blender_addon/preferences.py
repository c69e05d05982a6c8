# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's preferences: the engine, where jobs are kept, the default prior."""

from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty

from . import __package__ as base_package
from . import changes
from .engine.environment import DEFAULT_SOURCE
from .ui.widgets import draw_problem, paragraph, width_of

HOME = Path.home() / "ddrep"


class DDREP_AP_preferences(bpy.types.AddonPreferences):
    bl_idname = base_package

    engine: StringProperty(
        name="Engine",
        description="The engine's environment (a folder), or its Python. Empty: not set up yet",
        subtype="FILE_PATH",
        update=changes.tell(changes.engine),
    )
    engine_folder: StringProperty(
        name="Set Up In",
        description="Where the private environment is made. It needs several GB",
        subtype="DIR_PATH",
        default=str(HOME / "engine"),
    )
    engine_source: StringProperty(
        name="Engine Source",
        description="What Set Up installs: the engine that came along, or the package that fits (as it is here at "
        "first), a wheel, the folder of a ddrep checkout, or an address (https://…/ddrep.whl, git+https://…)",
        default=DEFAULT_SOURCE,
    )
    engine_index: StringProperty(
        name="Extra Package Index",
        description="A further package index for the set-up, for instance one with builds for your graphics card",
    )
    runs_on: EnumProperty(
        name="Run On",
        description="Which machine does the work",
        items=(
            ("HERE", "This Machine", "The engine runs beside Blender"),
            ("SSH", "Another Machine", "The engine here sends each job to a machine by SSH, and fetches what it made"),
            ("SERVED", "Whoever Serves the Jobs", "Machines that see the jobs folder work it off: ddrep serve FOLDER"),
        ),
        default="HERE",
    )
    machine: StringProperty(
        name="Machine",
        description="USER@HOST, as for ssh; or USER@HOST:PORT/FOLDER, where jobs lie there. Your own keys "
        "and configuration of OpenSSH are used. The same version of ddrep must be installed there, and models are "
        "named as they are there",
    )
    jobs_folder: StringProperty(
        name="Jobs",
        description="Where jobs and their results are kept. The folder stays when the extension is removed",
        subtype="DIR_PATH",
        default=str(HOME / "jobs"),
        update=changes.tell(changes.jobs_folder),
    )
    prior: StringProperty(
        name="Default Prior",
        description="The image model to sample from: bundled, the folder of a diffusers model, or a hub id",
        default="bundled",
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        state = context.window_manager.ddrep
        width = width_of(context) - 14  # boxes in boxes, and a scroll bar

        box = layout.box()
        box.label(text="Engine", icon="MEMORY")
        row = box.row(align=True)
        row.prop(self, "engine")
        row.operator("ddrep.find_engine", text="", icon="VIEWZOOM")
        if state.engine_problem:
            draw_problem(box, state.engine_problem, width, without_fix=True)
        elif state.engine_words:
            paragraph(box, state.engine_words, icon="CHECKMARK", width=width)
        row = box.row(align=True)
        row.operator("ddrep.check_engine", icon="PLAY")
        row.operator("ddrep.set_up_engine", icon="IMPORT")
        if state.setup_fraction >= 0:
            row = box.row(align=True)
            row.progress(factor=state.setup_fraction, text=state.setup_words)
            row.operator("ddrep.cancel_set_up", text="", icon="X")
        elif state.setup_words:
            paragraph(box, state.setup_words, icon="INFO", width=width)
        if state.setup_words:
            box.operator("ddrep.open_set_up_log", icon="TEXT")
        column = box.column()
        column.prop(self, "engine_folder")
        column.prop(self, "engine_source")
        column.prop(self, "engine_index")
        if not bpy.app.online_access:
            words = (
                "Blender was started offline, so nothing can be downloaded. Start it without --offline-mode"
                if bpy.app.online_access_override
                else "Online access is off (System > Network), so nothing can be downloaded. The engine you have works"
            )
            paragraph(box, words, icon="INTERNET_OFFLINE", width=width)

        box = layout.box()
        box.label(text="Jobs", icon="FILE_FOLDER")
        box.prop(self, "jobs_folder")
        box.prop(self, "runs_on")
        if self.runs_on == "SSH":
            box.prop(self, "machine")
        box.prop(self, "prior")


def preferences() -> DDREP_AP_preferences:
    """The extension's preferences."""
    return bpy.context.preferences.addons[base_package].preferences


CLASSES = (DDREP_AP_preferences,)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
