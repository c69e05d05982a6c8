"""`ddrep restore`: a damaged picture in, several answers out, each as likely to the prior and unlike the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from ddrep_core.diffreps.latent_pictures import LatentPictures
from ddrep_core.distillation.restore import RESTORATION, Measurement, blurred, masked, restore, smaller
from ddrep_core.errors import RequestError
from ddrep_core.jobs.apart import OF_ANSWERS, apart
from ddrep_core.jobs.blocks import RestoreRequest
from ddrep_core.jobs.folder import write_bytes
from ddrep_core.jobs.image import SHAPE_MULTIPLE, shape_for
from ddrep_core.jobs.recipe import guidance_of
from ddrep_core.jobs.session import Preview, Session
from ddrep_core.jobs.task import Made, Stage
from ddrep_core.pictures import decode, on_white, open_picture, png_bytes, read_picture_file, tensor_of, to_picture
from ddrep_core.priors.protocol import Prior
from ddrep_core.sampling.guide import Guide
from ddrep_core.sampling.sample import Result, SamplerState, StepReport

COUPLING = 0.075
STEPS = 100
LARGEST_SIDE = 4096
PREVIEW_SIZE = 256


@dataclass(frozen=True)
class Restoring:
    """One run of `restore`; a `Procedure`."""

    rep: LatentPictures
    measurement: Measurement
    prompt: str
    negative_prompt: str
    guidance_scale: float
    guide: Guide | None
    steps: int
    together: bool = True

    def run(
        self,
        prior: Prior,
        *,
        seed: int,
        samples: int,
        callback: Callable[[StepReport], None],
        state: SamplerState | None,
    ) -> Result:
        """As `Procedure.run`."""
        return restore(
            prior,
            self.measurement,
            self.rep.image_shape,
            rep=self.rep,
            method=RESTORATION.with_settings(steps=self.steps),
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            guidance_scale=self.guidance_scale,
            samples=samples,
            guide=self.guide,
            coupling=COUPLING,
            seed=seed,
            callback=callback,
            state=state,
        ).result


@dataclass(frozen=True)
class Damaged:
    """A damaged picture, and what is known of the one before.

    Attributes:
        picture: as it came.
        measurement: y and H, of pictures of the prior's size.
        size: (width, height) of the answers.
        hole: [height, width] in [0, 1], 1 where an answer shows; None: everywhere.
    """

    picture: Image.Image
    measurement: Measurement
    size: tuple[int, int]
    hole: Image.Image | None = None

    def previews(self, session: Session, step: StepReport) -> Sequence[Preview]:
        """What the run sees now."""
        picture = to_picture(decode(session.prior, step.diffrep.render())[0])
        picture.thumbnail((PREVIEW_SIZE, PREVIEW_SIZE))
        return [Preview("image", picture)]

    def finish(self, session: Session, result: Result) -> Made:
        """Write the answer, in the damaged picture's place; with the last, a sheet of all."""
        session.stage("Drawing the picture")
        drawn = decode(session.prior, result.diffrep.render())
        answer = self.measurement.nearest(drawn, torch.zeros(1, dtype=torch.long), COUPLING)[0].clamp(0, 1)
        picture = to_picture(answer).resize(self.size, Image.Resampling.LANCZOS)
        if self.hole is not None:
            picture = Image.composite(picture, self.picture, self.hole)
        files = {"image": session.outputs / "image.png"}
        write_bytes(files["image"], png_bytes(picture))
        count = session.request.samples
        if count > 1 and session.sample_number == count - 1:
            files["answers"] = session.folder.sample_outputs(0, 1) / "answers.png"
            others = [session.folder.sample_outputs(number, count) / "image.png" for number in range(count)]
            write_bytes(files["answers"], png_bytes(self._sheet(others)))
        return Made(files, {"agreement": None, "passes": result.passes})

    def _sheet(self, answers: Sequence[Path]) -> Image.Image:
        """The damaged picture, and the answers beside it."""
        shown = self.picture.resize(self.size, Image.Resampling.NEAREST)
        if self.hole is not None:
            shown = Image.composite(Image.new("RGB", self.size, "grey"), shown, self.hole)
        tiles = [shown, *(open_picture(path).convert("RGB") for path in answers)]
        for tile in tiles:
            tile.thumbnail((512, 512))
        width, height = tiles[0].size
        sheet = Image.new("RGB", (len(tiles) * (width + 4) - 4, height), "white")
        for number, tile in enumerate(tiles):
            sheet.paste(tile, (number * (width + 4), 0))
        return sheet


def start(session: Session) -> Stage:
    """What the picture says, and white noise.

    Raises:
        RequestError: a picture or mask that cannot be read, or that leaves nothing to find.
    """
    request = session.request
    settings = request.settings(RestoreRequest)
    picture = on_white(_picture(session, settings.picture, "picture"))
    mask = None if settings.mask is None else _picture(session, settings.mask, "mask").convert("L")
    prior = session.prior
    shape, damaged = measured(picture, settings.damage, mask, prior)
    if request.schedule != "auto" or request.eta is not None:
        session.warn("A restoration has no schedule and no eta of its own; they change nothing.")
    recipe = Restoring(
        LatentPictures(1, shape, device=prior.device),
        damaged.measurement,
        request.prompt,
        request.negative_prompt,
        guidance_of(prior, request.guidance_scale, 0.0),
        apart(request, prior, OF_ANSWERS) if request.diversity else None,
        request.steps or STEPS,
    )
    return Stage(recipe, damaged.finish, damaged.previews)


def measured(
    picture: Image.Image, damage: str, mask: Image.Image | None, prior: Prior
) -> tuple[tuple[int, int, int], Damaged]:
    """The shape of the latents to be found, and what is known of their picture.

    Raises:
        RequestError: no mask to fill, an empty or a full one, or a picture that would become too large.
    """
    kind, _, number = damage.partition(":")
    factor = prior.image_size // max(prior.image_shape[1:])
    if kind == "upscale":
        width, height = (round(float(number) * side) for side in picture.size)
        if max(width, height) > LARGEST_SIDE or min(picture.size) < 2:
            raise RequestError(f"The answers would be {width} x {height} pixels.", f"At most {LARGEST_SIDE} a side.")
        rows, columns = (
            max(SHAPE_MULTIPLE, SHAPE_MULTIPLE * math.ceil(side / factor / SHAPE_MULTIPLE)) for side in (height, width)
        )
        measurement = Measurement(smaller(picture.height, picture.width), tensor_of(picture)[None])
        return (prior.channels, rows, columns), Damaged(picture, measurement, (width, height))
    shape = shape_for(prior, picture.width / picture.height)
    size = shape[2] * factor, shape[1] * factor
    known = tensor_of(picture.resize(size, Image.Resampling.LANCZOS))[None]
    if kind == "deblur":
        spread = float(number) * size[0] / picture.width
        return shape, Damaged(picture, Measurement(blurred(spread), known), picture.size)
    if mask is None:
        raise RequestError("Inpainting wants a mask: white where the picture is to be found.", "Give one with --mask.")
    hole = mask.resize(picture.size, Image.Resampling.BILINEAR)
    seen = (tensor_of(mask.resize(size, Image.Resampling.BILINEAR)) < 0.5).float()
    if bool(seen.all()) or not bool(seen.any()):
        raise RequestError("The mask is all black or all white.", "Paint white what is to be found, black what stays.")
    operator = masked(seen)
    return shape, Damaged(picture, Measurement(operator, operator(known), (1 - seen)[None]), picture.size, hole)


def _picture(session: Session, name: str, what: str) -> Image.Image:
    return read_picture_file(session.folder.resolve(name), what, largest=LARGEST_SIDE)
