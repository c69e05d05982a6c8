"""A model proves itself: right ones pass, and with any single setting falsified they are caught, and it is named.

The bundled prior is a trained model; a copy of its folder is falsified. (Random weights mean nothing by any setting.)
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch

from ddrep_core.priors import load_prior, self_check, verdicts
from ddrep_core.priors.adapters.controlnet import Control, ControlNet
from ddrep_core.priors.load import BUNDLED
from ddrep_core.priors.protocol import SIGNAL_CHANNELS
from ddrep_core.priors.self_check import Verdict, check_model, test_pictures, test_shapes

test_pictures.__test__ = test_shapes.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The bundled model without its ControlNet, to falsify."""
    return Path(shutil.copytree(BUNDLED, tmp_path / "model", ignore=shutil.ignore_patterns("controlnet", "*.png")))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DDREP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "verdicts"


def falsify(folder: Path, file: str, **changes: Any) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


SCHEDULER, VAE = "scheduler/scheduler_config.json", "vae/config.json"


def check(folder: Path) -> Verdict:
    prior = load_prior(folder, device="cpu")
    assert prior.origin is not None
    return check_model(prior, prior.origin.scheduler)


def test_a_right_model_passes_and_its_depth_is_heard() -> None:
    prior = load_prior("bundled", device="cpu")
    assert prior.controls == {"depth"}
    verdict = check_model(prior, prior.origin.scheduler if prior.origin else None)
    assert verdict.sound and not verdict.findings and "come back as they should" in str(verdict)
    assert 0.05 < verdict.errors[1.5] < verdict.errors[3.0] < verdict.errors[6.0] < 0.9


@pytest.mark.parametrize(
    ("file", "changes", "finding", "fix"),
    [
        (SCHEDULER, {"prediction_type": "epsilon"}, "it predicts velocity", '"prediction_type": "v_prediction"'),
        (SCHEDULER, {"prediction_type": "sample"}, "it predicts velocity", '"prediction_type": "v_prediction"'),
        (SCHEDULER, {"rescale_betas_zero_snr": True}, "without a signal-to-noise", '"rescale_betas_zero_snr": false'),
        (
            SCHEDULER,
            {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
            "betas from 0.00085 to 0.012, scaled_linear",
            '"beta_schedule": "scaled_linear"',
        ),
        (VAE, {"scaling_factor": 0.32}, "latents about .* times as large", '"scaling_factor": about 0.6'),
        (VAE, {"scaling_factor": 1.6}, "latents about .* times as large", '"scaling_factor": about 0.'),
        (
            SCHEDULER,
            {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
            "says? that it predicts a flow.*it predicts velocity",
            '"prediction_type": "v_prediction"',
        ),
    ],
)
def test_a_falsified_setting_is_found_and_named(
    copy: Path, file: str, changes: dict[str, Any], finding: str, fix: str
) -> None:
    falsify(copy, file, **changes)
    verdict = check(copy)
    assert not verdict.sound
    assert re.search(finding, str(verdict)), (str(verdict), verdict.errors)
    assert fix in verdict.fix


def test_untrained_weights_are_found(tmp_path: Path) -> None:
    verdict = check(tiny_models.build_sd(tmp_path / "random"))
    assert not verdict.sound


def test_a_controlnet_that_hears_nothing_is_found(copy: Path, tmp_path: Path) -> None:
    from diffusers import ControlNetModel, UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(copy / "unet")
    with tiny_models.seeded(0):
        deaf = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 64))  # its outputs are zero
    deaf.save_pretrained(tmp_path / "depth")
    prior = load_prior(copy, device="cpu", controlnet=tmp_path / "depth")
    verdict = check_model(prior, prior.origin.scheduler if prior.origin else None)
    assert not verdict.sound and "shown depth does not help" in str(verdict) and "near = white" in verdict.fix


@pytest.mark.parametrize("kind", ["normal", "canny", "lineart", "tile"])
def test_a_controlnet_of_another_kind_than_it_is_said_to_be_is_named(copy: Path, kind: str) -> None:
    """The bundled ControlNet hears depth."""
    prior = load_prior(copy, device="cpu", controlnets=[Control(str(BUNDLED / "controlnet"), kind)])
    assert self_check._Bench(prior).better_kind(kind) == "depth"
    if kind == "canny":  # in words, once
        verdict = check_model(prior, prior.origin.scheduler if prior.origin else None)
        assert not verdict.sound and "shown canny hears depth better" in str(verdict), str(verdict)
        assert "FOLDER:depth" in verdict.fix


@pytest.mark.parametrize("kind", list(SIGNAL_CHANNELS))
def test_a_controlnet_of_each_kind_proves_itself_by_its_own_signal(
    copy: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hears normals, say, is not at hand; the bundled one is made to hear them: of each shape's signal it is
    told the depth, and of what is no shape's signal nothing that would help. One that mistakes the shapes is found."""
    prior = load_prior(copy, device="cpu", controlnets=[Control(str(BUNDLED / "controlnet"), kind)])
    _, signals = test_shapes(self_check._Bench(prior).side)
    residuals, order = ControlNet.residuals, [0, 1, 2]

    def heard(self: ControlNet, x: Any, timesteps: Any, tokens: Any, added: Any, shown: torch.Tensor) -> Any:
        depth = torch.full((len(shown), 1, *shown.shape[-2:]), 0.5)
        for row, signal in enumerate(shown):
            if signal.shape == signals[kind].shape[1:]:
                apart = (signals[kind] - signal).abs().mean((1, 2, 3))
                if apart.min() < 1e-4:
                    depth[row] = signals["depth"][order[int(apart.argmin())]]
        return residuals(self, x, timesteps, tokens, added, depth)

    monkeypatch.setattr(ControlNet, "residuals", heard)
    bench = self_check._Bench(prior)
    assert bench.helps(kind) and bench.better_kind(kind) is None
    order[:] = [1, 2, 0]
    assert not bench.helps(kind) and bench.better_kind(kind) is None


def test_a_verdict_is_kept_until_the_model_changes(copy: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fake(prior: Any, scheduler: Any = None) -> Verdict:
        asked.append(scheduler)
        return Verdict(False, ("It is wrong.",), "Set it right.", {1.5: 0.5})

    monkeypatch.setattr(verdicts, "check_model", fake)
    prior = load_prior(copy, device="cpu")
    first, again = verdicts.prove(prior), verdicts.prove(prior)
    assert first == again and len(asked) == 1 and asked[0]["prediction_type"] == "v_prediction"
    falsify(copy, VAE, scaling_factor=0.5)
    verdicts.prove(load_prior(copy, device="cpu"))
    assert len(asked) == 2 and len(list(cache.iterdir())) == 2
    for kind in ("depth", "canny", "canny"):  # what a ControlNet is shown is another question
        verdicts.prove(load_prior(copy, device="cpu", controlnets=[Control(str(BUNDLED / "controlnet"), kind)]))
    assert len(asked) == 4
    asked.clear()
    for kept in cache.iterdir():
        kept.write_text("[]")  # what cannot be read is asked again
    verdicts.prove(prior)
    assert len(asked) == 1
    shutil.rmtree(cache)
    cache.write_text("no folder")  # nor does a cache that cannot be written matter
    assert verdicts.prove(prior) == first
