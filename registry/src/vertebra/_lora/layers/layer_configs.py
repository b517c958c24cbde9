"""Configs of adapted layers: Keras stores a functional extension of a backbone layer by layer.

Such a layer has no config for its adapter. A `.keras` file and a pickle also have the weights, merged as in
`.weights.h5`, so the plain layer that is loaded computes the same. A config alone, as in `clone_model`, is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from vertebra._keras.internals import is_saving_config
from vertebra._lora.choices.active import AdapterState
from vertebra._system.log import log
from vertebra.errors import LoraStateError

Config = Callable[[], dict[str, Any]]


def config_of_merged(original: Config, state: AdapterState) -> Config:
    """Returns a layer's `get_config` for the time in which it, or a layer in it, has an active adapter.

    Args:
        original: The layer's own `get_config`.
        state: The active adapters of the model.
    """

    @functools.wraps(original)  # Keras marks its default implementation by an attribute
    def get_config() -> dict[str, Any]:
        if not is_saving_config() or not _can_merge(state):
            _refuse()
        if not state.is_told:
            state.is_told = True
            log.warning(
                "Keras stores this model layer by layer, with the adapter merged into the kernels: the model that is "
                "loaded computes the same, and has no adapter. save_lora_weights saves the adapter."
            )
        return original()

    return get_config


def _can_merge(state: AdapterState) -> bool:
    adapted = [layer for layers in state.default.layers.values() for _, layer in layers]
    return not any(layer.view.is_quantized for layer in adapted)


def _refuse() -> None:
    raise LoraStateError(
        "This model contains single layers with a LoRA adapter, which a config or a clone cannot keep, and neither "
        "can a .keras file if the layers are quantised",
        "Merge the adapter, or save it by itself; or use the whole backbone as a layer, backbone(inputs)",
    )
