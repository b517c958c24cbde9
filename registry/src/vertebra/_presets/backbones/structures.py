"""Builds backbones without values, and keeps the structures of the last ones: a build takes a millisecond a layer."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras

from vertebra._keras.internals import state_of_builds
from vertebra._keras.structures.generated import Generated, Generators
from vertebra._keras.structures.structure import Structure
from vertebra._weights.abstract import abstract_build
from vertebra._weights.layer_paths import weight_names

_MOST_KEPT = 8
_PLAIN = (type(None), bool, int, float, str)
_MOST_TRIES = 3
"""Another thread may draw random numbers during a build, whose seeds are then unknown; the next build may succeed."""
_kept: OrderedDict[Any, tuple[Structure | None, int]] = OrderedDict()
"""For each key the structure, if there is one, and the number of tries to describe it; the last used key at the end."""
_lock = threading.Lock()


class AbstractBackbone(NamedTuple):
    """A backbone whose weights have no values."""

    backbone: Any
    weights: dict[str, Any]
    """The weights by name."""
    created: list[Any]
    """Every variable that was created."""


def build_or_copy(
    backbone_class: Any,
    arguments: Mapping[str, Any],
    build: Callable[[], Any],
    admit: Callable[[int], None],
    *,
    kept: bool,
) -> AbstractBackbone:
    """Builds a backbone without values, or copies the structure of an earlier one, which is the same.

    Args:
        backbone_class: The class.
        arguments: The arguments of its constructor.
        build: Calls the constructor.
        admit: Called with the number of variables before one more is created; it raises to end the build.
        kept: Whether structures are kept, and copied.
    """
    key = _key(backbone_class, arguments) if kept else None
    structure, tries = _known(key)
    if structure is not None:
        with contextlib.suppress(Exception):  # whatever a copy fails with, a build tells more
            copy = AbstractBackbone(*structure.copy())
            for count in range(len(copy.created)):
                admit(count)
            return copy
    before = Generators.now()
    with abstract_build(admit) as created:
        backbone = build()
    built = AbstractBackbone(backbone, weight_names(backbone), created)
    if key is not None and tries < _MOST_TRIES:
        _keep(key, _structure(built, Generated(before)), tries + 1)
    return built


def _structure(built: AbstractBackbone, generated: Generated) -> Structure | None:
    with contextlib.suppress(Exception):  # objects of plugins may fail in any way when they are described
        return Structure(tuple(built), generated)
    return None


def _known(key: Any) -> tuple[Structure | None, int]:
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
        return _kept.get(key, (None, 0))


def _keep(key: Any, structure: Structure | None, tries: int) -> None:
    with _lock:
        _kept[key] = structure, tries
        _kept.move_to_end(key)
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)


# === Keys ===


def _key(backbone_class: Any, arguments: Mapping[str, Any]) -> Any:
    """Returns all on which a structure depends, or None if not all of it can be compared."""
    if not backbone_class.reuses_structure or arguments.get("lora") or arguments.get("quantized"):
        return None
    settings = state_of_builds()
    settings["dtype_policy"] = keras.dtype_policies.serialize(keras.config.dtype_policy())
    if not _is_plain(dict(arguments)) or not _is_plain(settings):
        return None
    settings |= {
        "floatx": keras.config.floatx(),
        "epsilon": keras.config.epsilon(),
        "image_data_format": keras.config.image_data_format(),
    }
    return backbone_class, repr(dict(arguments)), repr(sorted(settings.items())), _custom_objects()


def _is_plain(value: Any) -> bool:
    if type(value) is dict:
        return all(_is_plain(key) and _is_plain(held) for key, held in value.items())
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    return type(value) in _PLAIN


def _custom_objects() -> frozenset[tuple[str, int]]:
    """Returns the functions and classes that users gave names for Keras, such as those of activations."""
    known = keras.saving.get_custom_objects()
    return frozenset((name, id(value)) for name, value in known.items() if ">" not in name)
