"""`python -m ddrep_core` is `ddrep`: the way in, which answers Ctrl-C from the first moment on."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line; ends the process with the exit status."""
    answered = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if answered:
        signal.signal(signal.SIGINT, _interrupted)
    try:
        if sys.argv[1:] == ["far-end"]:  # what `--on` speaks to; no person's command, and nobody waits for torch
            from ddrep_core.remote.far_end import main as command_line
        else:
            from ddrep_core.cli import main as command_line  # here: a person may press Ctrl-C while it is imported
        command_line()
    except KeyboardInterrupt:
        print("Cancelled.", file=sys.stderr)
        sys.exit(130)
    finally:
        if answered:  # what is left is Python's own end, of which a traceback would say nothing
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _interrupted(kind: int, frame: FrameType | None) -> None:
    """Ctrl-C is a KeyboardInterrupt; but while a module is imported, the end.

    Libraries catch what is raised while they import their parts, and go on with half of a module, which fails later
    in words of its own.
    """
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            os.write(2, b"Cancelled.\n")
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
