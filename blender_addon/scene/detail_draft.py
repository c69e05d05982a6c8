# SPDX-License-Identifier: GPL-3.0-or-later
"""From a finished texture to a job that paints close-ups of it."""

from ..engine.folder import JobFolder
from ..problems import Problem
from ..results.outcome import SampleResult
from .draft import Draft
from .of_result import Result

SAMPLING = ("guidance_scale", "steps", "eta")


def detail_draft(folder: JobFolder, sample: SampleResult, prompt: str, strength: float) -> Draft:
    """Paint what the views of a texture see, but do not resolve.

    Raises:
        Problem: no words, no texture, or the job's folder lacks what this begins with.
    """
    if not prompt.strip():
        raise Problem("Close-ups want words for what the object is.")
    result = Result(folder, sample)
    result.require_texture("painted closely")
    request = result.common("detail", prompt, SAMPLING)
    source, told = result.mesh()
    block = {**told, "source": source, "textures": result.textures(), "strength": round(strength, 6)}
    return result.draft({**request, "cameras": result.cameras(), "detail": block})
