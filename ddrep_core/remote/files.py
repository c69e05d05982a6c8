"""Which files of a job travel, and where those that arrive may go."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from ddrep_core.confined import Confined, LeadsOut, is_link
from ddrep_core.errors import RequestError
from ddrep_core.jobs.folder import LITTER, JobFolder

ASKED = ("job.json", "inputs")
MADE = ("outputs", "checkpoint", "previews", "error.log")
WITH_RESUME = ("outputs", "checkpoint")


def listing(folder: JobFolder, roots: tuple[str, ...]) -> dict[str, str]:
    """{path relative to the folder: SHA-256} of all files at or below the roots."""
    door = Confined(folder.path)
    found = {}
    for path in _files(folder, roots):
        name = folder.relative(path)
        try:
            with door.open(name) as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, LeadsOut):
            continue  # gone meanwhile, or not ours to send
    return found


def _files(folder: JobFolder, roots: tuple[str, ...]) -> Iterator[Path]:
    for root in roots:
        top = folder.own(root)
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and not LITTER.fullmatch(path.name):
                yield path


def place_of(folder: JobFolder, name: object, roots: tuple[str, ...]) -> Path:
    """Where a file that arrives goes: below one of the roots, through no link.

    Raises:
        RequestError: its name leads elsewhere.
    """
    pure = PurePosixPath(name) if isinstance(name, str) and name else PurePosixPath("..")
    odd = "\0" in str(name) or "\\" in str(name) or PureWindowsPath(str(name)).drive
    if odd or pure.is_absolute() or ".." in pure.parts or pure.parts[:1] == () or pure.parts[0] not in roots:
        raise RequestError(f"{str(name)[:200]!r} is no place for a file of a job.")
    return folder.own(*pure.parts)


def drop_others(folder: JobFolder, roots: tuple[str, ...], kept: set[str]) -> None:
    """Remove files below the roots that the other end has not, and folders that this leaves empty."""
    for path in list(_files(folder, roots)):
        if folder.relative(path) not in kept:
            path.unlink(missing_ok=True)
    for root in roots:
        for path in sorted(folder.own(root).rglob("*"), reverse=True):
            if path.is_dir() and not is_link(path) and not any(path.iterdir()):
                path.rmdir()
