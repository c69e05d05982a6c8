"""`ddrep motion`: pixels laid down where they go, a motion drawn from what is seen later, films of it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ddrep_core.cli import main
from ddrep_core.errors import RequestError
from ddrep_core.forward_models import draw_signals
from ddrep_core.forward_models.enlarged import enlarged
from ddrep_core.forward_models.kept_network import save_network
from ddrep_core.forward_models.motion_network import (
    MOTION,
    PICTURE,
    MotionNetwork,
    MotionNetworkShape,
    fit_of_motions,
    tried_motions,
)
from ddrep_core.forward_models.motion_prior import SIGMAS, MotionPrior, MovingPicture, load_motion_prior
from ddrep_core.forward_models.splat import splat, stretched
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.motion import FRAMES, furthest, scene_of
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.wish import wish_of
from ddrep_core.schedules.named import ddim_schedule
from ddrep_core.training.denoiser import started

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts" / "forward_models"))

from clips import make_clips


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow_splat(pictures: Tensor, motion: Tensor, importance: Tensor, behind: Tensor) -> Tensor:
    """`splat`, pixel by pixel, as its paper says it."""
    found = torch.zeros_like(pictures)
    batch, channels, height, width = pictures.shape
    for b in range(batch):
        colour = torch.zeros(channels, height, width, dtype=pictures.dtype)
        weight, share = (torch.zeros(height, width, dtype=pictures.dtype) for _ in range(2))
        for y in range(height):
            for x in range(width):
                to_x, to_y = x + float(motion[b, 0, y, x]), y + float(motion[b, 1, y, x])
                for v in range(height):
                    for u in range(width):
                        part = max(0.0, 1 - abs(to_x - u)) * max(0.0, 1 - abs(to_y - v))
                        if not part:
                            continue
                        strength = part * math.exp(float(importance[b, 0, y, x]))
                        colour[:, v, u] += strength * pictures[b, :, y, x]
                        weight[v, u] += strength
                        share[v, u] += part
        mean = torch.where(weight > 0, colour / weight.clamp_min(1e-300), 0.0)
        found[b] = behind[b] + share.clamp(0, 1) * (mean - behind[b])
    return found


def scene(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pictures of 5 x 6 whose pixels go anywhere, some of them out of the frame."""
    pictures, behind = torch.rand(2, 2, 3, 5, 6, dtype=dtype, generator=source())
    motion = 2.5 * torch.randn(2, 2, 5, 6, dtype=dtype, generator=source(1))
    return pictures, motion, 2 * torch.randn(2, 1, 5, 6, dtype=dtype, generator=source(2)), behind


def test_pixels_are_laid_down_as_the_slow_way_does() -> None:
    torch.testing.assert_close(splat(*scene()), slow_splat(*scene()), atol=1e-12, rtol=0)
    pictures, motion, importance, behind = scene()
    torch.testing.assert_close(splat(pictures, 0 * motion, importance, behind), pictures, atol=1e-12, rtol=0)
    whole = torch.tensor([1.0, -2.0], dtype=torch.float64).view(1, 2, 1, 1).expand_as(motion)
    found = splat(pictures, whole, importance, behind)
    torch.testing.assert_close(found[:, :, :3, 1:], pictures[:, :, 2:, :-1], atol=1e-12, rtol=0)
    torch.testing.assert_close(found[:, :, :, 0], behind[:, :, :, 0])
    torch.testing.assert_close(found[:, :, 3:], behind[:, :, 3:])


def test_how_a_moved_picture_changes_with_everything_is_known() -> None:
    inputs = [each[:1, ..., :4, :3].clone().requires_grad_() for each in scene()]
    assert torch.autograd.gradcheck(splat, inputs, eps=1e-6, atol=1e-6)


def test_the_more_important_of_two_pixels_that_meet_is_seen() -> None:
    pictures, motion = torch.tensor([[[[0.2, 0.9]]]]), torch.zeros(1, 2, 1, 2)
    motion[0, 0, 0, 0] = 1.0
    importance = torch.tensor([[[[9.0, -9.0]]]])
    found = splat(pictures, motion, importance, torch.full_like(pictures, 0.5))
    torch.testing.assert_close(found.flatten(), torch.tensor([0.5, 0.2]))
    found = splat(pictures, motion, -importance, torch.full_like(pictures, 0.5))
    torch.testing.assert_close(found.flatten(), torch.tensor([0.5, 0.9]))


@pytest.mark.parametrize("scale", [1.15, 1.4])
def test_a_surface_that_is_stretched_stays_whole_and_shows_nothing_behind_it(scale: float) -> None:
    """A red square before a still blue ground grows about its middle."""
    place = torch.arange(48.0) - 24
    inside = (place.abs() < 12).float()
    red = (inside[:, None] * inside)[None, None]
    pictures = torch.cat([red, 0 * red, 1 - red], 1)
    motion = (scale - 1) * torch.stack(torch.meshgrid(place, place, indexing="xy"))[None] * red
    behind = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1).expand_as(pictures)
    thin = splat(pictures, motion, 6 * red, behind)
    whole = splat(pictures, motion, 6 * red, behind, stretched(motion))
    reach = int(12 * scale) - 2
    middle = (..., slice(24 - reach, 24 + reach), slice(24 - reach, 24 + reach))
    assert float(thin[middle][:, 1].max()) > 0.2  # green cracks
    torch.testing.assert_close(whole[middle], pictures[:, :, 24:25, 24:25].expand_as(whole[middle]), atol=0.08, rtol=0)
    beyond = int(12 * scale) + 2  # and it is no larger than it should be
    torch.testing.assert_close(whole[..., 24, 24 + beyond :], pictures[..., 24, 24 + beyond :], atol=1e-6, rtol=0)


def test_what_comes_apart_is_not_stretched() -> None:
    motion = torch.zeros(1, 2, 8, 8)
    motion[:, 0, :, 4:] = 5.0
    torch.testing.assert_close(stretched(motion), torch.ones(1, 1, 8, 8))


@pytest.mark.parametrize("wild", [math.nan, math.inf, -math.inf, 1e30])
def test_a_motion_that_leads_nowhere_leaves_the_others_alone(wild: float) -> None:
    pictures, motion, importance, behind = scene(torch.float32)
    motion[0, 0, 2, 2] = wild
    found = splat(pictures, motion, importance, behind)
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found[1], splat(*scene(torch.float32))[1])


SMALL = MotionNetworkShape(size=16, views=3, fine=8, coarse=8, heads=2)
HALF = torch.tensor([0.2, 0.3, 0.8]).view(3, 1, 1) - 0.5  # sRGB − ½ of the ground


def test_a_network_hears_of_what_is_shown_and_keeps_the_picture() -> None:
    network = started(lambda: MotionNetwork(SMALL), source())
    seen = torch.rand(2, 3, 3, 16, 16, generator=source(1)) - 0.5
    levels = torch.tensor([[0.0, 0.7, math.inf], [0.0, math.inf, 0.7]])
    with torch.no_grad():
        found, other = network(seen, levels), seen.clone()
        assert found.shape == (2, 9, 16, 16)
        assert torch.equal(found[:, PICTURE], seen[:, 0])
        other[0, 2], other[1, 1] = 0.3, 0.3
        torch.testing.assert_close(network(other, levels), found)
        other[0, 1] = 0.3
        assert not torch.equal(network(other, levels)[0], found[0])


@pytest.mark.parametrize(("level", "view"), [(0.1, 2), (1.0, 2), (1.0, 1), (math.inf, 2)])
def test_the_motion_that_tells_what_is_seen_later_fits_best(level: float, view: int) -> None:
    clips = torch.rand(4, 3, 32, 32, generator=source()) - 0.5
    right, down = 4, -2
    seen = clips[:, None].repeat(1, 3, 1, 1, 1)
    seen[:, view] = clips.roll((down * view // 2, right * view // 2), (2, 3))
    levels = torch.full((4, 3), math.inf)
    levels[:, 0], levels[:, view] = 0, level
    seen[:, view] += (0 if math.isinf(level) else level) * torch.randn(4, 3, 32, 32, generator=source(1))
    count = len(tried_motions())
    fits = fit_of_motions(seen, levels).unflatten(1, (2, 2, count))  # views; here, and everywhere
    assert bool((fits[:, 2 - view] == 0).all())
    if math.isinf(level):
        assert bool((fits == 0).all())
    else:
        assert (fits[:, view - 1, 1, :, 0, 0].argmax(1) == tried_motions().index((right, down))).all()


def test_what_is_said_of_small_pixels_changes_evenly_within_a_large_one() -> None:
    grey = torch.full((3, 64, 64), 0.5)
    found = enlarged(torch.rand(1, 8, 8, generator=source()), grey[:, :8, :8], grey)
    assert float(found.diff(dim=2).abs().max()) < 0.2  # an eighth of a small pixel further: no leap


@pytest.mark.parametrize("wrong", [{"size": 18}, {"views": 1}, {"coarse": 9}, {"fine": 10**9}])
def test_networks_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(RequestError, match="not possible"):
        MotionNetwork(MotionNetworkShape(**wrong))


def test_a_model_is_written_and_read_and_what_is_none_is_refused(tmp_path: Path) -> None:
    network = started(lambda: MotionNetwork(SMALL), source())
    save_network(network, SMALL, tmp_path / "model", {"steps": 3})
    prior = load_motion_prior(str(tmp_path / "model"))
    assert prior.image_shape == (3, 16, 16) and prior.targets == (1, 2)
    seen = torch.rand(1, 3, 3, 16, 16, generator=source(1)) - 0.5
    with torch.no_grad():
        levels = torch.zeros(1, 3)
        torch.testing.assert_close(prior.denoise(seen, levels), network(seen, levels), atol=2e-2, rtol=2e-2)
    picture = torch.rand(1, 3, 16, 16, generator=source(2))
    torch.testing.assert_close(prior.decode(prior.encode(picture)), picture)
    for what in ("config.json", "model.safetensors"):
        (tmp_path / "model" / what).write_text("{}")
        with pytest.raises(RequestError, match="makes pictures move"):
            load_motion_prior(str(tmp_path / "model"))


def leap(seen: Tensor, levels: Tensor) -> Tensor:
    """The signal of what is red that leaps 4 pixels of 16 to the right, or to the left, before a blue ground: the mean
    of the two given what is seen of the end, in closed form."""
    picture = seen[:, 0]
    red = (picture[:, :1] > picture[:, 2:]).to(seen)
    forward = MovingPicture((0.0, 0.5, 1.0))
    ways = []
    for way in (4.0, -4.0):
        motion = torch.cat([way * red, 0 * red], 1)
        ways.append(torch.cat([picture, motion, 6 * red - 3, HALF.expand_as(picture)], 1))
    finite = torch.where(levels.isinf(), 1.0, levels.clamp_min(1e-3))[:, 1:]
    there = (~levels.isinf()).to(seen)[:, 1:]
    logs = []
    for way in ways:
        gap = (forward(way, torch.tensor([1, 2])) - seen[:, 1:]).square().flatten(2).sum(2)
        logs.append(-(there * gap / (2 * finite**2)).sum(1))
    share = torch.stack(logs).softmax(0)
    return share[0].view(-1, 1, 1, 1) * ways[0] + share[1].view(-1, 1, 1, 1) * ways[1]


def leaping_prior(request: object = None) -> MotionPrior:
    return MotionPrior(leap, MovingPicture((0.0, 0.5, 1.0)), 3, (3, 16, 16), targets=(1, 2), sigmas=SIGMAS)


def red_square(side: int = 64, wide: int | None = None) -> Image.Image:
    picture = Image.new("RGB", (wide or side, side), (51, 77, 204))
    middle = (wide or side) // 2
    ImageDraw.Draw(picture).rectangle((middle - side // 8, 24, middle + side // 8 - 1, 39), fill=(220, 40, 30))
    return picture


def test_a_drawn_motion_goes_one_way_or_the_other_where_a_guess_goes_neither() -> None:
    scene = scene_of(red_square(), 16)
    prior = leaping_prior()
    known = prior.given({0: prior.encode(scene.small)}, prior.targets)
    drawn = draw_signals(known, 16, order="joint").signals[:, MOTION]
    right = drawn[:, 0].flatten(1).abs().max(1).values * drawn[:, 0].sum((1, 2)).sign()
    assert 3 <= int((right > 0).sum()) <= 13
    torch.testing.assert_close(right.abs(), torch.full((16,), 4.0), atol=0.05, rtol=0)
    assert furthest(drawn[0]) == pytest.approx(4.0, abs=0.05)
    unseen = torch.zeros(1, 1, 3, 16, 16)
    guess = known.signals(unseen, math.inf, torch.tensor([1]))[0, MOTION]
    assert float(guess.abs().max()) < 1e-3


def test_what_was_said_of_a_small_picture_keeps_to_the_edges_of_the_large_one() -> None:
    large = torch.zeros(3, 48, 48)
    large[0, :, 22:] = 1.0  # no edge of the small picture's pixels
    small = torch.nn.functional.avg_pool2d(large[None], 6)[0]
    said = (small[:1] > 0.5).float()
    found = enlarged(said, small, large)
    torch.testing.assert_close(found[0], large[0], atol=0.02, rtol=0)


@pytest.mark.parametrize(("size", "amount"), [((64, 64), 1.0), ((96, 64), 0.5)])
def test_a_picture_becomes_films_that_go_there_and_back(tmp_path: Path, size: tuple[int, int], amount: float) -> None:
    path = tmp_path / "square.png"
    red_square(size[1], size[0]).save(path)
    told: dict[str, Any] = {"picture": path, "steps": 6, "samples": 2, "amount": amount}
    wish = wish_of("motion", told)
    job = create_job(tmp_path / "job", wish.request, copies=wish.copies)
    run_job(job.path, load_prior=leaping_prior)
    for sample in json.loads(job.result_file.read_text())["samples"]:
        files = {what: job.path / name for what, name in sample["files"].items()}
        assert imageio_ffmpeg.count_frames_and_secs(str(files["film"]))[0] == FRAMES
        with Image.open(files["gif"]) as gif:
            assert (gif.n_frames, gif.size) == (FRAMES, size)  # pyright: ignore[reportAttributeAccessIssue]
            first = np.asarray(gif.convert("RGB"), float)
            gif.seek(FRAMES // 2)
            last = np.asarray(gif.convert("RGB"), float)
        assert np.abs(first - np.asarray(red_square(size[1], size[0]), float)).max() < 12
        middles = [np.nonzero(each[..., 0] > 150)[1].mean() for each in (first, last)]
        assert abs(middles[1] - middles[0]) == pytest.approx(amount * 4 * max(size) / 16, abs=1.0)
        assert np.abs(last[:, :4] - first[:, :4]).max() < 12  # the ground stays
        assert sample["motion_share"] == pytest.approx(amount / 4, abs=0.01)


@pytest.mark.parametrize(
    ("name", "words"),
    [("none.png", "no picture"), ("text.png", "cannot be read"), ("grey.png", "of one colour"), ("dot.png", "8 to")],
)
def test_the_command_says_what_is_wrong_with_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.new("L", (40, 40), 128).save(tmp_path / "grey.png")
    Image.new("L", (4, 4), 128).save(tmp_path / "dot.png")
    with pytest.raises(SystemExit) as ended:
        main(["motion", str(tmp_path / name), "--out", str(tmp_path / "job")])
    assert ended.value.code == 2
    told = " ".join(capsys.readouterr().err.split())
    assert words in told
    assert name in told or "cannot be read" not in told  # as it is called, not as its copy is
    assert not (tmp_path / "job").exists()


def drawn_things(count: int) -> Tensor:
    """[count, 4, 32, 32] sRGB on black, and coverage: discs, boxes and wedges, which no model was taught on."""
    random, found = np.random.default_rng(1), []
    for number in range(count):
        picture = Image.new("RGBA", (128, 128))
        pencil, box = ImageDraw.Draw(picture), (24, 34, 104, 94)
        colours = [(*(int(x) for x in random.integers(0, 256, 3)), 255) for _ in range(2)]
        if number % 3 == 0:
            pencil.ellipse(box, fill=colours[0])
        elif number % 3 == 1:
            pencil.rectangle(box, fill=colours[0])
        else:
            pencil.polygon([(64, 34), (104, 94), (24, 94)], fill=colours[0])
        pencil.rectangle((54, 60, 74, 90), fill=colours[1])
        values = torch.from_numpy(np.asarray(picture.resize((32, 32), Image.Resampling.BOX), np.float32) / 255)
        found.append(torch.cat([values[..., :3] * values[..., 3:], values[..., 3:]], 2).permute(2, 0, 1))
    return torch.stack(found)


def test_the_model_that_ships_draws_motion_about_as_large_as_it_is_and_larger_than_its_guess() -> None:
    clips = make_clips(drawn_things(24), source(3))
    prior = load_motion_prior()
    known = prior.given({0: clips.pictures[:, 0] - 0.5}, prior.targets)
    plan = ddim_schedule(prior.sigmas, 15)
    drawn = draw_signals(known, 24, order="joint", schedule=plan, seed=1).signals[:, MOTION]
    seen = torch.zeros_like(clips.pictures)
    seen[:, 0] = clips.pictures[:, 0] - 0.5
    levels = torch.tensor([0.0, math.inf, math.inf]).expand(24, 3)
    guess = prior.denoise(seen, levels)[:, MOTION]

    def far(motion: Tensor) -> float:
        return float((motion.norm(dim=1, keepdim=True) * clips.object).sum() / clips.object.sum())

    truth, drawn_far, guessed_far = far(clips.motion), far(drawn), far(guess)
    print(f"samples go {drawn_far / truth:.2f} of how far the truth goes, the guess {guessed_far / truth:.2f}")
    assert 0.6 * truth < drawn_far < 1.4 * truth
    assert guessed_far < 0.45 * drawn_far
