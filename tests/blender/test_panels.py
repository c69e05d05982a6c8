"""The panels draw, in every state, and say what stands in the way."""

from __future__ import annotations

from types import FunctionType, MethodType, SimpleNamespace

import bpy
import pytest
from conftest import select
from fake_layout import Layout


def draw(panel, context=None):
    """Draw a panel without a window: its class's methods on a plain object."""
    layout = Layout()
    stub = SimpleNamespace(layout=layout)
    for base in reversed(panel.__mro__):
        for name, value in vars(base).items():
            if not name.startswith("__"):
                setattr(stub, name, MethodType(value, stub) if isinstance(value, FunctionType) else value)
    stub.layout = layout
    stub.draw(context or bpy.context)
    return layout


def draw_all(addon):
    return {panel.__name__: draw(panel) for panel in addon.panels.CLASSES}


def test_all_panels_draw_when_idle_running_done_and_failed(addon, cube, pump):
    draw_all(addon)
    for prompt in ("a slow crate", "an error crate"):
        bpy.context.scene.ddrep.texture.prompt = prompt
        bpy.ops.ddrep.texture()
        pump(
            lambda: any(
                job.progress.index or job.state == "failed" for job in addon.runtime.current().manager.jobs.values()
            )
        )
        drawn = draw_all(addon)
        pump()
    bpy.context.window_manager.ddrep.job_index = 0
    drawn = draw_all(addon)
    assert "The prior 'nothing'" in drawn["DDREP_PT_jobs"].words()
    assert "ddrep.retry_job" in drawn["DDREP_PT_jobs"].operators()
    bpy.context.window_manager.ddrep.job_index = 1
    drawn = draw_all(addon)
    assert "ddrep.bring_in" in drawn["DDREP_PT_results"].operators()
    assert "ddrep.show_original" in drawn["DDREP_PT_results"].operators()


@pytest.mark.parametrize("source", ["SCENE", "ACTIVE", "FRAMES", "ORBIT"])
def test_the_camera_panel_draws_for_every_source(addon, cube, source):
    bpy.context.scene.ddrep.cameras.source = source
    draw_all(addon)
    bpy.context.scene.camera = None
    for camera in [thing for thing in bpy.data.objects if thing.type == "CAMERA"]:
        bpy.data.objects.remove(camera)
    draw_all(addon)


def test_preferences_draw(addon):
    layout = Layout()
    preferences = addon.preferences.preferences()
    view = SimpleNamespace(**{name: getattr(preferences, name) for name in ("engine", "engine_folder", "runs_on")})
    view.layout, view.bl_rna = layout, preferences.bl_rna
    type(preferences).draw(view, bpy.context)
    assert {"ddrep.find_engine", "ddrep.check_engine", "ddrep.set_up_engine"} <= set(layout.operators())


def test_the_panel_says_what_is_missing_and_offers_the_fix(addon, cube):
    drawn = draw(addon.panels.DDREP_PT_texture)
    assert "ddrep.texture" in drawn.operators() and "ddrep.use_orbit" not in drawn.operators()
    for thing in [thing for thing in bpy.data.objects if thing.type == "CAMERA"]:
        bpy.data.objects.remove(thing)
    drawn = draw(addon.panels.DDREP_PT_texture)
    assert "no camera" in drawn.words() and "ddrep.use_orbit" in drawn.operators()
    bpy.ops.ddrep.use_orbit()
    assert "ddrep.use_orbit" not in draw(addon.panels.DDREP_PT_texture).operators()
    select()
    assert "Select the meshes" in draw(addon.panels.DDREP_PT_texture).words()


def test_presets_are_saved_and_come_back(addon, cube):
    settings = bpy.context.scene.ddrep.texture
    settings.resolution, settings.quality, settings.prompt = "2048", "FINE", "kept out of it"
    assert bpy.ops.ddrep.texture_preset_add(name="Hero Prop") == {"FINISHED"}
    settings.resolution, settings.quality, settings.prompt = "512", "DRAFT", "other words"
    path = bpy.utils.user_resource("SCRIPTS", path="presets/ddrep/texture")
    bpy.ops.script.execute_preset(filepath=f"{path}/Hero_Prop.py", menu_idname="DDREP_MT_texture_presets")
    assert (settings.resolution, settings.quality, settings.prompt) == ("2048", "FINE", "other words")


@pytest.mark.parametrize(
    ("spoil", "operator", "words"),
    [
        (lambda: select(), "texture", "Select the meshes to texture"),
        (lambda: setattr(bpy.context.scene.ddrep.texture, "prompt", ""), "texture", "The prompt is empty"),
        (lambda: bpy.ops.object.mode_set(mode="EDIT"), "texture", "Go back to Object Mode"),
        (lambda: None, "generate", "The prompt is empty"),
        (lambda: select(), "measure_coverage", "Select the meshes"),
        (
            lambda: setattr(bpy.context.scene.ddrep.cameras, "source", "ORBIT"),
            "add_camera",
            "Choose the scene's cameras",
        ),
    ],
)
def test_a_button_that_cannot_work_says_why(addon, cube, spoil, operator, words):
    spoil()
    with pytest.raises(RuntimeError, match=words):
        getattr(bpy.ops.ddrep, operator)()


def test_every_setting_can_be_reached(addon, cube):
    """Each property of the scene's settings stands in some panel; so do the switches of the live preview and import."""
    everything = bpy.context.scene.ddrep
    for task in (everything.texture, everything.generate, everything.panorama, everything.image):
        task.quality = "CUSTOM"
        task.loras.add()
        task.controlnet, task.reference = "owner/name", bpy.data.images.new("oil", 8, 8)
    for task in (everything.texture, everything.generate):
        task.controlnets.add()
    everything.texture.uv_source = "NAMED"
    reached = set()
    for source, keep in (("SCENE", "NONE"), ("FRAMES", "GROUP"), ("ORBIT", "IMAGE"), ("ACTIVE", "SLOT")):
        everything.cameras.source, everything.texture.keep = source, keep
        for layout in draw_all(addon).values():
            shown = [arguments for name, arguments, _ in layout.record if name.startswith(("prop", "template_ID"))]
            reached |= {(type(owner).__name__, name) for owner, name, *_ in shown}
    own_settings = (everything.texture, everything.generate, everything.panorama, everything.image)
    for settings in (*own_settings, everything.cameras):
        own = set(settings.bl_rna.properties.keys()) - {"rna_type", "name", "index", "loras", "controlnets"}
        assert {(type(settings).__name__, name) for name in own} <= reached
    assert {("DDREP_PG_lora", "file"), ("DDREP_PG_lora", "weight"), ("DDREP_PG_object", "reference")} <= reached
    assert {("DDREP_PG_controlnet", name) for name in ("folder", "kind", "scale")} <= reached
    assert {("DDREP_PG_scene", "live_preview"), ("DDREP_PG_scene", "automatic_import")} <= reached
