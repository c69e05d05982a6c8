"""`ddrep vector`: words in, an SVG file out, and a picture of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from ddrep_core.diffreps.blobs import BlobsDiffrep
from ddrep_core.diffreps.encoded import EncodedDiffrep
from ddrep_core.jobs.blocks import VectorRequest
from ddrep_core.jobs.folder import write_bytes
from ddrep_core.jobs.session import Preview, Session
from ddrep_core.jobs.task import Made, Stage
from ddrep_core.pictures import png_bytes, to_picture
from ddrep_core.sampling.sample import Result, StepReport
from ddrep_core.vector.reader import parse_svg
from ddrep_core.vector.render import Numbers, Renderer

AUTO_SCHEDULE = "plain"  # one view has nothing to agree with
PREVIEW_SIZE = 256


def start(session: Session) -> Stage:
    """Paths of the number that was asked for, drawn in the size that the prior knows."""
    settings, prior = session.request.settings(VectorRequest), session.prior
    side = prior.image_size
    dtype = torch.float64 if prior.dtype == torch.float64 else torch.float32
    blobs = BlobsDiffrep(settings.paths, side, side, dtype=dtype, device=prior.device)
    return Stage(session.recipe(EncodedDiffrep(blobs, prior), auto_schedule=AUTO_SCHEDULE), finish, previews)


def previews(session: Session, step: StepReport) -> Sequence[Preview]:
    """The drawing, in the size that the prior sees."""
    rep = step.diffrep
    assert isinstance(rep, EncodedDiffrep)
    with torch.no_grad():
        picture = to_picture(rep.pictures.render()[0].float().cpu().clamp(0, 1))
    return [Preview("image", picture.resize((PREVIEW_SIZE, PREVIEW_SIZE), Image.Resampling.BICUBIC))]


def finish(session: Session, result: Result) -> Made:
    """Write the drawing, and draw what was written."""
    settings = session.request.settings(VectorRequest)
    session.stage("Drawing the picture")
    text = result.diffrep.pictures.svg(session.request.prompt)
    files = {"image": session.outputs / "drawing.png", "drawing": session.outputs / "drawing.svg"}
    write_bytes(files["drawing"], text.encode())
    drawing, _ = parse_svg(text)
    with torch.no_grad():
        picture = Renderer(drawing, settings.size, settings.size).over(Numbers.of(drawing))
    write_bytes(files["image"], png_bytes(to_picture(picture.clamp(0, 1))))
    shown = sum(1 for _ in drawing.root.shapes()) - 1  # beside the background
    return Made(files, {"agreement": None, "passes": result.passes, "paths": shown})
