"""`ddrep edit` of an SVG file: its own paths, colours, opacities and strokes move; what cannot be drawn stays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ddrep_core.diffreps.encoded import EncodedDiffrep
from ddrep_core.diffreps.vector import VectorDiffrep
from ddrep_core.errors import RequestError
from ddrep_core.jobs.apart import OF_ANSWERS
from ddrep_core.jobs.blocks import EditRequest
from ddrep_core.jobs.edit_procedure import beside, procedure
from ddrep_core.jobs.folder import write_bytes
from ddrep_core.jobs.image import shape_for
from ddrep_core.jobs.session import Session
from ddrep_core.jobs.task import Made, Stage
from ddrep_core.jobs.vector import previews
from ddrep_core.pictures import png_bytes, to_picture
from ddrep_core.sampling.sample import Result
from ddrep_core.vector.drawing import Drawing
from ddrep_core.vector.reader import parse_svg, read_svg
from ddrep_core.vector.render import Numbers, Renderer

DESCENT_RATE = 0.01
"""Of mode-seekers: half a canvas's hundredth a step, two grey levels."""
DRAWN_SIDE = 512
MOVING = ("colours",)
"""What an edit leaves of a drawing that is worth keeping is its shapes: a prior of small pictures tears them."""
JOINT_BELOW = 3.0
"""σ below which the edit of colours asks for the target alone: shapes cannot be forgotten, for they lie still, and what
the difference leaves half way (a yellow flower that shall be red) is carried on."""


def start(session: Session, settings: EditRequest, path: Path) -> Stage:
    """The drawing in the size that the prior knows, and its own aspect.

    Raises:
        RequestError: it is no SVG that can be read, or nothing in it can move.
    """
    if settings.keep:
        raise RequestError(
            "A mask keeps pixels, and a drawing has none: its shapes stay, unless --move says otherwise.",
            "Leave --keep out.",
        )
    drawing, markup = read_svg(path)
    prior = session.prior
    shape = shape_for(prior, drawing.size[0] / drawing.size[1])
    factor = prior.image_size // max(prior.image_shape[1:])
    dtype = torch.float64 if prior.dtype == torch.float64 else torch.float32
    size, moving = (factor * shape[1], factor * shape[2]), settings.moving or MOVING
    rep = VectorDiffrep(drawing, markup, *size, moving=moving, dtype=dtype, device=prior.device)
    if drawing.not_drawn:
        session.warn(f"Stays as it is, for it cannot be drawn: {'; '.join(drawing.not_drawn[:8])}.")
    recipe = session.recipe(EncodedDiffrep(rep, prior).edited(), push=OF_ANSWERS)
    if list(rep.parameters()) == ["colours"]:
        recipe = replace(recipe, joint_below=JOINT_BELOW)
    return Stage(procedure(session, recipe, DESCENT_RATE), EditedDrawing(drawing).finish, previews)


@dataclass(frozen=True)
class EditedDrawing:
    """What becomes of an edited drawing, which was `original`."""

    original: Drawing

    def finish(self, session: Session, result: Result) -> Made:
        """Write the drawing, and draw what was written."""
        session.stage("Drawing the picture")
        text = result.diffrep.pictures.svg()
        files = {"drawing": session.outputs / "drawing.svg", "image": session.outputs / "drawing.png"}
        write_bytes(files["drawing"], text)
        found, _ = parse_svg(text)
        after = to_picture(drawn(found))
        write_bytes(files["image"], png_bytes(after))
        compared = beside(
            session, lambda: [to_picture(drawn(self.original))], lambda: [after], [session.request.prompt]
        )
        return Made(files, {"agreement": None, "passes": result.passes}, illustrations=(compared,))


def drawn(drawing: Drawing) -> Tensor:
    """[3, H, W] in [0, 1] on white, its larger side `DRAWN_SIDE`."""
    width, height = (max(1, round(DRAWN_SIDE * side / max(drawing.size))) for side in drawing.size)
    with torch.no_grad():
        return Renderer(drawing, height, width).over(Numbers.of(drawing)).clamp(0, 1)
