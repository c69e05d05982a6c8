"""`ddrep doctor`: what this machine can do, and what to fix."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ddrep_core.errors import DdrepError, RequestError, RunError

if TYPE_CHECKING:
    from ddrep_core.priors.adapters.controlnet import Control
    from ddrep_core.priors.adapters.ip_adapter import IpAdapter
    from ddrep_core.priors.adapters.lora import Lora

SCENE_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Model:
    """A prior as a job names it, with what it is used with."""

    prior: str
    controlnets: tuple[Control, ...] = ()
    loras: tuple[Lora, ...] = ()
    device: str = "auto"
    precision: str = "auto"
    ip_adapter: IpAdapter | None = None


def examine(folder: Path | None = None, model: Model | None = None) -> dict[str, Any]:
    """Try out each thing that a job needs.

    Args:
        folder: where jobs would be written; the current folder when not given.
        model: one to examine, too: how much memory it needs, and whether it does what its files say.

    Returns:
        {"ok", "version", "device", "checks": [{"name", "ok", "message", "fix"}]}. "ok" is about what every job needs.
    """
    from ddrep_core import __version__

    folder = folder or Path.cwd()
    checks = [
        _check("engine", lambda: f"ddrep {__version__}, Python {sys.version.split()[0]}", ""),
        _check("torch", _torch, "Install ddrep again: pip install -c constraints.txt -e ."),
        _check("models", _diffusers, "Install ddrep again: pip install -c constraints.txt -e ."),
        _check("bundled prior", _bundled_prior, "The installation is damaged: install ddrep again."),
        _check("ray casting", _ray_casting, "pip install embreex"),
        _check("unwrapping", _unwrapping, "pip install xatlas"),
        _check("off-screen pictures", _off_screen, "The installation is damaged: install ddrep again."),
        _check("films", _films, "pip install imageio-ffmpeg"),
        _check("disk", lambda: _disk(folder), "Free some space, or work in another folder."),
        _check("writable", lambda: _writable(folder), "Work in a folder that you may write to."),
    ]
    if model is not None:
        checks += _prior_checks(model)
    return {"ok": all(c["ok"] for c in checks), "version": __version__, "device": device_words(), "checks": checks}


def _prior_checks(model: Model) -> list[dict[str, Any]]:
    """What a model needs before anything of it runs; then, where it fits, whether it does what its files say."""
    smaller = "Use --precision fp16, a smaller model, or --device cpu."
    checks = [_check("memory", lambda: _memory(model), smaller)]
    if checks[0]["ok"]:
        fix = "Choose another copy of the model."
        checks.append(_check("prior", lambda: _proof(model), fix))
    return checks


def _memory(model: Model) -> str:
    from ddrep_core.priors.adapters.controlnet import find_controlnet_folder
    from ddrep_core.priors.load import choose_device, choose_precision, find_model_folder
    from ddrep_core.priors.memory import memory_needs

    chosen = choose_device(model.device)
    folder = find_model_folder(model.prior, chosen, model.precision, allow_download=False)
    dtype = choose_precision(model.precision, chosen, folder)
    paths = [find_controlnet_folder(each.source, dtype, allow_download=False) for each in model.controlnets]
    needs = memory_needs(folder, dtype, paths, model.ip_adapter)
    free, where = _free_memory(chosen)
    if needs.least > free:
        raise RunError(f"{model.prior} needs {needs}; {where} has {free / 2**30:.1f} GB free.")
    return f"{model.prior} needs {needs}; {where} has {free / 2**30:.1f} GB free"


def _free_memory(device: torch.device) -> tuple[float, str]:
    """Bytes that could be taken now, and the words for the place."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0]), "the graphics card"
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        told = {key: int(value.split()[0]) * 1024 for key, value in (line.split(":", 1) for line in lines)}
        return float(told["MemAvailable"]), "this machine"
    except (OSError, ValueError, KeyError, IndexError):
        return float("inf"), "this machine"


def _proof(model: Model) -> str:
    from ddrep_core.priors import load_prior
    from ddrep_core.priors.verdicts import prove

    loaded = load_prior(
        model.prior,
        device=model.device,
        precision=model.precision,
        controlnets=model.controlnets,
        loras=model.loras,
        ip_adapter=model.ip_adapter,
        allow_download=False,
    )
    verdict = prove(loaded)
    with_them = ", ".join(
        [f"{lora.file.name} ({lora.weight:g})" for lora in model.loras]
        + [f"{Path(each.source).name} ({each.scale:g})" for each in model.controlnets]
        + ([model.ip_adapter.file.name] if model.ip_adapter else [])
    )
    name = f"{model.prior} with {with_them}" if with_them else model.prior
    if not verdict.sound:
        raise RequestError(f"{name} does not do what its files say. {verdict}", verdict.fix)
    return f"{name}: {verdict}"


def device_words() -> str:
    """The device that `--device auto` takes, as a person would name it."""
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return f"cuda ({properties.name}, {properties.total_memory / 2**30:.0f} GB)"
    if torch.backends.mps.is_available():
        return "mps (Apple GPU)"
    return f"cpu ({os.cpu_count()} cores)"


def _check(name: str, attempt: Callable[[], str], fix: str) -> dict[str, Any]:
    try:
        return {"name": name, "ok": True, "message": attempt(), "fix": ""}
    except DdrepError as error:
        return {"name": name, "ok": False, "message": error.message, "fix": error.fix or fix}
    except Exception as error:  # whatever is broken here, the other checks still tell something
        return {"name": name, "ok": False, "message": f"{type(error).__name__}: {error}", "fix": fix}


def _torch() -> str:
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        identity = torch.eye(8, device=device)
        if not torch.equal(identity @ identity, identity):
            raise RuntimeError(f"a matrix product came out wrong on {device}")
    return f"{torch.__version__}, {torch.get_num_threads()} threads, {device_words()}"


def _diffusers() -> str:
    import diffusers
    import transformers

    return f"diffusers {diffusers.__version__}, transformers {transformers.__version__}"


def _bundled_prior() -> str:
    from ddrep_core.priors.load import BUNDLED, verify_checksums

    verify_checksums(BUNDLED)
    size = sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file())
    return f"all files are sound ({size / 2**20:.0f} MB)"


def _ray_casting() -> str:
    import embreex
    import trimesh

    box = trimesh.creation.box()
    hits = box.ray.intersects_first(ray_origins=[[0.1, 0.2, 3.0]], ray_directions=[[0.0, 0.0, -1.0]])
    if hits[0] < 0:
        raise RuntimeError("a ray passed through a box")
    return f"trimesh {trimesh.__version__} with embreex {embreex.__version__}"


def _unwrapping() -> str:
    import trimesh
    import xatlas

    box = trimesh.creation.box()
    _, _, uv = xatlas.parametrize(np.asarray(box.vertices, np.float32), np.asarray(box.faces, np.uint32))
    if not np.isfinite(uv).all():
        raise RuntimeError("the UVs of a box are not finite")
    return "xatlas"


def _off_screen() -> str:
    from ddrep_core.geometry import demo_mesh_path, load_mesh
    from ddrep_core.report import Renderer
    from ddrep_core.views import orbit_views

    mesh = load_mesh(demo_mesh_path())
    picture = Renderer(mesh, {}).flat(orbit_views(1, target=mesh)[0], 32, 32)
    if not 0.02 < float((picture < 0.9).mean()) < 0.98:
        raise RuntimeError("the picture of a mesh came out empty")
    return "by ray casting; no display and no graphics driver are needed"


def _films() -> str:
    import imageio_ffmpeg

    return f"ffmpeg {imageio_ffmpeg.get_ffmpeg_version()}"


def _disk(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    if free < SCENE_BYTES:
        raise RuntimeError(f"only {free / 2**30:.1f} GB are free in {folder}")
    return f"{free / 2**30:.0f} GB free in {folder}"


def _writable(folder: Path) -> str:
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(b"\0")
    return f"{folder} can be written"
