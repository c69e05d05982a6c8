"""Models from the Hugging Face hub: what is already on this machine first, and only the files that are needed."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from ddrep_core.errors import RequestError, RunError
from ddrep_core.priors.model_folder import INDEX, choose_weights, family_of

SMALL = (".json", ".txt", ".model")
"""Endings of configurations and vocabularies."""


def is_hub_id(source: str) -> bool:
    """Whether this could name a model on the hub: owner/name."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", source) is not None


def needed_files(files: list[str], parts: tuple[str, ...], half: bool) -> list[str]:
    """Which files of a repository make up those parts: configurations, and one copy of the weights."""
    chosen = [file for file in files if file in (INDEX, "ddrep.json")]
    for part in parts:
        inside = [file for file in files if PurePosixPath(file).parent.as_posix() == part]
        chosen += [file for file in inside if file.endswith(SMALL) and not file.endswith(".index.json")]
        chosen += choose_weights(inside, half)
    return chosen


def find_model(repository: str, half: bool, allow_download: bool) -> Path:
    """The folder of a model on the hub, fetched where this machine does not have it.

    Args:
        repository: owner/name.
        half: prefer the half-precision copy of the weights.
        allow_download: whether anything may be fetched.

    Raises:
        RequestError: not on this machine and not to be fetched; no such model, or one that needs a licence accepted; a
            family that is not known.
        RunError: the hub cannot be reached.
    """
    return _find(repository, half, allow_download, parts=None)


def find_controlnet(repository: str, half: bool, allow_download: bool) -> Path:
    """The folder of a ControlNet on the hub; arguments and errors as for `find_model`."""
    return _find(repository, half, allow_download, parts=(".",))


def _find(repository: str, half: bool, allow_download: bool, parts: tuple[str, ...] | None) -> Path:
    from huggingface_hub import hf_hub_download, list_repo_files, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def needed(files: list[str], index: Path | None) -> list[str]:
        if parts is not None or index is None:
            return needed_files(files, parts or (".",), half)
        content = json.loads(index.read_text(encoding="utf-8"))
        family = family_of(content, repository)
        return needed_files(files, (*family.parts, *family.optional, "controlnet"), half)

    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
        if _is_complete(folder, needed):
            return folder
    except LocalEntryNotFoundError:
        pass
    if not allow_download:
        raise RequestError(
            f"The model '{repository}' is not on this machine, and nothing may be fetched.",
            "Allow the download, or give a folder.",
        )
    try:
        index = None if parts is not None else Path(hf_hub_download(repository, INDEX))
        files = needed(list_repo_files(repository), index)
        return Path(snapshot_download(repository, allow_patterns=files))
    except RequestError:
        raise
    except Exception as error:
        raise _explained(error, repository) from error


def _is_complete(folder: Path, needed: Any) -> bool:
    """Whether a snapshot has, for every part it has begun, some weights; half-fetched ones are fetched on."""
    index = folder / INDEX
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    if not index.is_file():
        return any(file.endswith(".safetensors") for file in needed(files, None))
    family = family_of(json.loads(index.read_text(encoding="utf-8")), folder.name)
    weighty = [part for part in family.parts if part != "scheduler" and not part.startswith("tokenizer")]
    return all(any(f.startswith(f"{part}/") and f.endswith(".safetensors") for f in files) for part in weighty)


def _explained(error: Exception, repository: str) -> RequestError | RunError:
    """The hub's errors in a person's words."""
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return RequestError(
            f"The model '{repository}' is given only to those who accepted its licence.",
            "Accept it on the model's page, sign in with `hf auth login`, and try again.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return RequestError(
            f"There is no prior called '{repository}': no folder on this machine, and no public model on the hub.",
            "Check the spelling. For a private model, sign in with `hf auth login`.",
        )
    if isinstance(error, EntryNotFoundError):
        return RequestError(
            f"'{repository}' is not a model in diffusers' format: it has no {INDEX}.",
            "Look for a copy of the model whose page says Diffusers.",
        )
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return RunError(
        f"The model '{repository}' cannot be fetched: {reason}",
        "Check the connection, or give a folder on this machine.",
    )
