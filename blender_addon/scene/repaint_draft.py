# SPDX-License-Identifier: GPL-3.0-or-later
"""From a result, one view of which was painted over, to a job that shows it so and lets the others agree."""

from collections.abc import Iterator
from typing import Any

from ..engine.folder import JobFolder, read_object
from ..problems import Problem
from ..results.outcome import SampleResult
from .draft import Draft
from .of_result import Result

SAMPLING = ("guidance_scale", "steps", "eta", "schedule")
OF_TEXTURE = ("resolution", "space", "intrinsics", "normals_model", "delight")


def cameras_of(folder: JobFolder, sample: int = 0) -> list[str]:
    """The names of the cameras that a job looked through; [] where they are not known."""
    samples = folder.result().get("samples")
    told = samples[sample].get("views") if isinstance(samples, list) and sample < len(samples) else None
    if isinstance(told, list) and told:
        return [name for name in told if isinstance(name, str)]
    path = folder.inside(folder.request().get("cameras"))
    entries = read_object(path).get("cameras") if path is not None else None
    found = [each.get("name") for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
    return [name for name in found if isinstance(name, str)]


def require_repaintable(folder: JobFolder, sample: SampleResult) -> None:
    """Raises a Problem where a result has no view that could be painted over."""
    Result(folder, sample).require_texture("repainted")


def repaint_draft(
    folder: JobFolder,
    sample: SampleResult,
    camera: str,
    picture: Iterator[bytes],
    resolution: int,
    prompt: str,
    strength: float,
) -> Draft:
    """Pin a picture to one camera's view, and let the others start from what the result shows.

    Args:
        picture: a PNG file of what the camera shall see.
        resolution: of the texture, where the job does not say it.
        strength: how much the other views may change.

    Raises:
        Problem: no words, no texture, or the job's folder lacks what this begins with.
    """
    if not prompt.strip():
        raise Problem("Say in words what it should look like now.")
    result = Result(folder, sample)
    result.require_texture("repainted")
    request = result.common("texture", prompt, SAMPLING)
    mesh, told = result.mesh()
    worn = [{"object": key, "file": path} for key, path in result.textures().items()]
    block: dict[str, Any] = {
        "resolution": resolution,
        **told,
        **{key: result.made[key] for key in OF_TEXTURE if result.made.get(key) is not None},
        "mesh": mesh,
        "base": worn,
        "from_texture": True,
        "strength": round(strength, 6),
        "pins": [{"camera": camera, "file": "inputs/pin_0.png"}],
    }
    result.files["inputs/pin_0.png"] = picture
    return result.draft({**request, "cameras": result.cameras(), "texture": block})
