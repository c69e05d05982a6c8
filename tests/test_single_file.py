"""Checkpoints in one file: the same as the folder with the same weights, and nothing is fetched."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import diffusers
import ldm_names
import pytest
import tiny_models
import torch
import transformers
from accelerate import init_empty_weights
from safetensors.torch import save_file

from ddrep_core.errors import RequestError
from ddrep_core.priors import load_prior, self_check, single_file
from ddrep_core.priors.single_file import KNOWN, clip_tokenizer

OPEN = "conditioner.embedders.1.model."


def text_model(projection: int | None = None, seed: int = 0) -> Any:
    """A small CLIP with the real vocabulary and length."""
    kind = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    told = json.loads((KNOWN / "sd1.json").read_text())["text_encoder"]
    small = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 3, "num_attention_heads": 4}
    with tiny_models.seeded(seed):
        return kind(transformers.CLIPTextConfig(**told | small | {"projection_dim": projection or 32})).eval()


def config_of(network: Any) -> dict[str, Any]:
    told = network.config.to_dict() if hasattr(network.config, "to_dict") else dict(network.config)
    return json.loads(json.dumps({k: v for k, v in told.items() if not k.startswith("_")}, default=str))


def build(kind: str, folder: Path) -> tuple[Path, Path, Path]:
    """A folder in diffusers' format, a checkpoint with the same weights, and the configurations to know it by."""
    prediction = "v_prediction" if kind == "sd2" else "epsilon"
    scheduler = tiny_models.ddim_scheduler(prediction)
    vae = tiny_models.autoencoder(scaling_factor=0.13025 if kind == "sdxl" else 0.18215)
    pad = "!" if kind == "sd2" else "<|endoftext|>"
    parts: dict[str, Any] = {"vae": vae, "text_encoder": text_model(seed=1), "tokenizer": clip_tokenizer(pad)}
    if kind == "sdxl":
        parts |= {"text_encoder_2": text_model(32, seed=2), "tokenizer_2": clip_tokenizer("!")}
        unet = tiny_models.sdxl_unet()
        pipeline = diffusers.StableDiffusionXLPipeline(unet=unet, scheduler=scheduler, add_watermarker=False, **parts)
    else:
        unet = tiny_models.unet(use_linear_projection=kind == "sd2")
        pipeline = diffusers.StableDiffusionPipeline(
            unet=unet, scheduler=scheduler, safety_checker=None, feature_extractor=None,
            requires_safety_checker=False, **parts,
        )  # fmt: skip
    pipeline.save_pretrained(folder / "folder")
    weights = ldm_names.unet_names(unet.state_dict(), 1) | ldm_names.vae_names(vae.state_dict(), 2)
    text = parts["text_encoder"].state_dict()
    plain = {key.removeprefix("text_model."): weight for key, weight in text.items()}
    if kind == "sd2":
        weights |= ldm_names.open_clip_names(text, "cond_stage_model.model.")
    elif kind == "sd1":
        weights |= {f"cond_stage_model.transformer.text_model.{key}": weight for key, weight in plain.items()}
        weights["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    else:
        weights |= {f"conditioner.embedders.0.transformer.text_model.{key}": w for key, w in plain.items()}
        weights |= ldm_names.open_clip_names(parts["text_encoder_2"].state_dict(), OPEN)
        weights[f"{OPEN}logit_scale"] = torch.ones(())
    weights |= {"betas": torch.ones(3), "model_ema.decay": torch.ones(())}
    file = folder / "someones mix.safetensors"
    save_file({key: weight.contiguous() for key, weight in weights.items()}, file)
    known = folder / "known"
    known.mkdir()
    told = json.loads((KNOWN / f"{kind}.json").read_text())
    networks = {"unet": unet, "vae": vae} | {part: value for part, value in parts.items() if part.startswith("text")}
    told |= {part: config_of(network) for part, network in networks.items()}
    (known / f"{kind}.json").write_text(json.dumps(told))
    return folder / "folder", file, known


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_a_checkpoint_is_the_folder_with_the_same_weights(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, file, known = build(kind, tmp_path)
    monkeypatch.setattr(single_file, "KNOWN", known)
    monkeypatch.setattr(self_check, "likeliest", lambda prior, candidates: candidates[1])

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a file must not cause a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    priors = [load_prior(source, device="cpu") for source in (folder, file)]
    assert priors[0].levels.prediction == priors[1].levels.prediction
    torch.testing.assert_close(priors[1].sigmas, priors[0].sigmas, rtol=1e-6, atol=0)
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    noise = [p.predict_noise(x, 2.0, p.condition("a wooden cow", "blurry", guidance_scale=3.0)) for p in priors]
    assert noise[0].std() > 0.1
    torch.testing.assert_close(noise[1], noise[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(priors[1].decode(x), priors[0].decode(x), rtol=0, atol=1e-6)
    torch.testing.assert_close(priors[1].encode(priors[0].decode(x)), priors[0].encode(priors[0].decode(x)))
    assert priors[1].default_guidance_scale == priors[0].default_guidance_scale


def test_the_tokenizer_is_clips() -> None:
    ids = clip_tokenizer("!")("a photo of a cat", padding="max_length", max_length=9)["input_ids"]
    assert ids == [49406, 320, 1125, 539, 320, 2368, 49407, 0, 0]  # as everybody's CLIP has it
    ids = clip_tokenizer("<|endoftext|>")("A  Photo,of a CAT", padding="max_length", max_length=9)["input_ids"]
    assert ids == [49406, 320, 1125, 267, 539, 320, 2368, 49407, 49407]


@pytest.mark.parametrize(
    ("kind", "part", "name", "count"),
    [
        ("sd1", "unet", "UNet2DConditionModel", 859_520_964),
        ("sd2", "unet", "UNet2DConditionModel", 865_910_724),
        ("sdxl", "unet", "UNet2DConditionModel", 2_567_463_684),
        ("sd1", "vae", "AutoencoderKL", 83_653_863),
        ("sd1", "text_encoder", "CLIPTextModel", 123_060_480),
        ("sdxl", "text_encoder_2", "CLIPTextModelWithProjection", 694_659_840),
        ("sd2", "text_encoder", "CLIPTextModel", 340_387_840),
    ],
)
def test_the_configurations_are_those_of_the_real_models(kind: str, part: str, name: str, count: int) -> None:
    told = json.loads((KNOWN / f"{kind}.json").read_text())[part]
    with init_empty_weights():
        if part.startswith("text"):
            network = getattr(transformers, name)(transformers.CLIPTextConfig(**told))
        else:
            network = getattr(diffusers, name).from_config(told)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["lora_unet_down_blocks_0.lora_up.weight"], "is a LoRA"),
        (["double_blocks.0.img_attn.qkv.weight"], "FLUX"),
        (["model.diffusion_model.joint_blocks.0.x"], "Stable Diffusion 3 checkpoint"),
        (["control_model.input_blocks.0.0.weight"], "is a ControlNet"),
        (["conditioner.embedders.0.model.ln_final.weight"], "refiner"),
        (["model.diffusion_model.input_blocks.0.0.weight"], "without its text encoders"),
        (["encoder.down.0.block.0.conv1.weight"], "autoencoder alone"),
        (["x"], "does not know"),
    ],
)
def test_files_that_are_no_checkpoint(tmp_path: Path, keys: list[str], message: str) -> None:
    save_file(dict.fromkeys(keys, torch.zeros(1)), tmp_path / "file.safetensors")
    with pytest.raises(RequestError, match=message):
        load_prior(tmp_path / "file.safetensors", device="cpu")
    (tmp_path / "file.ckpt").write_bytes(b"PK\x03\x04")
    with pytest.raises(RequestError, match="pickled checkpoints can run code"):
        load_prior(tmp_path / "file.ckpt", device="cpu")


def test_a_checkpoint_may_say_that_it_predicts_a_velocity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, file, known = build("sdxl", tmp_path)
    monkeypatch.setattr(single_file, "KNOWN", known)
    from safetensors.torch import load_file

    save_file(load_file(file) | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, file)
    prior = load_prior(file, device="cpu")
    assert prior.levels.prediction == "v_prediction" and bool(prior.sigmas[0].isinf())
