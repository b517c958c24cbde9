"""Merged copies: a new float backbone from one that may be quantised and have adapters."""

from __future__ import annotations

from typing import Any

import keras

from vertebra._discovery import runtimes
from vertebra._lora.layers.linear_view import is_adaptable, view_of
from vertebra._lora.layers.projections import warn_merged
from vertebra._lora.merge import changed_projections, merged_layers
from vertebra._lora.state import adapters_of
from vertebra._weights.layer_paths import layer_paths, weight_names
from vertebra.errors import LoraStateError


def merged_copy(backbone: Any) -> Any:
    """Returns a merged copy; see `vertebra.lora.merged_copy`."""
    if not hasattr(backbone, "constructor_config"):
        problem = f"A {type(backbone).__name__} is not a backbone, so it cannot be built again from its config"
        raise LoraStateError(problem, "Merge into the model itself, with vertebra.lora.merge(model)")
    assign = runtimes.bind().assign
    config = {name: value for name, value in backbone.constructor_config().items() if name != "quantized"}
    copy = type(backbone).from_config(config)
    copy._origin = backbone._origin
    adapters = adapters_of(backbone)
    merged = {}
    if adapters is not None and adapters.merged is None:
        merged = merged_layers(adapters)
        warn_merged(changed_projections(adapters))
    values, layers, copied = weight_names(backbone), layer_paths(backbone), layer_paths(copy)
    for name, weight in weight_names(copy).items():
        path = name.rpartition("/")[0]
        if is_adaptable(copied[path]) and view_of(copied[path]).variable is weight:
            view_of(copied[path]).replace(view_of(layers[path]).matrix())
        else:
            assign(weight, keras.ops.cast(values[name].value, weight.dtype))
    for path, layer in merged.items():
        layer.write(view_of(copied[path]))
    return copy
