"""The weights of a preset by name: shapes and dtypes, from the headers of its files, or from a build without values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from vertebra._discovery.backbone_classes import bind_any
from vertebra._discovery.catalog import BACKBONES, catalog
from vertebra._discovery.source_code import mentions
from vertebra._formats.description import OpenPreset, PresetDescription
from vertebra._weights.tensor_entry import TensorEntry, itemsize
from vertebra._weights.tensor_layout import weight_shape
from vertebra.interfaces import Runtime
from vertebra.specs import BackboneSpec, LayoutRule, LoraConfig
from vertebra.translations import TensorRule

Shape = tuple[int, ...]
LORA_TARGETS = ("query", "value")
"""The default targets of a backbone whose class declares no others (`Backbone.lora_targets`)."""


@dataclass(frozen=True, slots=True)
class StoredWeight:
    """A weight of a preset."""

    parameters: int
    stored: int
    """Bytes in the file."""
    dtype: str
    """The stored dtype."""
    viewed: bool = True
    """Whether a load in the stored dtype can view the weight in the mapped file."""
    shape: Shape | None = None
    """The shape of the weight, or None if the header does not tell it."""


def spec_of(backbone: str) -> BackboneSpec | None:
    """Returns the declaration of an architecture, or None if no plugin provides it."""
    backbones = catalog(BACKBONES)
    return backbones.lookup(backbone).value if backbone in backbones else None


def stored_weights(
    preset: OpenPreset, rules: Mapping[str, TensorRule], runtime: Runtime | None
) -> dict[str, StoredWeight]:
    """Returns the weights by name, from the headers of the files."""
    spec = spec_of(preset.description.backbone)
    layout = () if spec is None else spec.layout
    present = {name: rule for name, rule in rules.items() if rule.tensor in preset.entries}
    return {name: _weight(name, rule, preset.entries[rule.tensor], runtime, layout) for name, rule in present.items()}


def _weight(
    name: str, rule: TensorRule, entry: TensorEntry, runtime: Runtime | None, layout: Sequence[LayoutRule]
) -> StoredWeight:
    """Describes one weight; without a runtime, every tensor is assumed to be viewable unless a rule permutes axes."""
    in_order = rule.part is None and not (rule.transpose and len(entry.shape) > 1)
    copied = rule.axes is not None or rule.first_row or rule.added or entry.is_encoded
    viewed = not copied and (runtime is None or runtime.can_view(entry.start, in_order))
    shape = weight_shape(rule, entry.shape)
    parameters = math.prod(entry.shape if shape is None else shape)
    if shape is None:
        shape = _joined(name, rule, entry.shape, layout)
    stored = entry.size * parameters // max(math.prod(entry.shape), 1)  # a part of a fused tensor has a part of it
    return StoredWeight(parameters, stored, entry.dtype, viewed, shape)


def _joined(name: str, rule: TensorRule, stored: Shape, layout: Sequence[LayoutRule]) -> Shape | None:
    """Returns the shape of a weight whose tensor has axes for heads, which the layout's split tells how to join."""
    shape = stored if rule.axes is None else tuple(stored[axis] for axis in rule.axes)
    if name.endswith("/bias"):
        return (math.prod(shape),)
    split = getattr(_rule_of(name, layout), "split", None)
    if split == "columns":
        return (shape[0], math.prod(shape[1:]))
    return (math.prod(shape[:-1]), shape[-1]) if split == "rows" else None


def rules_of(weights: Iterable[str], layout: Sequence[LayoutRule]) -> dict[str, LayoutRule]:
    """Returns the rule of the layer that holds each weight, without those that the layout does not divide."""
    return {name: rule for name in weights if (rule := _rule_of(name, layout))}


def _rule_of(weight: str, layout: Sequence[LayoutRule]) -> LayoutRule | None:
    path = weight.rpartition("/")[0]
    return next((rule for rule in layout if any(fnmatchcase(path, glob) for glob in rule.layers)), None)


def estimated_weights(description: PresetDescription, stored: int) -> dict[str, StoredWeight]:
    """Estimates the weights of a preset whose files are not local.

    The architecture, built without values, gives the shapes; the listed size of the files, `stored`, the dtype.
    """
    weights = {
        name: (tuple(variable.shape), str(variable.dtype)) for name, variable in abstract(description)[1].items()
    }
    is_half = stored < 3 * sum(math.prod(shape) for shape, _ in weights.values())
    floats = "bfloat16" if is_half else "float32"
    return {name: _estimated(shape, floats if "float" in dtype else dtype) for name, (shape, dtype) in weights.items()}


def _estimated(shape: Shape, dtype: str) -> StoredWeight:
    return StoredWeight(math.prod(shape), math.prod(shape) * itemsize(dtype), dtype, shape=shape)


def whole_shapes(
    weights: Mapping[str, StoredWeight], description: PresetDescription, preset: OpenPreset | None
) -> dict[str, Shape]:
    """Returns the shape of each weight; where a header does not tell one, the architecture is built without values."""
    known = {name: weight.shape for name, weight in weights.items() if weight.shape is not None}
    if len(known) == len(weights):
        return known
    built = abstract(description, preset)[1]
    return known | {name: tuple(built[name].shape) for name in weights if name in built and name not in known}


def abstract(description: PresetDescription, preset: OpenPreset | None = None) -> tuple[Any, Mapping[str, Any]]:
    """Builds the backbone without values; returns it and its weights by name."""
    bind_any(description.backbone)
    from vertebra._presets.backbones.build import build, class_of
    from vertebra._weights.abstract import abstract_build
    from vertebra._weights.layer_paths import weight_names

    backbone_class = class_of(description)
    if preset is not None:
        preset.check_layers(backbone_class, {})
    with abstract_build():
        backbone = build(backbone_class, description, {})
    return backbone, weight_names(backbone)


def loaded_dtype(stored: str, dtype: str) -> str:
    """Returns the dtype of a weight that is loaded in a dtype of floats: integers stay as they are."""
    return dtype if "float" in stored else stored


def lora_parameters(description: PresetDescription, config: LoraConfig, preset: OpenPreset | None) -> int:
    """Returns the number of parameters of an adapter at the default targets; builds the backbone without values."""
    backbone, _ = abstract(description, preset)
    from vertebra._lora.layers.linear_view import view_of
    from vertebra._lora.targets import find_default_targets, roles_of

    targets = find_default_targets(backbone, roles_of(backbone))
    views = [view_of(layer) for layer in targets.values()]
    return sum(config.rank * (view.in_features + view.out_features) for view in views)


def declared_lora_parameters(
    backbone: str, weights: Mapping[str, StoredWeight], shapes: Mapping[str, Shape], config: LoraConfig
) -> int | None:
    """Returns the same from the shapes alone, or None if the class may have targets of its own, or other kernels.

    Kernels of integers may be packed, so that their shapes are not those of the matrices.
    """
    spec = spec_of(backbone)
    if spec is None or not spec.layout or mentions(spec.backbone, "lora_targets"):
        return None
    kernels = [name for name in shapes if name.endswith(tuple(f"/{target}/kernel" for target in LORA_TARGETS))]
    plain = kernels and all(len(shapes[name]) == 2 and "float" in weights[name].dtype for name in kernels)
    return sum(config.rank * sum(shapes[name]) for name in kernels) if plain else None
