"""`ddrep generate` as a job: a closed object on the ground, painted; nothing solid said in words; going on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

import ddrep_core as dd
from ddrep_core.diffreps.ray_samples import ball_interval
from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep
from ddrep_core.errors import Cancelled, RunError
from ddrep_core.jobs import generate as generate_module
from ddrep_core.jobs.folder import JobFolder, write_json
from ddrep_core.jobs.generate import BANK
from ddrep_core.jobs.run import run_job
from ddrep_core.solvers.first_order import WarmStartSolver
from ddrep_core.views.banks import sphere_bank

VIEWS, SIZE = 3, 12


class BallPrior(dd.priors.EmpiricalPrior):
    """Knows one red ball on white from every side."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return ((latents + 1) / 2).clamp(0, 1)


class DepthPrior(BallPrior):
    """The same, and whoever tells it depth sees green."""

    controls = frozenset({"depth"})

    def __init__(self, images: torch.Tensor) -> None:
        super().__init__(images)
        green = torch.tensor([-0.8, 0.6, -0.8])[:, None, None].expand(1, 3, SIZE, SIZE)
        self.green = dd.priors.EmpiricalPrior(green)
        self.depth: torch.Tensor | None = None

    def condition(self, *arguments, controls=None, **named):
        if not controls:
            return super().condition(*arguments, **named)
        self.depth = controls["depth"]
        return self.green.condition(*arguments, **named)

    def predict_noise(self, x, sigma, conditioning):
        knows = super() if conditioning.banks is not None else self.green
        return knows.predict_noise(x, sigma, conditioning)


def ball_pictures(radius: float = 0.45) -> torch.Tensor:
    """[V, 1, 3, S, S]: where rays pass closer to the middle than the radius, red."""
    origins, directions = (
        torch.from_numpy(np.stack(found)).float()[..., 0, :]
        for found in zip(
            *(camera.pixel_grid_rays(SIZE, SIZE) for camera in sphere_bank(BANK * VIEWS, size=SIZE)), strict=True
        )
    )
    near, far = ball_interval(origins, directions, radius)
    hit = far > near
    red = torch.tensor([0.8, -0.7, -0.7])[:, None, None]
    return torch.where(hit[:, None], red, 1.0)[:, None]


def run(folder: JobFolder, prior: BallPrior | None = None, **named) -> None:
    run_job(folder.path, load_prior=lambda request: prior or BallPrior(ball_pictures()), **named)


@pytest.fixture
def make_job(tmp_path, monkeypatch, short_film):
    monkeypatch.setattr(generate_module, "SILHOUETTE_SIZE", 24)

    def make(name: str = "job", steps: int = 12, **block: object) -> JobFolder:
        folder = JobFolder(tmp_path / name)
        folder.inputs.mkdir(parents=True)
        settings = {"grid": 24, "faces": 800, "resolution": 64, "size": 2.0, **block}
        request = {
            "schema_version": 1, "task": "generate", "steps": steps, "schedule": "plain", "cameras": f"orbit:{VIEWS}",
            "generate": settings,
        }  # fmt: skip
        write_json(folder.request_file, request)
        return folder

    return make


def test_makes_a_closed_red_ball_of_its_size_on_the_ground(make_job) -> None:
    folder = make_job()
    run(folder)
    entry = json.loads(folder.result_file.read_text())["samples"][0]
    assert {"mesh", "texture", "coverage", "turntable", "contact_sheet"} <= set(entry["files"])
    assert entry["silhouette_likeness"] > 0.85
    scene = trimesh.load_scene(folder.path / entry["files"]["mesh"])
    # glTF is Y-up: on the ground means y = 0 there.
    low, high = scene.bounds
    assert low[1] == pytest.approx(0, abs=1e-4)
    assert (high - low).max() == pytest.approx(2.0, rel=1e-3)
    assert ((high - low) > 1.5).all()
    surface = trimesh.Trimesh(*(getattr(scene.to_mesh(), key) for key in ("vertices", "faces")), process=False)
    surface.merge_vertices(merge_tex=True, merge_norm=True)
    assert surface.is_watertight
    assert len(surface.faces) <= 880
    red, green, _ = np.asarray(Image.open(folder.outputs / "texture.png"), np.float64).mean(axis=(0, 1))
    assert red > 2 * green


def test_a_prior_that_knows_depth_paints_the_surface_itself(make_job) -> None:
    prior = DepthPrior(ball_pictures())
    folder = make_job()
    run(folder, prior)
    entry = json.loads(folder.result_file.read_text())["samples"][0]
    assert entry["nfe"] == 24  # 12 for the field, 12 for its paint
    red, green, _ = np.asarray(Image.open(folder.outputs / "texture.png"), np.float64).mean(axis=(0, 1))
    assert green > 2 * red
    assert prior.depth is not None and prior.depth.shape == (VIEWS, 1, SIZE, SIZE)
    shown = float((prior.depth > 0).float().mean())  # a ball that fills its frames
    assert 0.4 < shown < 0.9 and prior.depth.max() > 0.9


def test_an_object_cancelled_while_it_grows_and_while_it_is_painted_goes_on_to_the_same_bytes(make_job) -> None:
    prior = DepthPrior(ball_pictures())
    whole, parts = make_job("whole", 5), make_job("parts", 5)
    run(whole, prior)

    seen = []

    def stop(event: dict) -> None:
        if event["event"] == "step" and event["index"] == 2:
            seen.append(event)
            parts.cancel_file.touch()

    for resume in (False, True):  # the object's second step, and its paint's
        with pytest.raises(Cancelled):
            run(parts, prior, listeners=(stop,), checkpoint_seconds=0, resume=resume)
    run(parts, prior, resume=True)
    assert len(seen) == 2
    for name in ("mesh.glb", "texture.png"):
        assert (parts.outputs / name).read_bytes() == (whole.outputs / name).read_bytes()


def test_an_empty_field_is_said_in_words(make_job, monkeypatch) -> None:
    monkeypatch.setattr(VoxelNerfDiffrep, "field", lambda self: torch.zeros(4, 24, 24, 24))
    monkeypatch.setattr(WarmStartSolver, "fit", lambda *arguments: 1)
    with pytest.raises(RunError, match="nothing solid"):
        run(make_job(steps=1))
