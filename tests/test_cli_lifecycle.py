"""The engine as a process of its own: killed, interrupted, cancelled, and resumed to the same bytes.

One is started as a person starts it; the others are forked from a process that has the libraries loaded.
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import time

import engine_host
import pytest
from job_outputs import outputs_of

from ddrep_core import demo_mesh_path
from ddrep_core.jobs.folder import JobFolder

STEPS = 5
REQUEST = {
    "schema_version": 1,
    "task": "texture",
    "prompt": "a wooden cow",
    "samples": 2,
    "steps": STEPS,
    "schedule": "auto",
    "cameras": "orbit:2",
    "texture": {"mesh": "inputs/mesh.obj", "resolution": 64},
}


@pytest.fixture(scope="module")
def make_job(tmp_path_factory):
    def make(**changes):
        folder = JobFolder(tmp_path_factory.mktemp("job"))
        folder.inputs.mkdir()
        shutil.copyfile(demo_mesh_path(), folder.inputs / "mesh.obj")
        folder.request_file.write_text(json.dumps({**REQUEST, **changes}))
        return folder

    return make


@pytest.fixture(scope="module")
def host():
    process = engine_host.started()
    yield process
    process.kill()  # nothing of it is running: each test waits for its own
    process.wait()


@pytest.fixture(scope="module")
def start(host, tmp_path_factory):
    pipes = tmp_path_factory.mktemp("pipes")

    def start(folder, *arguments, cold=False):
        arguments = ["run", str(folder), "--events", "--checkpoint-seconds", "0", *arguments]
        if not cold:
            return engine_host.Run(host, arguments, pipes)
        command = [sys.executable, "-m", "ddrep_core", *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def run_until(process, steps, act):
    """Call `act(process)` when the engine has done so many steps; returns its exit status and standard error."""
    for line in process.stdout:
        if json.loads(line)["event"] == "step":
            steps -= 1
            if steps == 0:
                act(process)
    err = process.stderr.read()
    assert "Traceback" not in err
    return process.wait(), err


@pytest.fixture(scope="module")
def undisturbed(make_job, start):
    folder = make_job()
    status, err = run_until(start(folder), -1, None)
    assert status == 0, err
    return outputs_of(folder)


def test_killed_at_five_random_steps_and_resumed_to_the_same_bytes(make_job, start, undisturbed):
    folder = make_job()
    chance = random.Random(20)

    def kill(process):
        time.sleep(chance.random() * 0.1)  # between two steps, inside one, or while a checkpoint is written
        process.send_signal(signal.SIGKILL)

    status, err = run_until(start(folder, cold=True), chance.randint(1, 3), kill)
    assert status == -signal.SIGKILL
    for _ in range(4):
        status, err = run_until(start(folder, "--resume"), chance.randint(1, 3), kill)
        assert status == -signal.SIGKILL and not folder.result_file.exists()
    status, err = run_until(start(folder, "--resume"), -1, None)
    assert status == 0, err
    assert set(outputs_of(folder)) == set(undisturbed)
    for name, content in outputs_of(folder).items():
        assert content == undisturbed[name], name
    lines = [json.loads(line) for line in folder.events_file.read_text().splitlines() if line.endswith("}")]
    assert not [line for line in lines if "anew" in line.get("message", "")]


@pytest.mark.parametrize("how", ["interrupt", "terminate", "cancel file"])
def test_cancelled_with_status_130(make_job, start, how):
    folder = make_job(samples=1)

    def cancel(process):
        if how == "cancel file":
            folder.cancel_file.touch()
        else:
            process.send_signal(signal.SIGINT if how == "interrupt" else signal.SIGTERM)

    status, err = run_until(start(folder), 2, cancel)
    assert status == 130 and "--resume" in err
    assert json.loads(folder.events_file.read_text().splitlines()[-1])["event"] == "cancelled"
    assert any((folder.checkpoints / "state").iterdir()) and not folder.result_file.exists()
