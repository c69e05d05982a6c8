"""The job folder: where things lie, and writing them so that a crash never leaves half a file."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ddrep_core.confined import Confined, LeadsOut, is_link, is_there, links_below
from ddrep_core.errors import RequestError, RunError
from ddrep_core.jobs.request import Request, parse_request_text

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
LARGEST_REQUEST_BYTES = 16 * 2**20
# What the engine writes, by its name in the job folder. Nothing in here may be a link.
WRITTEN = ("job.json", "outputs", "previews", "checkpoint", "events.jsonl", "error.log", "cancel", "on.json", ".lock")
LITTER = re.compile(r"\.(.+\.)?\d+\.(part(\.\w+)?|trial)")  # what a killed engine was about to rename or remove


@contextmanager
def told_in_words(path: str | Path) -> Iterator[None]:
    """Turn an OSError while writing to `path` into a RunError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise RunError(
                f"The disk that holds {path} is full.",
                "Free some space; `ddrep run JOB --resume` then goes on from the last checkpoint.",
            ) from error
        reason = (error.strerror or str(error)).lower()
        raise RunError(f"{path} cannot be written: {reason}.", "Choose a folder that you may write to.") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file or none: to a neighbour, to the disk, then renamed over the old one."""
    with told_in_words(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        neighbour = path.with_name(f".{path.name}.{os.getpid()}.part")
        neighbour.unlink(missing_ok=True)
        try:
            with neighbour.open("xb") as file:  # never through a link
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            neighbour.replace(path)
        except BaseException:
            neighbour.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """For writers that want a path: yields a neighbour's, of the same suffix, which takes `path`'s place at the end."""
    with told_in_words(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        neighbour = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        neighbour.unlink(missing_ok=True)
        try:
            neighbour.open("xb").close()  # never through a link
            yield neighbour
            with neighbour.open("rb+") as file:
                os.fsync(file.fileno())
            neighbour.replace(path)
        finally:
            neighbour.unlink(missing_ok=True)
        sync_folder(path.parent)


def write_json(path: Path, data: object) -> None:
    """`write_bytes` of readable JSON with a stable layout."""
    write_bytes(path, utf8(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"))


def utf8(text: str) -> bytes:
    """JSON text as bytes. Halves of characters (lone surrogates), which UTF-8 lacks, are spelt as in JSON."""
    return text.encode("utf-8", errors="backslashreplace")


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems do not sync folders; the rename itself still happened
    finally:
        os.close(descriptor)


class JobBusy(RequestError):
    """Another engine is at work on this job folder."""


class JobFolder:
    """One job on disk (docs/jobs.md). Only paths and safe reading and writing; no knowledge of sampling."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    def own(self, *parts: str) -> Path:
        """The path of something that the engine writes: every one of them comes from here.

        Raises:
            RequestError: there is a link on the way, which would lead elsewhere.
        """
        path = self.path
        for part in parts:
            path = path / part
            if is_link(path):
                raise RequestError(
                    f"{path} is a link to another place, and a job writes into its own folder only.",
                    "Replace it by a folder or file of its own, or move the whole job.",
                )
        return path

    def refuse_what_leads_out(self) -> None:
        """Look through the folder before anything of it is read or written.

        Raises:
            RequestError: a link where the engine writes, a link among the inputs that ends outside of the folder, or a
                pipe or device anywhere.
        """
        for path in links_below(self.path, WRITTEN):
            self.own(*path.relative_to(self.path).parts)
            raise RequestError(f"{path} is a pipe or a device, not a file.", "Remove it.")
        for path in links_below(self.path, ("inputs",)):
            if not is_link(path):
                raise RequestError(f"{path} is a pipe or a device, not a file.", "Copy the file itself there.")
            if path.exists():
                self.resolve(self.relative(path))

    def sweep(self) -> None:
        """Remove half-written files that a killed engine left. Only whoever holds the lock may."""
        folders = [self.outputs, self.previews, self.checkpoints]
        found = [*self.path.iterdir(), *(path for folder in folders for path in folder.rglob("*"))]
        for path in found:
            if LITTER.fullmatch(path.name) and not path.is_dir():
                path.unlink(missing_ok=True)

    def remove_unless_begun(self) -> None:
        """Remove the whole folder, unless there is a result, a picture on the way or a checkpoint in it."""
        begun = (
            path.is_file() for folder in (self.outputs, self.previews, self.checkpoints) for path in folder.rglob("*")
        )
        if not any(begun):
            shutil.rmtree(self.path, ignore_errors=True)

    def holds(self, paths: object) -> bool:
        """Whether all of {what: path relative to the job folder} are files in outputs/."""
        if not isinstance(paths, dict):
            return False
        for path in paths.values():
            if not isinstance(path, str) or not path.startswith("outputs/"):
                return False
            try:
                if not Confined(self.path).path(path).is_file():
                    return False
            except (LeadsOut, OSError):
                return False
        return True

    @property
    def request_file(self) -> Path:
        return self.own("job.json")

    @property
    def inputs(self) -> Path:
        return self.own("inputs")

    @property
    def outputs(self) -> Path:
        return self.own("outputs")

    @property
    def result_file(self) -> Path:
        return self.own("outputs", "result.json")

    @property
    def page_file(self) -> Path:
        """What the results look like, for a browser."""
        return self.own("outputs", "report.html")

    @property
    def previews(self) -> Path:
        return self.own("previews")

    @property
    def checkpoints(self) -> Path:
        return self.own("checkpoint")

    @property
    def events_file(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def cancel_file(self) -> Path:
        return self.path / "cancel"

    @property
    def error_file(self) -> Path:
        return self.own("error.log")

    def sample_outputs(self, sample: int, samples: int) -> Path:
        """Where one sample's files go: outputs/ itself when there is only one."""
        return self.outputs if samples == 1 else self.own("outputs", f"sample_{sample:04d}")

    def relative(self, path: Path) -> str:
        """As result.json and events name a file: relative to the job folder, with forward slashes."""
        return path.relative_to(self.path).as_posix()

    def load_request(self) -> Request:
        """The request in job.json.

        Raises:
            RequestError: there is no such folder or file, something in it leads out, or the request is wrong.
        """
        if not self.path.is_dir():
            raise RequestError(f"There is no job folder {self.path}.", "Give the folder that holds job.json.")
        self.refuse_what_leads_out()
        try:
            with Confined(self.path).open("job.json") as file:
                content = file.read(LARGEST_REQUEST_BYTES + 1)
            if len(content) > LARGEST_REQUEST_BYTES:
                raise RequestError(f"{self.request_file} is too large to be a request.")
            text = content.decode("utf-8")
        except FileNotFoundError as error:
            raise RequestError(f"{self.path} holds no job.json.", "Give the folder that holds job.json.") from error
        except UnicodeDecodeError as error:
            raise RequestError(f"{self.request_file} is not UTF-8 text.", "Write the job again.") from error
        except OSError as error:
            raise RequestError(f"{self.request_file} cannot be read: {(error.strerror or '').lower()}.") from error
        return parse_request_text(text)

    def resolve(self, relative: str) -> Path:
        """An input's real path.

        Raises:
            RequestError: the file is missing, or a link leads out of the job folder.
        """
        try:
            path = Confined(self.path).path(relative)
        except LeadsOut as error:
            raise RequestError(
                f"{relative} is a link that leads out of the job folder.",
                "Copy the file itself into the job's inputs/.",
            ) from error
        if not is_there(path):
            raise RequestError(
                f"job.json names {relative}, and the job folder {self.path} has no such file.",
                "Copy the file there, or correct the path.",
            )
        return path

    def prepare(self) -> None:
        """Make the folders that a run writes to, and try whether they can be written.

        Raises:
            RequestError: one of them is a link.
            RunError: they cannot be written.
        """
        with told_in_words(self.path):
            for folder in (self.outputs, self.previews, self.checkpoints):
                folder.mkdir(parents=True, exist_ok=True)
                trial = folder / f".{os.getpid()}.trial"
                trial.unlink(missing_ok=True)
                with trial.open("xb") as file:
                    file.write(b"\0" * 4096)
                trial.unlink()

    def clear_results(self) -> None:
        """Remove what an earlier run left, so that nothing of it is taken for this run's."""
        with told_in_words(self.path):
            for folder in (self.outputs, self.previews, self.checkpoints):
                if folder.is_dir():
                    shutil.rmtree(folder)
            self.error_file.unlink(missing_ok=True)

    def cancel_requested(self) -> bool:
        return os.path.lexists(self.cancel_file)

    def forget_cancel(self, before: float | None = None) -> None:
        """Remove the cancel file; with `before` (seconds since the epoch), only one that is older than that."""
        try:
            if before is None or self.cancel_file.lstat().st_mtime < before:
                self.cancel_file.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise RunError(f"{self.cancel_file} cannot be removed: {error.strerror}.", "Remove it by hand.") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the job: a second engine on the same folder is refused, and a killed engine leaves no lock behind."""
        with told_in_words(self.path):
            file = open(self.own(".lock"), "a+", opener=no_link)  # noqa: SIM115
        with file:
            if not _try_lock(file):
                raise JobBusy(
                    f"Another engine is at work on {self.path}.",
                    "Wait for it, or stop it: make a file called 'cancel' in that folder.",
                )
            yield


def no_link(path: str, flags: int) -> int:
    """An opener for `open` that never goes through a link, where the system can tell."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _try_lock(file: IO[str]) -> bool:
    """An advisory lock that the system lets go of when the process ends, however it ends."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)  # no locks here: go on without
    return True


def read_json(path: Path) -> Any | None:
    """The JSON in `path`, or None where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def seconds_since_epoch() -> float:
    """Now, rounded to milliseconds, as events carry it."""
    return round(time.time(), 3)
