# SPDX-License-Identifier: GPL-3.0-or-later
"""Other words for a result: it changes, and stays itself."""

import bpy
from bpy.props import FloatProperty, StringProperty

from .. import runtime
from ..problems import Problem
from ..runtime.engine import require_engine
from ..scene.edit_draft import edit_draft
from .results import OnSample
from .telling import tell, telling


class DDREP_OT_edit_sample(OnSample, bpy.types.Operator):
    """Change this result by other words, and keep the rest of it. A new job; the result itself stays"""

    bl_idname = "ddrep.edit_sample"
    bl_label = "Edit"
    bl_options = {"REGISTER", "INTERNAL"}

    prompt: StringProperty(name="Becomes", description="What it should show, in words", options={"SKIP_SAVE"})
    source_prompt: StringProperty(
        name="Is Now", description="What it shows now, in words; the difference to these is what changes",
        options={"SKIP_SAVE"},
    )  # fmt: skip
    strength: FloatProperty(
        name="Strength", description="How much may change", default=1.0, min=0.05, max=1.0, subtype="FACTOR"
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            job, _ = self.found()
        except Problem as problem:
            return tell(self, context, problem)
        self.source_prompt = self.prompt = job.prompt
        return context.window_manager.invoke_props_dialog(self, width=420)

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        job, sample = self.found()
        require_engine()
        runtime.queue(edit_draft(job.folder, sample, self.prompt, self.source_prompt or job.prompt, self.strength))
        self.report({"INFO"}, "The edit is in the queue. Go on working")
        return {"FINISHED"}


CLASSES = (DDREP_OT_edit_sample,)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
