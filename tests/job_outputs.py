"""What a job has written, to compare two jobs by."""

from __future__ import annotations

import json
from typing import Any

from ddrep_core.jobs.folder import JobFolder


def outputs_of(folder: JobFolder) -> dict[str, Any]:
    """Every output byte by its path in outputs/; of result.json, all but how long it took."""
    found: dict[str, Any] = {}
    for path in sorted(folder.outputs.rglob("*")):
        if path == folder.result_file:
            result = json.loads(path.read_text())
            for part in (result, *result["samples"]):
                assert part.pop("seconds")
            found["result.json"] = result
        elif path.is_file():
            found[path.relative_to(folder.outputs).as_posix()] = path.read_bytes()
    return found
