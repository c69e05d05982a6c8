# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar tab "DDRep"."""

from collections.abc import Callable
from typing import Any

import bpy

from .. import runtime
from ..engine.manager import Job
from ..problems import Problem
from ..results import gallery
from ..results.kept import kept
from ..results.painting import paintings
from ..results.textures import MARK
from ..scene.cameras import scene_cameras
from ..scene.draft import targets
from .presets import (
    DDREP_PT_generate_presets,
    DDREP_PT_image_presets,
    DDREP_PT_panorama_presets,
    DDREP_PT_texture_presets,
)
from .widgets import draw_controlnets, draw_loras, draw_problem, draw_reference, paragraph, width_of

EDITED = ("texture", "panorama")
TEXTURE_BUTTONS = (("ddrep.repaint_view", "BRUSH_DATA"), ("ddrep.detail_sample", "ZOOM_IN"))
BEHIND = 0.1  # of the surface seen only from behind: above that, the panel says so


class _Tab:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "DDRep"


def problem_of(check: Callable[[], Any]) -> Problem | None:
    """What stands in the way, if anything."""
    try:
        check()
    except Problem as problem:
        return problem
    return None


def split_column(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    """A column of settings with their names on the left."""
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    return column


def draw_words(layout: bpy.types.UILayout, settings: Any) -> None:
    """Prompt and negative prompt."""
    column = layout.column(align=True)
    row = column.row(align=True)
    row.scale_y = 1.3
    row.prop(settings, "prompt", text="", placeholder="What it should look like")
    column.prop(settings, "negative_prompt", text="", placeholder="What to avoid")


def draw_sampling(layout: bpy.types.UILayout, settings: Any, task: str) -> None:
    """Seed, samples, quality."""
    column = layout.column()
    row = column.row(align=True)
    row.prop(settings, "seed")
    row.prop(settings, "seed_locked", text="", icon="LOCKED" if settings.seed_locked else "UNLOCKED")
    row.operator("ddrep.roll_seed", text="", icon="FILE_REFRESH").task = task
    column.prop(settings, "samples")
    row = column.row()
    row.active = settings.samples > 1
    row.prop(settings, "diversity", slider=True)
    if hasattr(settings, "unlike_kept"):
        column.prop(settings, "unlike_kept")
    column.prop(settings, "quality")
    if settings.quality == "CUSTOM":
        column.prop(settings, "steps")


def draw_button(layout: bpy.types.UILayout, context: bpy.types.Context, task: str, text: str, icon: str) -> None:
    """The task's button; below it, what stands in its way and the button that helps."""
    row = layout.row(align=True)
    row.scale_y = 1.6
    row.operator(f"ddrep.{task}", text=text, icon=icon)
    row.operator("ddrep.write_job", text="", icon="FILE_TICK").task = task
    if task == "texture" and len(context.selected_objects) > 1:
        layout.operator("ddrep.texture_each", icon="LINENUMBERS_ON")
    draw_progress(layout, task)
    settings = getattr(context.scene.ddrep, task)
    problem = problem_of(lambda: runtime.require(context, task))
    if problem is not None and settings.prompt.strip():
        draw_problem(layout, problem, width_of(context))


def draw_progress(layout: bpy.types.UILayout, task: str) -> None:
    """How far the task's running job is, right below its button; Jobs says more."""
    if not runtime.enabled():
        return
    running = [job for job in runtime.current().manager.jobs.values() if job.active and job.task == task]
    for job in running[:3]:
        row = layout.row(align=True)
        row.progress(factor=job.progress.fraction, text=runtime.words_of(job))
        row.operator("ddrep.cancel_job", text="", icon="X").job = job.name


def draw_own(layout: bpy.types.UILayout, settings: Any, heading: str, switch: str, *names: str) -> None:
    """A tick, and beside it the values that count where it is set."""
    row = layout.row(heading=heading, align=True)
    row.prop(settings, switch, text="")
    values = row.row(align=True)
    values.active = getattr(settings, switch)
    for name in names:
        values.prop(settings, name, text="")


class _TaskPanel(_Tab):
    """A task: words, sampling, what is its own, and the button."""

    task = ""
    presets: type[bpy.types.Panel]

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        self.presets.draw_panel_header(self.layout)


class _AdvancedPanel(_Tab):
    """What most artists never need: what all tasks share, then the task's own `extras`."""

    bl_label = "Advanced"
    bl_options = {"DEFAULT_CLOSED"}
    task = ""
    extras: tuple[str, ...] = ()

    def draw(self, context: bpy.types.Context) -> None:
        settings = getattr(context.scene.ddrep, self.task)
        column = split_column(self.layout)
        column.prop(settings, "prior")
        if settings.controlnet.strip():  # as files from before there was a list have it
            column.prop(settings, "controlnet")
        draw_loras(self.layout, settings, self.task)
        if hasattr(settings, "controlnets"):
            draw_controlnets(self.layout, settings, self.task)
        draw_reference(self.layout, settings)
        column = split_column(self.layout)
        draw_own(column, settings, "Guidance", "own_guidance", "guidance_scale")
        draw_own(column, settings, "Noise Share", "own_eta", "eta")
        column.separator()
        for name in ("device", "precision", "max_batch", *self.extras):
            column.prop(settings, name)


class DDREP_PT_texture(_TaskPanel, bpy.types.Panel):
    bl_label = "Texture"
    bl_idname = "DDREP_PT_texture"
    presets = DDREP_PT_texture_presets

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        settings = context.scene.ddrep.texture
        draw_notices(layout, context)
        meshes = [thing for thing in targets(context) if thing.type == "MESH"]
        row = layout.row()
        if meshes:
            words = meshes[0].name if len(meshes) == 1 else f"{meshes[0].name} and {len(meshes) - 1} more"
            row.label(text=words, icon="OUTLINER_OB_MESH")
        else:
            row.active = False
            row.label(text="Select the meshes to texture", icon="RESTRICT_SELECT_OFF")
        draw_words(layout, settings)
        column = split_column(layout)
        draw_sampling(column, settings, "texture")
        column.prop(settings, "resolution")
        column.prop(settings, "detail")
        draw_button(layout, context, "texture", "Texture", "TEXTURE")


class DDREP_PT_texture_placing(_Tab, bpy.types.Panel):
    bl_label = "UV Map and Material"
    bl_parent_id = "DDREP_PT_texture"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        settings = context.scene.ddrep.texture
        column = split_column(self.layout)
        column.prop(settings, "uv_source")
        if settings.uv_source == "NAMED":
            thing = context.object
            if thing is not None and thing.type == "MESH":
                column.prop_search(settings, "uv_name", thing.data, "uv_layers", text="Name", icon="GROUP_UVS")
            else:
                column.prop(settings, "uv_name", text="Name")
        column.prop(settings, "material_target")
        column.prop(settings, "storage")
        column.prop(settings, "coverage_map")
        column.prop(settings, "occluders")
        column.prop(settings, "both_sides")


class DDREP_PT_texture_keep(_Tab, bpy.types.Panel):
    bl_label = "Keep and Pin"
    bl_parent_id = "DDREP_PT_texture"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        column = split_column(self.layout)
        settings = context.scene.ddrep.texture
        column.prop(settings, "keep")
        thing = context.object
        if settings.keep == "GROUP" and thing is not None and thing.type == "MESH":
            column.prop_search(settings, "keep_group", thing, "vertex_groups")
        elif settings.keep == "IMAGE":
            column.template_ID(settings, "keep_image", open="image.open")
        column.prop(settings, "from_texture")
        row = column.row()
        row.enabled = settings.from_texture
        row.prop(settings, "change", slider=True)
        column.separator()
        column.prop(settings, "pin_camera", text="Pinned View")
        column.template_ID(settings, "pin_image", open="image.open")
        row = column.row()
        row.enabled = settings.pin_image is not None
        row.prop(settings, "pin_weight", slider=True)


class DDREP_PT_texture_surface(_Tab, bpy.types.Panel):
    bl_label = "Symmetry, Palette, Material"
    bl_parent_id = "DDREP_PT_texture"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        column = split_column(self.layout)
        settings = context.scene.ddrep.texture
        column.prop(settings, "symmetry")
        column.separator()
        column.template_ID(settings, "palette_image", open="image.open", text="Palette")
        row = column.row()
        row.enabled = settings.palette_image is not None
        row.prop(settings, "palette_amount", slider=True)
        column.separator()
        column.prop(settings, "intrinsics")
        row = column.row()
        row.enabled = bool(settings.intrinsics.strip())
        row.prop(settings, "delight")
        column.prop(settings, "normals_model")


class DDREP_PT_texture_advanced(_AdvancedPanel, bpy.types.Panel):
    bl_parent_id = "DDREP_PT_texture"
    task = "texture"
    extras = ("space", "depth")


class DDREP_PT_cameras(_Tab, bpy.types.Panel):
    bl_label = "Cameras"
    bl_idname = "DDREP_PT_cameras"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        scene = context.scene
        settings = scene.ddrep.cameras
        layout.row().prop(settings, "source", expand=True)
        if settings.source == "SCENE":
            self._draw_list(layout, context)
        elif settings.source == "ORBIT":
            column = split_column(layout)
            column.prop(settings, "placement")
            if settings.placement in {"AROUND", "COVERAGE"}:
                column.prop(settings, "orbit_count")
            if settings.placement == "AROUND":
                row = column.column(align=True)
                row.prop(settings, "orbit_low")
                row.prop(settings, "orbit_high")
            column.prop(settings, "orthographic")
        else:
            row = layout.row()
            if scene.camera is not None:
                row.label(text=scene.camera.name, icon="OUTLINER_OB_CAMERA")
            else:
                row.label(text="The scene has no active camera", icon="ERROR")
            if settings.source == "FRAMES":
                column = split_column(layout)
                column.prop(settings, "frame_step", text="Every n-th Frame")
                count = len(range(scene.frame_start, scene.frame_end + 1, settings.frame_step))
                column.label(text=f"{count} views, frames {scene.frame_start} to {scene.frame_end}")
            elif scene.camera is not None:
                draw_camera(layout, context, scene.camera)
        split_column(layout).prop(settings, "front")
        self._draw_coverage(layout, context)

    def _draw_list(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        scene = context.scene
        settings = scene.ddrep.cameras
        cameras = scene_cameras(scene)
        if not cameras:
            column = layout.column(align=True)
            column.label(text="The scene has no camera yet", icon="INFO")
            column.operator("ddrep.add_camera", text="Add One That Sees the Selection", icon="ADD")
            return
        row = layout.row()
        row.template_list(
            "DDREP_UL_cameras", "", scene, "objects", settings, "index", rows=min(6, max(3, len(cameras)))
        )
        column = row.column(align=True)
        column.operator("ddrep.add_camera", text="", icon="ADD")
        column.separator()
        column.operator("ddrep.use_all_cameras", text="", icon="CHECKBOX_HLT").use = True
        column.operator("ddrep.use_all_cameras", text="", icon="CHECKBOX_DEHLT").use = False
        if 0 <= settings.index < len(scene.objects) and scene.objects[settings.index].type == "CAMERA":
            draw_camera(layout, context, scene.objects[settings.index])

    def _draw_coverage(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        window = context.window_manager.ddrep
        column = layout.column(align=True)
        row = column.row(align=True)
        if window.coverage >= 0:
            row.progress(factor=window.coverage, text=f"{window.coverage:.0%} of the surface seen")
        else:
            row.label(text=window.coverage_words or "Coverage not measured", icon="HIDE_OFF")
        row.operator("ddrep.measure_coverage", text="", icon="FILE_REFRESH")
        row.prop(context.scene.ddrep.cameras, "automatic_coverage", text="", icon="TIME")
        self._draw_blind(column, context)
        if window.coverage >= 0 and (context.scene.ddrep.texture.both_sides or window.coverage_behind > BEHIND):
            if window.coverage_behind > BEHIND:
                words = f"{window.coverage_behind:.0%} is seen only from behind, and backs of faces are not painted."
                paragraph(column, words, icon="INFO", width=width_of(context))
            column.prop(context.scene.ddrep.texture, "both_sides")
        if 0 <= window.coverage < 0.9 and context.scene.ddrep.cameras.source == "SCENE":
            column.operator("ddrep.add_camera", icon="OUTLINER_OB_CAMERA")

    def _draw_blind(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        """The cameras that see nothing, and what becomes of them."""
        blind = sorted(runtime.current().blind) if runtime.enabled() else []
        if not blind or context.window_manager.ddrep.coverage < 0:
            return
        names = ", ".join(f"'{name}'" for name in blind[:3]) + (f" and {len(blind) - 3} more" if len(blind) > 3 else "")
        sees, is_left = ("sees", "It is left out") if len(blind) == 1 else ("see", "They are left out")
        estimate = runtime.current().estimate
        everyone = estimate is not None and len(blind) == len(estimate.views)
        words = f"{names} {sees} nothing of the selection. {'Nothing would be painted' if everyone else is_left}."
        paragraph(layout, words, icon="ERROR" if everyone else "INFO", width=width_of(context))
        if context.scene.ddrep.cameras.source == "SCENE" and not everyone:
            layout.operator("ddrep.leave_blind_out", text="Leave It Out" if len(blind) == 1 else "Leave Them Out")
        elif everyone and context.scene.ddrep.cameras.source != "ORBIT":
            layout.operator("ddrep.use_orbit")


def draw_camera(layout: bpy.types.UILayout, context: bpy.types.Context, camera: bpy.types.Object) -> None:
    """A camera's part in the job."""
    settings = camera.ddrep
    column = split_column(layout)
    column.prop(settings, "weight", slider=True)
    column.prop(settings, "prompt", placeholder="for this view alone")
    draw_own(column, settings, "Own Resolution", "own_resolution", "width", "height")
    if context.scene.ddrep.texture.reference is not None:
        layout.label(text="Reference for This View")
        layout.template_ID(settings, "reference", open="image.open")


class DDREP_PT_generate(_TaskPanel, bpy.types.Panel):
    bl_label = "Generate"
    bl_idname = "DDREP_PT_generate"
    bl_options = {"DEFAULT_CLOSED"}
    presets = DDREP_PT_generate_presets

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        settings = context.scene.ddrep.generate
        layout.label(text="A new object at the 3D cursor", icon="CURSOR")
        draw_words(layout, settings)
        column = split_column(layout)
        draw_sampling(column, settings, "generate")
        column.prop(settings, "size")
        column.prop(settings, "resolution", text="Texture")
        draw_button(layout, context, "generate", "Generate", "MESH_MONKEY")
        layout.operator("ddrep.image_to_3d", icon="IMAGE_DATA")


class DDREP_PT_generate_advanced(_AdvancedPanel, bpy.types.Panel):
    bl_parent_id = "DDREP_PT_generate"
    task = "generate"
    extras = ("views", "faces", "grid")


class _WordsPanel(_TaskPanel):
    """A task that needs nothing but words: they, sampling, its `own` settings, and the button."""

    about = ""
    icon = ""
    own: tuple[str, ...] = ()

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        settings = getattr(context.scene.ddrep, self.task)
        layout.label(text=self.about, icon=self.icon)
        draw_words(layout, settings)
        column = split_column(layout)
        draw_sampling(column, settings, self.task)
        for name in self.own:
            column.prop(settings, name)
        draw_button(layout, context, self.task, self.bl_label, self.icon)


class DDREP_PT_panorama(_WordsPanel, bpy.types.Panel):
    bl_label = "Panorama"
    bl_idname = "DDREP_PT_panorama"
    bl_options = {"DEFAULT_CLOSED"}
    presets = DDREP_PT_panorama_presets
    task = "panorama"
    about, icon = "A world around the scene", "WORLD"
    own = ("width", "hdr", "target", "strength")


class DDREP_PT_panorama_advanced(_AdvancedPanel, bpy.types.Panel):
    bl_parent_id = "DDREP_PT_panorama"
    task = "panorama"


class DDREP_PT_image(_WordsPanel, bpy.types.Panel):
    bl_label = "Tiling Material"
    bl_idname = "DDREP_PT_image"
    bl_options = {"DEFAULT_CLOSED"}
    presets = DDREP_PT_image_presets
    task = "image"
    about, icon = "A material that repeats without a seam", "MATERIAL"
    own = ("resolution", "target", "mapping", "repeat")


class DDREP_PT_image_advanced(_AdvancedPanel, bpy.types.Panel):
    bl_parent_id = "DDREP_PT_image"
    task = "image"


def draw_notices(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What stood in the way of the last button, and what to know about the last job."""
    window = context.window_manager.ddrep
    if window.problem:
        row = layout.row(align=True)
        column = row.column()
        draw_problem(column, window.problem, width_of(context) - 4)
        row.operator("ddrep.dismiss", text="", icon="X", emboss=False)
    elif window.warnings:
        row = layout.row(align=True)
        paragraph(row.column(), window.warnings, icon="INFO", width=width_of(context) - 4)
        row.operator("ddrep.dismiss", text="", icon="X", emboss=False)


def chosen_job(context: bpy.types.Context) -> Job | None:
    """The job that is chosen in the list."""
    window = context.window_manager.ddrep
    if not runtime.enabled() or not 0 <= window.job_index < len(window.jobs):
        return None
    return runtime.current().manager.jobs.get(window.jobs[window.job_index].name)


class DDREP_PT_jobs(_Tab, bpy.types.Panel):
    bl_label = "Jobs"
    bl_idname = "DDREP_PT_jobs"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        self.layout.operator("ddrep.find_jobs", text="", icon="FILE_REFRESH", emboss=False)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        window = context.window_manager.ddrep
        row = layout.row(align=True)
        row.prop(context.scene.ddrep, "live_preview", toggle=True, icon="SHADING_TEXTURE")
        row.prop(context.scene.ddrep, "automatic_import", toggle=True, icon="IMPORT")
        if not len(window.jobs):
            row = layout.row()
            row.active = False
            row.label(text="No jobs yet", icon="SORTTIME")
            return
        layout.template_list("DDREP_UL_jobs", "", window, "jobs", window, "job_index", rows=3, maxrows=6)
        if words := runtime.words_of_all():
            layout.label(text=words, icon="LINENUMBERS_ON")
        if len(runtime.still_out()) > 1:
            layout.operator("ddrep.bring_in_all", icon="IMPORT")
        job = chosen_job(context)
        if job is None:
            return
        if runtime.current().held and job.arrival:
            paragraph(layout, runtime.current().held, icon="PAUSE", width=width_of(context))
        if job.active:
            self._draw_running(layout, job)
        self._draw_buttons(layout, job)
        if job.problem is not None:
            draw_problem(layout, job.problem, width_of(context))
        for warning in job.progress.warnings[-3:]:
            paragraph(layout, warning, icon="INFO", width=width_of(context))

    def _draw_running(self, layout: bpy.types.UILayout, job: Job) -> None:
        row = layout.row(align=True)
        row.scale_y = 1.2
        row.progress(factor=job.progress.fraction, text=runtime.words_of(job))
        row.operator("ddrep.cancel_job", text="", icon="X").job = job.name
        if job.progress.agreement:  # the first views have none to agree with
            row = layout.row()
            row.active = False
            row.label(text=f"The views agree by {job.progress.agreement:.0%}", icon="CON_CAMERASOLVER")
        if icon := gallery.icon(runtime.preview_picture(job)):
            layout.template_icon(icon_value=icon, scale=7)

    def _draw_buttons(self, layout: bpy.types.UILayout, job: Job) -> None:
        row = layout.row(align=True)
        if job.state == "done":
            text = "Import Again" if job.imported else "Bring In"
            button = row.operator("ddrep.bring_in", text=text, icon="IMPORT")
            button.job, button.sample = job.name, 0
        elif not job.active:
            row.operator("ddrep.retry_job", icon="FILE_REFRESH").job = job.name
        elif job.state == "waiting" and job.session != runtime.SESSION:
            row.operator("ddrep.retry_job", text="Start", icon="PLAY").job = job.name
        row.operator("ddrep.open_job", text="" if not job.active else "Open Folder", icon="FILE_FOLDER").job = job.name
        row.operator("ddrep.open_job_log", text="", icon="TEXT").job = job.name
        if not job.active:
            row.operator("ddrep.forget_job", text="", icon="TRASH").job = job.name


class DDREP_PT_results(_Tab, bpy.types.Panel):
    bl_label = "Results"
    bl_idname = "DDREP_PT_results"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        job = chosen_job(context)
        if job is None or job.state != "done":
            row = layout.row()
            row.active = False
            row.label(text="Choose a finished job above", icon="IMAGE_DATA")
            return
        discarded = runtime.discarded_of(job)
        samples = [sample for sample in runtime.samples_of(job) if sample.number not in discarded]
        shown = shown_sample(context, job)
        if len(samples) == 1:
            self._draw_sample(layout, job, samples[0], shown, scale=9)
        elif samples:
            grid = layout.grid_flow(row_major=True, columns=2, even_columns=True, even_rows=True, align=False)
            for sample in samples:
                self._draw_sample(grid, job, sample, shown, scale=5)
        else:
            layout.label(text="This job has no result to show", icon="INFO")
        if samples and samples[0].baked:
            paragraph(layout, f"Baked first: {samples[0].baked}", icon="RENDER_STILL", width=width_of(context))
        self._draw_paintings(layout, context, job)
        if job.task != "generate" and shown is not None:
            layout.operator("ddrep.show_original", icon="LOOP_BACK").job = job.name
        if discarded:
            layout.operator("ddrep.restore_samples", icon="RECOVER_LAST").job = job.name

    def _draw_sample(self, layout: bpy.types.UILayout, job: Job, sample: Any, shown: int | None, scale: float) -> None:
        box = layout.box()
        column = box.column(align=True)
        icon = gallery.icon(sample.picture)
        if icon:
            column.template_icon(icon_value=icon, scale=scale)
        facts = column.column(align=True)
        facts.scale_y = 0.75
        self._draw_fact(facts, f"Seed {sample.seed}")
        if sample.agreement is not None:
            self._draw_fact(facts, f"Views agree {sample.agreement:.0%}", active=False)
        if sample.distance is not None:
            self._draw_fact(facts, f"Differs {sample.distance:.0%}", active=False)
        is_shown = shown == sample.number
        button = column.operator(
            "ddrep.bring_in",
            text="Shown" if is_shown else "Show",
            icon="RADIOBUT_ON" if is_shown else "RADIOBUT_OFF",
            depress=is_shown,
        )
        button.job, button.sample = job.name, sample.number
        row = column.row(align=True)
        row.alignment = "CENTER"
        is_kept = kept(job.task, job.folder.name, sample.number)
        for operator, symbol in (
            ("ddrep.keep_sample", "FAKE_USER_ON" if is_kept else "FAKE_USER_OFF"),
            *((("ddrep.edit_sample", "GREASEPENCIL"),) if job.task in EDITED else ()),
            *(TEXTURE_BUTTONS if job.task == "texture" else ()),
            ("ddrep.mark_asset", "ASSET_MANAGER"),
            ("ddrep.discard_sample", "TRASH"),
        ):
            button = row.operator(operator, text="", icon=symbol)
            button.job, button.sample = job.name, sample.number

    def _draw_paintings(self, layout: bpy.types.UILayout, context: bpy.types.Context, job: Job) -> None:
        """The views of this job that are being painted over."""
        drawn = runtime.current().painting
        if drawn is not None and drawn.job == job.name:
            layout.label(text=f"Drawing what '{drawn.camera}' sees", icon="SORTTIME")
        for image, name, _, camera in paintings():
            if name != job.name:
                continue
            box = layout.box()
            row = box.row(align=True)
            row.label(text=camera, icon="CAMERA_DATA")
            row.operator("ddrep.paint_view", text="", icon="BRUSH_DATA").image = image.name
            row.operator("ddrep.forget_view", text="", icon="X").image = image.name
            box.operator("ddrep.sample_others", icon="CON_CAMERASOLVER").image = image.name

    def _draw_fact(self, layout: bpy.types.UILayout, text: str, active: bool = True) -> None:
        row = layout.row()
        row.alignment = "CENTER"
        row.active = active
        row.label(text=text)


def shown_sample(context: bpy.types.Context, job: Job) -> int | None:
    """Which of a job's samples the scene shows now."""
    prefix = f"{job.folder.name}/"
    if job.task == "panorama":
        world = context.scene.world
        mark = str(world.get(MARK, "")) if world is not None else ""
        return int(mark.split("/")[1]) if mark.startswith(prefix) else None
    for thing in context.scene.objects:
        if thing.ddrep.job == job.name and not thing.hide_viewport:
            return thing.ddrep.sample
    return None


CLASSES = (
    DDREP_PT_texture,
    DDREP_PT_texture_placing,
    DDREP_PT_texture_keep,
    DDREP_PT_texture_surface,
    DDREP_PT_texture_advanced,
    DDREP_PT_cameras,
    DDREP_PT_generate,
    DDREP_PT_generate_advanced,
    DDREP_PT_panorama,
    DDREP_PT_panorama_advanced,
    DDREP_PT_image,
    DDREP_PT_image_advanced,
    DDREP_PT_jobs,
    DDREP_PT_results,
)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
