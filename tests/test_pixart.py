"""PixArt-Σ: the same latents as in diffusers' own pipeline."""

from __future__ import annotations

import json
import math
from pathlib import Path

import diffusers
import pytest
import tiny_models
import torch
from test_priors_diffusers import NEGATIVE, PROMPT, assert_parity, ddrep_latents, randn, vp_levels

from ddrep_core.errors import RequestError
from ddrep_core.priors import load_prior
from ddrep_core.priors.families import family_of

STEPS = 2  # what is told wrongly shows in the first


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.build_pixart(tmp_path_factory.mktemp("models") / "pixart")


@pytest.mark.parametrize("first_name", [False, True])
def test_parity_with_the_pipeline(folder: Path, first_name: bool) -> None:
    pipeline = diffusers.PixArtSigmaPipeline.from_pretrained(folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["transformer"] = ["diffusers", "Transformer2DModel" if first_name else "PixArtTransformer2DModel"]
    (folder / "model_index.json").write_text(json.dumps(index))
    prior = load_prior(folder, device="cpu")
    assert prior.image_size == 32 and prior.default_guidance_scale == 4.5 and not prior.distilled
    # Its own scheduler's levels; the steps of one that is exact to compare with.
    pipeline.scheduler = diffusers.DDIMScheduler.from_config(
        pipeline.scheduler.config, clip_sample=False, timestep_spacing="leading", steps_offset=1
    )
    noise, prompt = randn(2, 4, 16, 16, seed=3), "A Wooden Cow"  # in small letters to the model
    theirs = pipeline(
        [prompt] * 2,
        negative_prompt=NEGATIVE,
        guidance_scale=4.5,
        num_inference_steps=STEPS,
        latents=noise.clone(),
        height=32,
        width=32,
        use_resolution_binning=False,
        output_type="latent",
    ).images
    levels = vp_levels(pipeline.scheduler, STEPS)
    start = noise * math.sqrt(1 + levels[0] ** -2)
    words = {"prompt": prompt, "negative_prompt": NEGATIVE, "guidance_scale": 4.5}
    scale = theirs.std()
    assert_parity(ddrep_latents(prior, start, levels, **words) / scale, theirs / scale)
    power = pipeline.scheduler.alphas_cumprod.double().flip(0)
    torch.testing.assert_close(prior.sigmas, ((1 - power) / power).sqrt())
    several = prior.condition(PROMPT, NEGATIVE, guidance_scale=4.5)
    assert several.texts.mask is not None and several.texts.mask.sum(1).tolist() == [
        float(len(prior.prompt_encoder.encoders[0].tokenizer(text)["input_ids"])) for text in (PROMPT, NEGATIVE)
    ]


def test_relatives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="told the picture's size and aspect"):
        load_prior(tiny_models.build_pixart(tmp_path / "alpha", alpha=True), device="cpu")
    for pipeline, why in (("PixArtAlphaPipeline", "size and aspect"), ("SanaPipeline", "language model")):
        with pytest.raises(RequestError, match=why):
            family_of({"_class_name": pipeline, "transformer": ["diffusers", "Transformer2DModel"]}, "m")
