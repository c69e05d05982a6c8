"""Which machine, and where on it: USER@HOST[:PORT][/FOLDER]."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ddrep_core.errors import RequestError

PLACE = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_.][\w.+-]*)@)?(?P<host>[A-Za-z0-9_][\w.-]*|\[[0-9A-Fa-f:.]+(?:%\w+)?\])"
    r"(?::(?P<port>\d{1,5}))?(?P<folder>/[^\0-\x1f]*)?"
)
CACHE = "~/.cache/ddrep/jobs"


@dataclass(frozen=True)
class Place:
    """A machine that OpenSSH reaches.

    Attributes:
        user: None: as OpenSSH's configuration says.
        host: its name, its address, or what the configuration calls it.
        port: None: as the configuration says.
        folder: where job folders lie there; a leading ~ is the home there.
    """

    host: str
    user: str | None = None
    port: int | None = None
    folder: str = CACHE

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port else ""
        folder = "" if self.folder == CACHE else self.folder if self.folder[0] == "/" else f"/{self.folder}"
        return f"{user}{host}{port}{folder}"


def parse_place(text: str) -> Place:
    """What a person said; `/~/jobs` is below the home there.

    Raises:
        RequestError: it names no machine.
    """
    match = PLACE.fullmatch(text.strip())
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 1 <= port <= 65535):
        raise RequestError(f"'{text}' names no machine.", "Write USER@HOST, USER@HOST:PORT or USER@HOST/FOLDER.")
    folder = (match["folder"] or "").rstrip("/")
    if folder.startswith("/~/") or folder == "/~":
        folder = folder[1:]
    return Place(match["host"].strip("[]"), match["user"], port, folder or CACHE)
