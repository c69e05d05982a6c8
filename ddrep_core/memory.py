"""How much memory this process may still take, as far as the system says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ddrep_core.errors import RequestError

RESERVE = 0.05  # of what is available, left to the system


def available_bytes() -> int | None:
    """What can be taken before the system must swap or end a process; None where it does not say.

    Linux: MemAvailable, and what is left to the process's own control group. Elsewhere: the physical memory, of which
    others may hold a part.
    """
    found = [*_linux(), *_control_group()]
    if not found:
        try:
            found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
        except (AttributeError, ValueError, OSError):  # Windows has no sysconf
            return None
    return max(min(found), 0)


def require_bytes(needed: float, for_what: str, fix: str) -> None:
    """Refuse what will not fit.

    Args:
        needed: bytes beyond what the process holds now.
        for_what: "Baking textures of 8192 x 8192".
        fix: the way out.

    Raises:
        RequestError: more is needed than is available.
    """
    available = available_bytes()
    if available is not None and needed > (1 - RESERVE) * available:
        raise RequestError(
            f"{for_what} needs about {_gigabytes(needed)} of memory, and {_gigabytes(available)} are free.", fix
        )


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"


def _linux() -> Iterator[int]:
    for line in _read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            yield int(rest.split()[0]) * 1024


def _control_group() -> Iterator[int]:
    """What version 2 or 1 of control groups leaves; pages that only cache files can be given back."""
    for folder, limit, used, cache in (
        ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, now = _read(f"{folder}/{limit}").strip(), _read(f"{folder}/{used}").strip()
        if most.isdigit() and now.isdigit() and int(most) < 1 << 60:
            statistics = _read(f"{folder}/memory.stat")
            kept = [int(line.split()[1]) for line in statistics.splitlines() if line.startswith(cache + " ")]
            yield int(most) - int(now) + sum(kept)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
