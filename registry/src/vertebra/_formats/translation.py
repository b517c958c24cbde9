"""Formats that others defined: which architecture reads a config, and how a preset is written in their terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from vertebra._discovery.catalog import BACKBONES, Entry, catalog
from vertebra._formats.export import PresetExport
from vertebra._resolve.preset_folder import PresetFolder, config_error
from vertebra._weights.tensor_entry import TensorEntry, layout_of
from vertebra._weights.tensor_layout import holders, put, stored_shape
from vertebra._weights.writing import Tensors
from vertebra.errors import FormatLimitError, PresetFormatError
from vertebra.interfaces import Translation
from vertebra.specs import BackboneSpec, TensorRule, resolve_reference

if TYPE_CHECKING:
    import numpy as np

Reader = Callable[[], "np.ndarray[Any, Any]"]
_OF_THE_BASE = ("name", "trainable", "lora", "quantized")


def find_owner(folder: PresetFolder, format: str, field: str, identifier: object) -> Entry[BackboneSpec]:
    """Finds the one architecture that reads a config with this identifier.

    Raises:
        PresetConfigError: no installed backbone does, or several do.
    """
    claims = [entry for entry in catalog(BACKBONES).claims() if identifier in _identifiers(entry, format)]
    if len(claims) != 1:
        known = sorted(name for entry in catalog(BACKBONES) for name in _identifiers(entry, format))
        owners = " and ".join(str(entry.owner) for entry in claims) or "no installed backbone"
        raise config_error(
            folder,
            f"{field} {identifier!r} is read by {owners}; those that can be read: {', '.join(known)}",
            "Install a plugin for this architecture, or block one of its owners",
        )
    return claims[0]


def load_translation(spec: BackboneSpec, format: str) -> Translation:
    """Imports the translation between a format and an architecture."""
    translation: Translation = resolve_reference(spec.formats[format].translation)()
    return translation


def translation_for(backbone: str, format: str) -> tuple[BackboneSpec, Translation]:
    """Returns the owner's spec of a class, and its translation to a format.

    Raises:
        PresetFormatError: no plugin owns the class, or it cannot be written in the format.
    """
    found = catalog(BACKBONES)
    spec = found.lookup(backbone).value if backbone in found else None
    if spec is None or format not in spec.formats:
        known = ["native", *(spec.formats if spec else ())]
        raise PresetFormatError(backbone, f"no plugin says how it is written in the {format} format", known)
    return spec, load_translation(spec, format)


def express(export: PresetExport, format: str, translation: Translation) -> tuple[dict[str, Any], Tensors]:
    """Returns a draft's config and tensors in the terms of a format.

    Raises:
        FormatLimitError: the format cannot hold something that the draft has.
    """
    if export.config.get("lora") is not None:
        rank = export.config["lora"]["config"]["rank"]
        problem = (
            "it has no place for an adapter of that rank; write that with save_lora_weights, and the base without it"
        )
        raise FormatLimitError(format, "lora", rank, problem)
    if export.config.get("quantized"):
        mode = next(iter(export.config["quantized"].values()))["mode"]
        raise FormatLimitError(format, "dtype", mode, "here it is written with floats only")
    arguments = {name: value for name, value in export.config.items() if name not in _OF_THE_BASE}
    config = translation.config(arguments)
    rules = translation.rules(arguments)
    homeless = sorted(export.tensors.layouts.keys() - rules.keys())
    if homeless:
        raise FormatLimitError(format, "weights", homeless[:5], f"{export.backbone} has no names for them there")
    return config, _rearrange(export.tensors, rules)


def _rearrange(tensors: Tensors, rules: Mapping[str, TensorRule]) -> Tensors:
    layouts: dict[str, TensorEntry] = {}
    arrays: dict[str, Reader] = {}
    for tensor, weights in holders({name: rules[name] for name in tensors.layouts}).items():
        first = tensors.layouts[weights[0]]
        layouts[tensor] = layout_of(tensor, first.dtype, stored_shape(rules[weights[0]], first.shape))
        arrays[tensor] = _joined([rules[name] for name in weights], [tensors.arrays[name] for name in weights])
    return Tensors(layouts, arrays)


def _joined(rules: list[TensorRule], readers: list[Reader]) -> Reader:
    return lambda: put(rules, [read() for read in readers])


def _identifiers(entry: Entry[BackboneSpec], format: str) -> tuple[str, ...]:
    return entry.value.formats[format].identifiers if format in entry.value.formats else ()
