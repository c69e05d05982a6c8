"""What a network was trained to see and to say at each noise level, in our coordinates x = x0 + σ ε.

docs/method.md: variance-preserving diffusion with α = 1/√(1+σ²), and rectified flow with t = σ/(1+σ). Each is a scaled
input and a linear read-out of the network's output, so one small table serves every parameterisation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.priors.model_config import checked_number

Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]


@dataclass(frozen=True)
class NoiseLevels:
    """The levels of one model.

    Args:
        sigmas: [L] noise-to-signal ratios, descending, float64; the first may be infinite.
        timesteps: [L] what the network is told at each of them, descending, float64.
        prediction: what the network's output means: ε, v = α ε − √(1−α²) x0, x0, or the flow's velocity ε − x0.
    """

    sigmas: Tensor
    timesteps: Tensor
    prediction: Prediction

    def timestep(self, sigma: Tensor) -> Tensor:
        """What to tell the network at σ [B] (float64). Exact at trained levels; between them even in log σ."""
        if self.prediction == "flow":
            # t = σ/(1+σ) holds everywhere, and is written so that it holds at σ = ∞ as well.
            return float(self.timesteps[0]) * self._flow_time(sigma)
        # np.interp wants ascending abscissae. Levels of σ = ∞ are reached only by σ = ∞ itself.
        finite = self.sigmas.isfinite()
        log_sigmas = self.sigmas[finite].flip(0).log().numpy()
        timesteps = self.timesteps[finite].flip(0).numpy()
        ceiling = float(self.sigmas[finite][0])
        found = np.interp(sigma.clamp(max=ceiling).log().numpy(), log_sigmas, timesteps)
        nearest = np.round(found)
        # A trained level that went through float32 on its way here is still that level.
        found = np.where(np.abs(found - nearest) < 1e-3, nearest, found)
        return torch.from_numpy(np.where(sigma.isinf().numpy(), float(self.timesteps[0]), found))

    def input_scale(self, sigma: Tensor) -> Tensor:
        """Factor from x to the network's input, [B]; 1 at σ = ∞, where x is already the unit-variance noise."""
        scale = 1 / (1 + sigma) if self.prediction == "flow" else 1 / (1 + sigma.square()).sqrt()
        return torch.where(sigma.isinf(), 1.0, scale)

    def noise_weights(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """(a, b), each [B]: ε̂ = a·output + b·input."""
        if self.prediction == "flow":
            return 1 / (1 + sigma), torch.ones_like(sigma)
        signal, noise = _signal_and_noise(sigma)
        if self.prediction == "epsilon":
            return torch.ones_like(sigma), torch.zeros_like(sigma)
        if self.prediction == "v_prediction":
            return signal, noise
        return -signal / noise, 1 / noise

    def clean_weights(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """(a, b), each [B]: x̂0 = a·output + b·input."""
        if self.prediction == "flow":
            return -self._flow_time(sigma), torch.ones_like(sigma)
        signal, noise = _signal_and_noise(sigma)
        if self.prediction == "epsilon":
            if bool(sigma.isinf().any()):
                raise RequestError("A model that predicts noise says nothing of the image at σ = ∞.")
            return -noise / signal, 1 / signal
        if self.prediction == "v_prediction":
            return -noise, signal
        return torch.ones_like(sigma), torch.zeros_like(sigma)

    @staticmethod
    def _flow_time(sigma: Tensor) -> Tensor:
        return 1 / (1 + 1 / sigma)


def _signal_and_noise(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """α and √(1−α²), both finite up to σ = ∞."""
    return 1 / (1 + sigma.square()).sqrt(), 1 / (1 + 1 / sigma.square()).sqrt()


VARIANCE_PRESERVING = {
    **dict.fromkeys(
        ("DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "PNDM", "LMSDiscrete", "EulerDiscrete",
         "EulerAncestralDiscrete", "DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep",
         "SASolver"),
        (1e-4, 0.02, "linear"),
    ),
    **dict.fromkeys(
        ("HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete", "DPMSolverSDE"), (8.5e-4, 0.012, "linear")
    ),
    **dict.fromkeys(("LCM", "TCD"), (8.5e-4, 0.012, "scaled_linear")),
}  # fmt: skip
"""diffusers' schedulers of variance-preserving models: the (beta_start, beta_end, beta_schedule) that each takes where
its configuration says nothing."""

RECTIFIED = ("FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete", "FlowMatchLCM")

MOST_LEVELS = 100_000


def noise_levels(scheduler: Mapping[str, Any], name: str, tokens: int | None = None) -> NoiseLevels:
    """The levels of a model, from its scheduler's configuration, whose class stands under "_class_name".

    Args:
        scheduler: the configuration as read.
        name: of the model, for messages.
        tokens: how many a picture of the native size has, for a flow that is shifted by it.

    Raises:
        RequestError: a scheduler, a schedule or a prediction that is not known; values that cannot be.
    """
    kind = scheduler.get("_class_name")
    plain = kind.removesuffix("Scheduler") if isinstance(kind, str) else ""
    if plain in RECTIFIED:
        return flow_levels(scheduler, name, tokens)
    if plain in VARIANCE_PRESERVING:
        return diffusion_levels(scheduler, name)
    if isinstance(kind, str) and kind.startswith("EDM"):
        raise RequestError(f"The model '{name}' has a noise schedule of EDM's kind, which is not supported.")
    raise RequestError(
        f"The model '{name}' has a noise schedule of the kind {str(kind)[:60]!r}, which is not known.",
        "Choose a Stable Diffusion, SDXL or Stable Diffusion 3 model.",
    )


def diffusion_levels(scheduler: Mapping[str, Any], name: str = "") -> NoiseLevels:
    """The levels of a variance-preserving model, from its scheduler's configuration (any diffusers scheduler's).

    Raises:
        RequestError: a schedule of betas or a kind of prediction that is not known; values that cannot be.
    """
    # Betas and their products are float32, as in diffusers: the network was trained with those.
    plain = str(scheduler.get("_class_name", "DDPMScheduler")).removesuffix("Scheduler")
    usual_start, usual_end, usual_kind = VARIANCE_PRESERVING.get(plain, VARIANCE_PRESERVING["DDPM"])
    count = _count(scheduler, name)
    start = checked_number(scheduler, "beta_start", usual_start, "scheduler", name, most=0.999)
    end = checked_number(scheduler, "beta_end", usual_end, "scheduler", name, most=0.999)
    assert start is not None and end is not None
    kind = _told(scheduler, "beta_schedule", usual_kind)
    trained = scheduler.get("trained_betas")
    if trained is not None:
        betas = _trained_betas(trained, name)
    elif kind == "linear":
        betas = torch.linspace(start, end, count, dtype=torch.float32)
    elif kind == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, count, dtype=torch.float32).square()
    elif kind == "squaredcos_cap_v2":
        edges = torch.cos((torch.arange(count + 1, dtype=torch.float64) / count + 0.008) / 1.008 * torch.pi / 2) ** 2
        betas = (1 - edges[1:] / edges[:-1]).clamp_max(0.999).float()
    else:
        raise RequestError(f"This model's noise schedule, '{kind}', is not known.")
    prediction = _told(scheduler, "prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise RequestError(f"This model predicts '{prediction}', which is not known.")
    if _told(scheduler, "timestep_type", "discrete") != "discrete":
        raise RequestError(
            f"The model '{name}' is told noise levels as continuous numbers, which is not supported.",
            "Choose a model with discrete time steps.",
        )
    zero_snr = scheduler.get("rescale_betas_zero_snr")
    if zero_snr not in (True, False, None):
        raise RequestError(f"The scheduler of the model '{name}' has rescale_betas_zero_snr = {zero_snr!r}.")

    signal_power = (1 - betas).cumprod(0)
    if zero_snr:
        # Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", Algorithm 1.
        root = signal_power.sqrt()
        signal_power = ((root - root[-1]) * root[0] / (root[0] - root[-1])).square()
    sigmas = ((1 - signal_power.double()) / signal_power.double()).sqrt().flip(0)
    timesteps = torch.arange(len(sigmas) - 1, -1, -1, dtype=torch.float64)
    if prediction == "epsilon":  # where nothing of the image is left, ε says nothing of it
        finite = sigmas.isfinite()
        sigmas, timesteps = sigmas[finite], timesteps[finite]
    if len(sigmas) < 2 or not bool((sigmas.diff() < 0).all()) or not float(sigmas[-1]) > 0:
        raise RequestError(
            f"The noise levels of the model '{name}' do not descend from noise to picture.", "Download the model again."
        )
    return NoiseLevels(sigmas, timesteps, prediction)


def flow_levels(scheduler: Mapping[str, Any], name: str = "", tokens: int | None = None) -> NoiseLevels:
    """The levels of a rectified flow, t = 1 (σ = ∞) first, bent towards noise by the model's own shift.

    Args:
        scheduler, name, tokens: as for `noise_levels`.

    Raises:
        RequestError: values that cannot be.
    """
    count = _count(scheduler, name)
    shift = checked_number(scheduler, "shift", 1.0, "scheduler", name, most=1000)
    assert shift is not None
    if scheduler.get("use_dynamic_shifting") is True:
        shift = _shift_of(scheduler, tokens, name)
    times = torch.arange(count, 0, -1, dtype=torch.float64) / count
    times = shift * times / (1 + (shift - 1) * times)
    return NoiseLevels(times / (1 - times), times * count, "flow")


def _shift_of(scheduler: Mapping[str, Any], tokens: int | None, name: str) -> float:
    """The shift of a flow that bends more for larger pictures (FLUX): its logarithm is linear in their tokens."""

    def told(key: str, usual: float) -> float:
        value = checked_number(scheduler, key, usual, "scheduler", name, most=MOST_LEVELS)
        assert value is not None
        return float(value)

    few, many = told("base_image_seq_len", 256), told("max_image_seq_len", 4096)
    low, high = told("base_shift", 0.5), told("max_shift", 1.15)
    if few == many or max(low, high) > 20:
        raise RequestError(f"The scheduler of the model '{name}' shifts its levels by what cannot be.")
    shift = low + (high - low) * ((many if tokens is None else tokens) - few) / (many - few)
    return math.exp(shift) if _told(scheduler, "time_shift_type", "exponential") == "exponential" else shift


def _count(scheduler: Mapping[str, Any], name: str) -> int:
    count = checked_number(scheduler, "num_train_timesteps", 1000, "scheduler", name, above=1, most=MOST_LEVELS)
    assert count is not None
    return int(count)


def _told(scheduler: Mapping[str, Any], key: str, usual: str) -> Any:
    value = scheduler.get(key)
    return usual if value is None else value


def _trained_betas(told: object, name: str) -> Tensor:
    """Raises:
    RequestError: anything but a list of numbers between 0 and 1."""
    if (
        not isinstance(told, list)
        or not 1 < len(told) <= MOST_LEVELS
        or not all(isinstance(b, int | float) and not isinstance(b, bool) and 0 < b < 1 for b in told)
    ):
        raise RequestError(f"The scheduler of the model '{name}' has trained_betas that are no list of such numbers.")
    return torch.tensor(told, dtype=torch.float32)
