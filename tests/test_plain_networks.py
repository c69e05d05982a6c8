"""The bundled prior's own networks answer as diffusers' and transformers' do, to the last bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ddrep_core.jobs.create import create_job
from ddrep_core.priors.load import BUNDLED
from ddrep_core.priors.model_folder import ModelFolder
from ddrep_core.priors.plain.folder import PlainFolder

LENGTH = 32
ODD = ("", "A Red   APPLE, on a table!", "naïve — “quotes” 漢字 🙂 it's", "word " * 60, "\n\t", "<|endoftext|> a")


@pytest.fixture(scope="module")
def ours() -> PlainFolder:
    return PlainFolder(BUNDLED, "bundled")


@pytest.fixture(scope="module")
def theirs() -> ModelFolder:
    return ModelFolder(BUNDLED, "bundled")


@pytest.fixture(scope="module")
def tokenizers(ours: PlainFolder, theirs: ModelFolder) -> tuple[Any, Any]:
    return ours.tokenizer("tokenizer"), theirs.tokenizer("tokenizer")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
@example("").via("nothing")
def test_any_text_has_the_same_tokens(tokenizers: tuple[Any, Any], text: str) -> None:
    for each in (text, *ODD):
        every = [one(each, add_special_tokens=True, truncation=False, verbose=False)["input_ids"] for one in tokenizers]
        told = {"padding": "max_length", "max_length": LENGTH, "truncation": True, "return_tensors": "pt"}
        fitted = [one(each, **told)["input_ids"] for one in tokenizers]
        words = [one.decode(every[0][4:-1], skip_special_tokens=True).strip() for one in tokenizers]
        assert every[0] == every[1] and torch.equal(*fitted) and words[0] == words[1]


@pytest.fixture(scope="module")
def text(ours: PlainFolder, theirs: ModelFolder, tokenizers: tuple[Any, Any]) -> torch.Tensor:
    """[6, 32, 160] what the encoders make of odd texts: both the same."""
    told = {"padding": "max_length", "max_length": LENGTH, "truncation": True, "return_tensors": "pt"}
    ids = torch.cat([tokenizers[0](each, **told)["input_ids"] for each in ODD])
    encoders = [folder.network("text_encoder", torch.float32) for folder in (ours, theirs)]
    with torch.no_grad():
        found = [one(ids, output_hidden_states=True)[0] for one in encoders]
    assert torch.equal(*found)
    return found[0]


@pytest.mark.parametrize("shape", [(1, 16, 16), (6, 16, 16), (2, 17, 14)], ids=str)
def test_the_unet_and_its_controlnet_answer_alike(
    ours: PlainFolder, theirs: ModelFolder, text: torch.Tensor, shape: tuple[int, int, int]
) -> None:
    count, height, width = shape
    generator = torch.Generator().manual_seed(count)
    x = torch.randn(count, 4, height, width, generator=generator)
    hint = torch.rand(count, 3, 4 * height, 4 * width, generator=generator)
    times = torch.linspace(3.5, 900, count)
    told = {"encoder_hidden_states": text[:count], "return_dict": False}
    with torch.no_grad():
        controlnets: list[Any] = [folder.controlnet(torch.float32) for folder in (ours, theirs)]
        added = [net(x, times, controlnet_cond=hint, conditioning_scale=0.7, **told) for net in controlnets]
        for mine, other in zip((*added[0][0], added[0][1]), (*added[1][0], added[1][1]), strict=True):
            assert torch.equal(mine, other)
        more = {"down_block_additional_residuals": added[0][0], "mid_block_additional_residual": added[0][1]}
        nets = [folder.network("unet", torch.float32) for folder in (ours, theirs)]
        assert torch.equal(*(net(x, times, **told)[0] for net in nets))
        assert torch.equal(*(net(x, times, **told, **more)[0] for net in nets))


def test_layers_have_the_same_names_in_the_same_order(ours: PlainFolder, theirs: ModelFolder) -> None:
    """What is drawn at random for one after the other (`adapters.low_rank`) is the same on both."""
    nets = [folder.network("unet", torch.float32) for folder in (ours, theirs)]
    linear = [[name for name, each in net.named_modules() if isinstance(each, torch.nn.Linear)] for net in nets]
    assert linear[0] == linear[1]


@pytest.mark.parametrize("tiles", [False, True])
def test_the_autoencoders_answer_alike_and_so_do_their_gradients(
    ours: PlainFolder, theirs: ModelFolder, tiles: bool
) -> None:
    nets = [folder.network("vae", torch.float32).requires_grad_(False) for folder in (ours, theirs)]
    pictures = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1
    answers = []
    for net in nets:
        net.use_tiling, net.tile_latent_min_size, net.tile_sample_min_size = tiles, 8, 32
        seen = pictures.clone().requires_grad_()
        latents = net.encode(seen).latent_dist.mode()
        again = net.decode(latents, return_dict=False)[0]
        again.square().sum().backward()
        answers.append((latents.detach(), again.detach(), seen.grad))
    for mine, other in zip(*answers, strict=True):
        assert torch.equal(mine, other)


def test_a_job_of_the_bundled_prior_needs_neither_diffusers_nor_torch_s_compiler(tmp_path: Path) -> None:
    """Importing them takes a process seconds: most of a small job."""
    create_job(tmp_path / "job", {"task": "image", "steps": 1, "device": "cpu", "image": {"width": 8, "height": 8}})
    code = (
        "import sys; from ddrep_core.jobs.run import run_job; run_job(sys.argv[1]);"
        "print([each for each in ('diffusers', 'transformers', 'torch._dynamo') if each in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "job")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"
