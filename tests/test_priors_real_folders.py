"""Folders as they are found: with the keys and file names of real ones, each right as diffusers is, or refused."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file

from ddrep_core.errors import DdrepWarning, RequestError
from ddrep_core.jobs.recipe import guidance_of
from ddrep_core.priors import load_prior
from ddrep_core.priors.families import STABLE_DIFFUSION, family_of, native_sides, was_distilled
from ddrep_core.priors.levels import VARIANCE_PRESERVING, noise_levels
from ddrep_core.priors.model_files import choose_weights

diffusers.utils.logging.set_verbosity_error()
WEIGHTS = "diffusion_pytorch_model.safetensors"


def edit(path: Path, **changes: Any) -> None:
    """Change a JSON file; None takes a key away."""
    told = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in told.items() if value is not None}))


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.build_sd(folder / "sd")
    tiny_models.build_sdxl(folder / "sdxl")
    tiny_models.build_sd3(folder / "sd3")
    return folder


@pytest.fixture
def copy(models: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(models / name, tmp_path / f"a {name}"))


# Levels: the configuration files of real schedulers leave out what their classes take for granted.


@pytest.mark.parametrize("plain", [name for name in VARIANCE_PRESERVING if hasattr(diffusers, f"{name}Scheduler")])
def test_a_scheduler_without_betas_has_those_of_its_class(plain: str) -> None:
    if plain == "DPMSolverSDE":
        pytest.skip("diffusers makes it with torchsde only")
    theirs = getattr(diffusers, f"{plain}Scheduler")()
    ours = noise_levels({"_class_name": f"{plain}Scheduler"}, "m")
    power = theirs.alphas_cumprod.double().flip(0)
    torch.testing.assert_close(ours.sigmas, ((1 - power) / power).sqrt(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("kind", ["EulerDiscreteScheduler", "LCMScheduler", "HeunDiscreteScheduler"])
def test_noise_with_a_bare_scheduler_is_that_of_diffusers(copy: Callable[[str], Path], kind: str) -> None:
    """What the network is told and what is made of its answer, at the level of a late, a middle and an early time."""
    folder = copy("sd")
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": kind}))
    edit(folder / "model_index.json", scheduler=["diffusers", kind])
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prior = load_prior(folder, device="cpu")
    text = prior.prompt_encoder("a cow")
    power = pipeline.scheduler.alphas_cumprod.double()
    for t in (981, 500, 17):
        sigma = float(((1 - power[t]) / power[t]).sqrt())
        x = randn(1, 4, 16, 16, seed=t) * sigma
        theirs = pipeline.unet(x / math.sqrt(1 + sigma**2), t, text.tokens).sample
        ours = prior.predict_noise(x, sigma, prior.condition("a cow", guidance_scale=1.0))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)


# Files: variants, shards, what lies beside.


def test_the_names_of_weights() -> None:
    shards = [f"model.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]
    index = "model.safetensors.index.fp16.json"
    assert choose_weights([*shards, index, "model.safetensors"], half=True) == [*shards, index]
    assert choose_weights([*shards, index, "model.safetensors"], half=False) == ["model.safetensors"]
    assert choose_weights(["diffusion_pytorch_model.bf16.safetensors"], half=False) == [
        "diffusion_pytorch_model.bf16.safetensors"
    ]
    assert choose_weights([WEIGHTS, "diffusion_pytorch_model.non_ema.safetensors"], half=True) == [WEIGHTS]
    assert choose_weights(["model-00001-of-00002.safetensors"], half=True) == []
    assert choose_weights(["pytorch_lora_weights.safetensors", "ip-adapter.safetensors"], half=True) == []


@pytest.mark.parametrize("variant", ["fp16", "bf16", "shards"])
def test_variants_and_what_lies_beside_them(copy: Callable[[str], Path], models: Path, variant: str) -> None:
    folder = copy("sd")
    for part, base in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        path = folder / part / f"{base}.safetensors"
        weights = load_file(path)
        path.unlink()
        if variant == "shards":
            keys = sorted(weights)
            names = [f"{base}-0000{n}-of-00002.safetensors" for n in (1, 2)]
            told = {key: names[position % 2] for position, key in enumerate(keys)}
            for name in names:
                save_file({key: weights[key] for key in keys if told[key] == name}, folder / part / name)
            (folder / part / f"{base}.safetensors.index.json").write_text(json.dumps({"weight_map": told}))
        else:
            dtype = torch.float16 if variant == "fp16" else torch.bfloat16
            save_file(
                {key: value.to(dtype) for key, value in weights.items()},
                folder / part / f"{base}.{variant}.safetensors",
            )
        (folder / part / f"{base}.non_ema.safetensors").write_bytes(b"never read")
        (folder / part / "pytorch_model.bin").write_bytes(b"never read")
    for part in ("safety_checker", "feature_extractor"):
        (folder / part).mkdir()
        (folder / part / "config.json").write_text("{}")
    edit(
        folder / "model_index.json",
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
    )
    (folder / "v1-5-pruned.ckpt").write_bytes(b"never read")
    x = randn(1, 4, 16, 16)
    noise = [
        prior.predict_noise(x, 2.0, prior.condition("a cow"))
        for prior in (load_prior(models / "sd", device="cpu"), load_prior(folder, device="cpu"))
    ]
    torch.testing.assert_close(noise[1], noise[0], rtol=0, atol=1e-6 if variant == "shards" else 0.2)
    assert not torch.equal(*noise) or variant == "shards"


def test_configurations_of_the_first_years(copy: Callable[[str], Path], models: Path) -> None:
    """No prediction type, no scaling factor, no force_upcast; an attention of the autoencoder under its old names."""
    folder = copy("sd")
    edit(folder / "vae" / "config.json", scaling_factor=None, force_upcast=None, latents_mean=None, use_quant_conv=None)
    edit(
        folder / "scheduler" / "scheduler_config.json",
        _class_name="PNDMScheduler", prediction_type=None, timestep_spacing=None, skip_prk_steps=True,
    )  # fmt: skip
    path = folder / "vae" / WEIGHTS
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(path)
    for key in [key for key in weights if "attentions" in key]:
        renamed = key
        for new, name in old.items():
            renamed = renamed.replace(f".{new}.", f".{name}.")
        weights[renamed] = weights.pop(key)
    save_file(weights, path)
    text = load_file(folder / "text_encoder" / "model.safetensors")
    text["text_model.embeddings.position_ids"] = torch.arange(24)[None]
    save_file(text, folder / "text_encoder" / "model.safetensors")
    new, early = load_prior(models / "sd", device="cpu"), load_prior(folder, device="cpu")
    x = randn(1, 4, 16, 16)
    assert torch.equal(*(p.predict_noise(x, 2.0, p.condition("a cow")) for p in (new, early)))
    assert torch.equal(new.decode(x), early.decode(x))


SD1 = {"block_out_channels": [320, 640, 1280, 1280], "cross_attention_dim": 768}


@pytest.mark.parametrize(
    ("config", "sides"),
    [
        (SD1 | {"sample_size": 32}, [64, 64]),  # Counterfeit-V2.5
        (SD1 | {"sample_size": None}, [64, 64]),
        (SD1 | {"sample_size": [32, 32], "cross_attention_dim": 1024}, [64, 64]),
        (SD1 | {"sample_size": 96}, [96, 96]),
        (SD1 | {"sample_size": [64, 96]}, [64, 96]),
        ({"sample_size": 32, "block_out_channels": [64, 128, 256, 256], "cross_attention_dim": 768}, [32, 32]),
        ({"sample_size": 16, "block_out_channels": [64, 128, 192], "cross_attention_dim": 128}, [16, 16]),
    ],
)
def test_only_stable_diffusion_itself_is_not_believed_when_it_says_256(
    config: dict[str, Any], sides: list[int]
) -> None:
    assert native_sides(config, STABLE_DIFFUSION) == sides


def test_a_size_that_is_not_believed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from ddrep_core.priors import load

    class Network:
        config: ClassVar[dict[str, Any]] = SD1 | {"sample_size": 32}

    with pytest.warns(DdrepWarning, match=r"say that it draws 256 pixels.*trained on 512.*ddrep\.json"):
        assert load._latent_size(Network, STABLE_DIFFUSION, 8, None) == (64, 64)
    assert load._latent_size(Network, STABLE_DIFFUSION, 8, 256) == (32, 32)  # what a person says


@pytest.mark.parametrize(("changes", "cells"), [({"sample_size": 32}, 32), ({"sample_size": None}, 64)])
def test_small_networks_draw_what_they_say(tmp_path: Path, changes: dict[str, Any], cells: int) -> None:
    tiny_models.build_sd(tmp_path / "sd")
    unet = tiny_models.unet(
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"),
    )
    unet.save_pretrained(tmp_path / "sd" / "unet")
    edit(tmp_path / "sd" / "unet" / "config.json", **changes)
    assert load_prior(tmp_path / "sd", device="cpu").latent_size == (cells, cells)
    (tmp_path / "sd" / "ddrep.json").write_text('{"image_size": 64}')
    assert load_prior(tmp_path / "sd", device="cpu").latent_size == (32, 32)


# Models that were distilled to a few steps.


TURBO = {"_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"}


@pytest.mark.parametrize(
    ("scheduler", "names", "distilled"),
    [
        (TURBO, ["model"], True),
        ({"_class_name": "LCMScheduler"}, ["model"], True),
        ({"_class_name": "TCDScheduler"}, ["model"], True),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}, ["sdxl_lightning_4step"], True),
        ({"_class_name": "DDIMScheduler"}, ["DreamShaperXL_Turbo_v2"], True),
        ({"_class_name": "DDIMScheduler"}, ["Hyper-SDXL-8steps"], True),
        ({"_class_name": "DDIMScheduler"}, ["dreamshaper-lcm"], True),
        ({"_class_name": "EulerAncestralDiscreteScheduler"}, ["hyperrealistic"], False),
        ({"_class_name": "DDIMScheduler"}, ["stable-diffusion-v1-5", "calcium"], False),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}, ["zero-snr"], False),
    ],
)
def test_which_models_draw_without_guidance(scheduler: dict[str, Any], names: list[str], distilled: bool) -> None:
    assert was_distilled(scheduler, names) is distilled


def test_turbo_is_drawn_without_guidance_and_says_so(copy: Callable[[str], Path]) -> None:
    folder = copy("sdxl")
    edit(folder / "scheduler" / "scheduler_config.json", **TURBO)
    edit(folder / "model_index.json", scheduler=["diffusers", TURBO["_class_name"]])
    with pytest.warns(DdrepWarning, match="distilled to draw in a few steps"):
        prior = load_prior(folder, device="cpu")
    assert prior.default_guidance_scale == 1 and prior.distilled
    pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    noise = randn(1, 4, 16, 16, seed=3)
    pipeline.scheduler.set_timesteps(1)
    sigma = float(pipeline.scheduler.sigmas[0])
    theirs = pipeline(
        "a cow", guidance_scale=0.0, num_inference_steps=1, latents=noise.clone(), output_type="latent"
    ).images  # their card's 0 is our 1
    scale = float(pipeline.scheduler.init_noise_sigma)
    ours = prior.predict_clean(noise * scale, sigma, prior.condition("a cow", guidance_scale=1.0))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-3)
    (folder / "ddrep.json").write_text('{"guidance_scale": 2}')
    with warnings.catch_warnings():
        warnings.simplefilter("error", DdrepWarning)
        prior = load_prior(folder, device="cpu")
    assert prior.default_guidance_scale == 2 and not prior.distilled


def test_no_task_asks_a_distilled_model_for_guidance(copy: Callable[[str], Path]) -> None:
    folder = copy("sd")
    (folder / "ddrep.json").write_text('{"guidance_scale": 1}')
    prior = load_prior(folder, device="cpu")
    assert guidance_of(prior, None, least=5.0) == 1
    prior.distilled, prior.default_guidance_scale = False, 2.5
    assert guidance_of(prior, None, least=5.0) == 5


def test_guidance_zero_with_a_prompt_is_noticed(models: Path) -> None:
    prior = load_prior(models / "sd", device="cpu")
    with pytest.warns(DdrepWarning, match="guidance scale of 0 leaves the prompt out.*use 1"):
        prior.condition("a cow", guidance_scale=0)


# What is refused, before anything large is read.


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("FluxFillPipeline", "told pictures"),
        ("PixArtAlphaPipeline", "size and aspect"),
        ("SanaPipeline", "another kind"),
        ("KolorsPipeline", "language model of its own"),
        ("IFPipeline", "pixels in three stages"),
        ("StableDiffusionImageVariationPipeline", "told a picture, not words"),
        ("StableUnCLIPPipeline", "told a picture"),
        ("Zero123PlusPipeline", "told a picture"),
        ("StableDiffusionLDM3DPipeline", "depth along with colours"),
        ("InstaFlowPipeline", "predicts a velocity"),
        ("StableDiffusionXLAdapterPipeline", "adapter"),
        ("StableDiffusionUpscalePipeline", "more than words"),
        ("MyOwnPipeline", "MyOwnPipeline, which ddrep cannot use"),
        (7, "unknown kind"),
    ],
)
def test_other_pipelines_are_refused_by_name(copy: Callable[[str], Path], pipeline: Any, message: str) -> None:
    folder = copy("sd")
    edit(folder / "model_index.json", _class_name=pipeline)
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()  # it is refused before it is missed
    with pytest.raises(RequestError, match=message):
        load_prior(folder, device="cpu")


def test_parts_that_nobody_knows_are_refused(models: Path) -> None:
    index = json.loads((models / "sd" / "model_index.json").read_text())
    family_of(index | {"image_encoder": ["transformers", "CLIPVisionModelWithProjection"], "extra": [None, None]}, "m")
    with pytest.raises(RequestError, match=r"parts that ddrep does not know \(cc_projection\)"):
        family_of(index | {"cc_projection": ["pipeline", "CCProjection"]}, "m")


def controlnet(folder: Path, **changes: Any) -> Path:
    tiny_models.build_controlnet(folder, tiny_models.unet())
    edit(folder / "config.json", **changes)
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": "ControlNetUnionModel", "num_control_type": 6}, "is a ControlNetUnionModel"),
        ({"num_control_type": 6}, "not supported"),
        ({"global_pool_conditions": True}, "something else than a picture of depth .*pooled"),
    ],
)
def test_controlnets_that_hear_something_else(
    models: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        load_prior(models / "sd", device="cpu", controlnet=controlnet(tmp_path / "control", **changes))


def test_a_controlnets_name_may_say_what_it_hears(models: Path, tmp_path: Path) -> None:
    folder = controlnet(tmp_path / "control_openpose")
    with pytest.warns(DdrepWarning, match="seems to hear openpose, and will be told depth"):
        load_prior(models / "sd", device="cpu", controlnet=folder)
    for scale in (-3, math.nan, math.inf):
        with pytest.raises(RequestError, match="A ControlNet counts 0 to 10 times"):
            load_prior(models / "sd", device="cpu", controlnet=folder, controlnet_scale=scale)


def test_several_controlnets_in_a_folder_and_one_of_sd3(copy: Callable[[str], Path]) -> None:
    folder = copy("sd")
    controlnet(folder / "controlnet")
    controlnet(folder / "controlnet_1")
    with pytest.raises(RequestError, match=r"holds several ControlNets.*--controlnet"):
        load_prior(folder, device="cpu")
    folder = copy("sd3")
    controlnet(folder / "controlnet")
    with pytest.raises(RequestError, match="ControlNet cannot be used with"):
        load_prior(folder, device="cpu")


def test_an_autoencoder_of_depth_and_colour_is_refused(copy: Callable[[str], Path]) -> None:
    folder = copy("sd")
    vae = tiny_models.autoencoder(in_channels=6, out_channels=6)
    vae.save_pretrained(folder / "vae")
    with pytest.raises(RequestError, match="made for 6 channels, not for pictures of 3"):
        load_prior(folder, device="cpu")
