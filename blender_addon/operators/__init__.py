# SPDX-License-Identifier: GPL-3.0-or-later
"""What the buttons do."""

from . import adapters, cameras, edits, engine, fixes, jobs, make, repaint, results

MODULES = (make, adapters, jobs, results, edits, repaint, cameras, engine, fixes)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
