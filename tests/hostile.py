"""Job folders, batch tables, drawings and checkpoints as a stranger (or a bad disk) may have made them.

`seeds` are sound jobs of every task; `mutated` spoils one; `attempt` runs it up to where a model would be loaded, and
says what came of it. Anything but a result or words for a person is raised.
"""

from __future__ import annotations

import io
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ddrep_core.errors import DdrepError, RequestError
from ddrep_core.jobs.run import run_job

REACHED = "a model would be loaded now"
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**63, 10**400, -1e308, 5e-324, "", "\0", "../../etc/passwd", "/etc/passwd", "\ud800",
    "a" * 300, "inputs", "inputs/", "orbit:0", "orbit:512", [], {}, [[]], "NaN", "C:\\x", "~", "inputs/mesh.obj",
    "inputs/cameras.json",
)  # fmt: skip
MESH = """o Sheet
v -1 -1 0
v 1 -1 0
v 1 1 0
v -1 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl paint
f 1/1 2/2 3/3 4/4
"""


def picture(size: int = 16, mode: str = "L", suffix: str = "PNG") -> bytes:
    """A half white picture."""
    values = np.zeros((size, size), np.uint8)
    values[:, size // 2 :] = 255
    file = io.BytesIO()
    Image.fromarray(values).convert(mode).save(file, suffix)
    return file.getvalue()


def camera_file() -> bytes:
    """Two cameras that look down on the sheet."""
    projection = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, -1.0, -0.2], [0, 0, -1.0, 0]]
    world = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 4.0], [0, 0, 0, 1.0]]
    shared = {"matrix_world": world, "projection": projection, "width": 64, "height": 64, "weight": 1.0, "prompt": ""}
    return json.dumps({"cameras": [{"name": name, **shared} for name in ("Front", "Other")]}).encode()


def seeds() -> list[dict[str, bytes]]:
    """Sound jobs, as {path: bytes}; small, so that nothing but what is odd in them takes time."""
    common = {"schema_version": 1, "prompt": "a cow", "seed": 3, "steps": 2}
    sheet = {"inputs/mesh.obj": MESH.encode(), "inputs/cameras.json": camera_file()}
    texture = {"mesh": "inputs/mesh.obj", "mesh_up": "z", "resolution": 16}
    mask = {"inputs/mask.png": picture(), "inputs/picture.png": picture(mode="RGB")}
    kept = {"keep": [{"object": "Sheet", "file": "inputs/mask.png"}], "base": [{"file": "inputs/picture.png"}]}
    pinned = {"pins": [{"camera": "Front", "file": "inputs/picture.png", "weight": 0.5}], "from_texture": True}
    worn = {"source": "inputs/mesh.obj", "kind": "texture", "resolution": 16, "mesh_up": "z", "source_prompt": "x"}
    worn |= {"textures": {"Sheet": "inputs/picture.png"}}
    whole = {"keep": "inputs/mask.png", "base": "inputs/picture.png"}
    jobs: list[tuple[dict[str, Any], dict[str, bytes]]] = [
        ({"task": "texture", "cameras": "inputs/cameras.json", "texture": texture}, sheet),
        ({"task": "texture", "cameras": "orbit:4", "texture": {**texture, **kept}}, {**sheet, **mask}),
        ({"task": "texture", "cameras": "inputs/cameras.json", "texture": {**texture, **pinned, "base": kept["base"]}},
         {**sheet, **mask}),
        ({"task": "image", "image": {"width": 16, "height": 16, **whole}}, mask),
        ({"task": "panorama", "panorama": {"width": 64}}, {}),
        ({"task": "generate", "generate": {"faces": 100, "resolution": 16, "grid": 8}}, {}),
        ({"task": "vector", "vector": {"paths": 2, "size": 16}}, {}),
        ({"task": "restore", "restore": {"picture": "inputs/picture.png", "mask": "inputs/mask.png"}}, mask),
        ({"task": "edit", "edit": {"source": "inputs/picture.png", "kind": "image", "source_prompt": "x"}}, mask),
        ({"task": "edit", "edit": worn}, {**sheet, **mask}),
    ]  # fmt: skip
    return [{"job.json": json.dumps({**common, **request}).encode(), **files} for request, files in jobs]


def mutated(files: dict[str, bytes], chance: random.Random) -> dict[str, bytes]:
    """A few things in one or two files are not what they were."""
    found = dict(files)
    for _ in range(chance.randint(1, 2)):
        name = "job.json" if chance.random() < 0.5 else chance.choice(sorted(found))
        data = found[name]
        match chance.randint(0, 5 if name.endswith(".json") else 3):
            case 0:
                found[name] = spoilt_bytes(data, chance)
            case 1:
                found[name] = data[: chance.randint(0, len(data))]
            case 2:
                found[name] = found[chance.choice(sorted(found))]
            case 3 if name != "job.json":
                del found[name]
            case _:
                found[name] = spoilt_json(data, chance)
    return found


def spoilt_bytes(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, taken out or put in."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 4, 30))):
        at = chance.randrange(len(found) + 1)
        piece = chance.choice((b"\0", b"\xff", b"9" * 400, b"nan", b"-", b"/", b'"', b"[" * 50, chance.randbytes(4)))
        found[at : at + chance.choice((0, 1, 1, 8))] = piece
    return bytes(found)


def spoilt_json(data: bytes, chance: random.Random) -> bytes:
    """One value changed, one key gone, or one more."""
    try:
        document = json.loads(data)
    except ValueError:
        return spoilt_bytes(data, chance)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if not isinstance(document, dict | list) or not document:
        return data
    walk(document)
    node, key = chance.choice(places)
    match chance.randint(0, 3):
        case 0 if isinstance(node, dict):
            del node[key]
        case 1 if isinstance(node, dict):
            node[chance.choice(("x", "keep", "pins", "base", "objects", "cameras", key + "s"))] = node[key]
        case _:
            node[key] = chance.choice(ODD)
    return json.dumps(document).encode()


def write(folder: Path, files: dict[str, bytes]) -> None:
    """The files, and nothing else, in a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def attempt(folder: Path) -> str:
    """ "taken" or "refused".

    Raises:
        AssertionError: an error that nobody foresaw, or no words.
    """

    def no_model(request: Any) -> Any:
        raise RequestError(REACHED)

    try:
        run_job(folder, load_prior=no_model)
    except DdrepError as error:
        if error.message == REACHED:
            return "taken"
        words = str(error)
        words.encode()
        assert error.message and "did not foresee" not in words, words
        return "refused"
    raise AssertionError("a job without a model cannot end well")
