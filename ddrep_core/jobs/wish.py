"""What a person wishes, in the words of the command line (`--keep Cow=mask.png`), as a request and the files it needs.

The shell, a batch's table and Python speak of a job in the same words; job.json names copies in its own inputs/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from ddrep_core.confined import is_file, is_there, named
from ddrep_core.errors import RequestError
from ddrep_core.jobs.block import Block
from ddrep_core.jobs.create import existing_file, kept_results, side_files
from ddrep_core.jobs.edit_source import find_origin
from ddrep_core.jobs.placement import is_placement
from ddrep_core.jobs.request import TASKS, Request

BESIDE_REFERENCE = ("ip_adapter", "image_encoder", "view_reference")
"""What is said beside a reference picture, and is one block with it in job.json."""
Copies: TypeAlias = dict[PurePosixPath, Path]
"""Files by their place in inputs/."""


@dataclass(frozen=True)
class Wish:
    """A job that is not written yet.

    Attributes:
        request: as `create_job` takes it; its paths are those of the copies.
        copies: what to copy into inputs/.
        called: what it is about, for a name: its mesh's or picture's, else the task's.
    """

    request: dict[str, Any]
    copies: Copies
    called: str


def wish_of(task: str, told: Mapping[str, Any], base: Path | None = None, *, elsewhere: bool = False) -> Wish:
    """A task's options by their keys; those that are not the task's or all tasks' are passed over, None is not said.

    Args:
        task: one of `TASKS`.
        told: files as the command line spells them: {"mesh": "cow.obj", "loras": ["oil.safetensors:0.7"], ...}.
        base: the folder that files are named from; the current one when None.
        elsewhere: the job is for another machine: models and adapters, which are not copied, are named as there.

    Raises:
        RequestError: a file that is not there, or words that name none.
    """
    block, _ = TASKS[task]
    said = {key: value for key, value in told.items() if value is not None and value != []}
    files = _Files(base or Path(), elsewhere)
    if "source" in block.model_fields and "source" in said:
        said = _of_origin(block, files.path(said["source"]), said)
    own = {key: _own(key, said[key], files) for key in block.model_fields if key in said}
    common = {key: _common(key, said, files) for key in Request.model_fields if key in said and key != "task"}
    if "reference" not in said and any(key in said for key in BESIDE_REFERENCE):
        raise RequestError(
            "An IP-Adapter wants a picture to look at, for all views that have none of their own.",
            "Give one with --reference PICTURE.",
        )
    if isinstance(common.get("controlnets"), str):  # as it was said before there could be more
        common["controlnet"] = common.pop("controlnets")
    named = next((Path(said[key]).stem for key in ("mesh", "picture") if key in own), block.called or task)
    return Wish({"task": task, **common, task: own}, files.copies, named)


@dataclass
class _Files:
    """Finds files from a folder, and notes which ones to copy where."""

    base: Path
    elsewhere: bool = False
    copies: Copies = field(default_factory=dict)

    def path(self, name: Any) -> Path:
        if not isinstance(name, str | Path) or not str(name).strip() or "\0" in str(name):
            raise RequestError(f"{name!r} is no path.")
        return self.base / named(name)

    def resolved(self, name: Any) -> Any:
        """A folder's or a file's whole path; what is none stays as it is: "bundled", a hub id."""
        if not isinstance(name, str) or name == "bundled" or "\0" in name or not name.strip():
            return name
        path = self.path(name)
        return str(path.resolve()) if is_there(path) and not self.elsewhere else name

    def uncopied(self, name: Any) -> str:
        """A file's whole path; of one that is elsewhere, what it is called there."""
        path = self.path(name)
        return str(name) if self.elsewhere else str(path.resolve())

    def copied(self, name: Any, what: str, place: str) -> str:
        """A file's copy as job.json names it; its suffix is kept."""
        source = existing_file(self.path(name), what)
        relative = PurePosixPath(f"{place}{source.suffix.lower()}")
        self.copies[relative] = source
        return f"inputs/{relative}"

    def with_side_files(self, name: Any, what: str) -> str:
        """A mesh keeps its name, and so do the files that it names."""
        source = existing_file(self.path(name), what)
        self.copies |= side_files(source)
        return f"inputs/{source.name}"


def _own(key: str, value: Any, files: _Files) -> Any:
    """A key of the task's own block."""
    match key:
        case "mesh":
            return files.with_side_files(value, "mesh")
        case "source":
            return files.with_side_files(value, "mesh, picture or drawing")
        case "picture" | "mask" | "palette":
            return files.copied(value, key, key)
        case "intrinsics" | "normals_model":
            return files.resolved(value)
        case "keep" | "base":
            return _each(value, key, _of_object, files)
        case "pins":
            return _each(value, key, _of_camera, files)
    return value


def _common(key: str, said: Mapping[str, Any], files: _Files) -> Any:
    """A key that all tasks share."""
    value = said[key]
    match key:
        case "prior" | "controlnet":
            return files.resolved(value)
        case "controlnets":
            return _controlnets(value, files)
        case "loras":
            return _loras(value, files)
        case "reference":
            return value if isinstance(value, dict) else _reference(said, files)
        case "unlike":
            results = [file for each in _listed(value) for file in kept_results(files.path(each))]
            return [files.copied(file, "result", f"unlike/{number:03d}") for number, file in enumerate(results)]
        case "cameras" if isinstance(value, str) and not is_placement(value):
            files.copies[PurePosixPath("cameras.json")] = existing_file(files.path(value), "camera file")
            return "inputs/cameras.json"
    return value


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _of_origin(block: type[Block], source: Path, said: Mapping[str, Any]) -> dict[str, Any]:
    """What was said, with what the job that made its source says where nothing else was said."""
    origin = find_origin(source)
    if block.of_textures and origin.kind != "texture":
        raise RequestError(f"{source} is no textured mesh.", "Give a texture job's folder, or a mesh with its texture.")
    of_job = {"kind": origin.kind, "source_prompt": origin.prompt, "prompt": origin.prompt, **origin.settings}
    fields = dict(block.model_fields)
    if block.of_textures:  # the same words are for what it shall be
        fields["prompt"] = Request.model_fields["prompt"]
    known = {key: value for key, value in of_job.items() if key in fields}
    unsaid = {key: value for key, value in known.items() if said.get(key, fields[key].default) == fields[key].default}
    return {**said, **unsaid, "source": origin.file}


Reader: TypeAlias = Callable[[str, _Files], tuple[dict[str, Any], str]]
"""Of a text: what it says beside a file, and the file."""


def _each(value: Any, key: str, read: Reader, files: _Files) -> Any:
    """One entry of job.json for each text, or where there can be one alone, its file."""
    entries = []
    for number, text in enumerate(_listed(value)):
        if not isinstance(text, str):
            raise RequestError(f"{text!r} names no picture.")
        entry, name = read(text, files)
        entries.append({**entry, "file": files.copied(name, "picture", f"{key}_{number}")})
    return entries[0]["file"] if isinstance(value, str) else entries


def _of_object(text: str, files: _Files) -> tuple[dict[str, Any], str]:
    """FILE or OBJECT=FILE."""
    name, equals, file = text.partition("=")
    if not equals or is_file(files.path(text)):
        return {}, text
    return {"object": name}, file


def _of_camera(text: str, files: _Files) -> tuple[dict[str, Any], str]:
    """CAMERA=FILE or CAMERA=FILE:WEIGHT."""
    name, equals, file = text.partition("=")
    if not equals or not name or not file:
        raise RequestError(f"'{text}' does not say which camera sees which picture.", "Write CAMERA=PICTURE.")
    path, colon, weight = file.rpartition(":")
    if colon and not is_file(files.path(file)):
        try:
            return {"camera": name, "weight": float(weight)}, path
        except ValueError:
            pass  # a colon of the file's own name
    return {"camera": name}, file


def _loras(value: Any, files: _Files) -> list[Any]:
    from ddrep_core.priors.adapters.lora import parse_lora

    found = []
    for each in _listed(value):
        if isinstance(each, str):
            lora = parse_lora(each)
            each = {"file": files.uncopied(lora.file), "weight": lora.weight}
        found.append(each)
    return found


def _controlnets(value: Any, files: _Files) -> Any:
    """Several, or the name of the only one of which nothing else is said."""
    from ddrep_core.priors.adapters.controlnet import Control, parse_control

    if not all(isinstance(each, str) for each in _listed(value)):
        return value
    found = [parse_control(text) for text in _listed(value)]
    if len(found) == 1 and found[0] == Control(found[0].source):
        return files.resolved(found[0].source)
    return [{"folder": files.resolved(each.source), "kind": each.kind, "scale": each.scale} for each in found]


def _reference(said: Mapping[str, Any], files: _Files) -> dict[str, Any]:
    from ddrep_core.priors.adapters.ip_adapter import parse_reference

    if "ip_adapter" not in said:
        raise RequestError(
            "A reference picture wants an IP-Adapter of the prior's family.",
            "Name its .safetensors file with --ip-adapter.",
        )
    picture, scale = parse_reference(said["reference"])
    encoder = said.get("image_encoder")
    views = []
    for number, text in enumerate(_listed(said.get("view_reference", []))):
        name, _, file = str(text).partition("=")
        if not name or not file:
            raise RequestError(f"'{text}' does not say which camera's view has which picture.", "Write CAMERA=PICTURE.")
        views.append({"camera": name, "file": files.copied(file, "picture", f"reference_{number}")})
    return {
        **({"cameras": views} if views else {}),
        "picture": files.copied(picture, "picture", "reference"),
        "adapter": files.uncopied(said["ip_adapter"]),
        "image_encoder": None if encoder is None else files.uncopied(encoder),
        "scale": scale,
    }
