"""The list of LoRAs: each change one undo step, rows in the panel, the files and weights in the job."""

from __future__ import annotations

import json

import bpy
import pytest
from test_panels import draw


@pytest.fixture
def files(tmp_path):
    for name in ("oil.safetensors", "detail.safetensors", "old.ckpt"):
        (tmp_path / name).write_bytes(b"{}")
    return tmp_path


def add(folder, *names, task="texture"):
    return bpy.ops.ddrep.add_lora(task=task, directory=str(folder), files=[{"name": name} for name in names])


def test_loras_go_into_the_job(addon, cube, files):
    loras = bpy.context.scene.ddrep.texture.loras
    bpy.ops.ddrep.write_job(directory=str(files / "without"))
    assert "loras" not in json.loads((files / "without/job.json").read_text())
    assert add(files, "oil.safetensors", "detail.safetensors") == {"FINISHED"}
    loras[1].weight = 0.3
    assert bpy.ops.ddrep.write_job(directory=str(files / "job")) == {"FINISHED"}
    assert json.loads((files / "job/job.json").read_text())["loras"] == [
        {"file": str((files / "oil.safetensors").resolve()), "weight": 1.0},
        {"file": str((files / "detail.safetensors").resolve()), "weight": 0.3},
    ]
    assert not bpy.context.scene.ddrep.generate.loras  # each task has its own


def test_rows_and_buttons(addon, cube, files):
    add(files, "oil.safetensors", "detail.safetensors", task="generate")
    layout = draw(addon.panels.DDREP_PT_generate_advanced)
    rows = [arguments[0].file for name, arguments, _ in layout.record if name == "prop" and arguments[1] == "file"]
    assert [row.rpartition("/")[2] for row in rows] == ["oil.safetensors", "detail.safetensors"]
    assert layout.operators().count("ddrep.remove_lora") == 2 and "ddrep.add_lora" in layout.operators()
    assert bpy.ops.ddrep.remove_lora(task="generate", index=0) == {"FINISHED"}
    assert [lora.file.rpartition("/")[2] for lora in bpy.context.scene.ddrep.generate.loras] == ["detail.safetensors"]


def test_each_change_is_one_undo_step(addon, cube, files):
    bpy.ops.ed.undo_push(message="before")
    add(files, "oil.safetensors")
    bpy.ops.ed.undo_push(message="added")
    bpy.ops.ddrep.remove_lora(task="texture", index=0)
    bpy.ops.ed.undo_push(message="removed")
    bpy.ops.ed.undo()
    assert len(bpy.context.scene.ddrep.texture.loras) == 1
    bpy.ops.ed.undo()
    assert len(bpy.context.scene.ddrep.texture.loras) == 0


def test_what_cannot_be_a_lora_is_said(addon, cube, files):
    for names, words in ((("old.ckpt",), "can run code"), ((), "No LoRA file")):
        with pytest.raises(RuntimeError, match=words):
            add(files, *names)
    with pytest.raises(RuntimeError, match="not in the list"):
        bpy.ops.ddrep.remove_lora(task="texture", index=0)
    add(files, "oil.safetensors")
    (files / "oil.safetensors").unlink()
    with pytest.raises(RuntimeError, match=r"There is no LoRA file .*oil\.safetensors"):
        bpy.ops.ddrep.write_job(directory=str(files / "job"))
