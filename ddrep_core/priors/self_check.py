"""A model proves itself: does what its files say of it agree with what it does?

A wrong prediction type, a wrong schedule or a wrong scale of the latents raises no error; it only makes bad pictures.
But it shows at once when known pictures are noised and given to the model: read with the right settings, they come
back closest to what they were. So each setting is compared with the others that it could have been, on the same
pictures with the same noise, and the one that does better by a margin is named.

Measured with the bundled prior on the pictures that come along (3 pictures, σ = 1.5, 3 and 6), the mean of the error's
logarithm is larger by 0.24 under a mistaken zero-SNR, by 1.0 under another schedule of betas, by 0.19 and 0.30 with a
scale of the latents that is wrong by √2, and by 1.25 and more under another kind of prediction.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from ddrep_core.pictures import open_picture, tensor_of
from ddrep_core.priors.adapters.controlnet import ControlNet
from ddrep_core.priors.levels import NoiseLevels, Prediction, diffusion_levels, flow_levels
from ddrep_core.priors.networks import UNet
from ddrep_core.priors.protocol import SIGNAL_CHANNELS

if TYPE_CHECKING:
    from ddrep_core.priors.diffusers_prior import DiffusersPrior

PICTURES = Path(__file__).resolve().parent / "assets" / "test_pictures.png"
"""A row of square pictures, drawn by the bundled prior: they fill their frames, and nobody else has rights in them."""

COUNT = 3
SIGMAS = (1.5, 3.0, 6.0)
"""Levels at which a picture is half lost: below, every reading is nearly right; above, nothing is left to read."""

BETTER = 0.02
"""How much smaller another schedule's error must be, in its mean logarithm, for that schedule to be the right one."""

BETTER_READING = 0.10
"""The same for another kind of prediction, whose errors differ by more."""

BETTER_SCALE = 0.05
"""The same for another scale of the latents."""

KNOWN_SCALES = (0.18215, 0.13025, 1.5305, 0.3611, 0.41407)
"""Scaling factors of the autoencoders that many models share."""

BETTER_KIND = 0.5
"""The same for what a ControlNet is shown."""

SUSPECTED = ("depth", "normal", "canny", "lineart")
"""What it may hear instead."""

CREASE = 0.87
"""Neighbouring pixels of a shape whose normals differ by more than this cosine's angle lie on two sides of a crease."""

SHOWN = {
    "depth": "depth, near = white",
    "normal": "normals: red is left, green up, blue towards the camera",
    "canny": "white edges on black, one pixel wide",
    "lineart": "soft white lines on black",
    "tile": "the picture itself",
}
"""What a ControlNet of each kind is shown."""

NAMES: dict[Prediction, str] = {
    "epsilon": "noise (epsilon)",
    "v_prediction": "velocity (v_prediction)",
    "sample": "the picture (sample)",
    "flow": "a flow (FlowMatchEulerDiscreteScheduler)",
}


@dataclass(frozen=True)
class Verdict:
    """What a self-check found.

    Args:
        sound: whether the model does what its files say.
        findings: what is wrong, in words.
        fix: the setting that would be right, or what to do.
        errors: {σ: mean squared error of x̂0 relative to the picture's own power}, as told.
    """

    sound: bool
    findings: tuple[str, ...]
    fix: str
    errors: dict[float, float]

    def __str__(self) -> str:
        if self.sound:
            best = min(self.errors.values())
            return f"noised pictures come back as they should ({1 - best:.0%} of them at σ = {min(self.errors):g})"
        return " ".join(self.findings)


def check_model(prior: DiffusersPrior, scheduler: dict[str, Any] | None = None) -> Verdict:
    """Try a prior on known pictures.

    Args:
        prior: what is checked.
        scheduler: its configuration, to name what would be right in its own words.

    Raises:
        RunError: the device has no memory for one picture of half the native size.
    """
    bench = _Bench(prior)
    told = bench.errors(prior.levels)
    errors = {sigma: math.exp(value) for sigma, value in zip(SIGMAS, told, strict=True)}
    if (cycle := bench.cycle_error()) > 0.2:
        finding = f"The autoencoder does not give pictures back: they are off by {cycle:.2f} of 1."
        return Verdict(False, (finding,), "Download the model again.", errors)
    # A wrong reading drowns all else; a wrong scale and a wrong schedule look alike, and the better explanation counts.
    for suspects in ([*_readings(bench)], [*_scales(bench, told), *_schedules(bench, scheduler or {})]):
        suspect = max(suspects, key=lambda suspect: suspect.gain(told), default=None)
        if suspect is not None and suspect.gain(told) > 0:
            return Verdict(False, (suspect.finding,), suspect.fix, errors)
    if told[0] > math.log(0.9):
        finding = f"It does not denoise: {errors[SIGMAS[0]]:.0%} of a picture's power is wrong at σ = {SIGMAS[0]:g}."
        return Verdict(
            False, (finding,), "Its weights are untrained, damaged or of another model: download it again.", errors
        )
    for kind in sorted(prior.controls & SIGNAL_CHANNELS.keys()):
        if (heard := bench.better_kind(kind)) is not None:
            finding = f"The ControlNet that is shown {kind} hears {heard} better ({SHOWN[heard]})."
            return Verdict(False, (finding,), f"Say what it is to be shown: FOLDER:{heard}.", errors)
        if not bench.helps(kind):
            finding = (
                f"The ControlNet that is shown {kind} does not help: pictures come back no better with their own "
                f"{kind} than with another's."
            )
            return Verdict(False, (finding,), f"Choose a ControlNet that hears {SHOWN[kind]}.", errors)
    return Verdict(True, (), "", errors)


def likeliest(prior: DiffusersPrior, candidates: Sequence[NoiseLevels]) -> NoiseLevels:
    """Those levels under which known pictures come back best."""
    bench = _Bench(prior)
    return min(candidates, key=lambda levels: sum(bench.errors(levels)))


@dataclass(frozen=True)
class _Suspect:
    """A setting that the model may have been trained with instead.

    Args:
        errors: as `_Bench.errors`, under that setting.
        margin: by how much they must be smaller, in the mean logarithm.
        finding, fix: what to say then.
    """

    errors: list[float]
    margin: float
    finding: str
    fix: str

    def gain(self, told: Sequence[float]) -> float:
        """How much better than the told setting, beyond the margin; 0 where it is no better at most levels."""
        gains = [before - after for before, after in zip(told, self.errors, strict=True)]
        mean = sum(gains) / len(gains)
        return mean - self.margin if mean > self.margin and sum(g > 0 for g in gains) * 2 > len(gains) else 0.0


class _Bench:
    """Known pictures, their latents and one draw of noise, all the same for every setting that is tried."""

    def __init__(self, prior: DiffusersPrior) -> None:
        self.prior = prior
        native = prior.latent_size[0]
        # Half the native size where that is large: enough to tell, and a quarter of the time.
        cells = native // 2 if native >= 64 else native
        self.side = cells * prior.autoencoder.factor
        self.pictures = test_pictures(self.side)
        with torch.no_grad():
            self.latents = prior.encode(self.pictures).float().cpu()
        self.noise = torch.randn(self.latents.shape, generator=torch.Generator().manual_seed(0))
        self.conditioning = prior.condition("", guidance_scale=1.0)
        self._answers: dict[tuple[float, float, float, bool], Tensor] = {}

    def cycle_error(self) -> float:
        """Root mean square of what encoding and decoding changes in the pictures."""
        with torch.no_grad():
            return float((self.prior.decode(self.latents).cpu() - self.pictures).square().mean().sqrt())

    def errors(self, levels: NoiseLevels, scale: float = 1.0) -> list[float]:
        """The logarithm of x̂0's error at each σ, relative to the pictures' own power, for latents times `scale`."""
        latents = self.latents * scale
        power = float(latents.square().mean())
        found = []
        for relative in SIGMAS:
            # Noise scaled as the latents are: the same picture is equally lost.
            sigma = torch.tensor([relative * scale], dtype=torch.float64)
            x = latents + float(sigma) * self.noise
            output_weight, input_weight = levels.clean_weights(sigma)
            scaled = x * float(levels.input_scale(sigma))
            clean = float(output_weight) * self._answer(levels, x, sigma, scale) + float(input_weight) * scaled
            error = float((clean - latents).square().mean()) / power
            found.append(math.log(error) if 0 < error < math.inf else 50.0)
        return found

    def _answer(self, levels: NoiseLevels, x: Tensor, sigma: Tensor, scale: float) -> Tensor:
        """The network's own answer, asked for once whatever it is taken for."""
        flow = levels.prediction == "flow"
        key = (float(levels.timestep(sigma)), float(sigma), scale, flow)
        if key not in self._answers:
            twin = copy.copy(self.prior)
            twin.levels = levels
            weights = (torch.ones_like(sigma), torch.zeros_like(sigma))
            self._answers[key] = twin.predict(x, sigma, self.conditioning, *weights).float().cpu()
        return self._answers[key]

    def helps(self, kind: str) -> bool:
        """Whether pictures come back better with their own signal of this kind than with another picture's."""
        signal = self._shapes[1][kind]
        return self._error_shown(kind, signal) < self._error_shown(kind, signal.roll(1, 0))

    def better_kind(self, told: str) -> str | None:
        """What the ControlNet that is shown one kind hears better by a margin; None where that is none.

        Of several that are shown the same, nothing is said: one alone may be wrong. Nor is `tile` suspected: it shows
        the answer itself, which helps whoever looks for edges.
        """
        if sum(each.kind == told for each in getattr(self.prior.network, "controlnets", ())) != 1:
            return None
        signals = {kind: signal for kind, signal in self._shapes[1].items() if kind in (told, *SUSPECTED)}
        found = {kind: self._error_shown(told, signal, shown_as=kind) for kind, signal in signals.items()}
        best = min(found, key=lambda kind: found[kind])
        wrong = found[told] - found[best] > BETTER_KIND * len(SIGMAS[1:])
        return best if wrong and found[best] < self._error_shown(told, signals[best].roll(1, 0), best) else None

    def _error_shown(self, told: str, signal: Tensor, shown_as: str | None = None) -> float:
        """The sum of the errors' logarithms of known shapes, where the ControlNets that are told to be of one kind are
        shown a signal, which may be of another kind."""
        kind, prior = shown_as or told, self.prior
        if kind != told:
            prior, network = copy.copy(prior), copy.copy(cast(UNet, prior.network))
            network.controlnets = tuple(
                ControlNet(each.network, kind, each.scale) for each in network.controlnets if each.kind == told
            )
            prior.network = network
        conditioning = prior.condition("", guidance_scale=1.0, controls={kind: signal})
        latents = self._shapes[0]
        cleans = [prior.predict_clean(latents + sigma * self.noise, sigma, conditioning) for sigma in SIGMAS[1:]]
        return sum(math.log(float((clean - latents).square().mean())) for clean in cleans)

    @cached_property
    def _shapes(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Latents of known shapes, and their signals."""
        pictures, signals = test_shapes(self.side)
        with torch.no_grad():
            return self.prior.encode(pictures).float().cpu(), signals


def _readings(bench: _Bench) -> list[_Suspect]:
    """The told levels, as if the network predicted something else."""
    told = bench.prior.levels
    usual = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    kinds: tuple[Prediction, ...] = ("epsilon", "v_prediction", "sample")
    if told.prediction == "flow":
        others = [diffusion_levels({**usual, "prediction_type": kind}) for kind in kinds[:2]]
    else:
        others = [*(replace(told, prediction=kind) for kind in kinds if kind != told.prediction), flow_levels({})]
    return [
        _Suspect(
            bench.errors(levels),
            BETTER_READING,
            f"Its files say that it predicts {NAMES[told.prediction]}; it predicts {NAMES[levels.prediction]}.",
            "Put a FlowMatchEulerDiscreteScheduler's configuration into scheduler/scheduler_config.json."
            if levels.prediction == "flow"
            else f'Set "prediction_type": "{levels.prediction}" in scheduler/scheduler_config.json.',
        )
        for levels in others
    ]


def _schedules(bench: _Bench, scheduler: dict[str, Any]) -> list[_Suspect]:
    """Other schedules that the model may have been trained with."""
    told = bench.prior.levels
    if told.prediction == "flow":
        return []
    where = "in scheduler/scheduler_config.json."
    count = scheduler.get("num_train_timesteps") or int(told.timesteps[0]) + 1
    ours = {"prediction_type": told.prediction, "num_train_timesteps": count}
    betas = ("beta_start", "beta_end", "beta_schedule", "trained_betas", "_class_name")
    kept = {key: scheduler[key] for key in betas if key in scheduler}
    zero = bool(scheduler.get("rescale_betas_zero_snr"))
    tried = [
        (
            {**kept, "rescale_betas_zero_snr": not zero},
            f"it was trained {'without' if zero else 'with'} a signal-to-noise ratio of zero at the end.",
            f'Set "rescale_betas_zero_snr": {"false" if zero else "true"} {where}',
        )
    ]
    for start, end, kind in ((8.5e-4, 0.012, "scaled_linear"), (1e-4, 0.02, "linear")):
        config = {"beta_start": start, "beta_end": end, "beta_schedule": kind, "rescale_betas_zero_snr": zero}
        fix = f'Set "beta_start": {start:g}, "beta_end": {end:g}, "beta_schedule": "{kind}" {where}'
        tried.append((config, f"betas from {start:g} to {end:g}, {kind}, fit better.", fix))
    suspects = []
    for config, words, fix in tried:
        levels = diffusion_levels({**ours, **config})
        if len(levels.sigmas) == len(told.sigmas) and torch.allclose(levels.sigmas, told.sigmas, rtol=1e-3):
            continue
        words = f"Its noise levels are not those it was trained with: {words}"
        suspects.append(_Suspect(bench.errors(levels), BETTER, words, fix))
    return suspects


def _scales(bench: _Bench, errors: Sequence[float]) -> list[_Suspect]:
    """Other scales of the latents: a step down and one up, and on for as long as it gets better."""
    told = bench.prior.autoencoder.scaling_factor
    suspects = []
    for step in (0.5**0.5, 2**0.5):
        best, scale = list(errors), 1.0
        for power in range(1, 8):
            under = bench.errors(bench.prior.levels, step**power)
            if sum(under) >= sum(best):
                break
            best, scale = under, step**power
        if scale != 1:
            suspects.append(_scale_suspect(told, scale, best))
    return suspects


def _scale_suspect(told: float, scale: float, errors: list[float]) -> _Suspect:
    near = min(KNOWN_SCALES, key=lambda known: abs(math.log(known / (told * scale))))
    named = f"{near:g}" if abs(math.log(near / (told * scale))) < 0.2 else f"about {told * scale:.2g}"
    return _Suspect(
        errors,
        BETTER_SCALE,
        f"The scaling factor of its autoencoder, {told:g}, is not what it was trained with: latents about {scale:.2g} "
        "times as large come back better.",
        f'Set "scaling_factor": {named} in vae/config.json.',
    )


def test_pictures(side: int) -> Tensor:
    """[COUNT, 3, side, side] pictures that come along, sRGB in [0, 1]."""
    row = tensor_of(open_picture(PICTURES).convert("RGB"))
    height = row.shape[1]
    squares = torch.stack([row[:, :, start : start + height] for start in range(0, height * COUNT, height)])
    return interpolate(squares, (side, side), mode="bicubic", antialias=True).clamp(0, 1)


def test_shapes(side: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Pictures [3, 3, side, side] of a ball, a box and a cone under one light, and what ControlNets of each kind are
    shown of them, [3, C, side, side] (`SIGNAL_CHANNELS`; drawn as `geometry.signals` does)."""
    across = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(across, across, indexing="ij")
    ball = (0.5 - x.square() - y.square()).clamp_min(0).sqrt()
    box = torch.where((x.abs() < 0.5) & (y.abs() < 0.6), 0.6 - 0.5 * (x + 0.2).abs(), 0.0)
    cone = torch.where((y.abs() < 0.7) & (x.abs() < (y + 0.7) * 0.45), 0.7 - x.abs() / 0.9, 0.0)
    heights = torch.stack([ball, box, cone])
    inside = heights > 0
    slope_y, slope_x = torch.gradient(heights * side / 2, dim=(1, 2))
    normal_z = (1 + slope_x.square() + slope_y.square()).rsqrt()
    light = ((0.4 * slope_x + 0.5 * slope_y + 0.77) * normal_z).clamp(0.1, 1)
    colours = torch.tensor([[0.85, 0.3, 0.2], [0.3, 0.5, 0.8], [0.3, 0.65, 0.3]])
    shaded = light[:, None] * colours[:, :, None, None]
    pictures = torch.where(inside[:, None], shaded, torch.ones(()))
    depth = torch.where(inside, 0.4 + 0.6 * heights / heights.amax((1, 2), keepdim=True), 0.0)
    normals = torch.stack([slope_x * normal_z, slope_y * normal_z, normal_z], 1)  # left, up, towards the camera
    flat = torch.tensor([0.0, 0.0, 1.0])[:, None, None]
    normals = torch.where(inside[:, None], normals, flat)
    lines = torch.zeros_like(heights)
    deep = -max_pool2d(-inside.float()[:, None], 3, 1, 1)[:, 0] > 0  # at the rim, heights end and slopes are none
    for axis in (1, 2):
        before, after = (each.narrow(axis, start, side - 1) for each in (inside,) for start in (0, 1))
        first, second = normals.narrow(axis + 1, 0, side - 1), normals.narrow(axis + 1, 1, side - 1)
        crease = deep.narrow(axis, 0, side - 1) & deep.narrow(axis, 1, side - 1) & ((first * second).sum(1) < CREASE)
        lines.narrow(axis, 0, side - 1)[crease | (before & ~after)] = 1.0
        lines.narrow(axis, 1, side - 1)[after & ~before] = 1.0
    lines = lines[:, None]
    soft = avg_pool2d(max_pool2d(lines, 3, 1, 1), 3, 1, 1)
    signals = {"depth": depth[:, None], "normal": (normals + 1) / 2, "canny": lines, "lineart": soft, "tile": pictures}
    return pictures, signals
