"""What self-checks found, kept in the user's cache by the fingerprint of the model: a model is checked once."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ddrep_core.priors.diffusers_prior import DiffusersPrior
from ddrep_core.priors.self_check import Verdict, check_model

VERSION = 2
"""Of the check; a verdict of another one is not believed."""

SAMPLE = 1 << 16


def cache_folder() -> Path:
    """Where verdicts are kept: `DDREP_CACHE`, or a folder of ddrep's own where the system keeps caches."""
    if told := os.environ.get("DDREP_CACHE"):
        return Path(told) / "verdicts"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "ddrep" / "verdicts"


def prove(prior: DiffusersPrior) -> Verdict:
    """Whether a model does what its files say: as found before, or by checking it now.

    Raises:
        RunError: the device has no memory for one picture of half the native size.
    """
    origin = prior.origin
    identity = None if origin is None else fingerprint(origin.files, origin.told)
    known = None if identity is None else read_verdict(identity)
    if known is not None:
        return known
    verdict = check_model(prior, origin.scheduler if origin else None)
    if identity is not None:
        write_verdict(identity, verdict)
    return verdict


def fingerprint(folders: Sequence[Path], told: str = "") -> str:
    """SHA-256 of the names and sizes of all files in some folders (or of single files), and of their ends.

    Small files count whole: every configuration does. Of weights, which would take minutes, the ends do. `told` counts
    too: what was said of adapters.
    """
    digest = hashlib.sha256(f"self-check {VERSION}{told}".encode())
    for folder in folders:
        for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder).as_posix()} {size}".encode(errors="surrogateescape"))
            with path.open("rb") as file:
                digest.update(file.read(SAMPLE))
                if size > SAMPLE:
                    file.seek(max(SAMPLE, size - SAMPLE))
                    digest.update(file.read(SAMPLE))
    return digest.hexdigest()


def read_verdict(identity: str) -> Verdict | None:
    """A verdict that was kept; None where there is none that can be read."""
    try:
        told = json.loads((cache_folder() / f"{identity}.json").read_text(encoding="utf-8"))
        errors = {float(sigma): float(error) for sigma, error in told["errors"].items()}
        return Verdict(bool(told["sound"]), tuple(map(str, told["findings"])), str(told["fix"]), errors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, RuntimeError):
        return None


def write_verdict(identity: str, verdict: Verdict) -> None:
    """Keep a verdict. A cache that cannot be written costs another check the next time, and nothing else."""
    told = {
        "sound": verdict.sound,
        "findings": list(verdict.findings),
        "fix": verdict.fix,
        "errors": {str(sigma): error for sigma, error in verdict.errors.items()},
    }
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{identity}.{os.getpid()}.part"
        part.write_text(json.dumps(told), encoding="utf-8")
        part.replace(folder / f"{identity}.json")
    except (OSError, RuntimeError):  # no home folder, a full disk, ...
        return
