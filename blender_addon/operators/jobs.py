# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue and its history."""

import shutil

import bpy
from bpy.props import BoolProperty, IntProperty, StringProperty

from .. import runtime
from ..problems import Problem, disk_problem
from .telling import telling


class _OnJob:
    """An operator on one job, by its name."""

    job: StringProperty(name="Job", description="The job's name", options={"SKIP_SAVE"})


class DDREP_OT_cancel_job(_OnJob, bpy.types.Operator):
    """Stop this job at its next step. What it has done so far is kept, and Retry goes on from there"""

    bl_idname = "ddrep.cancel_job"
    bl_label = "Cancel"
    bl_options = {"REGISTER", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        job = runtime.job_named(self.job)
        if not job.active:
            raise Problem("This job has ended already.")
        runtime.current().manager.cancel(job)
        runtime.wake()
        return {"FINISHED"}


class DDREP_OT_retry_job(_OnJob, bpy.types.Operator):
    """Run this job again; where it was stopped half-way, it goes on from its last checkpoint"""

    bl_idname = "ddrep.retry_job"
    bl_label = "Retry"
    bl_options = {"REGISTER", "INTERNAL"}

    max_batch: IntProperty(
        name="Views at Once", description="The most views at once; 0 leaves it as it was", default=0, min=0
    )
    both_sides: BoolProperty(
        name="Paint Both Sides", description="Also paint faces that are seen from behind", default=False
    )
    leave_out: StringProperty(
        name="Leave Out", description="A camera that the job is to do without. Empty: none", options={"SKIP_SAVE"}
    )

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        runtime.current().engine_problem = None
        job = runtime.job_named(self.job)
        runtime.current().manager.retry(job, self.max_batch, self.both_sides, self.leave_out)
        runtime.wake()
        return {"FINISHED"}


class DDREP_OT_open_job(_OnJob, bpy.types.Operator):
    """Open this job's folder"""

    bl_idname = "ddrep.open_job"
    bl_label = "Open Folder"
    bl_options = {"REGISTER", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        folder = runtime.job_named(self.job).folder.path
        if not folder.is_dir():
            raise Problem(f"The folder {folder} is gone.")
        bpy.ops.wm.path_open(filepath=str(folder))
        return {"FINISHED"}


class DDREP_OT_open_job_log(_OnJob, bpy.types.Operator):
    """Show what the engine has printed, in Blender's text editor or the system's"""

    bl_idname = "ddrep.open_job_log"
    bl_label = "Open Log"
    bl_options = {"REGISTER", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        log = runtime.job_named(self.job).folder.log_file
        if not log.is_file():
            raise Problem("This job has no log: its engine was never started.")
        bpy.ops.wm.path_open(filepath=str(log))
        return {"FINISHED"}


class DDREP_OT_forget_job(_OnJob, bpy.types.Operator):
    """Take this job from the list and delete its folder. What is in the scene stays"""

    bl_idname = "ddrep.forget_job"
    bl_label = "Delete Job"
    bl_options = {"REGISTER", "INTERNAL"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        job = runtime.job_named(self.job)
        if job.active:
            raise Problem("This job is at work. Cancel it first.", "ddrep.cancel_job", "Cancel it", job=job.name)
        folder = job.folder.path
        if folder.is_symlink() or folder.parent.resolve() != runtime.jobs_folder().resolve():
            raise Problem(f"{folder} is not in the jobs folder, so it is not deleted from here.")
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise disk_problem(error, folder) from error
        runtime.current().manager.forget(job)
        runtime.wake()
        return {"FINISHED"}


class DDREP_OT_find_jobs(bpy.types.Operator):
    """Look through the jobs folder again"""

    bl_idname = "ddrep.find_jobs"
    bl_label = "Look for Jobs"
    bl_options = {"REGISTER", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        runtime.find_jobs(anew=True)
        return {"FINISHED"}


CLASSES = (
    DDREP_OT_cancel_job,
    DDREP_OT_retry_job,
    DDREP_OT_open_job,
    DDREP_OT_open_job_log,
    DDREP_OT_forget_job,
    DDREP_OT_find_jobs,
)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
