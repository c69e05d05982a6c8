"""UDIM: UVs in tiles, a texture for each, and one tiled image in the result's material."""

from __future__ import annotations

import importlib
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import ENGINE, needs_engine


@pytest.fixture
def tiled(cube):
    """The cube, two of its faces in each of three tiles, with a UDIM image."""
    node = cube.material_slots[0].material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.new("tiles", 16, 16, tiled=True)
    for number, corner in enumerate(cube.data.uv_layers[0].uv):
        corner.vector.x = corner.vector.x * 0.98 + 0.01 + number // 8
    return cube


def test_a_job_says_that_there_are_tiles(addon, tiled):
    addon.runtime.require(bpy.context, "texture")
    assert addon.operators.make.draft(bpy.context, "texture").request["texture"]["udim"] is True
    tiled.material_slots[0].material.node_tree.nodes.clear()
    with pytest.raises(addon.problems.Problem, match="If they are UDIM tiles, give it a material with a UDIM image"):
        addon.operators.make.draft(bpy.context, "texture")


@needs_engine
@pytest.mark.parametrize("storage", ["PACK", "BESIDE"])
def test_a_result_is_one_image_with_its_tiles(addon, tiled, pump, monkeypatch, tmp_path, storage):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    addon.preferences.preferences().engine = str(ENGINE)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    scene = bpy.context.scene
    thing, settings = bpy.data.objects[tiled.name], scene.ddrep.texture
    settings.prompt, settings.quality, settings.steps = "a wooden crate", "CUSTOM", 1
    settings.storage = storage
    scene.ddrep.cameras.source, scene.ddrep.cameras.orbit_count = "ORBIT", 2
    bpy.ops.ddrep.texture()
    pump(seconds=400)
    (job,) = addon.runtime.current().manager.jobs.values()
    assert job.imported, job.problem
    tree = thing.material_slots[0].material.node_tree
    (image,) = {
        link.from_node.image
        for node in tree.nodes
        if node.type == "BSDF_PRINCIPLED"
        for link in node.inputs["Base Color"].links
    }
    assert image.source == "TILED" and [tile.number for tile in image.tiles] == [1001, 1002, 1003]
    assert image.colorspace_settings.name == "sRGB"
    outputs = job.folder.path / "outputs"
    for tile in image.tiles:
        stored = next(outputs.glob(f"texture*.{tile.number}.png")).read_bytes()
        if storage == "PACK":
            packed = next(each for each in image.packed_files if each.tile_number == tile.number)
            assert bytes(packed.packed_file.data) == stored
        else:
            path = bpy.path.abspath(image.filepath).replace("<UDIM>", str(tile.number))
            assert "<UDIM>" in image.filepath and Path(path).read_bytes() == stored
    image.tiles.active_index = 1
    assert np.std(np.array(image.pixels)) > 0
    if storage == "PACK":
        goes_on_from(addon, job, outputs)


def goes_on_from(addon, job, outputs):
    """What begins with such a result is given each tile's picture, and told that it is one."""
    (sample,) = addon.runtime.samples_of(job)
    stored = {f"Cube.{number}": next(outputs.glob(f"texture*.{number}.png")) for number in (1001, 1002, 1003)}
    scene = addon.operators.edits.edit_draft.__globals__["__package__"]
    repaint = importlib.import_module(f"{scene}.repaint_draft")
    detail = importlib.import_module(f"{scene}.detail_draft")
    drafts = {
        "edit": addon.operators.edits.edit_draft(job.folder, sample, "a golden crate", "a crate", 0.5),
        "detail": detail.detail_draft(job.folder, sample, "a crate", 0.4),
        "texture": repaint.repaint_draft(job.folder, sample, "orbit 1", iter([b""]), 128, "a crate", 0.5),
    }
    for task, made in drafts.items():
        block = made.request[task]
        assert block["udim"] is True
        named = block.get("textures") or {each["object"]: each["file"] for each in block["base"]}
        assert set(named) == set(stored)
        for name, file in named.items():
            assert b"".join(made.files[file]) == stored[name].read_bytes()
