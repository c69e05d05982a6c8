# SPDX-License-Identifier: GPL-3.0-or-later
"""One view of a result is painted over by hand; then the others are sampled to agree with it. And close-ups of it."""

from pathlib import Path
from typing import Any

import bpy
from bpy.props import FloatProperty, StringProperty

from .. import runtime
from ..engine.folder import JobFolder
from ..problems import Problem
from ..results.painting import open_editor, painting_of, paintings, show
from ..scene.detail_draft import detail_draft
from ..scene.keep import picture_pieces
from ..scene.repaint_draft import cameras_of, repaint_draft
from .results import OnSample
from .telling import tell, telling

STRENGTH = 0.6  # as the engine has it, where nobody says otherwise
DETAIL_STRENGTH = 0.4


def _camera_names(operator: Any, context: bpy.types.Context, typed: str) -> list[str]:
    """What the field of the camera offers."""
    job = runtime.current().manager.jobs.get(operator.job) if runtime.enabled() else None
    return [] if job is None else cameras_of(job.folder)


class DDREP_OT_repaint_view(OnSample, bpy.types.Operator):
    """Paint over what one camera sees of this result; then let the other views agree with it"""

    bl_idname = "ddrep.repaint_view"
    bl_label = "Repaint a View"
    bl_options = {"REGISTER", "INTERNAL"}

    camera: StringProperty(
        name="Camera", description="Whose view is painted over", options={"SKIP_SAVE"}, search=_camera_names
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            job, _ = self.found()
        except Problem as problem:
            return tell(self, context, problem)
        names = cameras_of(job.folder)
        active = context.scene.camera.name if context.scene.camera is not None else ""
        self.camera = active if active in names else next(iter(names), "")
        return context.window_manager.invoke_props_dialog(self, width=320)

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        job, sample = self.found()
        names = cameras_of(job.folder)
        if names and self.camera not in names:
            raise Problem(f"This job has no camera called '{self.camera}'. It has: {', '.join(names[:16])}.")
        runtime.begin_painting(job, sample, self.camera)
        self.report({"INFO"}, "The view is being drawn. It comes as a picture to paint on")
        return {"FINISHED"}


class DDREP_OT_open_view(OnSample, bpy.types.Operator):
    """Bring the drawn view in as a picture to paint on"""

    bl_idname = "ddrep.open_view"
    bl_label = "Open the View"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    camera: StringProperty(name="Camera", description="Whose view it is", options={"SKIP_SAVE"})
    file: StringProperty(name="File", description="The drawn picture", options={"SKIP_SAVE"})

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        job, sample = self.found()
        if not Path(self.file).is_file():
            raise Problem("The drawn view is gone. Press Repaint a View again.")
        image = painting_of(job.name, sample.number, self.camera, Path(self.file))
        shown = show(context, image)
        words = "Paint on it in the Image Editor" if shown else "Open it with the brush beside its name"
        self.report({"INFO"}, f"'{image.name}' is there. {words}")
        return {"FINISHED"}


class _OnPainting:
    """An operator on a picture of a view."""

    image: StringProperty(name="Picture", description="The picture of the view", options={"SKIP_SAVE"})

    def painting(self) -> tuple[bpy.types.Image, str, int, str]:
        """The picture, its job, its sample and its camera. Raises a Problem where it is none."""
        for found in paintings():
            if found[0].name == self.image:
                return found
        raise Problem("This picture of a view is gone. Press Repaint a View again.")


class DDREP_OT_paint_view(_OnPainting, bpy.types.Operator):
    """Open this picture in an Image Editor, to paint on it; in a new window where none is open"""

    bl_idname = "ddrep.paint_view"
    bl_label = "Paint"
    bl_options = {"REGISTER", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        image = self.painting()[0]
        if not show(context, image) and not open_editor(context, image):
            raise Problem(f"Open an Image Editor, and choose '{image.name}' there.")
        return {"FINISHED"}


class DDREP_OT_forget_view(_OnPainting, bpy.types.Operator):
    """Throw this picture of a view away. The result stays as it is"""

    bl_idname = "ddrep.forget_view"
    bl_label = "Throw Away"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        bpy.data.images.remove(self.painting()[0])
        return {"FINISHED"}


class DDREP_OT_sample_others(_OnPainting, bpy.types.Operator):
    """Sample the other views anew, from what they show now, to agree with this picture. A new job; the result stays"""

    bl_idname = "ddrep.sample_others"
    bl_label = "Let the Others Agree"
    bl_options = {"REGISTER", "INTERNAL"}

    prompt: StringProperty(name="Shows", description="What it looks like now, in words", options={"SKIP_SAVE"})
    strength: FloatProperty(
        name="Strength", description="How much the other views may change", default=STRENGTH, min=0.05, max=1.0,
        subtype="FACTOR",
    )  # fmt: skip

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            self.prompt = runtime.job_named(self.painting()[1]).prompt
        except Problem as problem:
            return tell(self, context, problem)
        return context.window_manager.invoke_props_dialog(self, width=420)

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        image, name, number, camera = self.painting()
        job = runtime.job_named(name)
        sample = next((each for each in runtime.samples_of(job) if each.number == number), None)
        if sample is None:
            raise Problem("The result that this view is of is gone. Make it again.")
        if not min(image.size):
            raise Problem(f"The picture '{image.name}' is empty. Throw it away, and press Repaint a View again.")
        runtime.require_engine()
        resolution = _resolution(job.folder, sample.objects[0].texture if sample.objects else None)
        words = self.prompt if self.prompt.strip() else job.prompt
        pieces = picture_pieces(image)
        runtime.queue(repaint_draft(job.folder, sample, camera, pieces, resolution, words, self.strength))
        self.report({"INFO"}, "The other views are in the queue. Go on working")
        return {"FINISHED"}


def _resolution(folder: JobFolder, texture: Path | None) -> int:
    """Of a texture, by its PNG header."""
    try:
        header = texture.open("rb").read(24) if texture is not None else b""
    except OSError:
        header = b""
    if len(header) < 24 or not header.startswith(b"\x89PNG"):
        raise Problem(f"The texture of this sample is gone or damaged ({folder.path}). Make it again.")
    return int.from_bytes(header[16:20], "big")


class DDREP_OT_detail_sample(OnSample, bpy.types.Operator):
    """Paint close-ups of what the cameras see of this texture, but do not resolve. A new job; the result stays"""

    bl_idname = "ddrep.detail_sample"
    bl_label = "Detail"
    bl_options = {"REGISTER", "INTERNAL"}

    prompt: StringProperty(name="Shows", description="What it is, in words", options={"SKIP_SAVE"})
    strength: FloatProperty(
        name="Strength", description="How much close-ups may change", default=DETAIL_STRENGTH, min=0.05, max=1.0,
        subtype="FACTOR",
    )  # fmt: skip

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            self.prompt = self.found()[0].prompt
        except Problem as problem:
            return tell(self, context, problem)
        return context.window_manager.invoke_props_dialog(self, width=420)

    @telling
    def execute(self, context: bpy.types.Context) -> set[str]:
        job, sample = self.found()
        runtime.require_engine()
        words = self.prompt if self.prompt.strip() else job.prompt
        runtime.queue(detail_draft(job.folder, sample, words, self.strength))
        self.report({"INFO"}, "The close-ups are in the queue. Go on working")
        return {"FINISHED"}


CLASSES = (
    DDREP_OT_repaint_view,
    DDREP_OT_open_view,
    DDREP_OT_paint_view,
    DDREP_OT_forget_view,
    DDREP_OT_sample_others,
    DDREP_OT_detail_sample,
)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
