"""Noise levels and parameterisations, without any network."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from ddrep_core.errors import RequestError
from ddrep_core.priors.levels import NoiseLevels, diffusion_levels, flow_levels

SCHEDULES = [
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    {"beta_schedule": "linear"},
    {"beta_schedule": "squaredcos_cap_v2"},
    {"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
    {"trained_betas": [0.1, 0.2, 0.3]},
]


@pytest.mark.parametrize("config", SCHEDULES)
def test_levels_are_those_of_diffusers(config: dict) -> None:
    levels = diffusion_levels(config)
    power = DDIMScheduler(**config).alphas_cumprod.double().flip(0)
    torch.testing.assert_close(
        levels.sigmas, ((1 - power) / power).sqrt(), rtol=1e-3, atol=0
    )  # diffusers rounds by way of its betas
    assert math.isinf(levels.sigmas[0]) == bool(config.get("rescale_betas_zero_snr"))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_levels_are_those_of_diffusers(shift: float) -> None:
    levels = flow_levels({"shift": shift})
    times = FlowMatchEulerDiscreteScheduler(shift=shift).sigmas.double()
    torch.testing.assert_close(levels.sigmas / (1 + levels.sigmas), times.where(times < 1, math.nan), equal_nan=True)
    torch.testing.assert_close(levels.timesteps, times * 1000, rtol=1e-6, atol=0)
    assert math.isinf(levels.sigmas[0])


@pytest.mark.parametrize("levels", [*map(diffusion_levels, SCHEDULES[:4]), flow_levels({"shift": 3.0})])
def test_the_network_is_told_the_trained_time(levels: NoiseLevels) -> None:
    torch.testing.assert_close(levels.timestep(levels.sigmas), levels.timesteps, rtol=1e-12, atol=0)
    through_float32 = levels.timestep(levels.sigmas.float().double())
    torch.testing.assert_close(through_float32, levels.timesteps, rtol=1e-6, atol=0)
    # between two trained levels: between their times
    finite = levels.sigmas[levels.sigmas.isfinite()]
    between = levels.timestep((finite[:-1] * finite[1:]).sqrt())
    times = levels.timesteps[levels.sigmas.isfinite()]
    assert bool(((between < times[:-1]) & (between > times[1:])).all())


def test_times_beyond_the_trained_levels_are_the_outermost() -> None:
    levels = diffusion_levels(SCHEDULES[0])
    assert levels.timestep(torch.tensor([1e4, 1e-4], dtype=torch.float64)).tolist() == [999.0, 0.0]


@pytest.mark.parametrize("sigma", [0.02, 1.0, 80.0, math.inf])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample", "flow"])
def test_every_parameterisation_gives_back_noise_and_image(prediction: str, sigma: float) -> None:
    """Make what a perfect network would say of known x0 and ε, and read both back."""
    generator = torch.Generator().manual_seed(0)
    image, noise = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    level = torch.tensor([sigma], dtype=torch.float64)
    alpha = 1 / math.sqrt(1 + sigma**2)
    share = 1.0 if math.isinf(sigma) else sigma * alpha
    time = 1.0 if math.isinf(sigma) else sigma / (1 + sigma)
    levels = NoiseLevels(level, level, prediction)  # type: ignore[arg-type]
    x = noise if math.isinf(sigma) else image + sigma * noise
    given = x * levels.input_scale(level)
    trained = time * noise + (1 - time) * image if prediction == "flow" else share * noise + alpha * image
    torch.testing.assert_close(given, trained)
    output = {
        "epsilon": noise,
        "v_prediction": alpha * noise - share * image,
        "sample": image,
        "flow": noise - image,
    }[prediction]
    a, b = levels.noise_weights(level)
    torch.testing.assert_close(a * output + b * given, noise)
    if prediction == "epsilon" and math.isinf(sigma):
        with pytest.raises(RequestError, match="says nothing of the image"):
            levels.clean_weights(level)
        return
    a, b = levels.clean_weights(level)
    torch.testing.assert_close(a * output + b * given, image)


def test_unknown_schedules_are_refused() -> None:
    with pytest.raises(RequestError, match="'sigmoid', is not known"):
        diffusion_levels({"beta_schedule": "sigmoid"})
    with pytest.raises(RequestError, match="predicts 'flow_prediction'"):
        diffusion_levels({"prediction_type": "flow_prediction"})
