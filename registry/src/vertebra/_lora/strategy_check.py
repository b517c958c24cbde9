"""A check that a plugin's LoRA strategy keeps the rules of `LoraStrategy`, on a small layer.

A strategy that does not start at zero, or whose `delta` and `kernel_delta` disagree, would train or merge wrongly
without an error. So each strategy is tested before training, once per process and kind of layer that it adapts.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any

import keras
import numpy as np

from vertebra._discovery import runtimes
from vertebra._discovery.catalog import STRATEGIES, Entry, catalog
from vertebra._discovery.plugin import BUILTIN
from vertebra._lora.layers.adapter_layers import AdapterLayerBase, AdapterLayers, SharedVariables, change_of_outputs
from vertebra._lora.layers.linear_view import ConvView, DenseView, EinsumDenseView, EmbeddingView, LookupView
from vertebra._lora.plan import AdapterPlan, LayerPlan
from vertebra._weights.layer_paths import own_weights
from vertebra.errors import LoraStrategyError, VertebraError, exception_text
from vertebra.specs import AdapterTensor
from vertebra.strategies import LoraStrategy

Array = np.ndarray[Any, Any]

_PATH = "layer"
_FACTORS = "the product of factors"
_IN, _OUT, _RANK, _ALPHA = 16, 8, 2, 3.0
_ROUNDING = 0.02
"""Relative tolerance between two ways to compute, which also covers devices that multiply in low precision."""
_NOISE = 0.1
_ZERO = 1e-5

_sound: set[tuple[LoraStrategy, type]] = set()


def check_strategy(plan: AdapterPlan, views: Mapping[str, Any]) -> None:
    """Tests a plan's strategy on a small layer of each kind that it adapts; the core's own strategy is not tested.

    Args:
        plan: The plan, with the options for the strategy.
        views: The linear views of the adapted layers, by path.

    Raises:
        LoraStrategyError: the strategy breaks a rule of `LoraStrategy`.
    """
    entry = catalog(STRATEGIES).lookup(plan.config.strategy)
    if entry.owner.module == BUILTIN:
        return
    for kind in {_SAME_MATRICES.get(type(view), type(view)) for view in views.values()}:
        if (entry.value, kind) not in _sound and _passes(entry, kind, plan.options()):
            _sound.add((entry.value, kind))
    for rank, alpha in {(layer.rank, layer.alpha) for layer in plan.layers.values() if layer.strategy is None}:
        _check_scale(entry, rank, alpha)


def problems_of(names: Iterable[str]) -> dict[str, str]:
    """Tests installed strategies, with their default options, on a small layer of every kind.

    Returns:
        The problems of faulty strategies, by name.
    """
    problems = {}
    for name in names:
        entry = catalog(STRATEGIES).lookup(name)
        try:
            for kind in _KINDS:
                _passes(entry, kind, entry.value.options)
        except LoraStrategyError as error:
            problems[name] = error.problem
    return problems


def _passes(entry: Entry[LoraStrategy], kind: type, options: Mapping[str, Any]) -> bool:
    """Returns whether a strategy passed; False if it refuses the small layer or the options: the real layer decides."""
    try:
        _Trial(entry, kind).run(options)
    except LoraStrategyError:
        raise
    except VertebraError:
        return False
    return True


def _check_scale(entry: Entry[LoraStrategy], rank: int, alpha: float) -> None:
    scale = entry.value.scale(rank, alpha)
    if not _is_finite(scale):
        problem = f"scale({rank}, {alpha}) is {scale!r}, expected a finite number"
        raise LoraStrategyError(entry.name, entry.owner, problem)


class _Trial:
    """One strategy on one small layer of random values."""

    def __init__(self, entry: Entry[LoraStrategy], kind: type) -> None:
        self._entry, self._strategy, self._small = entry, entry.value, _KINDS[kind]
        self._draws = np.random.default_rng(0)
        layer = self._small.make(self._normal)
        layer.build(self._small.shape)
        self._view: Any = kind(layer)
        self._where = f"on a small {type(layer).__name__} layer"
        numbers = self._draws.integers(0, _IN, self._small.shape)
        self._inputs: Array = numbers if self._view.is_lookup else numbers / _IN

    def run(self, options: Mapping[str, Any]) -> None:
        """Checks all rules."""
        self._call("scale", _check_scale, self._entry, _RANK, _ALPHA)
        adapter_layers = self._call("build", self._build, options)
        layer = adapter_layers.layers[_PATH]
        self._call("build", self._check_variables, layer)
        self._call("learning_rates", self._check_rates, layer)
        self._call("tensors", self._check_tensors, layer)
        for name, change in self._changes(layer).items():
            largest = _largest(change)
            self._require(largest <= _ZERO, f"{name} is up to {largest:.3g} at the start {self._where}, expected 0")
        self._disturb(adapter_layers)
        changes = self._changes(layer)
        if "delta" in changes:
            self._check_same(changes.pop("delta"), changes, self._call("bias_delta", self._bias_delta, layer))

    def _build(self, options: Mapping[str, Any]) -> AdapterLayers:
        shared = _SmallShared("float32")
        shares = self._strategy.share(shared, [self._view], _RANK, 0)
        layer = _SmallAdapterLayer(_PATH, "float32", self._strategy, self._view, 0)
        heads = self._view.heads if self._strategy.per_head else 1
        layer.prepare(LayerPlan(_RANK, _ALPHA, heads), options, shared if shares else None, {})
        return AdapterLayers({_PATH: layer}, shared if shares else None)

    def _disturb(self, adapter_layers: AdapterLayers) -> None:
        for variable in adapter_layers.flat():
            if variable.trainable:
                noise = self._draws.normal(size=variable.shape) * _NOISE
                variable.assign(_tensor(_array(variable.value) + noise, variable.dtype))

    def _changes(self, layer: Any) -> dict[str, Array]:
        """Returns the strategy's changes of the layer's outputs, `delta`, and of its kernel.

        Methods inherited from `LoraStrategy` are not tested: they are correct if the factors are.
        """
        changes = {_FACTORS: self._call("factors", self._product, layer)} if self._strategy.is_low_rank else {}
        kind = type(self._strategy)
        methods = ("delta", "kernel_delta", "bias_delta")
        if changes and all(getattr(kind, method) is getattr(LoraStrategy, method) for method in methods):
            return changes
        changes["delta"] = self._call("delta", self._delta, layer)
        changes["kernel_delta"] = self._call("kernel_delta", self._kernel_delta, layer)
        return changes

    def _product(self, layer: Any) -> Array:
        a, b = (_array(factor) for factor in self._strategy.factors(layer, self._view))
        rows, columns = self._view.in_features, self._view.out_features
        fit = a.ndim == b.ndim == 2 and a.shape == (rows, b.shape[0]) and b.shape[1] == columns
        expected = f"({rows}, r) and (r, {columns})"
        self._require(fit, f"factors have shapes {a.shape} and {b.shape} {self._where}, expected {expected}")
        product: Array = layer.scale * (a @ b)
        return product

    def _delta(self, layer: Any) -> Array:
        outputs = self._small.times(self._inputs, _array(self._view.matrix()))
        if not self._view.is_lookup:
            outputs = outputs + _array(self._view.layer.bias)
        inputs = _tensor(self._inputs, "int32" if self._view.is_lookup else "float32")
        return self._shaped("delta", change_of_outputs(layer, inputs, _tensor(outputs, "float32")), outputs.shape)

    def _kernel_delta(self, layer: Any) -> Array:
        shape = self._view.in_features, self._view.out_features
        return self._shaped("kernel_delta", self._strategy.kernel_delta(layer, self._view), shape)

    def _shaped(self, name: str, tensor: Any, shape: tuple[int, ...]) -> Array:
        array = _array(tensor)
        self._require(array.shape == shape, f"{name} has shape {array.shape} {self._where}, expected {shape}")
        return array

    def _bias_delta(self, layer: Any) -> Array:
        change = self._strategy.bias_delta(layer, self._view)
        none = np.zeros(self._view.out_features)
        return none if change is None else self._shaped("bias_delta", change, none.shape)

    def _check_same(self, delta: Array, of_kernel: Mapping[str, Array], of_bias: Array) -> None:
        largest = _largest(delta)
        for name, change in of_kernel.items():
            expected = self._small.times(self._inputs, change).reshape(-1, _OUT) + of_bias
            gap = _largest(delta.reshape(-1, _OUT) - expected)
            problem = f"delta and {name} differ by up to {gap:.3g} {self._where}, where delta is up to {largest:.3g}"
            self._require(gap <= _ROUNDING * largest, problem)

    def _check_variables(self, layer: Any) -> None:
        for variable in own_weights(layer):
            name = variable.name
            is_attribute = getattr(layer, name, None) is variable
            self._require(is_attribute, f"build creates a variable {name!r} but does not assign it to layer.{name}")

    def _check_rates(self, layer: Any) -> None:
        rates = self._strategy.learning_rates(layer.options)
        self._require(isinstance(rates, Mapping), f"learning_rates is {rates!r}, expected a mapping by variable")
        known = sorted(variable.name for variable in own_weights(layer) if variable.trainable)
        for name, factor in rates.items():
            self._require(
                name in known, f"learning_rates names {name!r}; the trainable variables are {', '.join(known)}"
            )
            self._require(_is_finite(factor), f"learning_rates[{name!r}] is {factor!r}, expected a finite number")

    def _check_tensors(self, layer: Any) -> None:
        tensors = self._strategy.tensors_of(self._view, _RANK, layer.options)
        self._require(isinstance(tensors, Mapping), f"tensors is {tensors!r}, expected a mapping to AdapterTensor")
        for name in ("peft_fields", "peft_method"):
            self._require(bool(tensors) or getattr(self._strategy, name) is None, f"it has {name} but no tensors")
        sizes = {"in": self._view.in_features, "rank": _RANK, "out": self._view.out_features}
        known = {variable.name: tuple(variable.shape) for variable in own_weights(layer)}
        for name, tensor in tensors.items():
            sound = isinstance(tensor, AdapterTensor) and tensor.variable in known
            sound = sound and all(axis in sizes or type(axis) is int for axis in tensor.axes)
            expected = f"an AdapterTensor of a variable ({', '.join(known)}) with axes among {', '.join(sizes)}"
            self._require(sound, f"tensors[{name!r}] is {tensor!r}, expected {expected}")
            shape, declared = (
                known[tensor.variable],
                tuple(sizes[axis] if isinstance(axis, str) else axis for axis in tensor.axes),
            )
            problem = f"tensors[{name!r}] declares {tensor.variable!r} as {tensor.axes}, {declared} {self._where}"
            self._require(shape == declared, f"{problem}, but its shape is {shape}")

    def _normal(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        return _tensor(self._draws.normal(size=shape) * _NOISE, dtype or "float32")

    def _call(self, method: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except VertebraError:
            raise
        except Exception as error:
            raise self._broken(f"{method} failed {self._where} ({exception_text(error)})") from error

    def _require(self, holds: bool, problem: str) -> None:
        if not holds:
            raise self._broken(problem)

    def _broken(self, problem: str) -> LoraStrategyError:
        return LoraStrategyError(self._entry.name, self._entry.owner, problem)


class _SmallAdapterLayer(AdapterLayerBase):
    """An adapter layer whose random initial values numpy draws: compiling backends would take much longer."""

    def add_weight(self, *, name: str, initializer: Any = None, **arguments: Any) -> Any:
        return super().add_weight(name=name, initializer=_cheap(name, initializer), **arguments)


class _SmallShared(SharedVariables):
    """Shared variables whose random initial values numpy draws, likewise."""

    def add_weight(self, *, name: str, initializer: Any = None, **arguments: Any) -> Any:
        return super().add_weight(name=name, initializer=_cheap(name, initializer), **arguments)


def _cheap(name: str, initializer: Any) -> Any:
    """Returns a cheap equivalent of an initializer; random values are replaced by other random values."""
    start = keras.initializers.get(initializer)
    if isinstance(start, keras.initializers.Zeros):
        return lambda shape, dtype: _tensor(np.zeros(shape), dtype)
    if start is None or isinstance(start, _RANDOM):
        draws = np.random.default_rng(zlib.crc32(name.encode()))
        return lambda shape, dtype: _tensor(draws.normal(size=shape) * _NOISE, dtype)
    return start


_RANDOM = (
    keras.initializers.VarianceScaling,
    keras.initializers.RandomNormal,
    keras.initializers.RandomUniform,
    keras.initializers.TruncatedNormal,
)


@dataclass(frozen=True, slots=True)
class _Small:
    """A small layer of one kind."""

    make: Callable[[Any], Any]
    """Returns the layer for a given initializer."""
    shape: tuple[int, ...]
    """Shape of the layer's inputs."""
    times: Callable[[Array, Array], Array]
    """Computes the layer's outputs, before its bias, from inputs and a two-dimensional kernel."""


def _with_bias(kind: Any, *arguments: Any, **settings: Any) -> Callable[[Any], Any]:
    def make(start: Any) -> Any:
        starts = {"kernel_initializer": start, "bias_initializer": start}
        return kind(*arguments, **settings, **starts, dtype="float32", name=_PATH)

    return make


def _embedding(start: Any) -> Any:
    return keras.layers.Embedding(_IN, _OUT, embeddings_initializer=start, dtype="float32", name=_PATH)


def _windows(inputs: Array) -> Array:
    """Returns the inputs of each position of a convolution of width 3, side by side."""
    return np.concatenate([inputs[:, i : inputs.shape[1] - 2 + i] for i in range(3)], axis=-1)


_SAME_MATRICES: dict[type, type] = {LookupView: EmbeddingView}
"""Kinds of views to which strategies apply the same matrices as to another kind."""

_KINDS: dict[type, _Small] = {
    # As many rows as the kernel has, so that the backend compiles fewer shapes.
    DenseView: _Small(_with_bias(keras.layers.Dense, _OUT), (_IN, _IN), np.matmul),
    EinsumDenseView: _Small(
        _with_bias(keras.layers.EinsumDense, "abc,cde->abde", (None, 2, _OUT // 2), bias_axes="de"),
        (2, 3, _IN),
        lambda inputs, kernel: (inputs @ kernel).reshape(2, 3, 2, _OUT // 2),
    ),
    EmbeddingView: _Small(_embedding, (2, 3), lambda inputs, kernel: kernel[inputs]),
    ConvView: _Small(
        _with_bias(keras.layers.Conv1D, _OUT, 3),
        (2, 5, _IN),
        lambda inputs, kernel: _windows(inputs) @ kernel,
    ),
}


def _tensor(values: Any, dtype: str) -> Any:
    """Converts an array by the runtime: Keras, on a compiling backend, compiles a program per shape even for that."""
    return runtimes.bind().tensor(np.array(values, dtype, order="C"), dtype)


def _array(tensor: Any) -> Array:
    array: Array = keras.ops.convert_to_numpy(tensor)
    return array


def _is_finite(value: Any) -> bool:
    return type(value) is not bool and isinstance(value, Real) and isfinite(value)


def _largest(values: Array) -> float:
    """Returns the largest absolute value; infinity if a value is not finite, so that every comparison fails."""
    return float(np.abs(values).max()) if np.isfinite(values).all() else float("inf")
