"""The suite for runtimes notices faults: each of these runtimes breaks one rule."""

import contextlib

import keras
import numpy as np
import pytest

import vertebra
from vertebra.testing import RuntimeSuite

pytestmark = pytest.mark.keras(once=True)
SUITE = RuntimeSuite()
TESTS = {
    "RT-04": lambda runtime, tmp_path: SUITE.test_another_dtype_is_converted_as_numpy_does(runtime),
    "RT-06": lambda runtime, tmp_path: SUITE.test_values_are_copied_before_they_are_shared(runtime),
    "RT-08": lambda runtime, tmp_path: SUITE.test_a_compiled_model_computes_the_same(
        runtime, RuntimeSuite.model.__wrapped__(SUITE)
    ),
    "RT-09": lambda runtime, tmp_path: SUITE.test_dropout_keeps_the_expected_values(runtime),
    "RT-11": SUITE.test_it_says_which_arrays_it_can_view,
    "RT-12": lambda runtime, tmp_path: shared(runtime),
    "RT-13": lambda runtime, tmp_path: SUITE.test_slots_of_a_cache_are_written(runtime),
    "RT-14": lambda runtime, tmp_path: SUITE.test_a_compiled_step_computes_the_same(
        runtime, RuntimeSuite.model.__wrapped__(SUITE)
    ),
}


def shared(runtime):
    with contextlib.suppress(pytest.skip.Exception):  # torch shares no memory
        SUITE.test_tensors_that_share_memory_do_not_change_together(runtime)


def truncated(runtime, array, dtype):
    """Cuts bits off in place of rounding."""
    if array.dtype == "float32" and dtype == "bfloat16":
        array = (array.view("uint32") & np.uint32(0xFFFF0000)).view("float32")
    return type(runtime).tensor(runtime, array, dtype)


def old_weights(runtime, model):
    """Computes with the weights at the time of compiling."""
    kept = keras.models.clone_model(model)
    kept.set_weights(model.get_weights())
    return lambda inputs, tokens=None: kept(inputs, training=False)


def one_slot_later(runtime, slots, start, values):
    return type(runtime).write_slots(runtime, slots, (start + 1) % (slots.shape[2] - values.shape[2] + 1), values)


def first_weights(runtime, model, step):
    """Binds the weights that the model has when the step is compiled."""
    kept = keras.models.clone_model(model)
    kept.set_weights(model.get_weights())

    def old(inputs, state):
        values = [(new, old.value) for new, old in zip(model.variables, kept.variables, strict=True)]
        with keras.StatelessScope(values):
            return step(inputs, state)

    return lambda: old


def forgetful(runtime, model, step):
    """Returns the first state in place of the next one from the third call on."""
    calls = []

    def bound(inputs, state):
        outputs, after = step(inputs, state)
        calls.append(1)
        return outputs, (after if len(calls) < 3 else state)

    return lambda: bound


@pytest.mark.parametrize(
    ("rule", "method", "wrong"),
    [
        ("RT-04", "tensor", truncated),
        ("RT-06", "snapshot", lambda runtime, tensor: tensor),
        ("RT-08", "compile", old_weights),
        ("RT-09", "dropout", lambda runtime, inputs, rate, generator: inputs),
        ("RT-11", "can_view", lambda runtime, start, contiguous: False),
        ("RT-11", "tensor", lambda runtime, array, dtype: type(runtime).tensor(runtime, array.copy(), dtype)),
        ("RT-12", "share", lambda runtime, tensor: tensor + 1),
        ("RT-13", "write_slots", one_slot_later),
        ("RT-14", "compile_step", first_weights),
        ("RT-14", "compile_step", forgetful),
    ],
)
def test_a_runtime_that_breaks_a_rule_is_noticed(rule, method, wrong, monkeypatch, tmp_path):
    runtime = vertebra.use()
    TESTS[rule](runtime, tmp_path)
    monkeypatch.setattr(runtime, method, lambda *args: wrong(runtime, *args), raising=False)
    with pytest.raises(AssertionError) as caught:
        TESTS[rule](runtime, tmp_path)
    assert caught.value.__notes__[0].startswith(f"{rule}: ")
