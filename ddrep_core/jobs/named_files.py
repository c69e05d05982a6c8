"""Pictures that an option names (`--keep Cow=mask.png`, `--pin Front=view.png:0.5`), and where a job keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddrep_core.errors import RequestError


def taken_in(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Path]]:
    """The settings as job.json holds them, and the files to copy, by their name in the job's inputs/.

    Args:
        settings: of a task, as its command was told of them.

    Raises:
        RequestError: a text that names no file, or no camera.
    """
    told, files = dict(settings), {}
    for key, made in (("keep", _of_object), ("base", _of_object), ("pins", _of_camera)):
        if not told.get(key):
            told.pop(key, None)
            continue
        texts: Sequence[str] = [told[key]] if isinstance(told[key], str) else told[key]
        entries = []
        for number, text in enumerate(texts):
            entry, path = made(text)
            name = f"{key}_{number}{path.suffix.lower()}"
            entries.append({**entry, "file": f"inputs/{name}"})
            files[name] = path
        told[key] = entries[0]["file"] if isinstance(told[key], str) else entries
    return told, files


def _of_object(text: str) -> tuple[dict[str, Any], Path]:
    """FILE or OBJECT=FILE."""
    name, equals, file = text.partition("=")
    if not equals or Path(text).expanduser().is_file():
        return {}, Path(text).expanduser()
    return {"object": name}, Path(file).expanduser()


def _of_camera(text: str) -> tuple[dict[str, Any], Path]:
    """CAMERA=FILE or CAMERA=FILE:WEIGHT."""
    name, equals, file = text.partition("=")
    if not equals or not name or not file:
        raise RequestError(f"'{text}' does not say which camera sees which picture.", "Write CAMERA=PICTURE.")
    path, colon, weight = file.rpartition(":")
    if colon and not Path(file).expanduser().is_file():
        try:
            return {"camera": name, "weight": float(weight)}, Path(path).expanduser()
        except ValueError:
            pass  # a colon of the file's own name
    return {"camera": name}, Path(file).expanduser()
