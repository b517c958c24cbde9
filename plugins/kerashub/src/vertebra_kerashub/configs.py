"""Checks of configs: those of KerasHub may name any class, of which Keras would make an object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vertebra.errors import PresetConfigError

_DATA = {"keras": {"DTypePolicy"}, "keras.initializers": None}
"""Modules and classes of Keras whose objects a config may have; None allows the whole module."""
_PACKAGE = "keras_hub>"


def check_config(backbone: str, config: Mapping[str, Any]) -> None:
    """Refuses a config with objects of other classes than KerasHub's own and Keras's dtype policies and initialisers.

    Raises:
        PresetConfigError: it has such an object; the message names it.
    """
    for field, value in _objects(config):
        name, module, registered = (value.get(key) for key in ("class_name", "module", "registered_name"))
        own = registered == f"{_PACKAGE}{name}" and _is_own(module)
        names = _DATA.get(module, set()) if isinstance(module, str) else set()
        if not own and (registered is not None or (names is not None and name not in names)):
            problem = f"{field} is an object of {registered or f'{module}.{name}'}, expected one of KerasHub's classes"
            raise PresetConfigError(
                f"config.json of KerasHub's {backbone}", problem, "Load it in KerasHub if you trust it"
            )


def _is_own(module: object) -> bool:
    """Says whether a module is KerasHub's: Keras imports the module of a class whose name is not registered."""
    return isinstance(module, str) and module.partition(".")[0] == "keras_hub"


def has_objects(config: Mapping[str, Any]) -> bool:
    """Says whether a config has objects of classes."""
    return any(True for _ in _objects(config))


def _objects(value: Any, field: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields each object in a config, with the name of its field."""
    if isinstance(value, Mapping):
        if "class_name" in value:
            yield field or "config", value
        for name, inner in value.items():
            yield from _objects(inner, f"{field}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _objects(inner, f"{field}[{number}]")
