"""A model in diffusers' folder format: of which family it is, and which parts it must have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ddrep_core.errors import RequestError
from ddrep_core.priors.model_files import ModelFiles
from ddrep_core.priors.model_parts import SUPPORTED, load_network, load_tokenizer
from ddrep_core.priors.prompts import TextStyle
from ddrep_core.views.directions import DirectionWords

INDEX = "model_index.json"


@dataclass(frozen=True)
class Settings:
    """What suits one model.

    Args:
        guidance_scale: how strongly it follows prompts when nobody says.
        directions: its words for the sides of things; those of text-to-3D when None.
        image_size: pixels along a side; what its network says when None.
    """

    guidance_scale: float
    directions: DirectionWords | None = None
    image_size: int | None = None


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
        self.files = ModelFiles(path, name)
        self.index = read_index(self.files)
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
        return class_of(self.index, part)

    def _has(self, part: str) -> bool:
        if not self._class_of(part):
            return False
        if part == "scheduler":
            return self.files.has("scheduler/scheduler_config.json")
        if part.startswith("tokenizer"):
            return bool(self.files.names(part))
        return self.files.has(f"{part}/config.json")

    def text_encoders(self) -> list[str]:
        """The names of the text encoders that are there, in the pipeline's order."""
        return [part for part in ("text_encoder", "text_encoder_2", "text_encoder_3") if part in self.parts]

    def scheduler(self) -> dict[str, Any]:
        """The scheduler's configuration, its class under "_class_name"."""
        return self.files.json("scheduler/scheduler_config.json")

    def config(self, part: str) -> dict[str, Any]:
        """The configuration of a network."""
        return self.files.json(f"{part}/config.json")

    def settings(self) -> Settings:
        """What the folder says for ddrep itself: `ddrep.json`, which need not be there.

        Raises:
            RequestError: it cannot be read, or holds something else.
        """
        told = self.files.json("ddrep.json") if self.files.has("ddrep.json") else {}
        return read_settings(told, self.family, self.name)

    def tokenizer(self, part: str) -> Any:
        """A tokenizer."""
        return load_tokenizer(self.files, part, self._class_of(part) or "")

    def network(self, part: str, dtype: torch.dtype) -> Any:
        """A network, its weights in `dtype`, in main memory."""
        return load_network(self.files, part, self._class_of(part) or "", dtype)

    def controlnet(self, dtype: torch.dtype) -> Any | None:
        """The ControlNet that lies in the folder, if one does."""
        if not self.files.has("controlnet/config.json"):
            return None
        return load_network(self.files, "controlnet", "ControlNetModel", dtype)


def read_settings(data: dict[str, Any], family: Family, name: str) -> Settings:
    """`{"guidance_scale": 2.5, "directions": {"around": ["front view", …], "from_above": "from above"}}`, all optional.

    Raises:
        RequestError: anything else.
    """
    guidance, told = data.get("guidance_scale", family.guidance_scale), data.get("directions", {})
    image_size = data.get("image_size")
    if image_size is not None and (type(image_size) is not int or not 8 <= image_size <= 8192):
        raise RequestError(
            f"ddrep.json of the model '{name}' has an image_size of {image_size!r}.", "Write the pixels along a side."
        )
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
    return Settings(float(guidance), DirectionWords(tuple(around), from_above) if told else None, image_size)


def read_index(files: ModelFiles) -> dict[str, Any]:
    """model_index.json.

    Raises:
        RequestError: there is none.
    """
    if not files.has(INDEX):
        raise RequestError(
            f"'{files.name}' is not a model in diffusers' format: it has no {INDEX}.",
            "Give the folder that holds model_index.json, unet/ (or transformer/), vae/, text_encoder/ and so on.",
        )
    return files.json(INDEX)


def class_of(index: dict[str, Any], part: str) -> str | None:
    """The class of a part, as model_index.json names it; None where it is absent or null."""
    entry = index.get(part)
    return entry[1] if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str) else None


def family_of(index: dict[str, Any], name: str) -> Family:
    """Which family a model belongs to, judged by its parts and not by its pipeline's name.

    Raises:
        RequestError: one that is not known.
    """

    if class_of(index, "transformer") == "SD3Transformer2DModel":
        return SD3
    if class_of(index, "unet") == "UNet2DConditionModel":
        return SDXL if class_of(index, "text_encoder_2") else STABLE_DIFFUSION
    kind = index.get("_class_name", "a model of an unknown kind")
    raise RequestError(f"The model '{name}' is a {kind}, which ddrep cannot use as a prior.", f"It knows {SUPPORTED}.")


def _listed(parts: list[str]) -> str:
    quoted = [f"'{part}'" for part in parts]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " and " + quoted[-1]
