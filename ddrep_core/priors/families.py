"""Which models are known, which are not and why: told from a model's index alone, before anything large is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ddrep_core.errors import RequestError
from ddrep_core.priors.prompts import TextStyle

SUPPORTED = "Stable Diffusion 1.x and 2.x, SDXL, Stable Diffusion 3, FLUX.1, and PixArt-Σ"


@dataclass(frozen=True)
class Family:
    """What a kind of model is made of.

    Args:
        style: how prompts are told.
        network: the part that denoises.
        parts: all parts it must have.
        optional: parts it may lack (null in its index).
        guidance_scale: what suits it.
        native: latent cells along a side of its pictures, for models that do not say.
    """

    style: TextStyle
    network: str
    parts: tuple[str, ...]
    optional: tuple[str, ...] = ()
    guidance_scale: float = 7.5
    native: int = 64


STABLE_DIFFUSION = Family("sd", "unet", ("unet", "vae", "scheduler", "text_encoder", "tokenizer"))
SDXL = Family(
    "sdxl",
    "unet",
    ("unet", "vae", "scheduler", "text_encoder_2", "tokenizer_2"),
    ("text_encoder", "tokenizer"),
    guidance_scale=5.0,
    native=128,
)
SD3 = Family(
    "sd3",
    "transformer",
    ("transformer", "vae", "scheduler", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    ("text_encoder_3", "tokenizer_3"),
    guidance_scale=7.0,
    native=128,
)
FLUX = Family(
    "flux",
    "transformer",
    ("transformer", "vae", "scheduler", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    guidance_scale=3.5,
    native=128,
)
PIXART = Family(
    "pixart",
    "transformer",
    ("transformer", "vae", "scheduler", "text_encoder", "tokenizer"),
    guidance_scale=4.5,
    native=128,
)

TOLD_GUIDANCE = 8.5
"""What suits a latent consistency model that is told its guidance (as in diffusers' pipeline)."""

PIPELINES = re.compile(
    r"(StableDiffusion|StableDiffusionXL|StableDiffusion3)(ControlNet|PAG)*(Img2Img|Inpaint)?Pipeline"
    r"|LatentConsistencyModel(Img2Img)?Pipeline|Flux(Img2Img|Inpaint)?Pipeline|PixArtSigmaPipeline"
)
"""Pipelines whose parts make a text-to-image model. What paints in or refines is told by its networks."""

REASONS = (
    (r"^Flux2", "its text encoder is a language model of its own"),
    (r"^Flux", "it is told pictures beside words"),
    (r"^PixArtAlpha", "it is told the picture's size and aspect (PixArt-Σ, which is not, is known)"),
    (r"^Sana", "its autoencoder is of another kind, and its text encoder is a language model"),
    (r"^(PixArt|Hunyuan|AuraFlow|Lumina|CogView|Qwen|ZImage|Chroma)", "its transformer is of another kind"),
    (r"Kolors", "its text encoder is a language model of its own"),
    (r"^(IF|DeepFloyd)", "it denoises pixels in three stages"),
    (r"ImageVariation|UnCLIP|unclip|Zero123", "it is told a picture, not words"),
    (r"LDM3D", "it draws depth along with colours"),
    (r"Upscale|InstructPix2Pix|Depth2Img|GLIGEN", "it is told more than words"),
    (r"Adapter", "it belongs to an adapter that wants pictures"),
    (r"InstaFlow|RectifiedFlow", "it predicts a velocity where its files speak of noise"),
    (r"Video|Animate|Latte|LTX|Wan", "it draws films"),
    (r"Cascade|Wuerstchen|Kandinsky", "it works in stages with networks of its own"),
)

HARMLESS_PARTS = {"safety_checker", "feature_extractor", "image_encoder", "controlnet", "watermark"}
"""Parts of a pipeline that do not change what its network predicts."""

FEW_STEPS = re.compile(r"turbo|lightning|hyper[-_]?sd|(?<![a-z])(lcm|dmd2?|tcd)(?![a-z])", re.IGNORECASE)


def is_stable_diffusion(config: Mapping[str, Any]) -> bool:
    """Whether a U-Net is Stable Diffusion 1.x's or 2.x's own, by its widths, and no smaller relative."""
    return list(config.get("block_out_channels") or ()) == [320, 640, 1280, 1280] and config.get(
        "cross_attention_dim"
    ) in (768, 1024)


def native_sides(config: Mapping[str, Any], family: Family) -> list[int]:
    """[h, w] in latent cells of the pictures that a network was made for, as far as its configuration says.

    Early conversions of Stable Diffusion say 32 cells, which is 256 pixels; the network itself was trained on 512. So
    for that very network 64 is the least. Any other network is believed.
    """
    told = config.get("sample_size")
    sides = [told, told] if isinstance(told, int) else list(told or [family.native] * 2)
    return [family.native] * 2 if is_stable_diffusion(config) and max(sides) < family.native else sides


def class_of(index: Mapping[str, Any], part: str) -> str | None:
    """The class of a part, as model_index.json names it; None where it is absent or null."""
    entry = index.get(part)
    return entry[1] if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str) else None


def family_of(index: Mapping[str, Any], name: str) -> Family:
    """Which family a model belongs to, judged by its parts; its pipeline must be known, too.

    Raises:
        RequestError: one that is not known, or that would be told, or would predict, something else.
    """
    pipeline = index.get("_class_name")
    if pipeline is not None and not (isinstance(pipeline, str) and PIPELINES.fullmatch(pipeline)):
        kind = pipeline if isinstance(pipeline, str) else "a model of an unknown kind"
        because = next((f": {reason}" for pattern, reason in REASONS if re.search(pattern, kind)), "")
        raise RequestError(
            f"The model '{name}' is a {kind[:80]}, which ddrep cannot use as a prior{because}.",
            f"It knows {SUPPORTED}.",
        )
    if class_of(index, "transformer") == "SD3Transformer2DModel":
        family = SD3
    elif class_of(index, "transformer") == "FluxTransformer2DModel":
        family = FLUX
    elif class_of(index, "transformer") == "PixArtTransformer2DModel" or (
        pipeline == "PixArtSigmaPipeline" and class_of(index, "transformer") == "Transformer2DModel"
    ):
        family = PIXART
    elif class_of(index, "unet") == "UNet2DConditionModel":
        family = SDXL if class_of(index, "text_encoder_2") else STABLE_DIFFUSION
    else:
        kind = class_of(index, "unet") or class_of(index, "transformer")
        network = f"'{kind[:80]}'" if kind else "a network that it does not name"
        raise RequestError(
            f"The model '{name}' denoises with {network}, which ddrep cannot use as a prior.",
            f"It knows {SUPPORTED}.",
        )
    known = {*family.parts, *family.optional, *HARMLESS_PARTS}
    if foreign := sorted(part for part in index if class_of(index, part) and part not in known):
        raise RequestError(
            f"The model '{name}' has parts that ddrep does not know ({', '.join(foreign)[:200]}): what it predicts may "
            "depend on them.",
            f"Choose a plain text-to-image model. ddrep knows {SUPPORTED}.",
        )
    return family


def was_distilled(scheduler: Mapping[str, Any], names: list[str]) -> bool:
    """Whether a model was distilled to draw in a few steps without guidance (Turbo, Lightning, LCM, Hyper-SD, …).

    Nothing in a model's files says so outright: its scheduler and its names do. Guided as usual, such a model burns its
    colours out.

    Args:
        scheduler: its configuration.
        names: what the model and its parts are called, by a person or by their files.
    """
    kind = scheduler.get("_class_name")
    if kind in ("LCMScheduler", "TCDScheduler", "FlowMatchLCMScheduler"):
        return True
    if kind == "EulerAncestralDiscreteScheduler" and scheduler.get("timestep_spacing") == "trailing":
        return True
    return any(FEW_STEPS.search(name) for name in names)
