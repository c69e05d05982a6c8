"""ddrep: sample differentiable representations from a pretrained image diffusion model.

Names are imported when they are first used: `ddrep --help` need not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ddrep_core import diffreps, distillation, errors, geometry, jobs, priors, report, sampling, views
    from ddrep_core.diffreps.image_texture import ImageTextureDiffrep
    from ddrep_core.diffreps.texture import TextureDiffrep
    from ddrep_core.errors import Cancelled, DdrepError, DdrepWarning, RequestError, RunError
    from ddrep_core.geometry import Mesh, demo_mesh_path, load_mesh
    from ddrep_core.priors import load_prior
    from ddrep_core.sampling import (
        Result,
        SamplerState,
        StepReport,
        ddim_schedule,
        parse_schedule,
        repaint_schedule,
        restart_schedule,
        sample,
    )
    from ddrep_core.views import Camera, Views, orbit_views

_PACKAGES = ("diffreps", "distillation", "errors", "geometry", "jobs", "priors", "report", "sampling", "views")
_HOMES = {
    "diffreps.image_texture": ("ImageTextureDiffrep",),
    "diffreps.texture": ("TextureDiffrep",),
    "errors": ("Cancelled", "DdrepError", "DdrepWarning", "RequestError", "RunError"),
    "geometry": ("Mesh", "demo_mesh_path", "load_mesh"),
    "priors": ("load_prior",),
    "sampling": (
        "Result",
        "SamplerState",
        "StepReport",
        "ddim_schedule",
        "parse_schedule",
        "repaint_schedule",
        "restart_schedule",
        "sample",
    ),
    "views": ("Camera", "Views", "orbit_views"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Camera",
    "Cancelled",
    "DdrepError",
    "DdrepWarning",
    "ImageTextureDiffrep",
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
    "distillation",
    "errors",
    "geometry",
    "jobs",
    "load_mesh",
    "load_prior",
    "orbit_views",
    "parse_schedule",
    "priors",
    "repaint_schedule",
    "report",
    "restart_schedule",
    "sample",
    "sampling",
    "views",
]


def __getattr__(name: str) -> object:
    if name in _PACKAGES:
        return import_module(f"ddrep_core.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'ddrep_core' has no attribute '{name}'")
    value = getattr(import_module(f"ddrep_core.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
