"""Whatever a stranger's job, table, drawing or checkpoint holds: a result, or words; soon, and nothing outside of it.

`scripts/try_hostile` does the same ten thousand times.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hostile import ODD, attempt, mutated, picture, seeds, spoilt_bytes, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddrep_core.batch.plan import plan_jobs
from ddrep_core.batch.table import read_table
from ddrep_core.errors import RequestError
from ddrep_core.jobs.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from ddrep_core.vector import read_svg

MOST_SECONDS = 2.0  # of processor time
bounded = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
numbers = st.integers(0, 2**32)
SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20"><defs><linearGradient id="g"><stop offset="0"
stop-color="red"/></linearGradient></defs><g transform="rotate(3)">
<path fill="url(#g)" d="M3 4 H15 V17 A3 4 0 1 0 5 6Z"/><use href="#g"/></g></svg>"""
TABLES = {
    "t.csv": b'mesh,prompt,seed,cameras\nmesh.obj,"red, old bricks",3,orbit:4\nmesh.obj,wood,,\n',
    "t.jsonl": b'{"mesh": "mesh.obj", "prompt": "red", "seed": 3}\n{"task": "image", "prompt": "x"}\n',
    "t.yaml": b"defaults: {steps: 2}\njobs:\n  - {mesh: mesh.obj, prompt: oak}\n"
    b"sweep: {mesh: [mesh.obj], seed: [1, 2]}\n",
    "t.json": b'[{"mesh": "mesh.obj", "prompt": "red", "both_sides": true}]',
}


class Soon:
    """Fails where what is inside takes too long."""

    def __enter__(self) -> None:
        self.began = time.process_time()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        assert time.process_time() - self.began < MOST_SECONDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "job"
    write(path, seeds()[0])
    attempt(path)  # what is imported once is no job's time
    return path


@pytest.mark.parametrize("number", range(10))
def test_the_seeds_are_sound(folder: Path, number: int) -> None:
    write(folder, seeds()[number])
    assert attempt(folder) == "taken"


@bounded
@given(numbers)
def test_a_spoilt_job_is_taken_or_refused(folder: Path, number: int) -> None:
    chance = random.Random(number)
    write(folder, mutated(chance.choice(seeds()), chance))
    with Soon():
        attempt(folder)


@pytest.mark.parametrize("odd", [each for each in ODD if isinstance(each, str)], ids=lambda odd: ascii(odd)[:20])
@pytest.mark.parametrize("block", ["cameras", "mesh", "keep", "picture"])
def test_any_name_of_a_file_is_found_or_refused(folder: Path, block: str, odd: str) -> None:
    import json

    files = dict(seeds()[7 if block == "picture" else 1])
    request = json.loads(files["job.json"])
    if block == "cameras":
        request["cameras"] = odd
    elif block == "keep":
        request["texture"]["keep"][0]["file"] = odd
    else:
        request["restore" if block == "picture" else "texture"][block] = odd
    files["job.json"] = json.dumps(request).encode()
    write(folder, files)
    attempt(folder)


@bounded
@given(numbers, st.sampled_from(sorted(TABLES)))
def test_a_spoilt_table_is_read_or_refused(folder: Path, number: int, name: str) -> None:
    chance = random.Random(number)
    write(folder, {name: spoilt_bytes(TABLES[name], chance), "mesh.obj": seeds()[0]["inputs/mesh.obj"]})
    with Soon():
        try:
            plan_jobs(read_table(folder / name), folder)
        except RequestError as error:
            str(error).encode()


@bounded
@given(numbers)
def test_a_spoilt_drawing_is_read_or_refused(folder: Path, number: int) -> None:
    write(folder, {"drawing.svg": spoilt_bytes(SVG, random.Random(number))})
    with Soon():
        try:
            read_svg(folder / "drawing.svg")
        except RequestError as error:
            str(error).encode()


@bounded
@given(numbers, st.sampled_from(["state.json", "state.safetensors"]))
def test_a_spoilt_checkpoint_is_passed_over(folder: Path, number: int, name: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    tensors = {"theta": torch.ones(3)}
    write_checkpoint(folder, Checkpoint(tensors, {"step": 1}))
    path = write_checkpoint(folder, Checkpoint(tensors, {"step": 2})) / name
    spoilt = spoilt_bytes(path.read_bytes(), random.Random(number))
    whole = spoilt == path.read_bytes()
    path.write_bytes(spoilt)
    found, complaints = read_checkpoint(folder)
    assert found is not None and torch.equal(found.tensors["theta"], torch.ones(3))
    assert whole or found.numbers["step"] == 2 or complaints


@bounded
@given(numbers)
def test_a_spoilt_mask_is_read_or_refused(folder: Path, number: int) -> None:
    chance = random.Random(number)
    files = dict(chance.choice([seeds()[1], seeds()[3], seeds()[7]]))
    kind = chance.choice(["PNG", "JPEG", "TIFF", "GIF", "BMP"])
    files["inputs/mask.png"] = spoilt_bytes(picture(suffix=kind), chance)
    write(folder, files)
    with Soon():
        attempt(folder)


CANARY = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from hostile import attempt, seeds, write, mutated
import random
job = Path(sys.argv[1])
for number, files in enumerate(seeds()):
    write(job, files)
    attempt(job)  # what is imported and looked up once is no affair of a job's
opened = []
home = os.path.realpath(job)
def hook(event, told):
    if event in ("open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "shutil.rmtree",
                 "subprocess.Popen", "socket.connect", "os.system", "os.exec"):
        where = told[0]
        if isinstance(where, (str, bytes)):
            path = os.path.realpath(os.fsdecode(where))
            if not path.startswith((home + os.sep, *sys.path_known)) and path != home:
                opened.append((event, path))
        elif event in ("subprocess.Popen", "socket.connect"):
            opened.append((event, str(told)))
sys.path_known = tuple(os.path.realpath(each) for each in (*sys.path, sys.prefix, sys.base_prefix, sys.argv[3]) if each)
sys.addaudithook(hook)
for number in range(40):
    chance = random.Random(number)
    files = mutated(chance.choice(seeds()), chance)
    opened.clear()  # what `write` does is ours
    write(job, files)
    opened.clear()
    attempt(job)
    assert not [each for each in opened if each[1] != os.devnull], opened
print("clean")
"""


def test_nothing_outside_of_the_job_is_opened(tmp_path: Path) -> None:
    """Python's own audit hooks watch; a canary lies where odd names point."""
    for name in ("secret", "etc/passwd"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("canary")
    root = Path(__file__).resolve().parent
    environment = {**os.environ, "PYTHONPATH": str(root.parent)}
    told = [str(tmp_path / "jobs" / "job"), str(root), str(root.parent / "ddrep_core")]
    ran = subprocess.run([sys.executable, "-c", CANARY, *told], env=environment, capture_output=True, text=True)
    assert ran.stdout.strip() == "clean", ran.stderr[-2000:]
    assert (tmp_path / "secret").read_text() == (tmp_path / "etc/passwd").read_text() == "canary"
