"""`ddrep edit` as a job: what it makes of meshes, pictures and panoramas, going on after a cancel, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from geometry_shapes import cube_obj
from PIL import Image
from worded import WordedPrior

from ddrep_core.cli import main
from ddrep_core.diffreps.encoded import EncodedDiffrep
from ddrep_core.diffreps.vector import VectorDiffrep
from ddrep_core.errors import Cancelled, DdrepWarning, RequestError
from ddrep_core.geometry.base_color import base_colors
from ddrep_core.geometry.load import load_mesh
from ddrep_core.jobs import run as run_module
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.edit_procedure import carried_over, milder_guidance
from ddrep_core.jobs.edit_source import find_origin
from ddrep_core.jobs.folder import JobFolder, write_json
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.wish import wish_of
from ddrep_core.priors import GaussianPrior
from ddrep_core.vector.reader import parse_svg

SIZE, SHIFT = 16, 0.2


@pytest.fixture
def prior(monkeypatch) -> WordedPrior:
    """Knows that pictures are dark or, under other words, brighter by `SHIFT`."""

    def shades(mean: float) -> GaussianPrior:
        return GaussianPrior(torch.full((3, SIZE, SIZE), mean, dtype=torch.float64), 0.01)

    known = WordedPrior({"dark": shades(0.3), "light": shades(0.3 + SHIFT)})
    monkeypatch.setattr(run_module, "load_request_prior", lambda request: known)
    return known


def speckled(path: Path, width: int = 40, height: int = 40) -> Path:
    values = np.random.default_rng(0).integers(40, 120, (height, width, 3), np.uint8)
    Image.fromarray(values).save(path)
    return path


def touched(*paths: Path) -> None:
    for path in paths:
        path.touch()


def textured_cube(folder: Path) -> Path:
    speckled(folder / "paint.png", 64, 64)
    (folder / "cube.mtl").write_text("newmtl paint\nmap_Kd paint.png\n")
    return cube_obj(folder / "cube.obj", header="mtllib cube.mtl\no Cube\nusemtl paint\n")


def edited(tmp_path: Path, source: Path, name: str = "job", steps: int = 8, **block: object) -> JobFolder:
    told = {"prompt": "light", "steps": steps, "cameras": "orbit:4", "source_prompt": "dark", "source": source, **block}
    wish = wish_of("edit", told)
    return create_job(tmp_path / name, wish.request, copies=wish.copies)


def pixels(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(path).convert("RGB"), np.float32) / 255)


def files(folder: JobFolder) -> dict[str, Path]:
    sample = json.loads(folder.result_file.read_text())["samples"][0]
    return {what: folder.path / path for what, path in sample["files"].items()}


def heard_by(prior: WordedPrior, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The guidance of all that the prior is told from now on."""
    heard, condition = [], prior.condition

    def listening(prompt: str, negative: str = "", views: Any = None, scale: float = 1.0, **more: Any) -> Any:
        heard.append(scale)
        return condition(prompt, negative, views, scale, **more)

    monkeypatch.setattr(prior, "condition", listening)
    return heard


def test_a_milder_guidance_hears_negative_words() -> None:
    assert milder_guidance(2.5) == 1 and milder_guidance(1.0) == 1
    assert milder_guidance(2.5, "dull") == 1.25  # they are heard above 1


@pytest.mark.parametrize("method", ["difference", "dds"])
def test_a_picture_changes_by_what_the_words_change_and_keeps_its_detail(tmp_path, prior, method) -> None:
    """Nothing of 40² pixels but their mean goes through 16² latents: what is fine comes from the original."""
    source = speckled(tmp_path / "picture.png")
    folder = edited(tmp_path, source, steps=20 if method == "difference" else 150, method=method)
    run_job(folder.path)
    change = pixels(files(folder)["image"]) - pixels(source)
    assert change.mean() == pytest.approx(SHIFT, abs=0.02)
    assert set(files(folder)) == {"image", "before_after"}
    if method == "difference":
        again = edited(tmp_path, source, name="same", source_prompt="light")
        run_job(again.path)
        assert torch.equal(pixels(files(again)["image"]), pixels(source))  # equal words: the very picture


def test_a_cancelled_edit_goes_on_to_the_same_bytes(tmp_path, prior) -> None:
    source = speckled(tmp_path / "picture.png")
    for method in ("difference", "pds"):
        whole, parts = (edited(tmp_path, source, f"{method} {name}", method=method) for name in ("whole", "parts"))
        run_job(whole.path)

        def stop_in_the_middle(event: dict, parts: JobFolder = parts) -> None:
            if event["event"] == "step" and event["index"] == 4:
                parts.cancel_file.touch()

        with pytest.raises(Cancelled):
            run_job(parts.path, listeners=(stop_in_the_middle,), checkpoint_seconds=0)
        run_job(parts.path, resume=True)
        assert files(parts)["image"].read_bytes() == files(whole)["image"].read_bytes()


def test_a_textured_mesh_is_edited_and_its_result_can_be_edited_again(tmp_path, prior, monkeypatch) -> None:
    prior.default_guidance_scale, heard = 4.0, heard_by(prior, monkeypatch)
    monkeypatch.setattr(
        "ddrep_core.jobs.texture.turntable", lambda mesh, textures, film, still, **_: touched(film, still)
    )
    source = textured_cube(tmp_path)
    folder = edited(tmp_path, source)
    run_job(folder.path)
    assert heard == [1.25, 1.25]  # a sixth of what the prior's own has above 2.5, for source and target
    made = files(folder)
    assert {"mesh", "texture", "before_after", "contact_sheet"} <= set(made)
    seen = pixels(Path(str(made["coverage"])))[..., 0] == 1
    change = (pixels(made["texture"]) - pixels(tmp_path / "paint.png"))[seen]
    assert change.mean() == pytest.approx(SHIFT, abs=0.02)
    before = base_colors(load_mesh(made["mesh"]), folder.path)
    assert torch.allclose(next(iter(before.values())).permute(1, 2, 0), pixels(made["texture"]))
    plain = cube_obj(tmp_path / "plain.obj", header="o Cube")  # as Blender has it: pictures are its own, not the file's
    worn = base_colors(load_mesh(plain), tmp_path, {"Cube": tmp_path / "paint.png"})
    assert torch.allclose(worn["Cube"].permute(1, 2, 0), pixels(tmp_path / "paint.png"))
    for given in (folder.path, made["mesh"]):  # what comes out can go in again, with its words
        origin = find_origin(given)
        assert (origin.kind, origin.prompt) == ("texture", "light") and origin.file.samefile(made["mesh"])


def left_half(path: Path, width: int, height: int) -> Path:
    Image.fromarray(np.where(np.arange(width) < width // 2, 255, 0).astype(np.uint8)[None].repeat(height, 0)).save(path)
    return path


def test_panoramas_of_both_kinds_are_edited_and_keep_what_a_mask_says(tmp_path, prior, monkeypatch) -> None:
    prior.default_guidance_scale, heard = 4.0, heard_by(prior, monkeypatch)
    for projection, width, height, masked in (("sphere", 128, 64, True), ("cylinder", 128, 16, False)):
        source = speckled(tmp_path / f"{projection}.png", width, height)
        keep = [str(left_half(tmp_path / "mask.png", width, height))] if masked else []
        folder = edited(tmp_path, source, f"job {projection}", kind="panorama", projection=projection, keep=keep)
        run_job(folder.path)
        change = pixels(files(folder)["panorama"]) - pixels(source)
        if masked:
            assert float(change[:, : width // 2].abs().max()) == 0
            change = change[:, width // 2 + 16 : -16]
        assert change.mean() == pytest.approx(SHIFT, abs=0.03)
    assert heard == 4 * [1.25]


@pytest.mark.parametrize("block", [{}, {"method": "sdedit", "strength": 0.8}])
def test_what_a_mask_keeps_of_a_picture_stays_to_the_last_bit_and_the_rest_is_edited(tmp_path, prior, block) -> None:
    source, mask = speckled(tmp_path / "picture.png"), left_half(tmp_path / "mask.png", 40, 40)
    folder = edited(tmp_path, source, steps=10, keep=[str(mask)], **block)
    run_job(folder.path)
    change = pixels(files(folder)["image"]) - pixels(source)
    assert float(change[:, :20].abs().max()) == 0
    assert change[:, 25:35].mean() == pytest.approx(SHIFT, abs=0.04)
    if not block:  # source and target both see what is kept: equal words change nothing beside it, either
        again = edited(tmp_path, source, name="same", steps=3, source_prompt="light", keep=[str(mask)])
        run_job(again.path)
        assert torch.equal(pixels(files(again)["image"]), pixels(source))


def test_texels_that_a_mask_keeps_stay_to_the_last_bit(tmp_path, prior, monkeypatch) -> None:
    monkeypatch.setattr(
        "ddrep_core.jobs.texture.turntable", lambda mesh, textures, film, still, **_: touched(film, still)
    )
    source, mask = textured_cube(tmp_path), left_half(tmp_path / "mask.png", 64, 64)
    folder = edited(tmp_path, source, keep=[f"Cube={mask}"])
    run_job(folder.path)
    made = files(folder)
    change = pixels(made["texture"]) - pixels(tmp_path / "paint.png")
    seen = pixels(Path(str(made["coverage"])))[..., 0] == 1
    assert float(change[:, :32].abs().max()) == 0 and seen[:, :32].any()
    assert change[:, 40:][seen[:, 40:]].mean() == pytest.approx(SHIFT, abs=0.05)


DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<!-- a page --><rect width="32" height="32" fill="#4d4d4d"/>
<circle id="middle" cx="16" cy="16" r="9" fill="#404040"/><text x="3" y="9">kept</text></svg>"""


def test_a_drawing_changes_its_colours_and_keeps_its_shapes_and_the_rest_of_its_file(tmp_path, prior) -> None:
    source = tmp_path / "drawing.svg"
    source.write_text(DRAWING)
    folder = edited(tmp_path, source, steps=12)
    run_job(folder.path)
    assert "Stays as it is, for it cannot be drawn" in (folder.path / "events.jsonl").read_text()
    made = files(folder)
    assert set(made) == {"drawing", "image", "before_after"}
    text = made["drawing"].read_text()
    assert "<!-- a page -->" in text and ">kept</text>" in text and 'cx="16" cy="16" r="9"' in text
    colours = parse_svg(text.encode())[0].colours
    assert len(colours) == 2
    shift = np.mean(colours[0]) - 0x4D / 255
    assert shift == pytest.approx(SHIFT, abs=0.05)
    assert find_origin(folder.path).kind == "vector" and find_origin(made["drawing"]).prompt == "light"
    moved = edited(tmp_path, source, name="moved", steps=3, method="sdedit", moving=["colours", "coordinates"])
    run_job(moved.path)
    assert 'cx="16" cy="16" r="9"' not in files(moved)["drawing"].read_text()


def test_detail_is_kept_where_nothing_changed_and_gone_where_much_did() -> None:
    generator = torch.Generator().manual_seed(0)
    original, before = torch.rand(3, 64, 64, generator=generator), torch.full((3, 64, 64), 0.5)
    after = before.clone()
    after[..., :20] = 0.9
    found = carried_over(original, before, after)
    assert torch.equal(found[..., 30:], original[..., 30:]) and torch.equal(found[..., :15], after[..., :15])


def test_what_cannot_be_edited_is_refused_in_words(tmp_path, prior, capsys) -> None:
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "drawing.svg").write_text("<svg/>")
    (tmp_path / "broken.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    cube_obj(tmp_path / "plain.obj")
    (tmp_path / "unfinished").mkdir()
    write_json(tmp_path / "unfinished/job.json", {"schema_version": 1, "task": "image", "prompt": "a"})
    speckled(tmp_path / "wide.png", 100, 30)
    small, whole = left_half(tmp_path / "small.png", 30, 30), tmp_path / "whole.png"
    Image.new("L", (100, 30), 255).save(whole)
    said = ["--source-prompt", "dark"]
    for arguments, words in (
        ([tmp_path / "notes.txt", *said], "neither a mesh, a picture nor a drawing"),
        ([tmp_path / "drawing.svg", *said], "nothing that can move"),
        ([tmp_path / "none.glb", *said], "There is no result"),
        ([tmp_path / "empty", *said], "job.json"),
        ([tmp_path / "unfinished", *said], "no finished result"),
        ([tmp_path / "broken.png", *said], "cannot be read as a picture"),
        ([tmp_path / "plain.obj", *said], "no base-colour picture"),
        ([tmp_path / "wide.png"], "words for what there is"),
        ([tmp_path / "wide.png", *said, "--kind", "panorama"], "twice as wide as high"),
        ([tmp_path / "wide.png", *said, "--schedule", "grown"], "with nothing"),
        ([tmp_path / "wide.png", *said, "--method", "dds", "--strength", "0.5"], "knows no strength"),
        ([tmp_path / "wide.png", *said, "--keep", small], "30 x 30 pixels, but the result will be 100 x 30"),
        ([tmp_path / "wide.png", *said, "--keep", whole], "keeps everything"),
        ([tmp_path / "wide.png", *said, "--keep", f"Cow={whole}"], "no objects"),
        ([tmp_path / "wide.png", *said, "--keep", whole, "--method", "sds"], "knows no mask"),
        ([tmp_path / "wide.png", *said, "--keep", tmp_path / "none.png"], "There is no picture"),
        ([tmp_path / "drawing.svg", *said, "--keep", small], "a drawing has none"),
        ([textured_cube(tmp_path), *said, "--keep", small], "30 x 30 pixels, but the texture will be 64 x 64"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["edit", *map(str, arguments), "--prompt", "light", "--out", str(tmp_path / "job"), "--overwrite"])
        assert ended.value.code == 2 and words in capsys.readouterr().err.replace("\n", " "), (arguments, words)


def test_a_picture_beside_a_mesh_must_not_lead_out_of_its_folder(tmp_path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    source = textured_cube(inside)
    (inside / "paint.png").rename(tmp_path / "paint.png")
    (inside / "paint.png").symlink_to(tmp_path / "paint.png")
    with pytest.warns(DdrepWarning, match="leads out"), pytest.raises(RequestError, match="no base-colour picture"):
        base_colors(load_mesh(source, root=inside), inside)


def test_what_did_not_change_asks_for_the_very_drawing(tmp_path) -> None:
    """An autoencoder that blurs: unchanged latents are decoded to the original, lines and all; changed ones keep the
    lines' light and dark and nothing of the old colour."""

    class Blurring:
        def encode(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.avg_pool2d(images, 4)

        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.interpolate(latents, scale_factor=4)

    drawing, markup = parse_svg(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" fill="#c02020"/>'
        '<rect x="15" width="2" height="32" fill="#000000"/></svg>'
    )
    rep = EncodedDiffrep(VectorDiffrep(drawing, markup, 32, 32), Blurring()).edited()
    there, latents = rep.pictures.render(), rep.render()
    torch.testing.assert_close(rep.decode(latents), there, atol=1e-5, rtol=0)
    blue = rep.decode(latents.mean((2, 3), keepdim=True).flip(1).expand_as(latents))
    assert float((blue[0, :, :, 16].mean(1) - blue[0, :, :, 4].mean(1)).max()) < -0.06  # the line is darker still
    assert float(blue[0, 2, :, 4].mean() - blue[0, 0, :, 4].mean()) > 0.4  # and its surroundings are blue
