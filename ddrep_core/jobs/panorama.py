"""`ddrep panorama`: words in, a 360° picture out, for an environment or a wall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddrep_core.diffreps.panorama import CROPS_AROUND, CylinderDiffrep, SphereDiffrep
from ddrep_core.diffreps.panorama_picture import decode_cylinder, decode_sphere
from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError
from ddrep_core.jobs.blocks import PanoramaRequest
from ddrep_core.jobs.folder import replacing, write_bytes
from ddrep_core.jobs.kept_picture import SCHEDULE, STEPS, read_kept, windows_of
from ddrep_core.jobs.palette import wanted_palette
from ddrep_core.jobs.session import Preview, Session
from ddrep_core.jobs.task import Made, Stage
from ddrep_core.pictures import decode, png_bytes, to_linear, to_picture
from ddrep_core.priors.protocol import Prior
from ddrep_core.sampling.sample import Result, StepReport

AUTO_SCHEDULE = "plain"
PREVIEW_WIDTH = 512


def start(session: Session) -> Stage:
    """A canvas on the sphere or the cylinder, and the windows it is seen through."""
    settings, prior = session.request.settings(PanoramaRequest), session.prior
    if prior.image_shape[1] < 8 or prior.image_shape[2] < 8:
        raise RequestError("This prior's pictures are too small for a panorama.", "Choose another --prior.")
    wanted_palette(settings, session.folder)
    session.stage("Laying out the views")
    dtype = torch.float64 if prior.dtype == torch.float64 else torch.float32
    kind = SphereDiffrep if settings.projection == "sphere" else CylinderDiffrep
    rep = kind(prior.image_shape, dtype=dtype, device=prior.device)
    # A sphere's windows are told when they look up or down: the sky's should not be asked for a horizon.
    views = rep.cameras if isinstance(rep, SphereDiffrep) else None
    kept = read_kept(settings.keep, settings.base, session.folder, size_of(rep, settings.width))
    if kept is None:
        return Stage(session.recipe(rep, views, auto_schedule=AUTO_SCHEDULE), finish, previews)
    recipe = session.recipe(rep, views, auto_schedule=SCHEDULE, auto_steps=STEPS)
    return Stage(replace(recipe, given=kept.present(windows_of(rep, prior)).given(rep, prior)), finish, previews)


def size_of(rep: SphereDiffrep | CylinderDiffrep, width: int) -> tuple[int, int]:
    """(W, H) of what is delivered."""
    if isinstance(rep, SphereDiffrep):
        return width, width // 2
    return width, max(1, round(width * rep.image_shape[1] / rep.columns))


def previews(session: Session, step: StepReport) -> Sequence[Preview]:
    """The panorama, small."""
    return [Preview("panorama", to_picture(panorama(step.diffrep, session.prior, PREVIEW_WIDTH)))]


def finish(session: Session, result: Result) -> Made:
    """Blend the windows and write the panorama."""
    settings = session.request.settings(PanoramaRequest)
    session.stage("Blending the windows")
    picture = panorama(result.diffrep, session.prior, settings.width)
    files = {"panorama": session.outputs / "panorama.png"}
    drawn, rep = to_picture(picture), result.diffrep
    if (wanted := wanted_palette(settings, session.folder)) is not None:
        drawn = wanted.picture(drawn)
        picture = torch.from_numpy(np.asarray(drawn) / np.float32(255)).permute(2, 0, 1)
    kept = read_kept(settings.keep, settings.base, session.folder, drawn.size)
    if kept is not None:
        drawn = kept.put(drawn, settings.width / (windows_around(rep) * rep.image_shape[2]), wraps=True)
        picture = torch.from_numpy(np.asarray(drawn) / np.float32(255)).permute(2, 0, 1)
    write_bytes(files["panorama"], png_bytes(drawn))
    if settings.hdr:
        files["panorama_hdr"] = session.outputs / "panorama.hdr"
        with replacing(files["panorama_hdr"]) as path:
            write_radiance(path, picture)
    return Made(files)


def windows_around(rep: Diffrep) -> int:
    """How many windows, side by side, go once around: of 90 degrees, or 45."""
    return 4 if isinstance(rep, SphereDiffrep) else CROPS_AROUND


def panorama(rep: Diffrep, prior: Prior, width: int) -> Tensor:
    """[3, H, width] sRGB: equirectangular (2:1), or the cylinder's strip (8:1 for square views)."""
    if isinstance(rep, SphereDiffrep):
        return decode_sphere(rep.values_at, rep.image_shape, partial(decode, prior), width)
    assert isinstance(rep, CylinderDiffrep)
    strip = decode_cylinder(rep.canvas(), rep.image_shape[2], partial(decode, prior))
    height = max(1, round(width * strip.shape[1] / strip.shape[2]))
    return _resize_around(strip, width, height)


def _resize_around(strip: Tensor, width: int, height: int) -> Tensor:
    """Lanczos, with the strip continued past both ends, so that the ends still meet."""
    margin = max(8, strip.shape[2] // 16)
    padded = torch.cat([strip[:, :, -margin:], strip, strip[:, :, :margin]], dim=2)
    channels = []
    for channel in padded.numpy():
        image = Image.fromarray(channel.astype(np.float32))
        box = (margin, 0, margin + strip.shape[2], strip.shape[1])
        # Pillow's `box` bounds what is drawn, not what the filter reads.
        channels.append(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS, box=box)))
    return torch.from_numpy(np.stack(channels)).clamp(0, 1)


def write_radiance(path: Path, picture: Tensor) -> None:
    """Write [3, H, W] sRGB in [0, 1] as a Radiance .hdr: linear light, four bytes a pixel (RGBE), not compressed."""
    linear = to_linear(picture.clamp(0, 1).permute(1, 2, 0).double().numpy(), np.float64)
    brightest = linear.max(axis=2)
    mantissa, exponent = np.frexp(brightest)
    scale = np.where(brightest > 1e-32, mantissa * 256 / np.maximum(brightest, 1e-32), 0)
    rgbe = np.zeros((*brightest.shape, 4), np.uint8)
    rgbe[..., :3] = np.clip(linear * scale[..., None], 0, 255)
    rgbe[..., 3] = np.where(brightest > 1e-32, exponent + 128, 0)
    header = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {brightest.shape[0]} +X {brightest.shape[1]}\n"
    path.write_bytes(header.encode("ascii") + rgbe.tobytes())
