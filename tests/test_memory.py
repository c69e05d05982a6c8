"""What a model needs is told before it runs, and large pictures are worked on in tiles where memory is short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import tiny_models
import torch
import transformers
from accelerate import init_empty_weights
from test_ip_adapter import image_encoder, write_adapter

from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.errors import RequestError
from ddrep_core.jobs import doctor
from ddrep_core.priors import autoencoder, finite, load_prior, memory, self_check
from ddrep_core.priors.adapters.controlnet import Control
from ddrep_core.priors.adapters.ip_adapter import IpAdapter
from ddrep_core.priors.load import BUNDLED
from ddrep_core.priors.memory import count_weights, memory_needs
from ddrep_core.priors.model_folder import ModelFolder
from ddrep_core.priors.networks import UNet
from ddrep_core.priors.single_file import KNOWN
from ddrep_core.sampling import ddim_schedule, sample

GB = 2**30


def sparse_weights(path: Path, network: Any) -> None:
    """A safetensors file of the right size and header whose numbers take no disk."""
    header, offset = {}, 0
    for key, tensor in network.state_dict().items():
        end = offset + 2 * tensor.numel()
        header[key] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)


def real_folder(kind: str, folder: Path) -> Path:
    """A folder of a real model's size, without its numbers."""
    told = json.loads((KNOWN / f"{kind}.json").read_text())
    classes = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}
    classes |= {"text_encoder_2": "CLIPTextModelWithProjection"} if kind == "sdxl" else {}
    index: dict[str, Any] = {"scheduler": ["diffusers", "DDIMScheduler"]}
    for part, name in classes.items():
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(json.dumps(told[part]))
        text = part.startswith("text")
        index[part] = ["transformers" if text else "diffusers", name]
        with init_empty_weights():
            if text:
                network = getattr(transformers, name)(transformers.CLIPTextConfig(**told[part]))
                index[part.replace("text_encoder", "tokenizer")] = ["transformers", "CLIPTokenizer"]
                tokenizer = folder / part.replace("text_encoder", "tokenizer")
                tokenizer.mkdir()
                (tokenizer / "vocab.json").write_text("{}")
            else:
                network = getattr(diffusers, name).from_config(told[part])
        sparse_weights(folder / part / f"{'model' if text else 'diffusion_pytorch_model'}.safetensors", network)
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(told["scheduler"]))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(("kind", "weights", "most"), [("sd1", 2.0, 6.0), ("sdxl", 6.5, 12.0)])
def test_real_sizes_fit_the_cards_that_artists_have(kind: str, weights: float, most: float, tmp_path: Path) -> None:
    needs = memory_needs(ModelFolder(real_folder(kind, tmp_path / kind), kind), torch.float16)
    assert needs.weights["unet"] / GB == pytest.approx(1.601 if kind == "sd1" else 4.782, abs=0.002)
    assert sum(needs.weights.values()) < (weights + 0.5) * GB
    assert needs.least < needs.comfortable < most * GB
    assert needs.least > needs.resident


def test_needs_are_those_of_the_weights(tmp_path: Path) -> None:
    folder = ModelFolder(tiny_models.build_sd(tmp_path / "sd"), "tiny")
    needs = memory_needs(folder, torch.float32)
    prior = load_prior(tmp_path / "sd", device="cpu")
    network = prior.network.unet  # type: ignore[attr-defined]
    assert needs.weights["unet"] == sum(4 * p.numel() for p in network.parameters())
    assert needs.weights["vae"] == sum(4 * p.numel() for p in prior.autoencoder.network.parameters())
    half = memory_needs(folder, torch.float16)
    assert half.weights["unet"] * 2 == needs.weights["unet"] and "unet" in str(half) and "MB" in str(half)
    assert count_weights(folder.files.weight_files("unet", half=False)) == network.num_parameters()
    assert memory_needs(ModelFolder(BUNDLED, "bundled"), torch.float32).weights["controlnet"] > 0


def test_what_stands_beside_a_prior_is_counted(tmp_path: Path) -> None:
    folder = ModelFolder(tiny_models.build_sd(tmp_path / "sd"), "tiny")
    for number, name in enumerate(("depth", "canny")):
        tiny_models.build_controlnet(tmp_path / name, tiny_models.unet(), number)
    encoder = image_encoder(tmp_path / "image_encoder")
    adapter = IpAdapter(write_adapter(tmp_path / "ip-adapter.safetensors", tiny_models.unet(), "plus"))
    plain = memory_needs(folder, torch.float32)
    needs = memory_needs(folder, torch.float32, [tmp_path / "depth", tmp_path / "canny"], adapter)
    controls = [Control(str(tmp_path / name)) for name in ("depth", "canny")]
    prior = load_prior(tmp_path / "sd", device="cpu", controlnets=controls, ip_adapter=adapter)
    network = prior.network
    assert isinstance(network, UNet) and network.listener is not None
    here = sum(4 * p.numel() for one in network.controlnets for p in one.network.parameters())
    assert needs.weights["controlnet"] == here
    assert needs.weights["image_encoder"] == sum(4 * p.numel() for p in network.listener.encoder.parameters())
    heard = sum(4 * p.numel() for p in network.unet.parameters())
    assert needs.weights["unet"] + needs.weights["ip_adapter"] == heard
    # The image encoder leaves when it has looked.
    assert needs.resident == plain.resident + here + needs.weights["ip_adapter"]
    assert "ip_adapter" in str(needs) and "image_encoder" in str(needs)
    encoder.rename(tmp_path / "elsewhere")
    with pytest.raises(RequestError, match="needs a CLIP vision model"):
        memory_needs(folder, torch.float32, ip_adapter=adapter)
    checks = doctor._prior_checks(doctor.Model(str(tmp_path / "sd"), device="cpu", ip_adapter=adapter))
    assert [c["ok"] for c in checks] == [False] and "--image-encoder" in checks[0]["fix"]
    told = IpAdapter(adapter.file, tmp_path / "elsewhere")
    checks = doctor._prior_checks(doctor.Model(str(tmp_path / "sd"), device="cpu", ip_adapter=told))
    assert checks[0]["ok"] and "image_encoder" in checks[0]["message"] and "ip-adapter" in checks[1]["message"]
    checks = doctor._prior_checks(doctor.Model(str(tmp_path / "sd"), (Control("no/where"),), device="cpu"))
    assert not checks[0]["ok"] and "nothing may be fetched" in checks[0]["message"]


def test_doctor_examines_a_prior(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_models.build_sd(tmp_path / "sd")
    checks = doctor._prior_checks(doctor.Model(str(tmp_path / "sd"), device="cpu"))
    assert [c["name"] for c in checks] == ["memory", "prior"]
    assert checks[0]["ok"] and "at least" in checks[0]["message"] and "free" in checks[0]["message"]
    assert not checks[1]["ok"] and "does not do what its files say" in checks[1]["message"] and checks[1]["fix"]
    monkeypatch.setattr(doctor, "_free_memory", lambda device: (1000.0, "the graphics card"))
    checks = doctor._prior_checks(doctor.Model(str(tmp_path / "sd"), device="cpu"))
    assert len(checks) == 1 and not checks[0]["ok"]  # it is not loaded to find out
    assert "the graphics card has 0.0 GB free" in checks[0]["message"] and "--precision fp16" in checks[0]["fix"]
    missing = doctor._prior_checks(doctor.Model("no/where", device="cpu"))
    assert not missing[0]["ok"] and "nothing may be fetched" in missing[0]["message"]


def test_a_picture_too_large_for_the_memory_that_is_left_is_decoded_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = load_prior("bundled", device="cpu")
    smooth = prior.encode(self_check.test_pictures(160)[:1])
    whole = prior.decode(smooth)
    monkeypatch.setattr(autoencoder, "TILE", 16)
    assert torch.equal(prior.decode(smooth), whole)  # nothing changes where there is room
    seen = []
    decode = prior.autoencoder.network.decoder.forward
    monkeypatch.setattr(
        prior.autoencoder.network.decoder, "forward", lambda z, *a: (seen.append(z.shape), decode(z, *a))[1]
    )
    monkeypatch.setattr(autoencoder, "free_bytes", lambda device: 1e6)
    tiled = prior.decode(torch.cat([smooth, smooth]))
    assert {shape[0] for shape in seen} == {1} and max(shape[-1] for shape in seen) == 16
    assert float((tiled[:1] - whole).abs().mean()) < 0.05
    assert prior.encode(tiled).shape == (2, 4, 40, 40)


def test_pictures_are_batched_by_the_memory_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = load_prior("bundled", device="cpu")
    picture = autoencoder.picture_bytes(prior.autoencoder._width, 64 * 64)
    monkeypatch.setattr(autoencoder, "free_bytes", lambda device: 3.1 * picture / autoencoder.SHARE_OF_FREE)
    assert prior.autoencoder._limit(64 * 64).rows == 3
    assert not prior.autoencoder.network.use_tiling


class Ledger:
    """Which networks' weights a make-believe device holds; the weights themselves stay where they are."""

    def __init__(self, prior: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.networks = {"unet": prior.network.unet, "vae": prior.autoencoder.network}
        self.present = {"unet", "vae"}
        self.peaks: dict[str, int] = {}
        self.moves: list[str] = []
        vae = prior.autoencoder.network
        monkeypatch.setattr(prior.autoencoder, "device", torch.device("cpu", 0))  # the device; "cpu" is main memory
        monkeypatch.setattr(vae, "to", self.move)
        for name, network, method in (("unet", prior.network.unet, "forward"), ("decode", vae, "decode")):
            monkeypatch.setattr(network, method, self.counted(name, getattr(network, method)))

    def move(self, device: torch.device | str) -> None:
        self.moves.append(str(device))
        (self.present.discard if torch.device(device) == torch.device("cpu") else self.present.add)("vae")

    def bytes(self) -> int:
        return sum(4 * p.numel() for name in self.present for p in self.networks[name].parameters())

    def counted(self, name: str, call: Any) -> Any:
        def counting(*args: Any, **told: Any) -> Any:
            self.peaks[name] = max(self.peaks.get(name, 0), self.bytes())
            return call(*args, **told)

        return counting


def test_an_autoencoder_waits_in_main_memory_where_room_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_models.build_sd(tmp_path / "sd")
    assert not load_prior(folder, device="cpu").autoencoder.rests  # a processor has one memory
    needs = memory_needs(ModelFolder(folder, "sd"), torch.float32)
    monkeypatch.setattr(autoencoder, "free_bytes", lambda device: needs.autoencoder + memory.VIEWS * needs.view)
    assert not load_prior(folder, device="cpu").autoencoder.rests
    monkeypatch.setattr(autoencoder, "free_bytes", lambda device: needs.autoencoder + memory.VIEWS * needs.view - 1)
    prior = load_prior(folder, device="cpu")
    assert prior.autoencoder.rests
    ledger = Ledger(prior, monkeypatch)
    conditioning, x = prior.condition("a cow"), torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        prior.predict_noise(x, 5.0, conditioning)
        prior.encode(prior.decode(prior.predict_clean(x, 5.0, conditioning)))
    prior.predict_noise(x, 5.0, conditioning)
    assert ledger.moves == ["cpu", *["cpu:0", "cpu"] * 3]  # it was tried out; then there and back once a meeting
    assert ledger.peaks["unet"] == needs.resident
    assert ledger.peaks["decode"] == needs.resident + needs.autoencoder
    # While a gradient is still to flow through it, it stays.
    pictures = prior.decode(x.clone().requires_grad_(True))
    prior.predict_noise(x, 5.0, conditioning)
    assert ledger.moves[-1] == "cpu:0"
    pictures.sum().backward()


class Late:
    """An answer that arrives when it is told to."""

    here = False

    def __init__(self, yes: torch.Tensor) -> None:
        self.yes, self.waited = bool(yes), False

    def arrived(self) -> bool:
        return Late.here

    def read(self) -> bool:
        self.waited = not Late.here
        return self.yes


class OnDevice:
    """A tensor of a device that works on its own."""

    is_cuda = True

    def __init__(self, finite: bool) -> None:
        self.finite = finite

    def isfinite(self) -> OnDevice:
        return self

    def all(self) -> OnDevice:
        return self

    def __bool__(self) -> bool:
        return self.finite


def test_what_is_not_finite_is_found_out_without_waiting() -> None:
    watch = finite.FiniteWatch(autoencoder._not_finite, Late)
    Late.here = False
    for good in (True, False, True):
        watch.see(OnDevice(good))  # type: ignore[arg-type]
    watch.look()  # nothing has arrived: nothing is said, and nobody waits
    assert not any(answer.waited for answer in watch._under_way)  # type: ignore[attr-defined]
    Late.here = True
    with pytest.raises(autoencoder.NotFiniteError):
        watch.look()
    watch.settle()  # said once
    Late.here = False
    watch.see(OnDevice(False))  # type: ignore[arg-type]
    with pytest.raises(autoencoder.NotFiniteError):
        watch.settle()


def test_a_run_ends_by_hearing_what_was_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = load_prior("bundled", device="cpu")
    rep = LinearDiffrep(torch.eye(4 * 16 * 16), image_shape=(4, 16, 16))
    prior.autoencoder.watch._under_way.append(Late(torch.tensor(False)))
    Late.here = False
    with pytest.raises(autoencoder.NotFiniteError):
        sample(rep, prior, schedule=ddim_schedule(prior.sigmas, 1))
    with pytest.raises(autoencoder.NotFiniteError):  # on a CPU at once
        prior.decode(torch.full((1, 4, 16, 16), torch.nan))


def test_a_checkpoint_that_is_missing_says_so() -> None:
    with pytest.raises(RequestError, match="no prior called"):
        load_prior("./nothing.safetensors", device="cpu")
