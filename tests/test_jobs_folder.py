"""The job folder: whole files or none, no way out, one engine at a time."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ddrep_core.errors import RequestError, RunError
from ddrep_core.jobs.create import create_job, side_files
from ddrep_core.jobs.events import EventLog, JsonLines, TimeLeft, duration
from ddrep_core.jobs.folder import JobFolder, told_in_words, write_bytes

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


@pytest.fixture
def mesh(tmp_path):
    path = tmp_path / "models" / "cow.obj"
    path.parent.mkdir()
    path.write_text("mtllib cow.mtl\n" + TRIANGLE)
    (path.parent / "cow.mtl").write_text("newmtl skin\nmap_Kd -s 1 1 1 pictures/skin one.png\nmap_Ks /etc/passwd\n")
    (path.parent / "pictures").mkdir()
    (path.parent / "pictures" / "skin one.png").write_bytes(b"picture")
    return path


def texture_request(**changes):
    return {"task": "texture", "prompt": "wood", **changes}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "result.json"
    write_bytes(target, b"old")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"disk that holds .* is full"):
        write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_really_full_disk_is_told_in_words():
    with (
        pytest.raises(RunError, match="full") as caught,
        told_in_words("/dev/full"),
        Path("/dev/full").open("wb") as file,
    ):
        file.write(b"x" * 100_000)
    assert "--resume" in caught.value.fix


def test_created_with_the_files_that_the_mesh_names(tmp_path, mesh):
    folder = create_job(tmp_path / "job", texture_request(), mesh=mesh)
    assert folder.load_request().texture.mesh == "inputs/cow.obj"
    assert (folder.inputs / "pictures" / "skin one.png").read_bytes() == b"picture"
    assert sorted(map(str, side_files(mesh))) == ["cow.mtl", "cow.obj", "pictures/skin one.png"]


def test_gltf_buffers_come_along(tmp_path):
    path = tmp_path / "a.gltf"
    path.write_text(json.dumps({"buffers": [{"uri": "a%20b.bin"}, {"uri": "../x.bin"}, {"uri": "data:,"}, {}]}))
    (tmp_path / "a b.bin").write_bytes(b"1")
    assert sorted(map(str, side_files(path))) == ["a b.bin", "a.gltf"]


def test_another_requests_results_are_not_replaced(tmp_path, mesh):
    folder = create_job(tmp_path / "job", texture_request(), mesh=mesh)
    folder.prepare()
    (folder.outputs / "result.json").write_text("{}")
    create_job(tmp_path / "job", texture_request(), mesh=mesh)
    with pytest.raises(RequestError, match="another request"):
        create_job(tmp_path / "job", texture_request(seed=1), mesh=mesh)
    mesh.write_text(TRIANGLE)
    with pytest.raises(RequestError, match="another request"):
        create_job(tmp_path / "job", texture_request(), mesh=mesh)
    assert "mtllib" in (folder.inputs / "cow.obj").read_text()
    assert create_job(tmp_path / "job", texture_request(seed=1), mesh=mesh, overwrite=True).load_request().seed == 1


def test_a_folder_of_something_else_is_left_alone(tmp_path, mesh):
    with pytest.raises(RequestError, match="no job folder"):
        create_job(mesh.parent, texture_request(), mesh=mesh)
    with pytest.raises(RequestError, match="is a file"):
        create_job(mesh, texture_request(), mesh=mesh)


def test_a_wrong_request_makes_no_folder(tmp_path, mesh):
    with pytest.raises(RequestError, match="samples"):
        create_job(tmp_path / "job", texture_request(samples=0), mesh=mesh)
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize(("content", "words"), [(None, "no mesh"), (b"", "is empty")])
def test_a_mesh_that_is_not_there(tmp_path, content, words):
    path = tmp_path / "cow.obj"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match=words):
        create_job(tmp_path / "job", texture_request(), mesh=path)


def test_links_do_not_lead_out(tmp_path):
    folder = JobFolder(tmp_path / "job")
    folder.inputs.mkdir(parents=True)
    (folder.inputs / "mesh.obj").symlink_to("/etc/hostname")
    (folder.inputs / "away").symlink_to(tmp_path)
    (tmp_path / "secret.obj").write_text(TRIANGLE)
    for path in ("inputs/mesh.obj", "inputs/away/secret.obj"):
        with pytest.raises(RequestError, match="leads out of the job folder"):
            folder.resolve(path)
    with pytest.raises(RequestError, match="no such file"):
        folder.resolve("inputs/absent.obj")
    (folder.inputs / "true.obj").write_text(TRIANGLE)
    (folder.inputs / "inside.obj").symlink_to(folder.inputs / "true.obj")
    assert folder.resolve("inputs/inside.obj").read_text() == TRIANGLE


def test_a_job_writes_into_its_own_folder_only(tmp_path):
    folder = JobFolder(tmp_path / "job")
    (tmp_path / "elsewhere").mkdir()
    folder.path.mkdir()
    folder.outputs.symlink_to(tmp_path / "elsewhere")
    (folder.path / "events.jsonl").symlink_to(tmp_path / "elsewhere" / "log")
    with pytest.raises(RequestError, match="is a link"):
        folder.prepare()
    EventLog(folder, append=True).close()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_folder_without_a_request(tmp_path):
    with pytest.raises(RequestError, match=r"no job\.json"):
        JobFolder(tmp_path).load_request()
    with pytest.raises(RequestError, match="no job folder"):
        JobFolder(tmp_path / "absent").load_request()
    (tmp_path / "job.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(RequestError, match="not UTF-8"):
        JobFolder(tmp_path).load_request()


def test_one_engine_at_a_time(tmp_path):
    holder = (
        "import sys, time; from ddrep_core.jobs.folder import JobFolder\n"
        "with JobFolder(sys.argv[1]).locked(): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RequestError, match="Another engine"), JobFolder(tmp_path).locked():
            pass
    finally:
        process.kill()
        process.wait()
    with JobFolder(tmp_path).locked():  # a killed engine leaves no lock behind
        pass


def test_events_survive_a_half_written_line(tmp_path):
    folder = JobFolder(tmp_path)
    heard = []
    log = EventLog(folder, (heard.append,))
    log.emit("step", sigma=float("inf"), agreement=None, index=1)
    log.close()
    with folder.events_file.open("a") as file:
        file.write('{"event": "st')
    log = EventLog(folder, (heard.append,), append=True)
    log.emit("done", result="outputs/result.json")
    log.close()
    lines = folder.events_file.read_text().splitlines()
    assert json.loads(lines[0]) == heard[0] and heard[0]["sigma"] is None
    assert json.loads(lines[-1]) == heard[1] and len(lines) == 3
    EventLog(folder).close()
    assert folder.events_file.read_text() == ""


def test_a_reader_that_has_gone_does_not_stop_the_run(tmp_path):
    stream = (tmp_path / "closed").open("w")
    stream.close()
    JsonLines(stream)({"event": "step"})


def test_time_left_follows_the_pace(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    left = TimeLeft()
    now[0] += 2
    assert left.step(10) == 20.0
    now[0] += 50
    left.restart()  # fifty seconds of something else
    now[0] += 4
    assert left.step(9) == 36.0  # the first step paid for starting
    now[0] += 2
    assert left.step(8) == 24.0


@pytest.mark.parametrize(
    ("seconds", "words"), [(8, "8 s"), (89, "89 s"), (150, "2 min"), (4800, "1 h 20 min"), (-1, "0 s")]
)
def test_durations_as_a_person_says_them(seconds, words):
    assert duration(seconds) == words


def test_the_first_step_does_not_set_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's first step takes seconds, the next ones a hundredth of that."""
    now = [0.0]
    monkeypatch.setattr("ddrep_core.jobs.events.time.monotonic", lambda: now[0])
    left = TimeLeft()
    now[0] += 9.0
    assert left.step(10) == 90.0
    for _ in range(3):
        now[0] += 0.1
        assert left.step(10) == pytest.approx(1.0)
