"""`python -m ddrep_core` is `ddrep`: the way in, which answers Ctrl-C from the first moment on."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; ends the process with the exit status."""
    try:
        if sys.argv[1:] == ["far-end"]:  # what `--on` speaks to; no person's command, and nobody waits for torch
            from ddrep_core.remote.far_end import main as command_line
        else:
            from ddrep_core.cli import main as command_line  # here: a person may press Ctrl-C while it is imported
        command_line()
    except KeyboardInterrupt:
        print("Cancelled.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
