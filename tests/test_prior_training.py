"""How the bundled prior is trained: schedules that go on, batches that a resumed run sees again, steps of Muon."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "prior"))

from captions import Facts, caption, view_phrase
from ddrep_core.training.loop import Leg, load_state, save_atomically, shuffled_batches
from ddrep_core.views import Camera, DirectionWords, direction_words, look_at, perspective_projection
from directions import for_ddrep
from landscapes import LANDS, SKIES, camera_rays, landscape, landscape_picture
from mixture import STREAMS, Mixture, view_weight
from muon import Muon, orthogonal
from pictures import placed
from rendering import render_samples
from shapes import build_geometry


def test_a_leg_is_kept_until_it_ends_and_only_then_followed_by_another() -> None:
    first = Leg.of(None, 100.0, 1e-3, 0.0)
    assert first == Leg(0.0, 100.0, 1e-3)
    state = {"leg": {"start": 0.0, "end": 100.0, "peak": 1e-3}, "seconds": 60.0}
    assert Leg.of(state, 100.0, 5e-4, 50.0) == first  # killed at 60 s: the same schedule goes on, whatever is asked
    ended = state | {"seconds": 100.5}
    assert Leg.of(ended, 100.0, 5e-4, 50.0) == Leg(100.5, 150.5, 5e-4)
    assert Leg.of(ended, 100.0, 5e-4, 0.0) == first  # nothing more asked for: over


def test_a_leg_warms_up_peaks_and_comes_to_rest() -> None:
    leg = Leg(200.0, 300.0, 2e-3)
    rates = [leg.learning_rate(200.0 + second) for second in range(101)]
    assert rates[0] < 0.1 * 2e-3
    assert max(rates) == pytest.approx(2e-3, rel=0.01)
    assert rates[-1] == pytest.approx(0.02 * 2e-3)
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[2:]))


def test_batches_do_not_depend_on_where_a_run_was_resumed() -> None:
    through = shuffled_batches(50, 8, seed=1, start=0)
    whole = [next(through) for _ in range(20)]
    resumed = shuffled_batches(50, 8, seed=1, start=13)
    for expected in whole[13:]:
        np.testing.assert_array_equal(next(resumed), expected)


def facts() -> list[Facts]:
    views = ("front view", "side view", "back view", "overhead view")
    return [
        *(Facts("emoji", (name,), group=name) for name in ("apple", "lion", "skull")),
        *(
            Facts("render", (kind,), view=view, group=kind, details={"azimuth": 90.0 * index})
            for kind in ("cow", "blob")
            for index, view in enumerate(views)
        ),
        Facts("surface", ("brick",), nouns=("bricks",), background="none", group="brick"),
        Facts("landscape", ("desert",), nouns=("at night",), background="none", group="desert"),
    ]


def test_a_step_always_draws_the_same_rows_and_only_learned_or_named_things_without_depth() -> None:
    everything = facts()
    mixture = Mixture(everything, {"apple", "lion"}, seed=3)
    again = Mixture(everything, {"apple", "lion"}, seed=3)
    free_groups, controlled_groups = set(), set()
    for step in range(40):
        controlled, free = mixture.draw(48, step)
        for rows, expected in zip((controlled, free), again.draw(48, step), strict=True):
            np.testing.assert_array_equal(rows, expected)
        assert abs(len(controlled) + len(free) - 48) <= len(STREAMS)
        free_groups |= {everything[row].group for row in free}
        controlled_groups |= {everything[row].group for row in controlled}
    assert free_groups == {"apple", "lion", "cow", "brick", "desert"}
    assert controlled_groups == {"apple", "lion", "cow", "blob"}


def test_a_picture_between_two_directions_is_drawn_seldom() -> None:
    def weight(azimuth: float) -> float:
        return view_weight(Facts("render", ("cow",), view="front view", group="cow", details={"azimuth": azimuth}))

    assert weight(355.0) == weight(5.0) == weight(19.0)
    assert weight(5.0) > weight(25.0) > weight(44.0) > 0


def test_what_is_known_of_a_render_is_what_was_rendered() -> None:
    geometry = build_geometry("cow", np.random.default_rng(0))
    samples = list(render_samples("cow", geometry, 6, 2, 16, np.random.default_rng(1)))
    assert len(samples) == 12
    for picture, depth, known in samples:
        assert picture.shape == (16, 16, 3) and depth.shape == (16, 16) and depth.max() > 0
        assert known.kind == "render" and known.group == "cow" and known.mirrored is False
        turned = abs((known.details["azimuth"] + 180.0) % 360.0 - 180.0)
        if known.view == "front view":
            assert turned <= 45.1
        elif known.view == "back view":
            assert turned >= 134.9
        assert "mirrored" not in caption(known, np.random.default_rng(0))


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_muon_makes_singular_values_alike(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.linalg.qr(torch.randn(shape[0], 12, generator=generator))[0]
    second = torch.linalg.qr(torch.randn(shape[1], 12, generator=generator))[0]
    matrix = first @ torch.diag(torch.linspace(0.15, 1.0, 12)) @ second.T
    values = torch.linalg.svdvals(orthogonal(matrix).float())[:12]
    assert float(values.min()) > 0.5 and float(values.max()) < 1.35


def test_muon_finds_a_linear_map_and_goes_on_from_its_state() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, wanted = torch.randn(256, 8, generator=generator), torch.randn(6, 8, generator=generator)
    weight = torch.nn.Parameter(torch.zeros(6, 8))

    def steps(optimizer: Muon, count: int) -> float:
        loss = torch.zeros(())
        for _ in range(count):
            optimizer.zero_grad()
            loss = (inputs @ (weight - wanted).T).square().mean()
            loss.backward()
            optimizer.step()
        return loss.item()

    optimizer = Muon([weight], lr=0.1)
    start = steps(optimizer, 1)
    before = steps(optimizer, 150)
    resumed = Muon([weight], lr=0.1)
    resumed.load_state_dict(optimizer.state_dict())
    resumed.param_groups[0]["lr"] = 0.01
    assert before < 0.1 * start
    assert steps(resumed, 120) < 0.2 * before


def test_a_kill_while_saving_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.pt"
    save_atomically({"step": 1}, path)

    def killed(state: dict, target: Path) -> None:
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        save_atomically({"step": 2}, path)
    assert load_state(path) == {"step": 1}


def test_a_mirrored_emoji_is_the_mirror_image_and_its_caption_says_so() -> None:
    rgba = np.zeros((64, 64, 4), np.float32)
    rgba[16:48, 8:28] = (1.0, 0.0, 0.0, 1.0)  # an object that is all on the left
    seen = set()
    for seed in range(60):
        place = placed(rgba, 32, np.random.default_rng(seed))
        columns = np.average(np.arange(32), weights=place.rgba[..., 3].sum(0))
        assert (columns > 15.5) == place.mirrored
        seen.add(place.mirrored)
    assert seen == {True, False}
    words = [caption(Facts("emoji", ("duck",), mirrored=True), np.random.default_rng(seed)) for seed in range(30)]
    assert sum("mirrored" in text for text in words) > 20
    plain = [caption(Facts("emoji", ("duck",)), np.random.default_rng(seed)) for seed in range(30)]
    assert not any("mirrored" in text for text in plain)


def test_captions_tell_the_side_that_is_shown() -> None:
    """Sides by the eighth of a turn, a plain side also coarsely."""

    def said(azimuth: float, elevation: float, view: str | None) -> set[str]:
        details = {"azimuth": azimuth, "elevation": elevation}
        known = Facts("render", ("cow",), view=view, group="cow", details=details)
        texts = [caption(known, np.random.default_rng(seed)) for seed in range(200)]
        return {part for text in texts for part in text.split(", ") if "view" in part}

    assert said(92.0, 10.0, "side view") == {"side view", "left side view"}
    assert said(268.0, 40.0, "side view") == {"side view", "right side view", "right side view from above"}
    assert said(50.0, 0.0, "side view") == {"front left view"}
    assert said(200.0, 70.0, "overhead view") == {"overhead view"}
    assert said(359.0, 0.0, None) == {"front view"}  # a mug has no front, but a handle on one side


def test_the_words_that_are_taught_are_those_that_the_prior_is_asked_with() -> None:
    told = for_ddrep()["directions"]
    words = DirectionWords(tuple(told["around"]), told["from_above"])
    for azimuth in range(0, 360, 7):
        for elevation in (0.0, 45.0):
            place = np.radians([azimuth, elevation])
            outwards = [np.sin(place[0]) * np.cos(place[1]), -np.cos(place[0]) * np.cos(place[1]), np.sin(place[1])]
            camera = Camera("", look_at(3 * np.array(outwards), (0, 0, 0)), perspective_projection(40), 8, 8)
            details = {"azimuth": float(azimuth), "elevation": elevation}
            known = Facts("render", ("mug",), group="mug", details=details)
            texts = [view_phrase(known, np.random.default_rng(seed)) for seed in range(30)]
            assert direction_words(camera, words=words) in texts


def test_a_landscape_is_one_world_however_the_camera_turns() -> None:
    """A direction has one colour, whichever window sees it; sky is above the horizon and has no nearness."""
    world = landscape(LANDS["sea"], SKIES["day"], np.random.default_rng(0))
    ahead = camera_rays(16, 90.0, 0.0, 1.0)
    colours, near = world(ahead)
    np.testing.assert_array_equal(world(ahead[::-3])[0], colours[::-3])  # of the direction alone, not of its window
    assert (near[ahead[:, 2] > 0.01] == 0).all() and (near[ahead[:, 2] < -0.01] > 0).all()
    assert colours[ahead[:, 2] > 0.3].mean() > colours[ahead[:, 2] < -0.3].mean()


def test_landscape_captions_tell_where_the_camera_looks() -> None:
    for seed in range(40):
        picture, near, fact = landscape_picture("green hills", 8, np.random.default_rng(seed))
        assert picture.shape == (8, 8, 3) and near.shape == (8, 8)
        assert picture.min() >= 0 and picture.max() <= 1
        if fact.view == "looking up":
            assert near[0].max() == 0
        if fact.view == "looking down":
            assert near[-1].min() > 0


def test_the_smoke_build_does_not_replace_the_prior_that_ships() -> None:
    build = Path(__file__).parent.parent / "scripts" / "prior" / "build"
    ended = subprocess.run([sys.executable, str(build), "smoke"], capture_output=True, text=True)
    assert ended.returncode == 2 and "--folder" in ended.stderr
