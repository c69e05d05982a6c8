"""The job folder: request, run, events, checkpoint. The same job runs from a shell, from Python and from Blender.

`jobs.create.create_job` writes one, `jobs.run.run_job` runs one. Nothing is imported here: `jobs.run` needs torch, and
writing or reading a job does not.
"""
