"""`ddrep panorama`: words in, a 360° picture out, for an environment or a wall."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddrep_core.diffreps.panorama import CylinderDiffrep, SphereDiffrep
from ddrep_core.diffreps.panorama_picture import decode_cylinder, decode_sphere
from ddrep_core.errors import RequestError
from ddrep_core.jobs.folder import replacing, write_bytes
from ddrep_core.jobs.request import PanoramaRequest
from ddrep_core.jobs.session import Preview, Session, agreement
from ddrep_core.pictures import decode, png_bytes, to_linear, to_picture
from ddrep_core.sampling.sample import StepReport

AUTO_SCHEDULE = "plain"
PREVIEW_WIDTH = 512


class PanoramaTask:
    """A canvas on the sphere or the cylinder, and the windows it is seen through."""

    def __init__(self, session: Session) -> None:
        settings, prior = session.request.settings(PanoramaRequest), session.prior
        self.settings = settings
        self.arguments = session.sampling_arguments(AUTO_SCHEDULE)
        if prior.image_shape[1] < 8 or prior.image_shape[2] < 8:
            raise RequestError("This prior's pictures are too small for a panorama.", "Choose another --prior.")
        session.stage("Laying out the views")
        dtype = torch.float64 if prior.dtype == torch.float64 else torch.float32
        kind = SphereDiffrep if settings.projection == "sphere" else CylinderDiffrep
        self.rep: SphereDiffrep | CylinderDiffrep = kind(prior.image_shape, dtype=dtype, device=prior.device)

    def run_sample(self, session: Session) -> dict[str, Any]:
        """Sample one panorama and write it."""

        def previews(step: StepReport) -> Sequence[Preview]:
            picture = to_picture(self.picture(step.diffrep, session, PREVIEW_WIDTH))
            return [Preview("panorama", picture)]

        # A sphere's windows are told when they look up or down: the sky's should not be asked for a horizon.
        views = self.rep.cameras if isinstance(self.rep, SphereDiffrep) else None
        result = session.sample(self.rep, views=views, previews=previews, **self.arguments)
        session.stage("Blending the windows")
        picture = self.picture(result.diffrep, session, self.settings.width)
        outputs, folder = session.outputs, session.folder
        write_bytes(outputs / "panorama.png", png_bytes(to_picture(picture)))
        files = {"panorama": folder.relative(outputs / "panorama.png")}
        if self.settings.hdr:
            with replacing(outputs / "panorama.hdr") as path:
                write_radiance(path, picture)
            files["panorama_hdr"] = folder.relative(outputs / "panorama.hdr")
        return {
            "files": files,
            "nfe": result.nfe,
            "seconds": result.seconds,
            "agreement": agreement(result.disagreement),
        }

    def picture(self, rep: Any, session: Session, width: int) -> Tensor:
        """[3, H, width] sRGB: equirectangular (2:1), or the cylinder's strip (8:1 for square views)."""
        prior = session.prior
        if isinstance(rep, SphereDiffrep):
            return decode_sphere(rep.values_at, rep.image_shape, partial(decode, prior), width)
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
