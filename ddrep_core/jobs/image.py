"""`ddrep image`: words in, a picture out, and the SIREN it was drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from ddrep_core.diffreps.siren import SirenDiffrep, grid_coordinates, image_siren
from ddrep_core.diffreps.torus import TorusDiffrep, decode_torus, resized_around
from ddrep_core.errors import RequestError
from ddrep_core.jobs.blocks import ImageRequest
from ddrep_core.jobs.create import existing_file
from ddrep_core.jobs.folder import replacing, write_bytes
from ddrep_core.jobs.kept_picture import SCHEDULE, STEPS, read_kept, windows_of
from ddrep_core.jobs.palette import wanted_palette
from ddrep_core.jobs.session import Preview, Session
from ddrep_core.jobs.task import Made, Stage
from ddrep_core.pictures import decode, png_bytes, to_picture
from ddrep_core.priors.protocol import Prior
from ddrep_core.sampling.sample import Result, StepReport

AUTO_SCHEDULE = "plain"  # one view has nothing to agree with
SHAPE_MULTIPLE = 8  # latent sides that common U-Nets can halve three times
MOST_PHASES = 4
PREVIEW_SIZE = 256
MOST_TILED = 2048  # pixels along a side of the picture that shows four tiles
LARGEST_SIDE = 16_384  # of what a SIREN was sampled in, in latent pixels


def start(session: Session) -> Stage:
    """A SIREN of the prior's own number of pixels, with the aspect of the picture that was asked for.

    Raises:
        RequestError: what is to be kept cannot be, or not of a picture that tiles.
    """
    settings = session.request.settings(ImageRequest)
    wanted_palette(settings, session.folder)
    if settings.tile:
        return start_tile(session, settings)
    kept = read_kept(settings.keep, settings.base, session.folder, (settings.width, settings.height))
    prior = session.prior
    rep = image_siren(shape_for(prior, settings.width / settings.height), device=prior.device)
    if kept is None:
        return Stage(session.recipe(rep, auto_schedule=AUTO_SCHEDULE), finish, previews)
    recipe = session.recipe(rep, auto_schedule=SCHEDULE, auto_steps=STEPS)
    return Stage(replace(recipe, given=kept.present(windows_of(rep, prior)).given(rep, prior)), finish, previews)


def previews(session: Session, step: StepReport) -> Sequence[Preview]:
    """What the SIREN shows."""
    picture = to_picture(decode(session.prior, step.diffrep.render())[0])
    return [Preview("image", picture.resize(_fitted(picture.size, PREVIEW_SIZE), Image.Resampling.LANCZOS))]


def finish(session: Session, result: Result) -> Made:
    """Draw the SIREN at the size asked for, and keep it."""
    settings = session.request.settings(ImageRequest)
    session.stage("Drawing the picture")
    rep: SirenDiffrep = result.diffrep
    files = {"image": session.outputs / "image.png", "siren": session.outputs / "image.safetensors"}
    picture = draw(rep, session.prior, settings.width, settings.height)
    if (wanted := wanted_palette(settings, session.folder)) is not None:
        picture = wanted.picture(picture)
    kept = read_kept(settings.keep, settings.base, session.folder, picture.size)
    if kept is not None:
        picture = kept.put(picture, settings.width / rep.image_shape[2])
    write_bytes(files["image"], png_bytes(picture))
    notes = {"prompt": session.request.prompt, "prior": session.request.prior, "seed": str(session.seed)}
    with replacing(files["siren"]) as path:
        rep.save(path, notes | {"shape": "x".join(map(str, rep.image_shape))})
    return Made(files, {"agreement": None, "passes": result.passes})


def start_tile(session: Session, settings: ImageRequest) -> Stage:
    """A canvas whose sides meet, and some ways to cut it open."""
    if settings.keep is not None or settings.base is not None:
        raise RequestError("Nothing can be kept of a picture that tiles.", "Leave --tile, or --keep and --base, out.")
    prior = session.prior
    dtype = torch.float64 if prior.dtype == torch.float64 else torch.float32
    rep = TorusDiffrep(shape_for(prior, settings.width / settings.height), dtype=dtype, device=prior.device)
    return Stage(session.recipe(rep, auto_schedule=AUTO_SCHEDULE), finish_tile, preview_tile)


def draw_tile(rep: TorusDiffrep, prior: Prior, width: int, height: int) -> Image.Image:
    """A canvas whose sides meet as a picture of any size that tiles."""
    picture = decode_torus(rep.canvas(), partial(decode, prior))
    return to_picture(resized_around(picture, width, height).float())


def preview_tile(session: Session, step: StepReport) -> Sequence[Preview]:
    """The picture, cut open where the first view is."""
    picture = to_picture(decode(session.prior, step.diffrep.render(torch.tensor([0])))[0])
    return [Preview("image", picture.resize(_fitted(picture.size, PREVIEW_SIZE), Image.Resampling.LANCZOS))]


def finish_tile(session: Session, result: Result) -> Made:
    """Draw the picture at the size asked for, and four of it side by side."""
    settings = session.request.settings(ImageRequest)
    session.stage("Drawing the picture")
    files = {"image": session.outputs / "image.png", "tiled": session.outputs / "tiled.png"}
    picture = draw_tile(result.diffrep, session.prior, settings.width, settings.height)
    if (wanted := wanted_palette(settings, session.folder)) is not None:
        picture = wanted.picture(picture)
    write_bytes(files["image"], png_bytes(picture))
    four = Image.fromarray(np.tile(np.asarray(picture), (2, 2, 1)))
    four.thumbnail((MOST_TILED, MOST_TILED))
    write_bytes(files["tiled"], png_bytes(four))
    return Made(files, {"passes": result.passes, "tiles": True})


def redraw(
    siren: Path, width: int, height: int | None, prior_name: str | None, load: Callable[[str], Prior]
) -> Image.Image:
    """A kept SIREN as a picture of another size.

    Args:
        siren: what `ddrep image` wrote.
        width, height: of the picture; without a height, of the SIREN's own aspect.
        prior_name: whose decoder turns the SIREN's latents into colours; by default the one it was sampled from.
        load: finds a prior by name.

    Raises:
        RequestError: the file is none, holds no SIREN of ours, or one that this prior's decoder cannot take.
    """
    siren = existing_file(siren, "SIREN")
    _, notes = SirenDiffrep.load(siren, grid_coordinates(1, 1)[None])
    try:
        channels, rows, columns = map(int, notes["shape"].split("x"))
    except (KeyError, ValueError) as error:
        raise RequestError(f"{siren} does not say what shape it was sampled in.", "Sample it anew.") from error
    if not (1 <= rows <= LARGEST_SIDE and 1 <= columns <= LARGEST_SIDE):
        raise RequestError(
            f"{siren} says that it was sampled in {rows} x {columns}, which cannot be.", "Sample it anew."
        )
    rep, _ = SirenDiffrep.load(siren, grid_coordinates(rows, columns)[None])
    prior = load(prior_name or notes.get("prior", "bundled"))
    if prior.channels != channels:
        raise RequestError(
            f"This SIREN has {channels} channels, and the prior's decoder takes {prior.channels}.",
            "Name the prior that it was sampled from with --prior.",
        )
    return draw(rep, prior, width, height or max(1, round(width * rows / columns)))


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
    picture is the mean of several of these, the grid moved by fractions of a pixel each time: details lie where the
    SIREN has them, not where one grid happened to fall, and the decoder's own texture averages out. (Interleaving them
    instead shows that texture as a lattice; latents rendered finer than the decoder knows come out garish.)
    """
    _, rows, columns = rep.image_shape
    base = decode(prior, rep.render())[0]
    _, base_height, base_width = base.shape
    if width <= base_width and height <= base_height:
        return to_picture(base).resize((width, height), Image.Resampling.LANCZOS)
    phases = min(MOST_PHASES, max(math.ceil(width / base_width), math.ceil(height / base_height)))
    grid = grid_coordinates(rows, columns)
    pitch = grid[1, 1] - grid[0, 0]
    picture = torch.zeros(3, height, width)
    for row in range(phases):
        for column in range(phases):
            shift = (torch.tensor([column, row]) + 0.5) / phases - 0.5  # of the latent grid, in the picture's pixels
            moved = grid + shift * pitch * rows / base_height
            decoded = decode(prior, rep.render_at(moved).movedim(-1, 0)[None])
            across = ((torch.arange(width) + 0.5) / width * base_width - shift[0]) / base_width * 2 - 1
            down = ((torch.arange(height) + 0.5) / height * base_height - shift[1]) / base_height * 2 - 1
            places = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)[None]
            picture += functional.grid_sample(
                decoded, places, mode="bicubic", padding_mode="border", align_corners=False
            )[0].expand(3, -1, -1)
    return to_picture(picture / phases**2)


def _fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
