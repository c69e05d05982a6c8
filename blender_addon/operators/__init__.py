# SPDX-License-Identifier: GPL-3.0-or-later
"""What the buttons do."""

from . import cameras, engine, fixes, jobs, make, results

MODULES = (make, jobs, results, cameras, engine, fixes)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
