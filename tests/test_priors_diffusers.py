"""Diffusers models as priors: the same latents as diffusers' own pipelines, and everything around them."""

from __future__ import annotations

import math
from pathlib import Path

import diffusers
import pytest
import tiny_models
import torch
from torch import Tensor
from torch.nn.functional import interpolate

import ddrep_core as dd
from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.errors import DdrepWarning, RequestError, RunError
from ddrep_core.priors import Prior, load_prior
from ddrep_core.priors.diffusers_prior import DiffusersPrior
from ddrep_core.sampling.noise import ViewNoise
from ddrep_core.sampling.schedule import Schedule, Segment

STEPS = 5
PROMPT, NEGATIVE = "a wooden cow", "blurry"

diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder with every tiny model, built once."""
    folder = tmp_path_factory.mktemp("models")
    tiny_models.build_sd(folder / "epsilon")
    tiny_models.build_sd(folder / "v", "v_prediction")
    tiny_models.build_sd(folder / "sample", "sample")
    tiny_models.build_sd(folder / "zero_snr", "v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")
    tiny_models.build_sdxl(folder / "sdxl")
    tiny_models.build_sd3(folder / "sd3")
    tiny_models.build_sd3(folder / "sd3_small", shift=1.0, t5=False)
    tiny_models.build_controlnet(folder / "controlnet", tiny_models.unet())
    tiny_models.build_controlnet(folder / "controlnet_sdxl", tiny_models.sdxl_unet())
    return folder


@pytest.fixture(scope="module")
def prior(models: Path) -> DiffusersPrior:
    return load_prior(models / "epsilon", device="cpu")


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class FixedNoise(ViewNoise):
    """A noise field that begins with given noise."""

    def __init__(self, noise: Tensor) -> None:
        super().__init__(tuple(noise.shape), noise.dtype, noise.device)
        self.given = noise

    def draw(self, generator: torch.Generator) -> Tensor:
        return self.given


def ddrep_latents(
    prior: DiffusersPrior, noise: Tensor, levels: list[float], depth: Tensor | None = None, **words
) -> Tensor:
    """Latents by `dd.sample` with the identity representation."""
    count, shape = len(noise), tuple(noise.shape[1:])
    size = math.prod(shape)
    rep = LinearDiffrep(torch.eye(count * size), image_shape=shape)
    schedule = Schedule((Segment(tuple(levels)),))
    result = dd.sample(
        rep, prior, schedule=schedule, eta=0.0, noise=FixedNoise(noise), depth=depth, solver="linear", **words
    )
    return result.diffrep.render()


def vp_levels(scheduler, steps: int) -> list[float]:
    """The levels that a pipeline's DDIM visits, from its own scheduler."""
    scheduler.set_timesteps(steps)
    power = scheduler.alphas_cumprod.double()[scheduler.timesteps]
    return [*((1 - power) / power).sqrt().tolist(), 0.0]


def assert_parity(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.std() > 0.1  # or agreement would mean nothing
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("model", ["epsilon", "v", "sample", "zero_snr"])
def test_parity_with_the_stable_diffusion_pipeline(models: Path, model: str, guidance: float) -> None:
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(models / model)
    noise = randn(2, 4, 16, 16, seed=1)
    theirs = pipeline(
        [PROMPT] * 2,
        negative_prompt=[NEGATIVE] * 2,
        guidance_scale=guidance,
        num_inference_steps=STEPS,
        latents=noise.clone(),
        output_type="latent",
    ).images
    levels = vp_levels(pipeline.scheduler, STEPS)
    assert math.isinf(levels[0]) == (model == "zero_snr")
    # The pipeline takes its noise as the whole of x at the first level; ours is x / σ there.
    power = 1.0 if math.isinf(levels[0]) else math.sqrt(1 + levels[0] ** -2)
    ours = ddrep_latents(
        load_prior(models / model, device="cpu"),
        noise * power,
        levels,
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        guidance_scale=guidance,
    )
    assert_parity(ours, theirs)


@pytest.mark.parametrize("negative", ["", NEGATIVE])
def test_parity_with_the_sdxl_pipeline(models: Path, negative: str) -> None:
    pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(models / "sdxl", add_watermarker=False)
    noise = randn(2, 4, 16, 16, seed=2)
    theirs = pipeline(
        [PROMPT] * 2,
        negative_prompt=[negative] * 2 if negative else None,
        guidance_scale=5.0,
        num_inference_steps=STEPS,
        latents=noise.clone(),
        output_type="latent",
    ).images
    levels = vp_levels(pipeline.scheduler, STEPS)
    prior = load_prior(models / "sdxl", device="cpu")
    start = noise * math.sqrt(1 + levels[0] ** -2)
    assert_parity(
        ddrep_latents(prior, start, levels, prompt=PROMPT, negative_prompt=negative, guidance_scale=5.0), theirs
    )


@pytest.mark.parametrize("model", ["sd3", "sd3_small"])
def test_parity_with_the_sd3_pipeline(models: Path, model: str) -> None:
    third = {} if model == "sd3" else {"text_encoder_3": None, "tokenizer_3": None}
    pipeline = diffusers.StableDiffusion3Pipeline.from_pretrained(models / model, **third)
    noise = randn(2, 16, 16, 16, seed=3)
    theirs = pipeline(
        [PROMPT] * 2,
        negative_prompt=[NEGATIVE] * 2,
        guidance_scale=7.0,
        num_inference_steps=STEPS,
        latents=noise.clone(),
        output_type="latent",
    ).images
    times = pipeline.scheduler.sigmas.double()
    levels = (times / (1 - times)).tolist()
    assert math.isinf(levels[0])
    prior = load_prior(models / model, device="cpu")
    assert_parity(
        ddrep_latents(prior, noise, levels, prompt=PROMPT, negative_prompt=NEGATIVE, guidance_scale=7.0), theirs
    )


@pytest.mark.parametrize("model", ["epsilon", "sdxl"])
def test_parity_with_the_controlnet_pipelines(models: Path, model: str) -> None:
    folder = models / ("controlnet" if model == "epsilon" else "controlnet_sdxl")
    controlnet = diffusers.ControlNetModel.from_pretrained(folder)
    kind = diffusers.StableDiffusionControlNetPipeline
    if model == "sdxl":
        kind = diffusers.StableDiffusionXLControlNetPipeline
    pipeline = kind.from_pretrained(models / model, controlnet=controlnet)
    noise, depth = randn(2, 4, 16, 16, seed=4), torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(5))
    theirs = pipeline(
        [PROMPT] * 2,
        image=depth.expand(-1, 3, -1, -1),
        negative_prompt=[NEGATIVE] * 2,
        guidance_scale=6.0,
        controlnet_conditioning_scale=0.7,
        num_inference_steps=STEPS,
        latents=noise.clone(),
        output_type="latent",
    ).images
    levels = vp_levels(pipeline.scheduler, STEPS)
    prior = load_prior(models / model, device="cpu", controlnet=folder, controlnet_scale=0.7)
    assert prior.uses_depth
    words = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 6.0}
    start = noise * math.sqrt(1 + levels[0] ** -2)
    assert_parity(ddrep_latents(prior, start, levels, depth, **words), theirs)
    without = ddrep_latents(prior, start, levels, **words)
    assert (without - theirs).abs().max() > 0.05  # depth makes a difference
