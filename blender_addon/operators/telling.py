# SPDX-License-Identifier: GPL-3.0-or-later
"""How operators tell problems: in the status bar, and in the panel with the button that helps."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import bpy

from ..problems import Problem, encode


def tell(operator: bpy.types.Operator, context: bpy.types.Context, problem: Problem) -> set[str]:
    """Tell a problem; the operator returns what this returns."""
    context.window_manager.ddrep.problem = encode(problem)
    operator.report({"ERROR"}, problem.message)
    return {"CANCELLED"}


def telling(execute: Callable[..., set[str]]) -> Callable[..., set[str]]:
    """Decorates `execute`: clears the last problem, and tells the next one; so it does where Blender refuses a step."""

    @wraps(execute)
    def told(self: Any, context: bpy.types.Context) -> set[str]:
        context.window_manager.ddrep.problem = ""
        try:
            return execute(self, context)
        except Problem as problem:
            return tell(self, context, problem)
        except RuntimeError as error:  # what an operator or a datablock of Blender's own says
            words = str(error).strip().removeprefix("Error: ").rstrip(".")
            return tell(self, context, Problem(f"Blender could not do that: {words}."))

    return told


def allowed(cls: Any, check: Callable[[], Any]) -> bool:
    """For `poll`: whether `check` passes; if not, the button says why."""
    try:
        check()
    except Problem as problem:
        cls.poll_message_set(problem.message)
        return False
    return True
