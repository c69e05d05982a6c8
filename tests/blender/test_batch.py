"""Many objects, a job each: sent, watched and brought in; and without a window."""

from __future__ import annotations

import json
import subprocess

import bpy
import pytest
from conftest import select


@pytest.fixture
def crates(cube):
    """Three objects with meshes of their own."""
    things = [cube]
    for number in range(2):
        thing = cube.copy()
        thing.data = cube.data.copy()
        thing.location.x = 4.0 * (number + 1)
        bpy.context.scene.collection.objects.link(thing)
        things.append(thing)
    for thing, material in zip(things, ("oak", "brass", "red paint"), strict=True):
        thing["material"] = material
    select(*things)
    return things


def prompts(addon):
    return {
        job.folder.scene()["objects"][0]["name"]: job.prompt for job in addon.runtime.current().manager.jobs.values()
    }


def test_each_object_gets_a_job_in_its_own_words(addon, crates, pump):
    scene = bpy.context.scene
    scene.ddrep.texture.prompt = "a {name} of {material}"
    scene.ddrep.automatic_import = False
    assert bpy.ops.ddrep.texture_each() == {"FINISHED"}
    jobs = addon.runtime.current().manager.jobs
    before = len(jobs)
    addon.runtime.pump()
    assert before == 0 and len(jobs) == 1  # one a slice: Blender stays alive
    assert "3 to go" in addon.runtime.words_of_all()
    pump(lambda: len(jobs) == 3 and all(job.state == "done" for job in jobs.values()))
    pump()
    assert prompts(addon) == {
        "Cube": "a Cube of oak", "Cube.001": "a Cube of brass", "Cube.002": "a Cube of red paint",
    }  # fmt: skip
    assert len({job.folder.scene()["batch"] for job in jobs.values()}) == 1
    assert scene.ddrep.texture.prompt == "a {name} of {material}"
    assert not any(job.imported for job in jobs.values()) and len(addon.runtime.still_out()) == 3
    assert bpy.ops.ddrep.bring_in_all() == {"FINISHED"}
    pump()
    assert all(job.imported for job in jobs.values()) and addon.runtime.still_out() == []
    assert all("ddrep_result" in thing.material_slots[0].material for thing in crates)


def test_what_one_object_lacks_is_said_before_anything_begins(addon, crates, pump):
    del crates[1]["material"]
    bpy.context.scene.ddrep.texture.prompt = "{material}"
    with pytest.raises(RuntimeError, match="no custom property 'material'"):
        bpy.ops.ddrep.texture_each()
    pump()
    assert not addon.runtime.current().manager.jobs and not addon.runtime.current().wanted


def test_an_object_that_goes_meanwhile_is_left_out(addon, crates, pump):
    bpy.ops.ddrep.texture_each()
    bpy.data.objects.remove(crates[2])
    pump()
    assert sorted(prompts(addon)) == ["Cube", "Cube.001"]


def run(addon, *arguments):
    return addon.cli.main([str(each) for each in arguments])


def test_a_batch_is_written_worked_off_and_collected(addon, crates, pump, tmp_path, fake_python, capfd):
    blend = tmp_path / "scene.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    folder, output = tmp_path / "farm", tmp_path / "out.blend"
    status = run(addon, "batch", folder, "--prompt", "a {material} {name}", "--resolution", 128, "--seed", 5)
    assert status == 0 and "3 jobs" in capfd.readouterr().out
    jobs = sorted(folder.iterdir())
    requests = [json.loads((job / "job.json").read_text()) for job in jobs]
    assert {each["prompt"] for each in requests} == {"a oak Cube", "a brass Cube", "a red paint Cube"}
    assert {each["seed"] for each in requests} == {5}
    for job in jobs[:2]:
        subprocess.run([str(fake_python), "-I", "-m", "ddrep_core", "run", str(job)], check=True, capture_output=True)
    assert run(addon, "collect", folder, "--output", output) == 1  # the third is not done
    assert jobs[2].name in capfd.readouterr().err
    bpy.ops.wm.open_mainfile(filepath=str(output))
    assert len([material for material in bpy.data.materials if "ddrep_result" in material]) == 2


def test_a_batch_of_what_is_not_there(addon, crates, tmp_path, capfd):
    for arguments, words in (
        (["--prompt", "{wood}"], "no custom property 'wood'"),
        (["--prompt", "x", "--object", "Nobody"], "no object 'Nobody'"),
        (["--prompt", "x", "--collection", "None"], "no collection"),
    ):
        assert run(addon, "batch", tmp_path / "farm", *arguments) == 2
        assert words in capfd.readouterr().err
    assert not (tmp_path / "farm").exists()
    assert run(addon, "collect", tmp_path / "nowhere", "--output", tmp_path / "x.blend") == 2
