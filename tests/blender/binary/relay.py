"""Runs the engine for a Blender in a chroot: takes commands from files, as the extension gave them.

relay.py CHROOT FOLDER PYTHON

FOLDER is where both meet, as the chroot names it; its commands lie in FOLDER/relay.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path


def main(chroot: Path, shared: str, python: str) -> None:
    """Until it is ended; the engines that are at work then are ended, too."""
    folder = chroot / shared.lstrip("/") / "relay"
    running: dict[Path, subprocess.Popen[bytes]] = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while True:
            for command in folder.glob("*.command"):
                arguments = json.loads(command.read_text())
                outside = [str(chroot) + each if each.startswith(f"{shared}/") else each for each in arguments]
                output = command.with_suffix(".output").open("wb")
                running[command] = subprocess.Popen([python, *outside], stdout=output, stderr=subprocess.STDOUT)
                command.unlink()
            for command, process in list(running.items()):
                if process.poll() is not None:
                    command.with_suffix(".status").write_text(str(process.returncode))
                    del running[command]
            time.sleep(0.05)
    finally:
        for process in running.values():
            process.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
