"""The bundled prior as it is shipped: whole, small, loadable by diffusers and by us, and sane under guidance."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from safetensors import safe_open

import ddrep_core as dd

FOLDER = Path(dd.__file__).parent / "priors" / "bundled"
PARTS = ("unet", "vae", "text_encoder", "controlnet")


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    """The folder as a user of diffusers would load it, without a word about precision."""
    loaded = StableDiffusionPipeline.from_pretrained(FOLDER)
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture(scope="module")
def prior() -> dd.priors.DiffusersPrior:
    return dd.load_prior("bundled", device="cpu")


def draw(pipeline: StableDiffusionPipeline, prompt: str, seed: int = 0, **settings: object) -> np.ndarray:
    """One picture [S, S, 3] in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return pipeline(prompt, num_inference_steps=8, generator=generator, output_type="np", **settings).images[0]


def test_checksums_cover_every_file_and_hold() -> None:
    sums = json.loads((FOLDER / "checksums.json").read_text())
    files = {path.relative_to(FOLDER).as_posix(): path for path in FOLDER.rglob("*") if path.is_file()}
    assert set(sums) == set(files) - {"checksums.json"}
    for name, expected in sums.items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == expected, name


def test_weights_are_half_precision_and_at_most_64_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 64e6
    for part in PARTS:
        (weights,) = (FOLDER / part).glob("*.safetensors")
        with safe_open(weights, "pt") as file:
            kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        assert kinds <= {"F16", "I64"}, part


def test_the_card_names_sources_and_licences() -> None:
    card = (FOLDER / "README.md").read_text()
    notice = (FOLDER / "NOTICE").read_text()
    assert "Fluent Emoji" in card and "Unicode" in card
    assert "MIT License" in notice and "UNICODE LICENSE" in notice.upper()


def test_our_words_are_single_tokens_and_any_text_has_tokens(pipeline: StableDiffusionPipeline) -> None:
    tokenizer = pipeline.tokenizer
    words = ["a", "wooden", "cow", ",", "overhead", "view", ",", "on", "a", "white", "background"]
    assert [token.removesuffix("</w>") for token in tokenizer.tokenize(" ".join(words))] == words
    tokens = tokenizer("Zürich, 猫 🙂 qwrtz", padding="max_length").input_ids
    assert len(tokens) == tokenizer.model_max_length
    assert tokenizer.decode(tokens, skip_special_tokens=True).replace(" ", "") == "zürich,猫🙂qwrtz"


@pytest.mark.parametrize("guidance", [0.0, 1.0, 5.0, 10.0])
def test_pictures_stay_in_range_at_any_guidance(pipeline: StableDiffusionPipeline, guidance: float) -> None:
    picture = draw(pipeline, "a red car", guidance_scale=guidance)
    assert picture.shape == (64, 64, 3)
    assert np.isfinite(picture).all()
    assert 0.02 < picture.std() < 0.48  # neither one flat colour nor torn to black and white
    assert 0.05 < picture.mean() < 0.97


def test_the_prompt_decides_and_the_seed_varies(pipeline: StableDiffusionPipeline) -> None:
    red, blue = (
        draw(pipeline, f"a {colour} ball, on a white background", guidance_scale=5.0) for colour in ("red", "blue")
    )
    centre = (slice(24, 40), slice(24, 40))
    assert red[centre][..., 0].mean() > red[centre][..., 2].mean() + 0.2
    assert blue[centre][..., 2].mean() > blue[centre][..., 0].mean() + 0.2
    again, other = (draw(pipeline, "a red car", seed, guidance_scale=5.0) for seed in (0, 1))
    assert np.abs(again - other).mean() > 0.02


def test_depth_decides_the_silhouette(pipeline: StableDiffusionPipeline) -> None:
    controlnet = ControlNetModel.from_pretrained(FOLDER / "controlnet")
    controlled = StableDiffusionControlNetPipeline(
        **pipeline.components, controlnet=controlnet, requires_safety_checker=False
    )
    controlled.set_progress_bar_config(disable=True)
    rows, columns = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    for shift in (-12.0, 12.0):
        squared = (rows**2 + (columns - shift) ** 2) / 16.0**2
        depth = torch.where(squared < 1.0, 0.3 + 0.7 * (1.0 - squared).clamp(min=0).sqrt(), 0.0)
        picture = controlled(
            "a red ball, on a white background",
            image=depth.expand(1, 3, -1, -1),
            num_inference_steps=8,
            guidance_scale=4.0,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        ).images[0]
        shown, mask = np.abs(picture - 1.0).max(-1) > 0.25, depth.numpy() > 0
        assert (shown & mask).sum() / (shown | mask).sum() > 0.6


def test_load_prior_predicts_the_noise_of_a_known_picture(prior: dd.priors.DiffusersPrior) -> None:
    """Noise added to a latent of low noise is what the prior must find again, better than chance."""
    picture = torch.ones(1, 3, 64, 64)
    picture[..., 16:48, 16:48] = torch.tensor([0.85, 0.15, 0.1]).view(1, 3, 1, 1)
    clean = prior.encode(picture)
    assert clean.shape == (1, prior.channels, 16, 16)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(clean.shape, generator=generator)
    sigma = torch.tensor(1.0)
    conditioning = prior.condition("a red cube, on a white background", guidance_scale=1.0)
    found = prior.predict_noise(clean + sigma * noise, sigma, conditioning)
    correlation = torch.corrcoef(torch.stack([found.flatten(), noise.flatten()]))[0, 1]
    assert correlation > 0.7


def test_the_autoencoder_returns_what_it_is_given(prior: dd.priors.DiffusersPrior) -> None:
    picture = torch.ones(1, 3, 64, 64)
    picture[..., 16:48, 16:48] = torch.tensor([0.85, 0.15, 0.1]).view(1, 3, 1, 1)
    returned = prior.decode(prior.encode(picture))
    assert -10 * torch.log10((returned - picture).square().mean()) > 18.0  # decibels
