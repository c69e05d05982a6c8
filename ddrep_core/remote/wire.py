"""Messages over a pipe: a line of JSON, and where it says "size", so many bytes after it. Data only, at both ends."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import IO, Any

from ddrep_core.jobs.folder import replacing

LONGEST_LINE = 64 * 2**20
PIECE = 2**18


class ConnectionLost(Exception):
    """The other end is gone, or speaks no more sense."""


class Wire:
    """One end of a conversation. Any thread may speak; one listens."""

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        self._reader, self._writer = reader, writer
        self._lock = threading.Lock()

    def say(self, **message: Any) -> None:
        """Send a message."""
        with self._lock:
            self._write(_line(message))

    def send(self, file: IO[bytes], **message: Any) -> None:
        """Send a message with an open file's bytes, from where it stands to its end."""
        start = file.tell()
        left = file.seek(0, 2) - start
        file.seek(start)
        with self._lock:
            self._write(_line({**message, "size": left}), flush=False)
            while left:
                piece = file.read(min(PIECE, left))
                if not piece:
                    raise ConnectionLost("a file became shorter while it was sent")
                self._write(piece, flush=False)
                left -= len(piece)
            self._write(b"")

    def hear(self) -> dict[str, Any] | None:
        """The next message; its bytes, if it has "size", are for `save`. None at the end."""
        try:
            line = self._reader.readline(LONGEST_LINE)
            message = json.loads(line) if line else None
        except (OSError, ValueError, RecursionError) as error:
            raise ConnectionLost(str(error)) from error
        if message is not None and not isinstance(message, dict):
            raise ConnectionLost("no message")
        return message

    def save(self, message: dict[str, Any], path: Path) -> None:
        """A message's bytes as a file: whole, or not at all.

        Raises:
            RunError: it cannot be written.
        """
        left = message.get("size")
        if not isinstance(left, int) or isinstance(left, bool) or left < 0:
            raise ConnectionLost("a file without a size")
        with replacing(path) as part, part.open("wb") as file:
            while left:
                try:
                    piece = self._reader.read(min(PIECE, left))
                except OSError as error:
                    raise ConnectionLost(str(error)) from error
                if not piece:
                    raise ConnectionLost("it ended in the middle of a file")
                file.write(piece)
                left -= len(piece)

    def _write(self, data: bytes, flush: bool = True) -> None:
        try:
            self._writer.write(data)
            if flush:
                self._writer.flush()
        except (OSError, ValueError) as error:
            raise ConnectionLost(str(error)) from error


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode("ascii") + b"\n"
