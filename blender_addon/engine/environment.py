# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Python holds the engine, whether it fits, and setting one up. No bpy; every process runs beside us."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..problems import Problem
from . import process

ENGINE_VERSION = "0.1"  # the engine's series this extension speaks to: job folders of schema_version 1
PROBE = "import importlib.metadata as m; print('ddrep', m.version('ddrep'))"
WINDOWS = sys.platform == "win32"
DEFAULT_SOURCE = f"ddrep=={ENGINE_VERSION}.*"
CARRIED = Path(__file__).parents[1] / "engine_wheel"  # in a released extension: the engine that belongs to it
SET_UP_WORKER = Path(__file__).with_name("set_up_worker.py")


def python_in(location: str | Path) -> Path:
    """The Python at `location`: an interpreter, an environment's folder, or a folder with a .venv in it.

    Raises:
        Problem: there is none.
    """
    if not str(location).strip():
        raise Problem(
            "The engine is not set up yet. It is a program of its own that does the sampling.",
            "ddrep.open_preferences",
            "Set up the engine",
        )
    path = Path(os.path.expandvars(str(location))).expanduser()
    if path.is_file():
        return path
    inside = ("Scripts/python.exe",) if WINDOWS else ("bin/python", "bin/python3")
    for candidate in [path / part for part in inside] + [path / ".venv" / part for part in inside]:
        if candidate.is_file():
            return candidate
    raise Problem(
        f"There is no Python at {path}. Choose the engine's folder (or its Python) in the preferences, or set it up.",
        "ddrep.open_preferences",
        "Open the preferences",
    )


def candidates(managed: Path) -> list[Path]:
    """Places where an engine may be: the one we set up, the one on PATH, the active environment."""
    places: list[Path] = [managed]
    if named := os.environ.get("DDREP_ENGINE"):
        places.insert(0, Path(named))
    if command := shutil.which("ddrep"):
        places.append(Path(command).resolve().parent / ("python.exe" if WINDOWS else "python"))
        places.append(Path(command).parent / ("python.exe" if WINDOWS else "python"))
    if active := os.environ.get("VIRTUAL_ENV"):
        places.append(Path(active))
    found: list[Path] = []
    for place in places:
        with contextlib.suppress(Problem):
            python = python_in(place)
            if python not in found:
                found.append(python)
    return found


def fits(version: str) -> bool:
    """Whether an engine of this version understands our jobs."""
    return version == ENGINE_VERSION or version.startswith(ENGINE_VERSION + ".")


class Task:
    """A process beside us whose output we read when it is there. Never waits."""

    def __init__(self, command: list[str]) -> None:
        descriptor, name = tempfile.mkstemp(prefix="ddrep-", suffix=".log")
        os.close(descriptor)
        self.log = Path(name)
        self._process: subprocess.Popen[bytes] = process.start(command, self.log)

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    def output(self) -> str:
        """What it has printed so far."""
        with contextlib.suppress(OSError):
            return self.log.read_text(encoding="utf-8", errors="replace")
        return ""

    def close(self) -> None:
        """End it if it still runs, and remove its output."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=1)
        with contextlib.suppress(OSError):
            self.log.unlink(missing_ok=True)


class Probe:
    """Finds out, beside us, which version of the engine a Python holds."""

    def __init__(self, python: Path) -> None:
        self.python = python
        self.version: str | None = None
        self.problem: Problem | None = None
        self._task: Task | None = None
        try:
            self._task = Task([str(python), "-I", "-c", PROBE])
        except OSError as error:
            self.problem = Problem(
                f"The engine's Python at {python} can't be started: {(error.strerror or str(error)).lower()}.",
                "ddrep.open_preferences",
                "Open the preferences",
            )

    def done(self) -> bool:
        """Look whether the answer is there; then `version` or `problem` is set."""
        if self._task is None:
            return True
        if self._task.status is None:
            return False
        match = re.search(r"^ddrep (\S+)$", self._task.output(), re.MULTILINE)
        if match is None:
            self.problem = Problem(
                f"The Python at {self.python} has no engine in it. Set the engine up, or choose another Python.",
                "ddrep.open_preferences",
                "Set up the engine",
            )
        else:
            self.version = match[1]
            if not fits(self.version):
                self.problem = Problem(
                    f"The engine is version {self.version}; this extension works with {ENGINE_VERSION}.x. "
                    "Set the engine up again, or install the extension that belongs to it.",
                    "ddrep.open_preferences",
                    "Update the engine",
                )
        self._task.close()
        self._task = None
        return True

    def close(self) -> None:
        """Give up."""
        if self._task is not None:
            self._task.close()
            self._task = None


def _begun(python: Path, *command: str) -> tuple[Task | None, Problem | None]:
    """A command of the engine's, beside us, or why it can't be started."""
    try:
        return Task([str(python), "-I", "-m", "ddrep_core", *command]), None
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        return None, Problem(f"The engine at {python} can't be started: {said}.")


class Doctor:
    """`ddrep doctor --json`, beside us."""

    def __init__(self, python: Path) -> None:
        self.report: dict[str, Any] | None = None
        self._task, self.problem = _begun(python, "doctor", "--json")

    def done(self) -> bool:
        """Look whether the report is there; then `report` or `problem` is set."""
        if self._task is None:
            return True
        if self._task.status is None:
            return False
        output = self._task.output()
        self.report = last_object(output)
        if self.report is None:
            last = output.strip().splitlines()[-1:] or ["it said nothing"]
            self.problem = Problem(
                f"The engine could not check itself: {last[0]}", "ddrep.open_preferences", "Set up again"
            )
        self._task.close()
        self._task = None
        return True

    def close(self) -> None:
        """Give up."""
        if self._task is not None:
            self._task.close()
            self._task = None


class Drawing:
    """`ddrep view`, beside us: what a camera of a job sees of its result, as a picture."""

    def __init__(self, python: Path, mesh: Path, camera: str) -> None:
        descriptor, name = tempfile.mkstemp(prefix="ddrep-", suffix=".png")
        os.close(descriptor)
        self.picture = Path(name)
        self._task, self.problem = _begun(python, "view", str(mesh), f"--camera={camera}", "--out", str(self.picture))

    def done(self) -> bool:
        """Look whether the picture is there; then it lies at `picture`, or `problem` is set."""
        if self._task is None:
            return True
        if self._task.status is None:
            return False
        if self._task.status != 0:
            said = " ".join(self._task.output().partition("Error: ")[2].split())
            self.problem = Problem(said or "The engine could not draw what this camera sees.")
        self._task.close()
        self._task = None
        return True

    def close(self) -> None:
        """Give up, or be done with the picture."""
        if self._task is not None:
            self._task.close()
            self._task = None
        with contextlib.suppress(OSError):
            self.picture.unlink(missing_ok=True)


def last_object(text: str) -> dict[str, Any] | None:
    """The JSON object in a program's output, whatever warnings stand around it."""
    decoder = json.JSONDecoder()
    for match in re.finditer(r"^\{", text, re.MULTILINE):
        with contextlib.suppress(ValueError):
            data, _ = decoder.raw_decode(text[match.start() :])
            if isinstance(data, dict) and "ok" in data:
                return data
    return None


def engine_source(text: str) -> str:
    """What pip is given to install the engine from: an address, a file, a folder, or a package's name.

    Raises:
        Problem: it names nothing, or a file or folder that is not there or holds no engine.
    """
    source = text.strip()
    if not source:
        raise Problem("Say where the engine comes from: a package, a wheel, a folder or an address.")
    if source == DEFAULT_SOURCE and (wheels := sorted(CARRIED.glob("ddrep-*.whl"))):
        return str(wheels[-1])
    if source.startswith("-"):
        raise Problem(f"'{source}' is no package: it begins with a dash.")
    if "://" in source:
        return source
    path = Path(os.path.expandvars(source)).expanduser()
    if path.is_file() and path.suffix != ".whl":
        raise Problem(f"{path} is no wheel (its name does not end in .whl).")
    if path.is_dir() and not (path / "pyproject.toml").is_file():
        raise Problem(f"{path} is no ddrep checkout: it has no pyproject.toml.")
    if path.exists():
        return str(path.resolve())
    if "/" in source or "\\" in source or source.endswith(".whl"):
        raise Problem(f"There is nothing at {path}. Choose a wheel, a folder, an address or a package.")
    return source


class SetUp:
    """Makes a private environment and installs the engine in it, beside us; goes on when Blender closes.

    Args:
        folder: where the environment goes.
        source: what pip installs, as `engine_source` returns it.
        index: an extra package index for pip, or "".
        log: kept for reading afterwards.
    """

    def __init__(self, folder: Path, source: str, index: str, log: Path) -> None:
        self.folder = folder
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-I", str(SET_UP_WORKER), str(folder), source, index]
        self._process: subprocess.Popen[bytes] = process.start(command, log)

    def look(self) -> tuple[float, str, int | None]:
        """How far it is (0 to 1), what it does, and its exit status (None while it runs)."""
        with contextlib.suppress(OSError):
            lines = self.log.read_bytes()[-65536:].decode("utf-8", "replace").splitlines()
            told = [line for line in lines if line.startswith("[ddrep] ")]
            packages = sum(line.startswith(("Collecting ", "Downloading ")) for line in lines)
            fraction, words = 0.02, "Starting"
            if told:
                number, _, words = told[-1].removeprefix("[ddrep] ").partition(" ")
                fraction = float(number) if number.replace(".", "", 1).isdigit() else fraction
            if words.startswith("Installing the engine"):
                fraction += 0.6 * (1 - 0.97**packages)
            return min(fraction, 1.0), words, self._process.poll()
        return 0.0, "Starting", self._process.poll()

    def cancel(self) -> None:
        """Stop it; what is there of the environment is removed at the next try."""
        process.end(self._process, self._process.pid, self.log.parent, force=True)
