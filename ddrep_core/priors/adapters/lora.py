"""LoRAs: small files that bend a model's weights by products of thin matrices.

W ← W + weight · (alpha / rank) · up · down (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", Eq. 3),
merged once when the model is loaded, so that sampling costs nothing more. Three dialects of names are read: kohya's
(`lora_unet_…`, with diffusers' or the first authors' names of layers), diffusers' old one (`unet.….lora.down.weight`,
`….processor.to_q_lora.down.weight`) and PEFT's (`unet.….lora_A.weight`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddrep_core.confined import is_file
from ddrep_core.errors import RequestError
from ddrep_core.priors.model_files import ModelFiles, check_safetensors, read_weights

MOST_WEIGHT = 10.0


@dataclass(frozen=True)
class Lora:
    """A file, and how much it counts.

    Args:
        file: .safetensors.
        weight: 1 as its author meant it, 0 not at all; may be negative.
    """

    file: Path
    weight: float = 1.0


@dataclass
class _Delta:
    """The pieces of one layer's change."""

    down: Tensor | None = None
    up: Tensor | None = None
    alpha: float | None = None

    def value(self, shape: torch.Size) -> Tensor | None:
        """The change of a weight of that shape, float32; None where the pieces make another shape."""
        if self.down is None or self.up is None:
            return None
        down, up = self.down.float(), self.up.float()
        rank = down.shape[0]
        if up.flatten(1).shape[1] != rank:
            return None
        product = up.flatten(1) @ down.flatten(1)
        if product.shape[0] != shape[0] or product.numel() != math.prod(shape):
            return None
        scale = 1.0 if self.alpha is None else self.alpha / rank
        return scale * product.reshape(shape)


def parse_lora(text: str) -> Lora:
    """FILE or FILE:WEIGHT.

    Raises:
        RequestError: a weight that is no number within ±10.
    """
    name, colon, told = text.rpartition(":")
    try:
        weight = float(told) if colon else 1.0
    except ValueError:  # a colon of the path's own
        name, weight, colon = text, 1.0, ""
    if not math.isfinite(weight) or abs(weight) > MOST_WEIGHT:
        raise RequestError(f"A LoRA counts -{MOST_WEIGHT:g} to {MOST_WEIGHT:g} times, not {told}.")
    return Lora(Path(name if colon else text).expanduser(), weight)


def merge_loras(loras: Sequence[Lora], networks: Mapping[str, Any], name: str) -> None:
    """Change a model's networks by some LoRAs, one after the other.

    Args:
        loras: what to merge.
        networks: {"unet": …, "text_encoder": …, "text_encoder_2": …}, those that there are.
        name: of the model, for messages.

    Raises:
        RequestError: no such file, no LoRA, one of another kind (LoHa, LoKr, DoRA) or made for another family.
    """
    for lora in loras:
        if not math.isfinite(lora.weight) or abs(lora.weight) > MOST_WEIGHT:
            raise RequestError(f"A LoRA counts -{MOST_WEIGHT:g} to {MOST_WEIGHT:g} times, not {lora.weight}.")
        deltas = _read(lora.file, isinstance(networks.get("text_encoder_2"), nn.Module))
        changes: list[tuple[nn.Module, Tensor]] = []
        for part, layers in deltas.items():
            if part not in networks:
                raise _other_family(lora, name, f"it changes a '{part}', which the model lacks")
            modules = {
                path.replace(".", "_").removeprefix("text_model_"): module
                for path, module in networks[part].named_modules()
                if isinstance(module, nn.Linear | nn.Conv2d)
            }
            per_block = getattr(networks[part].config, "layers_per_block", 2)
            for layer, delta in layers.items():
                module = modules.get(layer, modules.get(_translated(layer, per_block)))
                if module is None:
                    raise _other_family(lora, name, f"the model has no layer '{layer}'")
                change = delta.value(module.weight.shape)
                if change is None:
                    raise _other_family(lora, name, f"its layer '{layer}' has another size")
                if not bool(change.isfinite().all()):
                    raise RequestError(f"The LoRA '{lora.file.name}' holds numbers that are not finite.")
                changes.append((module, lora.weight * change))
        for module, change in changes:  # all or nothing
            weight = module.weight.data
            assert isinstance(weight, Tensor)
            module.weight = nn.Parameter((weight.float() + change).to(weight.dtype), requires_grad=False)


def _other_family(lora: Lora, name: str, why: str) -> RequestError:
    return RequestError(
        f"The LoRA '{lora.file.name}' was made for another family than '{name}': {why}.",
        "Choose one for this model's family (Stable Diffusion 1.x, 2.x and SDXL each have their own).",
    )


UNLIKE = (
    ("hada_", "a LoHa"),
    ("lokr_", "a LoKr"),
    ("dora_scale", "a DoRA"),
    ("lora_magnitude_vector", "a DoRA"),
    ("lora_mid", "a LoCon with a core matrix"),
    ("oft_blocks", "an OFT"),
    (".diff", "a full difference"),
)

SUFFIX = re.compile(
    r"(?P<layer>.+?)(?:\.|_)(?:lora[._])?(?P<piece>lora_down|lora_up|lora_A|lora_B|down|up|alpha)(?:\.default)?(?:\.weight)?"
)
PROCESSOR = re.compile(r"\.processor\.(to_[qkv]|to_out)_lora\.(down|up)\.weight$")


def _read(path: Path, two_encoders: bool) -> dict[str, dict[str, _Delta]]:
    """{part: {layer with underscores: its change}}.

    Raises:
        RequestError: no such file, or no LoRA.
    """
    if not is_file(path) or path.suffix != ".safetensors":
        raise RequestError(f"There is no LoRA called '{path}'.", "Give a .safetensors file, FILE or FILE:WEIGHT.")
    files = ModelFiles(path.parent, path.name)
    check_safetensors(files.file(path.name), f"The LoRA '{path.name}'", path.name)
    deltas: dict[str, dict[str, _Delta]] = {}
    for key, tensor in read_weights([path], None, path.name).items():
        if kind := next((words for mark, words in UNLIKE if mark in key), None):
            raise RequestError(f"'{path.name}' is {kind}, which is not supported.", "Choose a plain LoRA.")
        part, rest = _part_of(key, two_encoders)
        rest = PROCESSOR.sub(lambda m: f".{m[1]}{'.0' if m[1] == 'to_out' else ''}.lora.{m[2]}.weight", rest)
        match = SUFFIX.fullmatch(rest.replace(".lora_linear_layer.", ".lora."))
        if part is None or match is None:
            raise RequestError(
                f"'{path.name}' is no LoRA that ddrep can read: it does not know '{key[:80]}'.",
                "Choose a LoRA for Stable Diffusion 1.x, 2.x or SDXL.",
            )
        layer = match["layer"].replace(".", "_").removeprefix("text_model_")
        delta = deltas.setdefault(part, {}).setdefault(layer, _Delta())
        if match["piece"] == "alpha":
            delta.alpha = float(tensor)
        elif match["piece"] in ("lora_down", "lora_A", "down"):
            delta.down = tensor
        else:
            delta.up = tensor
    if not deltas:
        raise RequestError(f"'{path.name}' is empty.", "Choose a LoRA for this model.")
    return deltas


PREFIXES = (
    ("lora_unet_", "unet"),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_te_", "text_encoder"),
    ("unet.", "unet"),
    ("text_encoder_2.", "text_encoder_2"),
    ("text_encoder.", "text_encoder"),
)


def _part_of(key: str, two_encoders: bool) -> tuple[str | None, str]:
    for prefix, part in PREFIXES:
        if key.startswith(prefix):
            return part, key.removeprefix(prefix)
    # Files of a U-Net alone come without its name.
    return ("unet", key) if key.startswith(("down_blocks.", "mid_block.", "up_blocks.")) else (None, key)


RESNET = (
    ("in_layers_2", "conv1"),
    ("out_layers_3", "conv2"),
    ("emb_layers_1", "time_emb_proj"),
    ("skip_connection", "conv_shortcut"),
)
OUTER = (
    ("time_embed_0", "time_embedding_linear_1"),
    ("time_embed_2", "time_embedding_linear_2"),
    ("label_emb_0_0", "add_embedding_linear_1"),
    ("label_emb_0_2", "add_embedding_linear_2"),
    ("input_blocks_0_0", "conv_in"),
    ("out_2", "conv_out"),
)


def _translated(layer: str, per_block: int) -> str:
    """diffusers' name of a U-Net's layer that has its first authors' name; unchanged where it has none."""
    for theirs, ours in OUTER:
        if layer == theirs:
            return ours
    match = re.fullmatch(r"(input_blocks|output_blocks|middle_block)_(\d+)_(?:(\d)_)?(.+)", layer)
    if match is None:
        return layer
    side, number, slot, rest = match[1], int(match[2]), match[3], match[4]
    if side == "middle_block":
        rest = rest if slot is None else f"{slot}_{rest}"
        place = f"mid_block_{'attentions_0' if number == 1 else f'resnets_{number // 2}'}"
        slot = "1" if number == 1 else "0"
    else:
        block, index = divmod(number - (side == "input_blocks"), per_block + 1)
        blocks = "down_blocks" if side == "input_blocks" else "up_blocks"
        if rest == "op":
            return f"{blocks}_{block}_downsamplers_0_conv"
        if rest == "conv":
            return f"{blocks}_{block}_upsamplers_0_conv"
        place = f"{blocks}_{block}_{'attentions' if slot == '1' else 'resnets'}_{index}"
    if slot == "0":
        rest = dict(RESNET).get(rest, rest)
    return f"{place}_{rest}"
