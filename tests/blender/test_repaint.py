"""Repaint a View and Detail in the results' strip: a view is painted over by hand, and the others follow it."""

from __future__ import annotations

import json
import subprocess

import bpy
import numpy as np
import pytest
from conftest import ENGINE, needs_engine
from snapshot import snapshot
from test_detail import READ
from test_keep import png
from test_panels import draw


@pytest.fixture
def paint(addon, pump):
    """Press Repaint a View, and wait for the picture."""

    def run(job, camera="Camera"):
        before = set(bpy.data.images)
        assert bpy.ops.ddrep.repaint_view(job=job.name, sample=0, camera=camera) == {"FINISHED"}
        pump()
        (image,) = set(bpy.data.images) - before
        return image

    return run


def queued(addon, act):
    """The job that comes of an action."""
    jobs = addon.runtime.current().manager.jobs
    before = set(jobs)
    assert act() == {"FINISHED"}
    (name,) = set(jobs) - before
    return jobs[name]


def buttons(panel):
    return [arguments[0] for name, arguments, _ in draw(panel).record if name == "operator"]


def test_a_view_is_painted_over_and_pinned_to_its_camera(addon, cube, run_texture, paint, pump):
    first = run_texture()
    bpy.context.window_manager.ddrep.job_index = 0
    panel = addon.panels.DDREP_PT_results
    assert "ddrep.repaint_view" in buttons(panel) and "ddrep.sample_others" not in buttons(panel)
    image = paint(first)
    assert tuple(image.size) == (64, 36) and image.packed_file is not None and image.use_fake_user
    assert {"ddrep.sample_others", "ddrep.paint_view", "ddrep.forget_view"} <= set(buttons(panel))
    pixels = np.empty(64 * 36 * 4, np.float32)
    image.pixels.foreach_get(pixels)
    pixels.reshape(36, 64, 4)[:18, :32] = (1.0, 0.0, 0.0, 1.0)  # painted over, below on the left
    image.pixels.foreach_set(pixels)
    press = bpy.ops.ddrep.sample_others
    second = queued(addon, lambda: press(image=image.name, prompt="a crate with a red corner", strength=0.5))
    pump()
    request = json.loads((second.folder.path / "job.json").read_text())
    block = request["texture"]
    assert (request["task"], request["prompt"]) == ("texture", "a crate with a red corner")
    assert block["pins"] == [{"camera": "Camera", "file": "inputs/pin_0.png"}]
    assert (block["from_texture"], block["strength"], block["resolution"]) == (True, 0.5, 128)
    pinned = png(second.folder.path / "inputs/pin_0.png")
    assert pinned.shape == (36, 64, 4) and (pinned[18:, :32] == (255, 0, 0, 255)).all()
    assert (pinned[:18, :32] == (90, 160, 30, 255)).all()
    (entry,) = block["base"]
    (texture,) = (first.folder.path / "outputs").glob("texture_*.png")
    assert (second.folder.path / entry["file"]).read_bytes() == texture.read_bytes()
    for name in ("mesh.obj", "cameras.json"):
        assert (second.folder.path / "inputs" / name).read_bytes() == (first.folder.path / "inputs" / name).read_bytes()
    assert second.state == "done" and cube.ddrep.job == second.name
    bpy.ops.ddrep.forget_view(image=image.name)
    assert not list(addon.operators.repaint.paintings())


def test_the_picture_is_all_that_comes_and_one_undo_step(addon, cube, run_texture, paint):
    job = run_texture()
    before = snapshot()
    image = paint(job)
    found = snapshot()
    bpy.data.images.remove(image)
    assert snapshot() == before != found
    assert "UNDO" in addon.operators.repaint.DDREP_OT_open_view.bl_options


def test_a_picture_is_shown_where_an_image_editor_is_open(addon, cube, run_texture, paint):
    area = bpy.context.window_manager.windows[0].screen.areas[0]
    before, area.type = area.type, "IMAGE_EDITOR"
    try:
        image = paint(run_texture())
        space = area.spaces.active
        assert space.image == image and space.ui_mode == "PAINT"
    finally:
        area.type = before


def test_what_cannot_be_repainted_is_told(addon, cube, run_texture, paint, pump):
    job = run_texture()
    with pytest.raises(RuntimeError, match=r"no camera called 'Elsewhere'\. It has: Camera"):
        bpy.ops.ddrep.repaint_view(job=job.name, sample=0, camera="Elsewhere")
    with pytest.raises(RuntimeError, match="This picture of a view is gone"):
        bpy.ops.ddrep.sample_others(image="none")
    with pytest.raises(RuntimeError, match="drawn view is gone"):
        bpy.ops.ddrep.open_view(job=job.name, sample=0, camera="Camera", file="nowhere.png")
    image = paint(job)
    (texture,) = (job.folder.path / "outputs").glob("texture_*.png")
    texture.write_bytes(b"no picture")
    with pytest.raises(RuntimeError, match="gone or damaged"):
        bpy.ops.ddrep.sample_others(image=image.name)
    (job.folder.path / "outputs/mesh.glb").unlink()
    addon.runtime.current().samples.clear()
    with pytest.raises(RuntimeError, match="mesh of this sample is gone"):
        bpy.ops.ddrep.repaint_view(job=job.name, sample=0, camera="Camera")
    bpy.context.scene.ddrep.panorama.prompt = "a blue sky"
    bpy.ops.ddrep.panorama()
    pump()
    (world,) = [each for each in addon.runtime.current().manager.jobs.values() if each.task == "panorama"]
    for press, word in ((bpy.ops.ddrep.repaint_view, "repainted"), (bpy.ops.ddrep.detail_sample, "painted closely")):
        with pytest.raises(RuntimeError, match=f"Textures can be {word}; this result is none"):
            press(job=world.name, sample=0)


def test_an_engine_that_cannot_draw_says_why(addon, cube, run_texture, pump, monkeypatch):
    job = run_texture()
    monkeypatch.setattr(addon.runtime.painting, "Drawing", refusing(addon.runtime.painting.Drawing))
    assert bpy.ops.ddrep.repaint_view(job=job.name, sample=0, camera="Camera") == {"FINISHED"}
    pump()
    assert "There is no such file" in bpy.context.window_manager.ddrep.problem
    assert addon.runtime.current().painting is None


def refusing(drawing):
    return lambda python, mesh, camera: drawing(python, mesh.with_name("gone.glb"), camera)


def test_a_finished_texture_is_painted_closely(addon, cube, run_texture, pump):
    first = run_texture()
    bpy.context.window_manager.ddrep.job_index = 0
    assert "ddrep.detail_sample" in buttons(addon.panels.DDREP_PT_results)
    second = queued(addon, lambda: bpy.ops.ddrep.detail_sample(job=first.name, sample=0, strength=0.3))
    pump()
    request = json.loads((second.folder.path / "job.json").read_text())
    assert (request["task"], request["prompt"], request["detail"]["strength"]) == ("detail", "a wooden crate", 0.3)
    assert second.task == "texture" and second.state == "done" and cube.ddrep.job == second.name
    third = queued(addon, lambda: bpy.ops.ddrep.detail_sample(job=second.name, sample=0))  # a result like any other
    assert third.task == "texture"


@needs_engine
@pytest.mark.once
def test_the_engine_draws_the_view_and_samples_the_others(addon, cube, pump, run_texture):
    """With the real engine: the view of a result, something painted on it, and the other views."""
    first = run_texture()
    addon.preferences.preferences().engine = str(ENGINE)
    assert bpy.ops.ddrep.repaint_view(job=first.name, sample=0, camera="Camera") == {"FINISHED"}
    pump(seconds=120)
    assert not bpy.context.window_manager.ddrep.problem
    ((image, *_),) = addon.operators.repaint.paintings()
    width, height = image.size
    assert abs(width / height - 16 / 9) < 0.01 and max(width, height) == 1024
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(height, width, 4)
    assert 0.005 < (pixels[..., 3] > 0.5).mean() < 0.6  # what the fake engine made, and nothing behind it
    pixels[pixels[..., 3] > 0.5] = (0.8, 0.1, 0.1, 1.0)
    image.pixels.foreach_set(pixels.reshape(-1))
    addon.preferences.preferences().engine = ""  # written and not run: the engine is asked below
    addon.preferences.preferences().runs_on = "SERVED"
    try:
        second = queued(addon, lambda: bpy.ops.ddrep.sample_others(image=image.name, strength=0.2))
        third = queued(addon, lambda: bpy.ops.ddrep.detail_sample(job=first.name, sample=0))
        pump(lambda: all((each.folder.path / "job.json").is_file() for each in (second, third)))
    finally:
        addon.preferences.preferences().runs_on = "HERE"
    request = json.loads((second.folder.path / "job.json").read_text())
    (second.folder.path / "job.json").write_text(json.dumps({**request, "steps": 2}))
    ended = engine("run", str(second.folder.path))
    assert ended.returncode == 0, ended.stderr
    assert second.folder.result()["samples"][0]["pins"]["Camera"] < 0.06
    read = [str(ENGINE), "-c", READ + "print(r.detail)", str(third.folder.path)]
    told = subprocess.run(read, capture_output=True, text=True, check=True)
    assert "strength=0.4" in told.stdout and "inputs/texture_000.png" in told.stdout


def engine(*words):
    """The real engine's answer."""
    return subprocess.run([str(ENGINE), "-m", "ddrep_core", *words], capture_output=True, text=True, check=False)
