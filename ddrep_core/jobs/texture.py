"""`ddrep texture`: a mesh and words in, the same mesh with a texture out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ddrep_core.diffreps.image_texture import ImageTextureDiffrep
from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.diffreps.texture import TextureDiffrep, rays_along_pixel
from ddrep_core.errors import RequestError
from ddrep_core.geometry.bake import BakedTexture, Baker, Worn, baking_bytes, coverage_share, solving_resolution
from ddrep_core.geometry.glb import write_glb
from ddrep_core.geometry.load import load_mesh
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.signals import control_signals
from ddrep_core.geometry.symmetry import Mirrored, symmetry_of
from ddrep_core.geometry.texels import check_texture_repeats
from ddrep_core.jobs.apart import OF_SURFACES, Box
from ddrep_core.jobs.blocks import EditRequest, TextureRequest
from ddrep_core.jobs.detail import Subject, Write, check_detail, detail_stage
from ddrep_core.jobs.folder import replacing, write_bytes, write_json
from ddrep_core.jobs.materials import Maps, MaterialModels, data_path, material_models
from ddrep_core.jobs.pace import StageProgress
from ddrep_core.jobs.palette import wanted_palette
from ddrep_core.jobs.pins import Pinned, read_pins
from ddrep_core.jobs.present import Present, worn_by
from ddrep_core.jobs.session import Preview, Session
from ddrep_core.jobs.task import Illustration, Made, Stage
from ddrep_core.jobs.tone import carried_on
from ddrep_core.jobs.views import Outlook, look_at_mesh, request_cameras
from ddrep_core.memory import require_bytes
from ddrep_core.pictures import decode, png_bytes, to_uint8
from ddrep_core.priors.protocol import TILE, Controls, Prior, hears
from ddrep_core.progress import Progress, portion, unheard
from ddrep_core.report import contact_sheet, turntable
from ddrep_core.sampling.sample import Result, StepReport
from ddrep_core.schedules.grown import Grown
from ddrep_core.views import Views

AUTO_SCHEDULE = "repaint:1,1,2"  # growing wins on the beds, not yet on the bundled prior: docs/agreement.md
TEXTURE_GUIDANCE = 5.0
"""At least, where nobody says otherwise: depth tells the prior the shape, and words alone the material."""
STRENGTH = 0.6
"""Of a job that starts from what is worn, where nobody says otherwise: forms stay, and materials may change."""
PREVIEW_TEXTURE = 256
# Of all previews between them: more objects have coarser ones, still with a few texels to a pixel of the views.
ENOUGH_PREVIEW_TEXELS, MOST_PREVIEW_TEXELS, PREVIEW_TEXELS_PER_PIXEL = 250_000, 1_000_000, 4
MOST_PREVIEWED = 1024  # objects: a file for each takes longer than what it shows
PREVIEW_VIEWS = 4
UV_LAYER = "DDRep"
LONGEST_NAME = 120  # bytes of an object's or material's name in a file's name
# A finer texture holds what the views disagree about in the texels between their samples (docs/agreement.md).
TEXELS_PER_PIXEL = 0.25


def start(session: Session) -> Stage:
    """Everything that the samples of one texture job share: the mesh, the views, the rays between them.

    Raises:
        RequestError: a mesh that cannot be textured, cameras that see nothing, a schedule that cannot be read.
    """
    request = session.request
    settings = request.settings(TextureRequest)
    check_detail(settings)
    refuse_kept_mirrors(settings)
    wanted_palette(settings, session.folder)
    models = material_models(settings)
    session.stage("Reading the mesh")
    path, root = session.folder.resolve(settings.mesh), session.folder.path
    mesh = load_mesh(path, settings.mesh_up, objects=settings.objects, root=root, udim=settings.udim)
    worn = worn_by(mesh, settings, session.folder)
    cameras = request_cameras(request, session.folder)
    prior = session.prior
    size, rays = prior.image_size, rays_across(prior)
    looking = session.stage("Looking at the mesh from every camera")
    mesh = replace(mesh, both_sides=settings.both_sides)
    outlook = look_at_mesh(cameras, mesh, size, rays, settings.front_degrees)
    tell_left_out(session, outlook)
    if settings.symmetry is not None:
        outlook = replace(outlook, mesh=mirrored_mesh(session, outlook.mesh, settings))
    mesh, views = outlook.mesh, outlook.views
    require_bytes(
        baking_bytes(mesh, settings.resolution, len(views), (size, size)),
        f"Baking {_textures(len(mesh.textured_parts), settings.resolution)}",
        "Ask for a lower resolution or fewer objects at a time, or close other programs.",
    )
    check_texture_repeats(mesh, settings.resolution)
    rep: Diffrep = texture_diffrep(mesh, views, prior, settings, portion(looking, 0, 0.6))
    baker, given, worn_pictures, present = None, None, None, None
    pinned = read_pins(settings.pins, cameras, views, session.folder, (size, size))
    painting = views if pinned is None else pinned.heavier(views)
    if worn or pinned is not None:
        looking = session.stage("Looking at what is there")
        baker = Baker(mesh, painting, settings.resolution, (size, size), worn=worn, progress=portion(looking, 0, 0.6))
    if worn and baker is not None:
        present = Present.of(baker, worn)
        given = present.given(rep, prior)
        if settings.keep and given is None:
            session.warn("What is kept is too small for the views: it stays, but the rest is painted without regard.")
        if settings.from_texture:
            rep, worn_pictures = present.start(rep, prior), present.pictures
    recipe = session.recipe(
        rep,
        views,
        auto_schedule=AUTO_SCHEDULE,
        least_guidance=TEXTURE_GUIDANCE,
        controls=surface_controls(mesh, views, prior, settings.depth, worn_pictures),
        strength=(settings.strength or STRENGTH) if settings.from_texture else None,
        box=Box(*mesh.bounds),
        push=OF_SURFACES,
    )
    if pinned is not None:
        seen = pinned.given(mesh, views, rep, prior, carry=not isinstance(recipe.schedule, Grown))
        given = seen if given is None else seen.over(given)
    # No finer than the views have something to say: Blender puts a preview on the graphics card between two frames.
    small = preview_resolution(mesh, min(PREVIEW_TEXTURE, 2 * size, settings.resolution), len(views) * size**2)
    preview_baker = Baker(
        mesh,
        views,
        small,
        (size, size),
        worn={name: each.at(small) for name, each in worn.items()},
        progress=portion(looking, 0.6, 1),
    )
    kept = present if settings.keep else None
    texturing = Texturing(settings, mesh, outlook, preview_baker, baker, pinned, worn, kept, models)
    return Stage(replace(recipe, given=given), texturing.finish, texturing.previews)


@dataclass
class Texturing:
    """What becomes of a texture job's samples.

    Attributes:
        mesh: as the cameras see it.
        baker: of the pictures' size, made with the first sample.
        pinned: what some of the views shall show.
        worn: what the mesh wore before, where something of it is kept or was started from.
        present: how the views see it, where something is kept.
        models: what is asked of the finished texture.
    """

    settings: TextureRequest
    mesh: Mesh
    outlook: Outlook
    preview_baker: Baker
    baker: Baker | None = None
    pinned: Pinned | None = None
    worn: Mapping[str, Worn] = field(default_factory=dict)
    present: Present | None = None
    models: MaterialModels | None = None

    def previews(self, session: Session, step: StepReport) -> Sequence[Preview]:
        """Each object's texture, where they are not too many, and some of the views in a row."""
        pictures = decode(session.prior, step.diffrep.render())
        parts = {part.name: part for part in self.mesh.parts}
        found = [
            Preview("texture", Image.fromarray(baked.pixels()), parts[name].object_name)
            for name, baked in (self.preview_baker.bake(pictures) if len(parts) <= MOST_PREVIEWED else {}).items()
            if not parts[name].tile  # one picture could not show them
        ]
        shown = pictures[:: max(1, len(pictures) // PREVIEW_VIEWS)][:PREVIEW_VIEWS]
        row = Image.fromarray(to_uint8(torch.cat(list(shown), dim=2)))
        row.thumbnail((1024, 256))
        return [*found, Preview("views", row)]

    def finish(self, session: Session, result: Result) -> Stage | Made:
        """Bake the views into textures, and write them and the mesh that wears them; or go on to close-ups."""
        views = self.outlook.views
        not_agreed = [views[view].name for view in result.not_agreed]
        if not_agreed:
            session.warn(
                f"The views {', '.join(not_agreed)} were kept although they do not fully agree with the others. "
                "More steps or another seed may help."
            )
        baking = session.stage("Baking the texture")
        with torch.no_grad():
            pictures = decode(session.prior, result.diffrep.render())
        if self.baker is None:
            shape = pictures.shape[2], pictures.shape[3]
            self.baker = Baker(self.mesh, views, self.settings.resolution, shape, progress=portion(baking, 0, 0.4))
        if self.present is not None:
            seen = self.present
            side = session.prior.image_size // max(session.prior.image_shape[1:])
            pictures = carried_on(pictures, seen.pictures.to(pictures), seen.kept.to(pictures), side)
        if self.pinned is not None:
            pictures = self.pinned.shown(pictures)
        baked = self.baker.bake(pictures, portion(baking, 0.4, 1))
        told: dict[str, Any] = {
            "not_agreed": not_agreed,
            "views": [camera.name for camera in views],
            "left_out": self.outlook.left_out_names,
        }

        def write(session: Session, baked: dict[str, BakedTexture], pictures: Tensor, more: dict[str, Any]) -> Made:
            if self.baker is not None and (wanted := wanted_palette(self.settings, session.folder)) is not None:
                baked = wanted.textures(baked, self.baker)
            maps = None
            if self.baker is not None and self.models is not None:
                maps = self.models.maps(session, self.mesh, views, self.baker, baked)
                baked = maps.baked
            session.stage("Writing the results")
            made = write_textured_mesh(session, self.mesh, baked, self.settings.front_degrees, maps)
            sheet = sheet_of_views(session, self.mesh, baked, views, pictures)
            if self.pinned is not None and self.baker is not None:
                more = {"pins": self.pinned.differences(self.baker, baked, views)} | more
            return replace(made, told=made.told | told | more, illustrations=(*made.illustrations, sheet))

        if self.settings.detail:
            subject = self.subject(session, pictures, baked, result.nfe * len(views), write)
            stage = detail_stage(session, subject, self.settings.close_ups, self.settings.detail_strength)
            if stage is not None:
                return stage
        return write(session, baked, pictures, {})

    def subject(
        self, session: Session, pictures: Tensor, baked: dict[str, BakedTexture], evaluations: float, write: Write
    ) -> Subject:
        """What close-ups are made of."""
        prior, settings = session.prior, self.settings
        return Subject(
            self.mesh,
            self.outlook.views,
            pictures.shape[-1],
            {name: each.pixels() for name, each in baked.items()},
            represent=lambda views: texture_diffrep(self.mesh, views, prior, settings),
            controls=lambda views, shown: surface_controls(self.mesh, views, prior, settings.depth, shown),
            worn=self.worn,
            least_guidance=TEXTURE_GUIDANCE,
            evaluations=evaluations,
            write=write,
            pictures=pictures,
        )


def refuse_kept_mirrors(settings: TextureRequest | EditRequest) -> None:
    """Raises a RequestError where a part is to be kept of a mesh whose sides share their texels."""
    if settings.symmetry is not None and settings.keep:
        raise RequestError(
            "What is kept on one side of a mesh would have to be worn on the other, too.",
            "Leave --keep out; or edit a copy of the mesh that lies outside of its job: its sides are then two."
            if isinstance(settings, EditRequest)
            else "Leave --keep or --symmetry out.",
        )


def mirrored_mesh(session: Session, mesh: Mesh, settings: TextureRequest) -> Mesh:
    """The mesh as its own mirror image, as the settings say; tells how much of it is.

    Raises:
        RequestError: it is not symmetric.
    """
    assert settings.symmetry is not None
    mesh, share = symmetry_of(mesh, settings.symmetry)
    assert mesh.symmetry is not None
    told = Mirrored(mesh, settings.resolution)
    left = told.far - told.shared
    rest = f" The other {left:,} have none, and are painted on their own." if left > 0 else ""
    session.warn(
        f"The sides share their texels about {settings.symmetry} = {mesh.symmetry.offset:.4g}: {told.shared:,} of the "
        f"{told.far:,} texels behind that plane are their partners'.{rest}",
        symmetry={"shared": told.shared, "behind": told.far, "share": round(share, 4)},
    )
    return mesh


def rays_across(prior: Prior) -> int:
    """Along each side of a view, by which to tell what it sees: as many as its representation has."""
    latent_size = max(prior.image_shape[1:])
    return latent_size * rays_along_pixel(latent_size)


def surface_controls(
    mesh: Mesh, views: Views, prior: Prior, shape: bool = True, worn: Tensor | None = None
) -> Controls:
    """What a mesh shows to a prior that hears it, from every view: its depth, its normals, its lines, what it wears.

    Args:
        shape: whether to show the shape.
        worn: [V, 3, H, W] the views of the texture that a run starts from; without it, a run shows its own.
    """
    signals = control_signals(mesh, views, prior.image_size, prior.image_size, hears(prior)) if shape else {}
    return signals if worn is None or TILE not in hears(prior) else {**signals, TILE: worn.clamp(0, 1)}


def preview_resolution(mesh: Mesh, resolution: int, pixels: int) -> int:
    """The resolution of the textures that are shown while sampling: lower for many objects.

    Args:
        resolution: at most; pixels: of all views.
    """
    most = min(max(PREVIEW_TEXELS_PER_PIXEL * pixels, ENOUGH_PREVIEW_TEXELS), MOST_PREVIEW_TEXELS)
    return solving_resolution(mesh, resolution, pixels, most)


def tell_left_out(session: Session, outlook: Outlook) -> None:
    """Say which cameras are not sampled, and why."""
    for group in outlook.left_out:
        session.warn(group.words(len(outlook.views)), left_out=list(group.names), why=group.why.value)
    if outlook.turned_degrees:
        session.warn(
            f"From where the orbit begins no camera sees anything of the mesh: it was turned by "
            f"{outlook.turned_degrees:g} degrees, to where the faces look."
        )


def texture_diffrep(
    mesh: Mesh, views: Views, prior: Any, settings: TextureRequest, progress: Progress = unheard
) -> TextureDiffrep | ImageTextureDiffrep:
    """The representation that a texture request samples.

    "image" lets the views of a prior of latents meet in RGB; so does "auto", because colours agree better (README).
    A prior of pictures needs no such meeting: its latents are pictures.
    """
    channels, height, width = prior.image_shape
    dtype = torch.float64 if prior.dtype == torch.float64 else torch.float32
    common: dict[str, Any] = {
        "texels_per_pixel": TEXELS_PER_PIXEL,
        "dtype": dtype,
        "device": prior.device,
        "progress": progress,
    }
    if channels == 3 or settings.space == "latent":
        return TextureDiffrep(mesh, views, settings.resolution, channels, view_size=(height, width), **common)
    return ImageTextureDiffrep(mesh, views, prior, settings.resolution, **common)


def write_textured_mesh(
    session: Session,
    mesh: Mesh,
    baked: dict[str, BakedTexture],
    front_degrees: float = 0.0,
    maps: Maps | None = None,
) -> Made:
    """Write textures, coverage maps, new UVs and GLB; tells of the objects. A turntable is drawn when they are safe."""
    outputs, folder = session.outputs, session.folder
    files: dict[str, Path] = {}
    objects = []
    pictures: dict[str, Path] = {}
    data: dict[str, dict[str, Path]] = {}
    parts = {part.name: part for part in mesh.parts}
    names = _file_names(list(baked))
    object_names = _file_names(list(mesh.object_names))
    suffixes = {name: "" if len(baked) == 1 else f"_{names[name]}" for name in baked}
    if len(mesh.object_names) == 1 and len({part.material for part in mesh.textured_parts}) == 1:
        suffixes |= {name: f".{parts[name].tile}" for name in baked if parts[name].tile}
    for part_name, texture in baked.items():
        part = parts[part_name]
        suffix = suffixes[part_name]
        paths = {"texture": outputs / f"texture{suffix}.png", "coverage": outputs / f"coverage{suffix}.png"}
        with replacing(paths["texture"]) as texture_path, replacing(paths["coverage"]) as coverage_path:
            texture.save(texture_path, coverage_path)
        pictures[part_name] = paths["texture"]
        data[part_name] = {} if maps is None else _write_maps(maps, part_name, paths["texture"])
        paths |= data[part_name]
        for what, path in paths.items():
            files[f"{what}{suffix}"] = path
        if part.unwrapped:
            name = object_names[part.object_name]
            path = outputs / f"uv_{name}.json"
            write_json(path, {"uv": mesh.uv_layout(part.object_name).tolist()})
            files[f"uv_{name}"] = path
        objects.append(
            {
                "name": part.object_name,
                "material": part.material,
                "texture": folder.relative(paths["texture"]),
                "coverage": folder.relative(paths["coverage"]),
                "uv_layer": UV_LAYER if part.unwrapped else None,
                **({"tile": part.tile} if part.tile else {}),
                **{what: folder.relative(path) for what, path in data[part_name].items()},
                "coverage_share": round(texture.coverage_share, 4),
            }
        )
    files["mesh"] = outputs / "mesh.glb"
    with replacing(files["mesh"]) as path:
        write_glb(mesh, pictures, path, data)
    film_path, still_path = outputs / "turntable.mp4", outputs / "turntable.png"

    def draw_turntable(progress: StageProgress) -> None:
        with replacing(film_path) as film, replacing(still_path) as still:
            turntable(mesh, baked, film, still, front_degrees=front_degrees, progress=progress)

    film = Illustration("the turntable", {"turntable": film_path, "turntable_still": still_path}, draw_turntable)
    return Made(files, {"objects": objects, "coverage_share": round(coverage_share(baked), 4)}, (film,))


def _write_maps(maps: Maps, part_name: str, texture: Path) -> dict[str, Path]:
    """A part's material maps, and its base colour as it was painted where it was de-lit; by what they are."""
    images = dict(maps.data[part_name])
    if part_name in maps.lit:
        images["lit"] = maps.lit[part_name].pixels()
    found = {}
    for what, image in images.items():
        found[what] = data_path(texture, what)
        write_bytes(found[what], png_bytes(Image.fromarray(image)))
    return found


def _textures(count: int, resolution: int) -> str:
    return f"{count} textures of {resolution}²" if count > 1 else f"a texture of {resolution}²"


def sheet_of_views(
    session: Session, mesh: Mesh, baked: dict[str, BakedTexture], views: Views, pictures: Tensor
) -> Illustration:
    """A sheet of what each view saw."""
    sheet = session.outputs / "contact_sheet.png"

    def draw(progress: StageProgress) -> None:
        with replacing(sheet) as path:
            contact_sheet(mesh, baked, views, pictures, path, progress=progress)

    return Illustration("the contact sheet", {"contact_sheet": sheet}, draw)


def _file_names(names: Sequence[str]) -> dict[str, str]:
    """A file name for each part, all different."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = base = _file_name(name)
        number = 2
        while plain.lower() in taken:
            plain, number = f"{base}_{number}", number + 1
        taken.add(plain.lower())
        found[name] = plain
    return found


def _file_name(name: str) -> str:
    """The name as any system can have it: no longer than file systems allow with what is put around it."""
    plain = re.sub(r"[^\w.-]+", "_", name)
    return plain.encode()[:LONGEST_NAME].decode(errors="ignore").strip(".") or "object"
