"""A shared folder that is worked off: claims without clocks, servers that die, and jobs that nobody does twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ddrep_core.batch.claim import Claims
from ddrep_core.batch.serve import serve
from ddrep_core.errors import RequestError
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.events import add_event, last_event
from ddrep_core.jobs.folder import JobFolder

HERE = Path(__file__).parent
WORKER = (sys.executable, str(HERE / "serve_worker.py"))
QUICK: dict[str, Any] = {"beat_seconds": 0.2, "stale_seconds": 2.0, "worker": WORKER}
SERVE = f"""
import sys
from pathlib import Path
from ddrep_core.batch.serve import serve
from ddrep_core.errors import Cancelled
try:
    serve(Path(sys.argv[1]), ["cpu"], once=True, **{QUICK!r})
except Cancelled as error:
    sys.exit(error.exit_status)
"""


def job(folder: Path, name: str, prompt: str = "a cow") -> JobFolder:
    return create_job(folder / name, {"task": "image", "prompt": prompt, "image": {"width": 64, "height": 64}})


def server(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SERVE, str(folder)])


def steps(folder: JobFolder) -> list[int]:
    return json.loads((folder.outputs / "steps.json").read_text())


def litter(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".claim*"))


def until(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def test_what_is_there_is_done_once(tmp_path: Path) -> None:
    jobs = [job(tmp_path, name, prompt) for name, prompt in (("a", "a cow"), ("b", "fail"), ("c", "a duck"))]
    job(tmp_path, "d.part")
    (tmp_path / "notes").mkdir()
    cancelled = job(tmp_path, "e")
    cancelled.cancel_file.touch()
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "job.json").write_text("{}")
    heard = []

    def listener(order: Any, worker: int, event: dict[str, Any]) -> None:
        heard.append((order.name, event["event"]))

    failed = serve(tmp_path, ["cpu"], once=True, retries=0, listener=listener, **QUICK)
    assert failed == 2
    assert [name for name, event in heard if event == "ended"] == ["a", "b", "c", "f"]
    assert [last_event(each)["event"] for each in (*jobs, cancelled)] == ["done", "error", "done", "cancelled"]
    assert last_event(JobFolder(tmp_path / "f"))["event"] == "error"  # it could not say so itself
    assert not (tmp_path / "d.part" / "events.jsonl").exists() and not cancelled.cancel_requested()
    assert litter(tmp_path) == []
    before = steps(jobs[0])
    assert serve(tmp_path, ["cpu"], once=True, **QUICK) == 0 and steps(jobs[0]) == before
    add_event(jobs[2], "waiting")  # wanted again
    serve(tmp_path, ["cpu"], once=True, **QUICK)
    assert last_event(jobs[2])["event"] == "done"


def test_two_servers_do_nothing_twice(tmp_path: Path) -> None:
    jobs = [job(tmp_path, f"job-{number}") for number in range(8)]
    servers = [server(tmp_path), server(tmp_path)]
    assert [each.wait() for each in servers] == [0, 0]
    starts = [line for each in jobs for line in each.events_file.read_text().splitlines() if '"started"' in line]
    assert len(starts) == len(jobs) and all(len(set(steps(each))) == 1 for each in jobs)
    assert len({steps(each)[0] for each in jobs}) == 2  # both have worked
    assert litter(tmp_path) == []


@pytest.mark.parametrize("dies", ["server", "both", "asked"])
def test_a_job_whose_server_is_gone_is_gone_on_with(tmp_path: Path, dies: str) -> None:
    """The server alone is killed, or with its worker, or is asked to stop: the next one goes on from the checkpoint."""
    only = job(tmp_path, "job", "slow")
    first = server(tmp_path)
    until(lambda: b'"step"' in (only.events_file.read_bytes() if only.events_file.exists() else b""))
    if dies == "both":
        os.kill(last_started(only), signal.SIGKILL)
    first.send_signal(signal.SIGTERM if dies == "asked" else signal.SIGKILL)
    assert first.wait() == (130 if dies == "asked" else -9)
    if dies == "server":
        until(lambda: last_event(only)["event"] == "waiting")
    if dies == "asked":
        assert last_event(only)["event"] == "waiting" and litter(tmp_path) == []
    begun = json.loads((only.checkpoints / "state.json").read_text())["steps"]
    assert server(tmp_path).wait() == 0
    assert last_event(only)["event"] == "done" and litter(tmp_path) == []
    assert steps(only)[: len(begun)] == begun and len(steps(only)) == 25 and len(set(steps(only))) == 2


def last_started(folder: JobFolder) -> int:
    events = [json.loads(line) for line in folder.events_file.read_text().splitlines()]
    return [event["pid"] for event in events if event["event"] == "started"][-1]


def test_a_server_that_was_given_up_lets_go(tmp_path: Path) -> None:
    """It slept for long (a laptop, a lost network): the job is another's by then."""
    only = job(tmp_path, "job", "slow")
    heard = []

    def listener(order: Any, worker: int, event: dict[str, Any]) -> None:
        heard.append(event["event"])
        if event["event"] == "started":
            number = max(int(path.name[-4:]) for path in only.path.glob(".claim-*"))
            (only.path / f".claim-{number + 1:04d}").write_text('{"by": "another", "beat": 1}')
            threading.Timer(3.0, add_event, (only, "done")).start()  # which it says some day

    assert serve(tmp_path, ["cpu"], once=True, listener=listener, **{**QUICK, "stale_seconds": 60.0}) == 0
    assert "ended" not in heard and not only.result_file.exists()
    assert litter(tmp_path) == [".claim-0001", ".claim-0002"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no folder"):
        serve(tmp_path / "nowhere", ["cpu"])


def test_claims_go_by_nobody_s_clock_but_one_s_own(tmp_path: Path) -> None:
    folder = job(tmp_path, "job")
    mine, others = Claims("me", 0.3), Claims("other", 0.3)
    claim = mine.take(folder)
    assert claim is not None and mine.take(folder) is None and others.take(folder) is None
    for stamp in (0.0, time.time() + 1e6):  # the file's times say nothing
        os.utime(claim.file, (stamp, stamp))
        assert others.take(folder) is None
    assert others.undecided(folder)
    for _ in range(4):
        time.sleep(0.15)
        assert claim.beat() and others.take(folder) is None
    assert not others.undecided(folder)
    time.sleep(0.35)
    taken = others.take(folder)
    assert taken is not None and not claim.beat()
    claim.release()
    assert taken.beat() and Claims("third", 0.3).take(folder) is None
    taken.release()
    assert litter(tmp_path) == []


def test_of_many_who_want_a_stale_claim_one_gets_it(tmp_path: Path) -> None:
    folder = job(tmp_path, "job")
    assert Claims("dead", 0.0).take(folder) is not None
    everybody = [Claims(str(number), 0.0) for number in range(16)]
    for each in everybody:
        assert each.take(folder) is None  # all see it for the first time
    time.sleep(0.02)
    got, start = [], threading.Barrier(len(everybody))

    def want(claims: Claims) -> None:
        start.wait()
        if (claim := claims.take(folder)) is not None:
            got.append(claim)

    threads = [threading.Thread(target=want, args=(each,)) for each in everybody]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([claim for claim in got if claim.beat()]) == 1


def test_a_link_where_a_claim_would_be_is_left_alone(tmp_path: Path) -> None:
    folder = job(tmp_path / "jobs", "job")
    (tmp_path / "victim").write_text("mine")
    (folder.path / ".claim-0001").symlink_to(tmp_path / "victim")
    assert serve(tmp_path / "jobs", ["cpu"], once=True, **QUICK) == 0
    assert (tmp_path / "victim").read_text() == "mine"
