"""The list of ControlNets and the reference picture: each change one undo step, rows in the panel, the job."""

from __future__ import annotations

import json
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from test_panels import draw


@pytest.fixture
def files(tmp_path):
    for name in ("depth", "tile", "image_encoder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "ip-adapter.safetensors").write_bytes(b"{}")
    return tmp_path


@pytest.fixture
def settings(addon, cube):
    return bpy.context.scene.ddrep.texture


def add(folder, name, task="texture"):
    return bpy.ops.ddrep.add_controlnet(task=task, directory=str(folder / name))


def picture(name="oil", colour=(1.0, 0.0, 0.0, 1.0)):
    image = bpy.data.images.new(name, 8, 4)
    image.pixels.foreach_set(np.tile(np.float32(colour), 32))
    return image


def job(folder):
    assert bpy.ops.ddrep.write_job(directory=str(folder)) == {"FINISHED"}
    return json.loads((folder / "job.json").read_text())


def test_controlnets_go_into_the_job(settings, files):
    assert not {"controlnets", "reference"} & job(files / "without").keys()
    assert add(files, "depth") == {"FINISHED"} and add(files, "tile") == {"FINISHED"}
    settings.controlnets[1].kind, settings.controlnets[1].scale = "tile", 0.5
    settings.controlnets.add().folder = "owner/canny"  # typed into the row
    assert job(files / "job")["controlnets"] == [
        {"folder": str((files / "depth").resolve()), "kind": None, "scale": 1.0},
        {"folder": str((files / "tile").resolve()), "kind": "tile", "scale": 0.5},
        {"folder": "owner/canny", "kind": None, "scale": 1.0},
    ]
    assert not bpy.context.scene.ddrep.generate.controlnets  # each task has its own


def test_a_reference_goes_into_the_job_with_what_it_needs(settings, files):
    settings.reference, settings.reference_scale = picture(), 0.6
    settings.ip_adapter = str(files / "ip-adapter.safetensors")
    told = job(files / "job")["reference"]
    assert told == {
        "picture": "inputs/reference.png",
        "adapter": str((files / "ip-adapter.safetensors").resolve()),
        "image_encoder": None,
        "scale": 0.6,
    }
    back = bpy.data.images.load(str(files / "job/inputs/reference.png"))
    assert tuple(back.size) == (8, 4) and np.allclose(list(back.pixels[:4]), (1, 0, 0, 1), atol=1 / 255)
    settings.image_encoder = str(files / "image_encoder")
    assert job(files / "second")["reference"]["image_encoder"] == str((files / "image_encoder").resolve())


def test_a_camera_can_look_at_a_picture_of_its_own(settings, files):
    settings.ip_adapter = str(files / "ip-adapter.safetensors")
    camera = bpy.context.scene.camera
    camera.ddrep.reference = picture("blue", (0.0, 0.0, 1.0, 1.0))
    assert "reference" not in job(files / "none")  # as long as nothing is looked at
    settings.reference = picture()
    told = job(files / "job")
    assert told["reference"]["cameras"] == [{"camera": camera.name, "file": "inputs/reference_0.png"}]
    back = bpy.data.images.load(str(files / "job/inputs/reference_0.png"))
    assert np.allclose(list(back.pixels[:4]), (0, 0, 1, 1), atol=1 / 255)
    bpy.context.scene.ddrep.cameras.source = "FRAMES"
    bpy.context.scene.frame_end = 21
    told = job(files / "frames")["reference"]["cameras"]
    assert [each["camera"] for each in told] == [f"{camera.name} @ {frame}" for frame in (1, 11, 21)]
    bpy.context.scene.ddrep.cameras.source = "ORBIT"
    assert "cameras" not in job(files / "orbit")["reference"]


@pytest.mark.parametrize("task", ["generate", "panorama"])
def test_other_tasks_look_too(addon, cube, files, task):
    settings = getattr(bpy.context.scene.ddrep, task)
    settings.prompt, settings.reference = "a cow", picture()
    settings.ip_adapter = str(files / "ip-adapter.safetensors")
    assert bpy.ops.ddrep.write_job(task=task, directory=str(files / "job")) == {"FINISHED"}
    assert (files / "job/inputs/reference.png").is_file()


def test_rows_stay_away_until_there_is_something(addon, settings, files):
    def shown():
        record = draw(addon.panels.DDREP_PT_texture_advanced).record
        return {arguments[1] for name, arguments, _ in record if name.startswith(("prop", "template_ID"))}

    assert not {"controlnet", "folder", "ip_adapter", "image_encoder", "reference_scale"} & shown()
    assert "ddrep.add_controlnet" in draw(addon.panels.DDREP_PT_texture_advanced).operators()
    assert "ddrep.add_controlnet" not in draw(addon.panels.DDREP_PT_panorama_advanced).operators()
    add(files, "depth")
    settings.reference = picture()
    settings.controlnet = "owner/name"  # as a file from before the list has it
    assert {"controlnet", "folder", "kind", "scale", "reference", "ip_adapter", "image_encoder"} <= shown()


def test_each_change_is_one_undo_step(settings, files):
    bpy.ops.ed.undo_push(message="before")
    add(files, "depth")
    bpy.ops.ed.undo_push(message="added")
    bpy.ops.ddrep.remove_controlnet(task="texture", index=0)
    bpy.ops.ed.undo_push(message="removed")
    bpy.ops.ed.undo()
    assert len(bpy.context.scene.ddrep.texture.controlnets) == 1
    bpy.ops.ed.undo()
    assert len(bpy.context.scene.ddrep.texture.controlnets) == 0


def test_what_cannot_be_is_said_with_what_to_do(settings, files):
    with pytest.raises(RuntimeError, match=r"no config\.json.*Choose the folder"):
        add(files, "empty")
    with pytest.raises(RuntimeError, match="not in the list"):
        bpy.ops.ddrep.remove_controlnet(task="texture", index=0)
    for _ in range(8):
        add(files, "depth")
    with pytest.raises(RuntimeError, match=r"8 ControlNets at most\. Take one off"):
        add(files, "depth")
    settings.controlnets.clear()
    settings.controlnets.add()
    refused(files, "has no folder. Choose it")
    settings.controlnets[0].folder = str(files / "gone")
    refused(files, r"There is no ControlNet folder .*gone")
    settings.controlnets.clear()
    settings.reference = picture()
    refused(files, "'oil' wants an IP-Adapter")
    settings.ip_adapter = str(files / "ip-adapter.bin")
    refused(files, r"There is no IP-Adapter .*\.bin: it is a \.safetensors file")
    settings.ip_adapter = str(files / "ip-adapter.safetensors")
    settings.image_encoder = str(files / "empty")
    refused(files, "no image encoder")
    settings.image_encoder = ""
    settings.reference = bpy.data.images.new("light", 8, 8, float_buffer=True)
    refused(files, "'light' is no plain picture")


def refused(files, words):
    with pytest.raises(RuntimeError, match=words):
        bpy.ops.ddrep.write_job(directory=str(files / "job"))


def test_an_edit_takes_them_over(addon, settings, files):
    """The engine's own blocks, with the pictures copied into the new job."""
    add(files, "depth")
    settings.reference, settings.ip_adapter = picture(), str(files / "ip-adapter.safetensors")
    bpy.context.scene.camera.ddrep.reference = picture("blue", (0.0, 0.0, 1.0, 1.0))
    before = job(files / "job")
    edit = __import__(f"{addon.__name__}.scene.edit_draft", fromlist=["edit_draft"])
    folder = __import__(f"{addon.__name__}.engine.folder", fromlist=["JobFolder"]).JobFolder(files / "job")
    sample = SimpleNamespace(
        objects=[SimpleNamespace(key="x", texture=(files / "job/inputs/mesh.obj").resolve(), tiles=())]
    )
    draft = edit.edit_draft(folder, sample, "new", "old", 0.5)
    assert draft.request["controlnets"] == before["controlnets"] and draft.request["reference"] == before["reference"]
    for place in ("inputs/reference.png", "inputs/reference_0.png"):
        assert b"".join(draft.files[place]) == (files / "job" / place).read_bytes()
