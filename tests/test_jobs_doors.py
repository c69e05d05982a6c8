"""What comes in through job.json and camera files: whatever it is, it is taken or refused in words."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddrep_core.errors import RequestError
from ddrep_core.jobs.events import EventLog, JsonLines
from ddrep_core.jobs.folder import JobFolder, read_json, write_json
from ddrep_core.jobs.request import parse_request, parse_request_text
from ddrep_core.jobs.texture import LONGEST_NAME, _file_names
from ddrep_core.views import Camera, Views

HUGE = 10**400
numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([HUGE, -HUGE, 10**4200, 1e308, -1e308, 5e-324, 2**63, float("nan")])
)
texts = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates too
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
KEYS = (
    "schema_version", "task", "prompt", "negative_prompt", "seed", "samples", "prior", "controlnet", "guidance_scale",
    "steps", "eta", "schedule", "device", "precision", "max_batch", "cameras", "texture", "generate", "image",
)  # fmt: skip
BLOCK = ("mesh", "mesh_up", "resolution", "space", "objects", "depth", "front_degrees")
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(
    changes=st.dictionaries(st.sampled_from(KEYS), values, max_size=3),
    block=st.dictionaries(st.sampled_from(BLOCK), values, max_size=3),
)
def test_any_request_is_taken_or_refused(changes, block):
    data = {"schema_version": 1, "task": "texture", "texture": {"mesh": "a.obj", **block}, **changes}
    try:
        parse_request(data)
    except RequestError as error:
        str(error).encode()


@quick
@given(key=st.sampled_from(("seed", "guidance_scale", "eta", "steps", "schema_version")), digits=st.integers(1, 6000))
def test_a_number_of_any_length_in_a_file(key, digits):
    text = json.dumps({"schema_version": 1, "task": "image", "image": {}})
    text = text[:-1] + f', "{key}": {"9" * digits}}}'
    try:
        parse_request_text(text)
    except RequestError as error:
        assert len(str(error)) < 400


@pytest.mark.parametrize("literal", ["9" * 400, "1e999", "-1e999", "NaN", "Infinity"])
def test_numbers_that_nothing_can_be_computed_with(literal):
    with pytest.raises(RequestError):
        parse_request_text(f'{{"schema_version": 1, "task": "image", "guidance_scale": {literal}}}')


ENTRIES = st.one_of(st.sampled_from([0, 1, -1, 1e308, -1e308, 1e-308, HUGE, "1", None, float("inf")]), st.floats())


@quick
@given(
    places=st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 3)), ENTRIES, max_size=4),
    which=st.sampled_from(["matrix_world", "projection"]),
    others=st.dictionaries(st.sampled_from(["name", "width", "height", "weight", "prompt"]), values, max_size=2),
)
def test_any_camera_is_taken_and_can_be_looked_through_or_refused(places, which, others):
    projection = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, -1.0, -0.2], [0, 0, -1.0, 0]]
    data = {"matrix_world": [[float(i == j) for j in range(4)] for i in range(4)], "projection": projection, **others}
    for (row, column), value in places.items():
        data[which][row][column] = value
    try:
        camera = Camera.from_json(data)
    except RequestError as error:
        str(error).encode()
        return
    camera.rays([[0.5, 0.5]])
    camera.project([[0.0, 0.0, 0.0]])
    json.dumps(camera.to_json(), allow_nan=False).encode()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"cameras": [{"weight": 1e999}]}', '{"cameras": {}}', "\0", "7"])
def test_camera_files_that_are_no_good(tmp_path, text):
    (tmp_path / "cameras.json").write_text(text)
    with pytest.raises(RequestError):
        Views.load(tmp_path / "cameras.json")


@quick
@given(names=st.lists(st.one_of(texts, st.text(min_size=100, max_size=400)), unique=True, max_size=6))
def test_names_become_file_names_of_their_own(names):
    found = _file_names(names)
    assert len({name.lower() for name in found.values()}) == len(names)
    for name in found.values():
        assert 0 < len(name.encode()) <= LONGEST_NAME + 4 and "/" not in name and name not in (".", "..")


@quick
@given(message=texts)
def test_events_and_records_can_be_written_whatever_they_say(tmp_path_factory, message):
    folder = JobFolder(tmp_path_factory.mktemp("job"))
    heard = []
    log = EventLog(folder, (heard.append,))
    log.emit("error", message=message, fix="", status=1)
    log.close()
    assert [json.loads(line) for line in folder.events_file.read_bytes().split(b"\n")[:-1]] == heard
    write_json(folder.path / "record.json", {"name": message})
    assert read_json(folder.path / "record.json") == {"name": message}


def test_events_reach_a_terminal_that_knows_no_such_character(tmp_path):
    with (tmp_path / "out").open("w", encoding="ascii") as stream:
        JsonLines(stream)({"event": "error", "message": "木 \ud800"})
    assert json.loads((tmp_path / "out").read_text())["message"] == "木 \ud800"


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
@pytest.mark.parametrize("seconds", [0.15, 0.4, 0.8, 1.0, 1.2])
def test_ctrl_c_while_it_starts(tmp_path, seconds):
    command = [sys.executable, "-m", "ddrep_core", "run", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    if 'File "<frozen' not in err:  # Python itself was still starting: nothing of ours was there to answer
        assert "Traceback" not in err and process.returncode in (2, 130, -signal.SIGINT)  # a shell says 130 for both
