"""`ddrep from-image`: one picture in, several objects out that it may show, each the same from all sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.diffreps.voxel_nerf import BACKGROUND_SCALE, COLOUR_SCALE, DENSITY_SCALE, VoxelNerfDiffrep
from ddrep_core.forward_models import ForwardPrior, separate_pictures
from ddrep_core.forward_models.field import MIDDLE, seen_as
from ddrep_core.forward_models.object_prior import TARGETS, ObjectPrior
from ddrep_core.forward_models.rig import DISTANCE, FIELD_OF_VIEW, PLACES
from ddrep_core.geometry.surface import require_decimation
from ddrep_core.jobs.blocks import FromImageRequest
from ddrep_core.jobs.cut_out import CutOut, read_cut_out
from ddrep_core.jobs.folder import write_bytes
from ddrep_core.jobs.generate import Surface, nearest_covered, nerf_mesh, picture_row
from ddrep_core.jobs.palette import wanted_palette
from ddrep_core.jobs.recipe import Recipe
from ddrep_core.jobs.session import Preview, Session
from ddrep_core.jobs.task import Made, Stage
from ddrep_core.pictures import decode, open_picture, png_bytes
from ddrep_core.priors.protocol import Prior
from ddrep_core.sampling.given import HOLD_WEIGHT
from ddrep_core.sampling.sample import Result, SamplerState, StepReport
from ddrep_core.views import Views
from ddrep_core.views.orbit import views_from

FINE = 128  # pixels a side of what the surface is painted with
ON_TOP = ("top", 0.0, 75.0)
LEAST_DENSITY = 1e-6
TILE = 128


@dataclass(frozen=True)
class Drawing:
    """One run of the views that are not given; a `Procedure`."""

    recipe: Recipe
    known: ForwardPrior

    @property
    def rep(self) -> Diffrep:
        return self.recipe.rep

    @property
    def together(self) -> bool:
        return self.recipe.together

    def run(
        self,
        prior: Prior,
        *,
        seed: int,
        samples: int,
        callback: Callable[[StepReport], None],
        state: SamplerState | None,
    ) -> Result:
        """As `Procedure.run`; what is asked is the prior that knows the picture."""

        def tell(step: StepReport) -> None:
            callback(replace(step, disagreement=None))  # views of one field agree, whatever stands in their pictures

        return self.recipe.run(self.known, seed=seed, samples=samples, callback=tell, state=state)


def start(session: Session) -> Stage:
    """The picture, and what is not seen of its object under noise.

    Raises:
        RequestError: a picture that shows no object, or several (`jobs.cut_out`).
    """
    settings = session.request.settings(FromImageRequest)
    require_decimation()
    wanted_palette(settings, session.folder)
    found = read_cut_out(session.folder.resolve(settings.picture))
    if found.touches:
        session.warn("The object reaches the edge of the picture: what is cut off there stays cut off.")
    if found.guessed:
        session.warn("The object was cut out of a ground of many colours: look at the first picture of views.png.")
    prior: ObjectPrior = session.prior
    known = prior.given({0: seen_as(*found.resized(prior.image_size))}, TARGETS)
    recipe = session.recipe(separate_pictures(known, len(TARGETS)))
    return Stage(Drawing(recipe, known), Found(found, known).finish, Found.previews)


@dataclass(frozen=True)
class Found:
    """What was cut out of the picture, and the prior that knows it."""

    given: CutOut
    known: ObjectPrior

    @staticmethod
    def previews(session: Session, step: StepReport) -> Sequence[Preview]:
        """The other sides, as they are now."""
        return [Preview("object", picture_row(decode(session.prior, step.diffrep.render())))]

    def finish(self, session: Session, result: Result) -> Made:
        """The object's surface, painted with what its field shows and, in front, with the picture itself."""
        session.stage("Extracting the surface")
        field = radiance_field(self.known.behind(result.diffrep.render()[None])[0])
        mesh, likeness = nerf_mesh(field, session.request.settings(FromImageRequest).faces)
        session.stage("Painting the surface")
        with torch.no_grad():
            seen, opacity = field.render_with_opacity()
        # Without the ground's white in it: where a field is soft, its surface would be pale.
        pure = (seen - (1 - opacity)) / opacity.clamp_min(1e-2)
        colours, coverage = self.given.resized(FINE)
        seen[0], pure[0], opacity[0] = colours + 1 - coverage, colours / coverage.clamp_min(1e-2), coverage
        paints = torch.stack([nearest_covered(each, of[0].numpy()) for each, of in zip(pure, opacity, strict=True)])
        front = replace(field.views[0], weight=HOLD_WEIGHT)
        views = replace(field.views, cameras=(front, *list(field.views)[1:]))
        made = Surface(mesh, likeness).painted(session, views, seen, paints.clamp(0, 1))
        files = {**made.files, "views": session.outputs / "views.png"}
        write_bytes(files["views"], png_bytes(picture_row(seen[: len(PLACES)], TILE)))
        count = session.request.samples
        if count > 1 and session.sample_number == count - 1:
            files["objects"] = session.folder.sample_outputs(0, 1) / "objects.png"
            rows = [session.folder.sample_outputs(number, count) / "views.png" for number in range(count)]
            write_bytes(files["objects"], png_bytes(_below_each_other([open_picture(row) for row in rows])))
        return replace(made, files=files, told={**made.told, "agreement": None})


def radiance_field(signal: Tensor) -> VoxelNerfDiffrep:
    """A signal [4, R, R, R] as the field that `ddrep generate` makes surfaces of, before a white ground."""
    places = (*PLACES, ON_TOP)
    views: Views = views_from(places, DISTANCE, FIELD_OF_VIEW, None, FINE, FINE)
    field = VoxelNerfDiffrep(views, (3, FINE, FINE), signal.shape[-1], levels=1, subsamples=1)
    density = signal[:1].clamp_min(LEAST_DENSITY)
    raw = density + torch.log(-torch.expm1(-density))  # what softplus makes the density of
    with torch.no_grad():
        field.theta["grid_0"].copy_(torch.cat([raw / DENSITY_SCALE, (signal[1:] + MIDDLE) / COLOUR_SCALE]))
        field.theta["background"].fill_(1 / BACKGROUND_SCALE)
    return field


def _below_each_other(rows: Sequence[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    for number, row in enumerate(rows):
        sheet.paste(row.convert("RGB"), (0, number * rows[0].height))
    return sheet
