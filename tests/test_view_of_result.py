"""`ddrep view`: a camera's look at a finished texture, as a picture to paint over and to pin."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_detail import SIZE, cube

from ddrep_core.cli import main
from ddrep_core.errors import RequestError
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.view_of_result import view_of_result
from ddrep_core.jobs.wish import wish_of
from ddrep_core.priors import GaussianPrior

RED, GREEN = (0.7, 0.2, 0.1), (0.1, 0.6, 0.3)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("turntable", "contact_sheet"):
        monkeypatch.setattr(f"ddrep_core.jobs.texture.{name}", lambda *told, **named: None)


def textured(tmp_path: Path, name: str, colour: tuple[float, float, float], **told) -> tuple[JobFolder, dict]:
    """A job of a prior that knows one colour."""
    mean = torch.tensor(colour, dtype=torch.float64)[:, None, None].expand(3, SIZE, SIZE)
    mesh = cube(tmp_path / "cube.obj")
    said = {"mesh": str(mesh), "mesh_up": "z", "prompt": "p", "resolution": 48, "steps": 3, "cameras": "orbit:4"}
    wish = wish_of("texture", {**said, **told})
    folder = create_job(tmp_path / name, wish.request, copies=wish.copies)
    result = run_job(folder.path, load_prior=lambda request: GaussianPrior(mean, 1e-4))
    return folder, json.loads(result.read_text())["samples"][0]


def camera_file(tmp_path: Path) -> Path:
    """Cameras of 160 x 90 pixels, in front and at the right."""
    projection = [[2.0 * 9 / 16, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, -1.02, -0.2], [0, 0, -1, 0]]
    front = [[1, 0, 0, 0], [0, 0, -1, -6], [0, 1, 0, 0], [0, 0, 0, 1]]
    right = [[0, 0, 1, 6], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    common = {"projection": projection, "width": 160, "height": 90}
    cameras = [{"name": name, "matrix_world": world, **common} for name, world in (("F", front), ("R", right))]
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps({"cameras": cameras}))
    return path


def test_what_is_drawn_can_be_pinned_and_the_others_agree(tmp_path: Path) -> None:
    """The whole way of *Repaint a View*: a red cube, its front painted green and pinned, the rest as it was."""
    first, record = textured(tmp_path, "red", RED, cameras=str(camera_file(tmp_path)))
    picture = np.asarray(view_of_result(first.path, "F", 320)) / 255
    assert picture.shape == (180, 320, 4)
    opaque = picture[..., 3] == 1
    assert 0.05 < opaque.mean() < 0.3 and (picture[..., 3] == 0).mean() > 0.6
    assert np.abs(picture[opaque][:, :3] - RED).max() < 0.03
    same = view_of_result(first.path / record["files"]["mesh"], "F", 320)
    assert np.array_equal(np.asarray(same) / 255, picture)
    over = picture.copy()
    over[opaque, :3] = GREEN
    Image.fromarray((over * 255).round().astype(np.uint8)).save(tmp_path / "over.png")
    told = {"pins": [f"F={tmp_path / 'over.png'}"], "from_texture": True, "strength": 0.3}
    texture = first.path / record["files"]["texture"]
    second, record = textured(
        tmp_path, "green", RED, cameras=str(camera_file(tmp_path)), base=[f"Cube={texture}"], **told
    )
    assert record["pins"]["F"] < 0.01
    sides = {name: np.asarray(view_of_result(second.path, name, 160)) / 255 for name in ("F", "R")}
    middles = {name: side[..., :3][side[..., 3] == 1].mean(0) for name, side in sides.items()}
    assert np.abs(middles["F"] - GREEN).max() < 0.02 and np.abs(middles["R"] - RED).max() < 0.05


def test_placed_cameras_are_squares_and_unknown_ones_are_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder, _ = textured(tmp_path, "red", RED)
    out = tmp_path / "view.png"
    with pytest.raises(SystemExit) as ended:
        main(["view", str(folder.path), "--camera", "orbit 1", "-o", str(out), "--size", "64"])
    assert ended.value.code == 0 and Image.open(out).size == (64, 64) and Image.open(out).mode == "RGBA"
    with pytest.raises(SystemExit) as ended:
        main(["view", str(folder.path), "--camera", "Front", "-o", str(out)])
    assert ended.value.code == 2 and "orbit 0, orbit 1, orbit 2, orbit 3" in capsys.readouterr().err
    with pytest.raises(RequestError, match="lies in no job's folder"):
        view_of_result(cube(tmp_path / "cube.obj"), "Front")
    with pytest.raises(RequestError, match="no textured mesh"):
        view_of_result(out, "Front")
    with pytest.raises(RequestError, match="Check the path"):
        view_of_result(tmp_path / "nowhere.glb", "Front")
