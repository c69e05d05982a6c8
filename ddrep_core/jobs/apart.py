"""Samples of a job that shall differ, from each other and from results that were kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError
from ddrep_core.geometry.mesh import Y_UP_TO_WORLD, Mesh
from ddrep_core.geometry.surface import mesh_of
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.request import Request
from ddrep_core.pictures import on_white, read_picture_file
from ddrep_core.priors.protocol import Prior
from ddrep_core.report.renderer import Renderer
from ddrep_core.sampling.guide import Guide
from ddrep_core.sampling.kernel import RadialKernel
from ddrep_core.sampling.particle_guidance import ParticleGuidance
from ddrep_core.views.camera import Views

MOST_TOGETHER = 16
PIXEL_VARIANCE = 0.08
"""Of sRGB in [0, 1], about; latents are scaled to 1."""
LARGEST_SIDE = 16_384
COMPARED_SIZE = 64
COMPARED = ("contact_sheet", "image", "panorama", "turntable_still")


@dataclass(frozen=True)
class Push:
    """What `--diversity 1` is where one kind of thing is made.

    Args:
        weight: of `ParticleGuidance`.
        least_sigma: in units of the data's spread. Below the levels at which what may differ is decided, differ details
            alone, which repulsion would only roughen.
        mean: the weight of a second one that compares what all views show on average, colours above all: every view
            can follow it, where of patterns each may see something else.
    """

    weight: float
    least_sigma: float
    mean: float = 0.0


OF_FORMS = Push(2.5, 4.0)
"""Form and all: pictures. Form is decided early (docs/diversity.md)."""
OF_FIELDS = Push(1.2, 1.0)
"""Of a field many views agree on a form: what they were pushed to early they forget."""
OF_SURFACES = Push(0.3, 0.3, mean=0.5)
"""Form is given: a surface's colours and patterns, which are decided later. Until σ is so low that views change no
colours any more: let go earlier, all go back to the colour that the words have."""
OF_ANSWERS = Push(1.0, 1.0)
"""Of what is there already: a damaged picture, or one that is edited from levels below those of its form."""


@dataclass(frozen=True)
class Box:
    """Where an object stands, in the world.

    Args:
        low, high: [3] its corners.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def guides_to_differ(
    request: Request,
    folder: JobFolder,
    rep: Diffrep,
    views: Views | None,
    box: Box | None,
    prior: Prior,
    push: Push,
    in_turn: bool = False,
) -> tuple[Guide, ...]:
    """What bends a run so that its samples differ as the request says; nothing where it says nothing.

    Args:
        push: what the request's 1 is here.
        in_turn: they are made one after another, each unlike those before it.

    Raises:
        RequestError: too many samples to be made together, or a result that cannot be read.
    """
    several = request.diversity > 0 and request.samples > 1
    if not several and not request.unlike:
        return ()
    if request.samples > MOST_TOGETHER and not in_turn:
        raise RequestError(
            f"{request.samples} samples that differ would have to be made together; {MOST_TOGETHER} at most can be.",
            "Make them in several jobs, each --unlike those before it.",
        )
    unlike = None
    if request.unlike:
        files = [folder.resolve(name) for name in request.unlike]
        unlike = torch.stack([likeness(file, rep, views, box, prior) for file in files])
    guide = replace(apart(request, prior, push, unlike), in_turn=in_turn and several)
    if not push.mean or request.diversity_space != "clean":
        return (guide,)
    return replace(guide, weight=guide.weight * push.mean / push.weight, space="mean"), guide


def apart(request: Request, prior: Prior, push: Push, unlike: Tensor | None = None) -> ParticleGuidance:
    """Samples that keep away from each other, and from what was kept, as a prior's space has it.

    Raises:
        RequestError: features are asked for whose network is not installed.
    """
    variance = PIXEL_VARIANCE if prior.channels == 3 else 1.0
    space: Any = "clean"
    if request.diversity_space == "features":
        from ddrep_core.features import PictureEmbedding

        space = PictureEmbedding().to(prior.device)
    return ParticleGuidance(
        (request.diversity or 1.0) * push.weight,
        RadialKernel(pooled=True),  # all views of a job show one thing
        space=space,
        unlike=unlike,
        variance=variance,
        least_sigma=push.least_sigma * variance**0.5,
    )


def likeness(file: Path, rep: Diffrep, views: Views | None, box: Box | None, prior: Prior) -> Tensor:
    """[V, C, h, w] what a kept result looks like from a run's views, in the prior's space.

    A picture is what every view sees; a mesh is put into the box and drawn without light.

    Raises:
        RequestError: the file cannot be read, or is a mesh where nothing is seen from a camera.
    """
    channels, height, width = rep.image_shape
    scale = prior.image_size / max(prior.image_shape[1:])
    size = round(height * scale), round(width * scale)
    if file.suffix.lower() == ".png":
        pictures = torch.from_numpy(_picture(file, size)).permute(2, 0, 1)[None]
    elif views is None or box is None:
        raise RequestError(f"{file.name} is a mesh, and this job makes a picture.", "Give it pictures to be unlike.")
    else:
        renderer = Renderer(*_mesh(file, box))
        drawn = np.stack([renderer.flat(camera, size[1], size[0]) for camera in views])
        pictures = torch.from_numpy(drawn).permute(0, 3, 1, 2)
    with torch.no_grad():
        latents = prior.encode(pictures.float()).float().cpu()
    if latents.shape[1:] != (channels, height, width):
        latents = functional.interpolate(latents, (height, width), mode="bilinear", antialias=True)
    return latents.expand(rep.view_count, -1, -1, -1)


def _picture(file: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    """[H, W, 3] sRGB in [0, 1], of that size; what is transparent is white."""
    picture = on_white(read_picture_file(file, "picture to keep away from", largest=LARGEST_SIDE))
    resized = picture.resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return np.asarray(resized, np.float32) / np.float32(255)


def _mesh(file: Path, box: Box) -> tuple[Mesh, dict[str, Tensor]]:
    """A kept mesh in the box, as large as fits, and its parts' pictures [3, T, T]."""
    import trimesh  # takes a second, which only such a job should pay

    try:
        scene: Any = trimesh.load(file, force="scene", process=False)
        pieces: Sequence[Any] = scene.dump()
        found = [_part(piece, f"part {number}") for number, piece in enumerate(pieces) if len(piece.faces)]
    except Exception as error:  # trimesh's readers raise whatever the bytes make them raise
        raise RequestError(f"{file.name}, to keep away from, cannot be read: {error}.", "Export it again.") from error
    if not found:
        raise RequestError(f"{file.name}, to keep away from, has no faces.", "Export it again.")
    points = np.concatenate([mesh.parts[0].vertices for mesh, _ in found])
    low, high = points.min(0), points.max(0)
    if not np.isfinite(points).all() or not (high - low).max() > 0:
        raise RequestError(f"{file.name}, to keep away from, has no extent.", "Export it again.")
    off = max(np.abs(low - box.low).max(), np.abs(high - box.high).max())
    same = off < 1e-3 * (high - low).max()
    scale = 1.0 if same else float(((box.high - box.low) / np.maximum(high - low, 1e-9)).min())
    middle, there = (low + high) / 2, (box.low + box.high) / 2
    parts, pictures = [], {}
    for mesh, picture in found:
        part = mesh.parts[0]
        moved = part.vertices if same else (part.vertices - middle) * scale + there
        parts.append(mesh_of(moved, part.faces, part.uv, part.name).parts[0])
        if picture is not None:
            pictures[part.name] = picture
    return replace(found[0][0], parts=tuple(parts)), pictures


def _part(piece: Any, name: str) -> tuple[Mesh, Tensor | None]:
    vertices = np.asarray(piece.vertices, np.float64) @ Y_UP_TO_WORLD.T
    faces = np.asarray(piece.faces, np.int64)
    uv = getattr(piece.visual, "uv", None)
    corners = np.zeros((len(faces), 3, 2)) if uv is None else np.asarray(uv, np.float64)[faces]
    material = getattr(piece.visual, "material", None)
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    picture = None
    if uv is not None and isinstance(image, Image.Image):
        pixels = np.asarray(image.convert("RGB"), np.float32) / 255
        picture = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    return mesh_of(vertices, faces, corners, name), picture


def distances(folder: JobFolder, records: Iterable[dict[str, Any]]) -> list[list[float]] | None:
    """How far a job's samples are apart: the root mean square difference of their pictures, 0 (alike) to 1.

    None where not all have a picture of the same kind.
    """
    files = [record["files"] for record in records]
    kind = next((kind for kind in COMPARED if all(kind in names for names in files)), None)
    if kind is None or len(files) < 2:
        return None
    try:
        shown = [_picture(folder.resolve(names[kind]), (COMPARED_SIZE, COMPARED_SIZE)) for names in files]
    except RequestError:
        return None
    return [[round(float(np.sqrt(np.square(one - other).mean())), 4) for other in shown] for one in shown]
