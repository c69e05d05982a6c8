"""A conversation through OpenSSH: the user's own program, keys and configuration, and no more than one pipe."""

from __future__ import annotations

import queue
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ddrep_core import __version__
from ddrep_core.errors import DdrepError, RequestError
from ddrep_core.remote.place import Place
from ddrep_core.remote.wire import ConnectionLost, Wire

HELLO_SECONDS = 120.0
MOST_NOISE = 200  # lines that a login may print before ours
OPTIONS = (
    "-T", "-a", "-x",
    "-o", "BatchMode=yes",  # no question can be answered here: neither a password's, nor an unknown host's
    "-o", "ClearAllForwardings=yes",
    "-o", "ConnectTimeout=20",
    "-o", "ServerAliveInterval=10",
    "-o", "ServerAliveCountMax=3",
)  # fmt: skip
NO_ENGINE = "ddrep-far-end: no ddrep"
# Where a program is that no login has put on the PATH: in the folder itself, or where Blender's set-up puts it.
FIND = """\
for each in {folder}/engine/bin/ddrep ddrep "$HOME/ddrep/engine/bin/ddrep" "$HOME/.local/bin/ddrep"; do
  command -v "$each" >/dev/null 2>&1 && exec "$each" far-end
done
each=$("${{SHELL:-sh}}" -lc "command -v ddrep" 2>/dev/null </dev/null | tail -n 1)
test -x "$each" && exec "$each" far-end
echo "{no_engine}" >&2
exit 127
"""
SAYS: tuple[tuple[str, str, str], ...] = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "{place} is not the machine that it was: its host key has changed.",
     "Ask whoever runs it why; then mend your known_hosts file."),
    ("Host key verification failed", "{place} is not known here: OpenSSH has no host key of it.",
     "Log in once by hand, and compare the key that it shows: ssh {target}"),
    ("Permission denied", "{place} lets nobody in by the keys that OpenSSH has here.",
     "Try `ssh -o BatchMode=yes {target}`; a key with a passphrase must be in the agent (ssh-add)."),
    ("Could not resolve hostname", "There is no machine called {host}.", "Check the name."),
    ("Name or service not known", "There is no machine called {host}.", "Check the name."),
    ("No such command", "The ddrep on {place} is of another version, which takes no jobs by SSH.",
     "Install ddrep {version} there."),
    (NO_ENGINE, "There is no ddrep on {place}.",
     "Install it there, so that `ssh {target} ddrep --version` answers, or in FOLDER/engine."),
)  # fmt: skip
LATER = (
    "Connection refused",
    "timed out",
    "No route to host",
    "Network is unreachable",
    "Connection reset",
    "closed by",
)


class Unreachable(RequestError):
    """There is no way to the machine now; there may be one later."""


class Connection:
    """An open conversation.

    Attributes:
        heard: what the other end says, as it comes; None at the end. Files are handed to `save` by who listens.
    """

    def __init__(self, place: Place, save: Callable[[Wire, dict[str, Any]], None]) -> None:
        """Connect, and wait until the ddrep there says that it is this version.

        Raises:
            RequestError: the machine cannot be reached, does not let us in, or has no ddrep of this version.
        """
        program = shutil.which("ssh")
        if program is None:
            raise RequestError("There is no program ssh on this machine.", "Install OpenSSH's client.")
        self._place, self._save = place, save
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.heard: queue.SimpleQueue[dict[str, Any] | DdrepError | None] = queue.SimpleQueue()
        options: dict[str, Any] = {"start_new_session": True}  # Ctrl-C is ours to answer
        if sys.platform == "win32":
            options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        try:
            self._process = subprocess.Popen(
                [program, *OPTIONS, *_target(place), command(place)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, **options,
            )  # fmt: skip
        except OSError as error:
            raise RequestError(f"{program} cannot be started: {error.strerror}.") from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self.wire = Wire(self._process.stdout, self._process.stdin)
        threading.Thread(target=self._listen, name="ddrep-ssh", daemon=True).start()
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        """Hang up."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError, ValueError):
                assert pipe is not None
                if pipe is self._process.stdin:
                    pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _greet(self) -> None:
        try:
            hello = self.heard.get(timeout=HELLO_SECONDS)
        except queue.Empty:
            raise Unreachable(f"{self._place} did not answer.", "Try again later.") from None
        if not isinstance(hello, dict):
            raise self._why()
        if hello.get("version") != __version__:
            raise RequestError(
                f"The ddrep on {self._place} is version {str(hello.get('version'))[:40]}, this one {__version__}.",
                f"Install ddrep {__version__} there: only the same version makes the same results.",
            )

    def _listen(self) -> None:
        try:
            assert self._process.stdout is not None
            for _ in range(MOST_NOISE):
                try:
                    message = self.wire.hear()
                except ConnectionLost:
                    continue  # a login's words
                if message is None or message.get("say") == "ddrep":
                    break
            else:
                message = None
            while message is not None:
                if message.get("say") == "file":
                    self._save(self.wire, message)
                self.heard.put(message)
                message = self.wire.hear()
        except DdrepError as error:
            self.heard.put(error)
        except (ConnectionLost, ValueError):
            pass
        self.heard.put(None)

    def _why(self) -> RequestError:
        """Why ssh ended, from what it said."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip()
        words = {
            "place": str(self._place), "host": self._place.host, "version": __version__,
            "target": " ".join(each for each in _target(self._place) if each != "--"),
        }  # fmt: skip
        for sign, message, fix in SAYS:
            if sign in said:
                return RequestError(message.format(**words), fix.format(**words))
        last = said.splitlines()[-1][:300] if said else "it ended without a word"
        kind = Unreachable if not said or any(sign in said for sign in LATER) else RequestError
        return kind(f"{self._place} cannot be reached: {last}.", f"Try: ssh {words['target']}")


def _target(place: Place) -> list[str]:
    """As ssh is told of a machine; nothing of it can be taken for an option."""
    port = ["-p", str(place.port)] if place.port else []
    return [*port, "--", f"{place.user}@{place.host}" if place.user else place.host]


def command(place: Place) -> str:
    """What the login shell there is told: whichever it is, `sh` does the rest."""
    folder = place.folder
    home = folder == "~" or folder.startswith("~/")
    quoted = '"$HOME"' + shlex.quote(folder[1:]) if home else shlex.quote(folder)
    return "exec sh -c " + shlex.quote(FIND.format(folder=quoted, no_engine=NO_ENGINE))
