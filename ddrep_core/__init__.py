"""ddrep: sample differentiable representations from a pretrained image diffusion model."""

from ddrep_core import diffreps, errors, geometry, priors, sampling, views
from ddrep_core.diffreps.texture import TextureDiffrep
from ddrep_core.errors import Cancelled, DdrepError, DdrepWarning, RequestError, RunError
from ddrep_core.geometry import Mesh, demo_mesh_path, load_mesh
from ddrep_core.priors import load_prior
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
    "Mesh",
    "RequestError",
    "Result",
    "RunError",
    "SamplerState",
    "StepReport",
    "TextureDiffrep",
    "Views",
    "ddim_schedule",
    "demo_mesh_path",
    "diffreps",
    "errors",
    "geometry",
    "load_mesh",
    "load_prior",
    "orbit_views",
    "priors",
    "repaint_schedule",
    "restart_schedule",
    "sample",
    "sampling",
    "views",
]
