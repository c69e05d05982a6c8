"""What can be done with a result that lies in UDIM tiles, or whose sides share their texels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_symmetry import roof_obj
from test_udim import strip_obj

from ddrep_core.errors import DdrepError
from ddrep_core.geometry.load import load_mesh
from ddrep_core.geometry.texels import rasterize
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.view_of_result import view_of_result
from ddrep_core.jobs.wish import wish_of
from ddrep_core.priors import GaussianPrior

SIZE = 32
TILES = ("1001", "1002", "1011")


PRIOR = GaussianPrior(torch.full((3, 8, 8), 0.5), 0.04)


def made(folder: Path, task: str, **told: Any) -> JobFolder:
    """A job that was asked for in the shell's words, run to its end."""
    said = {"prompt": "p", "steps": 2, "cameras": "front-back", **told}
    wish = wish_of(task, said)
    job = create_job(folder, wish.request, copies=wish.copies)
    run_job(job.path, load_prior=lambda request: PRIOR)
    return job


@pytest.fixture(autouse=True)
def no_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("turntable", "contact_sheet"):
        monkeypatch.setattr(f"ddrep_core.jobs.texture.{name}", lambda *told, **named: None)


@pytest.fixture
def tiled(tmp_path: Path) -> JobFolder:
    mesh = strip_obj(tmp_path / "strip.obj")
    return made(tmp_path / "tiled", "texture", mesh=str(mesh), resolution=SIZE, udim=True)


@pytest.fixture
def mirrored(tmp_path: Path) -> JobFolder:
    mesh = roof_obj(tmp_path / "roof.obj")
    return made(tmp_path / "mirrored", "texture", mesh=str(mesh), resolution=SIZE, symmetry="x", cameras="orbit:2")


def pictures(job: JobFolder) -> dict[str, np.ndarray]:
    """What was stored, by tile, "" where there are none."""
    entries = json.loads(job.result_file.read_text())["samples"][0]["objects"]
    return {str(each.get("tile", "")): np.asarray(Image.open(job.path / each["texture"])) for each in entries}


def mask(path: Path, kept: np.ndarray) -> str:
    Image.fromarray((kept * 255).astype(np.uint8)).save(path)
    return str(path)


def are_mirrored(picture: np.ndarray, tmp_path: Path) -> bool:
    inside = rasterize(load_mesh(tmp_path / "roof.obj").parts[0], len(picture)).mask
    return bool(np.array_equal(picture[inside], picture[:, ::-1][inside]) and picture[inside].std() > 1)


def test_tiles_stay_tiles_in_all_that_follows(tiled: JobFolder, tmp_path: Path) -> None:
    """Edited, painted closely, seen, and pinned: whichever result the next one begins with."""
    edited = made(tmp_path / "edited", "edit", source=str(tiled.path), source_prompt="q")
    closely = made(tmp_path / "closely", "detail", source=str(edited.path), close_ups=2)
    for job in (tiled, edited, closely):
        assert set(pictures(job)) == set(TILES)
        seen = np.asarray(view_of_result(job.path, "front", longest=24))
        assert (seen[..., 3] == 255).any()
    Image.fromarray(seen).save(tmp_path / "front.png")
    pins = [f"front={tmp_path / 'front.png'}"]
    told = {"mesh": str(closely.outputs / "mesh.glb"), "resolution": SIZE, "udim": True}
    assert set(pictures(made(tmp_path / "pinned", "texture", **told, pins=pins))) == set(TILES)


@pytest.mark.parametrize("task", ["texture", "edit"])
def test_a_tile_is_kept_to_the_last_bit_and_what_it_wears_is_begun_with(
    task: str, tiled: JobFolder, tmp_path: Path
) -> None:
    kept = np.zeros((SIZE, SIZE), bool)
    kept[: SIZE // 2] = True
    told = {"keep": [f"Strip.1002={mask(tmp_path / 'mask.png', kept)}"]}
    if task == "texture":
        told |= {"mesh": str(tiled.outputs / "mesh.glb"), "resolution": SIZE, "udim": True}
        told |= {"from_texture": True, "strength": 0.5}
    else:
        told |= {"source": str(tiled.path), "source_prompt": "q"}
    before, after = pictures(tiled), pictures(made(tmp_path / "after", task, **told))
    assert set(after) == set(TILES)
    assert np.array_equal(after["1002"][kept], before["1002"][kept])
    inside = rasterize(load_mesh(tmp_path / "strip.obj", udim=True).parts[1], SIZE).mask & ~kept
    if task == "texture":  # the prior that edits hears no words
        assert not np.array_equal(after["1002"][inside], before["1002"][inside])


def test_a_mask_of_several_tiles_is_refused(tiled: JobFolder, tmp_path: Path) -> None:
    name = mask(tmp_path / "mask.png", np.tri(SIZE, dtype=bool))
    for words in (name, f"Strip={name}"):
        told = {"mesh": str(tiled.outputs / "mesh.glb"), "udim": True, "resolution": SIZE, "keep": [words]}
        with pytest.raises(DdrepError, match="here it would be for 3") as refused:
            made(tmp_path / f"job{len(words)}", "texture", **told)
        assert "Strip.1001=PICTURE" in refused.value.fix
    told["keep"] = [f"Strip.1003={name}"]
    with pytest.raises(DdrepError, match=r"a mask for 'Strip\.1003'") as refused:
        made(tmp_path / "job", "texture", **told)
    assert "Strip.1001, Strip.1002, Strip.1011" in refused.value.fix


def test_sides_stay_the_same_in_all_that_follows(mirrored: JobFolder, tmp_path: Path) -> None:
    assert are_mirrored(pictures(mirrored)[""], tmp_path)
    said = {"source_prompt": "q", "method": "sdedit", "cameras": "orbit:2"}
    edited = made(tmp_path / "edited", "edit", source=str(mirrored.path), **said)
    closely = made(tmp_path / "closely", "detail", source=str(edited.path), close_ups=2, cameras="orbit:2")
    told = {"mesh": str(mirrored.outputs / "mesh.glb"), "resolution": SIZE, "symmetry": "x", "cameras": "orbit:2"}
    begun = made(tmp_path / "begun", "texture", **told, from_texture=True, strength=0.5)
    seen = view_of_result(closely.path, "orbit 1", longest=24)
    seen.save(tmp_path / "front.png")
    pinned = made(tmp_path / "pinned", "texture", **told, pins=[f"orbit 1={tmp_path / 'front.png'}"])
    for job in (edited, closely, begun, pinned):
        assert are_mirrored(pictures(job)[""], tmp_path), job.path
    kept = mask(tmp_path / "mask.png", np.tri(SIZE, dtype=bool))
    with pytest.raises(DdrepError, match="kept on one side") as refused:
        made(tmp_path / "kept", "edit", source=str(mirrored.path), source_prompt="q", keep=[kept], cameras="orbit:2")
    assert "outside of its job" in refused.value.fix
