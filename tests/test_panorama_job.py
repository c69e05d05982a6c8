"""`ddrep panorama` as a job: files that Blender's world accepts, ends that meet, going on after a cancel."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import ddrep_core as dd
from ddrep_core.errors import Cancelled
from ddrep_core.jobs.folder import JobFolder, write_json
from ddrep_core.jobs.panorama import _resize_around, write_radiance
from ddrep_core.jobs.run import run_job

SHAPE = (3, 8, 8)


class SmoothPrior(dd.priors.GaussianPrior):
    """Smooth colours; decoding makes each pixel four."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate((latents + 2) / 4, scale_factor=4, mode="bilinear").clamp(0, 1)


@pytest.fixture
def run():
    line = torch.arange(8.0)
    near = torch.exp(-((line[:, None] - line[None]) ** 2) / 18)
    covariance = torch.kron(torch.eye(3), torch.kron(near, near)) + 1e-4 * torch.eye(192)
    prior = SmoothPrior(torch.zeros(SHAPE), covariance)

    def run(folder: JobFolder, **named) -> None:
        run_job(folder.path, load_prior=lambda request: prior, **named)

    return run


@pytest.fixture
def make_job(tmp_path):
    def make(name: str = "job", **block: object) -> JobFolder:
        folder = JobFolder(tmp_path / name)
        folder.inputs.mkdir(parents=True)
        request = {"schema_version": 1, "task": "panorama", "steps": 6, "schedule": "plain", "panorama": block}
        write_json(folder.request_file, request)
        return folder

    return make


@pytest.mark.parametrize(("projection", "size"), [("sphere", (128, 64)), ("cylinder", (128, 16))])
def test_writes_a_picture_whose_ends_meet(make_job, run, projection: str, size: tuple[int, int]) -> None:
    folder = make_job(projection=projection, width=128, hdr=True)
    run(folder)
    entry = json.loads(folder.result_file.read_text())["samples"][0]
    assert set(entry["files"]) == {"panorama", "panorama_hdr"}
    assert 0 <= entry["agreement"] <= 1
    picture = Image.open(folder.path / entry["files"]["panorama"])
    assert picture.size == size
    values = np.asarray(picture, np.float64)
    steps = np.abs(values - np.roll(values, 1, axis=1)).mean(axis=(0, 2))
    assert steps[0] < 2.5 * steps[1:].max()
    assert values.std() > 3  # a picture, not a grey
    assert (folder.path / entry["files"]["panorama_hdr"]).stat().st_size > 4 * size[0] * size[1]


def test_a_cancelled_panorama_goes_on_to_the_same_bytes(make_job, run) -> None:
    whole, parts = make_job("whole", width=64), make_job("parts", width=64)
    run(whole)

    def stop(event: dict) -> None:
        if event["event"] == "step" and event["index"] == 3:
            parts.cancel_file.touch()

    with pytest.raises(Cancelled):
        run(parts, listeners=(stop,), checkpoint_seconds=0)
    run(parts, resume=True)
    assert (parts.outputs / "panorama.png").read_bytes() == (whole.outputs / "panorama.png").read_bytes()


def test_radiance_holds_linear_light(tmp_path) -> None:
    path = tmp_path / "world.hdr"
    picture = torch.tensor([0.0, 0.5, 1.0, 0.02]).expand(3, 2, 4).clone()
    picture[1] *= 0.5
    write_radiance(path, picture)
    header, body = path.read_bytes().split(b"-Y 2 +X 4\n")
    assert header.startswith(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n")
    rgbe = np.frombuffer(body, np.uint8).reshape(2, 4, 4).astype(np.float64)
    found = rgbe[..., :3] / 256 * 2.0 ** (rgbe[..., 3:] - 128)
    srgb = picture.permute(1, 2, 0).double().numpy()
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(found, linear, atol=1e-6, rtol=1 / 64)


def test_resizing_goes_around() -> None:
    strip = torch.rand(3, 12, 96, generator=torch.Generator().manual_seed(0))
    resized = _resize_around(strip, 48, 6)
    turned = _resize_around(strip.roll(24, dims=2), 48, 6)
    torch.testing.assert_close(turned, resized.roll(12, dims=2), atol=1e-5, rtol=1e-5)
