"""The queue: cancelling, failing, retrying, and jobs that are found again."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import bpy
import pytest
from conftest import make_environment


def start(prompt, **settings):
    values = bpy.context.scene.ddrep.texture
    values.prompt = prompt
    for name, value in settings.items():
        setattr(values, name, value)
    assert bpy.ops.ddrep.texture() == {"FINISHED"}


def only_job(addon):
    (job,) = addon.runtime.current().manager.jobs.values()
    return job


def forgotten(addon):
    """As after a restart of Blender: nothing is remembered, everything is on disk."""
    addon.runtime.unregister()
    addon.runtime.register()
    addon.runtime.find_jobs()
    addon.runtime.current().manager.drain()
    addon.runtime.pump()
    return addon.runtime.current().manager.jobs


def test_progress_reaches_the_panel(addon, cube, pump):
    start("a slow crate")
    rows = bpy.context.window_manager.ddrep.jobs
    pump(lambda: rows and rows[0].state == "running" and 0 < rows[0].fraction < 1)
    assert rows[0].words.startswith("Step") and rows[0].prompt == "a slow crate" and rows[0].task == "texture"
    pump()
    assert rows[0].state == "done" and rows[0].fraction == 1 and rows[0].imported
    assert rows[0].words == "Done in 2 s"


def test_cancel_while_it_runs_then_retry_goes_on(addon, cube, pump):
    start("a slow crate")
    job = only_job(addon)
    pump(lambda: job.progress.index > 0)
    assert bpy.ops.ddrep.cancel_job(job=job.name) == {"FINISHED"}
    pump()
    assert job.state == "cancelled" and job.problem is None and not job.imported
    assert "DDRep" not in [material.name for material in bpy.data.materials]
    assert bpy.ops.ddrep.retry_job(job=job.name) == {"FINISHED"}
    pump(lambda: job.state == "running")
    assert "--resume" in job.handle.args
    pump()
    assert job.state == "done" and job.imported and not job.folder.cancel_file.exists()


def test_cancel_before_it_starts(addon, cube, pump):
    start("a slow crate")
    start("a crate")
    first, second = addon.runtime.current().manager.jobs.values()
    if second.prompt != "a crate":
        first, second = second, first
    pump(lambda: first.state == "running" and second.state == "waiting")
    bpy.ops.ddrep.cancel_job(job=second.name)
    bpy.ops.ddrep.cancel_job(job=first.name)
    pump()
    assert (first.state, second.state) == ("cancelled", "cancelled")
    assert not second.folder.events_file.exists()


def test_an_engine_that_does_not_listen_is_ended(addon, cube, pump, monkeypatch):
    import bl_ext.user_default.ddrep.engine.manager as manager

    monkeypatch.setattr(manager, "GRACE_SECONDS", 0.2)
    start("a stuck crate")
    job = only_job(addon)
    pump(lambda: job.progress.index > 0)
    handle = job.handle
    bpy.ops.ddrep.cancel_job(job=job.name)
    pump()
    assert job.state == "cancelled" and handle.poll() is not None


def test_one_job_runs_at_a_time_in_order(addon, cube, pump):
    for prompt in ("a first slow crate", "a second crate", "a third crate"):
        start(prompt)
    jobs = {job.prompt: job for job in addon.runtime.current().manager.jobs.values()}
    seen = []

    def watch():
        running = [prompt for prompt, job in jobs.items() if job.state == "running"]
        assert len(running) <= 1
        if running and running[0] not in seen:
            seen.append(running[0])
        return all(job.state == "done" for job in jobs.values())

    pump(watch)
    assert seen == ["a first slow crate", "a second crate", "a third crate"]


@pytest.mark.parametrize(
    ("prompt", "words", "fix"),
    [
        ("an error crate", "The prior 'nothing' is not there. Choose another prior.", "ddrep.retry_job"),
        ("a crash crate", "The engine crashed", "ddrep.retry_job"),
        ("a silent crate", "exit status 7", "ddrep.retry_job"),
        ("a full crate", "The disk that holds", "ddrep.retry_job"),
        ("a memory crate", "ran out of memory", "ddrep.retry_job"),
    ],
)
def test_a_failed_run_says_why_and_the_button_helps(addon, cube, pump, prompt, words, fix):
    materials = set(bpy.data.materials.keys())
    start(prompt)
    job = only_job(addon)
    pump()
    assert job.state == "failed" and words in job.problem.message and job.problem.fix == fix
    assert set(bpy.data.materials.keys()) == materials
    again = forgotten(addon)[job.name]  # and says so again after a restart
    assert again.state == "failed" and words.split(" (")[0][:20] in again.problem.message
    if "full" in prompt:
        return
    arguments = dict(job.problem.arguments)
    getattr(bpy.ops.ddrep, fix.split(".")[1])(**arguments)
    pump(lambda: again.state in ("done", "failed"))
    assert again.state == "done", again.problem
    if "memory" in prompt:
        assert again.folder.request()["max_batch"] == 1


def test_a_killed_engine_is_told(addon, cube, pump):
    start("a slow crate")
    job = only_job(addon)
    pump(lambda: job.progress.index > 0)
    job.handle.kill()
    pump()
    assert job.state == "failed" and "memory" in job.problem.message  # the system kills what takes too much


def test_no_engine_is_told_before_anything_is_written(addon, cube, tmp_path):
    addon.preferences.preferences().engine = ""
    assert not bpy.ops.ddrep.texture.poll()
    addon.preferences.preferences().engine = str(tmp_path / "nowhere")
    bpy.ops.ddrep.texture()
    addon.runtime.current().manager.drain()
    addon.runtime.pump()
    job = only_job(addon)
    assert job.state == "failed" and "no Python" in job.problem.message
    assert job.problem.fix == "ddrep.open_preferences"


def test_an_engine_of_another_version_is_refused(addon, cube, pump, tmp_path):
    addon.preferences.preferences().engine = str(make_environment(tmp_path / "other", "0.7.1"))
    start("a crate")
    job = only_job(addon)
    pump()
    assert job.state == "failed" and "version 0.7.1" in job.problem.message and "0.1" in job.problem.message
    assert not job.folder.events_file.exists()
    assert not bpy.ops.ddrep.texture.poll()  # and the button says so from now on


def test_a_python_without_an_engine_is_refused(addon, cube, pump, tmp_path):
    addon.preferences.preferences().engine = str(make_environment(tmp_path / "empty", with_engine=False))
    start("a crate")
    pump()
    assert "has no engine in it" in only_job(addon).problem.message


def test_a_job_goes_on_without_blender_and_is_found_again(addon, cube, pump):
    start("a slow crate")
    job = only_job(addon)
    pump(lambda: job.progress.index > 0)
    found = forgotten(addon)[job.name]
    assert found is not job and found.state == "running" and found.handle is None
    job.handle.wait(timeout=30)
    pump(lambda: found.state == "done", seconds=20)
    assert not found.imported  # another run of Blender asked for it: it waits for a click
    assert bpy.ops.ddrep.bring_in(job=found.name) == {"FINISHED"}
    assert found.imported


def test_a_job_that_ended_meanwhile_is_found_with_its_result(addon, cube, pump, run_texture):
    job = run_texture()
    found = forgotten(addon)[job.name]
    assert found.state == "done" and found.imported and found.progress.fraction == 1


def test_a_waiting_job_of_an_earlier_blender_waits_for_a_click(addon, cube, pump):
    start("a crate")
    job = only_job(addon)
    addon.runtime.current().manager.drain()
    job.folder.update_scene(session="another")
    found = forgotten(addon)[job.name]
    assert found.state == "waiting"
    for _ in range(5):
        addon.runtime.pump()
    assert found.state == "waiting"
    bpy.ops.ddrep.retry_job(job=job.name)
    pump(lambda: found.state == "done")


def test_a_result_for_another_file_does_not_land_in_this_one(addon, cube, pump):
    start("a slow crate")
    job = only_job(addon)
    pump(lambda: job.progress.index > 0)
    bpy.context.window_manager.ddrep.problem = "of that file"
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=False)  # it has a Cube, too
    assert bpy.context.window_manager.ddrep.problem == ""
    materials = set(bpy.data.materials.keys())
    pump(lambda: job.state == "done")
    pump()
    assert not job.imported and set(bpy.data.materials.keys()) == materials


def test_a_result_waits_while_the_artist_is_in_edit_mode(addon, cube, pump):
    start("a slow crate")
    job = only_job(addon)
    bpy.ops.object.mode_set(mode="EDIT")
    pump(lambda: job.state == "done")
    for _ in range(3):
        addon.runtime.pump()
    assert not job.imported and "Object Mode" in addon.runtime.current().held
    assert bpy.context.mode == "EDIT_MESH"
    bpy.ops.object.mode_set(mode="OBJECT")
    pump()
    assert job.imported and addon.runtime.current().held == ""


def test_automatic_import_can_be_switched_off(addon, cube, pump):
    bpy.context.scene.ddrep.automatic_import = False
    start("a crate")
    pump()
    assert not only_job(addon).imported


def test_damaged_job_folders_do_no_harm(addon, cube, pump, tmp_path):
    folder = tmp_path / "jobs"
    for name, request, events in (
        ("a", "{", ""),
        ("b", "[]", "not json\n"),
        ("c", '{"task": 3, "prompt": []}', '{"event": "step", "index": "x"}\n{"event": 5}\n[1]\n'),
        ("d", '{"task": "texture"}', '{"event": "started", "pid": "1"}\n{"event": "preview", "path": "/etc/passwd"}\n'),
        ("e", '{"task": "texture"}', '{"event": "done", "result": "outputs/result.json"}\n'),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / "job.json").write_text(request)
        (folder / name / "events.jsonl").write_text(events)
        (folder / name / "blender.json").write_text('{"problem": {"message": 3}, "objects": 7, "pid": -5}')
    (folder / "f").mkdir()
    (folder / "file").write_text("")
    jobs = forgotten(addon)
    assert set(jobs) == {"a", "b", "c", "d", "e"}
    with pytest.raises(RuntimeError, match="missing or damaged"):
        bpy.ops.ddrep.bring_in(job="e")


def test_a_problem_from_a_job_file_cannot_call_another_operator(addon):
    from bl_ext.user_default.ddrep.problems import Problem
    from bl_ext.user_default.ddrep.ui.widgets import fix_button
    from fake_layout import Layout

    layout = Layout()
    fix_button(layout, Problem("x", "wm.quit_blender", "Fix"))
    assert layout.operators() == []


def test_deleting_a_job_deletes_its_folder_only(addon, cube, run_texture):
    job = run_texture()
    other = job.folder.path.parent / "other"
    other.mkdir()
    bpy.ops.ddrep.forget_job(job=job.name)
    assert not job.folder.path.exists() and other.is_dir()
    assert cube.material_slots[0].link == "OBJECT"  # what is in the scene stays


def test_the_engine_is_started_without_a_shell_and_without_blenders_python(addon, cube, pump, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    seen = {}
    popen = subprocess.Popen

    class Watched(popen):
        def __init__(self, command, **options):
            if "run" in command:
                seen.update(command=command, **options)
            super().__init__(command, **options)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    bpy.context.scene.ddrep.texture.prompt = 'a crate; rm -rf $HOME `id` && "x" \n|'
    bpy.ops.ddrep.texture()
    pump()
    assert only_job(addon).state == "done"
    assert isinstance(seen["command"], list) and seen["shell"] is False and seen["start_new_session"]
    assert not {"PYTHONPATH", "PYTHONHOME"} & set(seen["env"])
    assert not any("rm" in str(each) for each in seen["command"][:-2])  # the prompt is in a file, never in a command


def test_pump_slices_stay_short(addon, cube, pump):
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=120, y_subdivisions=120, location=(4, 0, 0))
    bpy.context.object.select_set(True)
    cube.select_set(True)
    start("a crate")
    job = only_job(addon)
    slices = []
    while job.state == "preparing":
        began = time.perf_counter()
        addon.runtime.current().manager.pump()
        slices.append(time.perf_counter() - began)
    assert len(slices) > 5  # 14,400 faces: written in many slices, not at once
    pump()
    assert job.imported


def test_scan_of_a_long_history_is_sliced(addon, tmp_path):
    folder = tmp_path / "jobs"
    for number in range(60):
        (folder / f"job{number:03d}").mkdir(parents=True)
        (folder / f"job{number:03d}" / "job.json").write_text('{"task": "texture", "prompt": "x"}')
    addon.runtime.find_jobs(anew=True)
    manager = addon.runtime.current().manager
    manager.pump(budget=0)
    assert len(manager.jobs) == 0
    manager.drain()
    assert len(manager.jobs) == 60


def test_is_engine_knows_its_own(addon, tmp_path):
    from bl_ext.user_default.ddrep.engine.process import is_engine

    if not sys.platform.startswith("linux"):
        pytest.skip("asks /proc")
    assert not is_engine(os.getpid(), tmp_path)  # alive, and not at work on that job
    assert not is_engine(0, tmp_path) and not is_engine(-1, tmp_path) and not is_engine(2**22 + 5, tmp_path)


def test_progress_counts_all_samples_that_are_made_together(addon):
    progress = addon.engine.events.Progress()
    progress.add({"event": "started", "samples": 4})
    progress.add({"event": "step", "sample": 0, "index": 3, "of": 6, "together": 4})
    assert progress.fraction == 0.5
    progress.add({"event": "step", "sample": 1, "index": 3, "of": 6})
    assert progress.fraction == 1.5 / 4


def test_a_job_can_be_sent_to_another_machine(addon, cube, pump):
    """The engine here is told of it, and does the rest; what the panel hears is the same."""
    preferences = addon.preferences.preferences()
    preferences.runs_on, preferences.machine = "SSH", "me@gpu:2222/data/jobs"
    try:
        start("a crate")
        job = only_job(addon)
        pump(lambda: job.state == "running")
        assert "--on=me@gpu:2222/data/jobs" in job.handle.args
        pump()
        assert job.state == "done" and job.imported
        preferences.machine = " "
        start("another crate")
        pump()
        job = list(addon.runtime.current().manager.jobs.values())[-1]
        assert job.state == "failed" and "not said on which" in job.problem.message
    finally:
        preferences.runs_on = "HERE"


def test_a_served_folder_is_worked_off_by_others(addon, cube, pump, fake_python, monkeypatch):
    """Jobs lie there at once; what happens to them is read from their events, and no process is ended here."""
    import bl_ext.user_default.ddrep.engine.manager as manager

    def never(*told, **named):
        raise AssertionError("a process was touched")

    monkeypatch.setattr(manager.process, "start", never)
    monkeypatch.setattr(manager.process, "end", never)
    monkeypatch.setattr(manager, "SERVED_SECONDS", 0.0)
    preferences = addon.preferences.preferences()
    engine, preferences.engine, preferences.runs_on = preferences.engine, "", "SERVED"
    try:
        start("a crate")
        start("an error crate")
        jobs = {job.prompt: job for job in addon.runtime.current().manager.jobs.values()}
        first, second = jobs["a crate"], jobs["an error crate"]
        pump(lambda: first.state == second.state == "running")
        rows = {row.name: row for row in bpy.context.window_manager.ddrep.jobs}
        assert "Waiting for a machine" in rows[first.name].words
        for job in (first, second):
            work_off(fake_python, job)
        pump(lambda: first.state == "done" and first.imported and second.state == "failed")
        assert "not there" in second.problem.message
        bpy.ops.ddrep.retry_job(job=second.name)
        pump(lambda: second.state == "running")
        assert second.folder.events_file.read_text().endswith('{"event": "waiting"}\n')
        again = forgotten(addon)[second.name]
        assert again.state == "running" and again.served
        bpy.ops.ddrep.cancel_job(job=again.name)
        assert again.state == "cancelling" and again.folder.cancel_file.exists()
        bpy.ops.ddrep.cancel_job(job=again.name)
        assert again.state == "cancelled"
    finally:
        preferences.engine, preferences.runs_on = engine, "HERE"


def work_off(python, job):
    """As a machine would that serves the folder."""
    subprocess.run([str(python), "-I", "-m", "ddrep_core", "run", str(job.folder.path)], capture_output=True)
