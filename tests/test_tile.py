"""What a tile ControlNet is shown: the texture that a run makes, or the one that it starts from."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from geometry_shapes import cube_obj
from PIL import Image
from test_adapters_job import ddrep  # noqa: F401  (a fixture)

import ddrep_core as dd
from ddrep_core.priors import diffusers_prior, load_prior
from ddrep_core.priors.adapters.controlnet import Control, ControlNet
from ddrep_core.sampling.look import SHOWN_BELOW

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tile(tmp_path: Path) -> Path:
    tiny_models.build_controlnet(tmp_path / "control_v11f1e_sd15_tile", tiny_models.unet())
    return tmp_path / "control_v11f1e_sd15_tile"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Every signal that a ControlNet is shown from now on, both branches of guidance in one."""
    found: list[torch.Tensor] = []
    residuals = ControlNet.residuals

    def heard(self: ControlNet, *arguments: Any) -> Any:
        found.append(arguments[-1].clone())
        return residuals(self, *arguments)

    monkeypatch.setattr(ControlNet, "residuals", heard)
    return found


def test_a_run_shows_what_it_has_made_so_far(tile: Path, tiny_sd: Path, shown: list[torch.Tensor]) -> None:
    prior = load_prior(tiny_sd, device="cpu", controlnets=[Control(str(tile))])
    assert prior.controls == {"tile"}
    channels, height, width = prior.image_shape
    rep = dd.diffreps.LinearDiffrep(torch.eye(2 * channels * height * width), image_shape=prior.image_shape)
    schedule = dd.sampling.Schedule((dd.sampling.Segment((5.0, 2.0, 1.4, 0.5, 0.0)),))
    wanted: list[torch.Tensor] = []
    shown.clear()

    def listen(step: dd.StepReport) -> None:
        if 0 < step.sigma <= SHOWN_BELOW:  # what this step made is what the next one shows
            wanted.append(prior.decode(step.diffrep.render()).clamp(0, 1))

    dd.sample(rep, prior, schedule=schedule, guidance_scale=3.0, callback=listen)
    assert len(shown) == len(wanted) == 2  # of four looks, those from below the level
    for signal, picture in zip(shown, wanted, strict=True):
        torch.testing.assert_close(signal, torch.cat([picture, picture]), atol=1e-5, rtol=0)
    assert (shown[0] - shown[1]).abs().max() > 1e-3

    shown.clear()
    given = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    dd.sample(rep, prior, schedule=schedule, guidance_scale=1.0, controls={"tile": given})
    assert len(shown) == 4 and all(torch.equal(signal, given) for signal in shown)


def test_a_texture_to_start_from_is_what_is_shown(
    ddrep: Run,  # noqa: F811
    tile: Path,
    tiny_sd: Path,
    shown: list[torch.Tensor],
    short_film: None,
    tmp_path: Path,
) -> None:
    cube_obj(tmp_path / "cube.obj")
    Image.new("RGB", (32, 32), (200, 40, 40)).save(tmp_path / "red.png")
    common = (
        "texture", tmp_path / "cube.obj", "-p", "a cow", "--prior", tiny_sd, "--steps", 2, "--schedule", "plain",
        "--resolution", 32, "--cameras", "orbit:2", "--controlnet", tile, "--no-depth",
    )  # fmt: skip
    status, _, err = ddrep(*common, "--out", tmp_path / "job", "--from-texture", "--base", tmp_path / "red.png")
    assert status == 0, err
    assert len(shown) >= 2
    middle = shown[-1][:, :, 14:18, 14:18].mean((0, 2, 3))  # where the cube is, in every view
    assert torch.allclose(middle, torch.tensor([200, 40, 40]) / 255, atol=0.02)
    assert torch.equal(shown[-1], shown[-2])  # it stays while the run goes on

    shown.clear()
    status, _, err = ddrep(*common, "--out", tmp_path / "fresh")
    assert status == 0 and "seems to hear" not in err, err
    assert not any(torch.equal(first, second) for first, second in pairwise(shown))


def test_what_makes_no_texture_is_refused(ddrep: Run, tile: Path, tiny_sd: Path, tmp_path: Path) -> None:  # noqa: F811
    job = tmp_path / "job"
    job.mkdir()
    told = {
        "schema_version": 1, "task": "panorama", "prompt": "hills", "prior": str(tiny_sd),
        "controlnets": [{"folder": str(tile)}],
    }  # fmt: skip
    (job / "job.json").write_text(json.dumps(told))
    status, _, err = ddrep("run", job)
    assert status == 2 and "shown the texture that is made" in err and "Leave it out" in err, err


def test_a_prior_without_one_is_asked_as_before(tiny_sd: Path) -> None:
    conditioning = load_prior(tiny_sd, device="cpu").condition("a cow")
    assert isinstance(conditioning, diffusers_prior.PromptConditioning) and not conditioning.unshown
