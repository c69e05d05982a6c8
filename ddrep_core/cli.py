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
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
from rich.console import Console

from ddrep_core import __version__
from ddrep_core.cli_options import option_parameters, parameter, plain, takes
from ddrep_core.confined import is_there
from ddrep_core.errors import Cancelled, DdrepError, RequestError
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.events import JsonLines, ProgressLine
from ddrep_core.jobs.folder import JobBusy, JobFolder, read_json
from ddrep_core.jobs.request import TASKS, Request
from ddrep_core.jobs.wish import wish_of
from ddrep_core.remote.away import require_here, run_away
from ddrep_core.remote.place import parse_place

app = typer.Typer(
    name="ddrep",
    help="Sample textures, objects, images and panoramas from an image diffusion model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The job folder; named after the prompt when not given.", rich_help_panel="Job"),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace another job in that folder.", rich_help_panel="Job")
]
Events = Annotated[
    bool,
    typer.Option("--events", help="Print progress as JSON lines on standard output.", rich_help_panel="Machine"),
]
On = Annotated[
    str | None,
    typer.Option(
        "--on", metavar="USER@HOST", help="Run it on that machine, by SSH; or USER@HOST:PORT/FOLDER.",
        rich_help_panel="Machine",
    ),
]  # fmt: skip
KeepThere = Annotated[
    bool, typer.Option("--keep-there", help="With --on: leave the job there, too.", rich_help_panel="Machine")
]
Workers = Annotated[int | None, typer.Option("--workers", help="Processes; one a device when not given.")]
Devices = Annotated[
    str | None, typer.Option("--devices", help="cuda:0,cuda:1 or cpu; all graphics cards when not given.")
]
Retries = Annotated[int, typer.Option("--retries", min=0, help="Of a job that failed for want of memory, say.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel="Machine")]
FIRST = ("prompt", "negative_prompt")  # the order of the help; a task's own settings stand between COUNTS and REST
COUNTS = ("seed", "samples", "diversity", "diversity_space", "unlike")
REST = (
    "prior", "loras", "controlnets", "cameras", "steps", "guidance_scale", "eta", "schedule", "reference",
    "device", "precision", "max_batch", "compile",
)  # fmt: skip
OF_CAMERAS = ("controlnets", "cameras")
OF_OWN_PRIORS = ("prior", "steps", "guidance_scale", "eta", "schedule")
ARGUMENTS = ("mesh", "picture", "source")  # what a command is given without an option's name


def add_task_command(task: str) -> None:
    """A command for one of `TASKS`; its options are the fields of the request and of the task's block."""
    block, _ = TASKS[task]
    rest = [key for key in REST if block.takes_cameras or key not in OF_CAMERAS]
    first = option_parameters(Request, FIRST)
    counts = [key for key in COUNTS if block.keeps_away or key != "unlike"]
    if block.own_prior:
        first, counts, rest = [], ["seed", "samples"], list(OF_OWN_PRIORS)
    files = []
    for key in [key for key in ARGUMENTS if key in block.model_fields]:
        words = block.model_fields[key].description
        files.append(parameter(key, Annotated[Path, typer.Argument(help=words, show_default=False)]))

    @app.command(task.replace("_", "-"), help=(block.__doc__ or "").split("\n\n")[0])
    @takes(
        *files,
        *(each.replace(default="") if block.of_textures else each for each in first),
        parameter("out", Out, None),
        parameter("overwrite", Overwrite, False),
        *option_parameters(Request, counts),
        *option_parameters(block),
        *option_parameters(Request, rest),
        parameter("on", On, None),
        parameter("keep_there", KeepThere, False),
        parameter("events", Events, False),
        parameter("debug", Debug, False),
    )
    def command(**told: Any) -> None:
        _write_and_run(task, told)


for _task in TASKS:
    add_task_command(_task)


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
def view(
    source: Annotated[Path, typer.Argument(help="A texture job's folder, or the mesh.glb in it.", show_default=False)],
    camera: Annotated[str, typer.Option("--camera", help="Which of the job's cameras.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write.", show_default=False)],
    size: Annotated[int, typer.Option("--size", min=16, max=8192, help="Pixels along its longer side.")] = 1024,
    debug: Debug = False,
) -> None:
    """Draw what a camera sees of a finished texture, to paint over it and give it to `ddrep texture --pin`."""
    with _answering(debug):
        from ddrep_core.jobs.folder import write_bytes
        from ddrep_core.jobs.view_of_result import view_of_result
        from ddrep_core.pictures import png_bytes

        write_bytes(out, png_bytes(view_of_result(source, camera, size)))
        print(out)


@app.command()
def batch(
    table: Annotated[
        Path | None, typer.Argument(help="CSV, JSON Lines or YAML: a job a row.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder for all job folders; the table's name else.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE for all jobs; given twice for one key, every combination is a job."),
    ] = None,
    meshes: Annotated[list[str] | None, typer.Option("--mesh", help="As --set mesh=; may be a pattern.")] = None,
    workers: Workers = None,
    devices: Devices = None,
    retries: Retries = 1,
    ray: Annotated[str | None, typer.Option("--ray", help="A Ray cluster's HOST:PORT, or auto (ddrep[ray]).")] = None,
    results_to: Annotated[
        str | None, typer.Option("--results-to", help="Send finished results there, too: s3://bucket/night (fsspec).")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Look through everything and run nothing.")] = False,
    overwrite: Overwrite = False,
    events: Events = False,
    debug: Debug = False,
) -> None:
    """Run many jobs: finished ones are skipped, broken ones tried again. Status 1 if one failed."""
    with _answering(debug):
        from ddrep_core.batch.batch import choose_workers, run_batch
        from ddrep_core.batch.command import rows_and_base, tell_summary
        from ddrep_core.batch.results import Results
        from ddrep_core.batch.run import Workers

        rows, base, common = rows_and_base(table, meshes or [], sets or [])
        named = [each.strip() for each in (devices or "").split(",") if each.strip()]
        if ray is not None and (named or workers):
            raise RequestError("A Ray cluster has its own devices.", "Leave out --devices and --workers, or --ray.")
        with Workers([] if check or ray is not None else choose_workers(named, workers)) as carrier:
            carrier.start(len(rows))  # they load their libraries while the table is looked through
            from ddrep_core.batch.plan import plan_jobs

            jobs = plan_jobs(rows, base, common)
            if check:
                for job in jobs:
                    print(f"{job.name}  {job.request.get('prompt', '')}")
                return
            folder = out or Path(table.stem if table else "ddrep-batch")
            results = Results(results_to) if results_to else None
            summary = run_batch(
                jobs, folder, ray or carrier, retries=retries, overwrite=overwrite, events=events, results=results
            )
        raise typer.Exit(tell_summary(summary, events))


@app.command()
def serve(
    folder: Annotated[Path, typer.Argument(help="The folder in which job folders appear.", show_default=False)],
    devices: Devices = None,
    workers: Workers = None,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is left to do.")] = False,
    retries: Retries = 1,
    events: Events = False,
    debug: Debug = False,
) -> None:
    """Work off job folders that others put into a shared folder. Status 1, with --once, if one failed."""
    with _answering(debug):
        from ddrep_core.batch.batch import choose_workers
        from ddrep_core.batch.serve import Lines
        from ddrep_core.batch.serve import serve as serve_folder

        chosen = choose_workers([each.strip() for each in (devices or "").split(",") if each.strip()], workers)
        listener = Lines(events)
        if serve_folder(folder, chosen, once=once, retries=retries, listener=listener):
            raise typer.Exit(1)


@app.command()
def run(
    job: Annotated[Path, typer.Argument(help="A folder that holds job.json.", show_default=False)],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    checkpoint_seconds: Annotated[
        float, typer.Option("--checkpoint-seconds", min=0.0, help="About how often to write one; 0: after every step.")
    ] = 10.0,
    on: On = None,
    keep_there: KeepThere = False,
    events: Events = False,
    debug: Debug = False,
) -> None:
    """Run a job folder."""
    _run(JobFolder(job), resume, events, debug, checkpoint_seconds, on, keep_there)


@app.command()
@takes(
    *option_parameters(Request, ("loras", "controlnets", "device", "precision")),
    *(each for each in option_parameters(Request, ["reference"]) if each.name in ("ip_adapter", "image_encoder")),
)
def doctor(
    prior: Annotated[
        str | None, typer.Option("--prior", help="Examine this model, too: its memory, and whether it does as it says.")
    ] = None,
    loras: list[str] | None = None,
    controlnets: list[str] | None = None,
    device: str = "auto",
    precision: str = "auto",
    ip_adapter: str | None = None,
    image_encoder: str | None = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What this machine can do, and what to fix. Status 1 if something that a job needs is broken."""
    from ddrep_core.jobs.doctor import Model, examine

    model = None
    if prior is not None or loras or controlnets or ip_adapter:
        from ddrep_core.priors.adapters.controlnet import parse_control
        from ddrep_core.priors.adapters.ip_adapter import IpAdapter
        from ddrep_core.priors.adapters.lora import parse_lora

        with _answering(debug=False):
            model = Model(
                prior or "bundled",
                tuple(parse_control(text) for text in controlnets or ()),
                tuple(parse_lora(text) for text in loras or ()),
                device,
                plain(precision),
                IpAdapter(Path(ip_adapter), Path(image_encoder) if image_encoder else None) if ip_adapter else None,
            )
    report = examine(model=model)
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


def _write_and_run(task: str, told: dict[str, Any]) -> None:
    """Write the job that a task's command was told of, and run it."""
    with _answering(told["debug"]):
        elsewhere = told["on"] is not None
        wish = wish_of(task, {key: plain(value) for key, value in told.items()}, elsewhere=elsewhere)
        out = told["out"] or Path(_slug(f"{wish.called} {told.get('prompt', task)}"))
        new = not is_there(out)
        folder = create_job(out, wish.request, copies=wish.copies, overwrite=told["overwrite"])
    resume = False if told["overwrite"] else None
    _run(
        folder, resume, told["events"], told["debug"], on=told["on"], keep_there=told["keep_there"], new=new,
        called={place.name: source.name for place, source in wish.copies.items()},
    )  # fmt: skip


def _run(
    folder: JobFolder,
    resume: bool | None,
    events: bool,
    debug: bool,
    checkpoint_seconds: float = 10.0,
    on: str | None = None,
    keep_there: bool = False,
    new: bool = False,
    called: Mapping[str, str] | None = None,
) -> None:
    """Run a job; with `resume` None, go on where an earlier run of the very same request stopped.

    Args:
        new: the folder was made for this run: if the run is refused before anything came of it, it is removed.
        called: what a person calls the files that inputs/ has by other names.
    """
    listener = JsonLines() if events else ProgressLine()
    with _answering(debug, folder if new else None, called or {}):
        if on is not None:
            result = run_away(
                folder.path,
                parse_place(on),
                resume=resume,
                keep=keep_there,
                listeners=(listener,),
                checkpoint_seconds=checkpoint_seconds,
            )
        else:
            require_here(folder)
            from ddrep_core.jobs.run import run_job  # torch comes with it: seconds that --help need not wait

            result = run_job(folder.path, resume=resume, listeners=(listener,), checkpoint_seconds=checkpoint_seconds)
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
    """Turns errors into a message and an exit status; `debug` shows the traceback first.

    Args:
        made: a folder that is removed if what was asked for is refused and nothing came of it.
        called: names in messages, and what to call them instead.
    """

    def __init__(
        self, debug: bool, made: JobFolder | None = None, called: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.debug, self.made, self.called = debug, made, called

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, typer.Exit):
            return
        if self.debug:
            traceback.print_exception(error)
        if isinstance(error, KeyboardInterrupt):
            error = Cancelled("Cancelled.")
        if isinstance(error, DdrepError):
            for copy, name in self.called.items():
                error.message = re.sub(
                    rf"(?<![\w./\\-]){re.escape(copy)}(?![\w/-])", lambda _, name=name: name, error.message
                )
            _tell(error)
            if self.made and isinstance(error, RequestError) and not isinstance(error, JobBusy):
                self.made.remove_unless_begun()
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
