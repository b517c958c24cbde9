"""The functions of a plugin that are meant as hooks, found in one pass over its names, and the checks of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vertebra import hookspecs
from vertebra.errors import PluginError, close_names

if TYPE_CHECKING:
    from vertebra.handles import PresetHandle

_PREFIX = "vertebra_"
"""Prefix of the names of all hooks."""
_DECIDING = ("vertebra_rewrite_handle", "vertebra_refuse_preset")
"""The policy hooks that decide which preset is read; the third one observes."""
_MARKER = f"{hookspecs.PROJECT}_impl"
"""The attribute of a function with the `hookimpl` marker."""


@dataclass(frozen=True, slots=True)
class HookFunction:
    """A function of a plugin that has the marker, or the name of a hook."""

    name: str
    function: Callable[..., Any]
    options: dict[str, Any] | None
    """The arguments of the marker; None without it."""

    @property
    def hook(self) -> str:
        """The name of the hook, which may not exist."""
        return (self.options or {}).get("specname") or self.name


def hook_functions(module: object) -> list[HookFunction]:
    """Returns each function of a plugin that is meant as a hook, in order of its name."""
    found = []
    for name in dir(module):
        function = getattr(module, name, None)
        options = getattr(function, _MARKER, None)
        options = options if isinstance(options, dict) else None
        if (options is not None or name.startswith(_PREFIX)) and callable(function):
            found.append(HookFunction(name, function, options))
    return found


def policies(functions: Sequence[HookFunction]) -> dict[str, Callable[..., Any]]:
    """Returns the policy hooks of a plugin, even without the marker, with wrong arguments or under a misspelled name.

    A policy that cannot be called refuses every preset; to ignore it would be less safe.
    """
    found = {each.hook: each.function for each in functions if each.hook in hookspecs.POLICY_HOOKS}
    for each in functions:
        if not hasattr(hookspecs, each.hook) and any(near in _DECIDING for near in _near_hooks(each.hook)[:1]):
            found["vertebra_refuse_preset"] = _refusing_all(each.hook)
    return found


def checked(plugin: str, module: object, functions: Sequence[HookFunction]) -> dict[str, Callable[..., Any]]:
    """Returns the implementations of hooks by the names of the hooks.

    Args:
        plugin: The name of the plugin, for messages.
        module: The module or object of the plugin.
        functions: Its hook functions.

    Raises:
        PluginError: a function lacks the marker, has an argument that the hook does not have, wraps other
            implementations, or is marked as an implementation of an unknown hook.
    """
    marked = [each for each in functions if each.options is not None]
    for each in functions if isinstance(module, ModuleType) else ():
        if each.options is None:  # it would never be called
            raise PluginError(plugin, f"{each.name}() lacks the hookimpl marker", "Decorate it with vertebra.hookimpl")
    for each in marked:
        _check_arguments(plugin, each)
    for hook in sorted(each.hook for each in marked):
        if hook not in _hooks():
            raise PluginError(plugin, _unknown_hook(hook), "Correct the name of the function")
    return {each.hook: each.function for each in marked}


def _check_arguments(plugin: str, given: HookFunction) -> None:
    """Refuses hook implementations with arguments that the hook does not have, and wrappers of other plugins' hooks."""
    known = _hooks().get(given.hook)
    extra = [name for name in inspect.signature(given.function).parameters if known is not None and name not in known]
    if extra:
        problem = f"{given.name}() has the arguments {', '.join(extra)}, which the hook does not have"
        raise PluginError(plugin, problem, f"The arguments of the hook are: {', '.join(known or ()) or 'none'}")
    wrapping = [name for name in ("wrapper", "hookwrapper") if (given.options or {}).get(name)]
    if wrapping:
        problem = f"{given.name}() is marked with {wrapping[0]}=True, but hooks of other plugins cannot be wrapped"
        raise PluginError(plugin, problem, f"Remove {wrapping[0]}=True, and return what the hook expects")


@functools.cache
def _hooks() -> dict[str, tuple[str, ...]]:
    """Returns the names of all hooks, in order, each with its arguments."""
    names = [name for name in dir(hookspecs) if name.startswith(_PREFIX)]
    return {name: tuple(inspect.signature(getattr(hookspecs, name)).parameters) for name in names}


def _near_hooks(name: str) -> list[str]:
    """Returns the hooks of similar names, compared without the common prefix, which would make any two similar."""
    known = [other.removeprefix(_PREFIX) for other in _hooks()]
    return [_PREFIX + similar for similar in close_names(name.removeprefix(_PREFIX), known)]


def _refusing_all(hook: str) -> Callable[..., str]:
    """Returns a policy that refuses every preset, for one with a misspelled name, which would never be called."""
    problem = f"it has no hook of the name {_near_hooks(hook)[0]!r}, but a function {hook!r}"

    def refuse(handle: PresetHandle) -> str:  # noqa: ARG001 (the hook's argument)
        return f"{problem}, which would never be called"

    return refuse


def _unknown_hook(name: str) -> str:
    similar = _near_hooks(name)
    hint = f"; did you mean {similar[0]!r}?" if similar else f"; the hooks are {', '.join(_hooks())}"
    return f"there is no hook {name!r}{hint}"
