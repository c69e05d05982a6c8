"""The command line on bad and good input: the exit status, a message that helps, never a traceback."""

import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from geometry_shapes import cube_obj
from PIL import Image

from ddrep_core.cli import main
from ddrep_core.cli_options import option_parameters
from ddrep_core.jobs import run as run_module
from ddrep_core.jobs.request import TASKS, Request
from ddrep_core.priors import diffusers_prior
from ddrep_core.views import Camera, Views, direction_words, look_at, orbit_views, perspective_projection

LOADED: dict[tuple, object] = {}
CUBE = """\
o cube
v -1 -1 -1
v 1 -1 -1
v 1 1 -1
v -1 1 -1
v -1 -1 1
v 1 -1 1
v 1 1 1
v -1 1 1
vt 0 0
vt 1 0
vt 1 1
vt 0 1
f 1/1 4/2 3/3 2/4
f 5/1 6/2 7/3 8/4
f 1/1 2/2 6/3 5/4
f 2/1 3/2 7/3 6/4
f 3/1 4/2 8/3 7/4
f 4/1 1/2 5/3 8/4
"""


@pytest.fixture(autouse=True)
def load_once(monkeypatch, short_film):
    """Loading takes longer than all else here: models are kept between tests that run in this process."""
    load = run_module.load_request_prior

    def cached(request):
        key = (
            request.prior,
            request.device,
            request.precision,
            request.controlnet,
            request.max_batch,
            str((request.loras, request.controlnets, request.reference)),
        )
        if key not in LOADED:
            LOADED[key] = load(request)
        return LOADED[key]

    monkeypatch.setattr(run_module, "load_request_prior", cached)


@pytest.fixture
def mesh(tmp_path):
    path = tmp_path / "cube.obj"
    path.write_text(CUBE)
    return path


@pytest.fixture
def ddrep(capsys):
    """Run the command line here; returns the exit status, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ending:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err + captured.out
        return ending.value.code or 0, captured.out, " ".join(captured.err.split())

    return run


@pytest.fixture
def texture(ddrep, tiny_sd, mesh, tmp_path):
    """`ddrep texture` of a small mesh with a small model, and more arguments."""

    def run(*arguments, mesh=mesh, prior=tiny_sd):
        options = [
            "--prior",
            prior,
            "--steps",
            2,
            "--resolution",
            64,
            "--cameras",
            "orbit:3",
            "--out",
            tmp_path / "job",
        ]
        return ddrep("texture", mesh, "--prompt", "a cow", *options, *arguments)

    return run


def test_a_job_from_start_to_end(texture, tmp_path):
    status, out, err = texture("--samples", 2, "--schedule", "plain")
    assert status == 0, err
    printed = [line.split(maxsplit=1) for line in out.splitlines()]
    assert {"texture", "coverage", "mesh", "contact_sheet", "turntable", "result"} <= {what for what, _ in printed}
    result = json.loads((tmp_path / "job/outputs/result.json").read_text())
    for sample in result["samples"]:
        for path in sample["files"].values():
            assert (tmp_path / "job" / path).stat().st_size > 0
    assert result["request"]["texture"]["mesh"] == "inputs/cube.obj" and result["nfe"] == 4
    assert 0 < result["samples"][0]["coverage_share"] <= 1 and 0 <= result["samples"][0]["agreement"] <= 1
    assert "step 2/2" in err and "views agree" in err
    first, second = (tmp_path / "job/outputs" / f"sample_000{k}/texture.png" for k in (0, 1))
    assert first.read_bytes() != second.read_bytes()


def test_the_same_command_again_does_nothing_and_another_is_refused(texture, tmp_path):
    assert texture()[0] == 0
    stamp = (tmp_path / "job/outputs/result.json").stat().st_mtime_ns
    status, out, _ = texture()
    assert status == 0 and "texture.png" in out
    assert (tmp_path / "job/outputs/result.json").stat().st_mtime_ns == stamp
    status, _, err = texture("--seed", 1)
    assert status == 2 and "another request" in err and "--overwrite" in err
    assert (tmp_path / "job/outputs/result.json").stat().st_mtime_ns == stamp
    assert texture("--seed", 1, "--overwrite")[0] == 0


def test_events_as_json_lines(texture):
    status, out, err = texture("--events")
    events = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and not err
    assert events[0]["event"] == "started" and events[-1]["event"] == "done"
    kinds = [(event["kind"], event.get("object")) for event in events if event["event"] == "preview"]
    assert ("texture", "cube") in kinds and ("views", None) in kinds


@pytest.mark.parametrize("cameras", ["shots.json", "orbit.json"])
def test_cameras_from_a_file(texture, tmp_path, monkeypatch, cameras):
    monkeypatch.chdir(tmp_path)
    orbit_views(count=2, distance=6.0, width=320, height=180).save(cameras)
    status, _, err = texture("--cameras", cameras)
    assert status == 0, err
    assert json.loads((tmp_path / "job/job.json").read_text())["cameras"] == "inputs/cameras.json"


def test_the_front_is_told_to_the_prior(texture, tmp_path, monkeypatch):
    """Cameras of a file stay where they are, and what each sees is told from there."""
    told, cameras = [], tmp_path / "shots.json"
    orbit_views(count=4, distance=6.0).save(cameras)
    monkeypatch.setattr(
        diffusers_prior, "direction_words", lambda *arguments: told.append(direction_words(*arguments)) or told[-1]
    )
    status, _, err = texture("--cameras", cameras, "--front", "-90", "--schedule", "plain")
    assert status == 0, err
    assert json.loads((tmp_path / "job/job.json").read_text())["texture"]["front_degrees"] == -90
    assert told == ["side view", "back view", "side view", "front view"]


def test_a_turned_mesh_is_painted_as_it_was(texture, tmp_path):
    """A quarter around Z, from -Y to +X, and told so: an orbit begins there, and sees the same sides."""

    def turn(line):
        kind, *numbers = line.split()
        return f"v {-float(numbers[1])} {numbers[0]} {numbers[2]}" if kind == "v" else line

    mesh, turned = cube_obj(tmp_path / "mesh.obj"), tmp_path / "turned.obj"
    turned.write_text("\n".join(turn(line) for line in mesh.read_text().splitlines()))
    painted = []
    for path, front in ((mesh, 0), (turned, 90)):
        options = ["--mesh-up", "z", "--front", front, "--cameras", "orbit:4", "--schedule", "plain", "--overwrite"]
        status, _, err = texture(*options, mesh=path)
        assert status == 0, err
        painted.append(np.asarray(Image.open(tmp_path / "job/outputs/texture.png"), dtype=float))
    assert np.abs(painted[1] - painted[0]).max() <= 1


def test_a_long_prompt_is_cut_with_a_note(texture):
    status, _, err = texture("--prompt", "a very long story " * 20)
    assert status == 0 and "Note:" in err and "prompt" in err


def obj(text):
    return lambda path: path.write_text(text)


def stl_of(vertices):
    """A binary STL of one triangle."""

    def write(path):
        path.write_bytes(bytes(80) + struct.pack("<I12fH", 1, 0, 0, 1, *np.ravel(vertices), 0))

    return write


def nothing(path):
    pass


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("absent.obj", nothing, "There is no mesh"),
        ("empty.obj", obj(""), "is empty"),
        ("folder.obj", lambda path: path.mkdir(), "is a folder"),
        ("noise.obj", lambda path: path.write_bytes(bytes(range(256)) * 8), "noise.obj"),
        ("noise.glb", lambda path: path.write_bytes(b"not a glb at all"), "noise.glb"),
        ("noise.stl", obj("hello"), "noise.stl"),
        ("picture.png", lambda path: path.write_bytes(b"\x89PNG"), ".png"),
        ("points.obj", obj("v 0 0 0\nv 1 0 0\nv 0 1 0\n"), "no faces"),
        ("nan.obj", obj(CUBE.replace("v -1 -1 -1", "v nan 0 0")), "NaN"),
        ("infinite.obj", obj(CUBE.replace("v -1 -1 -1", "v inf 0 0")), "infinite"),
        ("infinite.stl", stl_of([[0, 0, 0], [1, 0, 0], [0, np.inf, 0]]), "infinite"),
        ("degenerate.obj", obj("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n"), "no area"),
        ("one_point.obj", obj("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n"), "one point"),
        ("index.obj", obj("v 0 0 0\nv 1 0 0\nf 1 2 9\n"), "index.obj"),
    ],
)
def test_a_mesh_that_is_no_good(texture, tmp_path, name, write, words):
    write(tmp_path / name)
    status, _, err = texture(mesh=tmp_path / name)
    assert status == 2 and words in err, err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CUBE + "f 1/1 1/1 2/2\n", "without area"),
        (CUBE.replace("vt 1 1", "vt 1.5 1"), "outside 0..1"),
        (CUBE, "on top of each other"),
        ("\n".join(line.split("/")[0] if line.startswith("vt") else line for line in CUBE.splitlines()), ""),
        (CUBE.replace("/1", "").replace("/2", "").replace("/3", "").replace("/4", ""), "no UVs"),
    ],
)
def test_a_mesh_that_is_odd_is_textured_with_a_note(texture, mesh, text, words):
    mesh.write_text(text)
    status, _, err = texture()
    assert status == 0 and words in err, err


def one_camera(position, target=(0, 0, 0)):
    return Views((Camera("shot", look_at(position, target), perspective_projection(40)),))


@pytest.mark.parametrize(
    ("cameras", "words"),
    [
        ('{"cameras": []}', "no camera"),
        ("{", "not JSON"),
        ("[]", "no list called 'cameras'"),
        ('{"cameras": [{"name": "a"}]}', "lacks"),
        ('{"cameras": [{"matrix_world": 1, "projection": 2}]}', "4x4"),
        (one_camera((0, -5, 0), (0, -9, 0)), "sees nothing"),
        (one_camera((0, 0, 0), (0, -1, 0)), "inside"),
    ],
)
def test_cameras_that_are_no_good(texture, tmp_path, cameras, words):
    path = tmp_path / "cameras.json"
    if isinstance(cameras, Views):
        cameras.save(path)
    else:
        path.write_text(cameras)
    status, _, err = texture("--cameras", path)
    assert status == 2 and words in err, err


def test_a_camera_file_that_is_missing(texture, tmp_path):
    status, _, err = texture("--cameras", tmp_path / "absent.json")
    assert status == 2 and "no camera file" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cameras", "orbit:0"], "orbit:8"),
        (["--steps", "0"], "'steps' must be at least 1"),
        (["--samples", "0"], "'samples' must be at least 1"),
        (["--eta", "3"], "'eta' must be at most 1"),
        (["--guidance-scale", "nan"], "'guidance_scale' must be a finite number"),
        (["--front", "nan"], "'texture.front_degrees' must be a finite number"),
        (["--front", "left"], "--front"),
        (["--resolution", "3"], "'texture.resolution' must be at least 16"),
        (["--schedule", "magic"], "no schedule called 'magic'"),
        (["--schedule", "magic", "--prior", "./absent"], "no schedule called 'magic'"),  # before the prior is loaded
        (["--schedule", "repaint:nan,1,2"], "'repaint:nan,1,2' cannot be read"),
        (["--schedule", "grown:inf"], "'grown:inf' cannot be read"),
        (["--device", "cuda"], "--device cpu"),
        (["--device", "toaster"], "must be auto, cpu"),
        (["--object", "sphere"], "no object called 'sphere'"),
        (["--seed", "x"], "seed"),
        (["--colour", "red"], "--colour"),
        (["--controlnet", "./absent"], "ControlNet"),
        (["--lora", "./absent.safetensors:0.5"], "no LoRA called"),
        (["--lora", "x.safetensors:99"], "A LoRA counts"),
    ],
)
def test_options_that_are_no_good(texture, arguments, words, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    status, _, err = texture(*arguments)
    assert status == 2 and words in err, err


def remove_part(folder):
    for file in (folder / "vae").iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (None, "no prior called"),
        (lambda folder: None, "model_index.json"),
        (remove_part, "vae"),
    ],
)
def test_priors_that_are_no_good(texture, tiny_sd, tmp_path, prepare, words):
    import shutil

    folder = tmp_path / "broken"
    if prepare is remove_part:
        shutil.copytree(tiny_sd, folder)
        remove_part(folder)
    elif prepare is not None:
        folder.mkdir()
    status, _, err = texture(prior=folder)
    assert status == 2 and words in err, err


def write_job(folder, **changes):
    folder.mkdir(exist_ok=True)
    (folder / "inputs").mkdir(exist_ok=True)
    (folder / "inputs/cube.obj").write_text(CUBE)
    request = {"schema_version": 1, "task": "texture", "prompt": "x", "texture": {"mesh": "inputs/cube.obj"}}
    (folder / "job.json").write_text(json.dumps({**request, **changes}))
    return folder


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"seed": "one"}, "'seed' must be a whole number"),
        ({"schema_version": 9}, "Update ddrep"),
        ({"texture": {"mesh": "../cube.obj"}}, "leaves the job folder"),
        ({"texture": {"mesh": "inputs/other.obj"}}, "no such file"),
        ({"prior": "no such prior!"}, "no prior called"),
    ],
)
def test_job_folders_that_are_no_good(ddrep, tiny_sd, tmp_path, changes, words):
    changes = {"prior": str(tiny_sd), **changes}
    status, _, err = ddrep("run", write_job(tmp_path / "job", **changes))
    assert status == 2 and words in err, err


def test_a_folder_that_is_no_job(ddrep, tmp_path):
    assert ddrep("run", tmp_path)[0] == 2
    assert ddrep("run", tmp_path / "absent")[0] == 2


def test_a_place_that_cannot_be_written(texture, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = texture("--out", tmp_path / "file" / "job")
    assert status == 1 and "cannot be written" in err


def test_the_doctor_speaks_json(ddrep, monkeypatch):
    status, out, _ = ddrep("doctor", "--json")
    report = json.loads(out)
    assert report["version"] == "0.1.0" and status == (0 if report["ok"] else 1)
    by_name = {check["name"]: check for check in report["checks"]}
    for name in ("torch", "ray casting", "unwrapping", "off-screen pictures", "films", "disk", "writable"):
        assert by_name[name]["ok"], by_name[name]
    assert all(check["fix"] for check in report["checks"] if not check["ok"])


def test_version_and_help(ddrep):
    assert ddrep("--version")[1].strip() == "ddrep 0.1.0"
    assert all(word in ddrep("--help")[1] for word in ("texture", "generate", "image", "panorama", "run", "doctor"))
    assert ddrep("paint")[0] == 2


@pytest.mark.parametrize("task", list(TASKS))
def test_a_task_s_help_speaks_of_no_types_of_python(ddrep, task):
    status, out, _ = ddrep(task.replace("_", "-"), "--help")
    assert status == 0 and "typing" not in out and "Annotated" not in out and "class" not in out


def test_the_parts_of_a_block_are_options_that_may_be_left_out():
    told = {each.name: each for each in option_parameters(Request, ["reference"])}
    assert list(told) == ["reference", "ip_adapter", "image_encoder", "view_reference"]
    assert all(each.default is None for each in told.values())


def test_help_need_not_wait_for_torch():
    told = "import sys; import ddrep_core.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0
