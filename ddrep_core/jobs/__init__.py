"""The job folder: request, run, events, checkpoint. The same job runs from a shell, from Python and from Blender."""

from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.request import Request
from ddrep_core.jobs.run import run_job

__all__ = ["JobFolder", "Request", "create_job", "run_job"]
