# SPDX-License-Identifier: GPL-3.0-or-later
"""What the buttons do."""

from . import cameras, edits, engine, fixes, jobs, loras, make, results

MODULES = (make, loras, jobs, results, edits, cameras, engine, fixes)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
