"""Hooks: adapted layers add the changes of the active adapters; the layer objects stay the same.

A layer is hooked as long as the model has an adapter for it, active or not: the hook looks up the active adapters at
each call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras

from vertebra._keras.internals import is_call_training, unlocked, untrack
from vertebra._lora.choices.active import ActiveAdapters, AdapterState
from vertebra._lora.choices.table import StackedLayer
from vertebra._lora.control import CONTROL, AdapterControl
from vertebra._lora.files.keras_weights import load_layer, save_layer
from vertebra._lora.layers.adapter_layers import change_of_outputs, change_of_projection
from vertebra._lora.layers.layer_configs import config_of_merged
from vertebra._lora.layers.projections import is_projection
from vertebra.errors import LoraStateError

_CALLS = ("call", "quantized_call")
_OTHERS = ("get_config", "save_own_variables", "load_own_variables")
_NEUTRAL = {"activation": keras.activations.linear, "logit_soft_cap": None}
"""The last operations of layers on their outputs, postponed until adapters have been added: the values without them.

Keras cannot serialise a layer whose activation is None.
"""


class Hook:
    """Makes one layer add the changes of its adapter layers, and undoes that."""

    def __init__(self, path: str, layer: Any, state: AdapterState, control: AdapterControl) -> None:
        self._path, self._layer, self._state, self._control = path, layer, state, control
        self._is_table, self._is_tied = isinstance(layer, keras.layers.Embedding), is_projection(layer)
        self._postponed = {name: value for name in _NEUTRAL if (value := getattr(layer, name, None)) is not None}
        self._own = {name: vars(layer)[name] for name in (*_CALLS, *_OTHERS) if name in vars(layer)}

    def attach(self) -> None:
        """Wraps the layer's methods."""
        hold(self._layer, [self._control])
        for name in self._postponed:
            setattr(self._layer, name, _NEUTRAL[name])
        layer, save, load = self._layer, self._layer.save_own_variables, self._layer.load_own_variables
        layer.get_config = self._with_postponed(layer.get_config)
        layer.save_own_variables = lambda store: save_layer(store, self._state.default, self._path, save)
        layer.load_own_variables = lambda store: load_layer(store, self._state.default, self._path, load)
        for name in _CALLS:
            setattr(self._layer, name, self._with_adapters(getattr(self._layer, name)))

    def detach(self) -> None:
        """Restores the original layer; also works after a failed `attach`."""
        for name in (*_CALLS, *_OTHERS):
            vars(self._layer).pop(name, None)
        vars(self._layer).update(self._own)
        for name, value in self._postponed.items():
            setattr(self._layer, name, value)
        release(self._layer, [self._control])

    def _with_adapters(self, original: Any) -> Any:
        def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            outputs = original(inputs, *args, **kwargs)
            active, reverse = self._state.now(), self._is_table and _is_reverse(args, kwargs)
            if active.is_choice:
                self._state.check_choice(active)
                _check_not_training()
                _check_rows(active, inputs)
            adapter_layers = active.layers.get(self._path, ())
            if adapter_layers:
                outputs = self._add_adapters(active, adapter_layers, inputs, outputs, reverse)
            return self._apply_postponed(outputs, reverse)

        return call

    def _add_adapters(
        self,
        active: ActiveAdapters,
        adapter_layers: Sequence[tuple[int, Any]],
        inputs: Any,
        outputs: Any,
        reverse: bool,
    ) -> Any:
        if reverse:
            adapter_layers = [
                (number, adapter_layer)
                for number, adapter_layer in adapter_layers
                if adapter_layer.tied and self._is_tied
            ]
        elif active.by_rows and adapter_layers[0][1].view.is_lookup:
            _check_batch(self._layer, inputs)
        compute = change_of_projection if reverse else change_of_outputs
        changed = outputs
        for number, adapter_layer in adapter_layers:
            if isinstance(adapter_layer, StackedLayer):
                changed = changed + active.change(number, adapter_layer, inputs, outputs)
            else:
                changed = changed + active.weigh(number, compute(adapter_layer, inputs, outputs))
        return changed

    def _apply_postponed(self, outputs: Any, reverse: bool) -> Any:
        """Applies the layer's postponed operations."""
        if "activation" in self._postponed:
            return self._postponed["activation"](outputs)
        cap = self._postponed.get("logit_soft_cap")
        return outputs if cap is None or not reverse else keras.ops.tanh(outputs / cap) * cap

    def _with_postponed(self, original: Any) -> Any:
        def get_config() -> dict[str, Any]:
            serialized = {
                name: keras.activations.serialize(value) if name == "activation" else value
                for name, value in self._postponed.items()
            }
            config: dict[str, Any] = original() | serialized
            return config

        with_adapter = config_of_merged(get_config, self._state)
        return lambda: with_adapter() if self._path in self._state.default.layers else get_config()


class Hooks(Mapping[str, Hook]):
    """The hooks of one model, by path of the layer."""

    def __init__(self, layers: Mapping[str, Any], state: AdapterState, control: AdapterControl) -> None:
        self._layers, self._state, self._control = layers, state, control
        self._hooks: dict[str, Hook] = {}
        state.hooked = self._hooks

    def install(self, paths: Iterable[str]) -> bool:
        """Hooks exactly the layers with these paths; returns whether any hook was added or removed.

        Raises:
            LoraStateError: a layer has a hook of another model that shares it.
        """
        wanted = dict.fromkeys(paths)
        new, old = wanted.keys() - self._hooks.keys(), self._hooks.keys() - wanted.keys()
        self._check_free(new)
        for path in [path for path in wanted if path in new]:
            self._hooks[path] = Hook(path, self._layers[path], self._state, self._control)
            self._hooks[path].attach()
        for path in old:
            self._hooks.pop(path).detach()
            self._state.losses += 1
        return bool(new or old)

    def __getitem__(self, path: str) -> Hook:
        return self._hooks[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hooks)

    def __len__(self) -> int:
        return len(self._hooks)

    def _check_free(self, paths: Iterable[str]) -> None:
        taken = sorted(path for path in paths if hasattr(self._layers[path], CONTROL))
        if taken:
            problem = f"Another model that shares these layers has an adapter for them: {', '.join(taken)}"
            raise LoraStateError(problem, "Unload it from the model that it was enabled on first")


def hold(layer: Any, inner: Sequence[Any]) -> None:
    """Adds inner layers to a built layer, each as the attribute of its own name."""
    with unlocked(layer):
        for held in inner:
            setattr(layer, held.name, held)


def release(layer: Any, inner: Sequence[Any]) -> None:
    """Undoes `hold`; also works after a failed `hold`."""
    for held in inner:
        untrack(layer, held)
        if hasattr(layer, held.name):
            delattr(layer, held.name)


def _is_reverse(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Returns whether an embedding is called as the output projection: `call(inputs, reverse=True)`."""
    return bool(kwargs.get("reverse", args[0] if args else False))


def _check_batch(layer: Any, indices: Any) -> None:
    """Raises LoraStateError for a lookup without a batch axis, such as of positions, which cannot differ by row."""
    if len(indices.shape) < 2:
        problem = f"Layer {layer.name!r} is looked up without a batch axis, so rows cannot have adapters of their own"
        raise LoraStateError(problem, "Activate one adapter for the whole batch, or do not adapt this layer")


def _check_rows(active: ActiveAdapters, inputs: Any) -> None:
    """Checks the batch size if no row has an adapter here; a layer may fold other axes into the rows."""
    if active.by_rows and not active.layers and len(inputs.shape) > 1:
        batch, rows = inputs.shape[0], active.strengths.shape[0]
        if batch is None or not rows or batch % rows:
            active.check_rows(batch)


def _check_not_training() -> None:
    if is_call_training():
        problem = "Adapters that are chosen for one call do not train"
        raise LoraStateError(problem, "Train the active adapter: activate_lora(name), outside of lora_rows")
