"""A part of a picture or a panorama that stays: to the last bit, seen where it is, refused in words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddrep_core.diffreps.panorama import CylinderDiffrep, SphereDiffrep
from ddrep_core.diffreps.panorama_picture import decode_sphere, equirectangular_directions
from ddrep_core.errors import RequestError
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.kept_picture import KeptPicture, read_kept, windows_of
from ddrep_core.jobs.run import run_job
from ddrep_core.priors import GaussianPrior

PRIOR = GaussianPrior(torch.full((3, 8, 8), 0.5), 0.02)


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def left(width: int, height: int) -> np.ndarray:
    return np.where(np.arange(width) < width // 2, 255, 0).astype(np.uint8)[None].repeat(height, 0)


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    (tmp_path / "inputs").mkdir()
    return JobFolder(tmp_path)


def save(folder: JobFolder, width: int, height: int) -> None:
    Image.fromarray(noise(width, height)).save(folder.inputs / "base.png")
    Image.fromarray(left(width, height)).save(folder.inputs / "keep.png")


@pytest.mark.parametrize(
    ("task", "size", "block"),
    [
        ("image", (24, 24), {"width": 24, "height": 24}),
        ("panorama", (64, 32), {"width": 64}),
        ("panorama", (64, 8), {"width": 64, "projection": "cylinder"}),
    ],
)
def test_a_job_keeps_what_it_is_told_to(folder: JobFolder, task: str, size: tuple[int, int], block: dict) -> None:
    save(folder, *size)
    block = {**block, "keep": "inputs/keep.png", "base": "inputs/base.png"}
    (folder.path / "job.json").write_text(json.dumps({"schema_version": 1, "task": task, "steps": 3, task: block}))
    result = json.loads(run_job(folder.path, load_prior=lambda request: PRIOR).read_text())
    # Each level but the first is come to twice, and the prior asked twice, the first time and now and then once more.
    assert 2 * 5 < result["samples"][0]["nfe"] <= 2 * 5 + 2
    with Image.open(folder.outputs / f"{task}.png") as picture:
        found, half = np.asarray(picture), size[0] // 2
    assert np.array_equal(found[:, :half], noise(*size)[:, :half])
    assert np.abs(found[:, half:].astype(int) - noise(*size)[:, half:]).mean() > 30


def test_windows_of_a_sphere_see_the_panorama_where_it_is() -> None:
    """Directions as colours: each window sees its own, and the two ways between windows and panorama agree."""
    sphere = SphereDiffrep((3, 8, 8))
    whole = (equirectangular_directions(256).permute(2, 0, 1) + 1) / 2
    seen = windows_of(sphere, PRIOR)(torch.cat([whole, whole[:1]]))[:, :3]
    for camera, picture in list(zip(sphere.cameras, seen, strict=True))[::5]:
        middle = (picture[:, 3:5, 3:5].mean((1, 2)) * 2 - 1).numpy()
        assert np.abs(middle / np.linalg.norm(middle) + camera.matrix_world[:3, 2]).max() < 0.03
    theta = (torch.from_numpy(sphere.points).float() + 1) / 2
    drawn = decode_sphere(lambda at: (at + 1) / 2, (3, 8, 8), lambda latents: latents, 64)
    assert float((drawn - (equirectangular_directions(64).permute(2, 0, 1) + 1) / 2).abs().mean()) < 0.02
    assert len(theta) == len(sphere.theta)


def test_windows_of_a_cylinder_and_a_picture() -> None:
    cylinder = CylinderDiffrep((3, 8, 8))
    columns = torch.arange(64.0).expand(4, 8, 64)
    seen = windows_of(cylinder, PRIOR)(columns)
    assert torch.equal(seen[1, 0, 0], (torch.arange(8.0) + 4) % 64) and torch.equal(
        seen[-1, 0, 0, -4:], torch.arange(4.0)
    )
    whole = torch.rand(4, 16, 16)
    flat = windows_of(replace_shape(cylinder), PRIOR)(whole)
    assert torch.allclose(flat[0], torch.nn.functional.avg_pool2d(whole, 2))


def replace_shape(rep: CylinderDiffrep):
    class Flat:
        image_shape = rep.image_shape
        view_count = 1

    return Flat()


def test_what_lies_a_shade_off_is_led_up_to_the_edge() -> None:
    """Pictures that differ by a shade meet without a step; far from the edge nothing is changed."""
    picture = Image.fromarray(np.full((32, 64, 3), 120, np.uint8))
    kept = KeptPicture(np.full((32, 64, 3), 140, np.uint8), left(64, 32) > 0)
    found = np.asarray(kept.put(picture, 3.0)).astype(int)[16, :, 0]
    assert (found[:32] == 140).all() and found[32] >= 134 and (found[50:] == 120).all()
    assert (np.diff(found[31:]) <= 0).all()
    around = np.asarray(kept.put(picture, 3.0, wraps=True)).astype(int)[16, :, 0]
    assert around[-1] >= 134


@pytest.mark.parametrize(
    ("keep", "base", "message"),
    [
        ("keep.png", None, "Add --base"),
        (None, "base.png", "Add --keep"),
        ("keep.png", "small.png", "picture of what stays is 8 x 8 pixels, but the result will be 24 x 16"),
        ("small.png", "base.png", "mask of what stays is 8 x 8"),
        ("black.png", "base.png", "all black"),
        ("white.png", "base.png", "keeps everything"),
        ("text.png", "base.png", "cannot be read"),
    ],
)
def test_what_cannot_be_kept_is_told(folder: JobFolder, keep: str | None, base: str | None, message: str) -> None:
    save(folder, 24, 16)
    Image.fromarray(noise(8, 8)).save(folder.inputs / "small.png")
    for name, value in (("black", 0), ("white", 255)):
        Image.fromarray(np.full((16, 24), value, np.uint8)).save(folder.inputs / f"{name}.png")
    (folder.inputs / "text.png").write_text("no picture")
    keep, base = (None if each is None else f"inputs/{each}" for each in (keep, base))
    with pytest.raises(RequestError) as told:
        read_kept(keep, base, folder, (24, 16))
    assert re.search(message, f"{told.value.message} {told.value.fix}")
