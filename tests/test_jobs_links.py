"""A job folder from a stranger: wherever a link, a pipe or a wrong record lies in it, nothing outside is touched."""

import os
import shutil

import pytest
from test_jobs_run import StopAfter, events_of, make_job, play, prior  # noqa: F401  (fixtures)

from ddrep_core.errors import Cancelled, DdrepError, RequestError
from ddrep_core.jobs import run as run_module
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.folder import JobFolder, read_json, write_json
from ddrep_core.jobs.identity import is_resumable
from ddrep_core.jobs.run import run_job

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links and pipes as POSIX has them")

FILES = (
    "job.json", "inputs/mesh.obj", "outputs/result.json", "outputs/report.html", "outputs/sample_0000/theta.bin",
    "previews/sample_0000_step_00001.png", "checkpoint/run.json", "checkpoint/samples/sample_0000.json",
    "checkpoint/state/000000/state.json", "events.jsonl", "error.log", "cancel", ".lock",
)  # fmt: skip
FOLDERS = (
    "inputs", "inputs/textures", "outputs", "outputs/sample_0000", "previews", "checkpoint", "checkpoint/state",
    "checkpoint/state/000000", "checkpoint/stages", "checkpoint/stages/sample_0000_shape", "checkpoint/samples",
)  # fmt: skip


@pytest.fixture
def outside(tmp_path):
    """What must stay as it is: files, and folders with the names that an engine would remove."""
    folder = tmp_path / "outside"
    for number in range(4):
        (folder / f"00000{number}").mkdir(parents=True)
        (folder / f"00000{number}" / "letter").write_text("keep me")
    (folder / "file").write_text("keep me")
    (folder / "sample_0000").mkdir()
    (folder / ".x.12.part").write_text("keep me")
    return folder


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def lay_link(folder, place, target):
    path = folder.path / place
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the one interrupted job is kept that all tests take copies of."""
    return tmp_path_factory.mktemp("interrupted") / "job"


@pytest.fixture
def interrupted(make_job, kept, tmp_path):  # noqa: F811
    if not kept.exists():
        folder = make_job("original", samples=2)
        with pytest.raises(Cancelled):
            run_job(folder.path, listeners=(StopAfter(14, folder.cancel_file.touch),), checkpoint_seconds=0)
        folder.path.rename(kept)
    return JobFolder(shutil.copytree(kept, tmp_path / "interrupted"))


@pytest.mark.parametrize("place", [*FILES, *FOLDERS])
@pytest.mark.parametrize("resume", [False, True])
def test_a_link_in_any_place_is_refused_and_what_it_leads_to_is_left_alone(
    make_job,  # noqa: F811
    interrupted,
    outside,
    place,
    resume,
):
    folder = interrupted if resume else make_job("fresh", samples=2)
    target = outside / "file" if place in FILES else outside
    if place == "job.json":
        target.write_bytes(folder.request_file.read_bytes())
    lay_link(folder, place, target)
    before = tree(outside)
    with pytest.raises(RequestError, match="link"):
        run_job(folder.path, resume=resume)
    with pytest.raises(RequestError, match="link"):
        is_resumable(folder)
    with pytest.raises(RequestError, match="link"):
        create_job(folder.path, {"task": "image"}, overwrite=True)
    assert tree(outside) == before


@pytest.mark.parametrize("place", [*FILES, *FOLDERS])
def test_a_link_to_what_is_not_there_makes_nothing_there(make_job, tmp_path, place):  # noqa: F811
    folder = make_job(samples=2)
    if place == "job.json":
        return
    lay_link(folder, place, tmp_path / "absent")
    if place.startswith("inputs/"):
        run_job(folder.path)  # nobody asks for it
    else:
        with pytest.raises(RequestError, match="link"):
            run_job(folder.path)
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("place", [place for place in FILES if place != "job.json"] + ["job.json", "inputs/pipe"])
def test_a_pipe_is_refused_and_not_waited_for(make_job, place):  # noqa: F811
    folder = make_job(samples=2)
    path = folder.path / place
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(RequestError, match="pipe"):
        run_job(folder.path)
    with pytest.raises(RequestError, match="pipe"):
        run_job(folder.path, resume=True)


def test_a_link_put_there_while_the_engine_works_is_not_followed(make_job, outside):  # noqa: F811
    folder = make_job(samples=2)
    before = tree(outside)

    def swap():
        shutil.rmtree(folder.path / "checkpoint", ignore_errors=True)
        (folder.path / "checkpoint").symlink_to(outside)

    with pytest.raises(DdrepError, match="link"):
        run_job(folder.path, listeners=(StopAfter(3, swap),), checkpoint_seconds=0)
    assert tree(outside) == before


@pytest.mark.parametrize(
    "record",
    [
        3,
        {"files": "outputs/x"},
        {"files": {"image": "/etc/hostname"}, "seconds": {}, "nfe": 1, "seed": 3},
        {"files": {"image": "../outside/file"}, "seconds": {}, "nfe": 1, "seed": 3},
        {"files": {"image": "job.json"}, "seconds": {}, "nfe": 1, "seed": 3},
        {"files": {}, "seconds": {"total": "long"}, "nfe": 1, "seed": 3},
        {"files": {}, "seconds": {}, "nfe": "many", "seed": 3},
    ],
)
def test_a_record_that_is_none_of_ours_does_not_count(interrupted, outside, record):
    write_json(interrupted.path / "checkpoint/samples/sample_0000.json", record)
    run_job(interrupted.path, resume=True)
    files = [path for sample in read_json(interrupted.result_file)["samples"] for path in sample["files"].values()]
    assert files == ["outputs/sample_0000/theta.bin", "outputs/sample_0001/theta.bin"]


@pytest.mark.parametrize("threads", [0, -1, 4096, 10**9, 1.5, "2", None, True, [1]])
def test_a_run_record_with_odd_threads_is_refused_and_costs_nothing(interrupted, threads):
    path = interrupted.path / "checkpoint/run.json"
    write_json(path, {**read_json(path), "threads": threads})
    before = tree(interrupted.path / "checkpoint")
    with pytest.raises(RequestError, match="threads"):
        run_job(interrupted.path, resume=True)
    assert tree(interrupted.path / "checkpoint") == before


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "\0", "[1]", '{"fingerprint": 1}'])
@pytest.mark.parametrize("place", ["outputs/result.json", "checkpoint/run.json", "checkpoint/samples/sample_0000.json"])
def test_damaged_records_start_anew_in_words(interrupted, place, text):
    (interrupted.path / place).write_text(text)
    run_job(interrupted.path, resume=True)
    assert events_of(interrupted)[-1]["event"] == "done"


def test_what_a_killed_engine_was_about_to_rename_is_swept(interrupted, outside):
    litter = [
        "outputs/.turntable.4711.part.mp4", "outputs/sample_0000/.mesh.4711.part.glb", ".job.json.4711.part",
        "checkpoint/samples/.sample_0000.json.4711.part", "outputs/.4711.trial",
    ]  # fmt: skip
    for place in litter:
        path = interrupted.path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    (interrupted.path / "inputs" / ".a.12.part").write_text("an artist's own")
    run_job(interrupted.path, resume=True)
    assert not [place for place in litter if (interrupted.path / place).exists()]
    assert (interrupted.path / "inputs" / ".a.12.part").exists()


def test_a_cancel_file_made_while_results_are_written_does_not_stay(make_job, monkeypatch):  # noqa: F811
    folder = make_job()

    def write_and_touch(path, data):
        write_json(path, data)
        if path == folder.result_file:
            folder.cancel_file.touch()

    monkeypatch.setattr(run_module, "write_json", write_and_touch)
    run_job(folder.path)
    assert not folder.cancel_file.exists() and events_of(folder)[-1]["event"] == "done"
