"""Edit in the results' strip: a result and new words become a job, and its result lands where the first one lay."""

from __future__ import annotations

import json
from types import SimpleNamespace

import bpy
import pytest
from test_panels import draw


@pytest.fixture
def edit(addon, pump):
    """Edit a job's first sample, and wait for the end. Returns the new job."""

    def run(job, prompt="a golden crate", **told):
        jobs = addon.runtime.current().manager.jobs
        before = set(jobs)
        assert bpy.ops.ddrep.edit_sample(job=job.name, sample=0, prompt=prompt, **told) == {"FINISHED"}
        (name,) = set(jobs) - before
        pump()
        return jobs[name]

    return run


def test_a_texture_is_edited_with_its_own_words_and_cameras_and_lands_on_its_object(addon, cube, run_texture, edit):
    first = run_texture()
    second = edit(first, strength=0.5)
    request = json.loads((second.folder.path / "job.json").read_text())
    block = request["edit"]
    assert (block["source_prompt"], request["prompt"], block["strength"]) == ("a wooden crate", "a golden crate", 0.5)
    assert (block["kind"], block["mesh_up"], second.task) == ("texture", "z", "texture")
    for name in ("mesh.obj", "cameras.json"):
        assert (second.folder.path / "inputs" / name).read_bytes() == (first.folder.path / "inputs" / name).read_bytes()
    (picture,) = block["textures"].values()
    (worn,) = (first.folder.path / "outputs").glob("texture_*.png")
    assert (second.folder.path / picture).read_bytes() == worn.read_bytes()
    assert second.state == "done" and cube.ddrep.job == second.name
    assert cube.active_material.name.startswith("a golden crate")
    third = edit(second, "a red crate")  # an edit is a result like any other
    assert json.loads((third.folder.path / "job.json").read_text())["edit"]["source_prompt"] == "a golden crate"
    bpy.ops.ddrep.show_original(job=third.name)
    assert cube.active_material.name == "Material"


def test_the_words_are_filled_in_and_before_and_after_are_what_the_gallery_shows(addon, cube, run_texture, edit):
    first = run_texture()
    asked = SimpleNamespace(found=lambda: (first, None), prompt="", source_prompt="")
    window = SimpleNamespace(invoke_props_dialog=lambda operator, width: {"RUNNING_MODAL"})
    told = addon.operators.edits.DDREP_OT_edit_sample.invoke(asked, SimpleNamespace(window_manager=window), None)
    assert told == {"RUNNING_MODAL"} and asked.source_prompt == asked.prompt == "a wooden crate"
    second = edit(first)
    result, compared = second.folder.result_file, second.folder.path / "outputs" / "before_after.png"
    kept = json.loads(result.read_text())
    kept["samples"][0]["files"]["before_after"] = "outputs/before_after.png"
    result.write_text(json.dumps(kept))
    compared.write_bytes(b"")
    (sample,) = addon.results.outcome.read_samples(second.folder)
    assert sample.objects[0].texture is not None and sample.picture.samefile(compared)


def test_a_world_is_edited(addon, pump, edit):
    bpy.context.scene.ddrep.panorama.prompt = "a blue sky"
    assert bpy.ops.ddrep.panorama() == {"FINISHED"}
    pump()
    (first,) = addon.runtime.current().manager.jobs.values()
    second = edit(first, "a thunderstorm")
    assert second.state == "done" and second.task == "panorama"
    assert bpy.context.scene.world.name.startswith("a thunderstorm")


def test_the_button_stands_in_the_strip_and_asks_for_words(addon, cube, run_texture):
    job = run_texture()
    bpy.context.window_manager.ddrep.job_index = 0
    pressed = [arguments[0] for name, arguments, _ in draw(addon.panels.DDREP_PT_results).record if name == "operator"]
    assert "ddrep.edit_sample" in pressed
    with pytest.raises(RuntimeError, match="what it should become"):
        bpy.ops.ddrep.edit_sample(job=job.name, sample=0, prompt=" ")
    (job.folder.path / "inputs/mesh.obj").unlink()
    with pytest.raises(RuntimeError, match="lacks a file"):
        bpy.ops.ddrep.edit_sample(job=job.name, sample=0, prompt="a golden crate")
