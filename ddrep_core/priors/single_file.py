"""A checkpoint in a single .safetensors file, as artists download them: all parts, under their first authors' names.

Its family is told from its keys; configurations (`known/`) and CLIP's tokenizer (`assets/`) come with ddrep, so that
nothing is fetched. diffusers' own functions translate the names.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch

from ddrep_core.errors import RequestError
from ddrep_core.priors.families import SDXL, STABLE_DIFFUSION, Family, was_distilled
from ddrep_core.priors.model_files import ModelFiles, check_safetensors, read_weights
from ddrep_core.priors.model_folder import Settings, read_settings
from ddrep_core.priors.model_parts import make_network

KNOWN = Path(__file__).resolve().parent / "known"
MERGES = Path(__file__).resolve().parent / "assets" / "clip_merges.txt.gz"

CLIP_LENGTH = 77

OF_FOLDERS = (
    "In one file only Stable Diffusion 1.x, 2.x and SDXL are read, for only their layers' names are translated: use "
    "this model's folder in diffusers' format, with its text encoders and their tokenizers."
)
OTHERS = (
    ("model.diffusion_model.joint_blocks.", "a Stable Diffusion 3 checkpoint", OF_FOLDERS),
    ("model.diffusion_model.double_blocks.", "a FLUX checkpoint", OF_FOLDERS),
    ("double_blocks.", "the bare transformer of FLUX", OF_FOLDERS),
    ("joint_blocks.", "the bare transformer of Stable Diffusion 3", OF_FOLDERS),
    ("lora_", "a LoRA", "It goes with a model; name that one."),
    ("control_model.", "a ControlNet", "Use one in diffusers' format: --controlnet FOLDER."),
    ("conditioner.embedders.0.model.", "SDXL's refiner", "Use the base model that it refines."),
    ("first_stage_model.", "an autoencoder alone", "Use the whole checkpoint."),
    ("encoder.down.", "an autoencoder alone", "Use the whole checkpoint."),
    ("down_blocks.", "one part of a model in diffusers' format", "Give the folder that holds model_index.json."),
)


class SingleFile:
    """A checkpoint on disk, with the members of a `ModelFolder`.

    Args:
        path: the file.
        name: what the person called it, for messages.

    Raises:
        RequestError: no safetensors file, or of a family that is not known.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        if path.suffix != ".safetensors":
            raise RequestError(
                f"'{name}' is a file, and no .safetensors: pickled checkpoints can run code when opened.",
                "Choose a copy in the safetensors format, or a folder in diffusers' format.",
            )
        self.files = ModelFiles(path.parent, name)
        check_safetensors(self.files.file(path.name), f"The checkpoint '{name}'", path.name)
        self.keys = _keys(path)
        self.kind = _kind_of(self.keys, name)
        self.known: dict[str, dict[str, Any]] = json.loads((KNOWN / f"{self.kind}.json").read_text(encoding="utf-8"))
        self.family: Family = SDXL if self.kind == "sdxl" else STABLE_DIFFUSION
        self.index: dict[str, Any] = {"force_zeros_for_empty_prompt": self.kind == "sdxl"}
        """As a folder's model_index.json."""

    @property
    def unsure(self) -> bool:
        """Whether the file does not say what its network predicts: Stable Diffusion 2 came in both ways."""
        return self.kind == "sd2"

    def text_encoders(self) -> list[str]:
        """The names of the text encoders that are there, in the pipeline's order."""
        return [part for part in ("text_encoder", "text_encoder_2") if part in self.known]

    def scheduler(self) -> dict[str, Any]:
        """The scheduler's configuration. Some authors mark what an SDXL model predicts by an empty tensor."""
        told = dict(self.known["scheduler"])
        if "v_pred" in self.keys:
            told["prediction_type"] = "v_prediction"
        if "ztsnr" in self.keys:
            told["rescale_betas_zero_snr"] = True
        return told

    def config(self, part: str) -> dict[str, Any]:
        """The configuration of a network."""
        return self.known[part]

    def settings(self) -> Settings:
        """What suits the model; `NAME.ddrep.json` beside NAME.safetensors may say more, as a folder's ddrep.json."""
        beside = f"{self.path.stem}.ddrep.json"
        told = self.files.json(beside) if self.files.has(beside) else {}
        distilled = was_distilled(self.known["scheduler"], [self.path.stem])
        return read_settings(told, 1.0 if distilled else self.family.guidance_scale, self.name)

    def tokenizer(self, part: str) -> Any:
        """CLIP's tokenizer. OpenCLIP's encoders know "!" after a text's end, OpenAI's its end again."""
        return clip_tokenizer("!" if part == "tokenizer_2" or self.kind == "sd2" else "<|endoftext|>")

    def network(self, part: str, dtype: torch.dtype) -> Any:
        """A network, its weights in `dtype`, in main memory.

        Raises:
            RequestError: the checkpoint lacks its weights, or has others.
        """
        import transformers
        from diffusers.loaders import single_file_utils as names
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        config = self.config(part)
        kind: Any
        if part == "unet":
            kind, weights = UNet2DConditionModel, names.convert_ldm_unet_checkpoint(self._weights, config)
        elif part == "vae":
            kind, weights = AutoencoderKL, names.convert_ldm_vae_checkpoint(self._weights, config)
        elif part == "text_encoder" and self.kind != "sd2":
            kind = transformers.CLIPTextModel
            weights = names.convert_ldm_clip_checkpoint(self._weights)
        else:
            kind = transformers.CLIPTextModelWithProjection if part == "text_encoder_2" else transformers.CLIPTextModel
            prefix = "conditioner.embedders.1.model." if part == "text_encoder_2" else "cond_stage_model.model."
            weights = names.convert_open_clip_checkpoint(_Sized(config), self._weights, prefix=prefix)
            # The last layer of Stable Diffusion 2's encoder was never used, and is left out of its configuration.
            beyond = f"encoder.layers.{config['num_hidden_layers']}."
            weights = {key: weight for key, weight in weights.items() if beyond not in key}
        if not weights:
            raise RequestError(
                f"The checkpoint '{self.name}' lacks its {part}.", "Choose a complete one, with autoencoder and text."
            )
        return make_network(kind, config, dict(weights), dtype, part, self.name)

    def count(self, part: str) -> int:
        """How many weights a part has."""
        prefixes = {
            "unet": ("model.diffusion_model.",),
            "vae": ("first_stage_model.",),
            "text_encoder": ("cond_stage_model.", "conditioner.embedders.0."),
            "text_encoder_2": ("conditioner.embedders.1.",),
        }[part]
        return sum(math.prod(shape) for key, shape in self.keys.items() if key.startswith(prefixes))

    def controlnet(self, dtype: torch.dtype) -> Any | None:
        """None: a checkpoint holds no ControlNet."""
        return None

    @cached_property
    def _weights(self) -> dict[str, torch.Tensor]:
        return read_weights([self.path], None, self.name)


class _Sized:
    """What diffusers' translation asks of a text model."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = type("Config", (), {"hidden_size": config["hidden_size"]})


def _keys(path: Path) -> dict[str, list[int]]:
    """The shapes of a file's tensors, from its header."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {key: entry["shape"] for key, entry in header.items() if key != "__metadata__"}


def _kind_of(keys: Mapping[str, Any], name: str) -> str:
    """Which of the known families a checkpoint belongs to, from its keys.

    Raises:
        RequestError: none of them.
    """
    if "conditioner.embedders.1.model.ln_final.weight" in keys:
        return "sdxl"
    if "cond_stage_model.model.ln_final.weight" in keys:
        return "sd2"
    if any(key.startswith("cond_stage_model.transformer.") for key in keys):
        return "sd1"
    what, fix = "a file of weights that ddrep does not know", "Use a Stable Diffusion 1.x, 2.x or SDXL checkpoint."
    for prefix, words, way_out in OTHERS:
        if any(key.startswith(prefix) for key in keys):
            what, fix = words, way_out
            break
    if any(key.startswith("model.diffusion_model.input_blocks.") for key in keys) and what.startswith(
        ("a file", "an a")
    ):
        what, fix = "a checkpoint without its text encoders", "Choose a complete one."
    raise RequestError(f"'{name}' is {what}, which cannot be used as a prior.", fix)


def clip_tokenizer(pad: str) -> Any:
    """The tokenizer of CLIP, 77 tokens, with a token to fill up with."""
    from transformers import CLIPTokenizer

    vocabulary, merges = _clip_vocabulary()
    pairs: Any = list(merges)
    return CLIPTokenizer(vocab=dict(vocabulary), merges=pairs, model_max_length=CLIP_LENGTH, pad_token=pad)


@cache
def _clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Tokens: the 256 bytes as letters, the same at a word's end, one for each merge, and the two that bound a text."""
    lines = gzip.decompress(MERGES.read_bytes()).decode("utf-8").split("\n")
    merges = [(line.split()[0], line.split()[1]) for line in lines]
    # Bytes that are no printable letters are written as letters from 256 on (GPT-2's table).
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [*map(chr, printable), *(chr(256 + position) for position in range(len(others)))]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *(a + b for a, b in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: position for position, token in enumerate(tokens)}, merges
