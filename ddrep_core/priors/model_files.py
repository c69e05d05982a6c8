"""The one door through which files of a model are read.

A model's folder may come from a stranger. Nothing outside it is read, whatever its links, shard indices and tokenizer
configurations name; only regular files are opened, so that a pipe cannot keep anyone waiting; weights are safetensors
by name and by content, for a pickle can run code when it is opened; JSON is bounded in size and depth and holds finite
numbers.
"""

from __future__ import annotations

import json
import math
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddrep_core.errors import RequestError

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".msgpack", ".h5")
LARGEST_JSON = 64 * 2**20
DEEPEST_JSON = 64
LARGEST_INTEGER = 2**63
UNBOUNDED = "lambda_min_clipped"
"""What DPM-Solver's configurations set to -Infinity, to leave no step out. ddrep takes steps of its own."""

WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<before>\w+))?(?P<shard>-(?P<number>\d{5})-of-(?P<count>\d{5}))?"
    r"\.safetensors(?P<index>\.index(?:\.(?P<after>\w+))?\.json)?"
)
"""File names of weights as diffusers and transformers write them: variant, shard, index."""

PLAIN_NAME = re.compile(r"\w[\w.+-]*")


class ModelFiles:
    """Reads the files below one folder.

    Args:
        root: the folder.
        name: what the person called the model, for messages.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = name
        real = root.resolve()
        # The hub's cache keeps a model's bytes beside its snapshots, and links to them.
        self._allowed = [real, real.parent.parent / "blobs"] if real.parent.name == "snapshots" else [real]

    def names(self, folder: str) -> list[str]:
        """The names inside a folder, sorted; none where there is no such folder."""
        path = self.root / folder
        return sorted(entry.name for entry in self._inside(path).iterdir()) if path.is_dir() else []

    def has(self, relative: str) -> bool:
        """Whether something is there under this name, fit to be read or not."""
        return (self.root / relative).exists() or (self.root / relative).is_symlink()

    def file(self, relative: str) -> Path:
        """The path of a regular file.

        Raises:
            RequestError: it is not there, is no regular file, or lies outside the model's folder.
        """
        path = self._inside(self.root / relative)
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise RequestError(
                f"The model '{self.name}' lacks the file {relative}.", "Download the model again."
            ) from error
        if not stat.S_ISREG(mode):
            raise RequestError(f"{relative} of the model '{self.name}' is no file.", "Download the model again.")
        return path

    def json(self, relative: str) -> dict[str, Any]:
        """A JSON object.

        Raises:
            RequestError: it cannot be read, is no object, too large or too deep, or holds a number that is none.
        """
        path = self.file(relative)
        where = f"{relative} of the model '{self.name}'"
        try:
            if path.stat().st_size > LARGEST_JSON:
                raise RequestError(f"{where} is larger than {LARGEST_JSON >> 20} MB.", "Download the model again.")
            data = json.loads(path.read_text(encoding="utf-8"))
            _check_json(data, where)
        except RecursionError as error:
            raise RequestError(f"{where} is nested too deeply.", "Download the model again.") from error
        except (OSError, ValueError) as error:
            raise RequestError(f"{where} cannot be read: {error}") from error
        if not isinstance(data, dict):
            raise RequestError(f"{where} does not hold an object.")
        return data

    def weight_files(self, folder: str, half: bool) -> list[Path]:
        """The safetensors files that hold the weights of one part, each checked to be what its name says.

        Args:
            folder: the part.
            half: prefer the half-precision copy.

        Raises:
            RequestError: there are none, one is missing, or is no safetensors file, or lies outside the folder.
        """
        names = self.names(folder)
        choice = choose_weights(names, half)
        if not choice:
            raise self._without_safetensors(folder, names)
        shards = self._shards(folder, choice)
        for name in shards:
            check_safetensors(self.file(f"{folder}/{name}"), f"The part '{folder}' of the model '{self.name}'", name)
        return [self.root / folder / name for name in shards]

    def check_tokenizer(self, folder: str) -> None:
        """A tokenizer's folder: plain files, and a configuration that names none elsewhere.

        Raises:
            RequestError: anything else.
        """
        for name in self.names(folder):
            if not (self.root / folder / name).is_dir():
                self.file(f"{folder}/{name}")
            if name.endswith(".json"):
                self.json(f"{folder}/{name}")
        if not self.has(f"{folder}/tokenizer_config.json"):
            return
        for key, value in self.json(f"{folder}/tokenizer_config.json").items():
            if key == "special_tokens_map_file" or not key.endswith(("_file", "_files")) or not value:
                continue  # the first is a memory of where the tokenizer came from, and never opened
            for named in value if isinstance(value, list) else [value]:
                if not isinstance(named, str) or not PLAIN_NAME.fullmatch(named):
                    raise RequestError(
                        f"{folder}/tokenizer_config.json of the model '{self.name}' names a file outside the model: "
                        f"{key} is {str(named)[:80]!r}.",
                        f"Take '{key}' out of it, or choose another copy of the model.",
                    )

    def _shards(self, folder: str, choice: list[str]) -> list[str]:
        """The weights among the chosen files; an index decides which where there is one."""
        index = next((name for name in choice if name.endswith(".json")), None)
        if index is None:
            return choice
        where = f"{folder}/{index} of the model '{self.name}'"
        told = self.json(f"{folder}/{index}").get("weight_map")
        if not isinstance(told, dict) or not told:
            raise RequestError(f"{where} does not say where the weights are.", "Download the model again.")
        for shard in told.values():
            if not is_plain_safetensors(shard):
                raise RequestError(
                    f"{where} names {str(shard)[:80]!r}, which is no safetensors file beside it. Weights are read from "
                    "safetensors in the model's own folder only: pickles can run code when opened.",
                    "Choose another copy of the model.",
                )
        return sorted(set(told.values()))

    def _inside(self, path: Path) -> Path:
        try:
            real = path.resolve()
        except (OSError, RuntimeError) as error:  # links that lead in a circle
            raise RequestError(f"{path.name} of the model '{self.name}' cannot be read: {error}") from error
        if not any(real.is_relative_to(root) for root in self._allowed):
            raise RequestError(
                f"{path.name} of the model '{self.name}' is a link that leads out of the model's folder.",
                "Copy what it leads to into the folder.",
            )
        return real

    def _without_safetensors(self, folder: str, names: list[str]) -> RequestError:
        if any(name.endswith(PICKLES) for name in names):
            return RequestError(
                f"The part '{folder}' of the model '{self.name}' holds only pickled weights, which can run code when "
                "opened.",
                "Choose a copy of the model in the safetensors format, or convert it where you trust it: load it with "
                "diffusers and call save_pretrained(folder, safe_serialization=True).",
            )
        return RequestError(f"The part '{folder}' of the model '{self.name}' has no weights.", "Download it again.")


def is_plain_safetensors(name: object) -> bool:
    """Whether this is the bare name of a safetensors file: no folder, nothing hidden."""
    return isinstance(name, str) and name.endswith(".safetensors") and PLAIN_NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class _Copy:
    """One copy of a part's weights: what its variant is called, and its files."""

    variant: str
    whole: list[str]
    shards: list[str]
    index: list[str]

    def files(self) -> list[str]:
        return self.whole[:1] or [*self.shards, *self.index[:1]]


def choose_weights(names: list[str], half: bool) -> list[str]:
    """The file names of one copy of a part's weights, its index included: a half-precision copy where half is wanted.

    Any variant is better than none. Empty where there are no safetensors, or shards without all their siblings.
    """
    copies: dict[str, _Copy] = {}
    counts: dict[str, int] = {}
    for name in sorted(names):
        if (match := WEIGHTS.fullmatch(name)) is None:
            continue
        variant = match["after"] or match["before"] or ""
        copy = copies.setdefault(variant, _Copy(variant, [], [], []))
        (copy.index if match["index"] else copy.shards if match["shard"] else copy.whole).append(name)
        if match["shard"]:
            counts[variant] = max(counts.get(variant, 0), int(match["count"]))
    usable = [c for c in copies.values() if c.whole or c.index or len(c.shards) == counts.get(c.variant, 0) > 0]
    order = ["fp16", "bf16", "", "fp32"] if half else ["", "fp32", "bf16", "fp16"]

    def rank(copy: _Copy) -> tuple[int, str]:
        known = order.index(copy.variant) if copy.variant in order else len(order) + (copy.variant == "non_ema")
        return known, copy.variant

    return min(usable, key=rank).files() if usable else []


def check_safetensors(path: Path, who: str, name: str) -> None:
    """Look at a file's first bytes.

    Args:
        path: the file.
        who, name: whose it is, and what it is called there, for messages.

    Raises:
        RequestError: it is no safetensors file, whatever its name says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(9)
    header = int.from_bytes(head[:8], "little")
    if len(head) == 9 and head[8:] == b"{" and 2 <= header <= size - 8:
        return
    if head[:4] == b"PK\x03\x04" or (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        raise RequestError(
            f"{who} cannot be read: {name} is a pickle under another name, which can run code when opened.",
            "Choose a copy of the model in the safetensors format.",
        )
    raise RequestError(
        f"{who} cannot be read: {name} is no safetensors file, or was cut short.",
        "Download the model again.",
    )


def read_weights(files: list[Path], dtype: torch.dtype | None, name: str) -> dict[str, Tensor]:
    """The tensors of some safetensors files, floating ones in `dtype`.

    Raises:
        RequestError: a file that is damaged.
    """
    from safetensors import SafetensorError, safe_open

    weights: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118 - no mapping
                    tensor = file.get_tensor(key)
                    weights[key] = tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
        except (OSError, SafetensorError, ValueError, RuntimeError) as error:
            raise RequestError(
                f"{path.name} of the model '{name}' cannot be read: {error}", "Download the model again."
            ) from error
    return weights


def _check_json(data: object, where: str, depth: int = 0) -> None:
    if depth > DEEPEST_JSON:
        raise RequestError(f"{where} is nested too deeply.", "Download the model again.")
    if isinstance(data, dict):
        for key, value in data.items():
            if key != UNBOUNDED or value != -math.inf:
                _check_json(value, where, depth + 1)
    elif isinstance(data, list):
        for value in data:
            _check_json(value, where, depth + 1)
    elif isinstance(data, float) and not math.isfinite(data):
        raise RequestError(f"{where} holds a number that is not finite.", "Download the model again.")
    elif isinstance(data, int) and abs(data) > LARGEST_INTEGER and len(str(data)) > 40:
        # Tokenizers write "no limit" as 10³⁰.
        raise RequestError(f"{where} holds a number of {len(str(data))} digits.", "Download the model again.")
