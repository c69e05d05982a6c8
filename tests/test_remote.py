"""Jobs on another machine: through a real sshd where there is one, and the conversation's corners without."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ssh_host import Host, engine_at, missing, program, ssh_host

import ddrep_core
from ddrep_core.errors import Cancelled, RequestError, RunError
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.run import run_job
from ddrep_core.remote import away
from ddrep_core.remote.away import run_away
from ddrep_core.remote.far_end import FarEnd
from ddrep_core.remote.files import ASKED, MADE, place_of
from ddrep_core.remote.place import CACHE, Place, parse_place
from ddrep_core.remote.ssh import command
from ddrep_core.remote.wire import ConnectionLost, Wire

needs_sshd = pytest.mark.skipif(bool(missing()), reason=missing() or "-")
FAKE = str(Path(__file__).with_name("remote_engine.py"))
ASK = """
import sys
from ddrep_core.jobs.events import JsonLines
from ddrep_core.remote.away import run_away
from ddrep_core.remote.place import parse_place
run_away(sys.argv[1], parse_place(sys.argv[2]), listeners=(JsonLines(),))
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with ssh_host(tmp_path_factory.mktemp("host")) as running:
        yield running


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A "machine" behind an ssh that only runs its last argument, with a quick engine."""
    program(tmp_path / "bin" / "ssh", 'for last; do :; done\nexec sh -c "$last"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return Place("gpu", folder=str(engine_at(tmp_path / "there", FAKE)))


def job(path: Path, prompt: str = "a cow", **more: Any) -> JobFolder:
    return create_job(path, {"task": "image", "prompt": prompt, "image": {"width": 64, "height": 64}, **more})


def heard(folder: JobFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.events_file.read_text().splitlines()]


def left(place: Place) -> list[str]:
    return sorted(path.name for path in Path(place.folder).iterdir() if path.name != "engine")


class Until:
    """A listener that does something at the so manieth step."""

    def __init__(self, steps: int, act: Callable[[], None]) -> None:
        self.steps, self.act = steps, act

    def __call__(self, event: dict[str, Any]) -> None:
        if event["event"] == "step":
            self.steps -= 1
            if self.steps == 0:
                self.act()


# Through a real sshd


@needs_sshd
def test_a_connection_that_is_cut_loses_nothing(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connections: list[away.Connection]
) -> None:
    """The ssh of a real job is killed in its middle; it ends in the bytes of a job that was run here."""
    monkeypatch.setenv("PATH", host.path)
    jobs = engine_at(tmp_path / "there")
    request: dict[str, Any] = {"steps": 8, "seed": 3}
    here, there = job(tmp_path / "here", **request), job(tmp_path / "sent", **request)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as there
    run_job(here.path)
    torch.set_num_threads(before)
    cut = Until(3, lambda: cut_off(connections))
    result = run_away(there.path, parse_place(host.place(jobs)), listeners=(cut,), checkpoint_seconds=0)
    assert cut.steps <= 0 and result == there.result_file
    events = heard(there)
    assert any("was lost" in event.get("message", "") for event in events)
    assert [event["index"] for event in events if event["event"] == "step"] == list(range(1, 9))
    assert events[-1]["event"] == "done"
    assert {event["pid"] for event in events if event["event"] == "started"} == {os.getpid()}
    assert outputs(here) == outputs(there)
    assert any(there.previews.iterdir())
    assert sorted(path.name for path in jobs.iterdir()) == ["engine"]
    assert not (there.path / "on.json").exists()


def cut_off(connections: list[away.Connection]) -> None:
    """Kill the ssh of the newest conversation."""
    os.kill(connections[-1].pid, signal.SIGKILL)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[away.Connection]:
    """All that are opened, as they are."""
    opened: list[away.Connection] = []

    class Noted(away.Connection):
        def __init__(self, *arguments: Any) -> None:
            opened.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(away, "Connection", Noted)
    return opened


def outputs(folder: JobFolder) -> dict[str, Any]:
    """All that was made, without how long it took."""
    found: dict[str, Any] = {}
    for path in sorted(folder.outputs.rglob("*")):
        if path.name == "result.json":
            result = json.loads(path.read_text())
            for part in (result, *result["samples"]):
                del part["seconds"]
            found[path.name] = result
        elif path.name != "report.html":  # it shows the seconds
            found[path.name] = path.read_bytes()
    return found


@needs_sshd
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("host", "no host key"),
        ("changed host", "host key has changed"),
        ("key", "lets nobody in"),
        ("engine", "There is no ddrep"),
        ("version", "is version 0.0.7"),
        ("port", "cannot be reached"),
    ],
)
def test_what_is_wrong_with_a_machine_is_said(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str, words: str
) -> None:
    monkeypatch.setenv("PATH", host.path)
    jobs = engine_at(tmp_path / "there", FAKE)
    place = parse_place(host.place(jobs))
    known, authorized = host.known_hosts.read_text(), (host.folder / "authorized").read_text()
    if spoil == "host":
        host.known_hosts.write_text("")
    elif spoil == "changed host":
        host.known_hosts.write_text(" ".join([known.split()[0], *authorized.split()[:2]]) + "\n")
    elif spoil == "key":
        (host.folder / "authorized").write_text("")
    elif spoil == "engine":
        (jobs / "engine" / "bin" / "ddrep").unlink()
        find = "for each in {folder}/engine/bin/ddrep; do command -v $each && exec $each; done; echo {no_engine} >&2"
        monkeypatch.setattr("ddrep_core.remote.ssh.FIND", f"{find}; exit 127")
    elif spoil == "version":
        script = jobs / "engine" / "bin" / "ddrep"
        script.write_text(script.read_text().replace("export", "export PRETENDED_VERSION=0.0.7"))
    elif spoil == "port":
        place = Place(place.host, place.user, 1, place.folder)
    folder = job(tmp_path / "job")
    try:
        with pytest.raises(RequestError, match=words):
            run_away(folder.path, place)
    finally:
        host.known_hosts.write_text(known)
        (host.folder / "authorized").write_text(authorized)
    assert not (folder.path / "on.json").exists()
    assert [event["event"] for event in heard(folder)] == ["stage", "error"]


# The conversation


def test_a_job_comes_back_and_nothing_stays(pipe: Place, tmp_path: Path) -> None:
    folder = job(tmp_path / "job")
    assert run_away(folder.path, pipe) == folder.result_file
    events = heard(folder)
    assert [event["index"] for event in events if event["event"] == "step"] == [1, 2, 3, 4]
    assert (folder.previews / "now.png").read_text() == "picture 4"
    assert left(pipe) == [] and not (folder.path / "on.json").exists()
    before = folder.events_file.read_text()
    assert run_away(folder.path, pipe, resume=True) == folder.result_file  # finished: no one is asked
    assert folder.events_file.read_text().startswith(before) and left(pipe) == []


def test_a_job_may_stay_there_too(pipe: Place, tmp_path: Path) -> None:
    folder = job(tmp_path / "job")
    run_away(folder.path, pipe, keep=True)
    kept = [name for name in left(pipe) if not name.endswith(".lock")]
    assert len(kept) == 1 and (Path(pipe.folder) / kept[0] / "outputs/result.json").is_file()


def test_a_cancelled_job_brings_its_checkpoint_and_goes_on(pipe: Place, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", "slow")
    with pytest.raises(Cancelled):
        run_away(folder.path, pipe, listeners=(Until(3, folder.cancel_file.touch),))
    done = json.loads((folder.checkpoints / "state.json").read_text())["steps"]
    assert 3 <= len(done) < 25 and left(pipe) == [] and not folder.cancel_requested()
    assert heard(folder)[-1]["event"] == "cancelled"
    run_away(folder.path, pipe, resume=True)
    steps = json.loads((folder.outputs / "steps.json").read_text())
    assert steps[: len(done)] == done and len(set(steps)) == 2


def test_a_job_whose_asker_was_killed_is_picked_up(pipe: Place, tmp_path: Path) -> None:
    """Its run goes on there; the next one who asks is told all of it, and starts nothing."""
    folder = job(tmp_path / "job", "slow")
    asker = subprocess.Popen([sys.executable, "-c", ASK, str(folder), str(pipe)], stdout=subprocess.PIPE, text=True)
    assert asker.stdout is not None
    for line in asker.stdout:
        if json.loads(line)["event"] == "step":
            break
    asker.kill()
    asker.wait()
    with pytest.raises(RequestError, match="has not come back"):
        run_away(folder.path, Place("elsewhere"))
    with pytest.raises(RequestError, match="has not come back"):
        away.require_here(folder)
    run_away(folder.path, pipe)
    assert len(set(json.loads((folder.outputs / "steps.json").read_text()))) == 1
    events = heard(folder)
    assert [event["index"] for event in events if event["event"] == "step"] == list(range(1, 26))
    assert left(pipe) == []


def test_a_changed_request_is_begun_anew(pipe: Place, tmp_path: Path) -> None:
    """The run there of what was asked for before is stopped first."""
    folder = job(tmp_path / "job", "slow")
    name = "job-1"
    (folder.path / "on.json").write_text(json.dumps({"on": str(pipe), "name": name}))
    before = job(Path(pipe.folder) / name, "slow and other")
    conversation = Wire(io.BytesIO(), io.BytesIO())
    end = FarEnd(conversation, (sys.executable, FAKE))
    end._open({"folder": pipe.folder, "name": name})
    end._run({"resume": False, "checkpoint_seconds": 0})
    deadline = time.monotonic() + 20
    while not before.events_file.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    run_away(folder.path, pipe)
    assert len(set(json.loads((folder.outputs / "steps.json").read_text()))) == 1
    assert left(pipe) == []


def test_a_run_that_dies_is_told_of_and_gone_on_with(pipe: Place, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", "die")
    with pytest.raises(RunError, match=r"ended in the middle of the job: .*Killed by nobody"):
        run_away(folder.path, pipe)
    assert heard(folder)[-1]["event"] == "error"
    run_away(folder.path, pipe, resume=True)
    assert len(json.loads((folder.outputs / "steps.json").read_text())) == 4


def test_a_failure_speaks_of_the_folder_here(pipe: Place, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", "fail")
    with pytest.raises(RunError) as caught:
        run_away(folder.path, pipe)
    assert str(caught.value) == f"{folder} is odd. Look at {folder}."


def test_a_machine_that_is_gone_for_good(pipe: Place, tmp_path: Path, connections: list[away.Connection]) -> None:
    """ssh works once: the job is not lost, and the next call picks it up."""
    ssh = tmp_path / "bin" / "ssh"
    whole = ssh.read_text()
    folder = job(tmp_path / "job", "slow")

    def vanish() -> None:
        ssh.write_text("#!/bin/sh\necho Connection refused >&2\nexit 255\n")
        cut_off(connections)

    with pytest.raises(RunError, match="may be at work there"):
        run_away(folder.path, pipe, listeners=(Until(2, vanish),), give_up_seconds=0.5)
    ssh.write_text(whole)
    run_away(folder.path, pipe, resume=True)
    assert len(set(json.loads((folder.outputs / "steps.json").read_text()))) == 1


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("gpu", Place("gpu")),
        ("me@gpu.example.org", Place("gpu.example.org", "me")),
        ("me@gpu:2222", Place("gpu", "me", 2222)),
        ("me@gpu:22/data/my jobs/", Place("gpu", "me", 22, "/data/my jobs")),
        ("gpu/~/jobs", Place("gpu", folder="~/jobs")),
        ("me@[fe80::1%eth0]:22", Place("fe80::1%eth0", "me", 22)),
    ],
)
def test_places(text: str, place: Place) -> None:
    assert parse_place(text) == place
    assert parse_place(str(place)) == place
    assert place.folder == CACHE or place.folder[0] in "/~"


@pytest.mark.parametrize(
    "text", ["", "-oProxyCommand=x", "me@-x", "a b", "me@gpu:0", "me@gpu:99999", "gpu/a\nb", "$(x)"]
)
def test_no_places(text: str) -> None:
    with pytest.raises(RequestError, match="names no machine"):
        parse_place(text)


@settings(max_examples=30)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1))
def test_a_folder_of_any_name_is_one_word_there(name: str) -> None:
    """The shells there take it for nothing else: here, what they would run is only printed."""
    *start, script = shlex.split(command(Place("gpu", folder="/" + name)))
    assert start == ["exec", "sh", "-c"]
    shown = script.split("done\n")[0].replace('command -v "$each" >/dev/null 2>&1 &&', 'printf "%s" "$each"; exit;', 1)
    answer = subprocess.run(["sh", "-c", shown + "done"], capture_output=True, check=False)
    assert answer.stdout.decode() == f"/{name}/engine/bin/ddrep"


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "outputs/../../x", "job.json", "inputs/x", "", "outputs\\x", "C:x", None, 3]
)
def test_what_comes_back_stays_in_its_place(tmp_path: Path, name: object) -> None:
    folder = job(tmp_path / "job")
    with pytest.raises(RequestError):
        place_of(folder, name, MADE)


def test_a_link_on_the_way_is_not_gone_through(tmp_path: Path) -> None:
    folder = job(tmp_path / "job")
    (tmp_path / "elsewhere").mkdir()
    folder.outputs.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RequestError, match="is a link"):
        place_of(folder, "outputs/x", MADE)


@given(st.binary(max_size=300))
def test_noise_is_no_message(noise: bytes) -> None:
    """A broken wire ends the conversation, and nothing else."""
    wire = Wire(io.BytesIO(noise), io.BytesIO())
    try:
        while wire.hear() is not None:
            pass
    except ConnectionLost:
        pass


@given(
    st.lists(
        st.fixed_dictionaries(
            {"do": st.sampled_from(["open", "put", "keep", "run", "stop", "get", "remove", "watch", "x"])},
            optional={
                "folder": st.text(), "name": st.text(max_size=5), "path": st.text(), "size": st.integers(-1, 3),
                "files": st.lists(st.text()), "roots": st.lists(st.sampled_from([*ASKED, "..", "x"])),
            },
        ),
        max_size=4,
    )
)  # fmt: skip
def test_the_far_end_answers_nonsense_in_words(tmp_path_factory: pytest.TempPathFactory, asked: list[Any]) -> None:
    """Whatever it is told before a job is open, it does nothing, and never breaks."""
    said = io.BytesIO()
    text = b"".join(
        json.dumps({"folder": str(tmp_path_factory.getbasetemp()), **each, "name": "../up"}).encode() + b"\n"
        for each in asked
        if each["do"] != "remove"
    )
    FarEnd(Wire(io.BytesIO(text), said), ("false",)).serve()
    first, *rest = [json.loads(line) for line in said.getvalue().splitlines()]
    assert first == {"say": "ddrep", "version": ddrep_core.__version__}
    assert all(each["say"] in ("error", "ended", "got", "began", "event") for each in rest)
