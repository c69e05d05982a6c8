"""ddrep: sample differentiable representations from a pretrained image diffusion model."""

from ddrep_core import diffreps, errors, priors, sampling, views
from ddrep_core.errors import Cancelled, DdrepError, DdrepWarning, RequestError, RunError
from ddrep_core.sampling import (
    Result,
    SamplerState,
    StepReport,
    ddim_schedule,
    repaint_schedule,
    restart_schedule,
    sample,
)
from ddrep_core.views import Camera, Views, orbit_views

__version__ = "0.1.0"

__all__ = [
    "Camera",
    "Cancelled",
    "DdrepError",
    "DdrepWarning",
    "RequestError",
    "Result",
    "RunError",
    "SamplerState",
    "StepReport",
    "Views",
    "ddim_schedule",
    "diffreps",
    "errors",
    "orbit_views",
    "priors",
    "repaint_schedule",
    "restart_schedule",
    "sample",
    "sampling",
    "views",
]
