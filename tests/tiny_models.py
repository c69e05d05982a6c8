"""Builders of tiny models with random weights, in diffusers' folder format: seconds instead of gigabytes.

Each builder is deterministic in `seed` and leaves torch's own generator as it was. Weights are enlarged, so that
prompts, time and depth make a difference well above rounding.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    MarigoldIntrinsicsPipeline,
    MarigoldNormalsPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

TEXT_LENGTH = 24
TEXT_WIDTH = 32
LATENT_SIZE = 16

Prediction = Literal["epsilon", "v_prediction", "sample"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random weights from a seed, without touching anyone else's random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def enlarge(module: torch.nn.Module, factor: float = 1.6) -> None:
    """Make a random network speak up: fresh initialisations are close to linear and nearly deaf to their inputs."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.mul_(factor)


def clip_tokenizer() -> CLIPTokenizer:
    """Letters as tokens: any English prompt can be spelled."""
    letters = list(string.ascii_lowercase + string.digits + string.punctuation)
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    vocabulary = {token: position for position, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=TEXT_LENGTH)


def t5_tokenizer() -> T5TokenizerFast:
    """Letters as tokens, for the sentence-piece family."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(letter, -3.0) for letter in string.ascii_lowercase + string.digits + string.punctuation]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=TEXT_LENGTH)


def clip_text_model(projection: int | None = None, seed: int = 0) -> CLIPTextModel | CLIPTextModelWithProjection:
    """A two-layer CLIP text encoder; with a projection for SDXL's second and SD3's."""
    with seeded(seed):
        config = CLIPTextConfig(
            vocab_size=len(clip_tokenizer()),
            hidden_size=TEXT_WIDTH,
            intermediate_size=37,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=TEXT_LENGTH,
            projection_dim=projection or TEXT_WIDTH,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
            hidden_act="gelu",
        )
        model = CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config)
        enlarge(model, 2.0)
    return model.eval()


def autoencoder(channels: int = 4, seed: int = 0, **config: Any) -> AutoencoderKL:
    """Two levels: pictures of 32 pixels for latents of 16."""
    with seeded(seed):
        model = AutoencoderKL(
            block_out_channels=(8, 16),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=channels,
            norm_num_groups=4,
            sample_size=LATENT_SIZE * 2,
            **config,
        )
        enlarge(model)
    return model.eval()


def unet(cross_attention: int = TEXT_WIDTH, seed: int = 0, **config: Any) -> UNet2DConditionModel:
    """A two-level U-Net with cross attention."""
    with seeded(seed):
        model = UNet2DConditionModel(
            **{
                "block_out_channels": (16, 32),
                "layers_per_block": 1,
                "sample_size": LATENT_SIZE,
                "in_channels": 4,
                "out_channels": 4,
                "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
                "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
                "cross_attention_dim": cross_attention,
                "attention_head_dim": 4,
                "norm_num_groups": 4,
                **config,
            }
        )
        enlarge(model)
    return model.eval()


def ddim_scheduler(prediction: Prediction = "epsilon", **config: Any) -> DDIMScheduler:
    """Stable Diffusion's levels; the last step ends at the clean image."""
    return DDIMScheduler(
        **{
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
            "set_alpha_to_one": True,
            "steps_offset": 1,
            "prediction_type": prediction,
            **config,
        }
    )


def build_sd(folder: Path, prediction: Prediction = "epsilon", seed: int = 0, **scheduler: Any) -> Path:
    """Stable Diffusion 1.x (ε) or 2.x (v)."""
    StableDiffusionPipeline(
        vae=autoencoder(seed=seed, scaling_factor=0.18215, force_upcast=False),
        text_encoder=clip_text_model(seed=seed),
        tokenizer=clip_tokenizer(),
        unet=unet(seed=seed),
        scheduler=ddim_scheduler(prediction, **scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def sdxl_unet(seed: int = 0) -> UNet2DConditionModel:
    """A U-Net that also looks at the pooled prompt and the picture's size."""
    return unet(
        2 * TEXT_WIDTH,
        seed,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=6 * 8 + TEXT_WIDTH,
    )


def build_sdxl(folder: Path, seed: int = 0, zero_empty_prompt: bool = True) -> Path:
    """SDXL: two text encoders, the picture's size as a condition."""
    StableDiffusionXLPipeline(
        vae=autoencoder(seed=seed, scaling_factor=0.13025),
        text_encoder=clip_text_model(seed=seed),
        text_encoder_2=clip_text_model(projection=TEXT_WIDTH, seed=seed + 1),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=sdxl_unet(seed),
        scheduler=ddim_scheduler(timestep_spacing="leading"),
        force_zeros_for_empty_prompt=zero_empty_prompt,
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


def build_sd3(folder: Path, seed: int = 0, shift: float = 3.0, t5: bool = True) -> Path:
    """SD3: a flow-matching transformer with three text encoders, the third optional."""
    with seeded(seed):
        transformer = SD3Transformer2DModel(
            sample_size=LATENT_SIZE,
            patch_size=2,
            in_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=3 * TEXT_WIDTH,
            pooled_projection_dim=2 * TEXT_WIDTH,
            out_channels=16,
            pos_embed_max_size=LATENT_SIZE,
        ).eval()
        # The last layer starts at zero in some versions; give the random network a voice.
        torch.nn.init.normal_(transformer.proj_out.weight, std=0.3)
        enlarge(transformer)
        text_encoder_3 = T5EncoderModel(
            T5Config(
                vocab_size=len(t5_tokenizer()),
                d_model=3 * TEXT_WIDTH,
                d_kv=8,
                d_ff=37,
                num_layers=2,
                num_heads=4,
            )
        ).eval()
    StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=shift),
        vae=autoencoder(16, seed, scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=clip_text_model(projection=TEXT_WIDTH, seed=seed),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip_text_model(projection=TEXT_WIDTH, seed=seed + 1),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=text_encoder_3 if t5 else None,
        tokenizer_3=t5_tokenizer() if t5 else None,
    ).save_pretrained(folder)
    return folder


def build_flux(folder: Path, seed: int = 0, dev: bool = True) -> Path:
    """FLUX.1 dev, which is told its guidance, or schnell: packed latents, T5's tokens, CLIP's pooled vector."""
    with seeded(seed):
        transformer = FluxTransformer2DModel(
            patch_size=1,
            in_channels=64,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=TEXT_WIDTH,
            pooled_projection_dim=TEXT_WIDTH,
            guidance_embeds=dev,
            axes_dims_rope=(4, 4, 8),
        ).eval()
        torch.nn.init.normal_(transformer.proj_out.weight, std=0.3)
        enlarge(transformer)
        t5 = T5EncoderModel(
            T5Config(vocab_size=len(t5_tokenizer()), d_model=TEXT_WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
        ).eval()
    shifting = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "shift": 3.0} if dev else {}
    FluxPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(**shifting),
        vae=autoencoder(
            16, seed, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False
        ),
        text_encoder=clip_text_model(seed=seed),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5,
        tokenizer_2=t5_tokenizer(),
    ).save_pretrained(folder)
    return folder


def build_pixart(folder: Path, seed: int = 0, alpha: bool = False) -> Path:
    """PixArt-Σ: a transformer that predicts noise and its uncertainty, a T5 encoder, betas from 1e-4 to 0.02."""
    with seeded(seed):
        transformer = PixArtTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=4,
            out_channels=8,
            num_layers=2,
            cross_attention_dim=32,
            caption_channels=TEXT_WIDTH,
            sample_size=LATENT_SIZE,
            use_additional_conditions=alpha,
        ).eval()
        torch.nn.init.normal_(transformer.proj_out.weight, std=0.3)
        enlarge(transformer)
        t5 = T5EncoderModel(
            T5Config(vocab_size=len(t5_tokenizer()), d_model=TEXT_WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
        ).eval()
    PixArtSigmaPipeline(
        transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(),
        vae=autoencoder(seed=seed, scaling_factor=0.13025),
        text_encoder=t5,
        tokenizer=t5_tokenizer(),
    ).save_pretrained(folder)
    return folder


def build_controlnet(folder: Path, model: UNet2DConditionModel, seed: int = 0) -> Path:
    """A depth ControlNet for a U-Net of these builders: conditions of 32 pixels for latents of 16."""
    with seeded(seed):
        controlnet = ControlNetModel.from_unet(
            model, conditioning_channels=3, conditioning_embedding_out_channels=(8, 16)
        )
        # Its output layers start at zero, so that an untrained one changes nothing.
        for parameter in controlnet.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.2)
    controlnet.eval().save_pretrained(folder)
    return folder


def build_marigold(folder: Path, kind: Literal["intrinsics", "normals"], seed: int = 0, **told: Any) -> Path:
    """Marigold's intrinsic images (appearance: albedo; roughness and metallicity) or its normals."""
    targets = {
        "target_names": ["albedo", "material"],
        "albedo": {"prediction_space": "srgb", "up_to_scale": False},
        "material": {"prediction_space": "stack", "sub_target_names": ["roughness", "metallicity", None]},
        "roughness": {"prediction_space": "linear", "up_to_scale": False},
        "metallicity": {"prediction_space": "linear", "up_to_scale": False},
    }
    count = 2 if kind == "intrinsics" else 1
    parts: dict[str, Any] = {
        "unet": unet(seed=seed, in_channels=4 * (1 + count), out_channels=4 * count),
        "vae": autoencoder(seed=seed, scaling_factor=0.18215, force_upcast=False),
        "scheduler": ddim_scheduler("v_prediction"),
        "text_encoder": clip_text_model(seed=seed),
        "tokenizer": clip_tokenizer(),
    }
    common = {"prediction_type": kind, "default_denoising_steps": 2, "default_processing_resolution": 32}
    if kind == "intrinsics":
        MarigoldIntrinsicsPipeline(**parts, **{**common, "target_properties": targets, **told}).save_pretrained(folder)
    else:
        MarigoldNormalsPipeline(**parts, **{**common, **told}).save_pretrained(folder)
    return folder
