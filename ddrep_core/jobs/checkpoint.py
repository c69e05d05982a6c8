"""Checkpoints: a sampler's state on disk, safe against being killed at any moment.

    JOB/checkpoint/000012/state.safetensors    tensors (θ, ε, solver moments, random generator)
    JOB/checkpoint/000012/state.json           numbers, and the SHA-256 of the tensors and of themselves

A checkpoint is written into a folder with a temporary name, synced, and renamed. The last two are kept: should the
newest be damaged (a truncated disk copy, a power cut that the disk lied about), the one before it serves.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ddrep_core.confined import is_link
from ddrep_core.jobs.folder import read_json, sync_folder, told_in_words

KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors on the CPU, and numbers that JSON can hold."""

    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Add a checkpoint to `folder` and drop all but the last two.

    Raises:
        RunError: the disk is full or cannot be written.
    """
    with told_in_words(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("*.part"):
            shutil.rmtree(stale, ignore_errors=True)
        existing = _numbered(folder)
        target = folder / f"{(int(existing[-1].name) + 1 if existing else 0):06d}"
        part = folder / f"{target.name}.part"
        part.mkdir()
        try:
            _write_pair(part, checkpoint)
            part.rename(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        sync_folder(folder)
        for old in existing[: max(0, len(existing) + 1 - KEPT)]:
            shutil.rmtree(old, ignore_errors=True)
    return target


def read_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest sound checkpoint in `folder`, or None; and a sentence for each damaged one that was passed over."""
    complaints = []
    for path in reversed(_numbered(folder)):
        checkpoint, fault = _read_pair(path)
        if checkpoint is not None:
            return checkpoint, complaints
        complaints.append(f"The checkpoint {path.name} is damaged ({fault}) and was passed over.")
    return None, complaints


def _numbered(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir() and not is_link(path))


def _write_pair(folder: Path, checkpoint: Checkpoint) -> None:
    tensors = save({name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()})
    text = json.dumps(checkpoint.numbers, sort_keys=True)  # only Python reads it again, which knows Infinity
    record = {"tensors_sha256": _sha256(tensors), "numbers_sha256": _sha256(text.encode()), "numbers": text}
    for name, data in (("state.safetensors", tensors), ("state.json", json.dumps(record).encode())):
        with (folder / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)


def _read_pair(folder: Path) -> tuple[Checkpoint | None, str]:
    record = read_json(folder / "state.json")
    if not isinstance(record, dict) or not isinstance(text := record.get("numbers"), str):
        return None, "state.json is truncated or missing"
    try:
        data = (folder / "state.safetensors").read_bytes()
    except OSError:
        return None, "state.safetensors is missing"
    if _sha256(text.encode()) != record.get("numbers_sha256") or _sha256(data) != record.get("tensors_sha256"):
        return None, "its checksum does not match"
    try:
        return Checkpoint(load(data), json.loads(text)), ""
    except (SafetensorError, ValueError) as error:
        return None, str(error)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
