"""One small look at a prior that was just loaded: do its parts go together, and are their answers numbers?

Every part may be sound by itself and still come from another model: another width of the text, another number of
channels, a scale that makes every picture infinite. It costs one evaluation of the smallest picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ddrep_core.errors import DdrepError, RequestError
from ddrep_core.priors.autoencoder import NotFiniteError
from ddrep_core.priors.protocol import SIGNAL_CHANNELS

if TYPE_CHECKING:
    from ddrep_core.priors.diffusers_prior import DiffusersPrior

FIX = "Download the model again, or choose another copy of it."


def try_out(prior: DiffusersPrior, side: int) -> None:
    """Encode no words, denoise nothing, decode it and encode it again.

    Args:
        prior: the prior.
        side: of the latents tried, in cells; the least that its network takes.

    Raises:
        RequestError: the parts do not go together, or answer with what is no number.
        RunError: the device has no memory for it.
    """
    try:
        controls = {name: torch.zeros(1, SIGNAL_CHANNELS.get(name, 1), side, side) for name in prior.controls}
        conditioning = prior.condition("", guidance_scale=1.0, controls=controls)
        latents = torch.zeros(1, prior.channels, side, side)
        sigma = float(prior.sigmas[len(prior.sigmas) // 2])
        with torch.no_grad():
            noise = prior.predict_noise(latents, sigma, conditioning)
            pictures = prior.decode(latents)
            codes = prior.encode(pictures)
        prior.settle()
    except NotFiniteError as error:
        raise RequestError(
            f"The model '{prior.name}' is broken: the pictures that it decodes are not finite numbers.", FIX
        ) from error
    except DdrepError:
        raise
    except Exception as error:  # whatever a network says when its parts are not made for one another
        lines = str(error).strip().splitlines()
        reason = lines[0][:200] if lines else type(error).__name__
        raise RequestError(f"The parts of the model '{prior.name}' do not go together: {reason}", FIX) from error
    cells = side * prior.autoencoder.factor
    _check(noise, tuple(latents.shape), "the noises that it predicts", prior.name)
    _check(pictures, (1, 3, cells, cells), "the pictures that it decodes", prior.name)
    _check(codes, tuple(latents.shape), "the latents that it encodes", prior.name)


def _check(answer: Tensor, shape: tuple[int, ...], what: str, name: str) -> None:
    if tuple(answer.shape) != shape:
        raise RequestError(
            f"The parts of the model '{name}' do not go together: {what} are {tuple(answer.shape)}, not {shape}.", FIX
        )
    if not bool(answer.isfinite().all()):
        raise RequestError(f"The model '{name}' is broken: {what} are not finite numbers.", FIX)
