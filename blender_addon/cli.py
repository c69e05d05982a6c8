# SPDX-License-Identifier: GPL-3.0-or-later
"""Without a window:

blender -b scene.blend --command ddrep texture --object Chair --prompt "a mossy chair" --seed 1 --seed 2 \\
        --output out.blend --render renders
blender -b scene.blend --command ddrep generate --prompt "a clay teapot" --size 0.3 --output out.blend
blender -b scene.blend --command ddrep panorama --prompt "a foggy harbour" --output out.blend
blender -b scene.blend --command ddrep material --object Wall --prompt "red bricks" --repeat 4 --output out.blend
blender -b scene.blend --command ddrep batch jobs --prompt "an old {name}"    # then: ddrep serve jobs --once
blender -b scene.blend --command ddrep collect jobs --output out.blend
blender -b out.blend --command ddrep render --output renders

Several --object, --prompt and --seed are multiplied with one another. The .blend that was opened is never written to.
Exit status: 0 done, 1 a run failed, 2 the request was wrong, 130 cancelled.
"""

import argparse
import contextlib
import itertools
import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bpy

from . import runtime
from .engine import process
from .engine.diagnosis import diagnose
from .engine.environment import Probe, candidates, python_in
from .engine.events import EventTail, Progress, duration
from .engine.folder import JobFolder, new_folder_name, require_space, task_of, write_whole_job
from .engine.manager import Job
from .preferences import preferences
from .problems import Problem
from .properties import PANORAMA_WIDTHS, TEXTURE_SIZES
from .results.bring_in import bring_in, made_from
from .results.outcome import read_samples
from .scene.draft import Draft, generate_draft, image_draft, panorama_draft, require_texture, texture_draft
from .scene.final_renders import render_cameras, results_in
from .scene.words import words_for

MATERIAL_TARGETS = {"object": "OBJECT", "slot": "SLOT", "slots": "SLOTS"}
CAMERA_SOURCES = {"scene": "SCENE", "active": "ACTIVE", "frames": "FRAMES"}


class RunFailed(Exception):
    """The request was right, and the run failed."""


def main(arguments: Sequence[str]) -> int:
    """Run a command. Returns the exit status."""
    try:
        options = parser().parse_args(list(arguments))
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 2
    try:
        return options.run(options)
    except Problem as problem:
        print(f"ddrep: {problem.message}", file=sys.stderr)
        return 2
    except RunFailed as failure:
        print(f"ddrep: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "ddrep: cancelled; the job keeps a checkpoint, and `ddrep run JOB --resume` goes on from it",
            file=sys.stderr,
        )
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="ddrep", description="Textures, objects and panoramas from an image diffusion model, without a window."
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    texture = commands.add_parser("texture", help="texture meshes of the scene from its own cameras")
    texture.add_argument("--object", action="append", required=True, metavar="NAME", help="a mesh (repeat for several)")
    texture.add_argument("--together", action="store_true", help="all objects in one job instead of one job each")
    texture.add_argument(
        "--cameras", metavar="WHICH", help="scene, active, frames or orbit:N (default: as the scene's settings say)"
    )
    texture.add_argument(
        "--front",
        type=degrees,
        metavar="DEGREES",
        help="which way the object faces: degrees around Z from -Y (0) towards +X (90) "
        "(default: as the scene's settings say)",
    )
    texture.add_argument("--resolution", type=int, choices=TEXTURE_SIZES, help="of the texture")
    texture.add_argument("--uv", metavar="NAME", help="the UV map to texture (default: the active one)")
    texture.add_argument(
        "--into", choices=sorted(MATERIAL_TARGETS), help="what gets a picture (default: as the scene's settings say)"
    )
    texture.add_argument("--new-uv", action="store_true", help="have the engine make a new UV map")
    texture.add_argument(
        "--beside", action="store_true", help="keep textures as files in 'textures' beside the scene's .blend"
    )
    _common(texture)
    texture.set_defaults(run=run_texture, task="texture")

    generate = commands.add_parser("generate", help="add a new object")
    generate.add_argument("--size", type=float, help="of the longest side in metres")
    generate.add_argument("--faces", type=int, help="about how many faces")
    generate.add_argument("--grid", type=int, help="detail of the volume")
    generate.add_argument("--views", type=int, help="cameras around it")
    generate.add_argument("--resolution", type=int, choices=TEXTURE_SIZES, help="of the texture")
    generate.add_argument("--location", type=float, nargs=3, metavar=("X", "Y", "Z"), help="instead of the 3D cursor")
    _common(generate)
    generate.set_defaults(run=run_generate, task="generate")

    panorama = commands.add_parser("panorama", help="make a panorama the world's environment")
    panorama.add_argument("--width", type=int, choices=PANORAMA_WIDTHS, help="in pixels")
    panorama.add_argument("--hdr", action="store_true", default=None, help="ask for high dynamic range")
    _common(panorama)
    panorama.set_defaults(run=run_panorama, task="panorama")

    material = commands.add_parser("material", help="make a material that repeats without a seam")
    material.add_argument("--object", metavar="NAME", help="which wears it in its active slot (default: none does)")
    material.add_argument("--resolution", type=int, choices=TEXTURE_SIZES, help="of the picture")
    material.add_argument("--mapping", choices=("UV", "BOX"), help="by the UV map, or from six sides")
    material.add_argument("--repeat", type=float, metavar="N", help="times along a side of the UV map, or along a unit")
    _common(material)
    material.set_defaults(run=run_material, task="image")

    batch = commands.add_parser("batch", help="write a job for each mesh, for `ddrep serve FOLDER` to work off")
    batch.add_argument("folder", metavar="FOLDER", help="where the job folders go")
    batch.add_argument("--prompt", required=True, metavar="TEXT", help="{name}: the object's; {x}: its property x")
    batch.add_argument("--object", action="append", metavar="NAME", help="(repeat for several; default: all meshes)")
    batch.add_argument("--collection", metavar="NAME", help="only the meshes in it")
    batch.add_argument("--cameras", metavar="WHICH", help="scene, active, frames or orbit:N")
    batch.add_argument("--resolution", type=int, choices=TEXTURE_SIZES, help="of the texture")
    batch.add_argument("--seed", type=int, metavar="S")
    batch.add_argument("--steps", type=int, metavar="N")
    batch.set_defaults(run=run_batch)

    collect = commands.add_parser("collect", help="bring in all finished jobs of a folder")
    collect.add_argument("folder", metavar="FOLDER", help="where the job folders are")
    collect.add_argument("--output", required=True, metavar="FILE", help="save a copy of the .blend with them in it")
    collect.set_defaults(run=run_collect)

    render = commands.add_parser("render", help="render each result in this .blend from the scene's cameras by Cycles")
    render.add_argument("--output", required=True, metavar="DIR", help="where the pictures go")
    render.add_argument("--render-samples", type=int, default=64, metavar="N", help="samples a pixel (default 64)")
    render.set_defaults(run=run_render)
    return top


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--prompt", action="append", required=True, metavar="TEXT", help="(repeat for several)")
    command.add_argument("--negative-prompt", metavar="TEXT")
    command.add_argument("--seed", action="append", type=int, metavar="S", help="(repeat for several)")
    command.add_argument("--samples", type=int, metavar="N", help="results for each seed")
    command.add_argument("--diversity", type=float, metavar="W", help="how different they are: 0 to 1 or more")
    command.add_argument("--steps", type=int, metavar="N")
    command.add_argument("--guidance-scale", type=float, metavar="W")
    command.add_argument("--prior", metavar="ID", help="bundled, a folder or a hub id")
    command.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"))
    command.add_argument("--engine", metavar="PATH", help="the engine's environment or Python")
    command.add_argument("--on", metavar="USER@HOST", help="run on that machine, by SSH; or USER@HOST:PORT/FOLDER")
    command.add_argument("--jobs", metavar="DIR", help="where job folders are kept")
    command.add_argument("--write-only", action="store_true", help="write the job folders, run nothing")
    command.add_argument("--output", metavar="FILE", help="save a copy of the .blend with all results in it")
    command.add_argument("--render", metavar="DIR", help="render each result from the scene's cameras by Cycles")
    command.add_argument("--render-samples", type=int, default=64, metavar="N", help="samples a pixel (default 64)")


def degrees(text: str) -> float:
    """An angle as it is typed. Raises ValueError where it is none."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


@contextlib.contextmanager
def settings_of(settings: Any, **values: Any) -> Iterator[None]:
    """Set some properties for a while."""
    given = {name: value for name, value in values.items() if value is not None}
    before = {name: getattr(settings, name) for name in given}
    try:
        for name, value in given.items():
            setattr(settings, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(settings, name, value)


def run_texture(options: argparse.Namespace) -> int:
    """`ddrep texture`."""
    things = [_named(name) for name in options.object]
    groups = [things] if options.together else [[thing] for thing in things]
    scene = bpy.context.scene
    source, count = _camera_source(options.cameras)
    uv_source = "NEW" if options.new_uv else ("NAMED" if options.uv else None)
    own = {
        "resolution": str(options.resolution) if options.resolution else None,
        "uv_source": uv_source,
        "uv_name": options.uv,
        "storage": "BESIDE" if options.beside else None,
        "material_target": MATERIAL_TARGETS[options.into] if options.into else None,
    }

    def drafts() -> Iterator[tuple[str, Draft]]:
        for group, prompt, seed in itertools.product(groups, options.prompt, options.seed or [None]):
            with (
                settings_of(scene.ddrep.texture, **_sampling(options, prompt, seed), **own),
                settings_of(scene.ddrep.cameras, source=source, orbit_count=count),
            ):
                draft = texture_draft(bpy.context, group, _prior(), options.front)
                yield ", ".join(thing.name for thing in group), draft

    return _run_all(options, drafts())


def run_generate(options: argparse.Namespace) -> int:
    """`ddrep generate`."""
    scene = bpy.context.scene
    own = {name: getattr(options, name) for name in ("size", "faces", "grid", "views")}
    own["resolution"] = str(options.resolution) if options.resolution else None

    def drafts() -> Iterator[tuple[str, Draft]]:
        for prompt, seed in itertools.product(options.prompt, options.seed or [None]):
            with settings_of(scene.ddrep.generate, **_sampling(options, prompt, seed), **own):
                draft = generate_draft(bpy.context, _prior())
            if options.location:
                draft.scene["location"] = options.location
            yield prompt, draft

    return _run_all(options, drafts())


def run_panorama(options: argparse.Namespace) -> int:
    """`ddrep panorama`."""
    settings = bpy.context.scene.ddrep.panorama
    own = {"width": str(options.width) if options.width else None, "hdr": options.hdr}

    def drafts() -> Iterator[tuple[str, Draft]]:
        for prompt, seed in itertools.product(options.prompt, options.seed or [None]):
            with settings_of(settings, **_sampling(options, prompt, seed), **own):
                yield prompt, panorama_draft(bpy.context, _prior())

    return _run_all(options, drafts())


def run_material(options: argparse.Namespace) -> int:
    """`ddrep material`."""
    settings = bpy.context.scene.ddrep.image
    own = {"mapping": options.mapping, "repeat": options.repeat, "target": "ACTIVE" if options.object else "LIBRARY"}
    own["resolution"] = str(options.resolution) if options.resolution else None
    if options.object:
        bpy.context.view_layer.objects.active = _named(options.object)

    def drafts() -> Iterator[tuple[str, Draft]]:
        for prompt, seed in itertools.product(options.prompt, options.seed or [None]):
            with settings_of(settings, **_sampling(options, prompt, seed), **own):
                yield prompt, image_draft(bpy.context, _prior())

    return _run_all(options, drafts())


def run_batch(options: argparse.Namespace) -> int:
    """`ddrep batch`: all is looked through before anything is written."""
    scene = bpy.context.scene
    things = _meshes(options)
    words = [words_for(thing, options.prompt) for thing in things]
    source, count = _camera_source(options.cameras)
    own = {"prompt": options.prompt, "seed": options.seed, "seed_locked": True if options.seed is not None else None}
    own |= {"resolution": str(options.resolution) if options.resolution else None}
    if options.steps is not None:
        own |= {"quality": "CUSTOM", "steps": options.steps}
    parent = _jobs(options.folder)
    written = []
    with settings_of(scene.ddrep.texture, **own), settings_of(scene.ddrep.cameras, source=source, orbit_count=count):
        for thing in things:
            require_texture(bpy.context, [thing])
        for thing, prompt in zip(things, words, strict=True):
            draft = texture_draft(bpy.context, [thing], _prior(), words=prompt)
            require_space(parent)
            folder = JobFolder(parent / new_folder_name("texture", thing.name))
            write_whole_job(folder.path, draft.request, draft.files, {**draft.scene, "session": "", "document": ""})
            written.append(folder)
            for warning in draft.warnings:
                print(f"ddrep: {thing.name}: {warning}", file=sys.stderr)
            print(f"{thing.name}: {folder.path}")
    print(f"{len(written)} jobs. Work them off with: ddrep serve {parent} --once")
    return 0


def run_collect(options: argparse.Namespace) -> int:
    """`ddrep collect`: a job that has failed, or is not done, is told of, and costs the others nothing."""
    _require_output(options.output)
    parent = _jobs(options.folder)
    if not parent.is_dir():
        raise Problem(f"There is no folder {parent}.")
    missing = 0
    for path in sorted(path for path in parent.iterdir() if (path / "job.json").is_file() and path.suffix != ".part"):
        folder = JobFolder(path)
        request = folder.request()
        job = Job(folder, "done", task_of(request), str(request.get("prompt", "")))
        try:
            for sample in read_samples(folder):
                print(f"{path.name}: seed {sample.seed}: {bring_in(bpy.context, job, sample)}")
                for block in made_from(job, sample):
                    block.use_fake_user = True
        except Problem as problem:
            missing += 1
            print(f"ddrep: {path.name}: {problem.message}", file=sys.stderr)
    _save_copy(Path(options.output))
    return 1 if missing else 0


def _meshes(options: argparse.Namespace) -> list[bpy.types.Object]:
    """The objects of a batch. Raises a Problem where there is none."""
    if options.object:
        return [_named(name) for name in options.object]
    things: Any = bpy.context.scene.objects
    if options.collection:
        if (collection := bpy.data.collections.get(options.collection)) is None:
            raise Problem(f"There is no collection '{options.collection}'.")
        things = collection.all_objects
    found = sorted((each for each in things if each.type == "MESH"), key=lambda each: each.name)
    if not found:
        raise Problem("There is no mesh to texture.")
    return found


def run_render(options: argparse.Namespace) -> int:
    """`ddrep render`."""
    results = results_in(bpy.context.scene)
    if not results:
        raise Problem("There is no result of ddrep in this .blend. Make one first: ddrep texture --output FILE.")
    for result in results:
        with result.shown():
            for path in render_cameras(bpy.context.scene, Path(options.output), result.title, options.render_samples):
                print(path)
    return 0


def _run_all(options: argparse.Namespace, drafts: Iterator[tuple[str, Draft]]) -> int:
    _require_output(options.output)
    python = None if options.write_only else _engine(options.engine)
    machine = options.on or ("" if options.write_only else runtime.other_machine())
    parent = _jobs(options.jobs)
    for title, draft in drafts:
        require_space(parent)
        folder = JobFolder(parent / new_folder_name(draft.request["task"], draft.request["prompt"]))
        write_whole_job(folder.path, draft.request, draft.files, {**draft.scene, "session": "", "document": ""})
        for warning in draft.warnings:
            print(f"ddrep: {warning}", file=sys.stderr)
        print(f"{title}: {folder.path}")
        if python is None:
            continue
        run_job(python, folder, machine)
        job = Job(folder, "done", draft.request["task"], draft.request["prompt"])
        for sample in read_samples(folder):
            print(f"{title}: seed {sample.seed}: {bring_in(bpy.context, job, sample)}")
            for block in made_from(job, sample):
                block.use_fake_user = True  # all of a batch's results stay in the file; the last one is shown
            if options.render:
                name = f"{title}-{folder.name[-4:]}-{sample.seed}"
                for path in render_cameras(bpy.context.scene, Path(options.render), name, options.render_samples):
                    print(path)
    if options.output and python is not None:
        _save_copy(Path(options.output))
    return 0


def run_job(python: Path, folder: JobFolder, machine: str = "") -> None:
    """Run a job (on another machine, where one is named) and wait, telling its progress.

    Raises:
        RunFailed: it failed, with the reason.
        KeyboardInterrupt: it was cancelled; the engine has been asked to stop, and has.
    """
    handle = process.start(process.run_command(python, folder.path, machine=machine), folder.log_file)
    tail, progress = EventTail(folder.events_file), Progress()
    told = 0.0
    interrupted = False
    try:
        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    except ValueError:  # not the main thread
        previous = None
    try:
        while True:
            try:
                status = handle.poll()
                for event in tail.read():
                    progress.add(event)
                    if event["event"] == "warning":
                        print(f"ddrep: {event.get('message', '')}", file=sys.stderr)
                if status is not None:
                    break
                if progress.index and time.monotonic() - told > 5:
                    told = time.monotonic()
                    left = duration(progress.seconds_left)
                    print(f"  step {progress.index} of {progress.of}" + (f", {left} left" if left else ""), flush=True)
                time.sleep(0.05)
            except KeyboardInterrupt:
                if interrupted:
                    process.end(handle, handle.pid, folder.path, force=True)
                interrupted = True
                folder.cancel_file.touch()
    finally:
        if previous is not None:
            signal.signal(signal.SIGINT, previous)
    for event in tail.read_all():
        progress.add(event)
    if progress.state == "cancelled" or interrupted:
        raise KeyboardInterrupt
    if progress.state != "done":
        raise RunFailed(diagnose(folder, progress.message, progress.fix, status).message + f" Log: {folder.log_file}")


def _sampling(options: argparse.Namespace, prompt: str, seed: int | None) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "negative_prompt": options.negative_prompt,
        "seed": seed,
        "samples": options.samples,
        "diversity": options.diversity,
        "quality": "CUSTOM" if options.steps else None,
        "steps": options.steps,
        "own_guidance": True if options.guidance_scale is not None else None,
        "guidance_scale": options.guidance_scale,
        "prior": options.prior,
        "device": options.device,
    }


def _camera_source(text: str | None) -> tuple[str | None, int | None]:
    if text is None:
        return None, None
    if text in CAMERA_SOURCES:
        return CAMERA_SOURCES[text], None
    kind, _, count = text.partition(":")
    if kind == "orbit" and count.isdigit() and int(count) > 0:
        return "ORBIT", int(count)
    raise Problem(f"--cameras {text}: choose scene, active, frames or orbit:N.")


def _named(name: str) -> bpy.types.Object:
    thing = bpy.context.scene.objects.get(name)
    if thing is None:
        meshes = sorted(each.name for each in bpy.context.scene.objects if each.type == "MESH")
        raise Problem(f"The scene has no object '{name}'. Its meshes: {', '.join(meshes) or 'none'}.")
    return thing


def _prior() -> str:
    return preferences().prior


def _engine(given: str | None) -> Path:
    """The engine's Python. Raises a Problem where there is none that fits."""
    location = given or preferences().engine
    if location:
        python = python_in(location)
    else:
        found = candidates(Path(preferences().engine_folder).expanduser())
        if not found:
            raise Problem("The engine is not set up. Give it by --engine PATH, or set it up in the preferences.")
        python = found[0]
    probe = Probe(python)
    while not probe.done():
        time.sleep(0.02)
    if probe.problem is not None:
        raise probe.problem
    return python


def _jobs(given: str | None) -> Path:
    return Path(given).expanduser().resolve() if given else runtime.jobs_folder()


def _require_output(path: str | None) -> None:
    """Raises a Problem, before anything is run, where the results could not be saved."""
    if path and bpy.data.filepath and Path(path).expanduser().resolve() == Path(bpy.data.filepath).resolve():
        raise Problem("--output names the .blend that is open, which is never written to. Choose another name.")


def _save_copy(path: Path) -> None:
    target = path.expanduser().resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(target), copy=True, check_existing=False)
    except RuntimeError as error:
        raise RunFailed(f"The copy {target} can't be written: {error}") from error
    print(target)


_handle: Any = None


def register() -> None:
    global _handle
    _handle = bpy.utils.register_cli_command("ddrep", main)


def unregister() -> None:
    global _handle
    if _handle is not None:
        bpy.utils.unregister_cli_command(_handle)
    _handle = None
