"""FLUX.1, and models that are told their guidance (FLUX.1 dev, latent consistency models): as in diffusers."""

from __future__ import annotations

import math
from pathlib import Path

import diffusers
import pytest
import tiny_models
import torch
from test_priors_diffusers import NEGATIVE, PROMPT, assert_parity, ddrep_latents, randn

from ddrep_core.errors import DdrepWarning, RequestError
from ddrep_core.priors import load_prior
from ddrep_core.priors.families import family_of
from ddrep_core.priors.flux import pack, unpack
from ddrep_core.priors.networks import guidance_embedding

STEPS = 2  # what is told wrongly shows in the first


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.build_flux(folder / "dev")
    tiny_models.build_flux(folder / "schnell", dev=False)
    build_lcm(folder / "lcm")
    return folder


def build_lcm(folder: Path) -> None:
    diffusers.LatentConsistencyModelPipeline(
        vae=tiny_models.autoencoder(scaling_factor=0.18215, force_upcast=False),
        text_encoder=tiny_models.clip_text_model(),
        tokenizer=tiny_models.clip_tokenizer(),
        unet=tiny_models.unet(time_cond_proj_dim=32),
        scheduler=diffusers.LCMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


@pytest.mark.parametrize(("model", "guidance"), [("dev", 3.5), ("dev", 1.0), ("schnell", 1.0)])
def test_parity_with_the_flux_pipeline(models: Path, model: str, guidance: float) -> None:
    pipeline = diffusers.FluxPipeline.from_pretrained(models / model)
    noise = randn(2, 16, 16, 16, seed=3)
    theirs = pipeline(
        [PROMPT] * 2,
        guidance_scale=guidance,
        num_inference_steps=STEPS,
        latents=pack(noise),
        height=32,
        width=32,
        max_sequence_length=512 if model == "dev" else 256,
        output_type="latent",
    ).images
    times = pipeline.scheduler.sigmas.double()
    levels = (times / (1 - times)).tolist()
    assert math.isinf(levels[0])
    prior = load_prior(models / model, device="cpu", image_size=32)
    assert prior.channels == 16 and prior.distilled
    assert prior.default_guidance_scale == (3.5 if model == "dev" else 1.0)
    ours = ddrep_latents(prior, noise, levels, prompt=PROMPT, guidance_scale=guidance)
    assert_parity(ours, unpack(theirs, 8, 8))
    pictures = pipeline.vae.decode(unpack(theirs, 8, 8) / 0.3611 + 0.1159, return_dict=False)[0]
    torch.testing.assert_close(prior.decode(ours), (pictures / 2 + 0.5).clamp(0, 1), rtol=0, atol=1e-3)


def test_levels_are_bent_by_the_pictures_size(models: Path) -> None:
    scheduler = diffusers.FluxPipeline.from_pretrained(models / "dev").scheduler
    for size, tokens in ((32, 64), (64, 256)):
        prior = load_prior(models / "dev", device="cpu", image_size=size)
        shift = 0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256)
        scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / 1000, 1000).numpy(), mu=shift)
        times = scheduler.sigmas[:-1].double()
        torch.testing.assert_close(1 / (1 + 1 / prior.sigmas), times, rtol=0, atol=1e-6)
    assert load_prior(models / "dev", device="cpu").image_size == 256  # 128 cells, for its files say nothing
    with pytest.raises(RequestError, match="multiple of 4"):
        load_prior(models / "dev", device="cpu", image_size=30)


@pytest.mark.parametrize("guidance", [1.0, 8.5])
def test_parity_with_the_latent_consistency_pipeline(models: Path, guidance: float) -> None:
    pipeline = diffusers.LatentConsistencyModelPipeline.from_pretrained(models / "lcm")
    noise = randn(2, 4, 16, 16, seed=1)
    theirs = pipeline(
        [PROMPT] * 2,
        guidance_scale=guidance,
        num_inference_steps=1,
        latents=noise.clone(),
        output_type="latent",
    ).images
    step = int(pipeline.scheduler.timesteps[0])
    power = float(pipeline.scheduler.alphas_cumprod[step])
    sigma = math.sqrt((1 - power) / power)
    prior = load_prior(models / "lcm", device="cpu")
    assert prior.distilled and prior.default_guidance_scale == 8.5
    conditioning = prior.condition(PROMPT, guidance_scale=guidance)
    assert len(conditioning.texts.tokens) == 1  # nothing unconditional is asked
    ours = prior.predict_clean(noise * math.sqrt(1 + sigma**2), sigma, conditioning)
    scale = theirs.std()
    assert_parity(ours / scale, theirs / scale)
    w = torch.tensor([guidance - 1.0])
    torch.testing.assert_close(
        guidance_embedding(guidance, 33), pipeline.get_guidance_scale_embedding(w, 33), rtol=0, atol=1e-6
    )


def test_a_negative_prompt_is_not_heard_and_that_is_said(models: Path) -> None:
    prior = load_prior(models / "lcm", device="cpu")
    with pytest.warns(DdrepWarning, match="does not hear the negative prompt"):
        told = prior.condition(PROMPT, NEGATIVE, guidance_scale=3.0)
    x = randn(1, 4, 16, 16)
    plain, strong = (prior.condition(PROMPT, guidance_scale=w) for w in (3.0, 9.0))
    assert torch.equal(prior.predict_noise(x, 3.0, told), prior.predict_noise(x, 3.0, plain))
    assert (prior.predict_noise(x, 3.0, strong) - prior.predict_noise(x, 3.0, plain)).abs().max() > 1e-2


def test_relatives_of_flux_are_refused_by_name() -> None:
    for kind, why in (("FluxFillPipeline", "told pictures"), ("FluxKontextPipeline", "told pictures")):
        with pytest.raises(RequestError, match=why):
            family_of({"_class_name": kind, "transformer": ["diffusers", "FluxTransformer2DModel"]}, "m")
