"""Run a job folder: from job.json to outputs/result.json, however often it is interrupted."""

from __future__ import annotations

import os
import platform
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import torch

from ddrep_core.confined import named
from ddrep_core.errors import Cancelled, DdrepError, DdrepWarning, RequestError, RunError
from ddrep_core.jobs.apart import distances
from ddrep_core.jobs.events import EventLog, Listener
from ddrep_core.jobs.folder import FULL, JobFolder, read_json, told_in_words, write_bytes, write_json
from ddrep_core.jobs.identity import fingerprint, has_begun, is_finished
from ddrep_core.jobs.pace import StopSwitch
from ddrep_core.jobs.request import SCHEMA_VERSION, TASKS, Request
from ddrep_core.jobs.session import Session
from ddrep_core.jobs.task import Illustration, Stage, Start, make
from ddrep_core.memory import uncollected
from ddrep_core.report.page import result_page
from ddrep_core.schedules.parse import check_schedule

STARTING_SECONDS = 20.0
MOST_THREADS = 1024
RECORDED_PACKAGES = ("ddrep", "torch", "diffusers", "transformers", "numpy", "trimesh")


def start_task(session: Session) -> Stage:
    """The first stage of the task that the request names, as `TASKS` has it."""
    module, _, name = TASKS[session.request.task][1].partition(":")
    start: Start = getattr(import_module(module), name)
    return start(session)


def run_job(
    path: str | Path,
    *,
    resume: bool | None = False,
    listeners: tuple[Listener, ...] = (),
    checkpoint_seconds: float = 10.0,
    preview_seconds: float = 3.0,
    load_prior: Callable[[Request], Any] | None = None,
) -> Path:
    """Run the job in a folder.

    Args:
        path: the job folder (docs/jobs.md).
        resume: go on from the checkpoint; the outputs are byte for byte those of a run that was never interrupted. A
            finished job is left as it is. Without a usable checkpoint the job starts anew, with a warning. None: go on
            where an earlier run of this very request began, else start.
        listeners: called with each event (`jobs.events`).
        checkpoint_seconds: about how often to write a checkpoint; 0 writes one after every step.
        preview_seconds: about how often to write previews.
        load_prior: finds the prior for a request; `load_request_prior` when not given. A batch loads once.

    Returns:
        the path of outputs/result.json.

    Raises:
        RequestError: the request is wrong; nothing that an earlier run left was touched.
        RunError: the run failed.
        Cancelled: a person stopped it; a checkpoint is there.
    """
    folder = JobFolder(path)
    request = folder.load_request()
    with folder.locked():
        folder.sweep()
        # A cancel file is removed when it is obeyed. One that lies here is left from an engine that was killed, or was
        # made while this one was starting: then it counts.
        folder.forget_cancel(before=time.time() - STARTING_SECONDS)
        identity = None
        if resume is None:
            identity = fingerprint(folder, request)
            resume = has_begun(folder, request, identity)
        events = EventLog(folder, listeners, append=resume)
        try:
            with _warnings_as_events(events), _deterministic():
                load = load_prior or load_request_prior
                return _run(folder, request, identity, events, resume, load, checkpoint_seconds, preview_seconds)
        except KeyboardInterrupt as error:
            events.emit("cancelled")
            raise Cancelled("Cancelled at once.", f'Go on with: ddrep run "{folder}" --resume') from error
        except Cancelled:
            folder.forget_cancel()
            events.emit("cancelled")
            raise
        except Exception as error:
            known = explain(error, folder)
            _report_failure(events, known)
            raise known from error
        finally:
            events.close()


def _run(
    folder: JobFolder,
    request: Request,
    identity: str | None,
    events: EventLog,
    resume: bool,
    load_prior: Callable[[Request], Any],
    checkpoint_seconds: float,
    preview_seconds: float,
) -> Path:
    start = time.monotonic()
    identity = identity or fingerprint(folder, request)
    if resume and is_finished(folder, request, identity):
        if not folder.page_file.is_file():
            _write_page(folder, read_json(folder.result_file), events)
        events.emit("done", result=folder.relative(folder.result_file), seconds=0.0)
        return folder.result_file
    stop = StopSwitch(folder)
    session = Session(folder, request, events, stop, load_prior, checkpoint_seconds, preview_seconds)
    with stop.listening(), session.telling_the_time():
        resume = resume and _can_resume(folder, identity, events)
        events.emit("started", task=request.task, pid=os.getpid(), samples=request.samples, of=request.samples)
        check_schedule(request.schedule)
        with uncollected():  # a sixth of the time that importing a model's libraries takes
            first = start_task(session)
        assert session.prior is not None  # loading it may fail: before anything of an earlier run is removed
        if not resume:
            folder.clear_results()
        folder.prepare()
        write_json(folder.checkpoints / "run.json", {"fingerprint": identity, "threads": torch.get_num_threads()})
        records: list[dict[str, Any]] = []

        def write_result() -> dict[str, Any]:
            result = _result(request, identity, records, time.monotonic() - start)
            if (request.diversity or request.unlike) and (apart := distances(folder, records)):
                result["distances"] = apart
            write_json(folder.result_file, result)
            return result

        owed = []
        for number in range(request.samples):
            session.sample_number = number
            record = session.finished_record()
            if record is not None:
                records.append(record)
                owed += [number] if "missing" in record else []
                continue
            record, illustrations = _make_sample(first, session)
            records.append(record)
            if len(records) == request.samples:
                write_result()
            _illustrate(session, record, illustrations)
        for number in owed:  # last: should the engine die of a picture, every sample and result.json are there by then
            session.sample_number = number
            write_result()
            still_missing = records[number]["missing"]
            records[number], illustrations = _make_sample(first, session)
            _illustrate(session, records[number], illustrations, still_missing)
        result = write_result()
        _write_page(folder, result, events)
        if not any("missing" in record for record in records):
            folder.error_file.unlink(missing_ok=True)
        folder.forget_cancel()  # it came too late to stop anything
    events.emit("done", result=folder.relative(folder.result_file), seconds=round(time.monotonic() - start, 2))
    return folder.result_file


def _make_sample(first: Stage, session: Session) -> tuple[dict[str, Any], tuple[Illustration, ...]]:
    """The session's current sample with its files on disk, and the pictures that are still to be drawn of it."""
    session.outputs.mkdir(parents=True, exist_ok=True)
    record, illustrations = make(first, session)
    record = _tidy(record)
    if illustrations:
        record["missing"] = [illustration.what for illustration in illustrations]
    session.keep_record(record)
    return record, illustrations


def _illustrate(
    session: Session,
    record: dict[str, Any],
    illustrations: Sequence[Illustration],
    wanted: Sequence[str] | None = None,
) -> None:
    """Draw a sample's pictures, of which `wanted` are missing (all when None). One that fails costs a warning."""
    if not illustrations:
        return
    missing = []
    for illustration in illustrations:
        there = wanted is not None and illustration.what not in wanted
        try:
            if not there:
                illustration.draw(session.stage(f"Drawing {illustration.what}"))
        except Cancelled:
            raise
        except Exception as error:
            missing.append(illustration.what)
            session.warn(
                f"{illustration.what.capitalize()} could not be drawn. {explain(error, session.folder)} "
                "The result itself is complete; `ddrep run JOB --resume` tries again to draw what is missing."
            )
            continue
        record["files"] |= {what: session.folder.relative(path) for what, path in illustration.files.items()}
    del record["missing"]
    if missing:
        record["missing"] = missing
    session.keep_record(record)


def _write_page(folder: JobFolder, result: Any, events: EventLog) -> None:
    """The page that shows a result; what goes wrong with it is told, and costs nothing else."""
    try:
        write_bytes(folder.page_file, result_page(result).encode(errors="replace"))
    except Exception as error:
        words = f"The page {folder.page_file.name} could not be written. {explain(error, folder)}"
        events.emit("warning", message=f"{words} The results are complete; `ddrep run JOB --resume` tries again.")


def load_request_prior(request: Request) -> Any:
    """The prior that a request names, on the device and in the precision it asks for; or its task's own."""
    if own := TASKS[request.task][0].own_prior:
        module, _, name = own.partition(":")
        return getattr(import_module(module), name)(request.prior)
    from ddrep_core.priors import load_prior
    from ddrep_core.priors.adapters.controlnet import Control, parse_control
    from ddrep_core.priors.adapters.ip_adapter import IpAdapter
    from ddrep_core.priors.adapters.lora import Lora
    from ddrep_core.priors.compiled import compile_network
    from ddrep_core.priors.verdicts import prove

    controlnets = [parse_control(request.controlnet)] if request.controlnet else []
    controlnets += [Control(each.folder, each.kind, each.scale) for each in request.controlnets]
    reference = request.reference
    prior = load_prior(
        request.prior,
        device=request.device,
        precision=request.precision,
        controlnets=controlnets,
        loras=[Lora(named(lora.file), lora.weight) for lora in request.loras],
        ip_adapter=None
        if reference is None
        else IpAdapter(
            Path(reference.adapter),
            Path(reference.image_encoder) if reference.image_encoder else None,
            reference.scale,
        ),
        max_batch=request.max_batch,
    )
    if request.compile:
        compile_network(prior.network, request.prior)
    # The bundled prior is known by its checksums; a person's own proves itself the first time.
    adapted = request.prior != "bundled" or request.loras or controlnets
    if adapted and not (verdict := prove(prior)).sound:
        warnings.warn(
            f"The model '{request.prior}' does not do what its files say. {verdict} {verdict.fix}",
            DdrepWarning,
            stacklevel=1,
        )
    return prior


def _can_resume(folder: JobFolder, identity: str, events: EventLog) -> bool:
    """Whether what is in checkpoint/ belongs to this request; says so if not."""
    record = read_json(folder.checkpoints / "run.json")
    if not isinstance(record, dict):
        events.emit("warning", message="There is no checkpoint to go on from; the job starts anew.")
        return False
    if record.get("fingerprint") != identity:
        events.emit("warning", message="The request or its inputs have changed since; the job starts anew.")
        return False
    # Sums are taken in another order with another number of threads, and so would the bytes differ.
    threads = record.get("threads", torch.get_num_threads())
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise RequestError(
            f"{folder.checkpoints / 'run.json'} does not say how many threads the job ran with (1 to {MOST_THREADS}).",
            'Correct "threads" in it, or run without --resume to start anew.',
        )
    torch.set_num_threads(threads)
    return True


def _tidy(record: dict[str, Any]) -> dict[str, Any]:
    """Numbers as a person reads them: whole evaluations are whole numbers, seconds have milliseconds."""
    seconds = {part: round(float(value), 3) for part, value in record.get("seconds", {}).items()}
    return {**record, "nfe": _whole(record.get("nfe", 0)), "seconds": seconds}


def _whole(number: float) -> int | float:
    return int(number) if float(number).is_integer() else round(float(number), 3)


def _result(request: Request, identity: str, records: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    parts: dict[str, float] = {}
    for record in records:
        for part, value in record["seconds"].items():
            parts[part] = round(parts.get(part, 0.0) + value, 3)
    return {
        "schema_version": SCHEMA_VERSION,
        "task": request.task,
        "request": request.to_json(),
        "fingerprint": identity,
        "versions": versions(),
        "seconds": {**parts, "job": round(seconds, 3)},
        "nfe": _whole(sum(record["nfe"] for record in records)),
        "samples": records,
    }


def versions() -> dict[str, str]:
    """What made a result: packages, Python, the system, and how many threads."""
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": str(torch.get_num_threads()),
    }
    for package in RECORDED_PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def explain(error: Exception, folder: JobFolder) -> DdrepError:
    """Any exception as one with a message for a person; one that nobody foresaw keeps its details in error.log."""
    if isinstance(error, DdrepError):
        return error
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error).lower():
        return RunError(
            "The memory ran out.",
            "Ask for less at a time (--max-batch 1), fewer cameras or a lower resolution, or close other programs; "
            "`ddrep run JOB --resume` then goes on from the last checkpoint.",
        )
    if isinstance(error, OSError) and error.errno in FULL:
        try:
            with told_in_words(folder.path):
                raise error
        except RunError as known:
            return known
    details = "".join(traceback.format_exception(error))
    try:
        write_bytes(folder.error_file, details.encode(errors="backslashreplace"))
        where = f"Details are in {folder.error_file}; please report them. --debug shows them here."
    except DdrepError:
        where = "Run again with --debug for the details, and please report them."
    return RunError(f"Something went wrong that ddrep did not foresee: {type(error).__name__}: {error}.", where)


def _report_failure(events: EventLog, error: DdrepError) -> None:
    try:
        events.emit("error", message=error.message, fix=error.fix, status=error.exit_status)
    except RunError:
        pass  # the disk is full or gone, which `error` most likely says


@contextmanager
def _warnings_as_events(events: EventLog) -> Iterator[None]:
    """ddrep's own warnings become events, each once; libraries' are for developers (`--debug`)."""
    seen: set[str] = set()
    before = warnings.showwarning

    def show(message: Any, category: type[Warning], *rest: Any, **named: Any) -> None:
        if not issubclass(category, DdrepWarning):
            before(message, category, *rest, **named)
        elif str(message) not in seen:
            seen.add(str(message))
            events.emit("warning", message=str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always", DdrepWarning)
        warnings.showwarning = show
        yield


@contextmanager
def _deterministic() -> Iterator[None]:
    """The same request, seed and machine give the same bytes."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_deterministic_debug_mode()
    threads = torch.get_num_threads()
    torch.set_deterministic_debug_mode("warn")  # `use_deterministic_algorithms` would import torch's compiler: seconds
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        torch.set_num_threads(threads)
