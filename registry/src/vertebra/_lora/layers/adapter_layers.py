"""Adapter layers: an adapter's variables for each adapted layer, as Keras layers that the adapted layers hold."""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from vertebra._discovery import runtimes
from vertebra._discovery.catalog import STRATEGIES, catalog
from vertebra._keras.dropout import Dropout
from vertebra._keras.internals import autocast, give_value, has_value
from vertebra._lora.plan import AdapterPlan, LayerPlan
from vertebra._weights.layer_paths import own_weights
from vertebra._weights.together.parts import host_array, host_arrays
from vertebra.errors import LoraConfigError, LoraStateError, LoraStrategyError, VertebraError, exception_text
from vertebra.strategies import AdapterLayer

SHARED = "*"
"""Key in place of a layer's path for variables that all layers share."""

_BASE, _BASE_BIAS = "base", "base_bias"
"""Entries in Keras's weights files: base kernel and base bias; the layer's own entries have the merged ones."""

_FAULTS = (ArithmeticError, AttributeError, LookupError, NameError, TypeError)
"""Exceptions that mean a mistake in a strategy, unlike those of memory, or of values that it refuses."""

Values = dict[str, dict[str, Any]]
"""Values of variables, as arrays or tensors, by path of the layer, or `SHARED`, and by name."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of an adapter, as weights files record them."""

    text: str
    digest: str
    """Equal for adapters that differ only in values or dropout."""

    @classmethod
    def of(cls, plan: AdapterPlan) -> Settings:
        """Returns the settings of a plan."""
        return cls(str(plan), hashlib.sha256(plan.without_dropout().key().encode()).hexdigest())


class AdapterLayerBase(keras.layers.Layer):  # type: ignore[misc]
    """The variables of one layer; `vertebra.strategies.AdapterLayer` documents its attributes."""

    def __init__(self, name: str, dtype: str, strategy: Any, view: Any, seed: int | None) -> None:
        super().__init__(name=name, dtype=dtype)
        # Plain data bypasses Keras's attribute tracking, which would dominate the run time.
        self.__dict__.update(strategy=strategy, view=view, seed=seed, dropout=None, shared=None)
        self.__dict__.update(keeps_base=False, hidden=lambda: False, refused=None)

    def prepare(self, plan: LayerPlan, options: Mapping[str, Any], shared: Any, lent: Mapping[str, Any]) -> None:
        """Lets the strategy create the variables, except those in `lent`, which another adapter layer shares."""
        scale = self.strategy.scale(plan.rank, plan.alpha)
        self.__dict__.update(rank=plan.rank, heads=plan.heads, scale=scale, options=MappingProxyType(dict(options)))
        self.__dict__.update(lent=lent, lender=plan.shares)
        if shared is not None:
            self.shared = shared
        self.strategy.build(self, self.view)
        self.built = True

    def drop_inputs(self, rate: float) -> None:
        """Adds dropout of the low-rank path's inputs while training."""
        if rate and not self.view.is_lookup:
            self.dropout = Dropout(rate, seed=self.seed, dtype=self.dtype_policy)

    @property
    def variables(self) -> list[Any]:
        """The variables; empty in calls that choose other adapters, so that their compiled functions fit any choice."""
        return [] if self.hidden() else super().variables

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        if self.keeps_base and not self.view.is_quantized:
            store[_BASE] = self.view.variable
            if self.view.bias_variable is not None:
                store[_BASE_BIAS] = self.view.bias_variable

    def load_own_variables(self, store: Any) -> None:
        if self.refused is not None:
            raise self.refused
        names = list(store.keys())
        super().load_own_variables({name: store[name] for name in names if name not in (_BASE, _BASE_BIAS)})
        if _BASE in names:
            self.view.variable.assign(store[_BASE])
        if _BASE_BIAS in names:
            self.view.bias_variable.assign(store[_BASE_BIAS])

    def add_weight(self, *, name: str, **arguments: Any) -> Any:
        return self.lent[name] if name in self.lent else super().add_weight(name=name, **arguments)

    def own(self) -> dict[str, Any]:
        """Returns the variables that are not shared from another adapter layer, by name."""
        lent = {id(variable) for variable in self.lent.values()}
        return {variable.name: variable for variable in own_weights(self) if id(variable) not in lent}


AdapterLayer.register(AdapterLayerBase)


class SharedVariables(keras.layers.Layer):  # type: ignore[misc]
    """The variables that all adapter layers of an adapter share."""

    def __init__(self, dtype: str) -> None:
        super().__init__(name="shared", dtype=dtype)
        self.built = True

    def own(self) -> dict[str, Any]:
        return {variable.name: variable for variable in own_weights(self)}


@dataclass(frozen=True, slots=True)
class AdapterLayers:
    """The adapter layers of one plan; every adapter of the plan can use them, by assigning its values."""

    layers: dict[str, AdapterLayerBase]
    shared: SharedVariables | None = None
    _holders: dict[str, Any] = field(default_factory=dict)

    def variables(self) -> dict[str, dict[str, Any]]:
        """Returns every variable once, by path of the layer, or `SHARED`, and by name."""
        if not self._holders:
            holders: dict[str, Any] = {**self.layers, **({} if self.shared is None else {SHARED: self.shared})}
            self._holders.update({path: own for path, holder in holders.items() if (own := holder.own())})
        return self._holders

    def flat(self) -> list[Any]:
        """Returns every variable once."""
        return [variable for own in self.variables().values() for variable in own.values()]

    def values(self) -> Values:
        """Returns the current values of the variables, as tensors that later assignments do not change.

        Raises:
            LoraStateError: Keras has moved the values out of the variables, as within `fit` on a compiling backend.
        """
        if not all(has_value(variable) for variable in self.flat()):
            raise LoraStateError("The model is in the middle of fit", "Do this after fit, or at the end of an epoch")
        keep = runtimes.bind().snapshot
        return {
            path: {name: keep(variable.value) for name, variable in own.items()}
            for path, own in self.variables().items()
        }

    def assign(self, values: Values, shared: bool = True) -> None:
        """Sets the values of the variables.

        Args:
            values: The values, as arrays or tensors.
            shared: Whether other objects may refer to the tensors, so that they must be copied.
        """
        for path, own in self.variables().items():
            for name, variable in own.items():
                _assign(variable, values[path][name], shared)


def _assign(variable: Any, value: Any, shared: bool) -> None:
    """Sets a variable's value without sharing memory: an array may view a file, and a tensor may be in use."""
    runtime = runtimes.bind()
    if isinstance(value, np.ndarray):
        value, shared = runtime.tensor(value.copy(), str(variable.dtype)), False
    if not has_value(variable):
        give_value(variable, runtime.snapshot(value) if shared else value)
    elif shared:
        runtime.assign(variable, value)
    else:
        variable.assign(value)


def change_of_outputs(layer: Any, inputs: Any, outputs: Any) -> Any:
    """Returns the change that an adapter layer adds to its layer's outputs before the activation."""
    dropped = inputs if layer.dropout is None else layer.dropout(inputs)
    with autocast(layer.compute_dtype):  # a layer purely in half precision does not autocast
        return layer.strategy.delta(layer, layer.view, dropped, outputs)


def change_of_projection(layer: Any, inputs: Any, outputs: Any) -> Any:
    """Returns the change that an adapter layer adds to `inputs · tableᵀ`, the output projection of a tied table."""
    dtype = outputs.dtype
    if not layer.strategy.is_low_rank:
        kernel = layer.strategy.kernel_delta(layer, layer.view)
        return keras.ops.matmul(keras.ops.cast(inputs, dtype), keras.ops.cast(keras.ops.transpose(kernel), dtype))
    a, b = (keras.ops.cast(keras.ops.transpose(factor), dtype) for factor in layer.strategy.factors(layer, layer.view))
    return keras.ops.matmul(keras.ops.matmul(keras.ops.cast(inputs, dtype), b), a) * layer.scale


def build_adapter_layers(plan: AdapterPlan, views: Mapping[str, Any], slot: int) -> AdapterLayers:
    """Creates the adapter layers of a plan, detached.

    Args:
        plan: Which layers are adapted, and how.
        views: The linear views of these layers, by path.
        slot: Number of the adapter among the active adapters; adapter layers of different slots have different names.

    Raises:
        LoraConfigError: the strategy refuses an option.
        LoraStrategyError: the strategy fails for a layer.
    """
    shared, settings = _shared(plan, views), Settings.of(plan)
    adapter_layers: dict[str, AdapterLayerBase] = {}
    for path, layer in plan.layers.items():
        strategy = plan.strategy_of(path)
        with keras.name_scope(path.rpartition("/")[2], override_parent=path.rpartition("/")[0]):  # for unique paths
            adapter_layer = AdapterLayerBase(
                name_of(slot), _policy(views[path].layer), strategy, views[path], _seed(path, plan.config.seed)
            )
            adapter_layer.__dict__.update(tied=plan.tied, slot=slot, settings=settings)
            lent = _lent_variables(plan, path, views[path], adapter_layers.get(layer.shares or ""))
            with _fields_as_given(plan, path), _faults_named(strategy.name, path):
                adapter_layer.prepare(layer, plan.options_of(path), shared, lent)
            adapter_layer.drop_inputs(plan.config.dropout)
        adapter_layers[path] = adapter_layer
    return AdapterLayers(adapter_layers, shared)


@contextlib.contextmanager
def _fields_as_given(plan: AdapterPlan, path: str) -> Iterator[None]:
    """Names the field of PEFT's LoRA config, which the user gave, in errors about the option of an added layer."""
    try:
        yield
    except LoraConfigError as error:
        method = plan.strategy_of(path).peft_method
        if plan.layers[path].strategy is None or method is None or not method.lora_field:
            raise
        raise LoraConfigError(error.subject, method.lora_field, error.value, error.expected) from None


@contextlib.contextmanager
def _faults_named(strategy: str, path: str) -> Iterator[None]:
    """Names the strategy and the layer in errors of its code that no small layer shows."""
    try:
        yield
    except VertebraError:
        raise
    except _FAULTS as error:
        owner = catalog(STRATEGIES).lookup(strategy).owner
        problem = f"it failed for the layer {path!r} ({exception_text(error)})"
        raise LoraStrategyError(strategy, owner, problem) from error


def tied_variables(strategy: Any, view: Any, rank: int, options: Mapping[str, Any]) -> set[str]:
    """Returns the variables that the layers of a fused projection share: those without an output axis."""
    tensors = strategy.tensors_of(view, rank, options).values()
    return {tensor.variable for tensor in tensors if "out" not in tensor.axes}


def name_of(slot: int) -> str:
    """Returns the name of an adapter layer, by the number of its adapter among the active adapters."""
    return f"lora_{slot}" if slot else "lora"


def _shared(plan: AdapterPlan, views: Mapping[str, Any]) -> SharedVariables | None:
    own = {path: layer for path, layer in plan.layers.items() if layer.strategy is None}
    adapted = [views[path] for path in own]
    rank = max(layer.rank for layer in own.values())
    shared = SharedVariables(_policy(adapted[0].layer))
    return shared if plan.strategy.share(shared, adapted, rank, _seed(SHARED, plan.config.seed)) else None


def _lent_variables(plan: AdapterPlan, path: str, view: Any, lender: AdapterLayerBase | None) -> dict[str, Any]:
    if lender is None:
        return {}
    names = tied_variables(plan.strategy_of(path), view, plan.layers[path].rank, plan.options_of(path))
    return {name: getattr(lender, name) for name in names}


def _seed(path: str, seed: int | None) -> int | None:
    """Returns a seed for one layer, so that layers start from different values; Keras stores seeds as int32."""
    return None if seed is None else zlib.crc32(f"{seed} {path}".encode()) % 2**31


def _policy(layer: Any) -> str:
    """Returns a dtype policy: adapter layers compute in the layer's precision, with float32 variables for training."""
    return f"mixed_{layer.compute_dtype}" if layer.compute_dtype in ("bfloat16", "float16") else layer.compute_dtype


def as_arrays(values: Values) -> Values:
    """Returns values as arrays."""
    keys = [(path, name) for path, own in values.items() for name in own]
    arrays = host_arrays({str(number): values[path][name] for number, (path, name) in enumerate(keys)})
    found: Values = {path: {} for path in values}
    for (path, name), array in zip(keys, arrays.values(), strict=True):
        found[path][name] = array
    return found


def host_copy(variable: Any) -> np.ndarray[Any, Any]:
    """Returns a variable's value as an array that shares no memory with it."""
    array = host_array(variable.value)
    return array if array.flags.owndata and array.flags.writeable else array.copy()
