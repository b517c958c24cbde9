"""Fields of a preset's config that its translation ignores, which a conversion carries into the new config."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from vertebra._system.foreign_json import is_json

_MOST_FIELDS = 1_000
"""Most fields of an original config that are tested one by one; real configs have about 100."""


def carried_fields(
    written: Mapping[str, Any],
    original: Mapping[str, Any],
    identifier: Callable[[Mapping[str, Any]], object],
    meaning: Callable[[Mapping[str, Any]], object],
    model_fields: Collection[str],
    dtype_fields: Collection[str] = (),
) -> tuple[dict[str, Any], list[str]]:
    """Returns the fields of the original config that are carried, and the names of those that are left out.

    A field is carried if the translation ignores it: the written config has the same meaning with the field's value and
    with an impossible value. A field that the translation reads is neither carried nor left out: the translation writes
    its meaning, perhaps in another field. No field is carried from another architecture's config, where it may have
    another meaning.

    Args:
        written: The config that the translation writes.
        original: The config of the preset that is converted.
        identifier: Returns the name of the architecture in a config, or None.
        meaning: Returns what a config says, such as the arguments of the constructor; raises any exception for a
            config that it refuses.
        model_fields: Fields that name the architecture, which are those of the translation.
        dtype_fields: Fields that name the dtype of the tensors, which is that of the written ones.
    """
    changed = {field for field in model_fields if field in original and written.get(field) != original[field]}
    # Private fields are internal to transformers; before 5.3, it ran code that one of them named (CVE-2026-4372).
    left_out = [
        field for field in original if field.startswith("_") or field in changed or not is_json(original[field])
    ]
    if identifier(original) not in (None, identifier(written)):
        return {}, left_out + sorted(original.keys() - {*left_out, *dtype_fields})
    others = original.keys() - {*left_out, *model_fields, *dtype_fields}
    expected = _meaning_of(written, meaning)
    if expected is None or len(others) > _MOST_FIELDS:
        return {}, left_out + sorted(others - written.keys())

    def is_ignored(field: str) -> bool:
        values = (original[field], object())
        return all(_meaning_of({**written, field: value}, meaning) == expected for value in values)

    return {field: original[field] for field in original if field in others and is_ignored(field)}, left_out


def _meaning_of(config: Mapping[str, Any], meaning: Callable[[Mapping[str, Any]], object]) -> object:
    """Returns the meaning of a config, or None if it is refused."""
    try:
        return meaning(config)
    except Exception:  # a plugin's translation may raise anything for a value that it does not expect
        return None
