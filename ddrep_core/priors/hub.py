"""Models from the Hugging Face hub: what is already on this machine first, and only the files that are needed."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from ddrep_core.errors import RequestError, RunError
from ddrep_core.priors.families import class_of, family_of
from ddrep_core.priors.model_files import PICKLES, ModelFiles, choose_weights
from ddrep_core.priors.model_folder import INDEX

SMALL = (".json", ".txt", ".model")
"""Endings of configurations and vocabularies."""


def is_hub_id(source: str) -> bool:
    """Whether this could name a model on the hub: owner/name."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", source) is not None


def needed_files(files: list[str], parts: tuple[str, ...], half: bool) -> list[str]:
    """Which files of a repository make up those parts: configurations, and one copy of the weights."""
    chosen = [file for file in files if file in (INDEX, "ddrep.json")]
    for part in parts:
        inside = [PurePosixPath(file) for file in files if PurePosixPath(file).parent.as_posix() == part]
        small = [file.name for file in inside if file.name.endswith(SMALL) and ".index." not in file.name]
        weights = choose_weights([file.name for file in inside], half)
        chosen += [(PurePosixPath(part) / name).as_posix() for name in (*small, *weights)]
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
        family = family_of(ModelFiles(index.parent, repository).json(INDEX), repository)
        return needed_files(files, (*family.parts, *family.optional, "controlnet"), half)

    partly = False
    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
        if _is_complete(ModelFiles(folder, repository), half, parts):
            return folder
        partly = True
    except LocalEntryNotFoundError:
        pass
    if not allow_download:
        raise RequestError(
            f"The model '{repository}' is {'only partly' if partly else 'not'} on this machine, and nothing may be "
            "fetched.",
            "Allow the download, or give a folder.",
        )
    try:
        index = None if parts is not None else Path(hf_hub_download(repository, INDEX))
        there = list_repo_files(repository)
        files = needed(there, index)
        _check_weights(there, files, repository)
        return Path(snapshot_download(repository, allow_patterns=files))
    except RequestError:
        raise
    except Exception as error:
        raise _explained(error, repository) from error


def _is_complete(files: ModelFiles, half: bool, parts: tuple[str, ...] | None) -> bool:
    """Whether a snapshot has each part whole: half-fetched ones are fetched on."""
    try:
        if parts is None:
            index = files.json(INDEX)
            family = family_of(index, files.name)
            told = tuple(part for part in family.optional if class_of(index, part))
            parts = (*family.parts, *told)
        for part in parts:
            if part == "scheduler":
                files.file("scheduler/scheduler_config.json")
            elif part.startswith("tokenizer"):
                if not files.names(part):
                    return False
            else:
                files.file(f"{part}/config.json")
                files.weight_files(part, half)
    except RequestError:
        return False
    return True


def _check_weights(there: list[str], needed: list[str], repository: str) -> None:
    """Refuse a repository without safetensors before any of it is fetched.

    Raises:
        RequestError: it has none.
    """
    if any(file.endswith(".safetensors") for file in needed):
        return
    if any(file.endswith(PICKLES) for file in there):
        raise RequestError(
            f"The model '{repository}' is on the hub with pickled weights only, which can run code when opened.",
            "Choose a copy of the model in the safetensors format.",
        )
    raise RequestError(f"The model '{repository}' has no weights on the hub.", "Choose another copy of it.")


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
