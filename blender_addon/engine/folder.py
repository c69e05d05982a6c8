# SPDX-License-Identifier: GPL-3.0-or-later
"""A job folder as the extension sees it. No bpy.

JOB/job.json        the request; the engine reads it
JOB/inputs/         mesh.obj, cameras.json
JOB/blender.json    what only Blender needs: which objects, which UV maps, where the result goes; the engine ignores it
JOB/engine.log      the engine's standard output and errors
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..problems import Problem, disk_problem

LARGEST_JSON_BYTES = 64 * 2**20
SMALLEST_FREE_BYTES = 256 * 2**20
WAIT_SECONDS = 0.02


@dataclass(frozen=True)
class Waiting:
    """A piece of an input that is still being made; `words` say what is waited for."""

    words: str


Piece = bytes | Waiting


class JobFolder:
    """Paths of one job, and safe reading and writing of its small files."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def request_file(self) -> Path:
        return self.path / "job.json"

    @property
    def scene_file(self) -> Path:
        return self.path / "blender.json"

    @property
    def events_file(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def log_file(self) -> Path:
        return self.path / "engine.log"

    @property
    def cancel_file(self) -> Path:
        return self.path / "cancel"

    @property
    def result_file(self) -> Path:
        return self.path / "outputs" / "result.json"

    def has_checkpoint(self) -> bool:
        """Whether a cancelled or broken run can go on from where it was."""
        try:
            return any((self.path / "checkpoint").iterdir())
        except OSError:
            return False

    def request(self) -> dict[str, Any]:
        """job.json, or {} where it is missing or damaged."""
        return read_object(self.request_file)

    def scene(self) -> dict[str, Any]:
        """blender.json, or {} where the job was not made in Blender."""
        return read_object(self.scene_file)

    def update_scene(self, **changes: Any) -> None:
        """Change keys of blender.json, atomically; a read-only history is no reason to fail."""
        with contextlib.suppress(OSError):
            write_object(self.scene_file, {**self.scene(), **changes})

    def result(self) -> dict[str, Any]:
        """outputs/result.json, or {}."""
        return read_object(self.result_file)

    def inside(self, relative: Any) -> Path | None:
        """The file that a job's data names, or None where it is missing or would leave the job folder."""
        if not isinstance(relative, str) or not relative or "\0" in relative or "\\" in relative:
            return None
        pure = PurePosixPath(relative)
        if pure.is_absolute() or ".." in pure.parts:
            return None
        try:
            path = (self.path / pure).resolve(strict=True)
            return path if path.is_relative_to(self.path.resolve()) else None
        except (OSError, RuntimeError):
            return None

    def log_tail(self, size: int = 4000) -> str:
        """The end of the engine's log."""
        try:
            with self.log_file.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - size))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, or {}."""
    try:
        if path.stat().st_size > LARGEST_JSON_BYTES:
            return {}
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def write_object(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    neighbour = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        neighbour.write_text(encode(data), encoding="utf-8")
        neighbour.replace(path)
    except OSError:
        neighbour.unlink(missing_ok=True)
        raise


def encode(data: dict[str, Any]) -> str:
    """Readable JSON with a stable layout."""
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def task_of(request: dict[str, Any]) -> str:
    """What a job makes: an edit makes what it edits, close-ups a texture, a picture objects."""
    task, edit = str(request.get("task", "")), request.get("edit")
    if (made := {"detail": "texture", "from_image": "generate"}.get(task)) is not None:
        return made
    return str(edit.get("kind", "")) if task == "edit" and isinstance(edit, dict) else task


def slug(text: str, longest: int = 32) -> str:
    """A prompt as part of a folder's name."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return words[:longest].rstrip("-") or "untitled"


def new_folder_name(task: str, prompt: str) -> str:
    """A name that sorts by time and is unlike any other."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{task}-{slug(prompt)}-{secrets.token_hex(2)}"


def require_space(folder: Path) -> None:
    """Raise a Problem where the disk is nearly full, before anything is begun."""
    existing = folder
    while not existing.exists() and existing.parent != existing:
        existing = existing.parent
    try:
        free = shutil.disk_usage(existing).free
    except OSError:
        return
    if free < SMALLEST_FREE_BYTES:
        raise Problem(
            f"Only {free // 2**20} MB are free on the disk that holds {folder}, and a job needs about "
            f"{SMALLEST_FREE_BYTES // 2**20} MB. Free some space, or keep jobs in another folder.",
            "ddrep.open_preferences",
            "Choose another folder",
        )


def write_job(
    target: Path, request: dict[str, Any], files: Mapping[str, Iterable[Piece]], scene: dict[str, Any]
) -> Iterator[Waiting | None]:
    """Write a job in slices: consume the iterator a little at a time, and the interface stays alive.

    It yields None after a slice, or what there is to wait for.

    The folder appears under its own name only when it is whole.

    Args:
        target: the folder to make; it must not exist, or be empty.
        request: job.json.
        files: by their path inside the job, the pieces of each input.
        scene: blender.json.

    Raises:
        Problem: the disk is full or read-only, or the folder holds something already.
    """
    part = target.with_name(target.name + ".part")
    try:
        if target.exists() and any(target.iterdir()):
            raise Problem(f"{target} holds files already. Choose a new or empty folder for the job.")
        if part.exists():
            shutil.rmtree(part)
        part.mkdir(parents=True)
        for relative, pieces in files.items():
            path = part / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for piece in pieces:
                    if isinstance(piece, bytes):
                        file.write(piece)
                    yield piece if isinstance(piece, Waiting) else None
        write_object(part / "blender.json", scene)
        write_object(part / "job.json", request)
        if target.exists():
            target.rmdir()
        part.replace(target)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise disk_problem(error, target.parent) from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def write_whole_job(
    target: Path, request: dict[str, Any], files: Mapping[str, Iterable[Piece]], scene: dict[str, Any]
) -> None:
    """Write a job, and wait for all of it; raises what `write_job` does."""
    for waiting in write_job(target, request, files, scene):
        if waiting is not None:
            time.sleep(WAIT_SECONDS)
