"""The names that the first authors of latent diffusion gave to weights: from diffusers' names to theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]

RESNET = (
    ("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("time_emb_proj", "emb_layers.1"), ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"), ("conv_shortcut", "skip_connection"),
)  # fmt: skip
OUTER = (
    ("time_embedding.linear_1", "time_embed.0"), ("time_embedding.linear_2", "time_embed.2"),
    ("conv_in", "input_blocks.0.0"), ("conv_norm_out", "out.0"), ("conv_out", "out.2"),
    ("add_embedding.linear_1", "label_emb.0.0"), ("add_embedding.linear_2", "label_emb.0.2"),
)  # fmt: skip


def unet_names(weights: Weights, layers: int) -> dict[str, Tensor]:
    """A U-Net's weights under `model.diffusion_model.`; `layers` a block."""
    attended = {m[1] for key in weights if (m := re.match(r"(up_blocks\.\d+)\.attentions", key))}

    def name(key: str) -> str:
        for ours, theirs in OUTER:
            if key.startswith(f"{ours}."):
                return key.replace(ours, theirs, 1)
        kind, rest = re.match(r"(down_blocks|up_blocks|mid_block)\.(.*)", key).groups()  # type: ignore[union-attr]
        if kind == "mid_block":
            part, number, rest = rest.split(".", 2)
            place = f"middle_block.{2 * int(number) if part == 'resnets' else 1}"
        else:
            block, part, number, rest = rest.split(".", 3)
            first, side = int(block) * (layers + 1), "output_blocks"
            if kind == "down_blocks":
                first, side = first + 1, "input_blocks"
            if part == "downsamplers":
                return f"{side}.{first + layers}.0.op.{rest.removeprefix('conv.')}"
            if part == "upsamplers":
                return f"{side}.{first + layers}.{2 if f'up_blocks.{block}' in attended else 1}.{rest}"
            place = f"{side}.{first + int(number)}.{1 if part == 'attentions' else 0}"
        if part == "resnets":
            for ours, theirs in RESNET:
                rest = re.sub(rf"^{ours}\.", f"{theirs}.", rest)
        return f"{place}.{rest}"

    return {f"model.diffusion_model.{name(key)}": weight for key, weight in weights.items()}


def vae_names(weights: Weights, levels: int) -> dict[str, Tensor]:
    """An autoencoder's weights under `first_stage_model.`."""
    named = {}
    for key, weight in weights.items():
        name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", key)
        name = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block.", name)
        name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
        name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample.", name)
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        if "mid_block.attentions.0" in name:
            name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("to_out.0", "proj_out")
            name = name.replace("group_norm", "norm").replace(".to_", ".")
            weight = weight[:, :, None, None] if weight.ndim == 2 else weight
        named[f"first_stage_model.{name}"] = weight.contiguous()
    return named


def open_clip_names(weights: Weights, prefix: str) -> dict[str, Tensor]:
    """A CLIP text encoder's weights under OpenCLIP's names."""
    plain = {key.removeprefix("text_model."): weight for key, weight in weights.items()}
    named = {
        "token_embedding.weight": plain["embeddings.token_embedding.weight"],
        "positional_embedding": plain["embeddings.position_embedding.weight"],
        "ln_final.weight": plain["final_layer_norm.weight"],
        "ln_final.bias": plain["final_layer_norm.bias"],
    }
    if "text_projection.weight" in plain:
        named["text_projection"] = plain["text_projection.weight"].T.contiguous()
    for number in range(len({key.split(".")[2] for key in plain if key.startswith("encoder.layers.")})):
        layer, theirs = f"encoder.layers.{number}", f"transformer.resblocks.{number}"
        for kind in ("weight", "bias"):
            parts = [plain[f"{layer}.self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            named[f"{theirs}.attn.in_proj_{kind}"] = torch.cat(parts)
            for ours, other in (
                ("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
            ):  # fmt: skip
                named[f"{theirs}.{other}.{kind}"] = plain[f"{layer}.{ours}.{kind}"]
    return {prefix + key: weight for key, weight in named.items()}
