"""Fields of a preset's config that its translation ignores, which a conversion carries into the new config."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from vertebra._system.foreign_json import is_json

_MOST_FIELDS = 1_000
"""Most fields of an original config that are tested one by one; real configs have about 100."""

Path = tuple[str, ...]
"""The names of a field and of the tables around it, outermost first."""


def with_carried_fields(
    written: Mapping[str, Any],
    original: Mapping[str, Any],
    identifier: Callable[[Mapping[str, Any]], object],
    meaning: Callable[[Mapping[str, Any]], object],
    model_fields: Collection[str],
    dtype_fields: Collection[str] = (),
) -> tuple[dict[str, Any], list[str]]:
    """Returns a config with the carried fields of the original one, and the names of those that are left out.

    A field is carried if the translation ignores it: the written config has the same meaning with the field's value and
    with an impossible value. A field that the translation reads is neither carried nor left out: the translation writes
    its meaning, perhaps in another field. No field is carried from another architecture's config, where it may have
    another meaning. The fields of a table that is in both configs are told apart; names join theirs with dots.

    Args:
        written: The config that the translation writes.
        original: The config of the preset that is converted.
        identifier: Returns the name of the architecture in a config, or None.
        meaning: Returns what a config says, such as the arguments of the constructor; raises any exception for a
            config that it refuses.
        model_fields: Fields that name the architecture, which are those of the translation.
        dtype_fields: Fields that name the dtype of the tensors, which is that of the written ones.
    """
    values, merged = dict(_fields(original, written)), dict(written)
    of_model, of_dtype = ({(field,) for field in fields} for fields in (model_fields, dtype_fields))
    changed = {path for path in of_model & values.keys() if written.get(path[0]) != values[path]}
    # Private fields are internal to transformers; before 5.3, it ran code that one of them named (CVE-2026-4372).
    refused = [
        path for path, value in values.items() if path[-1].startswith("_") or path in changed or not is_json(value)
    ]
    if identifier(original) not in (None, identifier(written)):
        return merged, _names(refused) + sorted(_names(values.keys() - {*refused, *of_dtype}))
    others = values.keys() - {*refused, *of_model, *of_dtype}
    expected = _meaning_of(written, meaning)
    if expected is None or len(others) > _MOST_FIELDS:
        return merged, _names(refused) + sorted(_names(others - dict(_fields(written, original)).keys()))

    def is_ignored(path: Path) -> bool:
        tried = (_replaced(written, path, value) for value in (values[path], object()))
        return all(_meaning_of(config, meaning) == expected for config in tried)

    for path in filter(is_ignored, filter(others.__contains__, values)):
        merged = _replaced(merged, path, values[path])
    return merged, _names(refused)


def _fields(config: Mapping[str, Any], other: Mapping[str, Any], outer: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yields the path and the value of each field of a config; of a table that the other has, too, its fields'."""
    for field, value in config.items():
        if isinstance(value, Mapping) and isinstance(other.get(field), Mapping):
            yield from _fields(value, other[field], (*outer, field))
        else:
            yield (*outer, field), value


def _replaced(config: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """Returns a copy of a config with another value of a field."""
    field, inner = path[0], path[1:]
    return {**config, field: _replaced(config[field], inner, value) if inner else value}


def _names(paths: Iterable[Path]) -> list[str]:
    return [".".join(path) for path in paths]


def _meaning_of(config: Mapping[str, Any], meaning: Callable[[Mapping[str, Any]], object]) -> object:
    """Returns the meaning of a config, or None if it is refused."""
    try:
        return meaning(config)
    except Exception:  # a plugin's translation may raise anything for a value that it does not expect
        return None
