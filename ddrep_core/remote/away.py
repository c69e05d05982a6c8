"""`ddrep run JOB --on USER@HOST`: the job folder is worked off on another machine, and looks as if it had been here.

While the job is away, JOB/on.json says where. The run there does not need us: a connection that is cut is taken up
again, by this process or by a later one. When everything is back, nothing of the job is left there.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddrep_core.confined import Confined
from ddrep_core.errors import Cancelled, DdrepError, RequestError, RunError
from ddrep_core.jobs.events import FINAL, EventLog, Listener
from ddrep_core.jobs.folder import JobFolder, read_json, told_in_words, write_json
from ddrep_core.jobs.identity import is_finished, is_resumable
from ddrep_core.jobs.pace import StopSwitch
from ddrep_core.remote.far_end import NAME
from ddrep_core.remote.files import ASKED, MADE, WITH_RESUME, drop_others, listing, place_of
from ddrep_core.remote.place import Place
from ddrep_core.remote.ssh import Connection, Unreachable
from ddrep_core.remote.wire import ConnectionLost, Wire

TICK_SECONDS = 0.2
ANSWER_SECONDS = 600.0  # for the other end to look through its files
LONGEST_PAUSE = 30.0
GIVE_UP_SECONDS = 1800.0
STOP_SECONDS = 300.0  # for a run of another request to see that it is not wanted any more
STARTING_SECONDS = 20.0


def away_at(folder: JobFolder) -> str | None:
    """Where a job was sent and has not come back from; None: it is here."""
    record = read_json(folder.own("on.json"))
    on = record.get("on") if isinstance(record, dict) else None
    return on if isinstance(on, str) else None


def require_here(folder: JobFolder) -> None:
    """Refuse to run a job here that may be at work elsewhere.

    Raises:
        RequestError: it was sent away, and has not come back.
    """
    if (place := away_at(folder)) is not None:
        raise RequestError(
            f"This job was sent to {place}, and has not come back from there.",
            f"Pick it up with --on {place}, or remove {folder.own('on.json')} to begin anew here.",
        )


def run_away(
    path: str | Path,
    place: Place,
    *,
    resume: bool | None = False,
    keep: bool = False,
    listeners: tuple[Listener, ...] = (),
    checkpoint_seconds: float = 10.0,
    give_up_seconds: float = GIVE_UP_SECONDS,
) -> Path:
    """Run the job in a folder on another machine.

    Args:
        path: the job folder (docs/jobs.md). Its results, events and previews come here as if it were run here.
        place: the machine. A run of this very request that is at work there, or has ended there, is picked up.
        resume: go on from the checkpoint, which travels, too. None: if there is one of this very request.
        keep: leave the job's folder there when all is back.
        listeners: called with each event.
        checkpoint_seconds: about how often one is written there.
        give_up_seconds: how long to try again when the connection is lost. The run there goes on all the same.

    Returns:
        the path of outputs/result.json.

    Raises:
        RequestError: the request is wrong, or the machine cannot be reached or has no ddrep of this version.
        RunError: the run failed, or the connection is lost for good.
        Cancelled: a person stopped it; its checkpoint has come back.
    """
    folder = JobFolder(path)
    request = folder.load_request()
    if (before := away_at(folder)) is not None and before != str(place):
        raise RequestError(
            f"This job was sent to {before}, and has not come back from there.",
            f"Pick it up with --on {before}, or remove {folder.own('on.json')} to begin anew elsewhere.",
        )
    with folder.locked():
        folder.sweep()
        folder.forget_cancel(before=time.time() - STARTING_SECONDS)
        if resume is None:
            resume = is_resumable(folder)
        events = EventLog(folder, listeners, append=resume)
        stop = StopSwitch(folder)
        try:
            with stop.listening():
                if resume and before is None and is_finished(folder, request):
                    events.emit("done", result=folder.relative(folder.result_file), seconds=0.0)
                    return folder.result_file
                return _Away(folder, place, events, stop, resume, keep, checkpoint_seconds).run(give_up_seconds)
        except KeyboardInterrupt as error:
            events.emit("cancelled")
            raise Cancelled("Cancelled at once.", f"Fetch what was done with: {again(folder, place)}") from error
        except Cancelled:
            folder.forget_cancel()
            events.emit("cancelled")
            raise
        except DdrepError as error:
            with contextlib.suppress(RunError):
                events.emit("error", message=error.message, fix=error.fix, status=error.exit_status)
            raise
        finally:
            events.close()


def again(folder: JobFolder, place: Place) -> str:
    """The command that picks a job up."""
    return f'ddrep run "{folder}" --resume --on {place}'


@dataclass
class _Away:
    """One run of a job elsewhere, through however many connections it takes."""

    folder: JobFolder
    place: Place
    events: EventLog
    stop: StopSwitch
    resume: bool
    keep: bool
    checkpoint_seconds: float
    _begun: bool = False  # by this process
    _offset: int = 0  # of what was heard of the events there
    _last: dict[str, Any] = field(default_factory=dict)  # the run's last word, told when everything is here
    _log: str = ""
    _there: str = ""  # the job's path there, which words may name

    def run(self, give_up_seconds: float) -> Path:
        """Until everything is back, or nobody can say when it will be."""
        name, is_new = self._name()
        connected, lost, pause = False, None, 1.0
        while True:
            try:
                self.events.emit("stage", message=f"Connecting to {self.place}{' again' if lost else ''}")
                connection = Connection(self.place, self._save)
            except DdrepError as error:
                if not connected:
                    if is_new:
                        self._away_file.unlink(missing_ok=True)  # nothing has left
                    raise
                if not isinstance(error, Unreachable):
                    raise
                lost = lost or time.monotonic()
                if time.monotonic() - lost > give_up_seconds:
                    raise RunError(
                        f"{self.place} cannot be reached any more. The job may be at work there.",
                        f"Pick it up with: {again(self.folder, self.place)}",
                    ) from error
                self._wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            connected, lost, pause = True, None, 1.0
            try:
                self._converse(connection, name)
                return self._settle()
            except DdrepError:
                if is_new and not self._begun:
                    self._call_back(connection)
                raise
            except ConnectionLost:
                words = f"The connection to {self.place} was lost. The job goes on there; connecting again."
                self.events.emit("warning", message=words)
                lost = time.monotonic()
                self._wait(pause)
            finally:
                connection.close()

    @property
    def _away_file(self) -> Path:
        return self.folder.own("on.json")

    def _name(self) -> tuple[str, bool]:
        """What the job is called there, and whether it is new there."""
        known = read_json(self._away_file)
        name = known.get("name") if isinstance(known, dict) else None
        if isinstance(name, str) and NAME.fullmatch(name):
            return name, False
        slug = re.sub(r"[^a-z0-9]+", "-", self.folder.path.resolve().name.lower()).strip("-")[:60].strip("-")
        name = f"{slug or 'job'}-{secrets.token_hex(4)}"
        write_json(self._away_file, {"on": str(self.place), "name": name})
        return name, True

    def _converse(self, connection: Connection, name: str) -> None:
        """Bring the job there if it is not, hear its run to the end, and bring back what it made."""
        wire = connection.wire
        asked = listing(self.folder, ASKED)
        state = self._open(connection, name)
        if state["running"] and state["files"] != asked:
            self._end_other(connection, name)
            state = self._open(connection, name)
        if not state["running"]:
            there = state["files"] == asked and state["began"]
            if not there:
                self._bring(wire, asked, state["files"])
                self._start(connection, self.resume)
            elif state["last"] not in (FINAL if self._begun else ("done",)):
                self._start(connection, True)  # it was stopped, or its machine was
        self._begun = True
        wire.say(do="watch", offset=self._offset)
        self._follow(connection)
        self._fetch(connection)

    def _open(self, connection: Connection, name: str) -> dict[str, Any]:
        connection.wire.say(do="open", folder=self.place.folder, name=name)
        state = self._answer(connection, "state")
        self._there = str(state["path"])
        return state

    def _end_other(self, connection: Connection, name: str) -> None:
        """A run there is of what was asked for before."""
        self.events.emit("stage", message=f"Stopping the run of an earlier request on {self.place}")
        connection.wire.say(do="stop")
        deadline = time.monotonic() + STOP_SECONDS
        while self._open(connection, name)["running"]:
            if time.monotonic() > deadline:
                raise RunError(f"A run of an earlier request on {self.place} does not stop.", "Stop it there by hand.")
            self._wait(1.0)

    def _bring(self, wire: Wire, asked: dict[str, str], there: dict[str, str]) -> None:
        """The request and its files; with what an earlier run made, where it is to be gone on with."""
        self.events.emit("stage", message=f"Sending the job to {self.place}")
        wire.say(do="keep", roots=list(ASKED), files=list(asked))
        roots = WITH_RESUME if self.resume else ()
        made = listing(self.folder, roots)
        wire.say(do="keep", roots=list(roots), files=[])
        door = Confined(self.folder.path)
        for name, digest in {**asked, **made}.items():
            if there.get(name) != digest:
                self.stop.check()
                with door.open(name) as file:
                    wire.send(file, do="put", path=name)

    def _start(self, connection: Connection, resume: bool) -> None:
        self.stop.check()
        if not resume:
            self._offset = 0
        connection.wire.say(do="run", resume=resume, checkpoint_seconds=float(self.checkpoint_seconds))
        self._answer(connection, "began")

    def _call_back(self, connection: Connection) -> None:
        """Nothing has begun there: the job is here again."""
        with contextlib.suppress(ConnectionLost, DdrepError):
            connection.wire.say(do="remove")
            self._answer(connection, "removed")
        self._away_file.unlink(missing_ok=True)

    def _follow(self, connection: Connection) -> None:
        """Pass on what the run says, and once that it should stop."""
        asked_to_stop = False
        while (message := self._next(connection, TICK_SECONDS)).get("say") != "ended":
            if message.get("say") == "event":
                self._hear(message)
            if not asked_to_stop and self._is_stopped():
                connection.wire.say(do="stop")
                asked_to_stop = True
        self._log = str(message.get("log", ""))

    def _hear(self, message: dict[str, Any]) -> None:
        self._offset = int(message["offset"])
        try:
            event = json.loads(message["line"])
        except (ValueError, RecursionError):
            return
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            return
        for key in ("message", "fix"):
            if isinstance(event.get(key), str):
                event[key] = event[key].replace(self._there, str(self.folder))
        if event["event"] == "started":
            event["pid"] = os.getpid()  # who asks whether the run is alive asks for us
            self._last = {}
        if event["event"] in FINAL:
            self._last = event
        else:
            self.events.pass_on(event)

    def _fetch(self, connection: Connection) -> None:
        if self._last.get("event") == "done":
            self.events.emit("stage", message=f"Fetching the results from {self.place}")
        connection.wire.say(do="get", have=listing(self.folder, MADE))
        files = self._answer(connection, "got")["files"]
        if files:
            drop_others(self.folder, MADE, set(files))
        if self.keep:
            self.events.emit("stage", message=f"The job's folder stays on {self.place}: {self._there}")
        else:
            try:
                connection.wire.say(do="remove")
                self._answer(connection, "removed")
            except ConnectionLost:
                words = f"Everything has come back, but {self._there} could not be removed from {self.place}."
                self.events.emit("warning", message=words)
        with told_in_words(self._away_file):
            self._away_file.unlink(missing_ok=True)

    def _settle(self) -> Path:
        """As what the run ended."""
        self.folder.forget_cancel()
        match self._last.get("event"):
            case "done":
                self.events.pass_on(self._last)
                return self.folder.result_file
            case "cancelled":
                raise Cancelled("Cancelled.", f"What was done is kept; go on with: {again(self.folder, self.place)}")
            case "error":
                kind = RequestError if self._last.get("status") == RequestError.exit_status else RunError
                raise kind(str(self._last.get("message", "")), str(self._last.get("fix", "")))
        words = " ".join(self._log.split())[-600:]
        raise RunError(
            f"The engine on {self.place} ended in the middle of the job{'.' if not words else f': {words}'}",
            f"Most often the memory ran out. Go on with: {again(self.folder, self.place)}",
        )

    # Waiting

    def _answer(self, connection: Connection, what: str) -> dict[str, Any]:
        """The answer of this kind. A person's wish to stop is heard when a run is followed."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while (message := self._next(connection, TICK_SECONDS)).get("say") != what:
            if message:
                deadline = time.monotonic() + ANSWER_SECONDS
            elif time.monotonic() > deadline:
                raise ConnectionLost("no answer")
        return message

    def _next(self, connection: Connection, seconds: float) -> dict[str, Any]:
        """What is said next; {} where nothing is for so long."""
        try:
            message = connection.heard.get(timeout=seconds)
        except queue.Empty:
            return {}
        if message is None:
            raise ConnectionLost("the other end has gone")
        if isinstance(message, DdrepError):
            raise message
        if message.get("say") == "error":
            kind = RequestError if message.get("status") == RequestError.exit_status else RunError
            raise kind(f"On {self.place}: {message.get('message')}", str(message.get("fix", "")))
        return message

    def _save(self, wire: Wire, message: dict[str, Any]) -> None:
        wire.save(message, place_of(self.folder, message.get("path"), MADE))

    def _is_stopped(self) -> bool:
        try:
            self.stop.check()
        except Cancelled:
            return True
        return False

    def _wait(self, seconds: float) -> None:
        """Before the next try."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._is_stopped():
                raise Cancelled(
                    f"Cancelled here; {self.place} could not be told, and the job may be at work there.",
                    f"Pick it up with: {again(self.folder, self.place)}",
                )
            time.sleep(min(TICK_SECONDS, seconds))
