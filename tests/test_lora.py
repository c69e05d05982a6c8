"""LoRAs of every dialect do what a thin layer beside each layer would; those of another family are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ldm_names
import pytest
import tiny_models
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ddrep_core.errors import DdrepWarning, RequestError
from ddrep_core.jobs.request import parse_request
from ddrep_core.priors import load_prior
from ddrep_core.priors.adapters.lora import Lora, parse_lora

RANK, ALPHA = 3, 2.0
Pieces = dict[str, dict[str, tuple[Tensor, Tensor]]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.build_sd(folder / "sd")
    tiny_models.build_sdxl(folder / "sdxl")
    return folder


def networks_of(prior: Any) -> dict[str, nn.Module]:
    texts = [encoder.model for encoder in prior.prompt_encoder.encoders]
    return {"unet": prior.network.unet, **dict(zip(("text_encoder", "text_encoder_2"), texts, strict=False))}


def random_pieces(networks: dict[str, nn.Module]) -> Pieces:
    """{part: {path of a layer: (down, up)}} for attention, feed-forward, convolutions and samplers."""
    generator = torch.Generator().manual_seed(0)
    wanted = re.compile(
        r"to_[qkv]$|to_out\.0$|proj_in$|ff\.net|resnets\.\d\.(conv|time)|samplers|[qv]_proj$|fc1$|conv_in$"
    )
    pieces: Pieces = {}
    for part, network in networks.items():
        for path, module in network.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and wanted.search(path):
                out, into, *kernel = module.weight.shape
                down = torch.randn(RANK, into, *kernel, generator=generator) * 0.15
                up = torch.randn(out, RANK, *(1 for _ in kernel), generator=generator) * 0.3
                pieces.setdefault(part, {})[path] = (down, up)
    return pieces


def beside(networks: dict[str, nn.Module], pieces: Pieces, weight: float) -> None:
    """Put the thin layers beside the layers, as in training."""
    for part, layers in pieces.items():
        for path, (down, up) in layers.items():
            module = networks[part].get_submodule(path)

            def add(module: Any, inputs: Any, output: Tensor, down: Tensor = down, up: Tensor = up) -> Tensor:
                if isinstance(module, nn.Conv2d):
                    thin = nn.functional.conv2d(inputs[0], down, stride=module.stride, padding=module.padding)
                    return output + weight * ALPHA / RANK * nn.functional.conv2d(thin, up)
                return output + weight * ALPHA / RANK * (inputs[0] @ down.T @ up.T)

            module.register_forward_hook(add)


def kohya(part: str, path: str, prefix: str) -> tuple[str, str, str]:
    text = "text_model." if part != "unet" and not path.startswith("text_model.") else ""
    stem = f"{prefix}_{(text + path).replace('.', '_')}"
    return f"{stem}.lora_down.weight", f"{stem}.lora_up.weight", f"{stem}.alpha"


def kohya_sd(part: str, path: str) -> tuple[str, str, str]:
    return kohya(part, path, "lora_unet" if part == "unet" else "lora_te")


def kohya_sdxl(part: str, path: str) -> tuple[str, str, str]:
    """SDXL's U-Net under its first authors' names."""
    if part != "unet":
        return kohya(part, path, "lora_te1" if part == "text_encoder" else "lora_te2")
    blocks = {f"up_blocks.{number}.attentions.0.x": torch.ones(1) for number in (0,)}
    named = ldm_names.unet_names({f"{path}.weight": torch.ones(1), **blocks}, 1)
    theirs = next(iter(named)).removeprefix("model.diffusion_model.").removesuffix(".weight")
    return kohya("unet", theirs, "lora_unet")


def peft(part: str, path: str) -> tuple[str, str, str]:
    return f"{part}.{path}.lora_A.weight", f"{part}.{path}.lora_B.weight", f"{part}.{path}.alpha"


def old_diffusers(part: str, path: str) -> tuple[str, str, str]:
    return f"{part}.{path}.lora.down.weight", f"{part}.{path}.lora.up.weight", f"{part}.{path}.alpha"


def write(file: Path, pieces: Pieces, names: Callable[[str, str], tuple[str, str, str]]) -> Path:
    weights = {}
    for part, layers in pieces.items():
        for path, (down, up) in layers.items():
            of_down, of_up, of_alpha = names(part, path)
            weights |= {of_down: down, of_up: up, of_alpha: torch.tensor(ALPHA)}
    assert len(weights) == 3 * sum(map(len, pieces.values()))
    save_file(weights, file)
    return file


@pytest.mark.parametrize(
    ("model", "names"),
    [("sd", kohya_sd), ("sd", peft), ("sd", old_diffusers), ("sdxl", kohya_sdxl), ("sdxl", peft)],
)
def test_a_lora_is_a_thin_layer_beside_each_layer(
    models: Path, tmp_path: Path, model: str, names: Callable[[str, str], tuple[str, str, str]]
) -> None:
    plain, expected = (load_prior(models / model, device="cpu") for _ in range(2))
    pieces = random_pieces(networks_of(plain))
    assert len(pieces) == (3 if model == "sdxl" else 2) and len(pieces["unet"]) > 20
    file = write(tmp_path / "paint.safetensors", pieces, names)
    beside(networks_of(expected), pieces, 0.7)
    expected.prompt_encoder._known.clear()
    merged = load_prior(models / model, device="cpu", loras=[Lora(file, 0.7)])
    x = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    noise = [p.predict_noise(x, 2.0, p.condition("a cow", guidance_scale=3.0)) for p in (plain, expected, merged)]
    torch.testing.assert_close(noise[2], noise[1], rtol=0, atol=1e-3)
    assert (noise[0] - noise[1]).abs().max() > 0.1  # it makes a difference
    both = load_prior(models / model, device="cpu", loras=[Lora(file, 0.5), Lora(file, 0.2)])
    torch.testing.assert_close(
        both.predict_noise(x, 2.0, both.condition("a cow", guidance_scale=3.0)), noise[2], atol=1e-3, rtol=0
    )


def test_loras_of_another_family_or_kind_are_refused(models: Path, tmp_path: Path) -> None:
    sd = load_prior(models / "sd", device="cpu")
    file = write(tmp_path / "sd.safetensors", random_pieces(networks_of(sd)), kohya_sd)
    with pytest.raises(RequestError, match=r"made for another family than .*sdxl"):
        load_prior(models / "sdxl", device="cpu", loras=[Lora(file)])
    for key, message in (
        ("lora_unet_conv_in.hada_w1_a", "is a LoHa"),
        ("lora_unet_conv_in.lokr_w1", "is a LoKr"),
        ("lora_unet_conv_in.dora_scale", "is a DoRA"),
        ("something.else", "no LoRA that ddrep can read"),
        ("lora_unet_nowhere.lora_down.weight", "no layer 'nowhere'"),
        ("lora_unet_conv_in.lora_down.weight", "layer 'conv_in' has another size"),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha", "a 'text_encoder_2', which the model lacks"),
    ):
        save_file({key: torch.ones(())}, tmp_path / "odd.safetensors")
        with pytest.raises(RequestError, match=message):
            load_prior(models / "sd", device="cpu", loras=[Lora(tmp_path / "odd.safetensors")])
    with pytest.raises(RequestError, match="no LoRA called"):
        load_prior(models / "sd", device="cpu", loras=[Lora(tmp_path / "absent.safetensors")])
    (tmp_path / "bomb.safetensors").write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(RequestError, match="pickle under another name"):
        load_prior(models / "sd", device="cpu", loras=[Lora(tmp_path / "bomb.safetensors")])


def test_a_few_step_lora_takes_guidance_away(models: Path, tmp_path: Path) -> None:
    sd = load_prior(models / "sd", device="cpu")
    file = write(tmp_path / "lcm-lora-sdv1-5.safetensors", random_pieces(networks_of(sd)), kohya_sd)
    with pytest.warns(DdrepWarning, match="LoRA looks as if it was distilled"):
        prior = load_prior(models / "sd", device="cpu", loras=[Lora(file, 0.1)])
    assert prior.default_guidance_scale == 1 and prior.distilled


def test_how_a_lora_is_named() -> None:
    assert parse_lora("a/b.safetensors") == Lora(Path("a/b.safetensors"), 1.0)
    assert parse_lora("a/b.safetensors:0.4") == Lora(Path("a/b.safetensors"), 0.4)
    assert parse_lora("a/b.safetensors:-1") == Lora(Path("a/b.safetensors"), -1.0)
    assert parse_lora("C:\\loras\\b.safetensors").weight == 1.0
    for text in ("a.safetensors:11", "a.safetensors:nan", "a.safetensors:inf"):
        with pytest.raises(RequestError, match="A LoRA counts"):
            parse_lora(text)


def test_jobs_without_loras_stay_the_jobs_that_they_were() -> None:
    told = {"schema_version": 1, "task": "image", "prompt": "a cow"}
    assert "loras" not in parse_request(told).to_json()
    request = parse_request(told | {"loras": [{"file": "/x.safetensors", "weight": 0.5}]})
    assert request.to_json()["loras"] == [{"file": "/x.safetensors", "weight": 0.5}]
    for wrong in ([{"file": ""}], [{"file": "x", "weight": 11}], [{"weight": 1}], "x", [{"file": "x", "scale": 1}]):
        with pytest.raises(RequestError):
            parse_request(told | {"loras": wrong})
