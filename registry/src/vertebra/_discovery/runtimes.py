"""Runtime selection, before Keras is imported: the first import of Keras fixes its backend."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from vertebra._arguments import text
from vertebra._configuration.settings import settings
from vertebra._discovery.catalog import RUNTIMES, Entry, catalog
from vertebra._discovery.extras import runtime_commands
from vertebra._discovery.installed import frameworks
from vertebra._discovery.plugin import observed
from vertebra.errors import (
    RuntimeBoundError,
    RuntimeChoiceError,
    RuntimeUnavailableError,
    SettingsError,
    UnknownNameError,
    exception_text,
)
from vertebra.interfaces import Runtime

_BINDING = threading.RLock()  # two threads may request different runtimes


def bind(requested: str | None = None) -> Runtime:
    """Makes Keras run on the requested runtime, or on the chosen one, and returns the runtime.

    Raises:
        RuntimeBoundError: Keras already runs on another backend.
        RuntimeUnavailableError: the backend cannot be used on this machine.
        RuntimeChoiceError: no runtime was requested or chosen, and there are several or none.
        UnknownNameError: no plugin provides the runtime.
        SettingsError: the machine enforces another runtime.
        ForkedProcessError: the process was forked, and the backend cannot be used in it.
    """
    requested = _permitted(requested)
    with _BINDING:
        if bound_backend() is None:
            chosen = usable(requested or _chosen())
            os.environ["KERAS_BACKEND"] = chosen.name
            chosen.import_keras()
        runtime = _accept_bound(str(bound_backend()), requested)
    runtime.check_process()
    return runtime


def bind_any(requested: str | None = None) -> Runtime:
    """Binds a runtime as `bind` does, or the first one if none was chosen, for work that is the same on all runtimes.

    Raises:
        RuntimeChoiceError: no runtime is installed.
    """
    try:
        return bind(requested)
    except RuntimeChoiceError as error:
        if not error.available:
            raise
        return bind(error.available[0])


def expected() -> Runtime | None:
    """Returns the runtime that `bind` would choose, or None if none was chosen; imports no framework."""
    try:
        return usable(bound_backend() or _permitted(None) or _chosen())
    except (RuntimeChoiceError, RuntimeUnavailableError, UnknownNameError):
        return None


def bound_backend() -> str | None:
    """Returns the backend that Keras runs on in this process, or None while Keras is not imported."""
    keras = sys.modules.get("keras")
    config = getattr(keras, "config", None)
    return str(config.backend()) if config is not None else None


def available() -> list[Runtime]:
    """Returns the runtimes whose backend can be used on this machine, in order of name."""
    return [entry.value for entry in catalog(RUNTIMES) if unavailable_reason(entry) is None]


def framework_names() -> list[str]:
    """Returns the import names of Keras and of the frameworks of all runtimes, whose import fixes the runtime."""
    return sorted(frameworks(entry.name for entry in catalog(RUNTIMES).claims()))


def _permitted(requested: str | None) -> str | None:
    """Returns the runtime that the machine enforces, or else the requested one."""
    if requested is not None:
        text("Choosing a runtime", "runtime", requested)
    chosen = settings()
    if not chosen.is_enforced("runtime"):
        return requested
    if requested not in (None, chosen.runtime):
        problem = f"it enforces the runtime {chosen.runtime!r}, but {requested!r} was requested"
        raise SettingsError(chosen.origin("runtime"), problem, f"Remove the argument, or request {chosen.runtime!r}")
    return chosen.runtime


def _accept_bound(bound: str, requested: str | None) -> Runtime:
    if requested is not None and requested != bound:
        catalog(RUNTIMES).lookup(requested)  # raises UnknownNameError for a misspelled name
        raise RuntimeBoundError(requested, bound)
    if bound not in catalog(RUNTIMES):
        names = [runtime.name for runtime in available()]
        raise RuntimeBoundError(names[0], bound) if names else no_choice(names)
    return usable(bound)


def usable(name: str) -> Runtime:
    """Returns a runtime whose backend can be used on this machine.

    Raises:
        UnknownNameError: no plugin provides the runtime.
        RuntimeUnavailableError: the backend cannot be used.
    """
    entry: Entry[Runtime] = catalog(RUNTIMES).lookup(name)
    reason = unavailable_reason(entry)
    if reason is not None:
        raise RuntimeUnavailableError(name, reason)
    return entry.value


def unavailable_reason(entry: Entry[Runtime]) -> str | None:
    """Returns why a runtime cannot be used, or None. A runtime that raises cannot be used; others are not affected."""
    try:
        with observed(entry.owner.module):
            return entry.value.unavailable_reason()
    except Exception as error:
        return f"{entry.owner} failed to check it ({exception_text(error)}); update or block that plugin"


def _chosen() -> str:
    """Returns the name from VERTEBRA_RUNTIME or settings, KERAS_BACKEND, keras.json, or the only runtime installed."""
    names = [runtime.name for runtime in available()]
    explicit = settings().runtime or os.environ.get("KERAS_BACKEND", "").strip()
    if explicit:
        return explicit
    saved = _saved_backend()
    if saved in names:
        return saved
    if len(names) == 1:
        return names[0]
    raise no_choice(names)


def no_choice(names: Sequence[str]) -> RuntimeChoiceError:
    """Returns the error for several runtimes without a choice, or for none, with the commands that install one."""
    return RuntimeChoiceError(names, () if names else runtime_commands())


def _saved_backend() -> str:
    import json  # only needed if nothing else was chosen

    home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")  # noqa: PTH111 (Path raises for users without a home)
    try:
        saved = json.loads(Path(home, "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    return str(saved.get("backend", "")) if isinstance(saved, dict) else ""
