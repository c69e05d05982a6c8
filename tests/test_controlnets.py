"""Several ControlNets: the same latents as diffusers' MultiControlNet, and the signals that a mesh shows them."""

from __future__ import annotations

import math
from pathlib import Path

import diffusers
import numpy as np
import pytest
import tiny_models
import torch
import trimesh
from test_priors_diffusers import NEGATIVE, PROMPT, assert_parity, ddrep_latents, randn, vp_levels

import ddrep_core as dd
from ddrep_core.errors import DdrepWarning, RequestError
from ddrep_core.geometry.signals import SIGNALS, control_signals
from ddrep_core.priors import load_prior
from ddrep_core.priors.adapters.controlnet import Control, parse_control
from ddrep_core.priors.protocol import SIGNAL_CHANNELS, TILE

STEPS = 2  # what is told wrongly shows in the first


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.build_sd(folder / "sd")
    tiny_models.build_sdxl(folder / "sdxl")
    for number, name in enumerate(("depth", "control_v11p_sd15_normalbae", "canny")):
        tiny_models.build_controlnet(folder / name, tiny_models.unet(), number)
    tiny_models.build_controlnet(folder / "depth_xl", tiny_models.sdxl_unet(), 3)
    tiny_models.build_controlnet(folder / "canny_xl", tiny_models.sdxl_unet(), 4)
    return folder


def signals(count: int, *kinds: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    return {kind: torch.rand(count, SIGNAL_CHANNELS[kind], 32, 32, generator=generator) for kind in kinds}


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("sd", {"depth": 0.7, "control_v11p_sd15_normalbae": 0.4, "canny": 1.1}),
        ("sdxl", {"depth_xl": 0.5, "canny_xl": 0.9}),
    ],
)
def test_parity_with_multi_controlnet(models: Path, model: str, told: dict[str, float]) -> None:
    nets = [diffusers.ControlNetModel.from_pretrained(models / name) for name in told]
    kinds = [next(kind for kind in SIGNAL_CHANNELS if kind in name) for name in told]
    kind = (
        diffusers.StableDiffusionControlNetPipeline if model == "sd" else diffusers.StableDiffusionXLControlNetPipeline
    )
    pipeline = kind.from_pretrained(models / model, controlnet=nets)
    noise, shown = randn(2, 4, 16, 16, seed=4), signals(2, *kinds)
    theirs = pipeline(
        [PROMPT] * 2,
        image=[shown[kind].expand(-1, 3, -1, -1) for kind in kinds],
        negative_prompt=[NEGATIVE] * 2,
        guidance_scale=6.0,
        controlnet_conditioning_scale=list(told.values()),
        num_inference_steps=STEPS,
        latents=noise.clone(),
        output_type="latent",
    ).images
    levels = vp_levels(pipeline.scheduler, STEPS)
    controlnets = [Control(str(models / name), None, scale) for name, scale in told.items()]
    prior = load_prior(models / model, device="cpu", controlnets=controlnets)
    assert prior.controls == set(kinds)
    words = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 6.0}
    start = noise * math.sqrt(1 + levels[0] ** -2)
    assert_parity(ddrep_latents(prior, start, levels, controls=shown, **words), theirs)
    for kind in kinds:  # each makes a difference
        rest = {name: signal for name, signal in shown.items() if name != kind}
        whole, part = (
            prior.predict_noise(noise, 5.0, prior.condition(PROMPT, controls=told)) for told in (shown, rest)
        )
        assert (whole - part).abs().max() > 0.02


def test_how_a_controlnet_is_named(models: Path) -> None:
    folder = str(models / "depth")
    assert parse_control(folder) == Control(folder)
    assert parse_control(f"{folder}:canny:0.5") == Control(folder, "canny", 0.5)
    assert parse_control(f"{folder}:0.5") == Control(folder, None, 0.5)
    assert parse_control("owner/name:normal") == Control("owner/name", "normal")
    assert parse_control("C:\\models\\depth") == Control("C:\\models\\depth")
    for text, message in (
        ("depth:dpeth", "cannot show a ControlNet 'dpeth'"),
        ("depth:blur:0.5", "cannot show a ControlNet 'blur'"),
        ("depth:canny:11", "counts 0 to 10 times"),
        ("depth:nan", "counts 0 to 10 times"),
    ):
        with pytest.raises(RequestError, match=message):
            parse_control(text)


def test_what_a_person_says_counts_more_than_a_name(models: Path, tmp_path: Path) -> None:
    canny = str(models / "canny")
    assert load_prior(models / "sd", device="cpu", controlnet=canny).controls == {"canny"}
    told = load_prior(models / "sd", device="cpu", controlnets=[Control(canny, "lineart")])
    assert told.controls == {"lineart"}
    assert told.origin is not None and models / "canny" in told.origin.files
    tiny_models.build_controlnet(tmp_path / "openpose", tiny_models.unet())
    with pytest.warns(DdrepWarning, match="seems to hear openpose"):
        assert load_prior(models / "sd", device="cpu", controlnet=tmp_path / "openpose").controls == {"depth"}
    with pytest.raises(RequestError, match="made for another model"):
        load_prior(models / "sdxl", device="cpu", controlnet=canny)


def test_signals_are_checked(models: Path) -> None:
    prior = load_prior(models / "sd", device="cpu")
    with pytest.raises(RequestError, match=r"Normal must be \[V, 3, H, W\]"):
        prior.condition("", controls={"normal": torch.zeros(2, 1, 8, 8)})
    with pytest.raises(RequestError, match=r"Canny must lie in \[0, 1\]"):
        prior.condition("", controls={"canny": torch.full((2, 1, 8, 8), 2.0)})


def mesh_of(shape: trimesh.Trimesh, path: Path) -> dd.Mesh:
    shape.export(path)
    return dd.load_mesh(path, "z")


def test_normals_of_a_ball(tmp_path: Path) -> None:
    """Seen from any side, a ball's normal at a pixel says where in its disc the pixel lies: red left, green up."""
    ball = mesh_of(trimesh.creation.icosphere(subdivisions=4), tmp_path / "ball.obj")
    size = 64
    views = dd.orbit_views(3, elevations=(10.0,), distance=50.0, fov_degrees=3.0, target=ball, width=size, height=size)
    maps = SIGNALS["normal"](ball, views, size, size)
    assert maps.shape == (3, 3, size, size) and maps.dtype == torch.float32
    across = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(across, across, indexing="ij")
    half = math.tan(math.radians(1.5)) * 50  # of the picture, in the world's units
    right, up = x * half, -y * half
    radius = (right.square() + up.square()).sqrt()
    inside, outside = radius < 0.9, radius > 1.1
    wanted = torch.stack([-right, up, (1 - radius.square()).clamp_min(0).sqrt()]) / 2 + 0.5
    assert (maps - wanted)[:, :, inside].abs().max() < 0.03
    flat = torch.tensor([0.5, 0.5, 1.0])[None, :, None]
    torch.testing.assert_close(maps[:, :, outside], flat.expand(3, 3, int(outside.sum())))


def test_lines_of_a_box_and_of_what_stands_before_it(tmp_path: Path) -> None:
    """A box seen straight on has its outline alone; from a corner, the edges between its sides as well; a plate before
    it of the same direction is told by the jump in depth. A ball's facets draw nothing."""
    size = 64
    box = trimesh.creation.box((1, 1, 1))
    plate = trimesh.creation.box((0.4, 0.4, 0.02)).apply_transform(
        trimesh.transformations.rotation_matrix(math.pi / 2, (1, 0, 0), (0, 0, 0))
    )
    plate.apply_translation((0, -0.8, 0))

    def lines(mesh: dd.Mesh, elevation: float, count: int = 1, kind: str = "canny") -> np.ndarray:
        views = dd.orbit_views(
            count, elevations=(elevation,), distance=40.0, fov_degrees=3.0, target=(0, 0, 0), width=size, height=size
        )
        return SIGNALS[kind](mesh, views, size, size)[0, 0].numpy()

    plain = lines(mesh_of(box, tmp_path / "box.obj"), 0.0)
    rows, columns = np.nonzero(plain)
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    outline = np.zeros((size, size))
    outline[top : bottom + 1, [left, right]] = 1
    outline[[top, bottom], left : right + 1] = 1
    assert 20 < bottom - top < 60 and np.array_equal(plain, outline)

    both = lines(mesh_of(trimesh.util.concatenate([box, plate]), tmp_path / "both.obj"), 0.0)
    more = both - plain
    assert (more >= 0).all() and 40 < more.sum() < 100 and more[top + 1 : bottom, left + 1 : right].sum() == more.sum()

    above = lines(mesh_of(box, tmp_path / "box.obj"), 45.0)  # the front's upper edge runs across the middle
    assert above[31:34, 20:44].any(axis=0).all() and not above[16:30, 20:44].any() and not above[36:50, 20:44].any()

    ball = lines(mesh_of(trimesh.creation.icosphere(subdivisions=2), tmp_path / "ball.obj"), 0.0)
    y, x = np.nonzero(ball)
    assert np.hypot(y - 31.5, x - 31.5).min() > 20  # nothing inside the outline

    soft = lines(mesh_of(box, tmp_path / "box.obj"), 0.0, kind="lineart")
    assert soft.min() >= 0 and soft.max() == 1 and ((soft > 0) & (soft < 1)).any()
    assert (soft[outline == 1] > 0.4).all()


def test_a_mesh_shows_what_a_prior_hears(tmp_path: Path) -> None:
    mesh = mesh_of(trimesh.creation.box(), tmp_path / "box.obj")
    views = dd.orbit_views(2, target=mesh, width=16, height=16)
    shown = control_signals(mesh, views, 16, 16, {"canny", "code", "depth"})
    assert list(shown) == ["canny", "depth"] and SIGNALS.keys() == SIGNAL_CHANNELS.keys() - {TILE}
    assert all(shown[kind].shape == (2, SIGNAL_CHANNELS[kind], 16, 16) for kind in shown)
