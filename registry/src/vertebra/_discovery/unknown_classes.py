"""The error for a class of `vertebra.models` that no installed plugin has: it names the distribution that has it."""

from __future__ import annotations

from collections.abc import Iterable

from vertebra._discovery.catalog import BACKBONES, TASKS, catalog, failed, plugins_that_are
from vertebra._discovery.extras import install_command, names_in_extras, replacement
from vertebra._discovery.task_classes import class_names
from vertebra.errors import UnknownNameError, close_names

_SUFFIX = "Backbone"
_LISTS = "List the installed ones with: vertebra backbones, and vertebra tasks"


def unknown_class(name: str) -> UnknownNameError:
    """Returns the error for a name that is no installed backbone, no task, and no task of an installed backbone."""
    tasks = names_in_extras(TASKS.title)
    task = next((task for task in tasks if name.endswith(task)), None)
    if task is not None:
        return _unknown_task(name, task, tasks[task])
    if (other := replacement(name)) is not None:
        installed = f", which is installed with: {other[1]}" if other[1] else ""
        return _error("class", name, (), f"Use {other[0]} instead{installed}")
    if name.endswith(_SUFFIX):
        names = [entry.name for entry in catalog(BACKBONES)]
        return _error(BACKBONES.title, name, names, install=install_command(name))
    known = {*class_names(), *tasks}
    similar = next(iter(close_names(name, known)), "")
    command = install_command(similar, TASKS.title) if similar in tasks else None
    hint = f"{similar} is a task of vertebra-{tasks[similar]}: {command}" if command else _LISTS
    return _error("backbone or task", name, known, hint, install_command(name))


def _unknown_task(name: str, task: str, extra: str) -> UnknownNameError:
    install = install_command(task, TASKS.title) or install_command(f"{name.removesuffix(task)}{_SUFFIX}")
    hint = "" if task in catalog(TASKS) else f"{task} is a task of vertebra-{extra}"
    return _error(TASKS.title, name, class_names(), hint, install)


def _error(kind: str, name: str, known: Iterable[str], hint: str = "", install: str | None = None) -> UnknownNameError:
    return UnknownNameError(kind, name, known, hint, plugins_that_are("blocked"), install, failed())
