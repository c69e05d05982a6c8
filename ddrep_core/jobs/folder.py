"""The job folder: where things lie, and writing them so that a crash never leaves half a file."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ddrep_core.confined import Confined, LeadsOut
from ddrep_core.errors import RequestError, RunError
from ddrep_core.jobs.request import Request, parse_request_text

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
LARGEST_REQUEST_BYTES = 16 * 2**20


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
        try:
            with neighbour.open("wb") as file:
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
        try:
            yield neighbour
            with neighbour.open("rb+") as file:
                os.fsync(file.fileno())
            neighbour.replace(path)
        finally:
            neighbour.unlink(missing_ok=True)
        sync_folder(path.parent)


def write_json(path: Path, data: object) -> None:
    """`write_bytes` of readable JSON with a stable layout."""
    write_bytes(path, (json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


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


class JobFolder:
    """One job on disk (DESIGN §3). Only paths and safe reading and writing; no knowledge of sampling."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def request_file(self) -> Path:
        return self.path / "job.json"

    @property
    def inputs(self) -> Path:
        return self.path / "inputs"

    @property
    def outputs(self) -> Path:
        return self.path / "outputs"

    @property
    def result_file(self) -> Path:
        return self.outputs / "result.json"

    @property
    def page_file(self) -> Path:
        """What the results look like, for a browser."""
        return self.outputs / "report.html"

    @property
    def previews(self) -> Path:
        return self.path / "previews"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoint"

    @property
    def events_file(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def cancel_file(self) -> Path:
        return self.path / "cancel"

    @property
    def error_file(self) -> Path:
        return self.path / "error.log"

    def sample_outputs(self, sample: int, samples: int) -> Path:
        """Where one sample's files go: outputs/ itself when there is only one."""
        return self.outputs if samples == 1 else self.outputs / f"sample_{sample:04d}"

    def relative(self, path: Path) -> str:
        """As result.json and events name a file: relative to the job folder, with forward slashes."""
        return path.relative_to(self.path).as_posix()

    def load_request(self) -> Request:
        """The request in job.json.

        Raises:
            RequestError: there is no such folder or file, or the request is wrong.
        """
        if not self.path.is_dir():
            raise RequestError(f"There is no job folder {self.path}.", "Give the folder that holds job.json.")
        try:
            if self.request_file.stat().st_size > LARGEST_REQUEST_BYTES:
                raise RequestError(f"{self.request_file} is too large to be a request.")
            text = self.request_file.read_text(encoding="utf-8")
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
        if not path.exists():
            raise RequestError(
                f"job.json names {relative}, and the job folder {self.path} has no such file.",
                "Copy the file there, or correct the path.",
            )
        return path

    def prepare(self) -> None:
        """Make the folders that a run writes to, and try whether they can be written.

        Raises:
            RequestError: one of them is a link: a job writes into its own folder only.
            RunError: they cannot be written.
        """
        for folder in (self.outputs, self.previews, self.checkpoints):
            if folder.is_symlink():
                raise RequestError(f"{folder} is a link to another place.", "Replace it by a folder, or move the job.")
        with told_in_words(self.path):
            for folder in (self.outputs, self.previews, self.checkpoints):
                folder.mkdir(parents=True, exist_ok=True)
                trial = folder / f".{os.getpid()}.trial"
                trial.write_bytes(b"\0" * 4096)
                trial.unlink()

    def clear_results(self) -> None:
        """Remove what an earlier run left, so that nothing of it is taken for this run's."""
        with told_in_words(self.path):
            for folder in (self.outputs, self.previews, self.checkpoints):
                if folder.is_dir() and not folder.is_symlink():
                    shutil.rmtree(folder)
            self.error_file.unlink(missing_ok=True)

    def cancel_requested(self) -> bool:
        return self.cancel_file.exists()

    def forget_cancel(self, before: float | None = None) -> None:
        """Remove the cancel file; with `before` (seconds since the epoch), only one that is older than that."""
        try:
            if before is None or self.cancel_file.stat().st_mtime < before:
                self.cancel_file.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise RunError(f"{self.cancel_file} cannot be removed: {error.strerror}.", "Remove it by hand.") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the job: a second engine on the same folder is refused, and a killed engine leaves no lock behind."""
        with told_in_words(self.path):
            file = (self.path / ".lock").open("a+")
        with file:
            if not _try_lock(file):
                raise RequestError(
                    f"Another engine is at work on {self.path}.",
                    "Wait for it, or stop it: make a file called 'cancel' in that folder.",
                )
            yield


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
    except (OSError, ValueError):
        return None


def seconds_since_epoch() -> float:
    """Now, rounded to milliseconds, as events carry it."""
    return round(time.time(), 3)
