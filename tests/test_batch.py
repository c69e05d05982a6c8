"""Batches: tables in every spelling, all complaints at once, workers that die, and the real command line."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path, PurePosixPath

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddrep_core.batch.batch import choose_workers, run_batch
from ddrep_core.batch.command import rows_and_base, tell_summary
from ddrep_core.batch.live import Tally
from ddrep_core.batch.page import batch_page
from ddrep_core.batch.plan import plan_jobs
from ddrep_core.batch.results import Results
from ddrep_core.batch.run import Batch, Listed, Order, Workers
from ddrep_core.batch.state import Standing, State, standing
from ddrep_core.batch.table import Cell, Row, read_table, sweep_rows
from ddrep_core.errors import Cancelled, DdrepError, RequestError
from ddrep_core.geometry.load import demo_mesh_path
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.run import run_job
from ddrep_core.priors import GaussianPrior

MESH = str(demo_mesh_path())


def write(folder, name, text):
    path = folder / name
    path.write_text(textwrap.dedent(text).lstrip(), encoding="utf-8")
    return path


ALIKE = {
    "t.csv": f'mesh,prompt,seed,both_sides,objects\n{MESH},"red, old bricks",3,true,\n\n{MESH},wood,,,\n',
    "semicolons.csv": f"mesh;prompt;seed;both-sides\n{MESH};red, old bricks;3;true\n{MESH};wood;;\n",
    "t.jsonl": f'{{"mesh": "{MESH}", "prompt": "red, old bricks", "seed": 3, "both_sides": true}}\n'
    f'{{"mesh": "{MESH}", "prompt": "wood"}}\n',
    "t.yaml": f"""
        defaults: {{mesh: {MESH}}}
        jobs:
          - {{prompt: "red, old bricks", seed: 3, both_sides: true}}
          - {{prompt: wood}}
        """,
    "t.json": f'[{{"mesh": "{MESH}", "prompt": "red, old bricks", "seed": 3, "both_sides": true}},'
    f'{{"mesh": "{MESH}", "prompt": "wood"}}]',
}


@pytest.mark.parametrize("name", ALIKE)
def test_every_spelling_of_a_table_makes_the_same_jobs(tmp_path, name):
    jobs = plan_jobs(read_table(write(tmp_path, name, ALIKE[name])), tmp_path)
    assert [job.name for job in jobs] == ["001-duck-red-old-bricks", "002-duck-wood"]
    mesh = {"mesh": "inputs/duck.obj"}
    assert jobs[0].request == {
        "task": "texture", "prompt": "red, old bricks", "seed": 3, "texture": {**mesh, "both_sides": True},
    }  # fmt: skip
    assert jobs[1].request == {"task": "texture", "prompt": "wood", "texture": mesh}
    assert all(job.wish.copies[PurePosixPath("duck.obj")] == Path(MESH) for job in jobs)


def test_a_sweep_is_every_combination_and_a_mesh_may_be_a_pattern(tmp_path):
    for name in ("b.obj", "a.obj"):
        (tmp_path / name).write_bytes(b"x")
    rows = sweep_rows({"mesh": ["*.obj"], "prompt": ["red", "blue"], "seed": [0, 1]}, tmp_path)
    assert [Path(row.values["mesh"]).name for row in rows] == ["a.obj"] * 4 + ["b.obj"] * 4
    assert [row.values["seed"] for row in rows] == [0, 1] * 4
    with pytest.raises(RequestError, match="No file matches"):
        sweep_rows({"mesh": ["*.glb"]}, tmp_path)
    with pytest.raises(RequestError, match="1,000,000 jobs"):
        sweep_rows({"seed": list(range(1000)), "prompt": ["x"] * 1000}, tmp_path)


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_written(tmp_path):
    table = write(
        tmp_path,
        "t.csv",
        f"""
        mesh,prompt,seed,sed,cameras,schedule,name,task
        {MESH},fine,1,,,,,
        {MESH},x,one,,,,,
        nix.glb,x,,,,,,
        {MESH},x,,7,,,,
        {MESH},x,,,orbit:0,,,
        {MESH},x,,,,repaimt,,
        {MESH},x,,,,,../out,
        {MESH},x,,,,,,sculpt
        ,x,,,,,,
        {MESH},x,,,nix.json,,,
        """,
    )
    with pytest.raises(RequestError) as caught:
        plan_jobs(read_table(table), tmp_path)
    told = caught.value.message.splitlines()
    words = [
        "9 of 10 jobs", "'seed' must be a whole number", "no mesh", "did you mean 'seed'", "orbit:8", "repaimt",
        "no name for a folder", "no task 'sculpt'", "neither a mesh nor a task", "no camera file",
    ]  # fmt: skip
    assert len(told) == len(words)
    for line, word in zip(told, words, strict=True):
        assert word in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv"]


def test_two_jobs_of_one_name_are_refused(tmp_path):
    rows = [Row(f"line {n}", {"task": "image", "prompt": "x", "name": name}) for n, name in enumerate(("Duck", "duck"))]
    with pytest.raises(RequestError, match="line 1: it has the name 'duck', as line 0 has"):
        plan_jobs(rows, tmp_path)


def test_jobs_of_one_model_follow_one_another(tmp_path):
    (tmp_path / "other").mkdir()
    rows = [
        Row(str(n), {"task": "image", "prompt": "x", "name": str(n), **({"prior": "other"} if n % 2 else {})})
        for n in range(6)
    ]
    assert [job.name for job in plan_jobs(rows, tmp_path)] == ["0", "2", "4", "1", "3", "5"]


BROKEN = {
    "empty.csv": "", "no_rows.csv": "mesh,prompt\n", "twice.csv": "mesh,mesh\na,b\n", "wide.csv": "prompt\na,b\n",
    "quote.csv": 'prompt\n"a\n', "t.jsonl": '{"prompt": }\n', "list.jsonl": "[1]\n", "t.json": '{"job": []}',
    "t.yaml": "a: [", "tag.yaml": "!!python/object/apply:os.system ['true']", "sweep.yaml": "sweep: {seed: 3}",
    "scalar.yaml": "3", "t.txt": "x", "nul.csv": "prompt\na\0b\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_table_is_refused_in_words(tmp_path, name):
    path = write(tmp_path, name, BROKEN[name])
    with pytest.raises(RequestError):
        plan_jobs(read_table(path), tmp_path)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([".csv", ".tsv", ".jsonl", ".json", ".yaml"]),
    st.one_of(st.text(max_size=60), st.from_regex(r'[\[{]?"?(mesh|prompt|seed|task)"?[:,] ?.{0,12}\n?.{0,20}')),
)
def test_no_table_makes_a_traceback(tmp_path_factory, suffix, text):
    path = tmp_path_factory.getbasetemp() / f"fuzz{suffix}"
    path.write_text(text, encoding="utf-8", errors="ignore")
    try:
        plan_jobs(read_table(path), path.parent)
    except DdrepError:
        pass


# A worker as `Batch` sees it: answers by the job's name.
FAKE = """
import json, os, signal, sys, time, pathlib
for line in sys.stdin:
    job = pathlib.Path(json.loads(line)["job"])
    def say(**event): print(json.dumps({"job": str(job), **event}), flush=True)
    say(event="started", task="image", pid=os.getpid(), samples=1, of=1)
    tries = job / "tries"
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    count = len(tries.read_text())
    if job.name.startswith("dies") and (count == 1 or "ever" in job.name):
        os.kill(os.getpid(), signal.SIGKILL)
    if job.name.startswith("waits"):
        while not (job / "cancel").exists():
            time.sleep(0.02)
        say(event="ended", status=130, message="Cancelled.", fix="")
    elif job.name.startswith("wrong"):
        say(event="ended", status=2, message="No.", fix="Ask better.")
    else:
        say(event="ended", status=0, message="", fix="")
"""


def carried_out(tmp_path, names, workers=2, **settings):
    orders = []
    for name in names:
        (tmp_path / name).mkdir()
        orders.append(Order(name, tmp_path / name, model=name[-1]))
    heard = []
    with Workers(["cpu"] * workers, (sys.executable, "-c", FAKE)) as started:
        batch = Batch(Listed(orders), started, tmp_path / "log", **settings)
        batch.run(lambda order, worker, event: heard.append((order.name, worker, event)))
    return heard


def test_a_worker_that_dies_is_replaced_and_its_job_tried_again(tmp_path):
    names = ["a", "dies once", "wrong", "dies for ever", "b", "c"]
    heard = carried_out(tmp_path, names)
    ended = {name: event for name, _, event in heard if event["event"] == "ended"}
    assert {name: event["status"] for name, event in ended.items()} == {
        "a": 0, "dies once": 0, "wrong": 2, "dies for ever": 1, "b": 0, "c": 0,
    }  # fmt: skip
    assert "SIGKILL" in ended["dies for ever"]["message"]
    assert sorted(name for name, _, event in heard if event["event"] == "retried") == ["dies for ever", "dies once"]
    assert (tmp_path / "wrong" / "tries").read_text() == "x"  # a wrong request stays wrong


def test_a_worker_keeps_to_the_model_it_has(tmp_path):
    heard = carried_out(tmp_path, ["1a", "2b", "3a", "4b"], workers=1)
    assert [name for name, _, event in heard if event["event"] == "ended"] == ["1a", "3a", "2b", "4b"]


def test_a_signal_ends_running_jobs_and_starts_no_other(tmp_path):
    def stop(order, worker, event):
        heard.append(order.name)
        if event["event"] == "started":
            os.kill(os.getpid(), signal.SIGINT)

    heard = []
    orders = [Order(name, tmp_path / name) for name in ("waits", "later")]
    for order in orders:
        order.folder.mkdir()
    with pytest.raises(Cancelled):
        Batch(Listed(orders), Workers(["cpu"], (sys.executable, "-c", FAKE)), tmp_path / "log").run(stop)
    assert set(heard) == {"waits"}


# The worker itself, but for what takes time: it says that it is ready, and every job is done at once.
EAGER = """
import sys
from ddrep_core.batch import worker
def load(): print("libraries are here", file=sys.stderr)
def run_one(path, models, say):
    print("this is no answer")
    return {"job": str(path), "event": "ended", "status": 0, "message": str(__import__("os").getpid()), "fix": ""}
worker.load_libraries, worker.run_one = load, run_one
worker.main()
"""


def test_workers_that_were_started_before_there_was_an_order_carry_it_out(tmp_path):
    orders = [Order(name, tmp_path / name) for name in ("a", "b")]
    heard = []
    with Workers(["cpu"], (sys.executable, "-c", EAGER)) as workers:
        workers.start(5)
        early = workers.ready(0).pid
        batch = Batch(Listed(orders), workers, tmp_path / "log")
        batch.run(lambda order, worker, event: heard.append(event["message"]))
    assert heard == [str(early)] * 2
    words = (tmp_path / "log" / "worker_0.log").read_text()
    assert words.splitlines() == ["libraries are here", "this is no answer", "this is no answer"]


def test_workers_of_a_batch_that_is_refused_end_and_have_written_nothing(tmp_path):
    with pytest.raises(RequestError), Workers(["cpu"] * 2, (sys.executable, "-c", EAGER)) as workers:
        workers.start(2)
        processes = [workers.ready(number) for number in range(2)]
        plan_jobs([Row("line 1", {"task": "image", "colour": "red"})], tmp_path)
    assert all(process.returncode is not None for process in processes) and not any(tmp_path.iterdir())


def test_a_worker_whose_input_ends_while_it_loads_ends_too():
    code = EAGER.replace('print("libraries are here", file=sys.stderr)', "__import__('time').sleep(600)")
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=120) == 0


def finished_jobs(folder, count):
    """Small pictures of a prior in closed form."""
    rows = [Row(str(n), {"task": "image", "width": 8, "height": 8, "steps": 1, "name": f"n{n}"}) for n in range(count)]
    jobs = plan_jobs(rows, folder)
    for job in jobs:
        run_job(job.write(folder).path, load_prior=lambda request: GaussianPrior(torch.full((3, 8, 8), 0.5), 0.01))
    return jobs


@pytest.mark.parametrize("scheme", ["memory://{}", "file://{}"])
def test_finished_results_go_to_storage_of_any_kind_once(tmp_path, monkeypatch, scheme):
    out, address = tmp_path / "out", scheme.format(tmp_path / "bucket")
    jobs = finished_jobs(out, 2)
    for number in range(2):
        results = Results(address)
        sent, put = [], results._files.put_file
        monkeypatch.setattr(
            results._files, "put_file", lambda *told, sent=sent, put=put: sent.append(told) or put(*told)
        )
        summary = run_batch(jobs, out, Workers(["cpu"]), results=results)
        monkeypatch.undo()
        assert not summary.unsent and summary.count(State.DONE) == 2
        # The second time all is there: only the batch's own files are sent, which may have changed.
        assert (number == 0) == any(told[1].endswith("result.json") for told in sent)
    for path in out.rglob("*"):
        if path.is_file() and ("outputs" in path.parts or path.name in ("job.json", "index.html", "batch.json")):
            place = f"{results._root}/{path.relative_to(out).as_posix()}"
            assert results._files.cat_file(place) == path.read_bytes()


def test_results_that_cannot_be_sent_are_told_of_and_cost_nothing(tmp_path, monkeypatch):
    results = Results(f"memory://{tmp_path}")

    def full(*told):
        raise OSError("the bucket is full")

    monkeypatch.setattr(results._files, "put_file", full)
    summary = run_batch(finished_jobs(tmp_path, 1), tmp_path, Workers(["cpu"]), results=results)
    assert summary.count(State.DONE) == 1 and "n0: the bucket is full" in summary.unsent
    assert tell_summary(summary, events=True) == 1
    with pytest.raises(RequestError, match="nowhere"):
        Results("nowhere://x")


def test_the_time_left_follows_from_the_pace(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("ddrep_core.batch.live.time.monotonic", lambda: now[0])
    tally = Tally(waiting=4, already_done=2)
    order = Order("a", Path("a"))
    assert tally.seconds_left is None
    now[0] = 10.0
    tally.hear(order, {"event": "step", "index": 1, "of": 2})
    assert tally.seconds_left == pytest.approx(70.0)
    tally.hear(order, {"event": "ended", "status": 0})
    now[0] = 20.0
    assert tally.seconds_left == pytest.approx(60.0)
    assert tally.words() == "3 of 6 done · about 60 s left"


def test_a_job_of_several_samples_is_done_with_its_last_one():
    tally, order = Tally(waiting=1, already_done=0), Order("a", Path("a"))
    tally.hear(order, {"event": "started", "samples": 4})
    tally.hear(order, {"event": "step", "sample": 0, "index": 3, "of": 3})
    assert tally.shares["a"] == pytest.approx(1 / 4)
    tally.hear(order, {"event": "step", "sample": 2, "together": 2, "index": 1, "of": 2})
    assert tally.shares["a"] == pytest.approx(3 / 4)


def test_a_pattern_without_quotes_is_not_taken_for_a_table(tmp_path):
    with pytest.raises(RequestError, match="no table") as told:
        rows_and_base(tmp_path / "b.obj", ["a.obj"], ["prompt=oak"])
    assert "quotes" in told.value.fix


def test_the_page_escapes_words_and_says_why(tmp_path):
    jobs = plan_jobs([Row("1", {"task": "image", "prompt": "<b>&", "name": "one job"})], tmp_path)
    page = batch_page("Night", jobs, {"one job": Standing(State.FAILED, "<out of memory>", None, "previews/a b.png")})
    assert "<b>&" not in page and "&lt;b&gt;&amp;" in page and "&lt;out of memory&gt;" in page
    assert 'src="one%20job/previews/a%20b.png"' in page and 'data-state="failed"' in page


def test_workers_are_spread_over_devices():
    assert choose_workers(["cpu"], 3) == ["cpu"] * 3
    with pytest.raises(RequestError):
        choose_workers(["cuda:99"], None)
    with pytest.raises(RequestError, match="1 to 256"):
        choose_workers([], 0)


def run_batch_command(*arguments, cwd):
    command = [sys.executable, "-m", "ddrep_core", "batch", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def test_a_table_of_pictures_is_looked_through_without_torch(tmp_path):
    """Which takes seconds: the workers load it meanwhile."""
    table = write(tmp_path, "t.jsonl", '{"task": "image", "prompt": "a duck", "steps": 2}\n')
    code = (
        "import sys; from ddrep_core.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code or 0, [each for each in ('torch', 'scipy') if each in sys.modules])"
    )
    command = [sys.executable, "-c", code, "batch", str(table), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.splitlines() == ["001-image-a-duck  a duck", "0 []"]


def test_a_batch_from_the_shell_runs_and_skips_what_is_done(tmp_path):
    table = write(tmp_path, "night.jsonl", "")
    small = {"task": "image", "width": 16, "height": 16, "steps": 1}
    table.write_text("".join(json.dumps({**small, "prompt": f"a duck {n}", "name": f"n{n}"}) + "\n" for n in range(2)))
    done = run_batch_command(table, "--events", "-o", tmp_path / "night", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    loading = [each["job"] for each in events if each.get("message") == "Loading the prior"]
    assert [each["job"] for each in events if each["event"] == "ended"] == ["n0", "n1"]
    assert len({each["pid"] for each in events if each["event"] == "started"}) == 1 and loading[:1] == ["n0"]
    first = standing(tmp_path / "night" / "n0")
    assert first.state is State.DONE and first.picture is not None
    assert not JobFolder(tmp_path / "night" / "n1").cancel_requested()
    before = (tmp_path / "night" / "n0" / "events.jsonl").read_bytes()
    again = run_batch_command(table, "-o", tmp_path / "night", cwd=tmp_path)
    assert again.returncode == 0 and "2 done, 0 failed" in again.stdout
    assert (tmp_path / "night" / "n0" / "events.jsonl").read_bytes() == before
    assert "n0/outputs/report.html" in (tmp_path / "night" / "index.html").read_text()


def test_a_job_s_inputs_are_read_once_to_know_it(tmp_path, monkeypatch):
    """From the look before the batch, through a worker's run, to the look after it."""
    from ddrep_core.batch.worker import run_one
    from ddrep_core.jobs import identity

    read, digest = [], identity.hashlib.file_digest
    monkeypatch.setattr(identity.hashlib, "file_digest", lambda *told: read.append(told) or digest(*told))
    (job,) = plan_jobs(sweep_rows({"mesh": [Cell(MESH)], "prompt": [Cell("x")]}, tmp_path), tmp_path)
    job.write(tmp_path, False)
    folder = tmp_path / job.name
    files = sum(path.is_file() for path in (folder / "inputs").rglob("*"))
    assert standing(folder).state is State.WAITING

    def no_model(request):
        raise RequestError("There is no model.")

    ended = run_one(folder, no_model, lambda event: None)
    assert ended["message"] == "There is no model." and standing(folder).state is State.FAILED
    assert files and len(read) == files
