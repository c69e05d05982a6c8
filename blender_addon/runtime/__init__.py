# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the queue meets Blender: one timer, a few handlers, and the window's view of the jobs.

`pump` is a plain function. Blender's timer calls it while there is something to do; the command line and the tests call
it themselves. Nothing here runs off the main thread, and each call is over in a few milliseconds.
"""

from .batch import bring_in_all, still_out, want_each, words_of_all
from .coverage import coverage_key, measure_coverage, painted_surface, touch_coverage
from .engine import check_engine, engine_python, forget_engine, other_machine, require_engine
from .jobs import belongs_here, discarded_of, find_jobs, job_named, jobs_folder, queue, require, samples_of
from .painting import begin_painting
from .previews import preview_picture
from .pump import pump, register, tick, unregister
from .rows import words_of
from .state import SESSION, current, enabled, wake

__all__ = [
    "SESSION",
    "begin_painting",
    "belongs_here",
    "bring_in_all",
    "check_engine",
    "coverage_key",
    "current",
    "discarded_of",
    "enabled",
    "engine_python",
    "find_jobs",
    "forget_engine",
    "job_named",
    "jobs_folder",
    "measure_coverage",
    "other_machine",
    "painted_surface",
    "preview_picture",
    "pump",
    "queue",
    "register",
    "require",
    "require_engine",
    "samples_of",
    "still_out",
    "tick",
    "touch_coverage",
    "unregister",
    "wake",
    "want_each",
    "words_of",
    "words_of_all",
]
