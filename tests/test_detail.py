"""Close-ups: chosen where texels are not resolved, in the tone of the whole, and what is kept stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ddrep_core.errors import RequestError, RunError
from ddrep_core.geometry.close_ups import close_ups
from ddrep_core.geometry.load import load_mesh
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.jobs.blocks import TextureRequest
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.detail import check_detail
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.recipe import Recipe
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.tone import carried_on, toned
from ddrep_core.jobs.wish import wish_of
from ddrep_core.priors import GaussianPrior
from ddrep_core.views import DirectionWords, Views, direction_words, orbit_views

SIZE, TEXTURE = 16, 96
CUBE_FACES = (((0, 1, 2), 1), ((1, 0, 2), -1), ((2, 0, 1), 1), ((0, 1, 2), -1), ((1, 0, 2), 1), ((2, 0, 1), -1))


def cube(path: Path, only: int | None = None) -> Path:
    """A cube, or one face of it, each on a tile of its own in the UV square (3 x 2)."""
    lines, texcoords, faces = [], [], []
    for number, ((axis, first, second), sign) in enumerate(CUBE_FACES):
        corners = []
        for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            point = np.zeros(3)
            point[axis], point[first], point[second] = sign, a, b
            corners.append(point)
            u, v = (number % 3 + 0.08 + 0.84 * (a + 1) / 2) / 3, (number // 3 + 0.08 + 0.84 * (b + 1) / 2) / 2
            texcoords.append(f"vt {u} {v}")
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        order = (0, 1, 2, 3) if normal[axis] * sign > 0 else (3, 2, 1, 0)
        lines += ["v {} {} {}".format(*corner) for corner in corners]
        if only in (None, number):
            faces.append("f " + " ".join(f"{4 * number + each + 1}/{4 * number + each + 1}" for each in order))
    path.write_text("\n".join(["o Cube", *lines, *texcoords, *faces]) + "\n")
    return path


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer places to look at and from, and no film."""
    monkeypatch.setattr("ddrep_core.geometry.close_ups.PLACES", 1500)
    monkeypatch.setattr("ddrep_core.geometry.close_ups.CANDIDATES", 64)
    for name in ("turntable", "contact_sheet"):
        monkeypatch.setattr(f"ddrep_core.jobs.texture.{name}", lambda *told, **named: None)


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return load_mesh(cube(tmp_path / "cube.obj"), "z")


def orbit(mesh: Mesh, count: int = 4) -> Views:
    return orbit_views(count, target=mesh, width=SIZE, height=SIZE)


def test_close_ups_resolve_what_the_views_see_too_coarsely(mesh: Mesh) -> None:
    found = close_ups(mesh, orbit(mesh), TEXTURE, SIZE, 200)
    assert found.before < 0.5 and found.after > 0.9
    names = [camera.name for camera in found.cameras]
    assert len(set(names)) == len(names) and all(camera.of_a_part for camera in found.cameras)
    few = close_ups(mesh, orbit(mesh), TEXTURE, SIZE, 6)
    assert 0 < len(few.cameras) <= 6 and found.before == few.before < few.after < found.after


def test_fewer_stand_further_away(mesh: Mesh) -> None:
    def distance(most: int) -> float:
        cameras = close_ups(mesh, orbit(mesh), 4 * TEXTURE, SIZE, most).cameras
        return float(np.mean([np.linalg.norm(camera.position) for camera in cameras]))

    assert distance(6) > distance(40)


def test_no_close_up_where_the_views_resolve_all_or_all_is_kept(mesh: Mesh) -> None:
    assert close_ups(mesh, orbit(mesh, 8), 4, 4 * SIZE, 20).cameras == ()
    part = mesh.textured_parts[0]
    everything = {part.name: np.ones((TEXTURE, TEXTURE), bool)}
    assert close_ups(mesh, orbit(mesh), TEXTURE, SIZE, 20, everything).cameras == ()
    lower = np.zeros((TEXTURE, TEXTURE), bool)
    lower[TEXTURE // 2 :] = True  # v below a half: the first three faces, at +X, -Y and +Z
    for camera in close_ups(mesh, orbit(mesh), TEXTURE, SIZE, 20, {part.name: lower}).cameras:
        away = camera.matrix_world[:3, 2]
        assert away.argmax() != 0 or away[0] < 0.9


def test_of_a_part_no_side_is_said(mesh: Mesh) -> None:
    camera = orbit(mesh)[0]
    assert direction_words(camera, target=mesh.bounds.mean(axis=0)) == "front view"
    assert direction_words(replace(camera, of_a_part=True)) == "close-up"
    assert direction_words(replace(camera, of_a_part=True), words=DirectionWords(part="")) == ""


def test_close_ups_keep_the_tone_of_what_they_showed() -> None:
    """A shift of the whole goes, a change finer than the views tell apart stays, and so does what is off the mesh."""
    before, inside = torch.full((1, 3, 32, 32), 0.5), torch.ones(1, 1, 32, 32)
    inside[..., 24:] = 0
    fine = 0.1 * (-1.0) ** torch.arange(32) * torch.ones(1, 3, 32, 32)
    found = toned(before + fine + 0.2, before, inside, 3.0)
    assert torch.allclose(found[..., :24], (before + fine)[..., :24], atol=0.02)
    assert torch.equal(found[..., 24:], (before + fine + 0.2)[..., 24:])


def test_what_is_painted_goes_on_from_the_tone_of_what_is_kept() -> None:
    """Of a step at the edge nothing is left there, and far away nothing is changed; detail stays everywhere."""
    kept = torch.zeros(1, 1, 64, 64)
    kept[..., :20] = 1
    fine = 0.05 * (-1.0) ** torch.arange(64) * torch.ones(1, 3, 64, 64)
    worn, painted_ = torch.full((1, 3, 64, 64), 0.4), torch.full((1, 3, 64, 64), 0.6) + fine
    found = carried_on(painted_, worn, kept, 4)
    assert torch.equal(found[..., :20], worn[..., :20])
    middle = found[0, 0, 32]
    assert abs(float(middle[20:22].mean()) - 0.4) < 0.03
    assert torch.allclose(found[..., 44:], painted_[..., 44:], atol=1e-4)
    smooth = middle[20:-1] / 2 + middle[21:] / 2
    assert float((smooth[1:] - smooth[:-1]).abs().max()) < 0.04
    # Of a pixel of the prior that is kept in part nothing is told: another colour was asked for, and does not fade.
    kept[..., 20:22], other = 1, torch.where(torch.arange(64) < 20, worn, 1.0)
    assert torch.equal(carried_on(other, worn, kept, 4)[..., 22:], other[..., 22:])
    assert torch.equal(carried_on(other, worn, kept, 4)[..., :22], worn[..., :22])


def prior() -> GaussianPrior:
    """Pictures whose pixels are independent: whatever is sampled is rough."""
    return GaussianPrior(torch.full((3, SIZE, SIZE), 0.5), 0.01)


def painted(tmp_path: Path, name: str, **told) -> tuple[JobFolder, dict, np.ndarray]:
    mesh = tmp_path / "cube.obj"
    if not mesh.exists():
        cube(mesh)
    said = {"mesh": str(mesh), "mesh_up": "z", "prompt": "p", "resolution": TEXTURE, "steps": 3, "cameras": "orbit:4"}
    wish = wish_of("texture", {**said, **told})
    folder = create_job(tmp_path / name, wish.request, copies=wish.copies)
    record = json.loads(run_job(folder.path, load_prior=lambda request: prior()).read_text())["samples"][0]
    return folder, record, np.asarray(Image.open(folder.path / record["files"]["texture"]).convert("RGB"))


def test_a_job_with_details_keeps_what_is_kept_and_hardly_changes_the_whole(tmp_path: Path) -> None:
    base, plain, before = painted(tmp_path, "base")
    _, record, after = painted(tmp_path, "detail", detail=True, close_ups=6)
    assert "detail" not in plain and record["detail"]["close_ups"] <= 6
    low, high = record["detail"]["resolved"]
    assert high > low and record["detail"]["far_change"] < 0.03
    assert not np.array_equal(before, after)
    assert record["nfe"] > plain["nfe"]
    mask = np.zeros((TEXTURE, TEXTURE), np.uint8)
    mask[:, : TEXTURE // 2] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    worn = str(base.path / plain["files"]["texture"])
    told = {"keep": [str(tmp_path / "mask.png")], "base": [worn], "detail": True, "close_ups": 6}
    _, _, kept = painted(tmp_path, "kept", **told)
    assert np.array_equal(kept[:, : TEXTURE // 2], before[:, : TEXTURE // 2])
    assert not np.array_equal(kept, before)


def test_groups_follow_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many close-ups together as there are views: what one group painted is given to the next."""
    given = []

    def heard(recipe: Recipe, *arguments: Any, **named: Any) -> Any:
        if recipe.given is not None:
            given.append(recipe.given.weights)
        return run(recipe, *arguments, **named)

    run = Recipe.run
    monkeypatch.setattr(Recipe, "run", heard)
    monkeypatch.setattr("ddrep_core.jobs.detail.TOGETHER", 1)
    cube(tmp_path / "cube.obj", only=1)  # which one view of four sees
    _, record, _ = painted(tmp_path, "groups", detail=True, close_ups=6, resolution=2 * TEXTURE)
    assert record["detail"]["close_ups"] == 6 and [len(weights) for weights in given] == 6 * [2]
    assert all(bool((weights[0] == 1).all()) for weights in given)
    assert not given[0][1].any() and any(weights[1].any() for weights in given[1:])
    assert not any(weights[1].all() for weights in given)


def test_a_job_that_ends_in_its_close_ups_goes_on_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole is not sampled again, and the result is that of a job that was never interrupted."""
    _, _, whole = painted(tmp_path, "whole", detail=True, close_ups=3)
    run, close, broken = Recipe.run, [], [True]

    def failing(recipe: Recipe, *arguments: Any, **named: Any) -> Any:
        close.append(recipe.given is not None)
        if close[-1] and broken:
            broken.clear()
            raise RunError("The light went out.", "")
        return run(recipe, *arguments, **named)

    monkeypatch.setattr(Recipe, "run", failing)
    with pytest.raises(RunError, match="light"):
        painted(tmp_path, "stopped", detail=True, close_ups=3)
    first, close[:] = list(close), []
    run_job(tmp_path / "stopped", load_prior=lambda request: prior(), resume=True)
    assert first == [False, True] and close == [True]
    after = np.asarray(Image.open(tmp_path / "stopped" / "outputs" / "texture.png").convert("RGB"))
    assert np.array_equal(after, whole)


def test_of_a_finished_job(tmp_path: Path) -> None:
    base, _, before = painted(tmp_path, "base")
    wish = wish_of("detail", {"source": str(base.path), "steps": 3, "cameras": "orbit:4", "close_ups": 5})
    assert wish.request["prompt"] == "p"
    folder = create_job(tmp_path / "more", wish.request, copies=wish.copies)
    record = json.loads(run_job(folder.path, load_prior=lambda request: prior()).read_text())["samples"][0]
    after = np.asarray(Image.open(folder.path / record["files"]["texture"]).convert("RGB"))
    assert after.shape == before.shape and not np.array_equal(after, before)
    assert record["detail"]["close_ups"] <= 5 and record["detail"]["far_change"] < 0.03


@pytest.mark.parametrize("told", [{"close_ups": 3}, {"detail_strength": 0.5}])
def test_words_about_close_ups_that_are_not_asked_for_are_refused(told: dict) -> None:
    with pytest.raises(RequestError, match="none are asked for"):
        check_detail(TextureRequest.model_validate({"mesh": "m.obj", **told}))


def test_nothing_to_add_is_told(tmp_path: Path) -> None:
    base, _, _ = painted(tmp_path, "base", resolution=16)
    wish = wish_of("detail", {"source": str(base.path), "steps": 2, "cameras": "orbit:8", "resolution": 16})
    folder = create_job(tmp_path / "more", wish.request, copies=wish.copies)
    fine = GaussianPrior(torch.full((3, 64, 64), 0.5), 0.01)
    with pytest.raises(RequestError, match="nothing that close-ups could add"):
        run_job(folder.path, load_prior=lambda request: fine)
    with pytest.raises(RequestError, match="no textured mesh"):
        Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
        wish_of("detail", {"source": str(tmp_path / "a.png")})
