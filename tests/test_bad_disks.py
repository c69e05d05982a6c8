"""Disks that are really full or read-only, clocks that are set, two engines on one job: in words, and nothing lost."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from job_outputs import outputs_of
from test_jobs_run import events_of, make_job, play, prior  # noqa: F401

from ddrep_core.errors import Cancelled, RequestError, RunError
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.run import run_job


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True)
    if made.returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def copied(folder: JobFolder, place: Path) -> JobFolder:
    return JobFolder(shutil.copytree(folder.path, place / "job"))


def test_a_disk_that_is_really_full(make_job, small_disk: Path) -> None:  # noqa: F811
    """The job stops in words; when there is space again it goes on, to the same bytes."""
    undisturbed, folder = make_job("undisturbed"), copied(make_job(), small_disk)
    run_job(undisturbed.path)
    filler = small_disk / "filler"
    heard = []

    def fill(event) -> None:
        heard.append(event["event"])
        if event["event"] == "step" and heard.count("step") == 2:
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 4096)
                except OSError:
                    pass

    with pytest.raises(RunError, match="is full"):
        run_job(folder.path, listeners=(fill,), checkpoint_seconds=0)
    filler.unlink()
    run_job(folder.path, resume=True)
    assert outputs_of(folder) == outputs_of(undisturbed)


def test_a_disk_that_may_only_be_read(make_job, small_disk: Path) -> None:  # noqa: F811
    folder = copied(make_job(), small_disk)
    run_job(folder.path)
    before = outputs_of(folder)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(RunError, match="read-only"):
        run_job(folder.path)
    assert outputs_of(folder) == before


@pytest.mark.parametrize("off", [-1e6, 1e6])
def test_a_clock_that_is_set(make_job, monkeypatch, off: float) -> None:  # noqa: F811
    """A job is stopped, cancelled and gone on with as on any other day."""
    undisturbed, folder = make_job("undisturbed"), make_job()
    run_job(undisturbed.path)
    real, steps = time.time, []

    def stop(event) -> None:
        steps.append(event["event"])
        if event["event"] == "step" and steps.count("step") == 2:
            monkeypatch.setattr("time.time", lambda: real() + off)
            folder.cancel_file.touch()
            os.utime(folder.cancel_file, (real() + off, real() + off))

    with pytest.raises(Cancelled):
        run_job(folder.path, listeners=(stop,), checkpoint_seconds=0)
    run_job(folder.path, resume=True)
    assert outputs_of(folder) == outputs_of(undisturbed)
    assert not any("anew" in event.get("message", "") for event in events_of(folder))


def test_a_second_engine_is_sent_away_and_costs_the_first_nothing(make_job) -> None:  # noqa: F811
    undisturbed, folder = make_job("undisturbed"), make_job()
    run_job(undisturbed.path)
    told = []

    def second(event) -> None:
        if event["event"] == "step" and not told:
            with pytest.raises(RequestError, match="Another engine") as caught:
                run_job(folder.path)
            told.append(str(caught.value))

    run_job(folder.path, listeners=(second,))
    assert told and outputs_of(folder) == outputs_of(undisturbed)


def test_a_library_s_word_of_a_full_disk_is_told_in_ours(make_job) -> None:  # noqa: F811
    """Whoever comes upon it first: a picture's writer, a temporary file."""
    folder = make_job()

    def listener(event) -> None:
        if event["event"] == "step":
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunError, match="is full") as caught:
        run_job(folder.path, listeners=(listener,))
    assert "--resume" in caught.value.fix
