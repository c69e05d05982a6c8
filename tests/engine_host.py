"""`ddrep` as processes of their own, without ten seconds of imports for each: one that has them forks the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

FRAMES, FRAME_SIZE = 4, 64  # of a film: test_report draws whole ones


class Run:
    """A run of `ddrep` that was started: as `subprocess.Popen`, as far as tests need it.

    Attributes:
        stdout, stderr: what it prints, to be read while it runs.
    """

    def __init__(self, host: subprocess.Popen[str], arguments: list[str], folder: Path) -> None:
        paths = [folder / name for name in ("stdout", "stderr")]
        for path in paths:
            path.unlink(missing_ok=True)
            os.mkfifo(path)
        self._host = host
        assert host.stdin is not None and host.stdout is not None
        host.stdin.write(json.dumps([arguments, *map(os.fspath, paths)]) + "\n")
        host.stdin.flush()
        self.pid = int(host.stdout.readline())
        self.stdout, self.stderr = (path.open() for path in paths)

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """The exit status, negative for the signal that ended it."""
        assert self._host.stdout is not None
        return int(self._host.stdout.readline())


def started() -> subprocess.Popen[str]:
    """The process that forks; end it by closing its standard input."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def _child(arguments: list[str], *paths: str) -> None:
    for number, path in enumerate(paths, start=1):
        os.dup2(os.open(path, os.O_WRONLY), number)
    from ddrep_core.cli import main

    status = 1
    try:
        main(arguments)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _serve() -> None:
    import ddrep_core.cli
    import ddrep_core.jobs.texture  # noqa: F401
    from ddrep_core.priors import load_prior
    from ddrep_core.report.turntable import turntable

    load_prior("bundled", device="cpu")
    turntable.__kwdefaults__ |= {"frames": FRAMES, "size": FRAME_SIZE}
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _child(*json.loads(line))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _serve()
