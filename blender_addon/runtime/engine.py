# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of the engine: asked beside us, and looked at when the answer is there."""

from pathlib import Path

import bpy

from ..engine.environment import Doctor, Probe, python_in
from ..preferences import preferences
from ..problems import Problem, encode
from .state import current, enabled, wake


def _chosen_python() -> Path:
    return python_in(bpy.path.abspath(preferences().engine))


def engine_python() -> Path | None:
    """The engine's Python, found to fit; None while that is still being found out.

    Raises:
        Problem: there is none, or one of another version.
    """
    known = current()
    python = _chosen_python()
    if str(python) in known.fitting:
        return python
    if known.probe is None or known.probe.python != python:
        known.probe = Probe(python)
    probe = known.probe
    if not probe.done():
        return None
    known.probe = None
    known.engine_problem = probe.problem
    if probe.problem is not None:
        raise probe.problem
    known.fitting[str(python)] = probe.version or ""
    return python


def other_machine() -> str:
    """The machine that jobs are sent to by SSH; "" where they run here.

    Raises:
        Problem: they are to be sent, and it is not said where.
    """
    chosen = preferences()
    if chosen.runs_on != "SSH":
        return ""
    if not chosen.machine.strip():
        raise Problem(
            "Jobs are to run on another machine, and it is not said on which.",
            "ddrep.open_preferences",
            "Open the preferences",
        )
    return chosen.machine.strip()


def is_served() -> bool:
    """Whether other machines work off the jobs folder; then no engine is needed here."""
    return preferences().runs_on == "SERVED"


def require_engine() -> None:
    """Raises a Problem where there is no engine, as far as is known without asking it."""
    if is_served():
        return
    if not preferences().engine.strip():
        raise Problem(
            "The engine is not set up yet. It is a program of its own that does the sampling.",
            "ddrep.open_preferences",
            "Set up the engine",
        )
    if current().engine_problem is not None:
        raise current().engine_problem


def forget_engine() -> None:
    """The engine's location was changed: what was known of it is void."""
    if not enabled():
        return
    known = current()
    known.fitting.clear()
    known.engine_problem = None
    if known.probe is not None:
        known.probe.close()
        known.probe = None
    window = bpy.context.window_manager.ddrep
    window.engine_words = window.engine_problem = ""


def check_engine() -> None:
    """Start `ddrep doctor`. Raises a Problem when there is no engine to ask."""
    python = _chosen_python()
    known = current()
    if known.doctor is not None:
        known.doctor.close()
    known.doctor = Doctor(python)
    window = bpy.context.window_manager.ddrep
    window.engine_words, window.engine_problem = "Checking the engine...", ""
    wake()


def look_at_doctor() -> None:
    """Take the doctor's report in, if it is there."""
    doctor = current().doctor
    if doctor is None or not doctor.done():
        return
    current().doctor = None
    window = bpy.context.window_manager.ddrep
    window.engine_words = window.engine_problem = ""
    if doctor.problem is not None:
        window.engine_problem = encode(doctor.problem)
        return
    report = doctor.report or {}
    checks = [each for each in report.get("checks", []) if isinstance(each, dict)]
    bad = [each for each in checks if each.get("ok") is False]
    if report.get("ok") is True:
        window.engine_words = f"Engine {report.get('version', '')} is ready, on {report.get('device', 'cpu')}."
        if notes := "; ".join(str(each.get("message", "")) for each in bad):
            window.engine_words += f" Note: {notes}"
        return
    words = " ".join(f"{each.get('message', '')} {each.get('fix') or ''}".strip() for each in bad)
    window.engine_problem = encode(
        Problem(words or "The engine is not fit to work.", "ddrep.set_up_engine", "Set up again")
    )


def look_at_set_up() -> None:
    """Show how far the set-up is; once it is done, use what it made."""
    set_up = current().set_up
    if set_up is None:
        return
    fraction, words, status = set_up.look()
    window = bpy.context.window_manager.ddrep
    window.setup_fraction, window.setup_words = fraction, words
    if status is None:
        return
    current().set_up = None
    window.setup_fraction = -1.0
    if status == 0:
        preferences().engine = str(set_up.folder)
        check_engine()
    elif status < 0:
        window.setup_words = "The set-up was cancelled."
