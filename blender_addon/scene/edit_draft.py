# SPDX-License-Identifier: GPL-3.0-or-later
"""From a result and new words to a job that edits it."""

from typing import Any

from ..engine.folder import JobFolder
from ..problems import Problem
from ..results.outcome import SampleResult
from .draft import Draft
from .of_result import Result


def edit_draft(folder: JobFolder, sample: SampleResult, prompt: str, source_prompt: str, strength: float) -> Draft:
    """Edit a sample of a job that textured meshes or made a world.

    Raises:
        Problem: no words, or the job's folder lacks what the edit begins with.
    """
    if not prompt.strip():
        raise Problem("Say in words what it should become.")
    if not source_prompt.strip():
        raise Problem("Say in words what it shows now: an edit follows what the new words change.")
    result = Result(folder, sample)
    block: dict[str, Any] = {
        "kind": result.kind,
        "source_prompt": source_prompt.strip(),
        "strength": round(strength, 6),
    }
    request = {**result.common("edit", prompt), "edit": block}
    if result.kind == "panorama":
        if sample.panorama is None:
            raise Problem("The panorama of this sample is gone. Make it again.")
        block["source"] = result.take_made(sample.panorama, "inputs/panorama.png")
        block["projection"] = "sphere"
    elif result.kind == "texture":
        block["source"], told = result.mesh()
        block |= {**told, "textures": result.textures()}
        request["cameras"] = result.cameras()
    else:
        raise Problem("Textures and worlds can be edited; this result is neither.")
    return result.draft(request)
