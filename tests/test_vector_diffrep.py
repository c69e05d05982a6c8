"""Vector drawings as representations: the protocol, the pull-back, sampling from an exact prior, and the job."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

import ddrep_core as dd
from ddrep_core.diffreps.blobs import BlobsDiffrep, best_circle
from ddrep_core.diffreps.encoded import EncodedDiffrep
from ddrep_core.diffreps.protocol import Descended, Diffrep, Renewing
from ddrep_core.diffreps.vector import VectorDiffrep
from ddrep_core.errors import Cancelled, RequestError
from ddrep_core.jobs import run as run_module
from ddrep_core.jobs.folder import JobFolder, write_json
from ddrep_core.jobs.run import run_job
from ddrep_core.solvers.choose import choose_solver
from ddrep_core.solvers.encoded import DecodedSolver
from ddrep_core.solvers.renewing import RenewingSolver
from ddrep_core.vector import parse_svg
from ddrep_core.vector.layout import circle_points
from ddrep_core.vector.render import Numbers, Renderer

SIZE = 16
PICTURES = (
    '<circle cx="6" cy="8" r="4" fill="#d22"/><rect x="9" y="4" width="4" height="8" fill="#222"/>',
    '<rect width="16" height="9" fill="#48c"/><circle cx="10" cy="6" r="3" fill="#fd3"/>',
)


def drawing_of(body: str):
    return parse_svg(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}">{body}</svg>')


def picture_of(body: str) -> torch.Tensor:
    drawing, _ = drawing_of(body)
    return Renderer(drawing, SIZE, SIZE).over(Numbers.of(drawing))


class Drawings(dd.priors.EmpiricalPrior):
    """Two drawings, as pixels in -1..1."""

    def __init__(self) -> None:
        super().__init__(torch.stack([picture_of(body) for body in PICTURES]) * 2 - 1)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return ((latents + 1) / 2).clamp(0, 1)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images * 2 - 1


@pytest.fixture
def prior() -> Drawings:
    return Drawings()


def test_a_file_is_a_representation_whose_zero_is_the_file_itself() -> None:
    drawing, markup = drawing_of(PICTURES[0])
    rep = VectorDiffrep(drawing, markup, SIZE, SIZE)
    assert isinstance(rep, Diffrep) and isinstance(rep, Descended) and not isinstance(rep, Renewing)
    assert rep.svg() == markup.text
    assert torch.equal(rep.render()[0], picture_of(PICTURES[0]))
    twin = rep.copy()
    twin.theta["coordinates"] += 0.1
    assert torch.equal(rep.render()[0], picture_of(PICTURES[0])) and rep.svg() == markup.text
    twin.reset(torch.Generator())
    assert torch.equal(twin.render(), rep.render())


def test_a_file_is_pulled_back_to_where_its_picture_came_from() -> None:
    moved = PICTURES[0].replace('cx="6"', 'cx="7.2"').replace("#d22", "#b52").replace('height="8"', 'height="6.5"')
    rep = VectorDiffrep(*drawing_of(PICTURES[0]), SIZE, SIZE, moving=("coordinates", "colours"))
    rep.passes = 150
    target = picture_of(moved)[None]
    before = (rep.render() - target).square().mean()
    choose_solver(rep).fit(rep, target, torch.zeros(1, dtype=torch.long), torch.ones(1, 1, SIZE, SIZE))
    assert (rep.render() - target).square().mean() < 1e-3 * before
    found, _ = parse_svg(rep.svg())
    assert found.coordinates[:3] == pytest.approx([7.2, 8, 4], abs=0.05)
    assert found.coordinates[6] == pytest.approx(6.5, abs=0.05)
    assert found.opacities == [1, 1] and "opacities" not in rep.theta


def test_an_idle_path_goes_where_the_picture_is_farthest_from_its_target() -> None:
    rep = BlobsDiffrep(4, SIZE, SIZE)
    assert isinstance(rep, Renewing)
    circles = torch.tensor([[0.5, 0.5, 0.02], [0.5, 0.5, 0.05], [0.5, 0.5, 0.06], [0.5, 0.5, 0.3]])
    rep.theta["points"].copy_(circle_points(circles))
    rep.theta["colours"].copy_(torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None].expand(4, 3))
    without = []
    for path in range(4):
        other = rep.copy()
        other.theta["points"][path] = 2.0  # outside of the picture
        without.append(float((other.render() - rep.render()).square().sum(1).mean()))
    assert rep.effects().tolist() == pytest.approx(without, rel=1e-3, abs=1e-9)
    assert max(without[:3]) < 1e-9 < without[3]
    target = picture_of('<circle cx="3.5" cy="3.5" r="2.5" fill="#0a0"/>')
    error = (rep.render()[0] - target).square().sum()
    order = rep.renew(target)
    kept = [row for row in order if row >= 0]
    assert order[len(kept) :] == [-1] * (4 - len(kept)) and len(kept) < 4 and kept[-1] == 3
    assert (rep.render()[0] - target).square().sum() < 0.6 * error
    assert rep.effects()[-1] > 1e-3 and rep.theta["colours"][len(kept) - 1, 0] == pytest.approx(0.4)
    best = best_circle(target, target)
    assert best is None or best[0] < 1e-6


def test_a_solver_takes_what_it_knows_of_a_path_with_it() -> None:
    rep = BlobsDiffrep(6, SIZE, SIZE)
    solver = choose_solver(rep)
    assert isinstance(solver, RenewingSolver)
    targets = [picture_of(body)[None] for body in PICTURES]
    for target in targets:
        solver.fit(rep, target, torch.zeros(1, dtype=torch.long), torch.ones(1, 1, SIZE, SIZE), sigma=1.0)
    other, again = choose_solver(rep), rep.copy()
    other.load_state(solver.state())
    for each, drawn in ((solver, rep), (other, again)):
        each.fit(drawn, targets[0], torch.zeros(1, dtype=torch.long), torch.ones(1, 1, SIZE, SIZE))
    assert all(torch.equal(rep.theta[name], again.theta[name]) for name in rep.theta)


def test_a_gradient_goes_through_the_encoder_into_the_paths(prior) -> None:
    rep = EncodedDiffrep(BlobsDiffrep(3, SIZE, SIZE), prior)
    assert rep.image_shape == (3, SIZE, SIZE) and isinstance(choose_solver(rep), DecodedSolver)
    leaf = rep.parameters()["points"].requires_grad_(True)
    (gradient,) = torch.autograd.grad(rep.render().square().sum(), leaf)
    leaf.requires_grad_(False)
    assert gradient.abs().sum() > 0
    wide = BlobsDiffrep(3, 256, 256)
    assert wide.small().image_shape == (3, 128, 128) and wide.small().theta is wide.theta


def test_sampling_draws_one_of_the_drawings_that_an_exact_prior_knows(prior) -> None:
    rep = EncodedDiffrep(BlobsDiffrep(6, SIZE, SIZE), prior)
    result = dd.sample(rep, prior, schedule=dd.ddim_schedule(prior.sigmas, 10), seed=1)
    found = result.diffrep.pictures
    errors = [float((found.render()[0] - picture_of(body)).square().mean()) for body in PICTURES]
    assert min(errors) < 0.02 and max(errors) > 0.1
    drawing, _ = parse_svg(found.svg("two & <more>"))
    again = Renderer(drawing, SIZE, SIZE).over(Numbers.of(drawing))
    assert (again - found.render()[0]).abs().mean() < 2 / 255
    assert sum(1 for _ in drawing.root.shapes()) <= 9


def test_no_paths_are_refused() -> None:
    for body in (
        "",
        "<text>words</text>",
        '<path d="" fill="red"/>',
        '<path d="M nan nan L 1e999 5 Z" fill="red"/>',
        '<rect x="900" width="9" height="9" fill="red"/>',
        '<rect width="9" height="9" fill="red" transform="scale(0)"/>',
        '<rect width="9" height="9" fill="red" opacity="0"/>',
    ):
        with pytest.raises(RequestError, match="nothing that can move and shows"):
            VectorDiffrep(*drawing_of(body), 8, 8, moving=("colours",))
    for body in ('<rect width="9" height="9"/>', '<rect width="9" height="9" fill="#fff"/>'):  # at both ends of grey
        assert VectorDiffrep(*drawing_of(body), 8, 8, moving=("colours",)).theta
    for count in (0, 513):
        with pytest.raises(RequestError, match="not possible"):
            BlobsDiffrep(count, 8, 8)


@pytest.fixture
def make_job(tmp_path, monkeypatch, prior):
    monkeypatch.setattr(run_module, "load_request_prior", lambda request: prior)

    def make(name: str) -> JobFolder:
        folder = JobFolder(tmp_path / name)
        folder.inputs.mkdir(parents=True)
        block = {"paths": 5, "size": 40}
        request = {"schema_version": 1, "task": "vector", "prompt": "a <b>", "steps": 5, "seed": 3, "vector": block}
        write_json(folder.request_file, request)
        return folder

    return make


def test_a_job_writes_an_svg_and_its_picture_and_goes_on_after_a_cancel_to_the_same_bytes(make_job) -> None:
    whole, parts = make_job("whole"), make_job("parts")
    run_job(whole.path)
    entry = json.loads(whole.result_file.read_text())["samples"][0]
    assert set(entry["files"]) == {"image", "drawing"} and 1 <= entry["paths"] <= 5 and entry["agreement"] is None
    picture = Image.open(whole.path / entry["files"]["image"])
    assert (picture.size, picture.mode) == ((40, 40), "RGB")
    drawing, markup = parse_svg((whole.path / entry["files"]["drawing"]).read_bytes())
    assert drawing.not_drawn == [] and [each.tag for each in markup.elements[:3]] == ["svg", "title", "rect"]
    again = Renderer(drawing, 40, 40).over(Numbers.of(drawing)).clamp(0, 1)
    assert (again * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy().tobytes() == picture.tobytes()

    steps: list[int] = []

    def stop_in_the_middle(event: dict) -> None:
        if event["event"] == "step":
            steps.append(event["index"])
            if len(steps) == 3:
                parts.cancel_file.touch()

    with pytest.raises(Cancelled):
        run_job(parts.path, listeners=(stop_in_the_middle,), checkpoint_seconds=0)
    run_job(parts.path, resume=True)
    for name in ("drawing.svg", "drawing.png"):
        assert (parts.outputs / name).read_bytes() == (whole.outputs / name).read_bytes()


COLOURED = (
    '<defs><linearGradient id="g"><stop offset="0" stop-color="#fff"/><stop offset="1" stop-color="#06c"/>'
    '</linearGradient></defs><rect width="16" height="9" fill="url(#g)"/><g opacity="0.6"><circle cx="10" cy="6" r="5"'
    ' fill="#fd3"/><path d="M2 12 C5 3 9 3 14 13" fill="none" stroke="#222" stroke-width="1.5"/></g>'
    '<rect x="20" width="4" height="4" fill="#0f0"/>'
)


def test_colours_alone_are_found_exactly_and_stay_colours() -> None:
    rep = VectorDiffrep(*drawing_of(COLOURED), SIZE, SIZE, moving=("colours",))
    everywhere, weights = torch.tensor([0]), torch.ones(1, 1, SIZE, SIZE)
    wanted = rep.copy()
    with torch.no_grad():
        away = torch.rand(wanted.theta["colours"].shape, generator=torch.Generator().manual_seed(0))
        wanted.recolour(away - wanted.moving_colours())
    solver = choose_solver(rep)
    assert solver.fit(rep, wanted.render(), everywhere, weights) == 1
    torch.testing.assert_close(rep.render(), wanted.render(), atol=2e-3, rtol=0)
    hidden = rep.colour_shares().flatten(1).sum(1) == 0
    assert int(hidden.sum()) == 1 and bool((rep.theta["colours"][hidden] == 0).all())
    # Asked for more than a colour can be, the rest makes up for what it can.
    target = 2 * wanted.render() - 0.5
    solver.fit(rep, target, everywhere, weights)
    found = rep.moving_colours()
    assert bool((found >= 0).all()) and bool((found <= 1).all()) and bool((found == 1).any())
    leaf = rep.theta["colours"].clone().requires_grad_(True)
    twin = rep.copy()
    twin.theta["colours"] = leaf
    (twin.render() - target).square().sum().backward()
    slope, inside = leaf.grad, (found > 1e-3) & (found < 1 - 1e-3)
    assert slope is not None and float(slope[inside].abs().max()) < 0.05
    assert bool((slope[found >= 1] <= 0.05).all()) and bool((slope[found <= 0] >= -0.05).all())
