"""`ddrep far-end`: what OpenSSH starts on the other machine. It is spoken to on its standard input, and ends with it.

The engine that it starts does not: it works off the job by itself, whether anybody listens or not. Whether one is at
work is a lock that it inherits, so that there is no moment at which nobody knows.

Every answer has "say". What is asked has "do":
    open   {folder, name}           → state {path, running, began, last, files: {name: SHA-256} of what was asked for}
    put    {path, size} and bytes
    keep   {files, roots}             removes what is not among the files
    run    {resume, checkpoint_seconds}   → began
    stop   {}                         the engine stops at its next step
    watch  {offset}                 → event {line, offset} and file {path, size} with bytes, and so on; ended {log}
    get    {have: {name: SHA-256}}  → file {path, size} with bytes, for each that is another one here; got {files}
    remove {}                       → removed
Where something is wrong: error {message, fix, status}.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ddrep_core import __version__
from ddrep_core.errors import DdrepError, RequestError, RunError
from ddrep_core.jobs.events import last_event
from ddrep_core.jobs.folder import JobFolder, no_link, read_json, told_in_words
from ddrep_core.remote.files import ASKED, MADE, WITH_RESUME, drop_others, listing, place_of
from ddrep_core.remote.wire import ConnectionLost, Wire

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
ASKS: dict[str, dict[str, type]] = {
    "open": {"folder": str, "name": str},
    "put": {"path": str, "size": int},
    "keep": {"files": list, "roots": list},
    "run": {"resume": bool, "checkpoint_seconds": float},
    "stop": {},
    "watch": {"offset": int},
    "get": {"have": dict},
    "remove": {},
}
LOOK_SECONDS = 0.1
LOG_BYTES = 4000


class FarEnd:
    """One conversation about one job."""

    def __init__(self, wire: Wire, engine: tuple[str, ...] = (sys.executable, "-m", "ddrep_core")) -> None:
        self._wire, self._engine = wire, engine
        self._folder: JobFolder | None = None
        self._over = threading.Event()

    def serve(self) -> None:
        """Do as told until the other end hangs up."""
        self._wire.say(say="ddrep", version=__version__)
        try:
            while (message := self._wire.hear()) is not None:
                try:
                    self._answer(message)
                except DdrepError as error:
                    self._wire.say(say="error", message=error.message, fix=error.fix, status=error.exit_status)
        except ConnectionLost:
            pass  # nobody there to be told
        finally:
            self._over.set()

    def _answer(self, message: dict[str, Any]) -> None:
        """Do one thing that is asked for, if it is one of `ASKS` and a job is open."""
        do = message.get("do")
        asks = ASKS.get(do) if isinstance(do, str) else None
        if asks is None or not all(isinstance(message.get(key), kind) for key, kind in asks.items()):
            raise RequestError("That is nothing that can be asked for.")
        if do != "open" and self._folder is None:
            raise RequestError("There is no job that could be spoken of.")
        known: dict[str, Callable[[dict[str, Any]], None]] = {
            "open": self._open, "put": self._put, "keep": self._keep, "run": self._run, "stop": self._stop,
            "watch": self._watch, "get": self._get, "remove": self._remove,
        }  # fmt: skip
        known[str(do)](message)

    @property
    def _job(self) -> JobFolder:
        assert self._folder is not None  # `_answer` has seen to it
        return self._folder

    def _open(self, message: dict[str, Any]) -> None:
        if os.name != "posix":
            raise RequestError(
                "Jobs can be sent to Linux and macOS only.", "Let `ddrep serve` work off a folder there."
            )
        if not NAME.fullmatch(str(message["name"])):
            raise RequestError("That is no name for a job.")
        path = Path(message["folder"]).expanduser() / message["name"]
        with told_in_words(path):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = JobFolder(path)
        self._job.refuse_what_leads_out()
        self._wire.say(
            say="state",
            path=str(path),
            running=self._running(),
            began=self._job.events_file.is_file(),
            last=last_event(self._job).get("event"),
            files=listing(self._job, ASKED),
        )

    def _put(self, message: dict[str, Any]) -> None:
        self._wire.save(message, place_of(self._job, message["path"], (*ASKED, *WITH_RESUME)))

    def _keep(self, message: dict[str, Any]) -> None:
        drop_others(
            self._job, tuple(root for root in message["roots"] if root in ASKED + MADE), set(map(str, message["files"]))
        )

    def _run(self, message: dict[str, Any]) -> None:
        """Start an engine that goes on without us."""
        deadline = time.monotonic() + 1.0
        while (lock := self._lock()) is None:  # another conversation may just be looking
            if time.monotonic() > deadline:
                raise RequestError("Another engine is at work on the job there.", "Wait for it.")
            time.sleep(0.01)
        if not message["resume"]:
            self._job.events_file.unlink(missing_ok=True)
        self._job.forget_cancel()
        seconds = str(float(message["checkpoint_seconds"]))
        command = [*self._engine, "run", str(self._job), "--checkpoint-seconds", seconds]
        with (
            lock,
            told_in_words(self._log),
            open(self._log, "ab" if message["resume"] else "wb", opener=no_link) as log,
        ):
            subprocess.Popen(
                [*command, *(["--resume"] if message["resume"] else [])],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, pass_fds=(lock.fileno(),),
                env={**os.environ, "PYTHONSAFEPATH": "1"},
            )  # fmt: skip
        self._wire.say(say="began")

    def _stop(self, message: dict[str, Any]) -> None:
        if self._running():
            with told_in_words(self._job.cancel_file):
                self._job.cancel_file.touch()

    def _watch(self, message: dict[str, Any]) -> None:
        threading.Thread(target=self._tell, args=(int(message["offset"]),), name="ddrep-watch", daemon=True).start()

    def _tell(self, offset: int) -> None:
        """Say what is added to events.jsonl, until no engine is at work."""
        shown: dict[str, tuple[int, int]] = {}
        with suppress(ConnectionLost):
            running = True
            while running and not self._over.is_set():
                running = self._running()  # before it is read: nothing that is said can be missed
                for line in self._lines(offset):
                    self._show(line, shown)
                    offset += len(line)
                    self._wire.say(say="event", line=line.decode("utf-8", "replace"), offset=offset)
                if running:
                    time.sleep(LOOK_SECONDS)
            self._wire.say(say="ended", log=self._log_tail())

    def _lines(self, offset: int) -> list[bytes]:
        try:
            with self._job.own("events.jsonl").open("rb") as file:
                file.seek(offset)
                data = file.read()
        except OSError:
            return []
        return data[: data.rfind(b"\n") + 1].splitlines(keepends=True)

    def _show(self, line: bytes, shown: dict[str, tuple[int, int]]) -> None:
        """The picture that an event speaks of goes before it."""
        if b'"preview"' not in line:
            return
        try:
            name = json.loads(line)["path"]
            with place_of(self._job, name, ("previews",)).open("rb") as file:
                now = os.fstat(file.fileno())
                if shown.get(str(name)) != (now.st_ino, now.st_mtime_ns):
                    shown[str(name)] = now.st_ino, now.st_mtime_ns
                    self._wire.send(file, say="file", path=name)
        except (OSError, ValueError, LookupError, TypeError, RequestError):
            pass  # no picture, or it has gone

    def _get(self, message: dict[str, Any]) -> None:
        """Everything that was made; nothing where the run ended before it had cleared what was made before."""
        files = listing(self._job, MADE) if read_json(self._job.checkpoints / "run.json") else {}
        for name, digest in sorted(files.items(), key=lambda item: item[0].endswith("result.json")):
            if message["have"].get(name) != digest:
                with self._job.own(*name.split("/")).open("rb") as file:
                    self._wire.send(file, say="file", path=name)
        self._wire.say(say="got", files=sorted(files))

    def _remove(self, message: dict[str, Any]) -> None:
        with told_in_words(self._job.path):
            shutil.rmtree(self._job.path)
        self._lock_file.unlink(missing_ok=True)
        self._wire.say(say="removed")

    @property
    def _log(self) -> Path:
        return self._job.own("engine.log")

    def _log_tail(self) -> str:
        try:
            return self._log.read_bytes()[-LOG_BYTES:].decode("utf-8", "replace")
        except OSError:
            return ""

    @property
    def _lock_file(self) -> Path:
        return self._job.path.with_name(self._job.path.name + ".lock")

    def _running(self) -> bool:
        lock = self._lock()
        if lock is not None:
            lock.close()
        return lock is None

    def _lock(self) -> IO[bytes] | None:
        """Held as long as it is open, here or in an engine that inherited it; None: an engine has it."""
        import fcntl

        with told_in_words(self._lock_file):
            file = open(self._lock_file, "ab", opener=no_link)  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            file.close()
            raise RunError(
                f"{self._lock_file} cannot be locked: {error.strerror}.", "Name a folder on a disk."
            ) from error
        return file


def main() -> None:
    """Talk over standard input and output; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    FarEnd(Wire(sys.stdin.buffer, answers)).serve()
