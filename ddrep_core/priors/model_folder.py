"""A model in diffusers' folder format: which parts it must have, and reading them without surprises.

Weights are read from safetensors only: pickles can run code when they are opened. Only classes named here are made, so
that no folder can ask for code of its own.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ddrep_core.errors import RequestError
from ddrep_core.priors.prompts import TextStyle
from ddrep_core.views.directions import DirectionWords

SUPPORTED = "Stable Diffusion 1.x and 2.x, SDXL, and Stable Diffusion 3"
INDEX = "model_index.json"
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")

CLASSES = {
    "UNet2DConditionModel": "diffusers",
    "SD3Transformer2DModel": "diffusers",
    "AutoencoderKL": "diffusers",
    "ControlNetModel": "diffusers",
    "CLIPTextModel": "transformers",
    "CLIPTextModelWithProjection": "transformers",
    "T5EncoderModel": "transformers",
    "CLIPTokenizer": "transformers",
    "CLIPTokenizerFast": "transformers",
    "T5Tokenizer": "transformers",
    "T5TokenizerFast": "transformers",
}


@dataclass(frozen=True)
class Settings:
    """What suits one model.

    Args:
        guidance_scale: how strongly it follows prompts when nobody says.
        directions: its words for the sides of things; those of text-to-3D when None.
    """

    guidance_scale: float
    directions: DirectionWords | None = None


@dataclass(frozen=True)
class Family:
    """What a kind of model is made of.

    Args:
        style: how prompts are told.
        network: the part that denoises.
        parts: all parts it must have.
        optional: parts it may lack (null in its index).
        guidance_scale: what suits it.
    """

    style: TextStyle
    network: str
    parts: tuple[str, ...]
    optional: tuple[str, ...] = ()
    guidance_scale: float = 7.5


STABLE_DIFFUSION = Family("sd", "unet", ("unet", "vae", "scheduler", "text_encoder", "tokenizer"))
SDXL = Family(
    "sdxl",
    "unet",
    ("unet", "vae", "scheduler", "text_encoder_2", "tokenizer_2"),
    ("text_encoder", "tokenizer"),
    guidance_scale=5.0,
)
SD3 = Family(
    "sd3",
    "transformer",
    ("transformer", "vae", "scheduler", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    ("text_encoder_3", "tokenizer_3"),
    guidance_scale=7.0,
)


class ModelFolder:
    """A diffusers model on disk.

    Args:
        path: the folder.
        name: what the person called it, for messages.

    Raises:
        RequestError: it is not a diffusers model, or of a family that is not known, or lacks a part.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self.index = read_index(path / INDEX, name)
        self.family = family_of(self.index, name)
        optional = tuple(part for part in self.family.optional if self._class_of(part))
        self.parts = (*self.family.parts, *optional)
        missing = [part for part in self.parts if not self._has(part)]
        if missing:
            raise RequestError(
                f"The model '{name}' lacks {_listed(missing)}.",
                "Download it again, completely, or choose another model.",
            )

    def _class_of(self, part: str) -> str | None:
        entry = self.index.get(part)
        return entry[1] if isinstance(entry, list) and len(entry) == 2 else None

    def _has(self, part: str) -> bool:
        folder = self.path / part
        if not self._class_of(part) or not folder.is_dir():
            return False
        if part == "scheduler":
            return (folder / "scheduler_config.json").is_file()
        if part.startswith("tokenizer"):
            return any(folder.iterdir())
        return (folder / "config.json").is_file()

    def text_encoders(self) -> list[str]:
        """The names of the text encoders that are there, in the pipeline's order."""
        return [part for part in ("text_encoder", "text_encoder_2", "text_encoder_3") if part in self.parts]

    def scheduler(self) -> dict[str, Any]:
        """The scheduler's configuration, its class under "_class_name"."""
        return read_json(self.path / "scheduler" / "scheduler_config.json", self.name)

    def config(self, part: str) -> dict[str, Any]:
        """The configuration of a network."""
        return read_json(self.path / part / "config.json", self.name)

    def settings(self) -> Settings:
        """What the folder says for ddrep itself: `ddrep.json`, which need not be there.

        Raises:
            RequestError: it cannot be read, or holds something else.
        """
        path = self.path / "ddrep.json"
        return read_settings(read_json(path, self.name) if path.is_file() else {}, self.family, self.name)

    def tokenizer(self, part: str) -> Any:
        """A tokenizer."""
        return load_part(self.path / part, self._class_of(part) or "", self.name)

    def network(self, part: str, dtype: torch.dtype) -> Any:
        """A network, its weights in `dtype`, in main memory."""
        return load_part(self.path / part, self._class_of(part) or "", self.name, dtype)

    def controlnet(self, dtype: torch.dtype) -> Any | None:
        """The ControlNet that lies in the folder, if one does."""
        folder = self.path / "controlnet"
        return load_part(folder, "ControlNetModel", self.name, dtype) if folder.is_dir() else None


def read_json(path: Path, name: str) -> dict[str, Any]:
    """A JSON object from a model's folder."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path.name} of the model '{name}' cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise RequestError(f"{path.name} of the model '{name}' does not hold an object.")
    return data


def read_settings(data: dict[str, Any], family: Family, name: str) -> Settings:
    """`{"guidance_scale": 2.5, "directions": {"around": ["front view", …], "from_above": "from above"}}`, all optional.

    Raises:
        RequestError: anything else.
    """
    guidance, told = data.get("guidance_scale", family.guidance_scale), data.get("directions", {})
    if isinstance(guidance, bool) or not isinstance(guidance, int | float) or not 0 <= guidance < math.inf:
        raise RequestError(
            f"ddrep.json of the model '{name}' has a guidance_scale of {guidance!r}.", "Write a number from 0 up."
        )
    if not isinstance(told, dict) or not told.keys() <= {"around", "from_above"}:
        raise RequestError(
            f"ddrep.json of the model '{name}' has directions of {told!r}.", 'Write {"around": […], "from_above": "…"}.'
        )
    around, from_above = told.get("around", list(DirectionWords.around)), told.get("from_above", "")
    if not isinstance(around, list) or not around or not all(isinstance(words, str) for words in (*around, from_above)):
        raise RequestError(
            f"ddrep.json of the model '{name}' has directions that are no words.",
            'List words evenly around from the front, as in ["front view", "side view", "back view", "side view"].',
        )
    return Settings(float(guidance), DirectionWords(tuple(around), from_above) if told else None)


def read_index(path: Path, name: str) -> dict[str, Any]:
    """model_index.json.

    Raises:
        RequestError: there is none.
    """
    if not path.is_file():
        raise RequestError(
            f"'{name}' is not a model in diffusers' format: it has no {INDEX}.",
            "Give the folder that holds model_index.json, unet/ (or transformer/), vae/, text_encoder/ and so on.",
        )
    return read_json(path, name)


def family_of(index: dict[str, Any], name: str) -> Family:
    """Which family a model belongs to, judged by its parts and not by its pipeline's name.

    Raises:
        RequestError: one that is not known.
    """

    def class_of(part: str) -> str | None:
        entry = index.get(part)
        return entry[1] if isinstance(entry, list) and len(entry) == 2 else None

    if class_of("transformer") == "SD3Transformer2DModel":
        return SD3
    if class_of("unet") == "UNet2DConditionModel":
        return SDXL if class_of("text_encoder_2") else STABLE_DIFFUSION
    kind = index.get("_class_name", "a model of an unknown kind")
    raise RequestError(f"The model '{name}' is a {kind}, which ddrep cannot use as a prior.", f"It knows {SUPPORTED}.")


def choose_weights(files: list[str], half: bool) -> list[str]:
    """The safetensors files of one part to read: the half-precision copy where half is wanted, or all there is."""
    weights = [file for file in files if file.endswith((".safetensors", ".safetensors.index.json"))]
    halves = [file for file in weights if ".fp16." in file or ".fp16-" in file]
    full = [file for file in weights if file not in halves and ".non_ema" not in file]
    return halves if halves and (half or not full) else full


def load_part(folder: Path, class_name: str, name: str, dtype: torch.dtype | None = None) -> Any:
    """One part of a model: a tokenizer, or a network with its weights in `dtype`.

    Raises:
        RequestError: a class that is not known, weights that are missing, incomplete, damaged or only pickled.
    """
    if class_name not in CLASSES:
        raise RequestError(
            f"The part '{folder.name}' of the model '{name}' is a {class_name}, which ddrep does not know.",
            f"It knows {SUPPORTED}.",
        )
    options: dict[str, Any] = {"local_files_only": True}
    if dtype is not None:
        files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        weights = choose_weights(files, half=dtype in (torch.float16, torch.bfloat16))
        if not weights:
            raise _without_safetensors(folder, name, files)
        options |= {"torch_dtype": dtype, "use_safetensors": True, "output_loading_info": True}
        if ".fp16" in weights[0]:
            options["variant"] = "fp16"
    library = import_module(CLASSES[class_name])
    try:
        with _quiet():
            loaded = getattr(library, class_name).from_pretrained(folder, **options)
    except Exception as error:  # the libraries raise OSError, ValueError, RuntimeError, SafetensorError, KeyError, …
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise RequestError(
            f"The part '{folder.name}' of the model '{name}' cannot be read: {reason}", "Download the model again."
        ) from error
    if dtype is None:
        return loaded
    network, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise RequestError(
            f"The part '{folder.name}' of the model '{name}' lacks {len(missing)} of its weights ({missing[0]}, …).",
            "Download the model again.",
        )
    return network


def _without_safetensors(folder: Path, name: str, files: list[str]) -> RequestError:
    if any(file.endswith(PICKLES) for file in files):
        return RequestError(
            f"The part '{folder.name}' of the model '{name}' holds only pickled weights, which can run code when "
            "opened.",
            "Choose a copy of the model in the safetensors format, or convert it where you trust it: load it with "
            "diffusers and call save_pretrained(folder, safe_serialization=True).",
        )
    return RequestError(f"The part '{folder.name}' of the model '{name}' has no weights.", "Download the model again.")


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and load reports from the libraries: what matters of them is raised as an error."""
    import diffusers.utils.logging as of_diffusers
    import transformers.utils.logging as of_transformers

    loggers = [of_diffusers.get_logger("diffusers"), of_transformers.get_logger("transformers")]
    levels = [logger.level for logger in loggers]
    bar = of_transformers.is_progress_bar_enabled()
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        of_transformers.disable_progress_bar()
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bar:
            of_transformers.enable_progress_bar()


def _listed(parts: list[str]) -> str:
    quoted = [f"'{part}'" for part in parts]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " and " + quoted[-1]
