"""The command line. Each command writes a job folder and runs it; `ddrep run` runs one that is there.

Exit status: 0 done, 1 the run failed, 2 the request was wrong, 130 cancelled.
"""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ddrep_core import __version__
from ddrep_core.errors import Cancelled, DdrepError
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.events import JsonLines, ProgressLine
from ddrep_core.jobs.folder import JobFolder, read_json

app = typer.Typer(
    name="ddrep",
    help="Sample textures, objects, images and panoramas from an image diffusion model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Axis(StrEnum):
    """Which way is up in a mesh file."""

    auto = "auto"
    y = "y"
    z = "z"


class Space(StrEnum):
    """Where a texture is sampled."""

    auto = "auto"
    latent = "latent"
    image = "image"


class Projection(StrEnum):
    """What a panorama covers."""

    sphere = "sphere"
    cylinder = "cylinder"


class Precision(StrEnum):
    """What a prior computes in."""

    auto = "auto"
    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"
    fp64 = "fp64"


JOB, SAMPLING, MACHINE = "Job", "Sampling", "Machine"


def _option(panel: str, name: str, words: str) -> Any:
    return typer.Option(name, help=words, rich_help_panel=panel)


Prompt = Annotated[str, typer.Option("--prompt", "-p", help="What it shows, in words.", rich_help_panel=JOB)]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The job folder; named after the prompt when not given.", rich_help_panel=JOB),
]
Negative = Annotated[str, _option(JOB, "--negative-prompt", "What to lead away from.")]
Overwrite = Annotated[bool, _option(JOB, "--overwrite", "Replace another job in that folder.")]
Seed = Annotated[int, _option(JOB, "--seed", "Of the first sample; the next ones count up.")]
Samples = Annotated[int, _option(JOB, "--samples", "How many different ones to make.")]
Resolution = Annotated[int, _option(JOB, "--resolution", "Side of the texture in pixels.")]
PriorName = Annotated[
    str, _option(SAMPLING, "--prior", "bundled, a diffusers folder, a .safetensors checkpoint, or a hub id.")
]
ControlNet = Annotated[str | None, _option(SAMPLING, "--controlnet", "A depth ControlNet: folder or hub id.")]
LoraFiles = Annotated[
    list[str] | None, _option(SAMPLING, "--lora", "A LoRA: FILE or FILE:WEIGHT; may be repeated, and adds up.")
]
Steps = Annotated[int | None, _option(SAMPLING, "--steps", "Noise levels; the schedule's own when not given.")]
Guidance = Annotated[
    float | None,
    _option(
        SAMPLING,
        "--guidance-scale",
        "How strictly to follow the prompt. By default the prior's own; at least 5 for textures, 7.5 for new objects.",
    ),
]
Eta = Annotated[float | None, _option(SAMPLING, "--eta", "Fresh noise in each step, 0 (none) to 1.")]
ScheduleText = Annotated[
    str, _option(SAMPLING, "--schedule", "auto, plain, repaint:1,1,2, restart, annealed, grown (docs/agreement.md).")
]
Cameras = Annotated[str, _option(SAMPLING, "--cameras", "orbit:N, or a camera file.")]
Device = Annotated[str, _option(MACHINE, "--device", "auto, cpu, cuda, cuda:N or mps.")]
PrecisionName = Annotated[Precision, _option(MACHINE, "--precision", "What the prior computes in.")]
MaxBatch = Annotated[int | None, _option(MACHINE, "--max-batch", "Views evaluated at a time.")]
Events = Annotated[bool, _option(MACHINE, "--events", "Print progress as JSON lines on standard output.")]
Debug = Annotated[bool, _option(MACHINE, "--debug", "Show the traceback of an error.")]
Overrides = dict[str, Any]


@app.command()
def texture(
    mesh: Annotated[Path, typer.Argument(help="OBJ, GLB, PLY, STL, OFF, DAE, 3MF, ...", show_default=False)],
    prompt: Prompt,
    negative_prompt: Negative = "",
    out: Out = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    samples: Samples = 1,
    resolution: Resolution = 1024,
    objects: Annotated[
        list[str] | None,
        typer.Option("--object", help="Texture only this object; may be repeated.", rich_help_panel=JOB),
    ] = None,
    mesh_up: Annotated[
        Axis, typer.Option("--mesh-up", help="The file's upward axis.", rich_help_panel=JOB)
    ] = Axis.auto,
    front: Annotated[
        float,
        typer.Option(
            "--front",
            help="Which way the object faces: degrees around Z from -Y (0) towards +X (90).",
            rich_help_panel=JOB,
        ),
    ] = 0.0,
    both_sides: Annotated[
        bool,
        typer.Option(
            "--both-sides", help="Paint faces seen from behind, too: sheets, rooms from inside.", rich_help_panel=JOB
        ),
    ] = False,
    space: Annotated[
        Space, typer.Option("--space", help="Where views agree: latents, or colours too.", rich_help_panel=SAMPLING)
    ] = Space.auto,
    depth: Annotated[
        bool,
        typer.Option("--depth/--no-depth", help="Show the mesh's depth to a ControlNet.", rich_help_panel=SAMPLING),
    ] = True,
    prior: PriorName = "bundled",
    lora: LoraFiles = None,
    controlnet: ControlNet = None,
    cameras: Cameras = "orbit:8",
    steps: Steps = None,
    guidance_scale: Guidance = None,
    eta: Eta = None,
    schedule: ScheduleText = "auto",
    device: Device = "auto",
    precision: PrecisionName = Precision.auto,
    max_batch: MaxBatch = None,
    events: Events = False,
    debug: Debug = False,
) -> None:
    """Texture an existing mesh: the same mesh comes back, painted from all sides at once."""
    common = _common(locals())
    block = {"resolution": resolution, "mesh_up": mesh_up.value, "space": space.value, "objects": objects or None}
    block |= {"depth": depth, "front_degrees": front, "both_sides": both_sides}
    request = {"task": "texture", **common, "texture": block}
    _write_and_run(request, out, mesh.stem, overwrite, events, debug, mesh=mesh, cameras=cameras)


@app.command()
def generate(
    prompt: Prompt,
    negative_prompt: Negative = "",
    out: Out = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    samples: Samples = 1,
    size: Annotated[float, typer.Option("--size", help="Largest side in metres.", rich_help_panel=JOB)] = 1.0,
    faces: Annotated[int, typer.Option("--faces", help="Triangles at most.", rich_help_panel=JOB)] = 20_000,
    resolution: Resolution = 1024,
    grid: Annotated[int, typer.Option("--grid", help="Voxels a side, at most.", rich_help_panel=SAMPLING)] = 100,
    prior: PriorName = "bundled",
    lora: LoraFiles = None,
    controlnet: ControlNet = None,
    cameras: Cameras = "orbit:8",
    steps: Steps = None,
    guidance_scale: Guidance = None,
    eta: Eta = None,
    schedule: ScheduleText = "auto",
    device: Device = "auto",
    precision: PrecisionName = Precision.auto,
    max_batch: MaxBatch = None,
    events: Events = False,
    debug: Debug = False,
) -> None:
    """A new object from words: a NeRF, and from it a textured GLB."""
    block = {"size": size, "faces": faces, "resolution": resolution, "grid": grid}
    request = {"task": "generate", **_common(locals()), "generate": block}
    _write_and_run(request, out, "object", overwrite, events, debug, cameras=cameras)


@app.command()
def image(
    prompt: Prompt,
    negative_prompt: Negative = "",
    out: Out = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    samples: Samples = 1,
    width: Annotated[int, typer.Option("--width", help="Of the PNG; any size will do.", rich_help_panel=JOB)] = 512,
    height: Annotated[int, typer.Option("--height", help="Of the PNG.", rich_help_panel=JOB)] = 512,
    prior: PriorName = "bundled",
    lora: LoraFiles = None,
    steps: Steps = None,
    guidance_scale: Guidance = None,
    eta: Eta = None,
    schedule: ScheduleText = "auto",
    device: Device = "auto",
    precision: PrecisionName = Precision.auto,
    max_batch: MaxBatch = None,
    events: Events = False,
    debug: Debug = False,
) -> None:
    """A picture held by a SIREN, drawn at any resolution."""
    request = {"task": "image", **_common(locals()), "image": {"width": width, "height": height}}
    _write_and_run(request, out, "image", overwrite, events, debug)


@app.command()
def redraw(
    siren: Annotated[Path, typer.Argument(help="The .safetensors that `ddrep image` wrote.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write.", show_default=False)],
    width: Annotated[int, typer.Option("--width", min=1, max=16384, help="Of the PNG.")] = 1024,
    height: Annotated[
        int | None, typer.Option("--height", min=1, max=16384, help="The SIREN's own aspect when not given.")
    ] = None,
    prior: Annotated[str | None, typer.Option("--prior", help="The one it was sampled from when not given.")] = None,
    debug: Debug = False,
) -> None:
    """Draw a kept SIREN again, at another size."""
    with _answering(debug):
        from ddrep_core.jobs.folder import write_bytes
        from ddrep_core.jobs.image import redraw as draw_again
        from ddrep_core.pictures import png_bytes
        from ddrep_core.priors import load_prior

        write_bytes(out, png_bytes(draw_again(siren, width, height, prior, load_prior)))
        print(out)


@app.command()
def panorama(
    prompt: Prompt,
    negative_prompt: Negative = "",
    out: Out = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    samples: Samples = 1,
    projection: Annotated[
        Projection, typer.Option("--projection", help="The whole sphere, or a band.", rich_help_panel=JOB)
    ] = Projection.sphere,
    width: Annotated[int, typer.Option("--width", help="Of the panorama in pixels.", rich_help_panel=JOB)] = 2048,
    hdr: Annotated[bool, typer.Option("--hdr", help="Write an HDR file too.", rich_help_panel=JOB)] = False,
    prior: PriorName = "bundled",
    lora: LoraFiles = None,
    steps: Steps = None,
    guidance_scale: Guidance = None,
    eta: Eta = None,
    schedule: ScheduleText = "auto",
    device: Device = "auto",
    precision: PrecisionName = Precision.auto,
    max_batch: MaxBatch = None,
    events: Events = False,
    debug: Debug = False,
) -> None:
    """A 360° panorama."""
    block = {"projection": projection.value, "width": width, "hdr": hdr}
    request = {"task": "panorama", **_common(locals()), "panorama": block}
    _write_and_run(request, out, "panorama", overwrite, events, debug)


@app.command()
def run(
    job: Annotated[Path, typer.Argument(help="A folder that holds job.json.", show_default=False)],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    checkpoint_seconds: Annotated[
        float, typer.Option("--checkpoint-seconds", min=0.0, help="About how often to write one; 0: after every step.")
    ] = 10.0,
    events: Events = False,
    debug: Debug = False,
) -> None:
    """Run a job folder."""
    _run(JobFolder(job), resume, events, debug, checkpoint_seconds)


@app.command()
def doctor(
    prior: Annotated[
        str | None, typer.Option("--prior", help="Examine this model, too: its memory, and whether it does as it says.")
    ] = None,
    controlnet: ControlNet = None,
    device: Device = "auto",
    precision: PrecisionName = Precision.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What this machine can do, and what to fix. Status 1 if something that a job needs is broken."""
    from ddrep_core.jobs.doctor import examine

    report = examine(prior=prior, controlnet=controlnet, device=device, precision=precision.value)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        console = Console(highlight=False)
        console.print(f"ddrep {report['version']} on {report['device']}", markup=False)
        for check in report["checks"]:
            console.print("[green]✓[/]" if check["ok"] else "[red]✗[/]", end=" ")
            console.print(f"{check['name']}: {check['message']}", markup=False)
            if check["fix"]:
                console.print(f"    {check['fix']}", markup=False)
    raise typer.Exit(0 if report["ok"] else 1)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"ddrep {__version__}")
        raise typer.Exit


def _common(arguments: Overrides) -> Overrides:
    """What all tasks share, from a command's arguments."""
    keys = (
        "prompt", "negative_prompt", "seed", "samples", "prior", "controlnet",
        "guidance_scale", "steps", "eta", "schedule", "device", "max_batch",
    )  # fmt: skip
    common = {key: arguments[key] for key in keys if key in arguments}
    for key in ("prior", "controlnet"):
        if common.get(key) and Path(common[key]).expanduser().exists() and common[key] != "bundled":
            common[key] = str(Path(common[key]).expanduser().resolve())
    if arguments.get("lora"):
        from ddrep_core.priors.adapters.lora import parse_lora

        with _answering(bool(arguments.get("debug"))):
            told = [parse_lora(text) for text in arguments["lora"]]
        common["loras"] = [{"file": str(lora.file.resolve()), "weight": lora.weight} for lora in told]
    return {**common, "precision": arguments["precision"].value}


def _write_and_run(
    request: Overrides,
    out: Path | None,
    name: str,
    overwrite: bool,
    events: bool,
    debug: bool,
    mesh: Path | None = None,
    cameras: str | None = None,
) -> None:
    out = out or Path(_slug(f"{name} {request['prompt']}"))
    camera_file = None
    if cameras is not None:
        if re.fullmatch("orbit(:.*)?", cameras):  # and not orbit.json
            request = {**request, "cameras": cameras}
        else:
            camera_file = cameras
    with _answering(debug):
        folder = create_job(out, request, mesh=mesh, cameras=camera_file, overwrite=overwrite)
    _run(folder, None if not overwrite else False, events, debug)


def _run(folder: JobFolder, resume: bool | None, events: bool, debug: bool, checkpoint_seconds: float = 10.0) -> None:
    """Run a job; with `resume` None, go on where an earlier run of the very same request stopped."""
    listener = JsonLines() if events else ProgressLine()
    with _answering(debug, folder):
        from ddrep_core.jobs.run import is_resumable, run_job  # torch comes with it: seconds that --help need not wait

        resume = is_resumable(folder) if resume is None else resume
        result = run_job(
            folder.path,
            resume=resume,
            listeners=(listener,),
            checkpoint_seconds=checkpoint_seconds,
        )
        if not events:
            _print_outputs(folder, result)


def _print_outputs(folder: JobFolder, result: Path) -> None:
    """The paths a person wants next, one a line, on standard output."""
    record = read_json(result)
    for sample in record["samples"] if isinstance(record, dict) else []:
        for what, path in sample["files"].items():
            print(f"{what:<16} {folder.path / path}")
    print(f"{'report':<16} {folder.page_file}")
    print(f"{'result':<16} {result}")


class _answering:
    """Turns errors into a message and an exit status; `debug` shows the traceback first."""

    def __init__(self, debug: bool, folder: JobFolder | None = None) -> None:
        self.debug, self.folder = debug, folder

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, typer.Exit):
            return
        if self.debug:
            traceback.print_exception(error)
        if isinstance(error, KeyboardInterrupt):
            error = Cancelled("Cancelled.")
        if isinstance(error, DdrepError):
            _tell(error)
            raise typer.Exit(error.exit_status) from None
        print(f"Error: {type(error).__name__}: {error}\n--debug shows more; please report it.", file=sys.stderr)
        raise typer.Exit(1) from None


def _tell(error: DdrepError) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if isinstance(error, Cancelled):
        console.print(error.message, markup=False)
    else:
        console.print("[bold red]Error:[/]", end=" ")
        console.print(error.message, markup=False)
    if error.fix:
        console.print(error.fix, markup=False)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].rstrip("-") or "ddrep-job"


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point of `ddrep` and of `python -m ddrep_core`; ends the process with the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if "--debug" not in arguments:
        warnings.simplefilter("ignore")  # libraries speak to developers; ddrep's own warnings become events
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    app(arguments)
