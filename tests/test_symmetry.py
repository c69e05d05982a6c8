"""Meshes that are their own mirror image: the sides share texels, in what is sampled and in the stored file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from geometry_shapes import cube_obj
from PIL import Image

from ddrep_core.cli import main
from ddrep_core.diffreps.texture import TextureDiffrep
from ddrep_core.errors import RequestError
from ddrep_core.geometry.bake import SEEN, Baker
from ddrep_core.geometry.load import load_mesh
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.raycast import ray_caster
from ddrep_core.geometry.symmetry import Mirrored, Symmetry, symmetry_of
from ddrep_core.geometry.texels import rasterize
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.wish import wish_of
from ddrep_core.priors import GaussianPrior
from ddrep_core.views import orbit_views

SIZE = 64
PRIOR = GaussianPrior(torch.full((3, 8, 8), 0.5), 0.04)


def roof_obj(path: Path, right_v: float = 0.0, dent: float = 0.0) -> Path:
    """Two slopes that meet above the plane x = 0, each on its own half of the texture, the right one's shifted."""
    points = [(-1, 0, -1), (0, 1, -1), (0, 1, 1), (-1, 0, 1), (1 + dent, dent, -1), (1 + dent, dent, 1)]
    lines = ["o Roof", *(f"v {x} {y} {z}" for x, y, z in points)]
    left = [(0.0625, 0.125), (0.4375, 0.125), (0.4375, 0.625), (0.0625, 0.625)]
    right = [(1 - u, v + right_v) for u, v in left]
    lines += [f"vt {u} {v}" for u, v in left + right]
    lines += ["f 4/4 3/3 2/2 1/1", "f 5/5 2/6 3/7 6/8"]
    path.write_text("\n".join(lines) + "\n")
    return path


def roof(tmp_path: Path, **shape: float) -> Mesh:
    return symmetry_of(load_mesh(roof_obj(tmp_path / "roof.obj", **shape)), "x")[0]


def bumpy(seed: int = 0, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def test_a_mirrored_layout_is_mirrored_to_the_last_bit(tmp_path: Path) -> None:
    """Where the sides lie mirrored in the texture, the stored halves are each other's mirror image."""
    mesh = roof(tmp_path)
    found = Mirrored(mesh, SIZE).write({"Roof": bumpy()})["Roof"]
    inside = rasterize(mesh.parts[0], SIZE).mask
    assert inside[:, : SIZE // 2].sum() > 600 and np.array_equal(inside, inside[:, ::-1])
    assert np.array_equal(found[inside], found[:, ::-1][inside])
    assert np.array_equal(found[:, SIZE // 2 :], bumpy()[:, SIZE // 2 :])  # the side above the plane is what it was


def test_any_layout_stores_what_a_look_up_at_the_partner_says(tmp_path: Path) -> None:
    """The right half lies 0.3 texels lower: each left texel is the bilinear look-up there, in stored bytes."""
    mesh = roof(tmp_path, right_v=0.3 / SIZE)
    mirrored = Mirrored(mesh, SIZE)
    found = mirrored.write({"Roof": bumpy()})["Roof"]
    assert np.array_equal(mirrored.write({"Roof": found})["Roof"], found)
    texels = rasterize(mesh.parts[0], SIZE)
    row, column = np.divmod(texels.index, SIZE)
    left = (column < SIZE // 2) & (row > row.min()) & (row < row.max() - 1)
    row, column = row[left], SIZE - 1 - column[left]
    expected = 0.7 * found[row, column].astype(float) + 0.3 * found[row - 1, column]
    assert np.abs(expected - found[row, SIZE - 1 - column]).max() <= 0.5 + 1e-9 and left.sum() > 600  # rounded, no more


def test_what_is_sampled_has_one_texel_for_both_sides(tmp_path: Path) -> None:
    """By construction: mirrored views of any θ are mirror images, and θ has texels for one side only."""
    mesh = roof(tmp_path)
    views = orbit_views(count=2, elevations=(30.0,), target=mesh, width=32, height=32, start_degrees=50.0)
    flip = np.diag([-1.0, 1, 1, 1])
    cameras = (views[0], replace(views[0], matrix_world=flip @ views[0].matrix_world @ flip))
    views = replace(views, cameras=cameras)
    rep = TextureDiffrep(mesh, views, SIZE, 3, view_size=(32, 32), dtype=torch.float64)
    rep.theta.copy_(torch.rand(rep.theta.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    share = torch.from_numpy(np.abs(rep.matrix().to_dense().numpy()[:, : rep.texel_count]).sum(1)).reshape(2, 1, 32, 32)
    one, other = rep.render() * (share > 0.999)  # of the pixels that show nothing but the mesh
    assert float((one - other.flip(-1)).abs().max()) < 1e-9 and float(one.abs().max()) > 0.5
    plain = TextureDiffrep(replace(mesh, symmetry=None), views, SIZE, 3, view_size=(32, 32), dtype=torch.float64)
    assert rep.texel_count < 0.6 * plain.texel_count


def test_one_side_seen_is_both_painted(tmp_path: Path) -> None:
    """A camera that sees the left slope alone paints the right one, and what it paints is the same."""
    mesh = roof(tmp_path)
    views = orbit_views(count=1, elevations=(20.0,), target=mesh, width=24, height=24, start_degrees=-90.0)
    baker = Baker(mesh, views, SIZE, (24, 24))
    baked = baker.bake(torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(1)))["Roof"]
    inside = rasterize(mesh.parts[0], SIZE).mask
    pixels = baked.pixels()
    assert np.array_equal(pixels[inside], pixels[:, ::-1][inside])
    assert (baked.coverage[inside] == SEEN).all()
    alone = Baker(replace(mesh, symmetry=None), views, SIZE, (24, 24)).bake(torch.rand(1, 3, 24, 24))["Roof"]
    assert (alone.coverage[:, SIZE // 2 :] != SEEN).all()


def test_what_has_no_partner_stays_its_own(tmp_path: Path) -> None:
    mesh = load_mesh(roof_obj(tmp_path / "roof.obj", dent=0.15))
    dented = replace(mesh, symmetry=Symmetry(0, 0.0))
    mirrored = Mirrored(dented, SIZE)
    assert mirrored.shared < 0.5 * mirrored.far  # only beside the ridge do the slopes still meet
    face = np.zeros(1, np.int64)
    place = dented.triangles[0].mean(axis=0, keepdims=True)
    assert dented.symmetry is not None
    assert dented.symmetry.partners(ray_caster(dented), place, ray_caster(dented).face_normals[face])[0][0] == -1


def test_sides_that_share_their_texels_already_stay_as_they_are(tmp_path: Path) -> None:
    path = roof_obj(tmp_path / "roof.obj")
    path.write_text(path.read_text().replace("5/5 2/6 3/7 6/8", "5/1 2/2 3/3 6/4"))
    mirrored = Mirrored(symmetry_of(load_mesh(path), "x")[0], SIZE)
    assert mirrored.shared == mirrored.far
    assert np.array_equal(mirrored.write({"Roof": bumpy()})["Roof"], bumpy())


def test_a_plane_through_the_middle_is_found(tmp_path: Path) -> None:
    lines = [line.split() for line in cube_obj(tmp_path / "cube.obj").read_text().splitlines()]
    moved = [["v", str(float(words[1]) + 5), *words[2:]] if words[0] == "v" else words for words in lines]
    (tmp_path / "cube.obj").write_text("\n".join(map(" ".join, moved)))
    mesh, share = symmetry_of(load_mesh(tmp_path / "cube.obj"), "x")
    assert mesh.symmetry == Symmetry(0, 5.0) and share == 1.0


@pytest.mark.parametrize("axis", ["y", "z"])
def test_what_is_not_symmetric_is_refused(axis: str, tmp_path: Path) -> None:
    path = tmp_path / "wedge.obj"
    path.write_text("v 0 0.3 0\nv 4 0 1\nv 1 3 0\nv 0 1 2.4\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n")
    with pytest.raises(RequestError, match=f"is not symmetric about {axis}: .* has a partner"):
        symmetry_of(load_mesh(path), axis)


def test_a_job_stores_mirrored_textures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("turntable", "contact_sheet"):
        monkeypatch.setattr(f"ddrep_core.jobs.texture.{name}", lambda *told, **named: None)
    job = tmp_path / "job"
    (job / "inputs").mkdir(parents=True)
    roof_obj(job / "inputs" / "roof.obj")
    block = {"mesh": "inputs/roof.obj", "resolution": SIZE, "symmetry": "x"}
    request = {"schema_version": 1, "task": "texture", "steps": 2, "cameras": "orbit:2", "texture": block}
    (job / "job.json").write_text(json.dumps(request))
    run_job(job, load_prior=lambda request: PRIOR)
    found = np.asarray(Image.open(job / "outputs" / "texture.png"))
    inside = rasterize(load_mesh(job / "inputs" / "roof.obj").parts[0], SIZE).mask
    assert np.array_equal(found[inside], found[:, ::-1][inside]) and found[inside].std() > 1
    events = [json.loads(line) for line in (job / "events.jsonl").read_text().splitlines()]
    told = next(event for event in events if "symmetry" in event)
    assert told["symmetry"]["shared"] == told["symmetry"]["behind"] > 600
    assert "share their texels about x = 0" in told["message"]
    wish = wish_of("detail", {"source": str(job), "prompt": "p", "steps": 2, "cameras": "orbit:2", "close_ups": 2})
    closely = create_job(tmp_path / "closely", wish.request, copies=wish.copies)
    run_job(closely.path, load_prior=lambda request: PRIOR)
    fine = np.asarray(Image.open(closely.outputs / "texture.png"))
    assert np.array_equal(fine[inside], fine[:, ::-1][inside]) and not np.array_equal(fine, found)


def test_keeping_one_side_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roof_obj(tmp_path / "roof.obj")
    Image.fromarray(np.tri(SIZE, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    Image.fromarray(bumpy()).save(tmp_path / "base.png")
    words = ["texture", str(tmp_path / "roof.obj"), "-p", "a roof", "--symmetry", "x", "--resolution", str(SIZE)]
    words += ["--keep", str(tmp_path / "mask.png"), "--base", str(tmp_path / "base.png"), "-o", str(tmp_path / "job")]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "kept on one side" in capsys.readouterr().err
