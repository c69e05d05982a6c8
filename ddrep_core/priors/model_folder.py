"""A model in diffusers' folder format: of which family it is, and which parts it must have."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ddrep_core.errors import DdrepWarning, RequestError
from ddrep_core.priors.families import FLUX, PIXART, TOLD_GUIDANCE, class_of, family_of, was_distilled
from ddrep_core.priors.model_files import ModelFiles
from ddrep_core.priors.model_parts import load_network, load_tokenizer
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
        usual = self.default_guidance_scale()
        if usual == 1 and "guidance_scale" not in told:
            warnings.warn(
                f"The model '{self.name}' looks as if it was distilled to draw in a few steps: it is used without "
                'guidance. Say otherwise with --guidance-scale, or {"guidance_scale": 5} in its ddrep.json.',
                DdrepWarning,
                stacklevel=2,
            )
        return read_settings(told, usual, self.name)

    def default_guidance_scale(self) -> float:
        """What suits the model where `ddrep.json` says nothing: 1 (none) for models distilled to few steps, but for
        those that are told it."""
        network = self.config(self.family.network)
        if network.get("time_cond_proj_dim") is not None:
            return TOLD_GUIDANCE
        if self.family is FLUX and not network.get("guidance_embeds"):
            return 1.0
        sources = (self.index, self.config(self.family.network))
        names = [self.name.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]]
        names += [str(source["_name_or_path"]) for source in sources if source.get("_name_or_path")]
        return 1.0 if was_distilled(self.scheduler(), names) else self.family.guidance_scale

    def tokenizer(self, part: str) -> Any:
        """A tokenizer."""
        return load_tokenizer(self.files, part, self._class_of(part) or "")

    def network(self, part: str, dtype: torch.dtype) -> Any:
        """A network, its weights in `dtype`, in main memory."""
        kind = self._class_of(part) or ""
        if self.family is PIXART and kind == "Transformer2DModel":  # what PixArt's was called at first
            kind = "PixArtTransformer2DModel"
        return load_network(self.files, part, kind, dtype)

    def controlnet(self, dtype: torch.dtype) -> Any | None:
        """The ControlNet that lies in the folder, if one does."""
        if not self.files.has("controlnet/config.json"):
            return None
        if self.files.has("controlnet_1"):
            raise RequestError(
                f"The model '{self.name}' holds several ControlNets.",
                "Name those to use, and what each is shown: --controlnet FOLDER:KIND.",
            )
        return load_network(self.files, "controlnet", "ControlNetModel", dtype)


def read_settings(data: dict[str, Any], guidance_scale: float, name: str) -> Settings:
    """`{"guidance_scale": 2.5, "directions": {"around": ["front view", …], "from_above": "from above"}}`, all optional.

    Raises:
        RequestError: anything else.
    """
    guidance, told = data.get("guidance_scale", guidance_scale), data.get("directions", {})
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
    return Settings(float(guidance), DirectionWords(tuple(around), from_above, "") if told else None, image_size)


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


def _listed(parts: list[str]) -> str:
    quoted = [f"'{part}'" for part in parts]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " and " + quoted[-1]
