"""Job folders, batch tables, drawings and checkpoints as a stranger (or a bad disk) may have made them.

`seeds` are sound jobs of every task; `mutated` spoils one; `attempt` runs it up to where a model would be loaded, and
says what came of it. `KINDS` has one such way for each kind of file. Anything but a result or words for a person is
raised.
"""

from __future__ import annotations

import io
import json
import random
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ddrep_core.batch.plan import plan_jobs
from ddrep_core.batch.table import read_table
from ddrep_core.errors import DdrepError, RequestError
from ddrep_core.jobs.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from ddrep_core.jobs.run import run_job
from ddrep_core.vector import read_svg

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


def square_on_white() -> bytes:
    """A picture that shows one object."""
    values = np.full((32, 32), 255, np.uint8)
    values[8:24, 10:22] = 40
    file = io.BytesIO()
    Image.fromarray(values).convert("RGB").save(file, "PNG")
    return file.getvalue()


def camera_file() -> bytes:
    """Two cameras that look down on the sheet."""
    projection = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, -1.0, -0.2], [0, 0, -1.0, 0]]
    world = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 4.0], [0, 0, 0, 1.0]]
    shared = {"matrix_world": world, "projection": projection, "width": 64, "height": 64, "weight": 1.0, "prompt": ""}
    return json.dumps({"cameras": [{"name": name, **shared} for name in ("Front", "Other")]}).encode()


SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20"><defs><linearGradient id="g"><stop offset="0"
stop-color="red"/></linearGradient></defs><g transform="rotate(3)">
<path fill="url(#g)" d="M3 4 H15 V17 A3 4 0 1 0 5 6Z"/><use href="#g"/></g></svg>"""
PLAIN_SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20"><path fill="#a03010" opacity="0.5"
d="M3 4 C5 1 15 1 15 4 V17 Z"/><circle cx="10" cy="9" r="4" fill="navy" stroke="white" stroke-width="2"/></svg>"""


def seeds() -> list[dict[str, bytes]]:
    """Sound jobs, as {path: bytes}; small, so that nothing but what is odd in them takes time."""
    common = {"schema_version": 1, "prompt": "a cow", "seed": 3, "steps": 2}
    sheet = {"inputs/mesh.obj": MESH.encode(), "inputs/cameras.json": camera_file()}
    texture = {"mesh": "inputs/mesh.obj", "mesh_up": "z", "resolution": 16}
    mask = {"inputs/mask.png": picture(), "inputs/picture.png": picture(mode="RGB")}
    kept = {"keep": [{"object": "Sheet", "file": "inputs/mask.png"}], "base": [{"file": "inputs/picture.png"}]}
    pinned = {"pins": [{"camera": "Front", "file": "inputs/picture.png", "weight": 0.5}], "from_texture": True}
    worn = {"source": "inputs/mesh.obj", "resolution": 16, "mesh_up": "z"}
    worn |= {"textures": {"Sheet": "inputs/picture.png"}}
    edited = {"kind": "texture", "source_prompt": "x", "keep": kept["keep"], "method": "sdedit"}
    whole = {"keep": "inputs/mask.png", "base": "inputs/picture.png"}
    cut_out = {"inputs/picture.png": square_on_white(), "inputs/palette.png": picture(mode="RGB")}
    colours = {"palette": "inputs/palette.png", "palette_amount": 0.5}
    drawing = {"inputs/drawing.svg": PLAIN_SVG}
    panned = {"source": "inputs/picture.png", "kind": "panorama", "projection": "cylinder", "strength": 0.5}
    panned |= {"source_prompt": "x"}
    looked = {"picture": "inputs/picture.png", "adapter": "nowhere.safetensors", "scale": 0.5}
    looked["cameras"] = [{"camera": "Front", "file": "inputs/picture.png"}]
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
        ({"task": "edit", "edit": {**worn, **edited}}, {**sheet, **mask}),
        ({"task": "edit",
          "edit": {"source": "inputs/drawing.svg", "source_prompt": "x", "moving": ["colours", "widths"]}}, drawing),
        ({"task": "edit", "edit": panned}, mask),
        ({"task": "detail", "cameras": "six-sides:ortho", "detail": {**worn, "close_ups": 2}}, {**sheet, **mask}),
        ({"task": "from_image", "prompt": "",
          "from_image": {"picture": "inputs/picture.png", "faces": 100, "resolution": 16}}, cut_out),
        ({"task": "texture", "cameras": "coverage:4", "samples": 2, "diversity": 0.5,
          "texture": {**texture, **colours, "symmetry": "x", "both_sides": True}}, {**sheet, **cut_out}),
        ({"task": "texture", "cameras": "inputs/cameras.json", "reference": looked,
          "texture": {**texture, "detail": True, "close_ups": 1, "udim": True, "objects": ["Sheet"]}},
         {**sheet, **mask}),
        ({"task": "image", "schedule": "restart", "unlike": ["inputs/picture.png"],
          "image": {"width": 16, "height": 16, "tile": True}}, mask),
        ({"task": "restore", "restore": {"picture": "inputs/picture.png", "damage": "upscale:2"}}, mask),
    ]  # fmt: skip
    return [{"job.json": json.dumps({**common, **request}).encode(), **files} for request, files in jobs]


TABLES = {
    "t.csv": b'mesh,prompt,seed,cameras\nmesh.obj,"red, old bricks",3,orbit:4\nmesh.obj,wood,,\n',
    "t.jsonl": b'{"mesh": "mesh.obj", "prompt": "red", "seed": 3}\n{"task": "image", "prompt": "x"}\n'
    b'{"task": "from_image", "picture": "p.png"}\n{"task": "detail", "source": "mesh.obj", "close_ups": 2}\n',
    "t.yaml": b"defaults: {steps: 2}\njobs:\n  - {mesh: mesh.obj, prompt: oak, cameras: six-sides}\n"
    b"  - {task: edit, source: p.png, prompt: y, keep: p.png}\n  - {task: restore, picture: p.png, mask: p.png}\n"
    b"sweep: {mesh: [mesh.obj], seed: [1, 2]}\n",
    "t.json": b'[{"mesh": "mesh.obj", "prompt": "red", "both_sides": true, "keep": ["Sheet=p.png"], "palette": "p.png",'
    b'"pins": ["orbit 0=p.png:0.5"], "schedule": "repaint:1,1,2"}]',
}


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
    """What a job comes to: "taken", or the words of its refusal.

    Raises:
        AssertionError: an error that nobody foresaw, or no words.
    """

    def no_model(request: Any) -> Any:
        raise RequestError(REACHED)

    try:
        run_job(folder, load_prior=no_model)
    except DdrepError as error:
        return "taken" if error.message == REACHED else words_of(error)
    raise AssertionError("a job without a model cannot end well")


def words_of(error: DdrepError) -> str:
    """What a person is told.

    Raises:
        AssertionError: nothing, or that nobody foresaw it.
    """
    words = str(error)
    words.encode()
    assert error.message and "did not foresee" not in words, words
    return words


def spoilt_job(folder: Path, chance: random.Random) -> str:
    """One job, spoilt and begun."""
    write(folder, mutated(chance.choice(seeds()), chance))
    return attempt(folder)


def spoilt_mask(folder: Path, chance: random.Random) -> str:
    """A job whose mask is spoilt, and of any format."""
    files = dict(chance.choice([each for each in seeds() if "inputs/mask.png" in each]))
    suffix = chance.choice(["PNG", "JPEG", "TIFF", "GIF", "BMP"])
    files["inputs/mask.png"] = spoilt_bytes(picture(suffix=suffix), chance)
    write(folder, files)
    return attempt(folder)


def spoilt_table(folder: Path, chance: random.Random) -> str:
    """A batch's table, spoilt and looked through."""
    name = chance.choice(sorted(TABLES))
    beside = {"mesh.obj": MESH.encode(), "p.png": picture(mode="RGB")}
    write(folder, {name: spoilt_bytes(TABLES[name], chance), **beside})
    return looked_through(folder, name)


def looked_through(folder: Path, name: str) -> str:
    """What a table comes to."""
    try:
        plan_jobs(read_table(folder / name), folder)
    except DdrepError as error:
        return words_of(error)
    return "taken"


def spoilt_drawing(folder: Path, chance: random.Random) -> str:
    """An SVG file, spoilt and read."""
    write(folder, {"drawing.svg": spoilt_bytes(chance.choice((SVG, PLAIN_SVG)), chance)})
    return drawn(folder)


def drawn(folder: Path) -> str:
    """What a drawing comes to."""
    try:
        read_svg(folder / "drawing.svg")
    except DdrepError as error:
        return words_of(error)
    return "taken"


def spoilt_checkpoint(folder: Path, chance: random.Random) -> str:
    """The last of two checkpoints, spoilt: the one before is found, or it was not spoilt at all."""
    shutil.rmtree(folder, ignore_errors=True)
    tensors = {"theta": torch.ones(3)}
    write_checkpoint(folder, Checkpoint(tensors, {"step": 1}))
    path = write_checkpoint(folder, Checkpoint(tensors, {"step": 2})) / chance.choice(
        ("state.json", "state.safetensors")
    )
    sound = path.read_bytes()
    spoilt = spoilt_bytes(sound, chance)
    path.write_bytes(spoilt)
    found, complaints = read_checkpoint(folder)
    assert found is not None and torch.equal(found.tensors["theta"], tensors["theta"])
    assert spoilt == sound or found.numbers["step"] == 2 or complaints
    return "; ".join(complaints) or "taken"


KINDS: dict[str, Callable[[Path, random.Random], str]] = {
    "job": spoilt_job,
    "mask": spoilt_mask,
    "table": spoilt_table,
    "drawing": spoilt_drawing,
    "checkpoint": spoilt_checkpoint,
}
"""What can be spoilt: each writes it into a folder and returns "taken", or the words of its refusal."""

CORPUS = Path(__file__).resolve().parent / "hostile_corpus.zip"
"""One file or folder for every way in which one was refused so far: `scripts/try_hostile --corpus` adds to it."""


def way(words: str) -> str:
    """Refusals that differ in names and numbers alone are one way."""
    words = re.sub(r"'[^']*'|\"[^\"]*\"|/\S+|\b\S*\.(obj|png|json|svg|csv|jsonl|yaml)\b", "_", words)
    return re.sub(r"-?[\d.]+|\\\S+", "0", words)[:60]


def kept_cases() -> dict[str, dict[str, bytes]]:
    """The corpus: {"job/012": {path: bytes}}."""
    found: dict[str, dict[str, bytes]] = {}
    with zipfile.ZipFile(CORPUS) as archive:
        for name in sorted(archive.namelist()):
            kind, number, path = name.split("/", 2)
            found.setdefault(f"{kind}/{number}", {})[path] = archive.read(name)
    return found


def keep_cases(cases: Mapping[str, Mapping[str, bytes]]) -> None:
    """Write the corpus, the same bytes for the same cases."""
    with zipfile.ZipFile(CORPUS, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, files in sorted(cases.items()):
            for path, data in sorted(files.items()):
                archive.writestr(zipfile.ZipInfo(f"{name}/{path}"), data, zipfile.ZIP_DEFLATED)


def case_again(folder: Path, kind: str, files: dict[str, bytes]) -> str:
    """What a kept case comes to now."""
    write(folder, files)
    match kind:
        case "table":
            return looked_through(folder, next(name for name in files if name.startswith("t.")))
        case "drawing":
            return drawn(folder)
        case "checkpoint":
            found, complaints = read_checkpoint(folder)
            assert found is not None or complaints
            return "; ".join(complaints) or "taken"
        case _:
            return attempt(folder)
