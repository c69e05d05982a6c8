# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding, setting up and checking the engine."""

from pathlib import Path

import bpy

from .. import __package__ as base_package
from .. import runtime
from ..engine.environment import SetUp, candidates, engine_source
from ..preferences import preferences
from ..problems import Problem, disk_problem
from .telling import telling


def set_up_log() -> Path:
    """Where the log of the last set-up is kept."""
    return Path(bpy.utils.extension_path_user(base_package, path="logs", create=True)) / "set_up.log"


class DDREP_OT_find_engine(bpy.types.Operator):
    """Look for an engine in the usual places: the one set up here, and the ddrep command"""

    bl_idname = "ddrep.find_engine"
    bl_label = "Find the Engine"
    bl_options = {"REGISTER", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        found = candidates(Path(bpy.path.abspath(preferences().engine_folder)).expanduser())
        if not found:
            raise Problem(
                "No engine was found on this machine. Set one up.", "ddrep.set_up_engine", "Set up the engine"
            )
        preferences().engine = str(found[0])
        runtime.check_engine()
        self.report({"INFO"}, f"Found {found[0]}")
        return {"FINISHED"}


class DDREP_OT_check_engine(bpy.types.Operator):
    """Ask the engine what this machine can do"""

    bl_idname = "ddrep.check_engine"
    bl_label = "Check the Engine"
    bl_options = {"REGISTER", "INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not preferences().engine.strip():
            cls.poll_message_set("There is no engine yet: choose one above, or set one up")
            return False
        return True

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        runtime.forget_engine()
        runtime.check_engine()
        return {"FINISHED"}


class DDREP_OT_set_up_engine(bpy.types.Operator):
    """Make a private environment and install the engine in it. Downloads a few GB; Blender stays free meanwhile"""

    bl_idname = "ddrep.set_up_engine"
    bl_label = "Set Up the Engine"
    bl_options = {"REGISTER", "INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not bpy.app.online_access:
            cls.poll_message_set(
                "Blender was started offline"
                if bpy.app.online_access_override
                else "Allow online access first: Preferences > System > Network"
            )
            return False
        if runtime.current().set_up is not None:
            cls.poll_message_set("The set-up is running")
            return False
        return True

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        chosen = preferences()
        if not chosen.engine_folder.strip():
            raise Problem("Say in which folder the engine is set up.")
        folder = Path(bpy.path.abspath(chosen.engine_folder)).expanduser()
        source = engine_source(bpy.path.abspath(chosen.engine_source))
        try:
            runtime.current().set_up = SetUp(folder, source, chosen.engine_index.strip(), set_up_log())
        except OSError as error:
            raise disk_problem(error, folder) from error
        runtime.wake()
        self.report({"INFO"}, "Setting up the engine. The preferences show how far it is")
        return {"FINISHED"}


class DDREP_OT_cancel_set_up(bpy.types.Operator):
    """Stop the set-up"""

    bl_idname = "ddrep.cancel_set_up"
    bl_label = "Stop the Set-Up"
    bl_options = {"REGISTER", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if runtime.current().set_up is not None:
            runtime.current().set_up.cancel()
        return {"FINISHED"}


class DDREP_OT_open_set_up_log(bpy.types.Operator):
    """Open the log of the last set-up"""

    bl_idname = "ddrep.open_set_up_log"
    bl_label = "Open the Log"
    bl_options = {"REGISTER", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        if not set_up_log().is_file():
            raise Problem("There is no log yet.")
        bpy.ops.wm.path_open(filepath=str(set_up_log()))
        return {"FINISHED"}


CLASSES = (
    DDREP_OT_find_engine,
    DDREP_OT_check_engine,
    DDREP_OT_set_up_engine,
    DDREP_OT_cancel_set_up,
    DDREP_OT_open_set_up_log,
)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
