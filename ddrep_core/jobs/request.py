"""job.json: what a job asks for. Data only, versioned, unknown keys refused by name."""

from __future__ import annotations

import difflib
import math
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from ddrep_core.errors import RequestError
from ddrep_core.jobs.placement import FORMS, MOST_CAMERAS, Placement, is_placement, placement_of
from ddrep_core.json_text import is_writable_text, parse_json

SCHEMA_VERSION = 1
DAMAGE = re.compile(r"inpaint|(?:(upscale|deblur):(\d{1,3}(?:\.\d{1,3})?))")


def _relative_path(value: str) -> str:
    """A path that is spelt from inside the job folder; `JobFolder.resolve` also follows its links."""
    if not value or "\0" in value or not is_writable_text(value):
        raise PydanticCustomError("path", "must be the path of a file inside the job folder")
    if PurePosixPath(value).is_absolute() or PureWindowsPath(value).drive or value[0] in "\\~":
        raise PydanticCustomError("path", "must be relative to the job folder, and is an absolute path")
    if ".." in re.split(r"[\\/]", value):
        raise PydanticCustomError("path", "leaves the job folder; copy the file into its inputs/")
    return value


def _cameras(value: str) -> str:
    if is_placement(value) or value.startswith("orbit"):
        if placement_of(value) is None:
            words = "must be like orbit:8 ({forms}), with 1 to {most}"
            raise PydanticCustomError("cameras", words, {"forms": FORMS, "most": MOST_CAMERAS})
        return value
    return _relative_path(value)


RelativePath = Annotated[str, AfterValidator(_relative_path)]
Prompt = Annotated[str, Field(max_length=20_000)]


@dataclass(frozen=True)
class Later:
    """Marks a key that came after jobs were about: left out of job.json where it has its default. A job that does not
    use it stays the job that it was, with its fingerprint and its results, and older engines read it."""


@dataclass(frozen=True)
class Option:
    """How the command line asks for a key; its help is the field's description, its type and default are the field's.
    A key that is a block of its own is asked for by that block's keys.

    Args:
        panel: the heading that it stands under.
        names: what it is called there, where that is not the key.
        required: a command wants it, although a job may leave it out.
    """

    panel: Literal["Job", "Sampling", "Machine"]
    names: tuple[str, ...] = ()
    required: bool = False


JOB, SAMPLING, MACHINE = Option("Job"), Option("Sampling"), Option("Machine")


class Block(BaseModel):
    """Strict: a number in quotes is text, true is not 1, and a misspelt key is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    takes_cameras: ClassVar[bool] = False  # whether the task's command has --cameras and --controlnet
    keeps_away: ClassVar[bool] = False  # whether it can be told results that it is to be unlike
    of_textures: ClassVar[bool] = False  # whether its source is a textured mesh, whose job may say what it shows
    own_prior: ClassVar[str] = ""  # "module:function" that loads a model of the task's own: one that hears no words
    called: ClassVar[str] = ""  # what the command names a job's folder after, before the prompt; else the task's name

    @classmethod
    def later_defaults(cls) -> dict[str, Any]:
        """{key: default} of what is marked `Later`."""
        fields = cls.model_fields.items()
        return {
            key: field.get_default(call_default_factory=True)
            for key, field in fields
            if any(isinstance(mark, Later) for mark in field.metadata)
        }

    @classmethod
    def may_be_left_out(cls) -> bool:
        """Whether every key has a default."""
        return not any(field.is_required() for field in cls.model_fields.values())


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
        description="Texels that stay: MASK or OBJECT=MASK, in UV space, white is kept; may be repeated.",
    )
    base: Annotated[list[OfObject], Option("Job", ("--base",)), Later()] = Field(
        default_factory=list,
        max_length=256,
        description="What is worn now, PICTURE or OBJECT=PICTURE; the mesh's own when not given. May be repeated.",
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
        "OBJECT=MASK, in UV space; may be repeated.",
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


class LoraRequest(Block):
    """A file that bends the prior's weights, and how much it counts."""

    file: str = Field(min_length=1)
    weight: float = Field(1.0, ge=-10, le=10)


class ControlNetRequest(Block):
    """A ControlNet, what it is shown of the mesh or its texture, and how much it counts."""

    folder: str = Field(min_length=1)
    kind: Literal["depth", "normal", "canny", "lineart", "tile"] | None = None
    scale: float = Field(1.0, ge=0, le=10)


class OfCamera(Block):
    """A picture that one camera's view is told of."""

    camera: str = Field(min_length=1)
    file: RelativePath


class ReferenceRequest(Block):
    """A picture to look at for its style, and the IP-Adapter that lets the prior look."""

    picture: Annotated[RelativePath, Option("Sampling", ("--reference",))] = Field(
        description="A picture to look at for its style: PICTURE or PICTURE:SCALE. Wants --ip-adapter."
    )
    adapter: Annotated[str, Option("Sampling", ("--ip-adapter",))] = Field(
        min_length=1, description="The .safetensors IP-Adapter that lets the prior look at it."
    )
    image_encoder: Annotated[str | None, SAMPLING] = Field(
        None,
        min_length=1,
        description="The adapter's CLIP vision model, where it is not in image_encoder/ beside it.",
    )
    cameras: Annotated[list[OfCamera], Option("Sampling", ("--view-reference",)), Later()] = Field(
        default_factory=list,
        max_length=512,
        description="CAMERA=PICTURE: another reference for that camera's view; may be repeated.",
    )
    scale: float = Field(1.0, ge=0, le=10)


TASKS: dict[str, tuple[type[Block], str]] = {
    "texture": (TextureRequest, "ddrep_core.jobs.texture:start"),
    "generate": (GenerateRequest, "ddrep_core.jobs.generate:start"),
    "image": (ImageRequest, "ddrep_core.jobs.image:start"),
    "panorama": (PanoramaRequest, "ddrep_core.jobs.panorama:start"),
    "vector": (VectorRequest, "ddrep_core.jobs.vector:start"),
    "detail": (DetailRequest, "ddrep_core.jobs.detail_task:start"),
    "edit": (EditRequest, "ddrep_core.jobs.edit:start"),
    "restore": (RestoreRequest, "ddrep_core.jobs.restore:start"),
    "from_image": (FromImageRequest, "ddrep_core.jobs.from_image:start"),
}
"""Every task: its name, which is also its block's and, with dashes, its command's; its settings; and where it starts (a
`jobs.task.Start`), as "module:function": imported when a job is run, for torch comes with it, and reading a job needs
none."""

OF_DIFFUSION_MODELS = (
    "prompt", "negative_prompt", "diversity", "diversity_space", "unlike", "controlnet", "controlnets", "loras",
    "reference",
)  # fmt: skip
"""What a task with a model of its own cannot be told."""

AnyBlock = TypeVar("AnyBlock", bound=Block)


class Request(Block):
    """One job: what all tasks share. `parse_request` makes one that has a block for each of `TASKS`, too, of which
    exactly one is filled: the task's own (`settings`).

    null (None) means: as the prior or the schedule suggests. Paths are relative to the job folder; `prior` and
    ControlNets are "bundled", a hub id or a folder anywhere, LoRAs and the reference's adapter files anywhere.
    """

    schema_version: Literal[1]
    task: str
    prompt: Annotated[Prompt, Option("Job", ("--prompt", "-p"), required=True)] = Field(
        "", description="What it shows, in words."
    )
    negative_prompt: Annotated[Prompt, JOB] = Field("", description="What to lead away from.")
    seed: Annotated[int, JOB] = Field(0, ge=0, le=2**63 - 1, description="Of the first sample; the next ones count up.")
    samples: Annotated[int, JOB] = Field(1, ge=1, le=10_000, description="How many different ones to make.")
    diversity: Annotated[float, JOB, Later()] = Field(
        0.0,
        ge=0,
        le=100,
        description="How much the samples keep away from each other: 0 not at all, 1 clearly. They are made together.",
    )
    diversity_space: Annotated[Literal["clean", "features"], JOB, Later()] = Field(
        "clean",
        description="What they are compared by: what the prior makes of them, or EfficientNet's features of that, "
        "which takes several times as long.",
    )
    unlike: Annotated[list[RelativePath], JOB, Later()] = Field(
        default_factory=list,
        max_length=64,
        description="A job whose results to keep away from, or a PNG or GLB; may be repeated.",
    )
    prior: Annotated[str, SAMPLING] = Field(
        "bundled", min_length=1, description="bundled, a diffusers folder, a .safetensors checkpoint, or a hub id."
    )
    controlnet: str | None = Field(None, min_length=1)  # FOLDER[:KIND][:SCALE], as the command line takes it
    controlnets: Annotated[list[ControlNetRequest], Option("Sampling", ("--controlnet",)), Later()] = Field(
        default_factory=list,
        max_length=8,
        description="A ControlNet: FOLDER[:KIND][:SCALE], shown the mesh's depth, normal, canny or lineart, or "
        "its texture (tile); may be repeated.",
    )
    loras: Annotated[list[LoraRequest], Option("Sampling", ("--lora",)), Later()] = Field(
        default_factory=list,
        max_length=32,
        description="A LoRA: FILE or FILE:WEIGHT; may be repeated, and adds up.",
    )
    reference: Annotated[ReferenceRequest | None, SAMPLING, Later()] = None
    guidance_scale: Annotated[float | None, SAMPLING] = Field(
        None,
        ge=0,
        le=1000,
        description="How strictly to follow the prompt. By default the prior's own; at least 5 for textures, "
        "7.5 for new objects.",
    )
    steps: Annotated[int | None, SAMPLING] = Field(
        None, ge=1, le=10_000, description="Noise levels; the schedule's own when not given."
    )
    eta: Annotated[float | None, SAMPLING] = Field(
        None, ge=0, le=1, description="Fresh noise in each step, 0 (none) to 1."
    )
    schedule: Annotated[str, SAMPLING] = Field(
        "auto",
        min_length=1,
        description="auto, plain, repaint:1,1,2, restart, annealed, grown (docs/agreement.md).",
    )
    device: Annotated[str, MACHINE] = Field(
        "auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:N or mps."
    )
    precision: Annotated[Literal["auto", "fp32", "fp16", "bf16", "fp64"], MACHINE] = Field(
        "auto", description="What the prior computes in."
    )
    max_batch: Annotated[int | None, MACHINE] = Field(None, ge=1, le=4096, description="Views evaluated at a time.")
    compile: Annotated[bool, MACHINE, Later()] = Field(
        False, description="Compile the network (torch.compile); where that fails, it runs as it is."
    )
    cameras: Annotated[str, AfterValidator(_cameras), SAMPLING] = Field(
        "orbit:8", description=f"{FORMS}; or a camera file."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_task_block(cls, data: Any) -> Any:
        """A task whose settings all have defaults may leave its block out."""
        if not isinstance(data, dict) or not isinstance(task := data.get("task"), str) or task not in TASKS:
            return data
        return {**data, task: {}} if data.get(task) is None and TASKS[task][0].may_be_left_out() else data

    @model_validator(mode="after")
    def _only_own_block(self) -> Self:
        for block in TASKS:
            present, named = getattr(self, block) is not None, {"task": self.task, "block": block}
            if block == self.task and not present:
                raise PydanticCustomError("block", "the task is '{task}', but the block '{block}' is missing", named)
            if block != self.task and present:
                raise PydanticCustomError("block", "the task is '{task}', so the block '{block}' must go", named)
        if TASKS[self.task][0].own_prior:
            for key in OF_DIFFUSION_MODELS:
                if getattr(self, key) != type(self).model_fields[key].get_default(call_default_factory=True):
                    named = {"task": self.task, "key": key}
                    raise PydanticCustomError(
                        "block", "'{key}' must go: the task '{task}' has a model of its own", named
                    )
        if self.unlike and not TASKS[self.task][0].keeps_away:
            raise PydanticCustomError("block", "the task '{task}' cannot be 'unlike' anything", {"task": self.task})
        return self

    def settings(self, kind: type[AnyBlock]) -> AnyBlock:
        """The task's own block, which is of this kind."""
        block = getattr(self, self.task)
        assert isinstance(block, kind), f"the task '{self.task}' has no {kind.__name__}"
        return block

    @property
    def placement(self) -> Placement | None:
        """Where the engine places the cameras, or None where a camera file is named."""
        return placement_of(self.cameras)

    def to_json(self) -> dict[str, Any]:
        """As job.json holds it: defaults written out, but for those of `Later` keys; other tasks' blocks left out."""
        data = self.model_dump(mode="json", exclude=TASKS.keys() - {self.task})
        own = getattr(self, self.task)
        blocks: list[tuple[Block, dict[str, Any]]] = [(self, data)]
        if self.reference is not None:
            blocks.append((self.reference, data["reference"]))
        for block, written in (*blocks, (own, data[self.task])):
            for key, default in block.later_defaults().items():
                if getattr(block, key) == default:
                    del written[key]
        return data


def request_model() -> type[Request]:
    """`Request` with one block for each of `TASKS`."""
    return _with_blocks(tuple((name, block) for name, (block, _) in TASKS.items()))


@lru_cache(maxsize=8)
def _with_blocks(tasks: Iterable[tuple[str, type[Block]]]) -> type[Request]:
    names = tuple(name for name, _ in tasks)
    fields: dict[str, Any] = {name: (block | None, None) for name, block in tasks}
    fields["task"] = (Literal[names], ...)
    return create_model("Request", __base__=Request, **fields)


def parse_request(data: object, source: str = "job.json") -> Request:
    """The request in `data`, as read from JSON.

    Raises:
        RequestError: not an object, an unknown key, a wrong type or value, a newer schema version. The message lists
            everything that is wrong, not only the first thing.
    """
    if not isinstance(data, dict):
        raise RequestError(f"{source} must hold a JSON object, and holds {_in_words(data)}.")
    version = data.get("schema_version")
    if isinstance(version, int) and not isinstance(version, bool) and version > SCHEMA_VERSION:
        raise RequestError(
            f"{source} has schema_version {textwrap.shorten(str(version), 20, placeholder='a huge number')}; "
            f"this ddrep reads up to {SCHEMA_VERSION}.",
            "Update ddrep, or write the job with the version that will run it.",
        )
    try:
        return request_model().model_validate(data)
    except ValidationError as error:
        problems = [_problem(details) for details in error.errors(include_url=False)]
        raise RequestError(f"{source}: " + "; ".join(problems) + ".", f"Correct {source} and run it again.") from error


def parse_request_text(text: str, source: str = "job.json") -> Request:
    """`parse_request` for a file's text; refuses what is not JSON, and numbers that nothing can be computed with."""
    try:
        data = parse_json(text)
    except ValueError as error:
        raise RequestError(f"{source} is not JSON: {error}.", "Write the job again, or correct the file.") from error
    return parse_request(data, source)


def _problem(details: ErrorDetails) -> str:
    """One pydantic error as a person would say it."""
    where = ".".join(str(part) for part in details["loc"])
    kind, context, value = details["type"], details.get("ctx", {}), details.get("input")
    if kind == "extra_forbidden":
        known = _known_keys(details["loc"][:-1])
        nearest = difflib.get_close_matches(str(details["loc"][-1]), known, n=1)
        return f"unknown key '{where}'" + (f" (did you mean '{nearest[0]}'?)" if nearest else "")
    if kind == "missing":
        return f"the key '{where}' is missing"
    wanted = _wanted(kind, context)
    if wanted:
        return f"'{where}' must be {wanted}, not {_in_words(value)}"
    if kind in ("path", "cameras", "damage"):
        return f"'{where}' ({_in_words(value)}) {details['msg']}"
    return f"'{where}': {details['msg']}" if where else details["msg"]


def _wanted(kind: str, context: dict[str, Any]) -> str:
    words = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "int_parsing": "a whole number",
        "float_type": "a number",
        "float_parsing": "a number",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "text",
        "string_unicode": "text that can be written as UTF-8",
        "list_type": "a list",
        "model_type": "an object with keys",
        "model_attributes_type": "an object with keys",
        "greater_than_equal": "at least {ge}",
        "greater_than": "above {gt}",
        "less_than_equal": "at most {le}",
        "less_than": "below {lt}",
        "string_too_short": "text that is not empty",
        "string_too_long": "at most {max_length} characters long",
        "too_short": "a list that is not empty",
        "literal_error": "{expected}",
    }
    if kind == "string_pattern_mismatch":
        return "auto, cpu, cuda, cuda:N or mps"
    return words.get(kind, "").format(**{k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()})


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = request_model()
    if location and location[0] in TASKS:
        model = TASKS[str(location[0])][0]
    return list(model.model_fields)


def _in_words(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        if not is_writable_text(value):
            return "text with half a character (a lone surrogate)"
        shown = value if len(value) <= 60 else value[:57] + "..."
        return f'the text "{shown}"'
    if isinstance(value, int):
        return f"{value}" if abs(value) < 10**30 else "a number of more than thirty digits"
    if isinstance(value, float):
        return f"{value}" if math.isfinite(value) else "NaN or infinity"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else f"a {type(value).__name__}"
