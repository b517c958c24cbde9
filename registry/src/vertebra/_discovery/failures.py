"""Why a plugin failed, in words for its user, with the line of its code and the remedy."""

from __future__ import annotations

import re
import sys
import traceback
from pathlib import PurePath

from vertebra.errors.base import ended, exception_text, shown

_IMPORTED = re.compile(r"cannot import name '([^']+)' from (?:partially initialized module )?'([^']+)'")
"""The message of Python's exception for a name that a module lacks."""


def describe_failure(module: str, distribution: str | None, error: BaseException) -> str:
    """Returns the cause and the remedy for an exception that the code of a plugin raised.

    Args:
        module: The entry module of the plugin.
        distribution: The plugin's distribution, or None if it is not installed, but was added to the process.
        error: The exception, `SystemExit` included.
    """
    cause, remedy = _cause(module, error)
    if distribution is None:
        return f"{ended(cause)} Correct it, and add it again."
    return f"{ended(cause)} {remedy_for_failure(distribution, remedy)}"


def remedy_for_failure(distribution: str, remedy: str = "Update the plugin") -> str:
    """Returns the sentence on how to update a plugin that failed."""
    return f"{remedy}: pip install --upgrade {distribution}."


def _cause(module: str, error: BaseException) -> tuple[str, str]:
    """Returns the cause, and the beginning of the remedy."""
    line = _line_of(module, error)
    subject = f"{line} imports" if line else "it needs"
    if isinstance(error, ModuleNotFoundError) and error.name:
        if _package(error.name) == _package(module):
            return f"its module {error.name!r} is not installed", "Install it again"
        return f"{subject} {error.name!r}, which is not installed", "Install that, or update the plugin"
    if isinstance(error, ImportError) and (found := _IMPORTED.search(exception_text(error))):
        return (
            f"{subject} {found[1]!r} of {found[2]!r}, which the installed version lacks",
            "Update that, or the plugin",
        )
    if isinstance(error, SyntaxError) and error.filename:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        where = f"line {error.lineno} of " if error.lineno else ""
        return f"{where}{PurePath(error.filename).name} is no valid Python {version}", "Update the plugin"
    if isinstance(error, SystemExit):
        status = "" if error.code in (None, 0) else f" ({shown(error.code)})"
        return f"{line or 'it'} tries to end the process{status}", "Update the plugin"
    text = exception_text(error)
    return f"{line or 'its code'} failed ({text})", "Update the plugin"


def _line_of(module: str, error: BaseException) -> str:
    """Returns the last line of the plugin's own code that the error passed, for its author; else nothing."""
    frames = [(f.f_globals.get("__name__", ""), line) for f, line in traceback.walk_tb(error.__traceback__)]
    own = [f"line {line} of {name}" for name, line in frames if _package(name) == _package(module)]
    return own[-1] if own else ""


def _package(module: str) -> str:
    return module.partition(".")[0]
