"""UVs in UDIM tiles: a texture for each, in one job, and a GLB that shows them."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddrep_core.errors import DdrepWarning, RequestError
from ddrep_core.geometry.base_color import base_colors
from ddrep_core.geometry.glb import write_glb
from ddrep_core.geometry.load import load_mesh
from ddrep_core.geometry.udim import tiles_of
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.wish import wish_of
from ddrep_core.priors import GaussianPrior

PRIOR = GaussianPrior(torch.full((3, 8, 8), 0.5), 0.04)
COLOURS = {1001: (200, 30, 40), 1002: (20, 190, 60), 1011: (10, 60, 220)}


def strip_obj(path: Path, shift: float = 0.0) -> Path:
    """Three squares in a row, in the tiles 1001, 1002 and 1011."""
    lines, count = ["o Strip", "usemtl skin"], 0
    for x in range(4):
        lines += [f"v {x} 0 0", f"v {x} 1 0"]
    for x, (u, v) in enumerate([(0, 0), (1, 0), (0, 1)]):
        lines += [f"vt {u + a + shift} {v + b}" for a, b in ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))]
        corners = zip((2 * x + 1, 2 * x + 3, 2 * x + 4, 2 * x + 2), range(count + 1, count + 5), strict=True)
        lines.append("f " + " ".join(f"{p}/{t}" for p, t in corners))
        count += 4
    path.write_text("\n".join(lines) + "\n")
    return path


def strip_glb(path: Path) -> Path:
    """The same as one primitive, whose vertices the tiles share a block of."""
    mesh = load_mesh(strip_obj(path.with_suffix(".obj")))
    write_glb(mesh, {"strip" if mesh.parts[0].name != "Strip" else "Strip": np.full((3, 8, 8), 0.5)}, path)
    return path


def flat(colour: tuple[int, int, int]) -> torch.Tensor:
    return (torch.tensor(colour) / 255)[:, None, None].expand(3, 16, 16)


@pytest.mark.parametrize("make", [strip_obj, strip_glb])
def test_each_tile_wears_its_own_texture(make, tmp_path: Path) -> None:
    """Through the GLB and back: the face over each tile reads that tile's picture, and geometry is what it was."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DdrepWarning)
        path = make(tmp_path / f"strip.{make.__name__[-3:]}")
    mesh = load_mesh(path, udim=True)
    assert [part.tile for part in mesh.parts] == [1001, 1002, 1011] and not mesh.warnings
    write_glb(mesh, {part.name: flat(COLOURS[part.tile]) for part in mesh.parts}, tmp_path / "out.glb")
    again = load_mesh(tmp_path / "out.glb", udim=True)
    assert np.allclose(again.triangles, mesh.triangles, atol=1e-6) and np.allclose(again.uv, mesh.uv, atol=1e-6)
    assert len(again.object_names) == 1
    for part, picture in zip(again.parts, base_colors(again, tmp_path).values(), strict=True):
        assert torch.equal((picture * 255).round().to(torch.uint8)[:, 3, 3], torch.tensor(COLOURS[part.tile]))


def test_tiles_are_numbered_as_everywhere() -> None:
    triangle = np.array([[0.2, 0.2], [0.8, 0.2], [0.2, 0.8]])
    moves = np.array([(0, 0), (9, 0), (0, 1), (3, 12), (10, 0), (-1, 0), (0.5, 0)])
    found = tiles_of(triangle + moves[:, None])
    assert found.tolist() == [1001, 1010, 1011, 1124, 0, 0, 0]


def test_a_face_across_a_border_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="6 of 6 faces of 'Strip' lie in no UDIM tile, or across"):
        load_mesh(strip_obj(tmp_path / "strip.obj", shift=0.3), udim=True)


def test_without_the_word_it_is_told_of(tmp_path: Path) -> None:
    with pytest.warns(DdrepWarning, match="If these are UDIM tiles, say so: --udim"):
        load_mesh(strip_obj(tmp_path / "strip.obj"))


def test_a_job_writes_a_texture_for_each_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("turntable", "contact_sheet"):
        monkeypatch.setattr(f"ddrep_core.jobs.texture.{name}", lambda *told, **named: None)
    (tmp_path / "inputs").mkdir()
    strip_obj(tmp_path / "inputs" / "strip.obj")
    block = {"mesh": "inputs/strip.obj", "resolution": 32, "udim": True}
    request = {"schema_version": 1, "task": "texture", "steps": 2, "cameras": "front-back", "texture": block}
    (tmp_path / "job.json").write_text(json.dumps(request))
    run_job(tmp_path, load_prior=lambda request: PRIOR)
    pictures = {tile: np.asarray(Image.open(tmp_path / "outputs" / f"texture.{tile}.png")) for tile in COLOURS}
    assert all(picture.shape == (32, 32, 3) for picture in pictures.values())
    record = json.loads((tmp_path / "outputs" / "result.json").read_text())
    assert [entry["tile"] for entry in record["samples"][0]["objects"]] == [1001, 1002, 1011]
    mesh = load_mesh(tmp_path / "outputs" / "mesh.glb", udim=True)
    assert mesh.document is not None
    for number, part in enumerate(mesh.parts):
        stored = Image.open(io.BytesIO(mesh.document.picture(number)))
        assert np.array_equal(np.asarray(stored), pictures[part.tile])
    said = {"prompt": "p", "steps": 2, "cameras": "front-back", "close_ups": 2}
    wish = wish_of("detail", {"source": str(tmp_path), **said})
    assert wish.request["detail"]["udim"] is True
    closely = create_job(tmp_path / "closely", wish.request, copies=wish.copies)
    record = json.loads(run_job(closely.path, load_prior=lambda request: PRIOR).read_text())["samples"][0]
    assert [entry["tile"] for entry in record["objects"]] == list(pictures)
    for entry, picture in zip(record["objects"], pictures.values(), strict=True):
        fine = np.asarray(Image.open(closely.path / entry["texture"]))
        assert fine.shape == picture.shape and not np.array_equal(fine, picture)
