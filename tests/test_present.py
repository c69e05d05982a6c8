"""What a mesh wears, and what of it stays: read, refused in words, and in the stored file to the last bit."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ddrep_core as dd
from ddrep_core.cli import main
from ddrep_core.errors import RequestError
from ddrep_core.geometry.bake import Baker, Worn
from ddrep_core.geometry.base_color import base_color
from ddrep_core.geometry.glb import write_glb
from ddrep_core.geometry.load import load_mesh
from ddrep_core.jobs.blocks import TextureRequest
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.present import Present, worn_by
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.wish import wish_of
from ddrep_core.priors import GaussianPrior

SIZE = 64
QUAD = """mtllib quad.mtl
o Left
v -1 0 0
v 0 0 0
v 0 1 0
v -1 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl skin
f 1/1 2/2 3/3 4/4
o Right
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
usemtl skin
f 5/1 6/2 7/3 8/4
"""


def noise(seed: int = 0, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def left_half(size: int = SIZE) -> np.ndarray:
    return np.where(np.arange(size) < size // 2, 255, 0).astype(np.uint8)[None].repeat(size, 0)


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    """Two squares side by side that wear one picture."""
    inputs = tmp_path / "job" / "inputs"
    inputs.mkdir(parents=True)
    (inputs / "quad.obj").write_text(QUAD)
    (inputs / "quad.mtl").write_text("newmtl skin\nmap_Kd skin.png\n")
    Image.fromarray(noise()).save(inputs / "skin.png")
    Image.fromarray(left_half()).save(inputs / "half.png")
    return JobFolder(tmp_path / "job")


def settings(**changes) -> TextureRequest:
    return TextureRequest.model_validate({"mesh": "inputs/quad.obj", "resolution": SIZE, **changes})


def worn(job: JobFolder, **changes) -> dict[str, Worn]:
    request = settings(**changes)
    mesh = load_mesh(job.resolve(request.mesh), objects=request.objects, root=job.path)
    return worn_by(mesh, request, job)


def kept(name: str = "half.png", **more) -> list[dict]:
    return [{"file": f"inputs/{name}", **more}]


def save(job: JobFolder, name: str, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(job.inputs / name)


def test_what_is_worn_is_the_picture_of_the_material(job: JobFolder, tmp_path: Path) -> None:
    mesh = load_mesh(job.inputs / "quad.obj")
    for part in mesh.parts:
        assert np.array_equal(base_color(mesh, part, job.path), noise())
    # As glTF, too; and times its factor.
    write_glb(mesh, {"Left": torch.from_numpy(noise(1) / 255).permute(2, 0, 1)}, tmp_path / "one.glb")
    again = load_mesh(tmp_path / "one.glb")
    assert np.array_equal(base_color(again, again.parts[0], tmp_path), noise(1))
    assert np.array_equal(base_color(again, again.parts[1], tmp_path), noise())
    assert again.document is not None
    for material in again.document.data["materials"]:
        material["pbrMetallicRoughness"]["baseColorFactor"] = [0.25, 1.0, 1.0, 1.0]
    tinted = base_color(again, again.parts[1], tmp_path)
    assert tinted is not None and np.array_equal(tinted[..., 1:], noise()[..., 1:])
    assert abs(float(tinted[..., 0].mean()) - 0.515 * float(noise()[..., 0].mean())) < 1
    assert base_color(mesh, replace(mesh.parts[0], material="none"), job.path) is None
    assert base_color(mesh, replace(mesh.parts[0], unwrapped=True), job.path) is None
    (job.inputs / "skin.png").write_bytes(b"no picture")
    with pytest.raises(RequestError, match="base-colour picture of 'Left' cannot be read"):
        base_color(mesh, mesh.parts[0], job.path)


def test_masks_are_of_objects_and_the_named_ones_win(job: JobFolder) -> None:
    save(job, "right.png", 255 - left_half())
    found = worn(job, keep=[*kept(), *kept("right.png", object="Right")])
    assert np.array_equal(found["Left"].kept, left_half() > 0) and np.array_equal(found["Right"].kept, left_half() == 0)
    assert set(worn(job, keep=kept(object="Left"))) == {"Left"}
    save(job, "other.png", noise(4))
    found = worn(job, keep=kept(), base=[{"object": "Left", "file": "inputs/other.png"}])
    assert np.array_equal(found["Left"].picture, noise(4)) and np.array_equal(found["Right"].picture, noise())
    clear = np.dstack([np.full((SIZE, SIZE, 3), 255, np.uint8), left_half()])  # white everywhere, opaque by half
    save(job, "clear.png", clear)
    assert np.array_equal(worn(job, keep=kept("clear.png"))["Left"].kept, left_half() > 0)
    assert worn(job) == {}


def test_a_start_from_what_is_worn_takes_any_size(job: JobFolder) -> None:
    save(job, "small.png", noise(2, 16))
    found = worn(job, from_texture=True, base=[{"file": "inputs/small.png"}])
    assert found["Left"].picture.shape == (SIZE, SIZE, 3) and not found["Left"].kept.any()


@pytest.mark.parametrize(
    ("pixels", "changes", "message"),
    [
        (np.zeros((32, 32), np.uint8), {}, r"32 x 32 pixels, but the texture will be 64 x 64.*--resolution 32"),
        (np.zeros((64, 32), np.uint8), {}, r"32 x 64 pixels.*Save it in the size"),
        (np.zeros((64, 64), np.uint8), {}, "all black"),
        (np.full((64, 64), 255, np.uint8), {}, "keep everything"),
        (left_half(), {"resolution": 128}, "128 x 128"),
        (left_half(), {"keep": kept("mask.png", object="Middle")}, "'Middle', which is no object.*Left, Right"),
        (left_half(), {"objects": ["Left"], "keep": kept("mask.png", object="Right")}, "'Right', which is no object"),
        (left_half(), {"keep": [*kept("mask.png"), *kept("mask.png")]}, "two masks for 'Left'"),
        (left_half(), {"keep": kept("quad.obj")}, "cannot be read as a picture"),
        (left_half(), {"keep": kept("gone.png")}, "no such file"),
        (left_half(), {"base": kept("mask32.png")}, r"wears is 32 x 32 pixels.*would not stay"),
        (left_half(), {"keep": [], "base": kept("mask.png")}, "nothing is to be kept"),
        (left_half(), {"keep": [], "strength": 0.5}, "--from-texture"),
    ],
)
def test_what_cannot_be_kept_is_told(job: JobFolder, pixels, changes: dict, message: str) -> None:
    save(job, "mask.png", pixels)
    save(job, "mask32.png", np.zeros((32, 32), np.uint8))
    with pytest.raises(RequestError) as told:
        worn(job, **{"keep": kept("mask.png"), **changes})
    assert re.search(message, f"{told.value.message} {told.value.fix}")


def test_nothing_worn_is_told(job: JobFolder) -> None:
    (job.inputs / "quad.mtl").write_text("newmtl skin\nKd 1 0 0\n")
    with pytest.raises(RequestError, match="no base-colour picture"):
        worn(job, keep=kept())
    (job.inputs / "bare.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 0 1\nf 1 2 3\n")
    with pytest.raises(RequestError, match="has no UVs"):
        worn(job, mesh="inputs/bare.obj", keep=kept())
    with pytest.raises(RequestError, match="has no UVs"):
        worn(job, mesh="inputs/bare.obj", from_texture=True)
    (found,) = worn(job, mesh="inputs/bare.obj", from_texture=True, base=kept("skin.png")).values()
    assert np.array_equal(found.picture, noise())  # as a result without UVs of its own goes on: they are made alike


@pytest.mark.parametrize("most_texels", [10**9, 800])
def test_kept_texels_are_no_unknowns_of_baking(job: JobFolder, most_texels: int) -> None:
    """To the last bit, on the islands and off them, solved at full resolution or below; and nothing else is bent."""
    mesh = load_mesh(job.inputs / "quad.obj", objects=["Left"])
    views = dd.orbit_views(count=1, target=mesh, width=16, height=16)
    wears = {"Left": Worn(noise(), left_half() > 0)}
    baker = Baker(mesh, views, SIZE, (16, 16), worn=wears, most_texels=most_texels)
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 16, 16)
    baked = baker.bake(red)["Left"]
    assert np.array_equal(baked.pixels()[:, : SIZE // 2], noise()[:, : SIZE // 2])
    free = baked.pixels()[:, SIZE // 2 + 8 :].astype(float)
    assert np.abs(free - [255, 0, 0]).mean() < 12  # what was asked for, but near the edge
    plain = Baker(mesh, views, SIZE, (16, 16), most_texels=most_texels)
    nothing = Baker(mesh, views, SIZE, (16, 16), worn={"Left": Worn(noise(), left_half() < 0)}, most_texels=most_texels)
    assert np.array_equal(plain.bake(red)["Left"].pixels(), nothing.bake(red)["Left"].pixels())


def test_views_see_what_is_kept(job: JobFolder) -> None:
    mesh = load_mesh(job.inputs / "quad.obj", objects=["Left"])
    views = dd.orbit_views(count=1, target=mesh, width=16, height=16)
    grey = np.full((SIZE, SIZE, 3), 51, np.uint8)
    present = Present.of(Baker(mesh, views, SIZE, (16, 16)), {"Left": Worn(grey, left_half() > 0)})
    inside = present.kept[0, 0] > 0.999
    assert inside.any() and torch.allclose(present.pictures[0][:, inside], torch.tensor(0.2), atol=1e-5)
    assert present.kept.max() <= 1 + 1e-5 and (present.pictures[0, :, 0, 0] == 1).all()


def request(**changes) -> dict:
    texture = {"mesh": "inputs/quad.obj", "resolution": SIZE, "objects": ["Left"], **changes}
    return {"schema_version": 1, "task": "texture", "steps": 3, "cameras": "orbit:2", "texture": texture}


def test_a_job_keeps_what_it_is_told_to_and_starts_from_what_is_worn(job: JobFolder) -> None:
    prior = GaussianPrior(torch.full((3, 16, 16), 0.5), 0.04)

    def stored(**changes) -> np.ndarray:
        (job.path / "job.json").write_text(json.dumps(request(**changes)))
        run_job(job.path, load_prior=lambda request: prior, resume=False)
        with Image.open(job.outputs / "texture.png") as picture:
            return np.asarray(picture).astype(int)

    both = np.where(left_half()[..., None] > 0, 30, 230).astype(np.uint8).repeat(3, 2)
    save(job, "skin.png", both)
    found = stored(keep=kept(), from_texture=True, strength=0.03)
    assert np.array_equal(found[:, : SIZE // 2], both[:, : SIZE // 2])
    assert found[:, SIZE // 2 :].mean() > 190 and not np.array_equal(found, both)  # the prior alone: 128, 51 around it


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--keep", "small.png"], "32 x 32 pixels, but the texture will be 64 x 64"),
        (["--keep", "Middle=half.png"], "'Middle', which is no object"),
        (["--keep", "gone.png"], "There is no picture"),
        (["--keep", "half.png", "--base", "small.png"], "kept texels would not stay"),
        (["--pin", "half.png"], "does not say which camera"),
        (["--strength", "0.5"], "Add --from-texture"),
    ],
)
def test_the_command_ends_with_two_and_says_why(
    job: JobFolder, capsys, monkeypatch, tmp_path: Path, options: list[str], words: str
) -> None:
    save(job, "small.png", np.zeros((32, 32), np.uint8))
    monkeypatch.chdir(job.inputs)
    common = ["texture", "quad.obj", "-p", "a cow", "--resolution", str(SIZE), "--out", str(tmp_path / "new")]
    with pytest.raises(SystemExit) as ending:
        main([*common, *options])
    assert ending.value.code == 2 and words in " ".join(capsys.readouterr().err.split())


def test_options_say_whose_picture_it_is(tmp_path: Path) -> None:
    odd = tmp_path / "a=b.png"
    odd.write_bytes(b"x")
    pins = ["Front=view.png:0.5", "Side=c:d.png"]
    for name in ("mask.PNG", "view.png", "c:d.png"):
        (tmp_path / name).write_bytes(b"x")
    wish = wish_of(
        "texture", {"keep": ["Cow=mask.PNG", "a=b.png"], "base": None, "pins": pins, "resolution": 8}, tmp_path
    )
    told, files = wish.request["texture"], {str(place): path for place, path in wish.copies.items()}
    assert told["keep"] == [
        {"object": "Cow", "file": "inputs/keep_0.png"},
        {"file": "inputs/keep_1.png"},
    ]
    assert told["pins"] == [
        {"camera": "Front", "weight": 0.5, "file": "inputs/pins_0.png"},
        {"camera": "Side", "file": "inputs/pins_1.png"},
    ]
    assert "base" not in told and files["keep_1.png"] == odd and files["pins_0.png"] == tmp_path / "view.png"
    for text in ("view.png", "=view.png", "Front="):
        with pytest.raises(RequestError, match="which camera"):
            wish_of("texture", {"pins": [text]}, tmp_path)
