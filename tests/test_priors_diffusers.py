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
from ddrep_core.noise.fields import ViewNoise
from ddrep_core.priors import Prior, load_prior
from ddrep_core.priors.diffusers_prior import DiffusersPrior
from ddrep_core.schedules.schedule import Schedule, Segment

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
    assert prior.controls == {"depth"}
    words = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 6.0}
    start = noise * math.sqrt(1 + levels[0] ** -2)
    assert_parity(ddrep_latents(prior, start, levels, depth, **words), theirs)
    without = ddrep_latents(prior, start, levels, **words)
    assert (without - theirs).abs().max() > 0.05  # depth makes a difference


def test_it_is_a_prior(prior: DiffusersPrior) -> None:
    assert isinstance(prior, Prior)
    assert prior.image_shape == (4, 16, 16) and prior.image_size == 32 and prior.channels == 4
    assert len(prior.sigmas) == 1000 and bool((prior.sigmas.diff() < 0).all())
    # Stable Diffusion's known extremes
    assert float(prior.sigmas[0]) == pytest.approx(14.6146, abs=1e-3)
    assert float(prior.sigmas[-1]) == pytest.approx(0.0292, abs=1e-4)
    assert prior.dtype == torch.float32 and not prior.controls
    assert prior.default_guidance_scale == 7.5


def test_pictures_and_latents(models: Path) -> None:
    vae = diffusers.AutoencoderKL.from_pretrained(models / "sd3" / "vae")
    prior = load_prior(models / "sd3", device="cpu")
    latents = randn(3, 16, 16, 16, seed=6)
    with torch.no_grad():
        pictures = (vae.decode(latents / 1.5305 + 0.0609)[0] / 2 + 0.5).clamp(0, 1)
        codes = (vae.encode(pictures * 2 - 1).latent_dist.mean - 0.0609) * 1.5305
    torch.testing.assert_close(prior.decode(latents), pictures, rtol=0, atol=1e-5)
    torch.testing.assert_close(prior.encode(pictures), codes, rtol=0, atol=1e-4)
    assert torch.equal(prior.encode(pictures), prior.encode(pictures))


def test_gradients_pass_the_autoencoder_but_not_the_denoiser(prior: DiffusersPrior) -> None:
    latents = randn(1, 4, 16, 16).requires_grad_()
    prior.decode(latents).sum().backward()
    assert latents.grad is not None and latents.grad.abs().sum() > 0
    assert not prior.predict_noise(latents, 1.0, prior.condition("")).requires_grad


def test_each_view_has_its_own_words(prior: DiffusersPrior) -> None:
    views = dd.orbit_views(count=4, elevations=(0.0,))
    conditioning = prior.condition("cow", "blurry", views, guidance_scale=3.0)
    # front, side, back, side again: three different prompts and a negative one
    assert conditioning.prompts.tolist() == [0, 1, 2, 1] and len(conditioning.texts.tokens) == 4
    torch.testing.assert_close(conditioning.texts.tokens[2:3], prior.prompt_encoder("cow, back view").tokens)

    x = randn(4, 4, 16, 16, seed=7)
    whole = prior.predict_noise(x, 2.0, conditioning)
    order = [2, 0, 3]
    some = prior.predict_noise(x[order], torch.tensor([2.0, 2.0, 2.0]), conditioning[order])
    torch.testing.assert_close(some, whole[order], rtol=0, atol=1e-5)
    other = prior.predict_noise(x[order], 2.0, conditioning[[0, 1, 2]])
    assert (other - whole[order]).abs().amax((1, 2, 3))[:2].min() > 1e-3  # the words make a difference
    with pytest.raises(RequestError, match="2 latents came with a conditioning for 4 views"):
        prior.predict_noise(x[:2], 2.0, conditioning)


def test_a_prompt_that_does_not_fit_is_cut_with_a_warning(prior: DiffusersPrior) -> None:
    room = tiny_models.TEXT_LENGTH - 2  # every letter is a token, between one that begins and one that ends
    fits = "x" * room
    with pytest.warns(DdrepWarning, match=r"longer than the 24 tokens .* does not see the end: 'tail'"):
        cut = prior.prompt_encoder(fits + "tail")
    assert torch.equal(cut.tokens[0, room // 2], prior.prompt_encoder(fits).tokens[0, room // 2])


def test_prompts_are_encoded_once(prior: DiffusersPrior, monkeypatch: pytest.MonkeyPatch) -> None:
    prior.condition("a new thing", "dull")
    monkeypatch.setattr(prior.prompt_encoder, "encoders", [])
    prior.condition("a new thing", "dull", guidance_scale=2.0)


class FakeNetwork:
    """Says each row's first token, notes its batches, and has memory for a few rows only."""

    hears = frozenset({"depth", "code"})

    def __init__(self, memory: int = 1000) -> None:
        self.memory = memory
        self.batches: list[int] = []

    def __call__(self, x: Tensor, timesteps: Tensor, text, controls) -> Tensor:
        self.batches.append(len(x))
        if len(x) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        told = text.tokens[:, 0, :1, None, None]
        return x * 0 + told + sum(signal.mean((1, 2, 3), keepdim=True) for signal in controls.values())

    def row_bytes(self, height: int, width: int) -> float:
        return 1.0


def with_fake(prior: DiffusersPrior, network: FakeNetwork, max_batch: int | None = None) -> DiffusersPrior:
    shared = (prior.levels, prior.prompt_encoder, prior.autoencoder, prior.latent_size, prior.device, prior.dtype)
    return DiffusersPrior("fake", network, *shared, max_batch=max_batch)


@pytest.mark.parametrize(("guidance", "rows"), [(0.0, 3), (1.0, 3), (2.5, 6)])
def test_guidance_evaluates_only_the_branches_it_needs(prior: DiffusersPrior, guidance: float, rows: int) -> None:
    network = FakeNetwork()
    fake = with_fake(prior, network)
    noise = fake.predict_noise(randn(3, 4, 16, 16), 1.0, fake.condition("cow", "dull", guidance_scale=guidance))
    assert network.batches == [rows]
    negative, positive = (float(prior.prompt_encoder(text).tokens[0, 0, 0]) for text in ("dull", "cow"))
    torch.testing.assert_close(noise, torch.full_like(noise, negative + guidance * (positive - negative)))


def test_batches_are_split_and_halved_when_memory_runs_out(prior: DiffusersPrior) -> None:
    network = FakeNetwork()
    fake = with_fake(prior, network, max_batch=5)
    x, views = randn(8, 4, 16, 16), dd.orbit_views(count=8, elevations=(0.0,))
    depth = torch.linspace(0, 1, 8).reshape(8, 1, 1, 1).expand(-1, 1, 4, 4)
    conditioning = fake.condition("cow", views=views, guidance_scale=2.0, controls={"depth": depth})
    whole = fake.predict_noise(x, 1.0, conditioning)
    assert network.batches == [5, 5, 5, 1]

    small = FakeNetwork(memory=3)
    fake = with_fake(prior, small)
    torch.testing.assert_close(fake.predict_noise(x, 1.0, conditioning), whole)
    assert small.batches == [16, 8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    small.batches.clear()
    fake.predict_noise(x, 1.0, conditioning)
    assert small.batches == [2] * 8  # what fits is remembered

    fake = with_fake(prior, FakeNetwork(memory=0))
    with pytest.raises(RunError, match="no memory left for even one view"):
        fake.predict_noise(x, 1.0, conditioning)


@pytest.mark.parametrize("name", ["depth", "code"])
def test_a_control_goes_with_its_view(prior: DiffusersPrior, name: str) -> None:
    fake = with_fake(prior, FakeNetwork())
    depth = torch.tensor([0.1, 0.5, 0.9]).reshape(3, 1, 1, 1)
    unheard = torch.full((3, 2, 5, 5), 7.0)
    conditioning = fake.condition("", guidance_scale=1.0, controls={name: depth, "scent": unheard})
    assert set(conditioning.controls) == {name}
    x = randn(3, 4, 16, 16)
    whole, swapped = (fake.predict_noise(x, 1.0, c) for c in (conditioning, conditioning[[2, 1, 0]]))
    torch.testing.assert_close(swapped - whole, (depth.flip(0) - depth).expand_as(x), rtol=0, atol=1e-5)
    with pytest.raises(RequestError, match=rf"{name.capitalize()} must be \[3, [1C], H, W\]"):
        fake.condition("", views=dd.orbit_views(count=3), controls={name: depth[:2]})
    with pytest.raises(RequestError, match=r"Depth must lie in \[0, 1\]"):
        fake.condition("", controls={"depth": depth * 2})


def test_depth_of_any_size_is_brought_to_the_controlnets(models: Path) -> None:
    prior = load_prior(models / "epsilon", device="cpu", controlnet=models / "controlnet")
    coarse = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    fine = interpolate(coarse, (32, 32), mode="bilinear", antialias=True)
    x = randn(1, 4, 16, 16)
    one, two = (
        prior.predict_noise(x, 1.0, prior.condition("", guidance_scale=0, controls={"depth": d}))
        for d in (coarse, fine)
    )
    torch.testing.assert_close(one, two)


def test_half_precision_inside_full_precision_outside(models: Path, prior: DiffusersPrior) -> None:
    half = load_prior(models / "epsilon", device="cpu", precision="bf16")
    assert half.dtype == torch.bfloat16 and half.autoencoder.dtype == torch.float32
    x = randn(1, 4, 16, 16)
    noise = half.predict_noise(x, 1.0, half.condition(PROMPT))
    assert noise.dtype == torch.float32
    expected = prior.predict_noise(x, 1.0, prior.condition(PROMPT))
    assert 0 < (noise - expected).std() < 0.1 * expected.std()


def test_another_image_size(models: Path) -> None:
    assert load_prior(models / "epsilon", device="cpu", image_size=48).image_shape == (4, 24, 24)
    with pytest.raises(RequestError, match=r"cannot draw 50 pixels.*multiple of 4"):
        load_prior(models / "epsilon", device="cpu", image_size=50)
