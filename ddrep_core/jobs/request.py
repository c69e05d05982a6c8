"""job.json: what a job asks for. Data only, versioned, unknown keys refused by name."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError, create_model, model_validator
from pydantic_core import PydanticCustomError

from ddrep_core.errors import RequestError
from ddrep_core.jobs.block import JOB, MACHINE, SAMPLING, Block, Later, Option, Prompt, RelativePath, relative_path
from ddrep_core.jobs.blocks import (
    DetailRequest,
    EditRequest,
    FromImageRequest,
    GenerateRequest,
    ImageRequest,
    MotionRequest,
    PanoramaRequest,
    RestoreRequest,
    TextureRequest,
    VectorRequest,
)
from ddrep_core.jobs.placement import FORMS, MOST_CAMERAS, Placement, is_placement, placement_of
from ddrep_core.jobs.request_words import in_words, problem
from ddrep_core.json_text import parse_json

SCHEMA_VERSION = 1


def _cameras(value: str) -> str:
    if is_placement(value) or value.startswith("orbit"):
        if placement_of(value) is None:
            words = "must be like orbit:8 ({forms}), with 1 to {most}"
            raise PydanticCustomError("cameras", words, {"forms": FORMS, "most": MOST_CAMERAS})
        return value
    return relative_path(value)


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
    "motion": (MotionRequest, "ddrep_core.jobs.motion:start"),
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
        "7.5 for new objects; less for edits of textures and panoramas.",
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
        raise RequestError(f"{source} must hold a JSON object, and holds {in_words(data)}.")
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
        problems = [problem(details, _known_keys) for details in error.errors(include_url=False)]
        raise RequestError(f"{source}: " + "; ".join(problems) + ".", f"Correct {source} and run it again.") from error


def parse_request_text(text: str, source: str = "job.json") -> Request:
    """`parse_request` for a file's text; refuses what is not JSON, and numbers that nothing can be computed with."""
    try:
        data = parse_json(text)
    except ValueError as error:
        raise RequestError(f"{source} is not JSON: {error}.", "Write the job again, or correct the file.") from error
    return parse_request(data, source)


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = request_model()
    if location and location[0] in TASKS:
        model = TASKS[str(location[0])][0]
    return list(model.model_fields)
