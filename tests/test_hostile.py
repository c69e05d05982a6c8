"""Whatever a stranger's job, table, drawing or checkpoint holds: a result, or words; soon, and nothing outside of it.

`scripts/try_hostile` does the same ten thousand times.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hostile import KINDS, ODD, attempt, case_again, kept_cases, seeds, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MOST_SECONDS = 2.0  # of processor time
bounded = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
numbers = st.integers(0, 2**32)


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


@pytest.mark.parametrize("number", range(len(seeds())))
def test_the_seeds_are_sound(folder: Path, number: int) -> None:
    write(folder, seeds()[number])
    assert attempt(folder) == "taken"


@pytest.mark.parametrize("kind", KINDS)
@bounded
@given(number=numbers)
def test_what_is_spoilt_is_taken_or_refused(folder: Path, kind: str, number: int) -> None:
    with Soon():
        KINDS[kind](folder, random.Random(number))


def test_what_was_refused_once_is_refused_or_taken_still(folder: Path) -> None:
    """The corpus has one of every way to be refused that ten thousand and more spoilt files came to."""
    cases = kept_cases()
    assert {name.split("/")[0] for name in cases} == KINDS.keys()
    for name, files in cases.items():
        with Soon():
            case_again(folder, name.split("/")[0], files)


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
