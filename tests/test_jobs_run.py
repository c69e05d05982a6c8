"""Running, cancelling, resuming and failing, with a task small enough to be run a hundred times."""

import errno
import json
import os
import signal
import warnings
from functools import partial

import pytest
import torch
from job_outputs import outputs_of
from PIL import Image

import ddrep_core as dd
from ddrep_core.errors import Cancelled, DdrepWarning, RequestError, RunError
from ddrep_core.jobs import run as run_module
from ddrep_core.jobs.folder import JobFolder, write_bytes, write_json
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.session import Preview
from ddrep_core.jobs.task import Made, Stage

SHAPE = (1, 4, 4)


class Toy:
    """Two stages of a linear representation under a mixture of pictures; the output is the sum of their θ."""

    def start(self, session):
        generator = torch.Generator().manual_seed(1)
        matrix = torch.randn(2 * 16, 12, generator=generator, dtype=torch.float64)
        rep = dd.diffreps.LinearDiffrep(matrix, image_shape=SHAPE)
        return Stage(self.recipe(session, rep), self.colour, picture, "shape")

    def recipe(self, session, rep):
        return session.recipe(rep)

    def colour(self, session, shape):
        session.stage("Between")
        recipe = self.recipe(session, shape.diffrep)
        return Stage(recipe, partial(self.finish, shape.diffrep.theta), name="colour")

    def finish(self, theta, session, colour):
        path = session.outputs / "theta.bin"
        write_bytes(path, (theta + colour.diffrep.theta).numpy().tobytes())
        return Made({"image": path})


def picture(session, step):
    return [Preview("image", Image.new("RGB", (4, 4), (int(step.index) % 255, 0, 0)))]


@pytest.fixture
def prior():
    pictures = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return dd.priors.EmpiricalPrior(pictures)


@pytest.fixture
def play(monkeypatch):
    """Has jobs of the task "image" done by a toy."""

    def play(toy):
        monkeypatch.setattr(run_module, "start_task", toy.start)

    return play


@pytest.fixture
def make_job(tmp_path, monkeypatch, prior, play):
    play(Toy())
    monkeypatch.setattr(run_module, "load_request_prior", lambda request: prior)

    def make(name="job", **changes):
        folder = JobFolder(tmp_path / name)
        (folder.inputs).mkdir(parents=True)
        write_json(folder.request_file, {"schema_version": 1, "task": "image", "steps": 6, "seed": 3, **changes})
        return folder

    return make


def events_of(folder):
    return [json.loads(line) for line in folder.events_file.read_text().splitlines()]


class StopAfter:
    """A listener that asks for the run to stop at its n-th step."""

    def __init__(self, steps, stop):
        self.left, self.stop = steps, stop

    def __call__(self, event):
        if event["event"] == "step":
            self.left -= 1
            if self.left == 0:
                self.stop()


def test_a_run_from_start_to_end(make_job):
    folder = make_job(samples=2)
    result = json.loads(run_job(folder.path, preview_seconds=0).read_text())
    assert [sample["seed"] for sample in result["samples"]] == [3, 4]
    assert result["nfe"] == 2 * 2 * 6 and result["request"]["steps"] == 6
    assert [sample["files"]["image"] for sample in result["samples"]] == [
        "outputs/sample_0000/theta.bin",
        "outputs/sample_0001/theta.bin",
    ]
    log = events_of(folder)
    assert log[0]["event"] == "started" and log[0]["pid"] == os.getpid()
    assert log[-1]["event"] == "done" and log[-1]["result"] == "outputs/result.json"
    steps = [event for event in log if event["event"] == "step"]
    assert [(e["sample"], e["index"]) for e in steps] == [(s, i + 1) for s in (0, 1) for _ in (0, 1) for i in range(6)]
    assert all(e["of"] == 6 and e["seconds_left"] >= 0 and 0 <= e["agreement"] <= 1 for e in steps)
    previews = [event for event in log if event["event"] == "preview"]
    assert previews and all((folder.path / e["path"]).is_file() and e["kind"] == "image" for e in previews)


def test_samples_differ_and_the_same_seed_repeats(make_job):
    several, one = make_job("several", samples=2), make_job("one", seed=4)
    run_job(several.path)
    run_job(one.path)
    a, b = outputs_of(several), outputs_of(one)
    assert a["sample_0001/theta.bin"] == b["theta.bin"] != a["sample_0000/theta.bin"]


@pytest.mark.parametrize("how", ["file", "signal"])
@pytest.mark.parametrize("steps", [1, 5, 6, 7, 12, 13, 20])
def test_cancelled_at_a_step_and_resumed_to_the_same_bytes(make_job, steps, how):
    undisturbed, folder = make_job("undisturbed", samples=2), make_job(samples=2)
    run_job(undisturbed.path)
    before = signal.getsignal(signal.SIGINT)

    def stop():
        if how == "file":
            folder.cancel_file.touch()
        else:
            os.kill(os.getpid(), signal.SIGINT if steps % 2 else signal.SIGTERM)

    with pytest.raises(Cancelled) as caught:
        run_job(folder.path, listeners=(StopAfter(steps, stop),))
    assert caught.value.exit_status == 130 and "--resume" in caught.value.fix
    assert signal.getsignal(signal.SIGINT) is before
    assert events_of(folder)[-1]["event"] == "cancelled" and not folder.result_file.exists()
    assert not folder.cancel_file.exists()
    done = sum(event["event"] == "step" for event in events_of(folder))
    assert done == steps
    run_job(folder.path, resume=True)
    assert outputs_of(folder) == outputs_of(undisturbed)
    assert sum(event["event"] == "step" for event in events_of(folder)) == 24  # no step was done twice


def test_a_finished_job_is_left_as_it_is_by_resume(make_job):
    folder = make_job()
    run_job(folder.path)
    stamp = folder.result_file.stat().st_mtime_ns
    run_job(folder.path, resume=True)
    assert folder.result_file.stat().st_mtime_ns == stamp
    run_job(folder.path)
    assert folder.result_file.stat().st_mtime_ns != stamp


def test_a_changed_request_starts_anew_and_says_so(make_job):
    folder = make_job()
    with pytest.raises(Cancelled):
        run_job(folder.path, listeners=(StopAfter(3, folder.cancel_file.touch),))
    write_json(folder.request_file, {"schema_version": 1, "task": "image", "steps": 7})
    run_job(folder.path, resume=True)
    assert any("have changed" in event.get("message", "") for event in events_of(folder))
    assert json.loads(folder.result_file.read_text())["nfe"] == 14


def test_a_truncated_checkpoint_is_told_and_the_one_before_serves(make_job):
    undisturbed, folder = make_job("undisturbed"), make_job()
    run_job(undisturbed.path)
    with pytest.raises(Cancelled):
        run_job(folder.path, checkpoint_seconds=0, listeners=(StopAfter(4, folder.cancel_file.touch),))
    for damaged in (1, 2):
        newest = sorted((folder.checkpoints / "state").iterdir())[-damaged] / "state.safetensors"
        newest.write_bytes(newest.read_bytes()[:100])
        with pytest.raises(Cancelled):
            run_job(folder.path, resume=True, listeners=(StopAfter(1, folder.cancel_file.touch),))
        message = [e["message"] for e in events_of(folder) if e["event"] == "warning"][-1]
        assert "damaged" in message
    run_job(folder.path, resume=True)
    assert outputs_of(folder) == outputs_of(undisturbed)


def test_a_stale_cancel_file_does_not_count(make_job):
    folder = make_job()
    folder.cancel_file.touch()
    os.utime(folder.cancel_file, (1, 1))
    run_job(folder.path)
    folder.cancel_file.touch()  # asked for while the engine starts
    with pytest.raises(Cancelled):
        run_job(folder.path)


def test_a_request_that_fails_leaves_earlier_results_alone(make_job, monkeypatch):
    folder = make_job()
    run_job(folder.path)
    before = outputs_of(folder)

    def missing(request):
        raise RequestError("There is no prior called 'x'.", "Use another.")

    monkeypatch.setattr(run_module, "load_request_prior", missing)
    with pytest.raises(RequestError):
        run_job(folder.path)
    assert outputs_of(folder) == before
    last = events_of(folder)[-1]
    assert (last["event"], last["status"], last["fix"]) == ("error", 2, "Use another.")


class Failing(Toy):
    def __init__(self, error):
        self.error = error

    def colour(self, session, shape):
        raise self.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "memory ran out"),
        (MemoryError(), "memory ran out"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "memory ran out"),
        (KeyError("surprise"), "did not foresee: KeyError"),
    ],
)
def test_failures_are_told_in_words(make_job, play, error, words):
    play(Failing(error))
    folder = make_job()
    with pytest.raises(RunError, match=words) as caught:
        run_job(folder.path)
    assert caught.value.fix
    assert events_of(folder)[-1]["status"] == 1
    if "foresee" in words:
        assert "KeyError" in folder.error_file.read_text()


def test_a_disk_that_fills_up_keeps_the_checkpoint(make_job, monkeypatch):
    undisturbed, folder = make_job("undisturbed"), make_job()
    run_job(undisturbed.path)
    real = os.fsync
    calls = []

    def fill(descriptor):
        calls.append(descriptor)
        if len(calls) > 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("os.fsync", fill)
    with pytest.raises(RunError, match="is full"):
        run_job(folder.path, checkpoint_seconds=0)
    monkeypatch.setattr("os.fsync", real)
    run_job(folder.path, resume=True)
    assert outputs_of(folder) == outputs_of(undisturbed)
    assert not any("anew" in event.get("message", "") for event in events_of(folder))


def test_an_output_folder_that_cannot_be_written(make_job):
    folder = make_job()
    folder.outputs.write_text("in the way")
    with pytest.raises(RunError, match="cannot be written"):
        run_job(folder.path)


def test_warnings_become_events_once(make_job, play):
    class Warning_(Toy):
        def colour(self, session, shape):
            for _ in range(3):
                warnings.warn("The prompt was cut.", DdrepWarning, stacklevel=1)
            return super().colour(session, shape)

    play(Warning_())
    folder = make_job()
    run_job(folder.path)
    assert [e["message"] for e in events_of(folder) if e["event"] == "warning"] == ["The prompt was cut."]


def test_threads_of_the_checkpoint_are_used_again(make_job):
    folder = make_job()
    before = torch.get_num_threads()
    with pytest.raises(Cancelled):
        run_job(folder.path, listeners=(StopAfter(2, folder.cancel_file.touch),))
    record = json.loads((folder.checkpoints / "run.json").read_text())
    write_json(folder.checkpoints / "run.json", {**record, "threads": before + 1})
    seen = []
    run_job(folder.path, resume=True, listeners=(lambda event: seen.append(torch.get_num_threads()),))
    assert seen[-1] == before + 1 and torch.get_num_threads() == before


def test_a_task_may_want_stronger_guidance_than_the_prior_but_never_overrules_the_request(
    make_job, prior, play, monkeypatch
) -> None:
    seen = []

    class Asking(Toy):
        def start(self, session):
            first = super().start(session)
            reps = first.recipe.rep
            seen.append([session.recipe(reps, least_guidance=least).guidance_scale for least in (0.0, 5.0)])
            return first

    play(Asking())
    monkeypatch.setattr(prior, "default_guidance_scale", 2.5)
    run_job(make_job("own").path)
    run_job(make_job("asked", guidance_scale=1.5).path)
    assert seen == [[2.5, 5.0], [1.5, 1.5]]
