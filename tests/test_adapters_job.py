"""LoRAs, ControlNets and a reference picture from the command line to the page that shows the result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from geometry_shapes import cube_obj
from PIL import Image
from test_ip_adapter import image_encoder, picture, write_adapter
from test_lora import kohya_sd, random_pieces, write

from ddrep_core.cli import main
from ddrep_core.errors import RequestError
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.request import parse_request
from ddrep_core.jobs.wish import wish_of
from ddrep_core.priors import diffusers_prior, load_prior
from ddrep_core.priors.adapters.ip_adapter import PictureListener


@pytest.fixture
def ddrep(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line here; returns the exit status, standard output and standard error."""

    def run(*arguments: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ending:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err + captured.out
        return int(ending.value.code or 0), captured.out, " ".join(captured.err.split())

    return run


@pytest.fixture
def things(tmp_path: Path) -> Path:
    """What an artist has lying about."""
    tiny_models.build_controlnet(tmp_path / "control_depth", tiny_models.unet())
    tiny_models.build_controlnet(tmp_path / "some-control", tiny_models.unet(), 1)
    image_encoder(tmp_path / "image_encoder")
    write_adapter(tmp_path / "ip-adapter_sd15.safetensors", tiny_models.unet())
    picture().save(tmp_path / "Oil.PNG")
    cube_obj(tmp_path / "cube.obj")
    return tmp_path


def test_a_job_with_everything(
    ddrep: Callable[..., tuple[int, str, str]],
    things: Path,
    tiny_sd: Path,
    short_film: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    networks = {"unet": load_prior(tiny_sd, device="cpu").network.unet}  # type: ignore[attr-defined]
    write(things / "oil.safetensors", random_pieces(networks), kohya_sd)
    told: list[dict[str, torch.Tensor]] = []
    condition = diffusers_prior.DiffusersPrior.condition

    def heard(self: Any, *arguments: Any, **named: Any) -> Any:
        told.append(dict(named.get("controls") or {}))
        return condition(self, *arguments, **named)

    monkeypatch.setattr(diffusers_prior.DiffusersPrior, "condition", heard)
    job = things / "job"
    status, _, err = ddrep(
        "texture", things / "cube.obj", "-p", "a cow", "--prior", tiny_sd, "--steps", 1, "--schedule", "plain",
        "--resolution", 32, "--cameras", "orbit:2", "--out", job,
        "--controlnet", things / "control_depth",
        "--controlnet", f"{things / 'some-control'}:lineart:0.5",
        "--lora", f"{things / 'oil.safetensors'}:0.25",
        "--reference", f"{things / 'Oil.PNG'}:0.6", "--ip-adapter", things / "ip-adapter_sd15.safetensors",
    )  # fmt: skip
    assert status == 0, err
    request = json.loads((job / "job.json").read_text())
    assert [(c["kind"], c["scale"]) for c in request["controlnets"]] == [(None, 1.0), ("lineart", 0.5)]
    assert request["reference"]["picture"] == "inputs/reference.png" and request["reference"]["scale"] == 0.6
    assert (job / "inputs/reference.png").read_bytes() == (things / "Oil.PNG").read_bytes()
    shapes = {name: tuple(signal.shape) for name, signal in told[-1].items()}
    assert shapes == {"depth": (2, 1, 32, 32), "lineart": (2, 1, 32, 32), "reference": (1, 3, 50, 70)}
    page = (job / "outputs/report.html").read_text()
    for words in ("oil.safetensors (0.25)", "some-control (lineart, 0.5)", "control_depth (1)", "reference.png"):
        assert words in page, page

    status, _, err = ddrep("run", job)  # the same again
    assert status == 0, err


def test_a_view_can_look_at_a_picture_of_its_own(
    ddrep: Callable[..., tuple[int, str, str]],
    things: Path,
    tiny_sd: Path,
    short_film: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[list[torch.Tensor]] = []
    look = PictureListener.look

    def watched(self: PictureListener, pictures: Any, *rest: Any) -> torch.Tensor:
        seen.append(list(pictures))
        return look(self, pictures, *rest)

    monkeypatch.setattr(PictureListener, "look", watched)
    Image.new("RGB", (20, 30), (0, 0, 255)).save(things / "blue.png")
    told = {
        "prompt": "a cow", "mesh": "cube.obj", "prior": str(tiny_sd), "steps": 1, "schedule": "plain",
        "cameras": "orbit:3", "resolution": 32, "reference": "Oil.PNG", "ip_adapter": "ip-adapter_sd15.safetensors",
    }  # fmt: skip

    def run(name: str, *views: str) -> tuple[int, str]:
        wish = wish_of("texture", {**told, "view_reference": list(views)}, things)
        create_job(things / name, wish.request, copies=wish.copies)
        status, _, err = ddrep("run", things / name)
        return status, err

    status, err = run("job", "orbit 2=blue.png")
    assert status == 0, err
    common, own = seen[-1]  # each different one is looked at once
    assert common.shape == own.shape == (3, 512, 512)
    assert torch.allclose(own.mean((1, 2)), torch.tensor([0.0, 0.0, 1.0]), atol=1e-3)
    assert json.loads((things / "job/job.json").read_text())["reference"]["cameras"] == [
        {"camera": "orbit 2", "file": "inputs/reference_0.png"}
    ]
    status, err = run("misspelt", "orbti 2=blue.png")
    assert status == 2 and "camera 'orbti 2', which is none" in err and "orbit 1" in err, err
    with pytest.raises(RequestError, match="Write CAMERA=PICTURE"):
        wish_of("texture", {**told, "view_reference": ["blue.png"]}, things)
    plain = wish_of("texture", told, things).request
    assert "cameras" not in parse_request({"schema_version": 1, **plain}).to_json()["reference"]


def test_one_plain_controlnet_is_the_job_that_it_was(
    ddrep: Callable[..., tuple[int, str, str]], things: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddrep_core.cli._run", lambda *arguments, **told: None)

    def job(*arguments: Any) -> dict[str, Any]:
        out = things / f"job{len(list(things.iterdir()))}"
        status, _, err = ddrep("texture", things / "cube.obj", "-p", "a cow", "--out", out, *arguments)
        assert status == 0, err
        return json.loads((out / "job.json").read_text())

    one = job("--controlnet", things / "control_depth")
    assert one["controlnet"] == str(things / "control_depth") and "controlnets" not in one
    none = job()
    assert none["controlnet"] is None and not {"controlnets", "reference", "loras"} & none.keys()
    kind = job("--controlnet", "owner/name:canny")
    assert kind["controlnets"] == [{"folder": "owner/name", "kind": "canny", "scale": 1.0}]


def test_what_does_not_go_together_is_said(ddrep: Callable[..., tuple[int, str, str]], things: Path) -> None:
    for arguments, words in (
        (("--reference", things / "Oil.PNG"), "wants an IP-Adapter"),
        (("--ip-adapter", things / "ip-adapter_sd15.safetensors"), "--reference PICTURE"),
        (("--reference", things / "no.png", "--ip-adapter", things / "x.safetensors"), "There is no picture"),
    ):
        status, _, err = ddrep("image", "-p", "a cow", "--out", things / "job", *arguments)
        assert status == 2 and words in err, err
    told = {"schema_version": 1, "task": "image", "prompt": "a cow"}
    for wrong in ({"controlnets": [{"folder": "x", "kind": "blur"}]}, {"reference": {"picture": "../x.png"}}):
        with pytest.raises(Exception, match=r"job\.json"):
            parse_request(told | wrong)


def test_doctor_examines_a_model_with_its_adapters(
    ddrep: Callable[..., tuple[int, str, str]], things: Path, tiny_sd: Path
) -> None:
    networks = {"unet": load_prior(tiny_sd, device="cpu").network.unet}  # type: ignore[attr-defined]
    write(things / "oil.safetensors", random_pieces(networks), kohya_sd)
    status, out, _ = ddrep(
        "doctor", "--prior", tiny_sd, "--lora", f"{things / 'oil.safetensors'}:0.5", "--device", "cpu",
        "--controlnet", f"{things / 'some-control'}:canny:0.5",
    )  # fmt: skip
    out = " ".join(out.split())
    assert status == 1 and "with oil.safetensors (0.5), some-control (0.5)" in out  # random weights prove nothing
    assert "controlnet" in out and "waits in main memory between meetings" in out
    status, _, err = ddrep("doctor", "--prior", tiny_sd, "--lora", f"{things / 'oil.safetensors'}:99")
    assert status == 2 and "A LoRA counts" in err
