"""Caches: new tokens attend to the same tokens as in one call with all, whatever the calls, windows and padding."""

import contextlib

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from vertebra import CacheLayer, CacheLayout, layers
from vertebra.layers import caches

pytestmark = pytest.mark.keras

ROWS = 2
WINDOWS = st.lists(st.sampled_from([None, 1, 2, 3, 5, 40]), min_size=1, max_size=3)
CALLS = st.lists(st.tuples(st.sampled_from([1, 1, 2, 4]), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=7)
"""For each call the number of slots, and the padding that each row begins with."""


def padded(calls):
    """Returns the padding of each row in each call, of which a token follows each."""
    return [(size, (min(one, size - 1), min(other, size - 1))) for size, one, other in calls]


@given(windows=WINDOWS, calls=CALLS, growth=st.integers(0, 3))
@settings(max_examples=25)
def test_tokens_see_those_before_them_in_any_schedule(windows, calls, growth):
    """Keys and values name row, position and layer, so that each token's set of seen ones is compared.

    The cache has the slots of the first calls, and grows when more are needed.
    """
    calls = padded(calls)
    gap = max(sum(padding[row] for _, padding in calls) for row in range(ROWS))
    declared = tuple(CacheLayer(2, 3, window) for window in windows)
    layout = CacheLayout(declared, calls[0][0] + growth, gap)
    cache, slot, before = layers.empty_cache(layout, ROWS, "float32"), 0, [0] * ROWS
    for size, padding in calls:
        if slot + size > layout.capacity:
            larger = CacheLayout(declared, slot + size + growth, gap)
            cache, layout = layers.grown_cache(cache, layout, larger), larger
        positions = np.full((ROWS, size), layers.PADDING, "int32")
        for row in range(ROWS):
            count = size - padding[row]
            positions[row, padding[row] :] = np.arange(before[row], before[row] + count)
            before[row] += count
        call = layers.Decoding(cache, layout, tensor(positions), tensor(np.int32(slot)), is_first=not slot)
        check_call(call, declared, positions)
        cache, slot = call.result, slot + size


def check_call(call, declared, positions):
    with layers.decoding(call):
        assert np.array_equal(array(layers.positions(tensor(positions))), np.maximum(positions, 0))
        for number, layer in enumerate(declared):
            key = names(positions, layer, number)
            keys, values = map(array, layers.cached(tensor(key), tensor(key + 0.5)))
            mask = array(layers.CausalMask(layer.window)(tensor((positions >= 0).astype("int32"))))
            assert mask.shape == (ROWS, 1, positions.shape[1], keys.shape[1])
            for row, slot in np.argwhere(positions >= 0):
                own = positions[row, slot]
                first = 0 if layer.window is None else max(0, own - layer.window + 1)
                seen = np.sort(keys[row, mask[row, 0, slot], 0, 0])
                assert np.array_equal(seen, name(row, np.arange(first, own + 1), number)), (row, own, layer)
                assert np.array_equal(np.sort(values[row, mask[row, 0, slot], -1, -1]), seen + 0.5)


def name(row, position, number):
    return 1000.0 * (row + 1) + position + 100_000.0 * number


def names(positions, layer, number):
    """Returns keys of shape (rows, tokens, heads, width) that name row, position and layer."""
    found = name(np.arange(ROWS)[:, None], positions, number).astype("float32")
    return np.broadcast_to(found[:, :, None, None], (*positions.shape, layer.heads, layer.width)).copy()


def tensor(array):
    return ops.convert_to_tensor(array)


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


# === Without a cache ===


@given(
    window=st.sampled_from([None, 1, 2, 7]),
    tokens=st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=3),
)
@settings(max_examples=20)
def test_the_mask_of_a_whole_text(window, tokens):
    mask = np.array(tokens, "int32")
    found = array(layers.CausalMask(window)(tensor(mask)))
    assert found.shape == (len(mask), 1, 6, 6)
    for row, query, key in np.ndindex(len(mask), 6, 6):
        near = query >= key and (window is None or query - key < window)
        assert found[row, 0, query, key] == (near and (mask[row, key] == 1 or query == key))


def test_outside_of_decoding_nothing_is_cached():
    key, value = tensor(np.ones((2, 4, 1, 3))), tensor(np.zeros((2, 4, 1, 3)))
    found = layers.cached(key, value)
    assert found[0] is key
    assert found[1] is value
    assert array(layers.positions(key)).tolist() == [[0, 1, 2, 3]]
    assert not caches.is_decoding()


@pytest.mark.keras(once=True)
def test_the_layer_is_described_by_its_config():
    layer = layers.CausalMask(5, name="mask")
    assert layers.CausalMask.from_config(layer.get_config()).get_config() == layer.get_config()
    spec = layer.compute_output_spec(keras.KerasTensor((None, None), "int32"))
    assert (spec.shape, spec.dtype) == ((None, 1, None, None), "bool")


@pytest.mark.keras(once=True)
def test_a_call_that_fails_ends_decoding():
    layout = CacheLayout((CacheLayer(1, 2),), 4)
    call = layers.Decoding(
        layers.empty_cache(layout, 1, "float32"), layout, tensor(np.zeros((1, 1), "int32")), tensor(np.int32(0)),
        is_first=True,
    )  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt), layers.decoding(call):
        assert caches.is_decoding()
        raise KeyboardInterrupt
    assert not caches.is_decoding()


def test_a_larger_cache_holds_the_same_tokens():
    layout = CacheLayout((CacheLayer(1, 2), CacheLayer(1, 2, 3)), 4, 1)
    larger = CacheLayout(layout.layers, 9, 1)
    positions = np.array([[-1, 0, 1]], "int32")
    call = layers.Decoding(
        layers.empty_cache(layout, 1, "float32"), layout, tensor(positions), tensor(np.int32(0)), is_first=True
    )
    for _ in layout.layers:
        call.store(tensor(np.ones((1, 3, 1, 2), "float32")), tensor(np.ones((1, 3, 1, 2), "float32")))
    grown = layers.grown_cache(call.result, layout, larger)
    assert [tuple(key.shape) for key in grown.keys] == [(1, 1, 9, 2), (1, 1, 4, 2)]
    assert array(grown.positions[0]).tolist() == [[-1, 0, 1, -1, -1, -1, -1, -1, -1]]
    assert array(grown.positions[1]).tolist() == [[-1, 0, 1, -1]]
    for before, after in zip(call.result.values, grown.values, strict=True):
        count = before.shape[2]
        assert np.array_equal(array(after)[:, :, :count], array(before))
        assert not array(after)[:, :, count:].any()
