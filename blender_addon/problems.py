# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, told in words, with the button that puts it right."""

import errno
import json
from typing import Any

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}


class Problem(Exception):
    """Something the artist must know, and can act on.

    Args:
        message: what happened and what to do, in words.
        fix: the operator that puts it right ("ddrep.use_orbit"), or "".
        label: what the button says.
        arguments: the operator's properties.
    """

    def __init__(self, message: str, fix: str = "", label: str = "", **arguments: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.label = label
        self.arguments = arguments

    def to_json(self) -> dict[str, Any]:
        return {"message": self.message, "fix": self.fix, "label": self.label, "arguments": self.arguments}

    @classmethod
    def from_json(cls, data: Any) -> "Problem | None":
        """The problem in `data`, or None where it is not one (job files are data and may be anything)."""
        if not isinstance(data, dict) or not isinstance(data.get("message"), str) or not data["message"]:
            return None
        arguments = data.get("arguments")
        fix, label = data.get("fix"), data.get("label")
        return cls(
            data["message"],
            fix if isinstance(fix, str) else "",
            label if isinstance(label, str) else "",
            **(arguments if isinstance(arguments, dict) else {}),
        )


def disk_problem(error: OSError, path: Any) -> Problem:
    """An error of the file system in words."""
    if error.errno in DISK_FULL:
        return Problem(
            f"The disk that holds {path} is full. Free some space, or keep jobs in another folder.",
            "ddrep.open_preferences",
            "Choose another folder",
        )
    if error.errno in READ_ONLY:
        return Problem(
            f"{path} can't be written: it is read-only. Choose a folder of your own for jobs.",
            "ddrep.open_preferences",
            "Choose another folder",
        )
    reason = (error.strerror or str(error)).lower()
    return Problem(f"{path} can't be used: {reason}.", "ddrep.open_preferences", "Choose another folder")


def encode(problem: Problem | None) -> str:
    """A problem as a string property can hold it."""
    return "" if problem is None else json.dumps(problem.to_json())


def decode(text: str) -> Problem | None:
    """The problem in a string property."""
    if not text:
        return None
    try:
        return Problem.from_json(json.loads(text))
    except ValueError:
        return None
