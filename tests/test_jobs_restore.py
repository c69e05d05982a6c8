"""`ddrep restore`: what is known stays to the last bit, answers differ, and what cannot be done is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ddrep_core.cli import main
from ddrep_core.errors import Cancelled, RequestError
from ddrep_core.jobs import run
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.request import parse_request
from ddrep_core.jobs.restore import measured
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.wish import wish_of
from ddrep_core.priors import GaussianMixturePrior


def half(colour: tuple[float, float, float]) -> torch.Tensor:
    """[3, 8, 8] grey on the left, the colour on the right."""
    picture = torch.full((3, 8, 8), 0.5)
    picture[:, :, 4:] = torch.tensor(colour)[:, None, None]
    return picture


def prior_of(request: object) -> Any:
    return GaussianMixturePrior(torch.stack([half((0.9, 0.1, 0.1)), half((0.1, 0.1, 0.9))]), 1e-3)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A picture of 16 x 16 whose right half is not known, and the mask that says so."""
    pixels = np.random.default_rng(0).integers(120, 136, (16, 16, 3), np.uint8)
    mask = np.zeros((16, 16), np.uint8)
    mask[:, 8:] = 255
    paths = {"picture": tmp_path / "torn.png", "mask": tmp_path / "hole.png"}
    Image.fromarray(pixels).save(paths["picture"])
    Image.fromarray(mask).save(paths["mask"])
    return paths


def job_of(folder: Path, files: dict[str, Path], **request: Any) -> JobFolder:
    wish = wish_of("restore", {"steps": 60, **request, **files})
    return create_job(folder, wish.request, copies=wish.copies)


def answers_of(job: JobFolder) -> list[np.ndarray]:
    samples = json.loads(job.result_file.read_text())["samples"]
    return [np.asarray(Image.open(job.path / sample["files"]["image"])) for sample in samples]


def test_answers_keep_what_is_known_and_differ_where_it_is_not(tmp_path: Path, files: dict[str, Path]) -> None:
    known = np.asarray(Image.open(files["picture"]))
    found = {}
    for diversity in (0.0, 2.0):
        job = job_of(tmp_path / f"{diversity:g}", files, samples=2, diversity=diversity)
        run_job(job.path, load_prior=prior_of)
        answers = answers_of(job)
        assert all(np.array_equal(answer[:, :7], known[:, :7]) for answer in answers)
        found[diversity] = {
            "red" if answer[:, 10:, 0].mean() > answer[:, 10:, 2].mean() else "blue" for answer in answers
        }
        assert all(abs(float(answer[:, 10:, 1].mean()) - 25.5) < 60 for answer in answers)
        sheet = Image.open(job.path / "outputs/answers.png")
        assert sheet.size == (3 * 20 - 4, 16)
    assert found == {0.0: {"blue"}, 2.0: {"red", "blue"}}


def test_a_run_that_was_stopped_ends_in_the_same_bytes(tmp_path: Path, files: dict[str, Path]) -> None:
    whole, stopped = (job_of(tmp_path / name, files, samples=2, diversity=0.5) for name in ("whole", "stopped"))
    run_job(whole.path, load_prior=prior_of)

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["index"] == 20:
            (stopped.path / "cancel").touch()

    with pytest.raises(Cancelled):
        run_job(stopped.path, listeners=(stop,), load_prior=prior_of)
    run_job(stopped.path, resume=True, load_prior=prior_of)
    assert all(np.array_equal(*pair) for pair in zip(answers_of(whole), answers_of(stopped), strict=True))


def test_a_small_picture_becomes_a_large_one_that_shrinks_to_it(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(run, "load_request_prior", prior_of)
    small = tmp_path / "small.png"
    colours = half((0.9, 0.1, 0.1)).permute(1, 2, 0)[::2, ::2].numpy()
    Image.fromarray((colours * 255).astype(np.uint8)).save(small)
    out = tmp_path / "job"
    with pytest.raises(SystemExit) as ended:
        main(["restore", str(small), "--task", "upscale:2", "-p", "red", "--steps", "60", "-o", str(out)])
    assert ended.value.code == 0, capsys.readouterr().err
    (answer,) = answers_of(JobFolder(out))
    assert answer.shape == (8, 8, 3)
    again = np.asarray(Image.fromarray(answer).resize((4, 4), Image.Resampling.BOX), float) / 255
    assert np.abs(again - colours).max() < 0.1
    assert json.loads((out / "job.json").read_text())["restore"]["picture"] == "inputs/picture.png"


def test_a_blur_is_measured_in_the_pictures_own_pixels() -> None:
    picture = Image.new("RGB", (32, 32), (10, 200, 30))
    shape, damaged = measured(picture, "deblur:4", None, prior_of(None))
    assert shape == (3, 8, 8) and damaged.size == (32, 32)
    point = torch.zeros(1, 3, 9, 9)
    point[..., 4, 4] = 1
    spread = damaged.measurement.operator(point)[0, 0]
    variance = float((spread.sum(0) * (torch.arange(9) - 4) ** 2).sum() / spread.sum())
    assert variance == pytest.approx(1.0, abs=0.1)  # 4 pixels of 32 are 1 of 8


@pytest.mark.parametrize("damage", ["upscale", "upscale:0", "upscale:40", "deblur:-1", "denoise", ""])
def test_damage_that_is_none_is_named(damage: str) -> None:
    block = {"picture": "inputs/a.png", "damage": damage}
    with pytest.raises(RequestError, match="inpaint, upscale:K"):
        parse_request({"schema_version": 1, "task": "restore", "restore": block})


def test_a_mask_must_leave_something_to_find_and_something_known(tmp_path: Path) -> None:
    picture, prior = Image.new("RGB", (16, 16)), prior_of(None)
    with pytest.raises(RequestError, match="wants a mask"):
        measured(picture, "inpaint", None, prior)
    for grey in (0, 255):
        with pytest.raises(RequestError, match="all black or all white"):
            measured(picture, "inpaint", Image.new("L", (16, 16), grey), prior)
    with pytest.raises(RequestError, match="pixels"):
        measured(Image.new("RGB", (2000, 4)), "upscale:4", None, prior)


def test_a_picture_that_is_none_is_named(tmp_path: Path, files: dict[str, Path]) -> None:
    files["picture"].write_bytes(b"no picture")
    job = job_of(tmp_path / "job", files)
    with pytest.raises(RequestError, match="cannot be read as a picture"):
        run_job(job.path, load_prior=prior_of)
