"""A picture that tiles: its sides meet by construction, in what is sampled and in the stored file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.torus import TorusDiffrep, decode_torus, resized_around
from ddrep_core.errors import RequestError
from ddrep_core.jobs.run import run_job
from ddrep_core.pictures import to_uint8
from ddrep_core.priors import GaussianPrior, load_prior
from ddrep_core.sampling import ddim_schedule, sample


def canvas(height: int, width: int, channels: int = 3) -> Tensor:
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(0))


def bordered(latents: Tensor) -> Tensor:
    """A decoder that knows borders, as all do: what lies beyond them is black to it."""
    larger = functional.interpolate(latents, scale_factor=4, mode="nearest")
    kernel = torch.full((1, 1, 9, 9), 1 / 81)
    blurred = functional.conv2d(larger.flatten(0, 1)[:, None], kernel, padding=4)
    return blurred[:, 0].reshape(larger.shape)


def test_every_view_is_a_roll_of_the_canvas() -> None:
    rep = TorusDiffrep((2, 6, 10), dtype=torch.float64)
    rep.theta.copy_(torch.rand(60, 2, dtype=torch.float64))
    for (down, right), view in zip(rep.offsets, rep.render(), strict=True):
        assert torch.equal(view, rep.canvas().roll((-down, -right), (1, 2)))


def test_views_share_the_noise() -> None:
    rep = TorusDiffrep((3, 8, 8))
    noise = rep.noise_field().draw(torch.Generator().manual_seed(0))
    assert float(noise.std()) == pytest.approx(1, abs=0.1)
    for (down, right), view in zip(rep.offsets, noise, strict=True):
        assert torch.equal(view.roll((down, right), (1, 2)), noise[0])


def test_a_roll_of_the_canvas_is_a_roll_of_the_picture() -> None:
    """To the last bit of what is stored: there is no place where the picture is cut."""
    latents = canvas(8, 12)
    plain, rolled = (to_uint8(decode_torus(each, bordered)) for each in (latents, latents.roll((4, 6), (1, 2))))
    assert np.array_equal(np.roll(plain, (16, 24), (0, 1)), rolled)
    alone = to_uint8(bordered(latents[None])[0])
    assert np.abs(alone[0].astype(int) - alone[-1]).mean() > 2 * np.abs(plain[0].astype(int) - plain[-1]).mean()


@pytest.mark.parametrize("size", [(8, 8), (32, 16), (21, 34)])
def test_another_size_tiles_as_before(size: tuple[int, int]) -> None:
    picture = canvas(16, 16)
    found = resized_around(picture.repeat(1, 3, 3), 3 * size[1], 3 * size[0])
    middle = found[:, size[0] : 2 * size[0], size[1] : 2 * size[1]]
    assert float((resized_around(picture, size[1], size[0]) - middle).abs().max()) < 1e-5


def test_a_canvas_is_drawn_fairly() -> None:
    """Where the prior is the same at all places, four rolls draw what one picture alone draws, from the same noise."""
    prior = GaussianPrior(torch.full((1, 4, 6), 0.7, dtype=torch.float64), 0.09)
    schedule = ddim_schedule(prior.sigmas, 20)
    four, one = (
        sample(TorusDiffrep((1, 4, 6), offsets, dtype=torch.float64), prior, schedule=schedule, eta=0.0).diffrep.theta
        for offsets in (None, [(0, 0)])
    )
    assert float((four - one).abs().max()) < 1e-9 and float(one.std()) > 0.1


def test_a_job_writes_a_tile(tmp_path: Path) -> None:
    block = {"tile": True, "width": 96, "height": 96}
    request = {"schema_version": 1, "task": "image", "prompt": "red bricks", "steps": 6, "image": block}
    (tmp_path / "job.json").write_text(json.dumps(request))
    run_job(tmp_path, load_prior=lambda request: load_prior("bundled"))
    tile = np.asarray(Image.open(tmp_path / "outputs" / "image.png")).astype(int)
    four = np.asarray(Image.open(tmp_path / "outputs" / "tiled.png")).astype(int)
    assert tile.shape == (96, 96, 3) and np.array_equal(four, np.tile(tile, (2, 2, 1)))
    for axis in (0, 1):
        steps = np.abs(np.roll(tile, -1, axis) - tile).mean(axis=(1 - axis, 2))
        assert steps[-1] < 1.5 * np.quantile(steps, 0.9) and steps.max() > 0.5  # across the seam as anywhere


def test_nothing_is_kept_of_a_tile(tmp_path: Path) -> None:
    block = {"tile": True, "keep": "inputs/a.png", "base": "inputs/b.png"}
    (tmp_path / "job.json").write_text(json.dumps({"schema_version": 1, "task": "image", "image": block}))
    with pytest.raises(RequestError, match="Nothing can be kept of a picture that tiles"):
        run_job(tmp_path, load_prior=lambda request: GaussianPrior(torch.zeros(3, 8, 8), 1.0))
