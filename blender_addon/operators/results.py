# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing results in, switching among samples, keeping and discarding. Each is one undo step."""

import bpy
from bpy.props import IntProperty, StringProperty

from .. import runtime
from ..engine.manager import Job
from ..problems import Problem
from ..results import objects, panorama, textures
from ..results.bring_in import bring_in, made_from
from ..results.outcome import SampleResult, read_samples
from .telling import telling


class OnSample:
    """An operator on one sample of one job."""

    job: StringProperty(name="Job", description="The job's name", options={"SKIP_SAVE"})
    sample: IntProperty(
        name="Sample", description="Which of the job's samples", default=0, min=0, options={"SKIP_SAVE"}
    )

    def found(self) -> tuple[Job, SampleResult]:
        """The job and the sample. Raises a Problem where there is none."""
        job = runtime.job_named(self.job)
        samples = read_samples(job.folder)
        if not 0 <= self.sample < len(samples):
            raise Problem(f"This job has {len(samples)} samples, and no number {self.sample + 1}.")
        return job, samples[self.sample]


class DDREP_OT_bring_in(OnSample, bpy.types.Operator):
    """Put this result into the scene (again)"""

    bl_idname = "ddrep.bring_in"
    bl_label = "Bring In"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.mode != "OBJECT":
            cls.poll_message_set("Go back to Object Mode first")
            return False
        return True

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        job, sample = self.found()
        try:
            words = bring_in(context, job, sample)
        except Problem as problem:
            job.problem = problem
            runtime.current().manager.changed = True
            raise
        job.imported, job.problem = True, None
        job.folder.update_scene(imported=True)
        runtime.current().manager.changed = True
        runtime.wake()
        self.report({"INFO"}, words)
        return {"FINISHED"}


class DDREP_OT_bring_in_all(bpy.types.Operator):
    """Put the results of all finished jobs of this file into the scene, one after the other"""

    bl_idname = "ddrep.bring_in_all"
    bl_label = "Bring All In"
    bl_options = {"REGISTER", "INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not runtime.still_out():
            cls.poll_message_set("Everything that is done is in the scene")
            return False
        return True

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        self.report({"INFO"}, f"{runtime.bring_in_all()} results come in")
        return {"FINISHED"}


class DDREP_OT_show_original(OnSample, bpy.types.Operator):
    """Show what was there before: the objects' own materials, or the scene's own world"""

    bl_idname = "ddrep.show_original"
    bl_label = "Original"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        job = runtime.job_named(self.job)
        if job.task == "panorama":
            panorama.bring_back_original(context.scene)
        for thing in bpy.data.objects:
            if thing.ddrep.job == job.name and thing.type == "MESH":
                textures.bring_back_original(thing)
        return {"FINISHED"}


class DDREP_OT_keep_sample(OnSample, bpy.types.Operator):
    """Keep this sample's material (or world) in the file even when nothing shows it, as a variant to switch to"""

    bl_idname = "ddrep.keep_sample"
    bl_label = "Keep"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        job, sample = self.found()
        blocks = made_from(job, sample)
        if not blocks:
            bring_in(context, job, sample)
            blocks = made_from(job, sample)
        keep = not all(block.use_fake_user for block in blocks)
        for block in blocks:
            block.use_fake_user = keep
        self.report({"INFO"}, "Kept in the file" if keep else "Kept only while it is shown")
        return {"FINISHED"}


class DDREP_OT_discard_sample(OnSample, bpy.types.Operator):
    """Remove this sample from the file and from the gallery. The job's folder keeps it"""

    bl_idname = "ddrep.discard_sample"
    bl_label = "Discard"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        job, sample = self.found()
        textures.discard(job.folder, sample.number)
        panorama.discard(job.folder, sample.number)
        objects.discard(job.folder, sample.number)
        hidden = [each for each in job.folder.scene().get("discarded", []) if isinstance(each, int)]
        job.folder.update_scene(discarded=sorted({*hidden, sample.number}))
        runtime.current().discarded.pop(job.name, None)
        return {"FINISHED"}


class DDREP_OT_restore_samples(bpy.types.Operator):
    """Put this job's discarded samples back into the gallery"""

    bl_idname = "ddrep.restore_samples"
    bl_label = "Bring Discarded Back"
    bl_options = {"REGISTER", "INTERNAL"}

    job: StringProperty(name="Job", description="The job's name", options={"SKIP_SAVE"})

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        job = runtime.job_named(self.job)
        job.folder.update_scene(discarded=[])
        runtime.current().discarded.pop(job.name, None)
        return {"FINISHED"}


class DDREP_OT_mark_asset(OnSample, bpy.types.Operator):
    """Mark this sample's material, object or world as an asset, with its picture and prompt"""

    bl_idname = "ddrep.mark_asset"
    bl_label = "Mark as Asset"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        job, sample = self.found()
        blocks = made_from(job, sample)
        if not blocks:
            raise Problem(
                "This sample is not in the file yet. Bring it in first.",
                "ddrep.bring_in",
                "Bring it in",
                job=job.name,
                sample=sample.number,
            )
        for block in blocks:
            block.asset_mark()
            block.asset_data.description = job.prompt[:500]
            block.asset_data.author = "DDRep"
            if sample.picture is not None:
                with context.temp_override(id=block):
                    bpy.ops.ed.lib_id_load_custom_preview(filepath=str(sample.picture))
        self.report({"INFO"}, f"Marked {', '.join(block.name for block in blocks)} as assets")
        return {"FINISHED"}


CLASSES = (
    DDREP_OT_bring_in,
    DDREP_OT_bring_in_all,
    DDREP_OT_show_original,
    DDREP_OT_keep_sample,
    DDREP_OT_discard_sample,
    DDREP_OT_restore_samples,
    DDREP_OT_mark_asset,
)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
