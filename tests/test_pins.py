"""Pictures that single views shall show: framed as the view is, refused in words, carried over to the other views."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ddrep_core as dd
from ddrep_core.diffreps.texture import TextureDiffrep
from ddrep_core.errors import RequestError
from ddrep_core.geometry.bake import Baker
from ddrep_core.jobs.blocks import Pin
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.pins import Pinned, in_frame, read_pins
from ddrep_core.jobs.views import square_frame
from ddrep_core.priors import GaussianPrior
from ddrep_core.sampling import Grown, ddim_schedule, noise_levels, sample
from ddrep_core.views import Camera, Views

SIZE = 16
QUAD = "v -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"


def camera(name: str = "Front", width: int = 64, height: int = 48) -> Camera:
    """At (0, -4, 0), looking along +Y, 2 units of the plane y = 0 across its height."""
    world = np.eye(4)
    world[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    world[:3, 3] = [0, -4, 0]
    projection = np.zeros((4, 4))
    projection[0, 0], projection[1, 1] = 4.0 * height / width, 4.0
    projection[2, 2:], projection[3, 2] = [-1.02, -0.2], -1.0
    return Camera(name, world, projection, width, height)


def framed(shift: float = 0.3) -> Camera:
    """The same camera around a square of 0.8 units, off the middle."""
    corners = np.array([[x + shift, 0.0, z] for x in (-0.4, 0.4) for z in (-0.4, 0.4)])
    return square_frame(camera(), corners, SIZE)


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    (tmp_path / "inputs").mkdir()
    return JobFolder(tmp_path)


def save(folder: JobFolder, pixels: np.ndarray, name: str = "shot.png") -> None:
    Image.fromarray(pixels).save(folder.inputs / name)


def test_a_picture_is_brought_into_the_views_frame() -> None:
    """Its colours are places of the plane that the camera looks at, so the view must show the places that it sees."""
    own, view = camera(width=640, height=480), framed()
    columns, rows = np.meshgrid(np.arange(640) + 0.5, np.arange(480) + 0.5)
    x, z = (columns / 640 * 2 - 1) * 640 / 480, 1 - rows / 480 * 2
    pixels = np.dstack([(x + 2) / 4, (z + 2) / 4, np.full_like(x, 0.5), np.ones_like(x)])
    colour, opacity = in_frame((pixels * 255 + 0.5).astype(np.uint8), own, view, (SIZE, SIZE))
    assert torch.allclose(opacity, torch.ones_like(opacity), atol=1e-5)
    middles = np.stack(np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5), -1).reshape(-1, 2)
    origin, direction = view.rays(middles)
    places = origin - direction * (origin[..., 1:2] / direction[..., 1:2])
    expected = np.stack([(places[:, 0] + 2) / 4, (places[:, 2] + 2) / 4]).reshape(2, SIZE, SIZE)
    assert np.abs(colour[:2].numpy() - expected).max() < 0.01


def test_outside_the_cameras_picture_nothing_is_pinned() -> None:
    white = np.full((48, 64, 4), 255, np.uint8)
    projection = camera().projection * np.array([[0.5], [0.5], [1], [1]])
    wide = replace(camera(), projection=projection, width=SIZE, height=SIZE)
    colour, opacity = in_frame(white, camera(), wide, (SIZE, SIZE))
    assert torch.equal(opacity[0, 4:12, 4:12], torch.ones(8, 8)) and float(opacity[0, :4].max()) == 0
    assert torch.equal(colour[:, 4:12, 4:12], torch.ones(3, 8, 8))


def pins(folder: JobFolder, *entries: Pin) -> Pinned | None:
    cameras = Views((camera(), camera("Back")))
    return read_pins(entries, cameras, Views((replace(framed(), name="Front"),)), folder, (SIZE, SIZE))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"camera": "Front", "file": "inputs/square.png"}], r"48 x 48, and the camera's own pictures are 64 x 48"),
        ([{"camera": "Side", "file": "inputs/shot.png"}], r"'Side', which is none.*Front, Back"),
        ([{"camera": "Back", "file": "inputs/shot.png"}], "'Back' sees nothing that it could paint"),
        ([{"camera": "Front", "file": "inputs/shot.png"}] * 2, "two pictures for the camera 'Front'"),
        ([{"camera": "Front", "file": "inputs/text.png"}], "cannot be read"),
        ([{"camera": "Front", "file": "inputs/gone.png"}], "no such file"),
        ([{"camera": "Front", "file": "inputs/clear.png"}], "transparent wherever the mesh is"),
        ([{"camera": "Front", "file": "inputs/shot.png"}], "All of every view is pinned"),
    ],
)
def test_what_cannot_be_pinned_is_told(folder: JobFolder, entries: list[dict], message: str) -> None:
    save(folder, np.full((48, 64, 3), 9, np.uint8))
    save(folder, np.full((48, 48, 3), 9, np.uint8), "square.png")
    save(folder, np.zeros((48, 64, 4), np.uint8), "clear.png")
    (folder.inputs / "text.png").write_text("no picture")
    with pytest.raises(RequestError) as told:
        pins(folder, *(Pin.model_validate(entry) for entry in entries))
    assert re.search(message, f"{told.value.message} {told.value.fix}")


def test_alpha_and_weight_say_how_far(folder: JobFolder) -> None:
    pixels = np.full((48, 64, 4), 255, np.uint8)
    pixels[..., :3] = 40
    pixels[:24, :, 3] = 0
    save(folder, pixels)
    found = pins(folder, Pin(camera="Front", file="inputs/shot.png", weight=0.5))
    assert found is not None and found.numbers == [0]
    assert float(found.weights[0, 0, 0].max()) == 0 and torch.allclose(found.weights[0, 0, -1], torch.tensor(0.5))
    assert torch.allclose(found.pictures[0, :, -1], torch.tensor(40 / 255)) and (found.pictures[0, :, 0] == 1).all()
    shown = found.shown(torch.zeros(1, 3, SIZE, SIZE))
    assert torch.allclose(shown[0, :, -1], torch.tensor(20 / 255)) and (shown[0, :, 0] == 0).all()


def test_a_pinned_view_is_shown_and_the_others_hear_of_it(tmp_path: Path) -> None:
    """A square seen by two cameras side by side; one of them shall show it red."""
    (tmp_path / "quad.obj").write_text(QUAD)
    mesh = dd.load_mesh(tmp_path / "quad.obj")
    left, right = (replace(camera(name, 16, 16), matrix_world=moved(x)) for name, x in (("Left", -0.5), ("Right", 0.5)))
    views = Views((left, right))
    prior = GaussianPrior(torch.full((3, SIZE, SIZE), 0.5, dtype=torch.float64), 0.01)
    rep = TextureDiffrep(mesh, views, 64, 3, view_size=(SIZE, SIZE), dtype=torch.float64)
    red = torch.tensor([0.62, 0.42, 0.4])[:, None, None].expand(3, SIZE, SIZE)
    weights = torch.zeros(2, 1, SIZE, SIZE)
    weights[0] = 1.0
    pinned = Pinned(torch.stack([red, torch.ones_like(red)]), weights, (True, False))
    given = pinned.given(mesh, views, rep, prior)
    assert given.whole == (0,)
    shared = given.weights[1, 0].amax(0) > 0  # columns of the right view that the left one sees
    assert 4 <= int(shared.sum()) <= 13
    alone = pinned.given(mesh, views, rep, prior, carry=False)
    assert alone.whole == (0,) and not bool(alone.weights[1].any())
    for known, schedule in ((given, ddim_schedule(prior.sigmas, 8)), (alone, Grown(noise_levels(prior.sigmas, 8)))):
        result = sample(rep, prior, views, given=known, schedule=schedule)
        render = result.diffrep.render().float()
        assert float((render[0] - red).abs().mean()) < 0.02
        assert float((render[1][:, :, shared] - red[:, :, shared]).abs().mean()) < 0.03
    pictures = pinned.shown(render.clamp(0, 1))
    baker = Baker(mesh, pinned.heavier(views), 64, (SIZE, SIZE))
    difference = pinned.differences(baker, baker.bake(pictures), views)
    assert set(difference) == {"Left"} and difference["Left"] < 0.02


def moved(x: float) -> np.ndarray:
    world = camera().matrix_world.copy()
    world[0, 3] = x
    return world
