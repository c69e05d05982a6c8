"""job.json: what is accepted, and in which words the rest is refused."""

import json
import math

import pytest

from ddrep_core.errors import RequestError
from ddrep_core.jobs.request import parse_request, parse_request_text

MINIMAL = {"schema_version": 1, "task": "texture", "prompt": "a wooden cow", "texture": {"mesh": "inputs/mesh.obj"}}


def changed(**changes):
    return {**MINIMAL, **changes}


def test_defaults_are_written_out_and_read_back():
    request = parse_request(MINIMAL)
    assert request.to_json()["texture"] == {
        "mesh": "inputs/mesh.obj",
        "mesh_up": "auto",
        "resolution": 1024,
        "space": "auto",
        "objects": None,
        "depth": True,
        "front_degrees": 0.0,
    }
    assert parse_request(request.to_json()) == request
    assert parse_request_text(json.dumps(request.to_json())) == request
    assert set(request.to_json()) & {"generate", "image", "panorama"} == set()


def test_a_task_with_defaults_for_everything_may_leave_its_block_out():
    assert parse_request({"schema_version": 1, "task": "image"}).image is not None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (changed(promt="x"), "unknown key 'promt' (did you mean 'prompt'?)"),
        (
            changed(texture={"mesh": "a.obj", "resolutoin": 3}),
            "unknown key 'texture.resolutoin' (did you mean 'resolution'?)",
        ),
        (changed(seed="7"), "'seed' must be a whole number, not the text \"7\""),
        (changed(seed=True), "'seed' must be a whole number, not true"),
        (changed(seed=-1), "'seed' must be at least 0, not -1"),
        (changed(samples=1.5), "'samples' must be a whole number, not 1.5"),
        (changed(samples=0), "'samples' must be at least 1, not 0"),
        (changed(prompt=None), "'prompt' must be text, not null"),
        (changed(prompt=["a"]), "'prompt' must be text, not a list"),
        (changed(guidance_scale=math.inf), "'guidance_scale' must be a finite number"),
        (changed(eta=2), "'eta' must be at most 1, not 2"),
        (changed(device="tpu"), "'device' must be auto, cpu, cuda, cuda:N or mps, not the text \"tpu\""),
        (
            changed(texture={"mesh": "a.obj", "front_degrees": math.nan}),
            "'texture.front_degrees' must be a finite number, not NaN or infinity",
        ),
        (
            changed(texture={"mesh": "a.obj", "front_degrees": "left"}),
            "'texture.front_degrees' must be a number, not the text \"left\"",
        ),
        (
            changed(texture={"mesh": "a.obj", "front_degrees": True}),
            "'texture.front_degrees' must be a number, not true",
        ),
        (changed(texture=3), "'texture' must be an object with keys, not 3"),
        (changed(task="paint"), "'image', 'panorama', 'vector', 'detail', 'edit', 'restore', 'from_image' or 'motion'"),
        (changed(image={"width": 64}), "the task is 'texture', so the block 'image' must go"),
        ({**MINIMAL, "task": "image"}, "the task is 'image', so the block 'texture' must go"),
        ({"schema_version": 1, "task": "texture"}, "the task is 'texture', but the block 'texture' is missing"),
        ({"task": "image"}, "the key 'schema_version' is missing"),
        (changed(schema_version=2), "schema_version 2; this ddrep reads up to 1"),
        (changed(schema_version="1"), "'schema_version' must be 1"),
        (changed(cameras="orbit:0"), "'cameras' (the text \"orbit:0\") must be like orbit:8"),
        (changed(cameras="orbit:many"), "must be like orbit:8"),
        (changed(cameras="../cameras.json"), "leaves the job folder"),
        ([1], "must hold a JSON object, and holds a list"),
    ],
)
def test_what_is_wrong_is_told_in_words(data, words):
    with pytest.raises(RequestError) as caught:
        parse_request(data)
    assert words in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    "path",
    [
        "../mesh.obj",
        "inputs/../../mesh.obj",
        "/etc/passwd",
        "C:\\mesh.obj",
        "\\\\host\\mesh.obj",
        "..\\mesh.obj",
        "~/mesh.obj",
        "",
    ],
)
def test_a_path_may_not_leave_the_folder(path):
    with pytest.raises(RequestError, match=r"texture\.mesh"):
        parse_request(changed(texture={"mesh": path}))


def test_everything_that_is_wrong_is_told_at_once():
    with pytest.raises(RequestError) as caught:
        parse_request(changed(seed="x", colour="red"))
    assert "'seed'" in str(caught.value) and "'colour'" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", '{"seed": NaN}', "[" * 100_000])
def test_text_that_is_not_json(text):
    with pytest.raises(RequestError, match="is not JSON"):
        parse_request_text(text)
