"""How much memory this process may still take, as far as the system says; and when it is not to be tidied up."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ddrep_core.errors import RequestError

RESERVE = 0.05  # of what is available, left to the system


@contextmanager
def uncollected() -> Iterator[None]:
    """Nothing is looked through for what is no longer needed: while libraries are imported, all of it is."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def available_bytes() -> int | None:
    """What can be taken before the system must swap or end a process; None where it does not say.

    Linux: MemAvailable, what is left to the process's control group and to those around it, and what `ulimit -v`
    leaves. Elsewhere: the physical memory, of which others may hold a part.
    """
    found = [*_linux(), *_control_groups()]
    if not found:
        try:
            found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
        except (AttributeError, ValueError, OSError):  # Windows has no sysconf
            return None
    return max(min([*found, *_own_limit()]), 0)


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


def _control_groups() -> Iterator[int]:
    """What version 2 or 1 of control groups leaves; pages that only cache files can be given back.

    A limit of any group around the process's own holds for it too. In a container, whose paths may be the host's, the
    group that is mounted is its own.
    """
    v2, v1 = "/sys/fs/cgroup", "/sys/fs/cgroup/memory"
    folders = {v2: None, v1: None}  # an ordered set
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        root = v2 if not controllers else v1 if "memory" in controllers.split(",") else ""
        if root and ".." not in path.split("/"):
            own = Path(root + path)
            folders |= {str(folder): None for folder in (own, *own.parents) if folder.is_relative_to(root)}
    for folder in folders:
        for limit, used, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, now = _read(f"{folder}/{limit}").strip(), _read(f"{folder}/{used}").strip()
            if most.isdigit() and now.isdigit() and int(most) < 1 << 60:
                statistics = _read(f"{folder}/memory.stat")
                kept = [int(line.split()[1]) for line in statistics.splitlines() if line.startswith(cache + " ")]
                yield int(most) - int(now) + sum(kept)


def _own_limit() -> Iterator[int]:
    """What the process's own limit of addresses leaves, where it has one and the system tells what is taken."""
    if sys.platform == "win32":
        return
    import resource

    most, pages = resource.getrlimit(resource.RLIMIT_AS)[0], _read("/proc/self/statm").split()
    if most != resource.RLIM_INFINITY and pages:
        yield most - int(pages[0]) * resource.getpagesize()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
