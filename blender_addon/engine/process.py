# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as a process of its own: started without a shell, outliving Blender, ended for certain. No bpy.

It listens on no port. It is spoken to by files in the job folder, and answers by files there; its standard output goes
to a log. Ending it gives all its memory back, on any graphics card.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

WINDOWS = sys.platform == "win32"
REMOVED_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV")  # Blender's own must not leak in


def engine_environment() -> dict[str, str]:
    """The variables the engine runs with: the user's, without those that would bend its Python."""
    variables = {key: value for key, value in os.environ.items() if key not in REMOVED_VARIABLES}
    variables["PYTHONUTF8"] = "1"
    variables["PYTHONUNBUFFERED"] = "1"
    return variables


def run_command(python: Path, job: Path, resume: bool = False, machine: str = "") -> list[str]:
    """The command that runs a job: `ddrep run`, spelt so that nothing but that Python decides what runs.

    With a `machine` (USER@HOST) the engine here sends the job there by SSH, and speaks for it meanwhile.
    """
    options = [*(["--resume"] if resume else []), *([f"--on={machine}"] if machine else [])]
    return [str(python), "-I", "-m", "ddrep_core", "run", str(job), "--events", *options]


def start(command: list[str], log: Path, append: bool = False) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own, its output in `log`. Raises OSError where it can't start."""
    options: dict = {}
    if WINDOWS:
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW  # type: ignore[attr-defined]
    else:
        options["start_new_session"] = True
    with log.open("ab" if append else "wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env=engine_environment(),
            shell=False,
            close_fds=True,
            **options,
        )


def end(process: "subprocess.Popen[bytes] | None", pid: int, job: Path, force: bool = False) -> None:
    """Ask a process (or, with `force`, make it) to end; its children too where the system has process groups."""
    if process is not None and process.poll() is not None:
        return
    if process is None and not is_engine(pid, job):
        return
    with contextlib.suppress(OSError):
        if WINDOWS:
            subprocess.Popen(["taskkill", "/PID", str(pid), "/T", "/F"], creationflags=subprocess.CREATE_NO_WINDOW)  # type: ignore[attr-defined]
        else:
            os.killpg(pid, signal.SIGKILL if force else signal.SIGTERM)


def is_engine(pid: int, job: Path) -> bool:
    """Whether process `pid` is alive and, where the system tells, is the engine at work on `job`."""
    if pid <= 0:
        return False
    if WINDOWS:
        return _alive_on_windows(pid)
    if sys.platform.startswith("linux"):
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        if status.rpartition(")")[2].split()[:1] == ["Z"]:
            return False
        return os.fsencode(str(job)) in arguments or os.fsencode(str(job.resolve())) in arguments
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _alive_on_windows(pid: int) -> bool:
    import ctypes

    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return False
    code = ctypes.c_ulong()
    alive = bool(kernel.GetExitCodeProcess(handle, ctypes.byref(code))) and code.value == 259  # STILL_ACTIVE
    kernel.CloseHandle(handle)
    return alive
