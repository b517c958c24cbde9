"""Compiled functions of models that are quantised in int8, on torch: the same bits as layer by layer, by any kernel."""

import warnings

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras


@pytest.fixture(autouse=True)
def only_on_torch(torch):
    """Skips the tests on other runtimes."""


@pytest.fixture(autouse=True)
def no_choices(monkeypatch):
    """No kernel was chosen before the test; none is kept after it."""
    from vertebra_torch.kernels import choices

    monkeypatch.setattr(choices, "_known", {})
    monkeypatch.setattr(choices, "_is_read", True)
    monkeypatch.setattr(choices, "runtime_folder", lambda name: None)


@pytest.fixture
def called(monkeypatch):
    """The names of the kernels that are called."""
    from vertebra_torch.kernels import int8

    calls = []

    def noted(name, kernel):
        return lambda *tensors: (calls.append(name), kernel(*tensors))[1]

    kernels = {name: noted(name, kernel) for name, kernel in int8._KERNELS.items()}
    monkeypatch.setattr(int8, "_KERNELS", kernels)
    return calls


@pytest.fixture
def choose(monkeypatch):
    """Returns a function that makes a kernel the fastest."""
    from vertebra_torch.kernels import int8, measuring

    def fastest(name):
        monkeypatch.setattr(measuring, "_HOPELESS", float("inf"))
        monkeypatch.setattr(measuring, "fastest", lambda seconds, gains: name if name in seconds else int8.OWN)

    return fastest


def quantised(arguments, **changed):
    backbone = vertebra.models.BertBackbone(**arguments | {"dropout": 0.0} | changed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras names the layers that have nothing to quantise
        backbone.quantize("int8")
    return backbone


def batch(backbone, rows, length):
    ids = np.arange(rows * length).reshape(rows, length) % backbone.vocabulary_size
    ones = np.ones((rows, length), "int32")
    return {"token_ids": ids.astype("int32"), "padding_mask": ones, "segment_ids": 0 * ones}


def same(found, expected):
    found, expected = (keras.tree.map_structure(keras.ops.convert_to_numpy, outputs) for outputs in (found, expected))
    return all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("kernel", "dtype"), [("own", "float32"), ("int8", "float32"), ("widened", "float32"), ("widened", "bfloat16")]
)
def test_each_kernel_gives_the_same_bits(arguments, called, choose, kernel, dtype):
    choose(kernel)
    backbone = quantised(arguments, dtype=dtype)
    compiled = vertebra.compile(backbone)
    for shape in [(3, 8), (2, 5)]:
        inputs = batch(backbone, *shape)
        with keras.device("cpu"):
            expected = backbone(inputs, training=False)
        compiled(inputs)
        called.clear()
        assert all(same(function(inputs), expected) for function in (compiled, compiled.packed()))
        assert set(called) == {kernel}
        assert len(called) >= 2 * 6 * backbone.num_layers


def test_sums_that_float32_rounds_are_rounded_alike(torch, called, choose):
    """A sum of 4,096 products of the largest numbers, 66,064,384, is exact in neither."""
    from vertebra_torch.kernels import int8

    rows = torch.full((3, 4096), 127, dtype=torch.int8)
    weight = torch.full((4096, 5), -127, dtype=torch.int8)
    rows[0, 0] = 1
    exact = rows.double() @ weight.double()
    for kernel in int8._KERNELS:
        choose(kernel)
        found = int8.product(rows, weight, torch.float32)
        assert found.dtype is torch.float32
        assert torch.allclose(found.double(), exact, rtol=1e-6, atol=0)


def test_kernels_are_measured_once_and_hopeless_ones_for_few_rows_alone(torch, called, monkeypatch):
    from vertebra_torch.kernels import int8, measuring

    monkeypatch.setattr(
        measuring,
        "seconds",
        lambda kernels, arguments, *_: (
            seen.append((list(kernels), len(arguments[0]))) or {name: times[name] for name in kernels}
        ),
    )
    times, seen = {"own": 5.0, "int8": 1.0, "widened": 1.5}, []
    rows, weight = torch.ones(100, 16, dtype=torch.int8), torch.ones(16, 8, dtype=torch.int8)
    for _ in range(2):
        assert torch.equal(int8.product(rows, weight, torch.float32), torch.full((100, 8), 16.0))
    assert seen == [(["own", "int8", "widened"], 8), (["int8", "widened"], 100)]
    assert called == ["int8", "int8"]


def test_no_rows_are_not_measured(torch, called):
    from vertebra_torch.kernels import int8

    empty = int8.product(torch.ones(0, 4, dtype=torch.int8), torch.ones(4, 2, dtype=torch.int8), torch.float32)
    assert empty.shape == (0, 2)
    assert called == ["own"]


def test_products_of_other_integers_stay(torch, called):
    """A product whose sums are used as integers, too, is not one of a quantised layer."""
    inputs = keras.Input((4,), dtype="int8")

    class Sums(keras.layers.Layer):
        def call(self, x):
            sums = keras.ops.matmul(x, keras.ops.transpose(x))
            return {"sums": sums, "floats": keras.ops.cast(sums, "float32")}

    model = keras.Model(inputs, Sums()(inputs))
    x = np.arange(12, dtype="int8").reshape(3, 4)
    assert same(vertebra.compile(model)(x), model(x))
    assert not called
