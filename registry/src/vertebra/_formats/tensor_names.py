"""The names of an architecture's tensors in other libraries: in the files that are written, and in their models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from vertebra.translations import TensorRule


def as_written(rules: Mapping[str, TensorRule], prefixes: Iterable[str]) -> dict[str, TensorRule]:
    """Returns rules with the tensors' full names in a new checkpoint.

    Names have no prefix, as in a checkpoint of the library's base model. If there is a tensor outside the prefix, such
    as that of a head, the names are those of a model with a head.

    Args:
        rules: The rules of a translation.
        prefixes: The prefixes that the translation declares.
    """
    prefix = next(filter(None, prefixes), "") if any(rule.outside for rule in rules.values()) else ""
    return {weight: rule if rule.outside else _prefixed(rule, prefix) for weight, rule in rules.items()}


def in_module(rule: TensorRule) -> str:
    """Returns the name of a tensor in the library's model."""
    return rule.tensor if rule.module is None else f"{rule.module}.{rule.tensor.rpartition('.')[2]}"


def checkpoint_names(rules: Iterable[TensorRule]) -> dict[str, str]:
    """Returns the name in checkpoints of each tensor that has another one in the library's model, by that name."""
    rules = list(rules)
    own = {rule.tensor for rule in rules}
    return {name: rule.tensor for rule in rules if (name := in_module(rule)) not in own}


def _prefixed(rule: TensorRule, prefix: str) -> TensorRule:
    module = None if rule.module is None else prefix + rule.module
    return replace(rule, tensor=prefix + rule.tensor, module=module)
