"""`ddrep image`: words in, a picture out, and the SIREN it was drawn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ddrep_core.diffreps.siren import SirenDiffrep, grid_coordinates, image_siren
from ddrep_core.jobs.folder import replacing, write_bytes
from ddrep_core.jobs.session import Preview, Session, png_bytes
from ddrep_core.priors.protocol import Prior
from ddrep_core.sampling.sample import StepReport

AUTO_SCHEDULE = "plain"  # one view has nothing to agree with
SHAPE_MULTIPLE = 8  # latent sides that common U-Nets can halve three times
MOST_PHASES = 8
PREVIEW_SIZE = 256


class ImageTask:
    """Samples a SIREN of the prior's own number of pixels, with the aspect of the picture that was asked for."""

    def __init__(self, session: Session) -> None:
        settings = session.request.image
        assert settings is not None
        self.width, self.height = settings.width, settings.height
        self.arguments = session.sampling_arguments(AUTO_SCHEDULE)
        self.image_shape = shape_for(session.prior, self.width / self.height)
        self.rep = image_siren(self.image_shape, device=session.prior.device)

    def run_sample(self, session: Session) -> dict[str, Any]:
        """Sample one SIREN, draw it at the size asked for, and keep it."""
        prior, folder = session.prior, session.folder

        def previews(step: StepReport) -> Sequence[Preview]:
            picture = to_picture(decode(prior, step.diffrep.render())[0])
            return [Preview("image", picture.resize(_fitted(picture.size, PREVIEW_SIZE), Image.Resampling.LANCZOS))]

        result = session.sample(self.rep, previews=previews, **self.arguments)
        session.stage("Drawing the picture")
        picture = draw(result.diffrep, prior, self.width, self.height)
        write_bytes(session.outputs / "image.png", png_bytes(picture))
        notes = {"prompt": session.request.prompt, "prior": session.request.prior, "seed": str(session.seed)}
        with replacing(session.outputs / "image.safetensors") as path:
            result.diffrep.save(path, notes | {"shape": "x".join(map(str, self.image_shape))})
        return {
            "files": {
                "image": folder.relative(session.outputs / "image.png"),
                "siren": folder.relative(session.outputs / "image.safetensors"),
            },
            "nfe": result.nfe,
            "seconds": result.seconds,
            "passes": result.passes,
            "agreement": None,
        }


def shape_for(prior: Prior, aspect: float) -> tuple[int, int, int]:
    """(C, h, w) with the prior's native number of pixels and about this aspect (width over height)."""
    channels, height, width = prior.image_shape
    if math.isclose(aspect, width / height, rel_tol=0.02):
        return channels, height, width
    side = math.sqrt(height * width)
    rows, columns = (
        max(SHAPE_MULTIPLE, SHAPE_MULTIPLE * round(side * stretch / SHAPE_MULTIPLE))
        for stretch in (aspect**-0.5, aspect**0.5)
    )
    return channels, rows, columns


def draw(rep: SirenDiffrep, prior: Prior, width: int, height: int) -> Image.Image:
    """The SIREN as a picture of any size.

    A decoder turns latents on a grid into a picture of f times as many pixels, and knows no other grid. A larger
    picture is made of several of these, the grid moved by fractions of a pixel each time and the pictures interleaved:
    every pixel is decoded from the SIREN at its own place, none is made up from its neighbours.
    """
    _, rows, columns = rep.image_shape
    base = decode(prior, rep.render())[0]
    factor = base.shape[1] // rows
    across, down = (
        min(MOST_PHASES, max(1, math.ceil(asked / own - 1e-6)))
        for asked, own in ((width, base.shape[2]), (height, base.shape[1]))
    )
    picture = torch.zeros(3, base.shape[1] * down, base.shape[2] * across)
    grid = grid_coordinates(rows, columns)
    pitch = (grid[0, 1, 0] - grid[0, 0, 0], grid[1, 0, 1] - grid[0, 0, 1])
    for row in range(down):
        for column in range(across):
            shift = torch.stack(
                [
                    pitch[0] / factor * ((column + 0.5) / across - 0.5),
                    pitch[1] / factor * ((row + 0.5) / down - 0.5),
                ]
            )
            latents = rep.render_at(grid + shift).movedim(-1, 0)[None]
            picture[:, row::down, column::across] = decode(prior, latents)[0]
    return to_picture(picture).resize((width, height), Image.Resampling.LANCZOS)


def decode(prior: Prior, latents: Tensor) -> Tensor:
    """[B, 3, H, W] sRGB in [0, 1] on the CPU."""
    with torch.no_grad():
        return prior.decode(latents.to(prior.device)).float().cpu().clamp(0, 1)


def to_picture(image: Tensor) -> Image.Image:
    """An 8-bit picture of [3, H, W] sRGB in [0, 1]; one channel becomes grey."""
    shown = image.expand(3, -1, -1) if image.shape[0] == 1 else image[:3]
    return Image.fromarray((shown * 255 + 0.5).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy())


def _fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
