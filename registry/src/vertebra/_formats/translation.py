"""Translates presets to and from other libraries' formats, with the translation of the config's architecture."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from vertebra._discovery.backbone_classes import backbone_class
from vertebra._discovery.catalog import BACKBONES, Entry, catalog, known_formats
from vertebra._formats.checked_translation import CheckedTranslation
from vertebra._formats.export import PresetExport
from vertebra._weights.tensor_entry import TensorEntry, layout_of
from vertebra._weights.tensor_layout import holders, put, stored_shape
from vertebra._weights.together.parts import joined
from vertebra._weights.writing import Tensors
from vertebra.errors import FormatLimitError, PluginError, PresetFormatError, exception_text
from vertebra.errors.base import shown
from vertebra.file_names import CONFIG
from vertebra.specs import BackboneSpec, resolve_reference
from vertebra.translations import TensorRule, Translation

if TYPE_CHECKING:
    import numpy as np

Reader = Callable[[], "np.ndarray[Any, Any]"]
_BASE_FIELDS = ("name", "trainable", "lora", "quantized")


def load_translation(owner: Entry[BackboneSpec], format: str, origin: str = CONFIG) -> CheckedTranslation:
    """Imports and returns the translation between a format and an architecture.

    Args:
        owner: The architecture.
        format: The format.
        origin: The config that is read, for messages.

    Raises:
        PluginError: it cannot be imported, or is not a `Translation`.
    """
    reference = owner.value.formats[format].translation
    distribution = owner.owner.distribution
    try:
        translation = resolve_reference(reference)()
    except Exception as error:
        problem = f"the translation of {owner.value.name}, {reference}, cannot be imported ({exception_text(error)})"
        raise PluginError(distribution, problem) from error
    if not isinstance(translation, Translation):
        raise PluginError(distribution, f"{reference} is {shown(translation)}, expected a subclass of Translation")
    return CheckedTranslation(translation, reference, distribution, origin)


def translation_for(backbone: str, format: str) -> tuple[BackboneSpec, CheckedTranslation]:
    """Returns the spec of a backbone class, and its translation to a format.

    Raises:
        PresetFormatError: no plugin provides the class, or it has no translation to the format.
        PluginError: the translation cannot be imported.
    """
    backbones = catalog(BACKBONES)
    entry: Entry[BackboneSpec] | None = backbones.lookup(backbone) if backbone in backbones else None
    if entry is None or format not in entry.value.formats:
        known = ["native", *(known_formats(entry.value) if entry else ())]
        raise PresetFormatError(backbone, f"no plugin has a translation of it to the {format} format", known)
    return entry.value, load_translation(entry, format)


def express(export: PresetExport, format: str, translation: CheckedTranslation) -> tuple[dict[str, Any], Tensors]:
    """Translates an export's config and tensors to a format.

    Raises:
        FormatLimitError: the format cannot represent the export.
        PluginError: the translation is faulty, for example because it would read its own config as another model.
    """
    if export.config.get("lora") is not None:
        rank = export.config["lora"]["config"]["rank"]
        merging = "merge it with merge_lora(reversible=False)"
        problem = f"{merging}, or save it with save_lora_weights, and the base model without it"
        raise FormatLimitError(format, "lora", rank, problem)
    if export.config.get("quantized"):
        mode = next(iter(export.config["quantized"].values()))["mode"]
        raise FormatLimitError(format, "dtype", mode, "vertebra writes only floats in this format")
    arguments = {name: value for name, value in export.config.items() if name not in _BASE_FIELDS}
    config = translation.config(arguments)
    translation.check_read_back(config, arguments, _defaults(export.backbone))
    rules = as_written(translation.rules(arguments), translation.prefixes)
    unnamed = sorted(export.tensors.layouts.keys() - rules.keys())
    if unnamed:
        problem = f"the translation of {export.backbone} has no tensor names for them"
        raise FormatLimitError(format, "weights", unnamed[:5], problem)
    return config, _with_constants(_rearrange(export.tensors, rules), translation.constants(arguments))


def _defaults(backbone: str) -> dict[str, Any]:
    """Returns the default values of a class's constructor arguments."""
    parameters = inspect.signature(backbone_class(backbone)).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty}


def _rearrange(tensors: Tensors, rules: Mapping[str, TensorRule]) -> Tensors:
    layouts: dict[str, TensorEntry] = {}
    arrays: dict[str, Reader] = {}
    for tensor, weights in holders({name: rules[name] for name in tensors.layouts}).items():
        first = tensors.layouts[weights[0]]
        layouts[tensor] = layout_of(tensor, first.dtype, stored_shape(rules[weights[0]], first.shape))
        own_rules, reads = [rules[name] for name in weights], [tensors.arrays[name] for name in weights]
        arrays[tensor] = joined(own_rules, reads, layouts[tensor]) or _joined(own_rules, reads)  # type: ignore[assignment]
    return Tensors(layouts, arrays)


def _with_constants(tensors: Tensors, constants: Mapping[str, Any]) -> Tensors:
    layouts = {name: layout_of(name, array.dtype.name, array.shape) for name, array in constants.items()}
    arrays = {name: partial(_same, array) for name, array in constants.items()}
    return Tensors({**tensors.layouts, **layouts}, {**tensors.arrays, **arrays})


def _joined(rules: list[TensorRule], readers: list[Reader]) -> Reader:
    return lambda: put(rules, [read() for read in readers])


def _same(array: Any) -> Any:
    return array


# === Names of tensors ===


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
