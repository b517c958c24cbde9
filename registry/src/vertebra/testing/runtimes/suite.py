"""The suite that every runtime must pass.

class TestMyRuntime(RuntimeSuite):
    @pytest.fixture
    def runtime(self):
        (runtime,) = my_plugin.vertebra_runtimes()
        return runtime

The tests run in a process whose Keras is on the runtime's backend.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest

import vertebra
from vertebra.interfaces import Runtime
from vertebra.specs import Device
from vertebra.testing.backbones.comparing import address_of, arrays_of, computed, largest_difference
from vertebra.testing.plugins import PluginSuite, entry_module_of
from vertebra.testing.rules import rule

DTYPES = ("float32", "float16", "bfloat16", "int32", "int8", "uint8", "float8_e4m3fn", "float8_e5m2")
"""Dtypes of stored weights."""
CONVERSIONS = (
    *(("float32", "bfloat16"), ("bfloat16", "float32"), ("float16", "float32"), ("float64", "float32")),
    *(("float32", "float16"), ("float8_e4m3fn", "float32")),
)
"""Dtypes in which weights are stored, each with one in which they are wanted."""
_RATE = 0.25
_LARGE = 400
"""Rows and columns of a matrix on which a share can be measured."""


class RuntimeSuite(PluginSuite):
    """Tests of a runtime. Give the subclass a name that pytest collects, and define the fixture `runtime`."""

    # === Fixtures ===

    @pytest.fixture
    def runtime(self) -> Runtime:
        """The runtime, as the plugin contributes it."""
        raise NotImplementedError

    @pytest.fixture
    def entry_module(self, runtime: Runtime, tested_modules: set[str]) -> str:
        """Name of the module that contributes the runtime."""
        return entry_module_of("vertebra_runtimes", runtime.name, tested_modules)

    @pytest.fixture
    def light_references(self, runtime: Runtime) -> Sequence[str]:
        """The class of the runtime."""
        return [f"{type(runtime).__module__}:{type(runtime).__name__}"]

    @pytest.fixture
    def model(self) -> Any:
        """A small functional model with weights and dropout."""
        inputs = keras.Input((None, 4), name="inputs")
        hidden = keras.layers.Dense(6, "tanh", name="up")(inputs)
        return keras.Model(inputs, keras.layers.Dense(3, name="down")(vertebra.layers.Dropout(0.5)(hidden)))

    # === Rules ===

    @rule("RT-01")
    def test_it_is_bound_and_can_be_used(self, runtime: Runtime) -> None:
        """The runtime has the name of its Keras backend, and gives no reason why the backend cannot be used."""
        assert runtime.name == keras.config.backend()
        assert vertebra.use(runtime.name).name == runtime.name
        assert runtime.unavailable_reason() is None
        runtime.check_process()

    @rule("RT-02")
    def test_devices_are_listed(self, runtime: Runtime) -> None:
        """There is at least one device, and all have different names, a known kind, and possible sizes of memory."""
        devices = runtime.devices()
        assert devices
        assert all(isinstance(device, Device) for device in devices)
        assert {device.kind for device in devices} <= {"cpu", "gpu", "tpu"}
        assert len({device.name for device in devices}) == len(devices)
        for device in devices:
            if device.memory_bytes is not None and device.free_bytes is not None:
                assert 0 <= device.free_bytes <= device.memory_bytes

    @rule("RT-03")
    def test_a_tensor_has_the_values_of_an_array(self, runtime: Runtime) -> None:
        """`tensor` keeps values and shapes, of every dtype of stored weights and every order in memory."""
        for dtype in DTYPES:
            array = _typed(np.arange(-6, 6), dtype).reshape(3, 4)
            for each in (array, array.T, array[:, ::2], array[1:], array[:0], array[:1, :1].reshape(())):
                tensor = runtime.tensor(each, dtype)
                assert keras.backend.standardize_dtype(tensor.dtype) == dtype
                assert tuple(tensor.shape) == each.shape
                assert np.array_equal(_wide(tensor), each.astype("float32")), dtype

    @rule("RT-04")
    def test_another_dtype_is_converted_as_numpy_does(self, runtime: Runtime) -> None:
        """`tensor` converts to another dtype with numpy's rounding, so that all runtimes load the same weights."""
        for stored, wanted in CONVERSIONS:
            array = _typed(np.linspace(-3, 3, 12), stored).reshape(3, 4)
            tensor = runtime.tensor(array, wanted)
            assert keras.backend.standardize_dtype(tensor.dtype) == wanted
            expected = _typed(array.astype("float64"), wanted).astype("float32")
            assert np.array_equal(_wide(tensor), expected), f"{stored} as {wanted}"

    @rule("RT-05")
    def test_writing_to_a_tensor_never_reaches_the_file(self, runtime: Runtime, tmp_path: Path) -> None:
        """A variable that views a mapped file can be changed, and the file stays as it is."""
        path = tmp_path / "values"
        memory = _mapped(path)
        before = path.read_bytes()
        variable = keras.Variable(runtime.tensor(np.frombuffer(memory, "float32"), "float32"))
        variable.assign_add(np.ones(4096))
        assert _wide(variable.value)[0] > 1
        assert path.read_bytes() == before

    @rule("RT-06")
    def test_values_are_copied_before_they_are_shared(self, runtime: Runtime) -> None:
        """Later changes of a variable affect neither its `snapshot` nor a variable that its value was assigned to."""
        one, other = (keras.Variable(np.full((64, 64), value, "float32")) for value in (1, 2))
        kept = runtime.snapshot(one.value)
        runtime.assign(other, one.value)
        one.assign(np.full((64, 64), 7, "float32"))
        assert (_wide(kept)[0, 0], _wide(other.value)[0, 0]) == (1, 1)
        other.assign_add(np.ones((64, 64)))
        assert (_wide(kept)[0, 0], _wide(one.value)[0, 0]) == (1, 7)

    @rule("RT-07")
    def test_backbones_derive_from_its_model_class(self, runtime: Runtime) -> None:
        """`model_class` is `keras.Model` or a subclass, and backbones derive from it."""
        assert issubclass(runtime.model_class(), keras.Model)
        assert issubclass(vertebra.Backbone, runtime.model_class())

    @rule("RT-08")
    def test_a_compiled_model_computes_the_same(self, runtime: Runtime, model: Any) -> None:
        """`compile` returns a function that computes what a call for inference does, for any shape and after training.

        So does the function that `pack` makes of it, as long as the weights do not change.
        """
        compiled = runtime.compile(model)
        data = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
        for inputs in (data, data[:1, :2], data):
            assert largest_difference(arrays_of(compiled(inputs)), computed(model, inputs)) <= _tolerance(runtime)
        for variable in model.weights:
            variable.assign(variable.numpy() + 0.5)
        expected = computed(model, data)
        assert largest_difference(arrays_of(compiled(data)), expected) <= _tolerance(runtime)
        assert largest_difference(arrays_of(runtime.pack(compiled)(data)), expected) <= _tolerance(runtime)

    @rule("RT-09")
    def test_dropout_keeps_the_expected_values(self, runtime: Runtime) -> None:
        """`dropout` sets the given share of the values to zero, other ones each time, and scales the rest."""
        generator = keras.random.SeedGenerator()
        ones = keras.ops.ones((_LARGE, _LARGE))
        first, second = (_wide(runtime.dropout(ones, _RATE, generator)) for _ in range(2))
        assert abs((first == 0).mean() - _RATE) < 0.02
        assert np.allclose(first[first != 0], 1 / (1 - _RATE), rtol=1e-3)
        assert not np.array_equal(first == 0, second == 0)
        half = runtime.dropout(keras.ops.cast(ones, "bfloat16"), _RATE, generator)
        assert keras.backend.standardize_dtype(half.dtype) == "bfloat16"

    @rule("RT-10")
    def test_it_knows_that_nothing_is_traced(self, runtime: Runtime, model: Any) -> None:
        """`is_tracing` is False outside of a trace, and `check_weights` accepts a model that Keras built."""
        assert runtime.is_tracing() is False
        runtime.check_weights(model)

    @rule("RT-11")
    def test_it_says_which_arrays_it_can_view(self, runtime: Runtime, tmp_path: Path) -> None:
        """`can_view` returns whether arrays at a position of a file are viewed, for all positions."""
        if any(device.kind != "cpu" for device in runtime.devices()[:1]):
            pytest.skip("arrays are copied to the device")
        memory = _mapped(tmp_path / "values")
        for start in (0, 4, 8, 16, 32, 64, 68, 128):
            square = np.frombuffer(memory, "float32", 32 * 32, start).reshape(32, 32)
            for array in (square, square.T):
                begin, expected = square.ctypes.data, runtime.can_view(start, array.flags.c_contiguous)
                assert type(expected) is bool
                tensor = runtime.tensor(array, "float32")
                viewed = address_of(tensor) in range(begin, begin + square.nbytes)
                assert viewed == expected, f"at {start}, {'contiguous' if array is square else 'transposed'}"

    @rule("RT-12")
    def test_tensors_that_share_memory_do_not_change_together(self, runtime: Runtime) -> None:
        """Two tensors that share memory by `share` do not change together."""
        for number in (0, 1):
            tensor = runtime.tensor(np.ones((64, 64), "float32"), "float32")
            shared = runtime.share(tensor)
            if shared is None:
                pytest.skip("its tensors share no memory")
            kept = (tensor, shared)[1 - number]
            variable = keras.Variable((tensor, shared)[number])
            del tensor, shared
            variable.assign_add(np.ones((64, 64)))
            assert (_wide(kept)[0, 0], _wide(variable.value)[0, 0]) == (1, 2)

    @rule("RT-13")
    def test_slots_of_a_cache_are_written(self, runtime: Runtime) -> None:
        """`write_slots` returns the slots with the given values from a start on, and no other slot is changed."""
        slots, values = np.arange(2 * 3 * 8 * 4).reshape(2, 3, 8, 4), -1.0 - np.arange(2 * 3 * 2 * 4)
        values = values.reshape(2, 3, 2, 4)
        for dtype in ("float32", "bfloat16", "int32"):
            for start in (0, 3, 6):
                before = runtime.tensor(_typed(slots, dtype), dtype)
                first = runtime.tensor(np.array(start, "int32"), "int32")
                after = runtime.write_slots(before, first, runtime.tensor(_typed(values, dtype), dtype))
                expected = _typed(slots, dtype).astype("float32")
                expected[:, :, start : start + 2] = values
                assert keras.backend.standardize_dtype(after.dtype) == dtype
                assert np.array_equal(_wide(after), _typed(expected, dtype).astype("float32")), f"{dtype} at {start}"

    @rule("RT-14")
    def test_a_compiled_step_computes_the_same(self, runtime: Runtime, model: Any) -> None:
        """`compile_step` binds a step that computes what the step does, in each of many calls, of any shape.

        It has the weights that the model has when it is bound. So does the step that `pack` makes of it.
        """
        compiled = runtime.compile_step(model, lambda inputs, state: _step(model, inputs, state))
        draws = np.random.default_rng(0)
        for is_packed in (False, True, False):
            for variable in model.weights:
                variable.assign(variable.numpy() + 0.3)
            program = runtime.pack(compiled) if is_packed else compiled
            for rows in (2, 3):
                bound, state = program(), (keras.ops.zeros((rows, 1, 8, 3)), keras.ops.zeros((rows, 1)))
                kept = [np.zeros((rows, 1, 8, 3)), np.zeros((rows, 1))]
                for slot in range(6):
                    data = draws.normal(size=(rows, 1, 4)).astype("float32")
                    inputs = {"data": data, "slot": np.array(slot, "int32")}
                    outputs, state = bound(keras.tree.map_structure(keras.ops.convert_to_tensor, inputs), state)
                    expected = arrays_of(model(data, training=False))
                    (states,) = expected.values()
                    kept[0][:, 0, slot], kept[1] = states[:, 0], kept[1] + states.sum(axis=(1, 2))[:, None]
                    found = {"sums": outputs["sums"], "slots": state[0], "total": state[1]}
                    wanted = {"sums": states.sum(axis=1), "slots": kept[0], "total": kept[1]}
                    gap = largest_difference({name: _wide(value) for name, value in found.items()}, wanted)
                    assert gap <= 10 * _tolerance(runtime), f"call {slot} with {rows} rows differs by {gap:.2g}"


def _step(model: Any, inputs: Any, state: Any) -> Any:
    """A step that writes what a model computes into slots, and adds it to a total."""
    slots, total = state
    states = model(inputs["data"], training=False)
    slots = vertebra.use().write_slots(slots, inputs["slot"], states[:, None])
    sums = keras.ops.sum(states, axis=1)
    return {"sums": sums}, (slots, total + keras.ops.sum(sums, axis=1, keepdims=True))


def _mapped(path: Path) -> mmap.mmap:
    """Writes ones into a file, and maps it as weights are mapped."""
    np.ones(4096, "float32").tofile(path)
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)


def _typed(array: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    return array.astype(getattr(ml_dtypes, dtype, None) or dtype)


def _wide(tensor: Any) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))
    return array


def _tolerance(runtime: Runtime) -> float:
    return 1e-5 if all(device.kind == "cpu" for device in runtime.devices()[:1]) else 3e-3
