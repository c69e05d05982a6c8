"""IP-Adapters: a reference picture gives the same latents as in diffusers' own pipelines."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import tiny_models
import torch
from PIL import Image
from safetensors.torch import save_file
from test_priors_diffusers import NEGATIVE, PROMPT, assert_parity, ddrep_latents, randn, vp_levels
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ddrep_core.errors import RequestError
from ddrep_core.priors import load_prior
from ddrep_core.priors.adapters.ip_adapter import IpAdapter, clip_pixels, parse_reference
from ddrep_core.priors.diffusers_prior import DiffusersPrior

STEPS = 2  # what is told wrongly shows in the first
SEEN, WIDTH = 32, 24  # pixels that the image encoder sees; of its embeddings


def image_encoder(folder: Path, width: int = WIDTH) -> Path:
    with tiny_models.seeded(0):
        model = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=40,
                intermediate_size=37,
                num_hidden_layers=3,
                num_attention_heads=4,
                image_size=SEEN,
                patch_size=8,
                projection_dim=width,
            )
        )
        tiny_models.enlarge(model, 2.0)
    model.save_pretrained(folder)
    return folder


def drawn(*shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape) * scale / math.sqrt(shape[-1])


def projection(kind: str, cross: int) -> dict[str, Tensor]:
    """Named as in the files that the adapters' authors hand out."""
    norm = {"norm.weight": torch.ones(cross), "norm.bias": torch.zeros(cross)}
    if kind == "plain":
        return {"proj.weight": drawn(4 * cross, WIDTH), "proj.bias": drawn(4 * cross), **norm}
    if kind == "full":
        return {
            "proj.0.weight": drawn(40, 40),
            "proj.0.bias": drawn(40),
            "proj.2.weight": drawn(cross, 40),
            "proj.2.bias": drawn(cross),
            "proj.3.weight": torch.ones(cross),
            "proj.3.bias": torch.zeros(cross),
        }
    inner, heads = 64, 64
    parts = {
        "latents": torch.randn(1, 5, inner),
        "proj_in.weight": drawn(inner, 40),
        "proj_in.bias": drawn(inner),
        "proj_out.weight": drawn(cross, inner),
        "proj_out.bias": drawn(cross),
        "norm_out.weight": torch.ones(cross),
        "norm_out.bias": torch.zeros(cross),
    }
    for layer in range(4):
        for norm in ("0.norm1", "0.norm2", "1.0"):
            parts[f"layers.{layer}.{norm}.weight"] = torch.ones(inner)
            parts[f"layers.{layer}.{norm}.bias"] = torch.zeros(inner)
        parts[f"layers.{layer}.0.to_q.weight"] = drawn(heads, inner)
        parts[f"layers.{layer}.0.to_kv.weight"] = drawn(2 * heads, inner)
        parts[f"layers.{layer}.0.to_out.weight"] = drawn(inner, heads)
        parts[f"layers.{layer}.1.1.weight"] = drawn(4 * inner, inner)
        parts[f"layers.{layer}.1.3.weight"] = drawn(inner, 4 * inner)
    return parts


def write_adapter(file: Path, unet: Any, kind: str = "plain") -> Path:
    with tiny_models.seeded(7):
        cross = unet.config.cross_attention_dim
        weights = {f"image_proj.{key}": value for key, value in projection(kind, cross).items()}
        for number, name in enumerate(n for n in unet.attn_processors if "attn2" in n):
            width = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape[0]
            for piece in ("to_k_ip", "to_v_ip"):
                weights[f"ip_adapter.{2 * number + 1}.{piece}.weight"] = drawn(width, cross, scale=3)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, file)
    return file


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.build_sd(folder / "sd")
    tiny_models.build_sdxl(folder / "sdxl")
    tiny_models.build_sd3(folder / "sd3", t5=False)
    image_encoder(folder / "models" / "image_encoder")  # as in the adapters' own repository
    for kind in ("plain", "plus", "full"):
        write_adapter(folder / "models" / f"ip-adapter-{kind}_sd15.safetensors", tiny_models.unet(), kind)
    write_adapter(folder / "sdxl_models" / "ip-adapter_sdxl_vit-h.safetensors", tiny_models.sdxl_unet())
    return folder


def picture(seed: int = 0, width: int = 70, height: int = 50) -> Image.Image:
    coarse = randn(3, 4, 5, seed=seed).mul(60).add(128).clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def tensor(image: Image.Image) -> Tensor:
    return (
        torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        .reshape(1, image.height, image.width, 3)
        .permute(0, 3, 1, 2)
        .float()
        / 255
    )


def loaded(models: Path, model: str, file: str, scale: float = 1.0) -> DiffusersPrior:
    return load_prior(models / model, device="cpu", ip_adapter=IpAdapter(models / file, scale=scale))


@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("sd", "models/ip-adapter-plain_sd15.safetensors"),
        ("sd", "models/ip-adapter-plus_sd15.safetensors"),
        ("sd", "models/ip-adapter-full_sd15.safetensors"),
        ("sdxl", "sdxl_models/ip-adapter_sdxl_vit-h.safetensors"),
    ],
)
def test_parity_with_the_pipelines(models: Path, model: str, file: str) -> None:
    kind = diffusers.StableDiffusionPipeline if model == "sd" else diffusers.StableDiffusionXLPipeline
    pipeline = kind.from_pretrained(
        models / model,
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(models / "models" / "image_encoder"),
        feature_extractor=None,
    )
    folder, name = file.split("/")
    pipeline.load_ip_adapter(models, subfolder=folder, weight_name=name, image_encoder_folder=None)
    pipeline.set_ip_adapter_scale(0.7)
    noise, shown = randn(1, 4, 16, 16, seed=4), picture()
    theirs = pipeline(
        PROMPT,
        ip_adapter_image=shown,
        negative_prompt=NEGATIVE,
        guidance_scale=6.0,
        num_inference_steps=STEPS,
        latents=noise.clone(),
        output_type="latent",
    ).images
    levels = vp_levels(pipeline.scheduler, STEPS)
    prior = loaded(models, model, file, 0.7)
    assert prior.controls == {"reference"}
    words = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 6.0}
    start = noise * math.sqrt(1 + levels[0] ** -2)
    told = {"reference": tensor(shown)}
    assert_parity(ddrep_latents(prior, start, levels, controls=told, **words), theirs)
    with_it, without = (prior.predict_noise(noise, 5.0, prior.condition(PROMPT, controls=c)) for c in (told, None))
    assert (with_it - without).abs().max() > 0.05  # the picture makes a difference
    plain = load_prior(models / model, device="cpu")
    # … and where there is none, the adapter makes none.
    assert torch.equal(without, plain.predict_noise(noise, 5.0, plain.condition(PROMPT)))


def test_clip_sees_what_transformers_shows_it() -> None:
    from transformers import CLIPImageProcessor

    for width, height in ((70, 50), (33, 90), (32, 32), (20, 31)):
        shown = picture(1, width, height)
        theirs = CLIPImageProcessor(size=SEEN, crop_size=SEEN)(shown, return_tensors="pt").pixel_values[0]
        torch.testing.assert_close(clip_pixels(tensor(shown)[0], SEEN), theirs, rtol=0, atol=1e-5)


def test_each_view_has_its_own_picture(models: Path) -> None:
    prior = loaded(models, "sd", "models/ip-adapter-plain_sd15.safetensors")
    a, b = tensor(picture(1)), tensor(picture(2))
    x = randn(3, 4, 16, 16)
    several = prior.condition(PROMPT, controls={"reference": torch.cat([a, b, a])})
    assert several.references is not None and len(several.references) == 3  # nothing, a, b
    whole = prior.predict_noise(x, 5.0, several)
    alone = prior.predict_noise(x[1:2], 5.0, several[[1]])
    torch.testing.assert_close(whole[1:2], alone, rtol=0, atol=1e-3)
    of_a = prior.predict_noise(x, 5.0, prior.condition(PROMPT, controls={"reference": a}))
    torch.testing.assert_close(whole[[0, 2]], of_a[[0, 2]], rtol=0, atol=1e-3)
    assert (whole[1] - of_a[1]).abs().max() > 1e-2
    with pytest.raises(RequestError, match=r"Reference must be \[V, 3, H, W\]"):
        prior.condition(PROMPT, controls={"reference": torch.zeros(2, 1, 8, 8)})


def faceid(models: Path, folder: Path) -> Path:
    weights = {"image_proj.proj.0.weight": torch.zeros(4, 4), "image_proj.norm.weight": torch.zeros(4)}
    save_file(weights, folder / "faceid.safetensors")
    return folder / "faceid.safetensors"


def pickled(models: Path, folder: Path) -> Path:
    (folder / "ip-adapter_sd15.bin").write_bytes(b"PK\x03\x04")
    return folder


def disguised(models: Path, folder: Path) -> Path:
    (folder / "ip-adapter_sd15.safetensors").write_bytes(b"PK\x03\x04 and so on")
    return folder / "ip-adapter_sd15.safetensors"


def with_another_encoder(models: Path, folder: Path) -> Path:
    image_encoder(folder / "image_encoder", WIDTH + 1)
    return Path(shutil.copy(models / "models/ip-adapter-plain_sd15.safetensors", folder))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (lambda models, _: models / "sdxl_models", "made for another family than .*16 x 64|another family.*attentions"),
        (lambda models, _: models / "nowhere.safetensors", "no IP-Adapter called"),
        (lambda models, _: models / "models", "several IP-Adapters"),
        (lambda models, _: models / "sd/unet/diffusion_pytorch_model.safetensors", "is no IP-Adapter"),
        (faceid, "of another kind"),
        (pickled, "is a pickle"),
        (disguised, "pickle under another name"),
        (with_another_encoder, f"projection_dim is {WIDTH}.*found.*{WIDTH + 1}"),
    ],
)
def test_what_is_refused(models: Path, tmp_path: Path, file: Callable[[Path, Path], Path], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        load_prior(models / "sd", device="cpu", ip_adapter=IpAdapter(file(models, tmp_path)))


def test_the_family_counts(models: Path) -> None:
    file = models / "models/ip-adapter-plain_sd15.safetensors"
    with pytest.raises(RequestError, match="made for another family"):
        load_prior(models / "sdxl", device="cpu", ip_adapter=IpAdapter(file))
    with pytest.raises(RequestError, match="IP-Adapter cannot be used with"):
        load_prior(models / "sd3", device="cpu", ip_adapter=IpAdapter(file))


def test_how_a_reference_is_named() -> None:
    assert parse_reference("oil.png") == (Path("oil.png"), 1.0)
    assert parse_reference("oil.png:0.6") == (Path("oil.png"), 0.6)
    assert parse_reference("C:\\oil.png") == (Path("C:\\oil.png"), 1.0)
    for text in ("oil.png:-1", "oil.png:nan", "oil.png:11"):
        with pytest.raises(RequestError, match="counts 0 to 10 times"):
            parse_reference(text)
