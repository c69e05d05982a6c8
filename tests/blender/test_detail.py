"""A detail pass: one row of the panel, one word of the job."""

from __future__ import annotations

import json
import subprocess

import bpy
from conftest import ENGINE, needs_engine
from snapshot import snapshot
from test_panels import draw
from test_scene_to_job import write

READ = "import sys; from ddrep_core.jobs.folder import JobFolder; r = JobFolder(sys.argv[1]).load_request(); "


def test_a_detail_pass_is_in_the_job_only_where_it_is_asked_for(addon, cube, tmp_path):
    plain = json.loads((write(addon, tmp_path / "plain") / "job.json").read_text())["texture"]
    bpy.context.scene.ddrep.texture.detail = True
    before = snapshot()
    asked = json.loads((write(addon, tmp_path / "detail") / "job.json").read_text())["texture"]
    assert snapshot() == before
    assert "detail" not in plain and asked == {**plain, "detail": True}


def test_the_panel_has_a_row_for_it(addon, cube):
    record = draw(addon.panels.DDREP_PT_texture).record
    assert "detail" in [arguments[1] for name, arguments, _ in record if name == "prop"]


@needs_engine
def test_the_engine_reads_it(addon, cube, tmp_path):
    bpy.context.scene.ddrep.texture.detail = True
    command = [str(ENGINE), "-c", READ + "print(r.texture.detail)", str(write(addon, tmp_path))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout.strip() == "True", ended.stderr
