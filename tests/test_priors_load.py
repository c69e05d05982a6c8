"""Loading priors by name, and everything that can be wrong with a name."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import tiny_models
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

import ddrep_core as dd
from ddrep_core.errors import RequestError, RunError
from ddrep_core.priors import load, load_prior
from ddrep_core.priors.diffusers_prior import view_prompts
from ddrep_core.priors.hub import is_hub_id, needed_files
from ddrep_core.priors.model_files import choose_weights


@pytest.fixture
def model(tiny_sd: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(tiny_sd, tmp_path / "model"))


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_is_loaded_without_any_connection(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments, **options):
        raise AssertionError("a folder must not cause a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    prior = load_prior(str(tiny_sd), device="cpu")
    assert prior.predict_noise(torch.zeros(1, 4, 16, 16), 1.0, prior.condition("cow")).isfinite().all()


def test_loading_says_nothing(tiny_sd: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_prior(tiny_sd, device="cpu")
    assert capfd.readouterr() == ("", "")


def test_the_models_own_guidance(model: Path) -> None:
    (model / "ddrep.json").write_text('{"guidance_scale": 2.5}')
    assert load_prior(model, device="cpu").default_guidance_scale == 2.5


def test_the_models_own_words_for_directions(model: Path) -> None:
    assert load_prior(model, device="cpu").directions is None
    told = {"directions": {"around": ["face", "left flank", "tail", "right flank"], "from_above": "from the sky"}}
    (model / "ddrep.json").write_text(json.dumps(told))
    prior = load_prior(model, device="cpu")
    seen = view_prompts("a cow", dd.orbit_views(count=4, elevations=(0.0, 40.0)), prior.directions)
    assert seen == ["a cow, face", "a cow, left flank from the sky", "a cow, tail", "a cow, right flank from the sky"]
    conditioning = prior.condition("a cow", views=dd.orbit_views(count=4, elevations=(0.0, 40.0)))
    assert len(conditioning.prompts.unique()) == 4


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"guidance_scale": "strong"}, "guidance_scale of 'strong'.*Write a number"),
        ({"guidance_scale": -1}, "guidance_scale of -1"),
        ({"directions": ["front view"]}, "directions of .*Write"),
        ({"directions": {"sides": ["front view"]}}, "directions of .*Write"),
        ({"directions": {"around": []}}, "directions that are no words.*List words"),
        ({"directions": {"around": ["front view"], "from_above": 3}}, "directions that are no words"),
    ],
)
def test_settings_that_a_model_cannot_have(model: Path, told: dict, message: str) -> None:
    (model / "ddrep.json").write_text(json.dumps(told))
    with pytest.raises(RequestError, match=message):
        load_prior(model, device="cpu")


def remove(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def pickle_only(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def damage(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def drop_a_weight(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["conv_in.weight"]
    save_file(weights, path)


def other_pipeline(folder: Path) -> None:
    index = {"_class_name": "HunyuanDiTPipeline", "transformer": ["diffusers", "HunyuanDiT2DModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))


def own_code(folder: Path) -> None:
    edit(folder / "model_index.json", vae=["my_code", "MyAutoencoder"])


def made_for_inpainting(folder: Path) -> None:
    tiny_models.unet(in_channels=9).save_pretrained(folder / "unet")


def edm(folder: Path) -> None:
    edit(folder / "scheduler" / "scheduler_config.json", _class_name="EDMEulerScheduler")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove("model_index.json"), "not a model in diffusers' format: it has no model_index.json"),
        (remove("vae"), "lacks 'vae'"),
        (remove("text_encoder/config.json"), "lacks 'text_encoder'"),
        (remove("scheduler/scheduler_config.json"), "lacks 'scheduler'"),
        (remove("vae/diffusion_pytorch_model.safetensors"), "part 'vae' .* has no weights"),
        (pickle_only, "only pickled weights, which can run code when opened.*safetensors"),
        (damage, "part 'unet' .* cannot be read"),
        (drop_a_weight, r"lacks 1 of its weights \(conv_in.weight"),
        (other_pipeline, "is a HunyuanDiTPipeline, which ddrep cannot use.*another kind.*Stable Diffusion 3"),
        (own_code, "is a MyAutoencoder, which ddrep does not know"),
        (made_for_inpainting, "sees 9 channels where its images have 4"),
        (edm, "noise schedule of EDM's kind"),
        (lambda folder: (folder / "model_index.json").write_text("{"), "model_index.json .* cannot be read"),
    ],
)
def test_folders_that_are_no_prior(model: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(model)
    with pytest.raises(RequestError, match=message):
        load_prior(model, device="cpu")


@pytest.mark.parametrize("name", ["nonsense", "./not/here", "/not/here", "a/b/c", ""])
def test_names_that_are_no_prior(name: str) -> None:
    with pytest.raises(RequestError, match=r"There is no prior called|not a model in diffusers' format"):
        load_prior(name, device="cpu")


def test_an_empty_file_is_not_a_prior(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.touch()
    with pytest.raises(RequestError, match=r"is no safetensors file, or was cut short"):
        load_prior(path, device="cpu")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert load.choose_device("auto") == torch.device("cpu")
    for name, message in (("cuda", "CUDA was asked for, but it is not available.*--device cpu"), ("gpu", "no kind of")):
        with pytest.raises(RequestError, match=message):
            load_prior("bundled", device=name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert load.choose_device("auto") == torch.device("cuda")
    with pytest.raises(RequestError, match="no GPU number 3: 1 were found"):
        load.choose_device("cuda:3")


def test_wrong_options(tiny_sd: Path) -> None:
    with pytest.raises(RequestError, match="no precision 'fp8'"):
        load_prior(tiny_sd, device="cpu", precision="fp8")
    with pytest.raises(RequestError, match="at least one row"):
        load_prior(tiny_sd, device="cpu", max_batch=0)
    with pytest.raises(RequestError, match="no ControlNet called 'nowhere'"):
        load_prior(tiny_sd, device="cpu", controlnet="nowhere")


def test_controlnets(model: Path, tmp_path: Path) -> None:
    tiny_models.build_controlnet(model / "controlnet", tiny_models.unet())
    assert load_prior(model, device="cpu").controls == {"depth"}  # its own is found
    tiny_models.build_controlnet(tmp_path / "other", tiny_models.unet(cross_attention=48))
    with pytest.raises(RequestError, match=r"made for another model .*cross_attention_dim is 48, not 32"):
        load_prior(model, device="cpu", controlnet=tmp_path / "other")
    (tmp_path / "other" / "config.json").unlink()
    with pytest.raises(RequestError, match="not a ControlNet in diffusers' format"):
        load_prior(model, device="cpu", controlnet=tmp_path / "other")


def test_the_bundled_prior_is_verified(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "BUNDLED", model)
    with pytest.raises(RequestError, match="not installed with this copy"):
        load_prior("bundled", device="cpu")
    files = [path for path in model.rglob("*") if path.is_file()]
    sums = {path.relative_to(model).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (model / "checksums.json").write_text(json.dumps(sums))
    assert load_prior(device="cpu").name == "bundled"
    config = model / "unet" / "config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(RequestError, match=r"file unet/config\.json is damaged"):
        load_prior("bundled", device="cpu")
    config.unlink()
    with pytest.raises(RequestError, match=r"lacks the file unet/config\.json"):
        load_prior("bundled", device="cpu")


class FakeHub:
    """A hub that knows one model, and what this machine has of it."""

    def __init__(self, model: Path, monkeypatch: pytest.MonkeyPatch, cached: bool) -> None:
        self.model, self.cached, self.fetched = model, cached, []
        for name in ("snapshot_download", "hf_hub_download", "list_repo_files"):
            monkeypatch.setattr(huggingface_hub, name, getattr(self, name))

    def snapshot_download(self, repository: str, allow_patterns=None, local_files_only: bool = False) -> str:
        if local_files_only and not self.cached:
            raise LocalEntryNotFoundError("not here")
        if not local_files_only:
            self.fetched += allow_patterns
        return str(self.model)

    def hf_hub_download(self, repository: str, name: str) -> str:
        return str(self.model / name)

    def list_repo_files(self, repository: str) -> list[str]:
        inside = [p.relative_to(self.model).as_posix() for p in self.model.rglob("*") if p.is_file()]
        return [
            *inside,
            "v1-5.ckpt",
            "v1-5.safetensors",
            "unet/diffusion_pytorch_model.bin",
            "safety_checker/model.safetensors",
        ]


def test_a_hub_id_uses_what_is_here(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub(tiny_sd, monkeypatch, cached=True)
    assert load_prior("someone/tiny", device="cpu", allow_download=False).name == "someone/tiny"
    assert hub.fetched == []


def test_a_hub_id_fetches_what_is_needed_and_no_more(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub(tiny_sd, monkeypatch, cached=False)
    with pytest.raises(RequestError, match="not on this machine, and nothing may be fetched"):
        load_prior("someone/tiny", device="cpu", allow_download=False)
    assert hub.fetched == []
    load_prior("someone/tiny", device="cpu")
    expected = {p.relative_to(tiny_sd).as_posix() for p in tiny_sd.rglob("*") if p.is_file()}
    assert set(hub.fetched) == expected


def test_a_hub_that_cannot_be_reached(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub(tiny_sd, monkeypatch, cached=False)

    def unreachable(repository: str) -> list[str]:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "list_repo_files", unreachable)
    with pytest.raises(RunError, match=r"cannot be fetched: no route.*folder on this machine"):
        load_prior("someone/tiny", device="cpu")
    assert hub.fetched == []


def test_which_weights() -> None:
    both = ["model.safetensors", "model.fp16.safetensors", "pytorch_model.bin"]
    assert choose_weights(both, half=True) == ["model.fp16.safetensors"]
    assert choose_weights(both, half=False) == ["model.safetensors"]
    assert choose_weights(["model.fp16.safetensors"], half=False) == ["model.fp16.safetensors"]
    assert choose_weights(["model.bin"], half=False) == []
    sharded = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    assert choose_weights(sharded, half=True) == sharded
    files = ["model_index.json", "README.md", "unet/config.json", *(f"unet/{name}" for name in both), "vae/config.json"]
    assert needed_files(files, ("unet",), half=True) == [
        "model_index.json",
        "unet/config.json",
        "unet/model.fp16.safetensors",
    ]


def test_hub_ids() -> None:
    assert is_hub_id("stabilityai/stable-diffusion-2-1")
    assert not any(map(is_hub_id, ("bundled", "./a/b", "/a/b", "a/b/c", "a\\b", "~/model", "a/..b/c", "https://x/y")))


def test_importing_ddrep_does_not_import_diffusers() -> None:
    code = "import sys, ddrep_core, ddrep_core.priors; print({'diffusers', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
