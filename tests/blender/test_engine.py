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


def test_texture_through_to_the_result_cancelled_resumed_and_the_same_headless(real, cube, pump, tmp_path):
    scene = bpy.context.scene
    settings = scene.ddrep.texture
    settings.prompt, settings.quality, settings.steps = "a wooden crate", "CUSTOM", 6
    scene.ddrep.cameras.source, scene.ddrep.cameras.orbit_count = "ORBIT", 4
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


def test_a_request_that_the_engine_refuses_is_told_in_its_words(real, cube, pump):
    bpy.context.scene.ddrep.texture.prior = "/nowhere/model"
    bpy.ops.ddrep.texture()
    pump(seconds=300)
    (job,) = real.runtime.current().manager.jobs.values()
    assert job.state == "failed" and "/nowhere/model" in job.problem.message
