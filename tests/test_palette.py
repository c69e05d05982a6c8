"""A picture's palette: what is moved, how far, and what stays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_symmetry import SIZE, roof_obj

from ddrep_core.cli import main
from ddrep_core.errors import RequestError
from ddrep_core.geometry.load import load_mesh
from ddrep_core.geometry.texels import rasterize
from ddrep_core.jobs.run import run_job
from ddrep_core.palette import Palette, from_oklab, palette_of, to_oklab, transport
from ddrep_core.priors import GaussianPrior

PRIOR = GaussianPrior(torch.full((3, 8, 8), 0.5), 0.04)


def colours(mean: tuple[float, float, float], spread: float, seed: int = 0) -> np.ndarray:
    return from_oklab(np.array(mean) + np.random.default_rng(seed).normal(0, spread, (4000, 3)) * (2, 1, 1))


def test_oklab_is_oklab() -> None:
    """The colours of its author's own table, and back."""
    assert np.allclose(to_oklab(np.array([[255, 255, 255], [0, 0, 0]])), [[1, 0, 0], [0, 0, 0]], atol=1e-3)
    assert np.allclose(to_oklab(np.array([255, 0, 0])), [0.628, 0.2249, 0.1258], atol=1e-3)
    every = np.random.default_rng(0).integers(0, 256, (5000, 3), np.uint8)
    assert np.array_equal(from_oklab(to_oklab(every)), every)


@pytest.mark.parametrize("amount", [0.25, 1.0])
def test_colours_are_carried_onto_the_palette(amount: float) -> None:
    """The map of normal distributions in closed form; a part of the way is the shortest path between them."""
    source, target = palette_of(colours((0.6, 0.05, 0.05), 0.04)), palette_of(colours((0.5, -0.03, -0.05), 0.02, 1))
    move = transport(source, target, amount)
    assert np.allclose(move.matrix, move.matrix.T)
    assert np.allclose(move.matrix @ source.mean + move.shift, (1 - amount) * source.mean + amount * target.mean)
    found = palette_of(move(colours((0.6, 0.05, 0.05), 0.04)))
    if amount == 1:
        assert np.allclose(found.mean, target.mean, atol=5e-3)
        wide = source.covariance + 0.02**2 * np.eye(3)
        assert np.allclose(move.matrix @ wide @ move.matrix, target.covariance, atol=1e-9)


@given(st.floats(0, 1), st.floats(0.0, 0.2), st.floats(0.0, 0.2))
def test_grey_and_flat_colours_do_no_harm(light: float, spread: float, other: float) -> None:
    """Nothing blows up where there is no spread, on either side, and nothing is turned round."""
    one = Palette(np.array([light, 0, 0]), np.diag([spread**2, 0, 0]))
    move = transport(one, Palette(np.array([0.5, 0.1, 0]), np.diag([other**2, 0, 0])))
    assert np.isfinite(move.matrix).all() and np.abs(move.matrix).max() <= max(other, 1e-6) / 0.02 + 1e-6
    assert np.linalg.eigvalsh(move.matrix).min() >= -1e-9  # no colour turns into its opposite


def write(folder: Path, task: str, block: dict) -> None:
    (folder / "inputs").mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours((0.4, 0.1, 0.05), 0.02).reshape(50, 80, 3)).save(folder / "inputs" / "palette.png")
    block = {**block, "palette": "inputs/palette.png"}
    request = {"schema_version": 1, "task": task, "steps": 2, "cameras": "orbit:2", task: block}
    (folder / "job.json").write_text(json.dumps(request))


@pytest.mark.parametrize(
    ("task", "block", "file"),
    [
        ("image", {"width": 32, "height": 32}, "image.png"),
        ("image", {"width": 32, "height": 32, "tile": True}, "image.png"),
        ("panorama", {"width": 64}, "panorama.png"),
    ],
)
def test_pictures_come_in_its_colours(task: str, block: dict, file: str, tmp_path: Path) -> None:
    write(tmp_path, task, block)
    run_job(tmp_path, load_prior=lambda request: PRIOR)
    found = palette_of(np.asarray(Image.open(tmp_path / "outputs" / file)).reshape(-1, 3))
    assert np.abs(found.mean - (0.4, 0.1, 0.05)).max() < 0.02


def test_textures_come_in_its_colours_and_stay_mirrored(tmp_path: Path) -> None:
    write(tmp_path, "texture", {"mesh": "inputs/roof.obj", "resolution": SIZE, "symmetry": "x"})
    roof_obj(tmp_path / "inputs" / "roof.obj")
    run_job(tmp_path, load_prior=lambda request: PRIOR)
    found = np.asarray(Image.open(tmp_path / "outputs" / "texture.png"))
    inside = rasterize(load_mesh(tmp_path / "inputs" / "roof.obj").parts[0], SIZE).mask
    assert np.abs(palette_of(found[inside]).mean - (0.4, 0.1, 0.05)).max() < 0.02
    assert np.array_equal(found[inside], found[:, ::-1][inside])


def test_what_is_kept_keeps_its_colours(tmp_path: Path) -> None:
    write(tmp_path, "image", {"width": 24, "height": 24, "keep": "inputs/keep.png", "base": "inputs/base.png"})
    base = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    kept = np.zeros((24, 24), np.uint8)
    kept[:, :12] = 255
    Image.fromarray(base).save(tmp_path / "inputs" / "base.png")
    Image.fromarray(kept).save(tmp_path / "inputs" / "keep.png")
    run_job(tmp_path, load_prior=lambda request: PRIOR)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "outputs" / "image.png"))[:, :12], base[:, :12])


@pytest.mark.parametrize("make", ["text", "clear", "missing"])
def test_no_palette_is_told_in_words(make: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "colours.png"
    if make == "text":
        path.write_text("red")
    elif make == "clear":
        Image.new("RGBA", (4, 4)).save(path)
    with pytest.raises(SystemExit) as ended:
        main(["image", "-p", "a duck", "--palette", str(path), "-o", str(tmp_path / "job")])
    words = {"text": "cannot be read as a picture", "clear": "has no palette", "missing": "There is no palette"}
    assert ended.value.code == 2 and words[make] in capsys.readouterr().err


def test_an_amount_of_nothing_is_refused(tmp_path: Path) -> None:
    request = {"schema_version": 1, "task": "image", "image": {"palette_amount": 0.5}}
    (tmp_path / "job.json").write_text(json.dumps(request))
    with pytest.raises(RequestError, match="Add --palette PICTURE"):
        run_job(tmp_path, load_prior=lambda request: PRIOR)
