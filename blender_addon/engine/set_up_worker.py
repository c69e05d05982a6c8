# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python of its own: make an environment and install the engine in it. Standard library only.

    python set_up_worker.py FOLDER SOURCE [INDEX]

Prints "[ddrep] FRACTION WORDS" lines between pip's own; ends with 0 when the engine answers.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)
MARK = "made-by-ddrep"


def say(fraction: float, words: str) -> None:
    """One line of progress."""
    print(f"[ddrep] {fraction:.2f} {words}", flush=True)


def version_of(python: str) -> tuple[int, int] | None:
    """(3, 11) of an interpreter that can make environments, or None."""
    code = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, timeout=120, check=True)
        major, minor = answer.stdout.split()
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return int(major), int(minor)


def find_python() -> str | None:
    """A Python the engine runs on: one of the system's, else Blender's own."""
    names = ["python3.11", "python3.12", "python3.13", "python3", "python"]
    found = [path for name in names if (path := shutil.which(name))] + [sys.executable]
    for path in found:
        version = version_of(path)
        if version and OLDEST <= version <= NEWEST:
            return path
    return None


def install_command(python: Path, source: str, index: str) -> list[str]:
    """pip's command; a checkout brings the versions it was tested with."""
    command = [str(python), "-I", "-m", "pip", "--disable-pip-version-check", "install", "--no-input"]
    command += ["--progress-bar", "off"]
    if index:
        command += ["--extra-index-url", index]
    constraints = Path(source) / "constraints.txt"
    if "://" not in source and constraints.is_file():
        command += ["--constraint", str(constraints)]
    return [*command, "--", source]


def main(folder: Path, source: str, index: str) -> int:
    """Make it. Returns the exit status."""
    say(0.02, "Looking for a Python")
    python = find_python()
    if python is None:
        say(0.02, "No Python 3.11 to 3.13 was found. Install one, or choose an engine by hand")
        return 1
    print("Using", python, flush=True)
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).is_file():
        say(0.05, f"{folder} holds other files. Choose an empty folder for the engine")
        return 1
    say(0.05, "Making a private environment")
    if (folder / MARK).is_file():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("This folder was made by the ddrep extension, which may remove it.\n")
    subprocess.run([python, "-I", "-m", "venv", str(folder)], check=True)
    inside = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    say(0.15, "Installing the engine and what it needs (this takes minutes)")
    if subprocess.run(install_command(inside, source, index), check=False).returncode != 0:
        say(0.0, f"The engine could not be installed from {source}: the log says why. Is Engine Source right?")
        return 1
    say(0.9, "Checking the engine")
    subprocess.run([str(inside), "-I", "-c", "import ddrep_core"], check=True)
    say(1.0, "The engine is ready")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""))
    except (OSError, subprocess.SubprocessError) as error:
        print(error, flush=True)
        say(0.0, "The engine could not be set up: the log says why")
        sys.exit(1)
