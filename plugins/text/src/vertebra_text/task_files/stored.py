"""`StoredTask`: what the files of a preset say about a task, in any format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vertebra import TensorRule
from vertebra.errors import PresetConfigError, WeightsMismatchError
from vertebra_text.system import warn
from vertebra_text.tokenizers.encoding.options import LIMITING

if TYPE_CHECKING:
    from vertebra import TaskPreset

TRUNCATION = "truncation"
"""The field of a `task.json` with that argument of the preprocessor."""
Rules = Callable[[Any], Mapping[str, TensorRule]]
"""Returns, for a task, the tensor of the preset for each variable of its head."""


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task as a preset describes it."""

    arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments of the task's constructor; others are told, and not used."""
    tensors: Mapping[str, Any] = field(default_factory=dict)
    """The tensors that may be the head's, by name."""
    rules: Rules = lambda _: {}
    sequence_length: int | None = None
    """The most tokens of a row, if the preset limits them further than its tokenizer does."""
    truncation: str = LIMITING[0]
    """As in `TextPreprocessor`."""
    notes: Sequence[str] = ()
    """What the user should know about how the preset was read."""
    file: str = ""
    """Name of the file with the arguments, for errors."""


def truncation_of(name: str, fields: Mapping[str, Any]) -> str:
    """Returns how a task cuts texts that are too long, by the fields of its config.

    Args:
        name: The name of the file with the config.
        fields: The fields.

    Raises:
        PresetConfigError: there is no such way.
    """
    truncation = fields.get(TRUNCATION, LIMITING[0])
    if truncation not in LIMITING:
        raise PresetConfigError(name, f"{TRUNCATION} is {truncation!r}, expected one of {', '.join(LIMITING)}")
    return str(truncation)


def length_of(name: str, field: str, value: object) -> int | None:
    """Returns the most tokens of a row, by a field of a config; None means no limit of its own.

    Args:
        name: The name of the file with the config.
        field: The name of the field.
        value: Its value.

    Raises:
        PresetConfigError: it is neither None nor an int above 0.
    """
    if value is None or (type(value) is int and value > 0):
        return value
    raise PresetConfigError(name, f"{field} is {value!r:.200}, expected null, or an int above 0")


def fill(task: Any, preset: TaskPreset, stored: StoredTask, replaced: Sequence[str]) -> list[str]:
    """Fills the head of a task with the tensors of a preset; returns and tells the names of variables that stay random.

    Args:
        task: The task.
        preset: The preset.
        stored: What the preset says about the task.
        replaced: Names of arguments that the user gave instead of the preset's: variables whose shape they change are
            random.

    Raises:
        WeightsMismatchError: a tensor has another shape, and no argument of the user explains it.
    """
    import numpy as np  # not at the top: describing a task imports no arrays

    weights, rules = task.head_weights(), stored.rules(task)
    fresh, reshaped = [], []
    for name, variable in weights.items():
        rule = rules.get(name)
        if rule is None or rule.tensor not in stored.tensors:
            fresh.append(name)
            continue
        array = np.asarray(stored.tensors[rule.tensor])
        array = array.T if rule.transpose else array
        if tuple(array.shape) != tuple(variable.shape):
            reshaped.append((name, tuple(variable.shape), tuple(array.shape)))
        else:
            variable.assign(array.astype("float32"))
    if reshaped and not replaced:
        raise WeightsMismatchError(preset.handle, reshaped=reshaped)
    fresh += [*(name for name, _, _ in reshaped), *_used(task, preset.fresh)]
    if fresh:
        warn(f"{preset.handle} has no values for {', '.join(fresh)}: they are initialised randomly, so train them")
    _tell_unused(task, preset, stored)
    return fresh


def _used(task: Any, names: Sequence[str]) -> list[str]:
    """Returns the weights of the backbone that the task's outputs depend on."""
    weights, unused = task.backbone.named_weights(), {id(variable) for variable in task.unused_variables()}
    return [name for name in names if id(weights[name]) not in unused]


def _tell_unused(task: Any, preset: TaskPreset, stored: StoredTask) -> None:
    used = {rule.tensor for rule in stored.rules(task).values()}
    unused = [name for name in preset.tensors if name not in used]
    if unused:
        from vertebra_text.system import log

        log.warning("%s: %d further tensors are not used: %s", preset.handle, len(unused), ", ".join(unused[:20]))
