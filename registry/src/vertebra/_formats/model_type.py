"""The model type of transformers configs that do not name it, as those of 2018 and 2019."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vertebra._discovery.catalog import BACKBONES, catalog, failed
from vertebra._formats import transformers
from vertebra._formats.architecture import named_classes
from vertebra._resolve.preset_folder import PresetFolder, config_error
from vertebra.errors.names import failed_plugins

_CLASS = re.compile(r"(?P<model>\w+?)(?:(?:LMHead|DoubleHeads)?Model|For[A-Z]\w*)")
"""Names of transformers' classes, such as `BertModel` and `GPT2LMHeadModel`."""


def infer_model_type(folder: PresetFolder, config: Mapping[str, Any], asked: type | None) -> tuple[str, str]:
    """Returns the model type of a config without one, and a note that says how it is known.

    Args:
        folder: The preset.
        config: Its config.
        asked: The class that the user asked for, or None for any.

    Raises:
        PresetConfigError: neither the config's `architectures` nor the class has one model type.
    """
    by_class = _types_of_class(named_classes(folder, asked))
    by_config = _types_of_architectures(config)
    for types, reason in ((by_config, "its architectures"), (by_class, "the class")):
        if len(types) == 1:
            return types[0], f"its config has no model_type: it is read as {types[0]!r} because of {reason}"
    known = by_config or by_class or sorted(name for entry in catalog(BACKBONES) for name in _types(entry.value))
    problem = "it has no model_type (transformers), registered_name (kerashub) or vertebra_format (native)"
    remedy = f"If it is a config of transformers, add the model_type, one of {', '.join(map(repr, known))}"
    classes = [entry.name for entry in catalog(BACKBONES) if len(_types(entry.value)) == 1]
    if classes and not by_class:
        remedy += f", or load it with the class, such as vertebra.models.{classes[0]}.from_preset"
    raise config_error(folder, problem, f"{remedy}.{failed_plugins(failed())}")


def _types_of_class(names: list[str]) -> list[str]:
    """Returns the model types that the first backbone class of these names reads."""
    backbones = catalog(BACKBONES)
    name = next(filter(backbones.__contains__, names), None)
    return [] if name is None else list(_types(backbones.lookup(name).value))


def _types_of_architectures(config: Mapping[str, Any]) -> list[str]:
    """Returns the model types of the classes that a config names, as far as installed backbones read them."""
    known = {_letters(name): name for entry in catalog(BACKBONES) for name in _types(entry.value)}
    named = config.get("architectures")
    classes = [_CLASS.fullmatch(name) for name in (named if isinstance(named, list) else []) if isinstance(name, str)]
    models = {_letters(match["model"]) for match in classes if match}
    return [known[model] for model in models if model in known]


def _letters(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _types(spec: Any) -> tuple[str, ...]:
    format = spec.formats.get(transformers.NAME)
    return format.identifiers if format is not None else ()
