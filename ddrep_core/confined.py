"""A folder that no name leads out of: the one door to files that a stranger's mesh or job may name."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from ddrep_core.errors import RequestError

_BY_FOLDERS = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")


class LeadsOut(RequestError):
    """A name that leads out of the folder it must stay in."""


class Confined:
    """Reads files below one folder. A link is followed only if it ends in there too.

    Args:
        root: the folder. It may itself be a link: whoever names it vouches for it.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).resolve()

    def path(self, name: str | Path) -> Path:
        """The real path of a file or folder, which need not exist; no link is left in it.

        Args:
            name: relative to the root, or absolute.

        Raises:
            LeadsOut: it lies outside of the root, or links go round in a circle.
        """
        try:
            real = (self.root / name).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise LeadsOut(f"'{name}' leads to no file.", "Correct the name.") from error
        if not real.is_relative_to(self.root):
            raise LeadsOut(f"'{name}' leads out of the folder {self.root}, to {real}.", "Copy the file itself there.")
        return real

    def open(self, name: str | Path) -> BufferedReader:
        """A regular file, opened for reading.

        Raises:
            LeadsOut: it lies outside of the root.
            OSError: it is not there, cannot be read, or is no file but a folder, a pipe or a device.
        """
        real = self.path(name)
        descriptor = _open(self.root, real.relative_to(self.root).parts)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileNotFoundError(f"{real} is not a file")
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise

    def read_bytes(self, name: str | Path) -> bytes:
        """All of a file; raises as `open` does."""
        with self.open(name) as file:
            return file.read()


def _open(root: Path, parts: tuple[str, ...]) -> int:
    """A descriptor of root/parts; where the system can, a link that was put on the way meanwhile is not followed."""
    if not _BY_FOLDERS or not parts:
        return os.open(root.joinpath(*parts), os.O_RDONLY | getattr(os, "O_BINARY", 0))
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)  # a pipe would wait
    finally:
        os.close(folder)


def named(name: str | Path) -> Path:
    """A path that a person or a stranger named; a ~ is the home where there is one of that name."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def is_there(path: Path) -> bool:
    """Whether there is anything. No name is too long or too odd to be asked for: such things are not there."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises where the system does not know such names


def is_file(path: Path) -> bool:
    """Whether it is a file (`is_there`)."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Whether it is a folder (`is_there`)."""
    return os.path.isdir(path)  # noqa: PTH112


def links_below(root: Path, names: tuple[str, ...]) -> list[Path]:
    """What lies at or below root/names and is neither a file nor a folder of its own: links, pipes, devices.

    Links themselves are not followed.
    """
    found = []
    waiting = [root / name for name in names]
    while waiting:
        path = waiting.pop()
        try:
            mode = path.lstat().st_mode
        except OSError:
            continue  # not there
        if is_link(path) or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            found.append(path)
        elif stat.S_ISDIR(mode):
            waiting.extend(path.iterdir())
    return sorted(found)


def is_link(path: Path) -> bool:
    """Whether a path is a link of any kind, on Windows a junction too."""
    return path.is_symlink() or bool(getattr(os.path, "isjunction", lambda _: False)(path))
