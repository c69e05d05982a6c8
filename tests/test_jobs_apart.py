"""Jobs whose samples shall differ: made together, unlike what was kept, and told how far they are apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from geometry_shapes import cube_obj
from PIL import Image

import ddrep_core as dd
from ddrep_core.diffreps.latent_pictures import LatentPictures
from ddrep_core.errors import Cancelled, RequestError
from ddrep_core.geometry import Mesh, load_mesh
from ddrep_core.geometry.glb import write_glb
from ddrep_core.jobs.apart import OF_FIELDS, OF_FORMS, OF_SURFACES, Box, Push, distances, guides_to_differ, likeness
from ddrep_core.jobs.create import create_job, kept_results
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.request import parse_request
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.wish import wish_of
from ddrep_core.priors import GaussianMixturePrior
from ddrep_core.views import orbit_views

RED, BLUE = (torch.tensor(color).reshape(3, 1, 1).expand(3, 8, 8) for color in ((0.9, 0.1, 0.1), (0.1, 0.1, 0.9)))


def two_colours(request: object) -> Any:
    """Pictures are red or blue, as often."""
    return GaussianMixturePrior(torch.stack([RED, BLUE]), 1e-3)


def image_job(folder: Path, **request: Any) -> JobFolder:
    wish = wish_of("image", {"prompt": "a colour", "steps": 12, "width": 16, "height": 16, **request})
    return create_job(folder, wish.request, copies=wish.copies)


def colours(job: JobFolder) -> list[str]:
    record = json.loads(job.result_file.read_text())
    pictures = [np.asarray(Image.open(job.path / sample["files"]["image"])) for sample in record["samples"]]
    return ["red" if picture[..., 0].mean() > picture[..., 2].mean() else "blue" for picture in pictures]


def test_a_request_that_says_nothing_of_it_stays_the_job_it_was() -> None:
    plain = {"schema_version": 1, "task": "image", "prompt": "a duck"}
    assert not {"diversity", "unlike"} & parse_request(plain).to_json().keys()
    assert parse_request({**plain, "diversity": 0.5}).to_json()["diversity"] == 0.5
    with pytest.raises(RequestError, match=r"panorama.*unlike"):
        parse_request({**plain, "task": "panorama", "unlike": ["inputs/a.png"]})
    with pytest.raises(RequestError, match="at least 0"):
        parse_request({**plain, "diversity": -1})


def test_what_one_is_depends_on_what_is_made(tmp_path: Path) -> None:
    """Form is decided early; where it is given, colours come first, by one force for all views."""
    prior: Any = SimpleNamespace(channels=4)

    def guides(push: Push, **request: Any) -> Any:
        asked = parse_request({"schema_version": 1, "task": "image", "prompt": "a duck", "samples": 2, **request})
        return guides_to_differ(asked, JobFolder(tmp_path), LatentPictures(1, (4, 2, 2)), None, None, prior, push)

    (form,) = guides(OF_FORMS, diversity=2.0)
    assert form.space == "clean" and form.weight == 2 * OF_FORMS.weight and form.least_sigma > OF_SURFACES.least_sigma
    mean, rest = guides(OF_SURFACES, diversity=2.0)
    assert (mean.space, mean.weight, rest.space) == ("mean", 2 * OF_SURFACES.mean, "clean")
    assert rest.weight == 2 * OF_SURFACES.weight and mean.kernel.pooled and rest.kernel.pooled
    assert guides(OF_SURFACES) == ()


@pytest.mark.parametrize(("task", "push"), [("image", OF_FORMS), ("generate", OF_FIELDS), ("texture", OF_SURFACES)])
def test_each_task_says_what_one_is(task: str, push: Push, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Push] = []

    def guides(*told: Any) -> Any:
        heard.extend(each for each in told if isinstance(each, Push))
        raise RequestError("That was all that was asked.")

    monkeypatch.setattr("ddrep_core.jobs.session.guides_to_differ", guides)
    mesh = tmp_path / "cube.obj"
    cube_obj(mesh)
    told = {"prompt": "a colour", "steps": 2, "samples": 2, "diversity": 1.0}
    own = {"texture": {"mesh": mesh, "cameras": "orbit:2", "resolution": 16}, "generate": {"cameras": "orbit:2"}}
    wish = wish_of(task, {**told, **own.get(task, {})})
    job = create_job(tmp_path / "job", wish.request, copies=wish.copies)
    with pytest.raises(RequestError, match="all that was asked"):
        run_job(job.path, load_prior=two_colours)
    assert heard == [push]


def test_samples_that_differ_are_made_together_and_told_apart(tmp_path: Path) -> None:
    found = {}
    for diversity in (0.0, 3.0):
        job = image_job(tmp_path / f"{diversity:g}", samples=2, seed=7, diversity=diversity)
        run_job(job.path, load_prior=two_colours)
        found[diversity] = colours(job)
        result = json.loads(job.result_file.read_text())
        assert ("distances" in result) == (diversity > 0)
        assert ("How different" in job.page_file.read_text()) == (diversity > 0)
    assert len(set(found[3.0])) == 2 and len(set(found[0.0])) == 1
    assert result["distances"][0][1] == result["distances"][1][0] > 0.4 and result["distances"][0][0] == 0


def test_samples_may_be_compared_by_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"schema_version": 1, "task": "image", "prompt": "a duck", "diversity": 1.0}
    assert "diversity_space" not in parse_request(plain).to_json()
    asked: list[int] = []

    class Colour(torch.nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            asked.append(len(pictures))
            return pictures.mean((2, 3))

    monkeypatch.setattr("ddrep_core.features.PictureEmbedding", Colour)
    job = image_job(tmp_path / "job", samples=2, seed=7, diversity=30.0, diversity_space="features")
    run_job(job.path, load_prior=two_colours)
    assert len(set(colours(job))) == 2 and set(asked) == {2}

    def missing() -> None:
        raise RequestError("EfficientNet-Lite0, whose features are asked for, is not installed.", "Install it.")

    monkeypatch.setattr("ddrep_core.features.PictureEmbedding", missing)
    job = image_job(tmp_path / "other", samples=2, diversity=3.0, diversity_space="features")
    with pytest.raises(RequestError, match="not installed"):
        run_job(job.path, load_prior=two_colours)


def test_a_grown_job_makes_its_samples_in_turn(tmp_path: Path) -> None:
    """Each keeps away from those before it; a run that was cancelled in between goes on to the same bytes."""
    jobs = [image_job(tmp_path / name, samples=2, seed=7, diversity=3.0, schedule="grown") for name in "ab"]
    run_job(jobs[0].path, load_prior=two_colours)
    assert len(set(colours(jobs[0]))) == 2
    steps: list[int] = []

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            assert "together" not in event
            steps.append(event["sample"])
            if steps.count(1) == 5:
                (jobs[1].path / "cancel").touch()

    with pytest.raises(Cancelled):
        run_job(jobs[1].path, load_prior=two_colours, listeners=(stop,))
    assert steps[0] == 0 and steps[-1] == 1
    run_job(jobs[1].path, load_prior=two_colours, resume=True)
    pictures = [[path.read_bytes() for path in sorted(job.path.glob("outputs/*/image.png"))] for job in jobs]
    assert len(pictures[0]) == 2 and pictures[0] == pictures[1]


def test_a_job_keeps_away_from_what_another_made(tmp_path: Path) -> None:
    first = image_job(tmp_path / "first", seed=5)
    run_job(first.path, load_prior=two_colours)
    other = image_job(tmp_path / "other", seed=5, diversity=3.0, unlike=[str(first.path)])
    assert other.load_request().unlike == ["inputs/unlike/000.png"] and (other.inputs / "unlike/000.png").is_file()
    run_job(other.path, load_prior=two_colours)
    assert colours(other) != colours(first)


def test_a_run_of_several_that_was_stopped_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole = image_job(tmp_path / "whole", samples=2, diversity=3.0)
    run_job(whole.path, load_prior=two_colours)
    stopped = image_job(tmp_path / "stopped", samples=2, diversity=3.0)

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["index"] == 6:
            (stopped.path / "cancel").touch()

    with pytest.raises(dd.Cancelled):
        run_job(stopped.path, listeners=(stop,), load_prior=two_colours)
    run_job(stopped.path, resume=True, load_prior=two_colours)
    for sample in json.loads(whole.result_file.read_text())["samples"]:
        name = sample["files"]["image"]
        assert (whole.path / name).read_bytes() == (stopped.path / name).read_bytes()


def test_a_kept_mesh_is_drawn_where_the_object_stands(tmp_path: Path) -> None:
    mesh = load_mesh(cube_obj(tmp_path / "cube.obj"))
    Image.new("RGB", (8, 8), (230, 25, 25)).save(tmp_path / "red.png")
    write_glb(mesh, {part.name: tmp_path / "red.png" for part in mesh.parts}, tmp_path / "red.glb")
    prior: Any = SimpleNamespace(image_size=16, image_shape=(3, 16, 16), encode=lambda pictures: pictures)
    views = orbit_views(3, target=mesh, width=16, height=16)
    rep = LatentPictures(3, (3, 16, 16))
    seen = {}
    for moved in (1.0, 7.0):
        box = Box(*(moved * mesh.bounds))
        cameras = orbit_views(3, target=scaled(mesh, moved), width=16, height=16)
        seen[moved] = likeness(tmp_path / "red.glb", rep, cameras if moved != 1 else views, box, prior)
    covered = seen[1.0][:, 2] < 0.5
    assert 0.2 < covered.double().mean() < 0.9
    assert (seen[1.0].permute(0, 2, 3, 1)[covered] - torch.tensor([230, 25, 25]) / 255).abs().max() < 0.35
    torch.testing.assert_close(seen[1.0], seen[7.0], atol=0.02, rtol=0)
    picture = likeness(tmp_path / "red.png", rep, views, box, prior)
    torch.testing.assert_close(picture[2, :, 3, 4], torch.tensor([230, 25, 25]) / 255)


def scaled(mesh: Mesh, factor: float) -> Mesh:
    return replace(mesh, parts=tuple(replace(part, vertices=factor * part.vertices) for part in mesh.parts))


@pytest.mark.parametrize("name", ["broken.glb", "broken.png", "empty.glb"])
def test_a_result_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"glTF nonsense" if "broken" in name else b"")
    rep, views = LatentPictures(1, (3, 8, 8)), orbit_views(1, width=8, height=8)
    prior: Any = two_colours(None)
    with pytest.raises(RequestError, match=name):
        likeness(file, rep, views, Box(-np.ones(3), np.ones(3)), prior)


def test_what_is_no_result_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    for path, words in ((tmp_path, "no results"), (tmp_path / "notes.txt", "no result"), (tmp_path / "x", "no result")):
        with pytest.raises(RequestError, match=words):
            kept_results(path)
    with pytest.raises(RequestError, match="16 at most"):
        job = image_job(tmp_path / "many", samples=17, diversity=1.0)
        run_job(job.path, load_prior=two_colours)


def test_distances_need_the_same_kind_of_picture(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    for name, colour in (("a.png", "black"), ("b.png", "white")):
        Image.new("RGB", (4, 4), colour).save(tmp_path / name)
    records = [{"files": {"image": "a.png"}}, {"files": {"image": "b.png"}}]
    assert distances(folder, records) == [[0.0, 1.0], [1.0, 0.0]]
    assert distances(folder, [records[0], {"files": {"mesh": "b.png"}}]) is None
