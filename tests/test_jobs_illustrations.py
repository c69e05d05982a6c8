"""The result is safe before any picture of it is drawn; a picture that fails costs a warning, and resume draws it."""

import json
import shutil
import time
from dataclasses import replace
from typing import ClassVar

import pytest
from geometry_shapes import cube_obj
from job_outputs import outputs_of
from test_jobs_run import StopAfter, Toy, events_of, make_job, play, prior  # noqa: F401  (fixtures)

from ddrep_core.errors import Cancelled, RequestError
from ddrep_core.jobs import pace
from ddrep_core.jobs import run as run_module
from ddrep_core.jobs import texture as texture_module
from ddrep_core.jobs.folder import JobFolder, write_bytes, write_json
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.task import Illustration

PARTS = ("the film", "the sheet")


class DrawnToy(Toy):
    """A toy that draws two pictures of its result; `breaks` says what happens at one: {(sample, what): error}."""

    breaks: ClassVar[dict[tuple[int, str], BaseException]] = {}
    drawn: ClassVar[list[tuple[int, str]]] = []
    result_was_there: ClassVar[list[bool]] = []

    def finish(self, theta, session, colour):
        made = super().finish(theta, session, colour)
        number = session.sample_number
        illustrations = []
        for what in PARTS:
            path = session.outputs / f"{what[4:]}.bin"

            def draw(progress, what=what, path=path):
                progress(0.5)
                type(self).result_was_there.append(session.folder.result_file.exists())
                if error := self.breaks.get((number, what)):
                    raise error
                self.drawn.append((number, what))
                write_bytes(path, f"{number} {what}".encode())

            illustrations.append(Illustration(what, {what[4:]: path}, draw))
        return replace(made, illustrations=tuple(illustrations))


@pytest.fixture
def drawn_job(make_job, play, monkeypatch):  # noqa: F811
    play(DrawnToy())
    monkeypatch.setattr(DrawnToy, "drawn", [])
    monkeypatch.setattr(DrawnToy, "breaks", {})
    monkeypatch.setattr(DrawnToy, "result_was_there", [])
    return make_job


def warnings_of(folder):
    """What a run warned of, but for what a model of random weights is always told."""
    messages = [event["message"] for event in events_of(folder) if event["event"] == "warning"]
    return [message for message in messages if "does not do what its files say" not in message]


def test_the_result_is_written_before_its_pictures(drawn_job):
    folder = drawn_job()
    run_job(folder.path)
    assert DrawnToy.result_was_there == [True, True]
    files = json.loads(folder.result_file.read_text())["samples"][0]["files"]
    assert list(files) == ["image", "film", "sheet"]
    assert not list((folder.path / "checkpoint" / "stages").glob("*"))


@pytest.mark.parametrize(
    "error", [RuntimeError("no such filter"), OSError(28, "full"), MemoryError(), RequestError("a")]
)
@pytest.mark.parametrize("broken", [[(0, "the film")], [(1, "the sheet")]])
def test_a_picture_that_fails_costs_a_warning_and_resume_draws_it(drawn_job, error, broken):
    whole = drawn_job("whole", samples=2)
    run_job(whole.path)
    folder = drawn_job(samples=2)
    DrawnToy.breaks = dict.fromkeys(broken, error)
    run_job(folder.path)
    assert events_of(folder)[-1]["event"] == "done"
    assert any("could not be drawn" in message for message in warnings_of(folder))
    samples = json.loads(folder.result_file.read_text())["samples"]
    for number, sample in enumerate(samples):
        assert (folder.path / sample["files"]["image"]).is_file()
        assert sample.get("missing", []) == [what for key, what in broken if key == number]
    DrawnToy.breaks, DrawnToy.drawn = {}, []
    run_job(folder.path, resume=True)
    assert DrawnToy.drawn == broken  # nothing else is drawn again
    assert not [event for event in events_of(folder)[-8:] if event["event"] == "step"]  # and nothing sampled
    assert outputs_of(folder) == outputs_of(whole)
    assert not folder.error_file.exists()


def test_cancelled_or_killed_while_drawing_the_result_is_there(drawn_job):
    whole = drawn_job("whole")
    run_job(whole.path)
    for error in (Cancelled("stop"), KeyboardInterrupt(), SystemExit(3)):
        folder = drawn_job(type(error).__name__)
        DrawnToy.breaks = {(0, "the film"): error}
        with pytest.raises((Cancelled, SystemExit)):
            run_job(folder.path)
        assert json.loads(folder.result_file.read_text())["samples"][0]["missing"] == list(PARTS)
        DrawnToy.breaks = {}
        run_job(folder.path, resume=True)
        assert outputs_of(folder) == outputs_of(whole)


def test_the_page_costs_nothing_and_comes_with_resume(drawn_job, monkeypatch):
    folder = drawn_job()

    def fail(result):
        raise ValueError("no page")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "result_page", fail)
        run_job(folder.path)
    assert folder.result_file.is_file() and not folder.page_file.exists()
    assert any("report.html" in message for message in warnings_of(folder))
    run_job(folder.path, resume=True)
    assert folder.page_file.is_file()


def test_a_long_stage_says_how_far_it_is_and_how_long_it_takes(drawn_job, play, monkeypatch):  # noqa: F811
    monkeypatch.setattr(pace, "STAGE_SECONDS", 0.02)

    class SlowToy(Toy):
        def colour(self, session, shape):
            progress = session.stage("Thinking")
            time.sleep(0.1)
            progress(0.25)
            session.stage("Silence")
            time.sleep(0.3)
            return super().colour(session, shape)

    play(SlowToy())
    folder = drawn_job()
    run_job(folder.path)
    stages = [event for event in events_of(folder) if event["event"] == "stage"]
    assert [event["share"] for event in stages if event["message"] == "Thinking" and "share" in event] == [0.25]
    times = [event["seconds"] for event in stages if event["message"] == "Silence" and "seconds" in event]
    assert len(times) >= 2 and times == sorted(times) and times[-1] >= 0.1


# --- a real texture ---------------------------------------------------------------------------------------------


@pytest.fixture
def texture_job(tmp_path, tiny_sd, short_film):
    def make(name="job", mesh=None):
        folder = JobFolder(tmp_path / name)
        folder.inputs.mkdir(parents=True)
        shutil.copyfile(mesh or cube_obj(tmp_path / "cube.obj"), folder.inputs / "mesh.obj")
        request = {
            "schema_version": 1, "task": "texture", "steps": 2, "schedule": "plain", "cameras": "orbit:3",
            "prior": str(tiny_sd), "texture": {"mesh": "inputs/mesh.obj", "resolution": 64},
        }  # fmt: skip
        write_json(folder.request_file, request)
        return folder

    return make


@pytest.mark.parametrize("part", ["turntable", "contact_sheet", "result_page", "ffmpeg"])
def test_each_part_of_the_report_may_fail(texture_job, monkeypatch, part):
    folder = texture_job()

    def fail(*arguments, **settings):
        raise IndexError("more rows than points")

    with monkeypatch.context() as patch:
        if part == "ffmpeg":
            patch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
        else:
            patch.setattr(run_module if part == "result_page" else texture_module, part, fail)
        run_job(folder.path)
    sample = json.loads(folder.result_file.read_text())["samples"][0]
    for what in ("texture", "coverage", "mesh"):
        assert (folder.path / sample["files"][what]).stat().st_size > 100
    assert len(warnings_of(folder)) == 1
    run_job(folder.path, resume=True)
    sample = json.loads(folder.result_file.read_text())["samples"][0]
    assert {"turntable", "turntable_still", "contact_sheet"} <= set(sample["files"]) and "missing" not in sample
    assert all((folder.path / path).is_file() for path in sample["files"].values()) and folder.page_file.is_file()


def test_names_of_any_length_and_character_become_files(texture_job, tmp_path):
    names = ["x" * 300, "x" * 299 + "y", "木" * 200, "a/b", "a b", "..", "CON"]
    text = cube_obj(tmp_path / "cube.obj", uv=False).read_text()
    points = [line for line in text.splitlines() if line.startswith("v ")]
    faces = [line for line in text.splitlines() if line.startswith("f ")]
    lines = [*points]
    for name, face in zip(names, [*faces, faces[0]], strict=True):
        lines += [f"o {name}", face]
    mesh = tmp_path / "named.obj"
    mesh.write_text("\n".join(lines) + "\n")
    folder = texture_job(mesh=mesh)
    run_job(folder.path)
    sample = json.loads(folder.result_file.read_text())["samples"][0]
    assert {entry["name"] for entry in sample["objects"]} == set(names)
    files = [path for what, path in sample["files"].items() if what.startswith(("texture", "uv"))]
    assert len(set(files)) == 2 * len(names) and all((folder.path / path).is_file() for path in files)
    assert len({path.lower() for path in files}) == len(files)
