"""Cameras that see nothing are left out, with a note, and the job is one that never had them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import geometry_shapes as shapes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddrep_core.errors import DdrepWarning, RequestError
from ddrep_core.geometry import load_mesh, write_glb
from ddrep_core.geometry.gltf_document import GltfDocument
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.jobs import run as run_module
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.views import look_at_mesh
from ddrep_core.views import Camera, Views, look_at, perspective_projection

pytestmark = pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
WIDE = perspective_projection(80.0)
quickly = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sheet(path: Path, azimuth: float) -> Mesh:
    """A square of side 2 that stands upright and looks `azimuth` degrees around Z from -Y towards +X."""
    across = np.array([np.cos(np.radians(azimuth)), np.sin(np.radians(azimuth))])
    corners = [(*(side * across), height) for side, height in ((-1, 0), (1, 0), (1, 2), (-1, 2))]
    lines = [f"v {x:.9g} {z:.9g} {-y:.9g}" for x, y, z in corners]  # OBJ is Y-up
    lines += ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1", "f 1/1 2/2 3/3 4/4"]
    path.write_text("\n".join(lines) + "\n")
    return load_mesh(path)


def camera(name: str, position: tuple[float, float, float], target: tuple[float, float, float]) -> Camera:
    return Camera(name, look_at(position, target), WIDE, 64, 64)


FRONT, LEFT = camera("front", (0, -5, 2), (0, 0, 0)), camera("left", (4, -4, 2), (0, 0, 0))
AWAY, MOLE = camera("away", (0, -5, 0), (0, -9, 0)), camera("mole", (0, 0, 0.1), (0, 1, 0))


@quickly
@given(azimuth=st.floats(-180, 180), count=st.integers(1, 9))
def test_an_orbit_textures_a_sheet_whichever_way_it_looks(tmp_path: Path, azimuth: float, count: int) -> None:
    outlook = look_at_mesh(count, sheet(tmp_path / "sheet.obj", azimuth), 32, 128)
    assert 1 <= len(outlook.views) == count - len(outlook.left_out_names)
    kept = [int(view.name.removeprefix("orbit ")) for view in outlook.views]
    assert kept == sorted(kept) and not set(outlook.left_out_names) & {view.name for view in outlook.views}


def test_an_orbit_of_one_place_that_sees_a_sign_edge_on_is_turned(tmp_path: Path) -> None:
    outlook = look_at_mesh(1, sheet(tmp_path / "sheet.obj", 90.0), 32, 128)
    assert outlook.turned_degrees == pytest.approx(90)
    assert outlook.views[0].position[0] > 1
    assert outlook.views.front_degrees == 0  # what it is told that it sees goes by the front, still


@quickly
@given(order=st.permutations([FRONT, LEFT, AWAY]))
def test_what_is_left_is_what_was_never_anything_else(tmp_path: Path, order: list[Camera]) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    found = look_at_mesh(Views(tuple(order)), mesh, 32, 128)
    expected = look_at_mesh(Views(tuple(c for c in order if c is not AWAY)), mesh, 32, 128)
    assert found.left_out_names == ["away"] and not expected.left_out
    for one, other in zip(found.views, expected.views, strict=True):
        assert one.name == other.name and np.array_equal(one.projection, other.projection)
    assert np.array_equal(found.views.target, expected.views.target)


@pytest.mark.parametrize(
    ("cameras", "words", "advice"),
    [
        ([AWAY], "Camera 'away' sees nothing of the mesh.", "Turn a camera"),
        ([MOLE], "Camera 'mole' stands inside the mesh and sees only backs of faces", "--both-sides"),
        ([AWAY, MOLE], "'mole' stands inside", "Turn a camera"),
    ],
)
def test_where_none_sees_anything_it_is_refused(tmp_path: Path, cameras: list, words: str, advice: str) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    with pytest.raises(RequestError) as refusal:
        look_at_mesh(Views(tuple(cameras)), mesh, 32, 128)
    assert words in refusal.value.message and advice in refusal.value.fix


def test_what_is_left_must_have_a_weight(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    weightless = Camera("still", FRONT.matrix_world, WIDE, 64, 64, weight=0.0)
    with pytest.raises(RequestError, match="weight zero"):
        look_at_mesh(Views((weightless, AWAY)), mesh, 32, 128)


def test_backs_that_were_left_out_are_not_warned_of_again(tmp_path: Path) -> None:
    mesh = sheet(tmp_path / "sheet.obj", 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DdrepWarning)
        outlook = look_at_mesh(8, mesh, 32, 128)
    assert {str(group.why): group.names for group in outlook.left_out} == {
        "nothing": ("orbit 2", "orbit 6"),
        "behind": ("orbit 3", "orbit 4", "orbit 5"),
    }


# --- whole jobs ---------------------------------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path: Path, tiny_sd: Path, short_film: None):
    def run(name: str, mesh: Path, cameras: Views | str, **texture: Any) -> JobFolder:
        request = {"task": "texture", "prompt": "bricks", "prior": str(tiny_sd), "steps": 2, "schedule": "plain"}
        request["texture"] = {"resolution": 48, **texture}
        path = None
        if isinstance(cameras, Views):
            path = tmp_path / f"{name}.json"
            cameras.save(path)
        else:
            request["cameras"] = cameras
        folder = create_job(tmp_path / name, request, mesh=mesh, cameras=path)
        run_job(folder.path)
        return folder

    return run


def content(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())


def events(folder: JobFolder, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in folder.events_file.read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def test_a_job_with_a_camera_that_looks_away_is_the_job_without_it(job, tmp_path: Path) -> None:
    mesh = shapes.cube_obj(tmp_path / "cube.obj")
    told = job("with", mesh, Views((FRONT, AWAY, LEFT)))
    plain = job("without", mesh, Views((FRONT, LEFT)))
    for name in ("texture.png", "coverage.png", "mesh.glb", "contact_sheet.png"):
        assert (told.outputs / name).read_bytes() == (plain.outputs / name).read_bytes(), name
    (warning,) = [event for event in events(told, "warning") if "left_out" in event]
    assert warning["left_out"] == ["away"] and warning["why"] == "nothing"
    assert "'away' sees nothing" in warning["message"]
    result = content(told.result_file)
    assert result["samples"][0]["views"] == ["front", "left"] and result["samples"][0]["left_out"] == ["away"]
    kinds = [json.loads(line)["event"] for line in told.events_file.read_text().splitlines()]
    assert kinds.index("warning") < kinds.index("step")


def test_a_poster_is_textured_at_every_default(job, tmp_path: Path) -> None:
    sheet(tmp_path / "sheet.obj", 0.0)
    folder = job("poster", tmp_path / "sheet.obj", "orbit:8")
    record = content(folder.result_file)["samples"][0]
    assert record["views"] == ["orbit 0", "orbit 1", "orbit 7"] and record["coverage_share"] == 1
    assert content(folder.result_file)["request"]["cameras"] == "orbit:8"


def test_a_room_is_painted_from_inside_when_both_sides_are(job, tmp_path: Path) -> None:
    mesh = shapes.cube_obj(tmp_path / "cube.obj")
    around = [(1, 0), (0, 1), (-1, 0), (0, -1)]
    room = Views(tuple(camera(f"wall {k}", (0, 0, 0), (x, y, 0)) for k, (x, y) in enumerate(around)))
    with pytest.raises(RequestError, match="--both-sides"):
        job("refused", mesh, room)
    folder = job("room", mesh, room, both_sides=True)
    record = content(folder.result_file)["samples"][0]
    assert record["left_out"] == [] and 0.5 < record["coverage_share"] < 0.8  # four walls of six
    (material,) = GltfDocument.read(folder.outputs / "mesh.glb").data["materials"]
    assert material["doubleSided"] is True


def test_only_what_is_painted_on_both_sides_becomes_double_sided(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    write_glb(mesh, {mesh.parts[0].name: np.zeros((3, 8, 8))}, tmp_path / "plain.glb")
    assert "doubleSided" not in GltfDocument.read(tmp_path / "plain.glb").data["materials"][0]


def test_jobs_from_before_keep_their_fingerprint(tmp_path: Path) -> None:
    mesh = shapes.cube_obj(tmp_path / "cube.obj")
    request = {"task": "texture", "prompt": "bricks"}
    plain = create_job(tmp_path / "plain", request, mesh=mesh)
    assert "both_sides" not in content(plain.request_file)["texture"]
    before = run_module.fingerprint(plain, plain.load_request())
    off = create_job(tmp_path / "off", {**request, "texture": {"both_sides": False}}, mesh=mesh)
    on = create_job(tmp_path / "on", {**request, "texture": {"both_sides": True}}, mesh=mesh)
    assert run_module.fingerprint(off, off.load_request()) == before
    assert run_module.fingerprint(on, on.load_request()) != before
    assert content(on.request_file)["texture"]["both_sides"] is True
