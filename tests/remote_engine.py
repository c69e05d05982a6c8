"""In the place of `ddrep` on the other machine: the real far end, and a run that makes no pictures but takes its time.

The prompt says what it does: "die" ends it in the middle, once; "fail" ends it with an error; "slow" takes seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from ddrep_core.jobs.events import EventLog
from ddrep_core.jobs.folder import JobFolder, read_json, write_bytes, write_json
from ddrep_core.jobs.identity import fingerprint
from ddrep_core.remote import far_end
from ddrep_core.remote.wire import Wire


def run(path: Path, resume: bool) -> int:
    folder = JobFolder(path)
    request = folder.load_request()
    events = EventLog(folder, append=resume)
    if not resume:
        folder.clear_results()
    folder.prepare()
    identity = fingerprint(folder, request)
    write_json(folder.checkpoints / "run.json", {"fingerprint": identity})
    state = folder.checkpoints / "state.json"
    done = (read_json(state) or {"steps": []})["steps"]
    events.emit("started", task=request.task, pid=os.getpid(), samples=1, of=1)
    steps = 25 if "slow" in request.prompt else 4
    while len(done) < steps:
        if folder.cancel_requested():
            folder.forget_cancel()
            events.emit("cancelled")
            return 130
        done.append(os.getpid())
        write_json(state, {"steps": done})
        write_bytes(folder.previews / "now.png", f"picture {len(done)}".encode())
        events.emit("preview", path="previews/now.png", sample=0, kind="image")
        events.emit("step", sample=0, index=len(done), of=steps, sigma=1.0, nfe=len(done), seconds_left=1.0)
        if "fail" in request.prompt and len(done) == 2:
            events.emit("error", message=f"{path} is odd.", fix=f"Look at {path}.", status=1)
            return 1
        if "die" in request.prompt and len(done) == 2:
            print("Killed by nobody", flush=True)
            os._exit(9)
        time.sleep(0.05)
    write_json(folder.outputs / "steps.json", done)
    record = {"seed": 0, "nfe": 1, "seconds": {}, "files": {"steps": "outputs/steps.json"}}
    write_json(folder.result_file, {"fingerprint": identity, "samples": [record]})
    events.emit("done", result="outputs/result.json", seconds=1.0)
    return 0


def main() -> int:
    if version := os.environ.get("PRETENDED_VERSION"):
        far_end.__version__ = version
    if sys.argv[1] == "far-end":
        answers = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        far_end.FarEnd(Wire(sys.stdin.buffer, answers), (sys.executable, __file__)).serve()
        return 0
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("path", type=Path)
    parser.add_argument("--checkpoint-seconds")
    parser.add_argument("--resume", action="store_true")
    told = parser.parse_args()
    return run(told.path, told.resume)


if __name__ == "__main__":
    sys.exit(main())
