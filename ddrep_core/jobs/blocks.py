"""What each task may be told: its block of job.json, whose fields are its command's options."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from ddrep_core.jobs.block import JOB, SAMPLING, Block, Later, Option, Prompt, RelativePath

DAMAGE = re.compile(r"inpaint|(?:(upscale|deblur):(\d{1,3}(?:\.\d{1,3})?))")


Resolution = Annotated[int, Field(ge=16, le=8192, description="Side of the texture in pixels."), JOB]


class Coloured(Block):
    """What is made in colours that can be moved to a picture's."""

    palette: Annotated[RelativePath | None, JOB, Later()] = Field(
        None,
        description="Move the colours of what was made to this picture's: mean and spread, statistics, no style.",
    )
    palette_amount: Annotated[float | None, JOB, Later()] = Field(
        None, gt=0, le=1, description="With --palette: how far, up to 1, which it is when not given."
    )


class OfObject(Block):
    """A picture in an object's UV space."""

    object: str | None = Field(None, min_length=1)
    """None: of all that is textured."""
    file: RelativePath


class Pin(Block):
    """What one camera's view shall show: a render, a photograph, a painting over; its alpha says how far."""

    camera: str = Field(min_length=1)
    file: RelativePath
    weight: float = Field(1.0, gt=0, le=1)


class TextureRequest(Coloured):
    """Texture an existing mesh: the same mesh comes back, painted from all sides at once."""

    takes_cameras: ClassVar[bool] = True
    keeps_away: ClassVar[bool] = True

    mesh: RelativePath = Field(description="OBJ, GLB, PLY, STL, OFF, DAE, 3MF, ...")
    mesh_up: Annotated[Literal["auto", "y", "z"], JOB] = Field("auto", description="The file's upward axis.")
    resolution: Resolution = 1024
    space: Annotated[Literal["auto", "latent", "image"], SAMPLING] = Field(
        "auto", description="Where views agree: latents, or colours too."
    )
    objects: Annotated[list[str] | None, Option("Job", ("--object",))] = Field(
        None, min_length=1, description="Texture only this object; may be repeated."
    )
    depth: Annotated[bool, SAMPLING] = Field(True, description="Show the mesh's shape to ControlNets.")
    front_degrees: Annotated[float, Option("Job", ("--front",))] = Field(
        0.0, description="Which way the object faces: degrees around Z from -Y (0) towards +X (90)."
    )
    both_sides: Annotated[bool, JOB, Later()] = Field(
        False, description="Paint faces seen from behind, too: sheets, rooms from inside."
    )
    keep: Annotated[list[OfObject], Option("Job", ("--keep",)), Later()] = Field(
        default_factory=list,
        max_length=256,
        description="Texels that stay: MASK or OBJECT=MASK, in UV space, white is kept; of a tile OBJECT.1001=MASK. "
        "May be repeated.",
    )
    base: Annotated[list[OfObject], Option("Job", ("--base",)), Later()] = Field(
        default_factory=list,
        max_length=256,
        description="What is worn now, PICTURE or OBJECT=PICTURE (OBJECT.1001=PICTURE); the mesh's own when not given. "
        "May be repeated.",
    )
    from_texture: Annotated[bool, JOB, Later()] = Field(
        False, description="Start from what is worn now, as far as --strength says."
    )
    strength: Annotated[float | None, JOB, Later()] = Field(
        None, gt=0, le=1, description="With --from-texture: how much may change, up to 1; 0.6 when not given."
    )
    pins: Annotated[list[Pin], Option("Job", ("--pin",)), Later()] = Field(
        default_factory=list,
        max_length=512,
        description="CAMERA=PICTURE or CAMERA=PICTURE:WEIGHT: what that view shows; may be repeated.",
    )
    detail: Annotated[bool, JOB, Later()] = Field(
        False, description="After the whole, paint close-ups of what its views do not resolve."
    )
    close_ups: Annotated[int | None, JOB, Later()] = Field(
        None, ge=1, le=512, description="With --detail: at most so many; by default, what costs as much as the whole."
    )
    detail_strength: Annotated[float | None, SAMPLING, Later()] = Field(
        None, gt=0, le=1, description="With --detail: how much close-ups may change, up to 1; 0.4 when not given."
    )

    symmetry: Annotated[Literal["x", "y", "z"] | None, JOB, Later()] = Field(
        None, description="The mesh is its own mirror image about this axis: both sides share their texels."
    )

    udim: Annotated[bool, JOB, Later()] = Field(
        False, description="The mesh's UVs lie in UDIM tiles: a texture for each, NAME.1001.png and so on."
    )

    intrinsics: Annotated[str | None, JOB, Later()] = Field(
        None,
        min_length=1,
        description="A folder with an intrinsic-image model (MarigoldIntrinsicsPipeline): roughness, metallic, albedo.",
    )
    normals_model: Annotated[str | None, JOB, Later()] = Field(
        None, min_length=1, description="A folder with a model of normals (MarigoldNormalsPipeline): a normal map."
    )
    delight: Annotated[bool, JOB, Later()] = Field(
        False, description="With --intrinsics: the base colour is its albedo, without the light that was painted."
    )
    ensemble: Annotated[int | None, JOB, Later()] = Field(
        None,
        ge=1,
        le=64,
        description="Predictions of each view, joined: 4 when not given, 3 or more tell doubt.",
    )


class ObjectRequest(Coloured):
    """A new object, from a radiance field."""

    size: Annotated[float, JOB] = Field(1.0, gt=0, le=1e6, description="Largest side in metres.")
    faces: Annotated[int, JOB] = Field(20_000, ge=100, le=2_000_000, description="Triangles at most.")
    resolution: Resolution = 1024


class GenerateRequest(ObjectRequest):
    """A new object from words: a NeRF, and from it a textured GLB."""

    takes_cameras: ClassVar[bool] = True
    keeps_away: ClassVar[bool] = True
    called: ClassVar[str] = "object"

    grid: Annotated[int, SAMPLING] = Field(100, ge=8, le=512, description="Voxels a side, at most.")


class ImageRequest(Coloured):
    """A picture held by a SIREN, drawn at any resolution."""

    keeps_away: ClassVar[bool] = True

    width: Annotated[int, JOB] = Field(512, ge=8, le=16384, description="Of the PNG; any size will do.")
    height: Annotated[int, JOB] = Field(512, ge=8, le=16384, description="Of the PNG.")
    keep: Annotated[RelativePath | None, JOB, Later()] = Field(
        None, description="What stays of --base: a mask of the result's size, white is kept."
    )
    base: Annotated[RelativePath | None, JOB, Later()] = Field(
        None, description="The picture that --keep keeps a part of."
    )
    tile: Annotated[bool, JOB, Later()] = Field(
        False, description="A picture whose opposite sides meet: a material that repeats without a seam."
    )


class PanoramaRequest(Coloured):
    """A 360° panorama.

    As a sphere it is equirectangular, twice as wide as high.
    """

    projection: Annotated[Literal["sphere", "cylinder"], JOB] = Field(
        "sphere", description="The whole sphere, or a band."
    )
    width: Annotated[int, JOB] = Field(2048, ge=64, le=16384, description="Of the panorama in pixels.")
    hdr: Annotated[bool, JOB] = Field(False, description="Write an HDR file too.")
    keep: Annotated[RelativePath | None, JOB, Later()] = Field(
        None, description="What stays of --base: a mask of the result's size, white is kept."
    )
    base: Annotated[RelativePath | None, JOB, Later()] = Field(
        None, description="The picture that --keep keeps a part of."
    )


class EditRequest(Block):
    """Change what exists while it stays itself: a result, a textured mesh, a picture or a drawing, by other words."""

    takes_cameras: ClassVar[bool] = True

    source: RelativePath = Field(
        description="A job's folder, one of its files, a textured mesh, a picture, or an SVG file."
    )
    kind: Annotated[Literal["auto", "texture", "image", "panorama", "vector"], JOB] = Field(
        "auto", description="As what it is edited; told from the file by default."
    )
    source_prompt: Annotated[Prompt, JOB] = Field(
        "", description="What it shows now, in words; the job's own prompt where a job made it."
    )
    method: Annotated[Literal["difference", "sdedit", "dds", "pds", "sds"], SAMPLING] = Field(
        "difference", description="How: docs/methods.md."
    )
    strength: Annotated[float | None, SAMPLING] = Field(
        None, gt=0, le=1, description="How much may change, of difference (by default 1) and sdedit (0.7)."
    )
    resolution: Annotated[int | None, JOB] = Field(
        None, ge=16, le=8192, description="Side of a texture in pixels; its own when not given."
    )
    mesh_up: Annotated[Literal["auto", "y", "z"], JOB] = Field("auto", description="A mesh file's upward axis.")
    objects: Annotated[list[str] | None, Option("Job", ("--object",))] = Field(
        None, min_length=1, description="Edit only this object of a mesh; may be repeated."
    )
    front_degrees: Annotated[float, Option("Job", ("--front",))] = Field(
        0.0, description="Which way an object faces: degrees around Z from -Y (0) towards +X (90)."
    )
    both_sides: Annotated[bool, JOB] = Field(False, description="Edit faces of a mesh seen from behind, too.")
    textures: dict[str, RelativePath] | None = Field(
        None, description="Pictures that a mesh wears, by its objects' names, where its file does not say."
    )
    depth: Annotated[bool, SAMPLING] = Field(True, description="Show a mesh's depth to a ControlNet.")
    projection: Annotated[Literal["sphere", "cylinder"], JOB] = Field(
        "sphere", description="Of a panorama: the whole sphere, or a band."
    )
    moving: Annotated[
        list[Literal["colours", "coordinates", "widths", "opacities"]] | None, Option("Job", ("--move",)), Later()
    ] = Field(
        None,
        min_length=1,
        description="What of an SVG may change: colours, coordinates, widths, opacities; may be repeated. "
        "Only its colours when not given.",
    )
    keep: Annotated[list[OfObject], Option("Job", ("--keep",)), Later()] = Field(
        default_factory=list,
        max_length=256,
        description="What stays: a mask of the picture's or the texture's size, white is kept. Of a mesh MASK or "
        "OBJECT=MASK, in UV space, of a UDIM tile OBJECT.1001=MASK; may be repeated.",
    )
    symmetry: Annotated[Literal["x", "y", "z"] | None, JOB, Later()] = Field(
        None, description="Of a mesh: both sides share their texels; the job's own where a job made it."
    )
    udim: Annotated[bool, JOB, Later()] = Field(
        False, description="Of a mesh: UVs lie in UDIM tiles; the job's own where a job made it."
    )


class VectorRequest(Block):
    """A drawing of closed paths, one colour each: an SVG whose layers can be edited."""

    paths: Annotated[int, JOB] = Field(32, ge=1, le=512, description="At most so many; what does not show is left out.")
    size: Annotated[int, JOB] = Field(512, ge=16, le=8192, description="Side of the PNG beside it, in pixels.")


class DetailRequest(Block):
    """Paint close-ups of what a finished texture does not resolve."""

    takes_cameras: ClassVar[bool] = True
    of_textures: ClassVar[bool] = True

    source: RelativePath = Field(description="A texture job's folder, its mesh.glb, or any textured mesh.")
    resolution: Annotated[int | None, JOB] = Field(
        None, ge=16, le=8192, description="Side of the texture in pixels; its own when not given."
    )
    close_ups: Annotated[int | None, JOB] = Field(
        None, ge=1, le=512, description="At most so many; by default, what costs as much as a texture does."
    )
    strength: Annotated[float | None, JOB] = Field(
        None, gt=0, le=1, description="How much close-ups may change, up to 1; 0.4 when not given."
    )
    mesh_up: Annotated[Literal["auto", "y", "z"], JOB] = Field("auto", description="The file's upward axis.")
    objects: Annotated[list[str] | None, Option("Job", ("--object",))] = Field(
        None, min_length=1, description="Only this object; may be repeated."
    )
    depth: Annotated[bool, SAMPLING] = Field(True, description="Show the mesh's shape to ControlNets.")
    front_degrees: Annotated[float, Option("Job", ("--front",))] = Field(
        0.0, description="Which way the object faces: degrees around Z from -Y (0) towards +X (90)."
    )
    both_sides: Annotated[bool, JOB] = Field(False, description="Paint faces seen from behind, too.")
    textures: Annotated[dict[str, RelativePath] | None, Later()] = Field(
        None, description="Pictures that the mesh wears, by its objects' names, where its file does not say."
    )
    symmetry: Annotated[Literal["x", "y", "z"] | None, JOB, Later()] = Field(
        None, description="Both sides share their texels; the job's own where a job made it."
    )
    udim: Annotated[bool, JOB, Later()] = Field(
        False, description="UVs lie in UDIM tiles, a texture for each; the job's own where a job made it."
    )


class FromImageRequest(ObjectRequest):
    """Several objects that one picture may show: textured GLBs, the picture's side as it is in the picture."""

    own_prior: ClassVar[str] = "ddrep_core.forward_models.object_prior:load_object_prior"

    picture: RelativePath = Field(description="One object, cut out (PNG with transparency) or before a plain ground.")


class MotionRequest(Block):
    """Short films of what may move in one picture, and where to: MP4 and GIF, there and back."""

    own_prior: ClassVar[str] = "ddrep_core.forward_models.motion_prior:load_motion_prior"

    picture: RelativePath = Field(description="An object before a quiet ground: PNG, JPEG, ...")
    amount: Annotated[float, JOB] = Field(
        1.0, gt=0, le=2, description="How much of the motion to show: 1 is what the model thinks of, 0.5 half of it."
    )


def _damage(value: str) -> str:
    match = DAMAGE.fullmatch(value)
    most = {"upscale": 16.0, "deblur": 64.0}
    if match is None or (match[1] and not 0 < float(match[2]) <= most[match[1]]):
        raise PydanticCustomError("damage", "must be inpaint, upscale:K (to 16) or deblur:K (to 64)")
    return value


class RestoreRequest(Block):
    """Several answers to what a damaged picture may have been."""

    picture: RelativePath = Field(description="The damaged picture: PNG, JPEG, ...")
    damage: Annotated[str, AfterValidator(_damage), Option("Job", ("--task",))] = Field(
        "inpaint",
        description="inpaint: fill the mask; upscale:K: K times as large; deblur:K: a blur of K pixels is undone.",
    )
    mask: Annotated[RelativePath | None, JOB] = Field(
        None, description="For inpaint: white where the picture is to be found."
    )
