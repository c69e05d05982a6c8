"""In the place of `ddrep_core.batch.worker`: the real orders, and remote_engine's quick run."""

from __future__ import annotations

from pathlib import Path

from remote_engine import run

from ddrep_core.batch import worker
from ddrep_core.errors import DdrepError
from ddrep_core.jobs.folder import JobFolder


def run_one(path, models, say):
    status, message = 0, ""
    say({"job": str(path), "event": "started"})
    try:
        with JobFolder(path).locked():
            status = run(Path(path), (Path(path) / "checkpoint/run.json").exists())
    except DdrepError as error:
        status, message = error.exit_status, error.message
    return {"job": str(path), "event": "ended", "status": status, "message": message, "fix": ""}


if __name__ == "__main__":
    worker.run_one = run_one
    worker.main()
