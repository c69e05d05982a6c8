"""Whether a folder's results, or what is there of them, are this very request's. Torch is not needed to tell."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, TypeGuard

from ddrep_core.confined import Confined
from ddrep_core.jobs.folder import JobFolder, read_json
from ddrep_core.jobs.request import Request


def fingerprint(folder: JobFolder, request: Request) -> str:
    """SHA-256 of the request and of every input file: jobs with the same one make the same outputs."""
    digest = hashlib.sha256(json.dumps(request.to_json(), sort_keys=True).encode())
    inputs = folder.inputs
    door = Confined(folder.path)
    for path in sorted(inputs.rglob("*")) if inputs.is_dir() else []:
        if path.is_file():
            digest.update(os.fsencode(path.relative_to(inputs).as_posix()) + b"\0")
            with door.open(path.relative_to(folder.path)) as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def is_finished(folder: JobFolder, request: Request, identity: str | None = None) -> bool:
    """Whether outputs/ holds the result of this very request: all its samples, all their files and pictures.

    `identity` is the request's fingerprint where it is known. The inputs are read for it where all else fits, only.
    """
    result = read_json(folder.result_file)
    samples = result.get("samples") if isinstance(result, dict) else None
    if not isinstance(samples, list) or len(samples) != request.samples:
        return False
    if not all(is_record(each) and "missing" not in each and folder.holds(each["files"]) for each in samples):
        return False
    return isinstance(result, dict) and result.get("fingerprint") == (identity or fingerprint(folder, request))


def is_resumable(folder: JobFolder) -> bool:
    """Whether a run of this very request has begun here: finished, or with a checkpoint to go on from."""
    request = folder.load_request()
    return has_begun(folder, request, fingerprint(folder, request))


def has_begun(folder: JobFolder, request: Request, identity: str) -> bool:
    """Whether there is a run of this request to go on with, or its result."""
    record = read_json(folder.checkpoints / "run.json")
    begun = isinstance(record, dict) and record.get("fingerprint") == identity
    return begun or is_finished(folder, request, identity)


def is_record(record: object) -> TypeGuard[dict[str, Any]]:
    """Whether this is what result.json says of a sample, as far as a run counts on it."""
    if not isinstance(record, dict) or not isinstance(record.get("files"), dict):
        return False
    seconds, nfe, missing = record.get("seconds"), record.get("nfe"), record.get("missing", [])
    if not isinstance(seconds, dict) or not all(isinstance(value, int | float) for value in seconds.values()):
        return False
    return isinstance(nfe, int | float) and isinstance(missing, list) and "seed" in record
