"""The errors that reach a person, and the exit status each one means."""

from __future__ import annotations


class DdrepError(Exception):
    """An error with a message for a person: what happened, and in `fix` what to do next."""

    exit_status = 1

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message} {self.fix}".strip()


class RequestError(DdrepError):
    """The request was wrong (a missing file, an unknown key, a mesh of zero faces): exit status 2."""

    exit_status = 2


class StaleState(RequestError):
    """A state to go on from that another call or another version of ddrep has left; nothing was done yet."""


class RunError(DdrepError):
    """The request was right, but the run failed (out of memory, disk full): exit status 1."""

    exit_status = 1


class Cancelled(DdrepError):
    """The person asked for the run to stop: exit status 130. A callback raises it to end `sample`."""

    exit_status = 130


class DdrepWarning(UserWarning):
    """Something a person should know that did not stop the run (a truncated prompt, overlapping UVs)."""
