"""`ddrep from-image`: fields that all views agree on, a picture's own side kept, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image, ImageDraw
from torch import Tensor

from ddrep_core.cli import main
from ddrep_core.diffreps.ray_samples import march
from ddrep_core.diffreps.voxel_nerf import voxel_centres
from ddrep_core.errors import Cancelled, RequestError
from ddrep_core.forward_models.field import FieldRenderer, laid_into_space, on_white, rays_of, seen_as
from ddrep_core.forward_models.kept_network import save_network
from ddrep_core.forward_models.object_network import ObjectNetwork, ObjectNetworkShape
from ddrep_core.forward_models.object_prior import SIGMAS, TARGETS, ObjectPrior, load_object_prior, object_prior
from ddrep_core.forward_models.rig import SHOWN, VIEW_COUNT, mirrored, rig_views, turned
from ddrep_core.jobs import from_image, generate, grab_cut
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.cut_out import FILL, cut_out
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.request import parse_request
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.wish import wish_of
from ddrep_core.training.denoiser import started

SMALL = ObjectNetworkShape(size=16, grid=16, width=16, blocks=1, heads=2, fine=8)


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_renderer() -> FieldRenderer:
    return FieldRenderer(rig_views(16), 16, 16)


def ball_of(colour: tuple[float, float, float], radius: float = 0.6) -> Tensor:
    """[4, 16, 16, 16] a solid ball of sRGB."""
    inside = (voxel_centres(16, 1.0).norm(dim=-1) < radius).float()
    return torch.stack([40 * inside, *(torch.full_like(inside, value - 0.5) for value in colour)])


def random_fields(count: int, generator: torch.Generator) -> Tensor:
    fields = torch.rand(count, 4, 16, 16, 16, generator=generator)
    fields[:, :1] *= 4
    return fields


def test_a_turned_or_mirrored_object_is_seen_from_other_views() -> None:
    """What training takes for granted when it makes several objects of one."""
    fields, render, every = random_fields(1, source()), small_renderer(), torch.arange(VIEW_COUNT)
    pictures = render(fields, every)
    for quarters in range(SHOWN):  # counter-clockwise as seen from above: x goes to y; axes are z, y, x
        seen = render(torch.rot90(fields, -quarters, (4, 3)), every)
        torch.testing.assert_close(seen, pictures[:, turned(VIEW_COUNT, quarters)], atol=1e-4, rtol=1e-4)
    seen = render(fields.flip(4), every)
    torch.testing.assert_close(seen, pictures[:, mirrored(VIEW_COUNT)].flip(-1), atol=1e-4, rtol=1e-4)


def test_fields_side_by_side_are_drawn_as_one_by_one_with_the_same_gradient() -> None:
    fields = random_fields(2, source()).requires_grad_()
    render, views = small_renderer(), torch.tensor([1, 6])
    pictures, spread = render.with_spread(fields, views)
    weights = torch.rand(pictures.shape, generator=source(1))
    (mine,) = torch.autograd.grad((weights * pictures).sum() + spread.sum(), fields)
    total = torch.zeros(())
    for number, field in enumerate(fields):
        for place, view in enumerate(views.tolist()):
            rays = rays_of(render.views[view], 16, 16)
            drawn = march(field, rays, torch.zeros(256, 3), 1.0).T.reshape(-1, 16, 16)
            torch.testing.assert_close(pictures[number, place], drawn[:4], atol=1e-5, rtol=1e-4)
            total = total + (weights[number, place] * drawn[:4]).sum() + drawn[4].sum()
    torch.testing.assert_close(mine, torch.autograd.grad(total, fields)[0], atol=1e-4, rtol=1e-3)
    part, _ = render.with_spread(fields, views, 2, (1, 0))
    torch.testing.assert_close(part, pictures[:, :, :, 1::2, ::2], atol=1e-5, rtol=1e-4)


def test_a_picture_laid_into_space_is_seen_again_by_its_own_camera() -> None:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 16), torch.linspace(0, 1, 16), indexing="ij")
    picture = torch.stack([rows, columns, rows * columns]) - 0.5
    for view in (0, 1, 6):
        laid = laid_into_space(rig_views(16)[view], 16, 16) @ picture.flatten(1).T
        field = torch.cat([torch.full((1, 4096), 60.0), laid.T]).view(1, 4, 16, 16, 16)
        seen = small_renderer()(field, torch.tensor([view]))[0, 0]
        solid = seen[3] > 0.99
        assert int(solid.sum()) > 100
        assert float((seen[:3] - picture)[:, solid].abs().max()) < 0.08


def test_a_network_hears_of_what_is_shown_and_of_nothing_else() -> None:
    network = started(lambda: ObjectNetwork(SMALL), source())
    seen = torch.rand(3, VIEW_COUNT, 4, 16, 16, generator=source(1))
    levels = torch.full((3, VIEW_COUNT), math.inf)
    levels[:, 0], levels[:, 2] = 0.0, 0.7
    levels[2, 0] = math.inf
    with torch.no_grad():
        found = network(seen, levels)
        other = seen.clone()
        other[:, [1, 3, 4, 5, 6, 7]] = 0.3
        other[2, 0] = 0.9
        assert found.shape == (3, 4, 16, 16, 16) and bool((found[:, 0] >= 0).all())
        torch.testing.assert_close(network(other, levels), found)
        other[:, 2] = 0.3
        assert not torch.equal(network(other, levels), found)
    empty = torch.zeros(1, VIEW_COUNT, 4, 16, 16)
    with torch.no_grad():
        assert float(network(empty, levels[:1])[:, 0].max()) == 0  # what a clean view sees past is not there


@pytest.mark.parametrize("wrong", [{"grid": 17}, {"width": 15}, {"size": 10**9}, {"fine": 0}])
def test_networks_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(RequestError, match="not possible"):
        ObjectNetwork(ObjectNetworkShape(**wrong))


def test_a_model_is_written_and_read_and_what_is_none_is_refused(tmp_path: Path) -> None:
    network = started(lambda: ObjectNetwork(SMALL), source())
    save_network(network, SMALL, tmp_path / "model", {"steps": 3})
    prior = load_object_prior(str(tmp_path / "model"))
    seen, levels = torch.rand(1, 8, 4, 16, 16, generator=source(1)), torch.zeros(1, 8)
    with torch.no_grad():
        torch.testing.assert_close(prior.denoise(seen, levels), network(seen, levels), atol=2e-2, rtol=2e-2)
    assert prior.image_shape == (4, 16, 16) and prior.targets == TARGETS
    picture = torch.rand(1, 3, 16, 16, generator=source(2)) * 0.9
    torch.testing.assert_close(prior.decode(prior.encode(picture)), picture)
    config = tmp_path / "model/config.json"
    for text in ("{", "[]", '{"network": {"size": "16"}}', '{"network": {"heads": 4, "width": 32}}'):
        config.write_text(text)
        with pytest.raises(RequestError):
            load_object_prior(str(tmp_path / "model"))
    with pytest.raises(RequestError, match="no folder"):
        load_object_prior("runwayml/stable-diffusion-v1-5")


def drawn(size: tuple[int, int], *boxes: tuple[int, int, int, int], ground: Any = "white", mode: str = "RGB") -> Any:
    picture = Image.new(mode, size, ground)
    for box in boxes:
        ImageDraw.Draw(picture).ellipse(box, fill=(200, 60, 40, 255)[: len(picture.getbands())])
    return picture


@pytest.mark.parametrize(
    "picture",
    [
        drawn((200, 120), (60, 20, 140, 100)),
        drawn((200, 120), (60, 20, 140, 100), ground=(40, 90, 200)),
        drawn((200, 120), (60, 20, 140, 100), ground=(0, 0, 0, 0), mode="RGBA"),
        drawn((200, 120), (60, 20, 140, 100)).convert("P"),
        drawn((4000, 2400), (1200, 400, 2800, 2000)),
    ],
)
def test_one_object_is_put_in_the_middle(picture: Image.Image) -> None:
    found = cut_out(picture)
    colours, coverage = found.resized(32)
    assert not found.touches and colours.shape == (3, 32, 32)
    rows, columns = (coverage[0] > 0.5).nonzero().T
    assert 0.7 * 32 < int(rows.max() - rows.min()) < 0.85 * 32
    assert abs(int(rows.max() + rows.min()) - 31) <= 1 and abs(int(columns.max() + columns.min()) - 31) <= 1
    assert float(coverage.mean()) == pytest.approx(math.pi / 4 * FILL**2, rel=0.08)
    assert [round(255 * float(value)) for value in colours[:, 16, 16]] == pytest.approx([200, 60, 40], abs=3)
    torch.testing.assert_close(on_white(seen_as(colours, coverage)), colours + 1 - coverage, atol=1e-5, rtol=0)


def test_a_hole_in_an_object_is_ground_only_where_it_is_joined_to_it() -> None:
    """A white window in a red wall stays; what is transparent is open."""
    wall = drawn((100, 100))
    ImageDraw.Draw(wall).rectangle((20, 20, 80, 80), fill=(200, 30, 30))
    ImageDraw.Draw(wall).rectangle((40, 40, 60, 60), fill="white")
    assert float(cut_out(wall).coverage[0, 38, 38]) == 1
    clear = Image.new("RGBA", (100, 100))
    clear.paste((200, 30, 30, 255), (20, 20, 81, 81))
    clear.paste((0, 0, 0, 0), (40, 40, 60, 60))
    assert float(cut_out(clear).coverage[0, 38, 38]) == 0


REFUSED = {
    "transparent everywhere": drawn((60, 60), ground=(0, 0, 0, 0), mode="RGBA"),
    "nothing that stands out": drawn((60, 60), ground="grey"),
    "more than one object": drawn((200, 100), (10, 20, 70, 80), (120, 20, 190, 90)),
    "ground of one colour": Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_shows_no_single_object_is_refused_in_words(words: str) -> None:
    with pytest.raises(RequestError, match=words) as told:
        cut_out(REFUSED[words])
    assert told.value.fix


def on_a_busy_ground() -> tuple[Image.Image, np.ndarray]:
    """A red disc before grass, and where it is."""
    random = np.random.default_rng(3)
    grass = np.clip([70, 120, 50] + 70 * random.standard_normal((96, 96, 1)) + [[[0, 20, 0]]], 0, 255)
    rows, columns = np.mgrid[:96, :96]
    disc = (rows - 48) ** 2 + (columns - 46) ** 2 < 26**2
    return Image.fromarray(np.where(disc[..., None], [210, 40, 40], grass).astype(np.uint8)), disc


def test_a_ground_of_many_colours_is_cut_away_where_opencv_is(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, disc = on_a_busy_ground()
    monkeypatch.setattr(grab_cut, "is_there", lambda: False)
    with pytest.raises(RequestError, match="no ground of one colour") as told:
        cut_out(picture)
    assert "opencv" in (told.value.fix or "")
    monkeypatch.setattr(grab_cut, "is_there", lambda: True)
    monkeypatch.setattr(grab_cut, "grab_cut", lambda colours: disc.astype(np.float32))
    found = cut_out(picture)
    assert found.guessed and float(found.coverage.mean()) == pytest.approx(math.pi / 4 * FILL**2, rel=0.08)
    monkeypatch.setattr(grab_cut, "grab_cut", lambda colours: None)
    with pytest.raises(RequestError, match="cannot be told for sure"):
        cut_out(picture)


def test_grab_cut_finds_a_disc_before_grass_and_nothing_in_grass_alone() -> None:
    pytest.importorskip("cv2")
    picture, disc = on_a_busy_ground()
    found = grab_cut.grab_cut(np.asarray(picture, np.float32) / 255)
    assert found is not None
    both, any_ = ((found > 0.5) & disc).sum(), ((found > 0.5) | disc).sum()
    assert both > 0.95 * any_
    grass = np.asarray(picture, np.float32).copy()
    grass[disc] = grass[~disc][: disc.sum()]
    assert grab_cut.grab_cut(grass / 255) is None


def test_an_object_that_is_cut_off_is_told_of() -> None:
    assert cut_out(drawn((100, 100), (-20, 20, 60, 90))).touches


def ball_prior(request: object = None) -> ObjectPrior:
    """Knows that everything is a green ball."""
    ball = ball_of((0.2, 0.7, 0.3))
    return ObjectPrior(
        lambda seen, levels: ball.expand(len(seen), -1, -1, -1, -1), small_renderer(), VIEW_COUNT, (4, 16, 16),
        targets=TARGETS, sigmas=SIGMAS,
    )  # fmt: skip


def job_of(folder: Path, picture: Path, **told: Any) -> JobFolder:
    wish = wish_of("from_image", {"picture": picture, "steps": 3, "faces": 400, "resolution": 64, **told})
    return create_job(folder, wish.request, copies=wish.copies)


@pytest.mark.usefixtures("short_film")
def test_a_picture_becomes_objects_that_wear_it_in_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        (generate, "SOLID", (0.1, 0.3)),
        (generate, "SURFACE_GRID", 32),
        (from_image, "FINE", 48),
    ):
        monkeypatch.setattr(module, name, value)  # seconds that show nothing more
    picture = tmp_path / "ball.png"
    drawn((90, 90), (20, 20, 70, 70)).save(picture)  # red, while the model thinks of green
    job = job_of(tmp_path / "job", picture, samples=2)

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["sample"] == 1 and event["index"] == 2:
            job.cancel_file.touch()

    with pytest.raises(Cancelled):
        run_job(job.path, load_prior=ball_prior, listeners=(stop,))
    run_job(job.path, load_prior=ball_prior, resume=True)
    samples = json.loads(job.result_file.read_text())["samples"]
    for sample in samples:
        mesh = trimesh.load(job.path / sample["files"]["mesh"], force="mesh")
        assert mesh.is_watertight or len(mesh.faces) > 100
        assert np.allclose(mesh.extents, 1.0, atol=0.15)
        colours = np.asarray(mesh.visual.to_color().vertex_colors, float)[:, :3]
        ahead = mesh.vertices[:, 2] > 0.3  # glTF: the front is at +Z
        behind = mesh.vertices[:, 2] < -0.3
        assert np.median(colours[ahead, 0]) > 150 > 100 > np.median(colours[ahead, 1])
        assert np.median(colours[behind, 1]) > 120 > 100 > np.median(colours[behind, 0])
    assert Image.open(job.path / samples[1]["files"]["objects"]).height == 2 * 48


def test_what_only_a_diffusion_model_hears_is_refused(tmp_path: Path) -> None:
    request = {"schema_version": 1, "task": "from_image", "from_image": {"picture": "inputs/picture.png"}}
    assert parse_request(request).settings
    for key, value in {"prompt": "a duck", "diversity": 1.0, "loras": [{"file": "a.safetensors"}]}.items():
        with pytest.raises(RequestError, match=f"'{key}' must go"):
            parse_request({**request, key: value})


@pytest.mark.parametrize(
    ("name", "words"), [("none.png", "no picture"), ("text.png", "cannot be read"), ("grey.png", "nothing that stands")]
)
def test_the_command_says_what_is_wrong_with_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.new("L", (40, 40), 128).save(tmp_path / "grey.png")
    with pytest.raises(SystemExit) as ended:
        main(["from-image", str(tmp_path / name), "--out", str(tmp_path / "job")])
    assert ended.value.code == 2
    told = " ".join(capsys.readouterr().err.split())
    assert words in told
    assert name in told or "cannot be read" not in told  # as it is called, not as its copy is
    assert not (tmp_path / "job").exists()


def test_a_refusal_leaves_a_folder_that_was_there_before(tmp_path: Path) -> None:
    Image.new("L", (40, 40), 128).save(tmp_path / "grey.png")
    (tmp_path / "job").mkdir()
    for _ in range(2):  # the second finds the first's request
        with pytest.raises(SystemExit):
            main(["from-image", str(tmp_path / "grey.png"), "--out", str(tmp_path / "job")])
        assert (tmp_path / "job" / "job.json").is_file()
    assert object_prior(started(lambda: ObjectNetwork(SMALL), source())).channels == 4
