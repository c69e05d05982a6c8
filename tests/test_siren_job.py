"""`ddrep image` as a job: its files, its sizes, going on after a cancel."""

from __future__ import annotations

import json
import os

import pytest
import torch
from PIL import Image

import ddrep_core as dd
from ddrep_core.cli import main
from ddrep_core.diffreps.siren import SirenDiffrep, grid_coordinates, image_siren
from ddrep_core.errors import Cancelled
from ddrep_core.jobs.folder import JobFolder, write_json
from ddrep_core.jobs.image import draw, shape_for
from ddrep_core.jobs.run import run_job
from ddrep_core.solvers.choose import choose_solver


class PixelPrior(dd.priors.EmpiricalPrior):
    """Four known pictures; decoding repeats each pixel four times, as an autoencoder's decoder enlarges."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate((latents + 1) / 2, scale_factor=4).clamp(0, 1)


@pytest.fixture
def prior() -> PixelPrior:
    x = torch.linspace(-1, 1, 16)
    waves = [torch.sin(3 * x[:, None] * (k + 1) + k) * torch.cos(2 * x[None] - k) for k in range(12)]
    return PixelPrior(torch.stack(waves).reshape(4, 3, 16, 16))


@pytest.fixture
def run(prior):
    def run(folder: JobFolder, **named) -> None:
        run_job(folder.path, load_prior=lambda request: prior, **named)

    return run


@pytest.fixture
def make_job(tmp_path):
    def make(name: str = "job", **block: int) -> JobFolder:
        folder = JobFolder(tmp_path / name)
        folder.inputs.mkdir(parents=True)
        request = {"schema_version": 1, "task": "image", "steps": 12, "seed": 3, "image": block}
        write_json(folder.request_file, request)
        return folder

    return make


def test_writes_a_picture_of_the_prior_at_the_size_asked_for(make_job, run, prior) -> None:
    folder = make_job(width=64, height=64)
    run(folder)
    result = json.loads(folder.result_file.read_text())
    entry = result["samples"][0]
    assert set(entry["files"]) == {"image", "siren"}
    assert entry["agreement"] is None
    picture = Image.open(folder.path / entry["files"]["image"])
    assert (picture.size, picture.mode) == ((64, 64), "RGB")
    siren, notes = SirenDiffrep.load(folder.path / entry["files"]["siren"], grid_coordinates(16, 16)[None])
    assert notes["shape"] == "3x16x16"
    nearest = (prior._bank.reshape(4, 3, 16, 16) - siren.render()).abs().amax((1, 2, 3)).min()
    assert nearest < 0.05  # an exact prior of four pictures: a sample is one of them
    expected = draw(siren, prior, 64, 64)
    assert expected.tobytes() == picture.tobytes()


def test_a_cancelled_image_goes_on_to_the_same_bytes(make_job, run) -> None:
    whole, parts = make_job("whole", width=64, height=64), make_job("parts", width=64, height=64)
    run(whole)
    steps: list[int] = []

    def stop_in_the_middle(event: dict) -> None:
        if event["event"] == "step":
            steps.append(event["index"])
            if len(steps) == 5:
                parts.cancel_file.touch()

    with pytest.raises(Cancelled):
        run(parts, listeners=(stop_in_the_middle,), checkpoint_seconds=0)
    run(parts, resume=True)
    for name in ("image.png", "image.safetensors"):
        assert (parts.outputs / name).read_bytes() == (whole.outputs / name).read_bytes()


def test_shapes_keep_the_native_number_of_pixels(prior) -> None:
    assert shape_for(prior, 1.0) == (3, 16, 16)
    assert shape_for(prior, 4.0) == (3, 8, 32)
    assert shape_for(prior, 0.25) == (3, 32, 8)


def test_a_larger_picture_is_decoded_at_its_own_places(prior) -> None:
    rep = SirenDiffrep(grid_coordinates(16, 16)[None], 3)
    rep.reset(torch.Generator().manual_seed(0))
    choose_solver(rep).fit(rep, prior._bank.reshape(4, 3, 16, 16)[:1], torch.arange(1), torch.ones(1, 1, 16, 16))
    native, double = draw(rep, prior, 64, 64), draw(rep, prior, 128, 128)
    assert double.size == (128, 128)
    difference = torch.tensor(list(double.resize((64, 64), Image.Resampling.BOX).tobytes())).float() - torch.tensor(
        list(native.tobytes())
    )
    assert difference.abs().mean() < 12
    assert draw(rep, prior, 33, 20).size == (33, 20)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among this system's files")
def test_a_siren_that_is_a_pipe_or_says_an_impossible_size_is_refused_at_once(tmp_path, capsys) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    rep = image_siren((3, 8, 8), device="cpu")
    for name, shape in (("huge", "3x100000x100000"), ("negative", "3x-8x8")):
        rep.save(tmp_path / f"{name}.safetensors", {"shape": shape, "prior": "bundled"})
    for name, words in (("pipe", "a pipe or a device"), ("huge", "cannot be"), ("negative", "cannot be")):
        with pytest.raises(SystemExit) as ended:
            main(["redraw", str(tmp_path / f"{name}.safetensors"), "--out", str(tmp_path / "none.png")])
        assert ended.value.code == 2 and words in capsys.readouterr().err
    assert not (tmp_path / "none.png").exists()


def test_a_kept_siren_is_drawn_again_by_the_command_line(make_job, run, prior, tmp_path, monkeypatch, capsys) -> None:
    folder = make_job(width=64, height=64)
    run(folder)
    kept = folder.outputs / "image.safetensors"
    monkeypatch.setattr("ddrep_core.priors.load_prior", lambda name: prior)

    def redraw(*arguments: object) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["redraw", *map(str, arguments)])
        return int(str(ended.value))

    assert redraw(kept, "--out", tmp_path / "same.png", "--width", 64) == 0
    assert (tmp_path / "same.png").read_bytes() == (folder.outputs / "image.png").read_bytes()
    assert redraw(kept, "--out", tmp_path / "wide.png", "--width", 300, "--height", 90) == 0
    assert Image.open(tmp_path / "wide.png").size == (300, 90)
    assert redraw(folder.outputs / "image.png", "--out", tmp_path / "none.png") == 2
    assert "cannot be read" in capsys.readouterr().err
    monkeypatch.setattr(type(prior), "channels", 4)
    assert redraw(kept, "--out", tmp_path / "none.png") == 2
    assert "channels" in capsys.readouterr().err
    assert not (tmp_path / "none.png").exists()
