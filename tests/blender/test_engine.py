"""The whole way with the real engine and the bundled prior: few steps, small pictures."""

from __future__ import annotations

import shutil
import subprocess

import bpy
import numpy as np
import pytest
from conftest import ENGINE, needs_engine

pytestmark = needs_engine


@pytest.fixture
def real(addon, monkeypatch):
    """The real engine, in one thread: tests must not hang on the number of cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    addon.preferences.preferences().engine = str(ENGINE)
    return addon


@pytest.mark.once
def test_texture_through_to_the_result_cancelled_resumed_and_the_same_headless(real, cube, pump, tmp_path):
    scene = bpy.context.scene
    settings = scene.ddrep.texture
    settings.prompt, settings.quality, settings.steps = "a wooden crate", "CUSTOM", 3
    scene.ddrep.cameras.source, scene.ddrep.cameras.orbit_count = "ORBIT", 3
    written = tmp_path / "written"
    bpy.ops.ddrep.write_job(directory=str(written))
    bpy.ops.ddrep.texture()
    (job,) = real.runtime.current().manager.jobs.values()
    pump(lambda: job.progress.index > 0 or not job.active, seconds=300)
    bpy.ops.ddrep.cancel_job(job=job.name)
    pump(seconds=300)
    assert job.state == "cancelled", job.problem
    bpy.ops.ddrep.retry_job(job=job.name)
    pump(seconds=400)
    assert job.state == "done" and job.imported, job.problem
    image = next(node.image for node in cube.material_slots[0].material.node_tree.nodes if node.type == "TEX_IMAGE")
    assert tuple(image.size) == (128, 128)
    assert np.std(np.array(image.pixels)) > 0.02
    command = [str(ENGINE), "-I", "-m", "ddrep_core", "run", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (written / "outputs/texture.png").read_bytes() == (job.folder.path / "outputs/texture.png").read_bytes()
    shutil.rmtree(job.folder.path)


def test_a_mesh_without_uvs_gets_the_engines_own(real, cube, pump):
    settings = bpy.context.scene.ddrep.texture
    settings.quality, settings.steps = "CUSTOM", 1
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    bpy.ops.ddrep.texture()
    pump(seconds=400)
    (job,) = real.runtime.current().manager.jobs.values()
    assert job.imported, job.problem
    assert [layer.name for layer in cube.data.uv_layers] == ["DDRep"]
    uv = np.array([corner.vector for corner in cube.data.uv_layers[0].uv]).reshape(6, 4, 2)
    assert (uv >= 0).all() and (uv <= 1).all()
    first, second = uv[:, 1] - uv[:, 0], uv[:, 3] - uv[:, 0]
    areas = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
    assert (areas > 0.01).all() and areas.sum() < 1  # every face has a place, and they do not overlap


def test_generate_through_to_the_object_in_the_scene(real, pump):
    scene = bpy.context.scene
    settings = scene.ddrep.generate
    settings.prompt, settings.size, settings.seed, settings.seed_locked = "a red ball", 0.5, 1, True
    settings.quality, settings.steps, settings.grid, settings.views, settings.faces = "CUSTOM", 2, 16, 4, 400
    settings.resolution = "128"
    scene.cursor.location = (1, 2, 3)
    bpy.ops.ddrep.generate()
    pump(seconds=400)
    (job,) = real.runtime.current().manager.jobs.values()
    assert job.imported, job.problem
    parent = bpy.data.objects["a red ball"]
    (child,) = parent.children
    bpy.context.view_layer.update()
    corners = np.array([child.matrix_world @ vertex.co for vertex in child.data.vertices])
    assert np.isclose(np.ptp(corners, axis=0).max(), 0.5, atol=1e-4) and np.isclose(corners[:, 2].min(), 3, atol=1e-4)
    image = next(node.image for node in child.data.materials[0].node_tree.nodes if node.type == "TEX_IMAGE")
    assert tuple(image.size) == (128, 128) and image.packed_file is not None


def test_panorama_through_to_the_world(real, pump):
    settings = bpy.context.scene.ddrep.panorama
    settings.prompt, settings.quality, settings.steps, settings.width = "green hills", "CUSTOM", 2, "512"
    settings.hdr = True
    bpy.ops.ddrep.panorama()
    pump(seconds=400)
    (job,) = real.runtime.current().manager.jobs.values()
    assert job.imported, job.problem
    nodes = bpy.context.scene.world.node_tree.nodes
    image = next(node.image for node in nodes if node.type == "TEX_ENVIRONMENT")
    assert tuple(image.size) == (512, 256) and image.is_float and image.packed_file is not None
    assert np.isfinite(np.array(image.pixels)).all() and np.std(np.array(image.pixels)) > 0.02


def test_a_material_that_repeats_through_to_the_slot(real, cube, pump):
    settings = bpy.context.scene.ddrep.image
    settings.prompt, settings.quality, settings.steps, settings.resolution = "red bricks", "CUSTOM", 2, "256"
    bpy.ops.ddrep.image()
    pump(seconds=400)
    (job,) = real.runtime.current().manager.jobs.values()
    assert job.imported, job.problem
    picture = next(node for node in cube.active_material.node_tree.nodes if node.type == "TEX_IMAGE")
    assert tuple(picture.image.size) == (256, 256) and np.std(np.array(picture.image.pixels)) > 0.02


@pytest.mark.once
def test_a_request_that_the_engine_refuses_is_told_in_its_words(real, cube, pump):
    bpy.context.scene.ddrep.texture.prior = "/nowhere/model"
    bpy.ops.ddrep.texture()
    pump(seconds=300)
    (job,) = real.runtime.current().manager.jobs.values()
    assert job.state == "failed" and "/nowhere/model" in job.problem.message
