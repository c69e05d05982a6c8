# SPDX-License-Identifier: GPL-3.0-or-later
"""Texture, Generate, Image to 3D, Panorama, Tiling Material; and Write Job, which saves what they would run."""

import time
from pathlib import Path
from typing import Any

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from .. import runtime
from ..engine.folder import WAIT_SECONDS, require_space, write_job
from ..engine.manager import Writing
from ..preferences import preferences
from ..problems import Problem
from ..results.kept import kept
from ..results.objects import MOST_BESIDE
from ..scene.draft import (
    Draft,
    from_image_draft,
    generate_draft,
    image_draft,
    keep_away,
    panorama_draft,
    require_scene,
    roll,
    targets,
    texture_draft,
)
from .telling import allowed, tell, telling

MOST_KEPT = 16

TASKS = (
    ("texture", "Texture", "The selected meshes"),
    ("generate", "Generate", "A new object at the 3D cursor"),
    ("panorama", "Panorama", "The world around"),
    ("image", "Tiling Material", "A material that repeats without a seam"),
)


def draft(context: bpy.types.Context, task: str) -> Draft:
    """The job that the settings ask for now."""
    prior = preferences().prior
    if task == "panorama":
        return panorama_draft(context, prior)
    if task == "image":
        return image_draft(context, prior)
    made = texture_draft(context, targets(context), prior) if task == "texture" else generate_draft(context, prior)
    if getattr(context.scene.ddrep, task).unlike_kept:
        keep_away(made, kept_meshes(task, {entry["name"] for entry in made.scene.get("objects", [])}))
    return made


def kept_meshes(task: str, names: set[str]) -> list[Path]:
    """What results of a task are kept in the file, the latest last; of textures, those of these objects."""
    found = []
    for job in sorted(runtime.current().manager.jobs.values(), key=lambda each: each.name):
        if job.task != task or job.state != "done":
            continue
        own = job.folder.scene().get("objects", []) if names else []
        if names and not any(isinstance(entry, dict) and entry.get("name") in names for entry in own):
            continue
        samples = [each for each in runtime.samples_of(job) if kept(task, job.folder.name, each.number)]
        found += [sample.mesh for sample in samples if sample.mesh is not None]
    return found[-MOST_KEPT:]


class _Start:
    """An operator that queues a task, and rolls the dice for the next one."""

    bl_options = {"REGISTER"}
    task = ""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return allowed(cls, lambda: runtime.require(context, cls.task))

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        runtime.require(context, self.task)
        made = draft(context, self.task)
        runtime.queue(made)
        roll(getattr(context.scene.ddrep, self.task))
        context.window_manager.ddrep.warnings = " ".join(made.warnings)
        for warning in made.warnings:
            self.report({"WARNING"}, warning)
        self.report({"INFO"}, "The job is in the queue. Go on working")
        return {"FINISHED"}


class DDREP_OT_texture(_Start, bpy.types.Operator):
    """Sample a texture for the selected meshes, for all chosen cameras at once. Blender stays free meanwhile"""

    bl_idname = "ddrep.texture"
    bl_label = "Texture"
    task = "texture"


class DDREP_OT_texture_each(bpy.types.Operator):
    """A job for each selected mesh. In the prompt, {name} is the object's name, and {anything} its custom property"""

    bl_idname = "ddrep.texture_each"
    bl_label = "Texture Each"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return allowed(cls, runtime.require_engine)

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        runtime.require_engine()
        number = runtime.want_each(context, targets(context))
        roll(context.scene.ddrep.texture)
        context.window_manager.ddrep.warnings = ""
        self.report({"INFO"}, f"{number} jobs go into the queue. Go on working")
        return {"FINISHED"}


class DDREP_OT_generate(_Start, bpy.types.Operator):
    """Sample a new textured object from words. It will stand where the 3D cursor is now"""

    bl_idname = "ddrep.generate"
    bl_label = "Generate"
    task = "generate"


class DDREP_OT_image_to_3d(bpy.types.Operator):
    """Objects that a picture may show, each another guess at what it hides, side by side from the 3D cursor on"""

    bl_idname = "ddrep.image_to_3d"
    bl_label = "Image to 3D"
    bl_options = {"REGISTER"}

    filepath: StringProperty(
        name="Picture", description="One object, cut out or on a plain ground", subtype="FILE_PATH"
    )
    filter_glob: StringProperty(default="*.png;*.jpg;*.jpeg;*.webp;*.tif;*.tiff;*.bmp", options={"HIDDEN"})
    samples: IntProperty(name="Samples", description="How many guesses", default=4, min=1, max=MOST_BESIDE)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return allowed(cls, runtime.require_engine)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        runtime.require_engine()
        runtime.queue(from_image_draft(context, Path(bpy.path.abspath(self.filepath)), self.samples))
        roll(context.scene.ddrep.generate)
        self.report({"INFO"}, "The job is in the queue. Go on working")
        return {"FINISHED"}


class DDREP_OT_panorama(_Start, bpy.types.Operator):
    """Sample a panorama from words. It becomes the world's environment"""

    bl_idname = "ddrep.panorama"
    bl_label = "Panorama"
    task = "panorama"


class DDREP_OT_image(_Start, bpy.types.Operator):
    """Sample a picture that repeats without a seam, and make a material of it"""

    bl_idname = "ddrep.image"
    bl_label = "Tiling Material"
    task = "image"


class DDREP_OT_write_job(bpy.types.Operator):
    """Save exactly the job that the button would run, to run it elsewhere: ddrep run FOLDER"""

    bl_idname = "ddrep.write_job"
    bl_label = "Write Job"
    bl_options = {"REGISTER"}

    directory: StringProperty(name="Folder", description="A new or empty folder for the job", subtype="DIR_PATH")
    task: EnumProperty(name="Task", description="What the job makes", items=TASKS, default="texture")

    _writing: Writing
    _timer: Any = None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            require_scene(context, self.task)  # before a folder is looked for in vain
        except Problem as problem:
            return tell(self, context, problem)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.directory:
            raise Problem("No folder was chosen for the job.")
        made = draft(context, self.task)
        target = Path(bpy.path.abspath(self.directory))
        require_space(target)
        about = {**made.scene, "session": "", "document": runtime.current().document}
        context.window_manager.ddrep.warnings = " ".join(made.warnings)
        self._writing = write_job(target, made.request, made.files, about)
        if self._write() and not bpy.app.background:  # a colour is being baked: Blender stays alive
            self._timer = context.window_manager.event_timer_add(WAIT_SECONDS, window=context.window)
            context.window_manager.modal_handler_add(self)
            return {"RUNNING_MODAL"}
        while self._write():
            time.sleep(WAIT_SECONDS)
        return self._written()

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        try:
            if self._write():
                return {"PASS_THROUGH"}
            ended = self._written()
        except Problem as problem:
            ended = tell(self, context, problem)
        self.cancel(context)
        return ended

    def cancel(self, context: bpy.types.Context) -> None:
        """No more is written; a folder that is not whole goes."""
        self._writing.close()
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)

    def _write(self) -> bool:
        """Write until there is something to wait for. Returns whether there is."""
        return any(waiting is not None for waiting in self._writing)

    def _written(self) -> set[str]:
        self.report({"INFO"}, f"The job is written. Run it with: ddrep run {self.directory}")
        return {"FINISHED"}


class DDREP_OT_roll_seed(bpy.types.Operator):
    """Roll the dice for another seed"""

    bl_idname = "ddrep.roll_seed"
    bl_label = "Roll the Dice"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    task: EnumProperty(name="Task", description="Whose seed", items=TASKS, default="texture")

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = getattr(context.scene.ddrep, self.task)
        settings.seed_locked = False
        roll(settings)
        return {"FINISHED"}


CLASSES = (
    DDREP_OT_texture,
    DDREP_OT_texture_each,
    DDREP_OT_generate,
    DDREP_OT_image_to_3d,
    DDREP_OT_panorama,
    DDREP_OT_image,
    DDREP_OT_write_job,
    DDREP_OT_roll_seed,
)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
