"""Each activation against its formula in numpy; all of them are what transformers has without weights."""

import math

import keras
import numpy as np
import pytest

from vertebra import activations

pytestmark = pytest.mark.keras

erf = np.vectorize(math.erf)
X = np.concatenate([np.linspace(-12, 12, 97), [-1e-3, 1e-3]])


def gelu(x):
    return x * (1 + erf(x / math.sqrt(2))) / 2


def softplus(x):
    return np.log1p(np.exp(x))


FORMULAS = {
    "gelu": gelu,
    "gelu_10": lambda x: np.clip(gelu(x), -10, 10),
    "gelu_approximate": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "laplace": lambda x: (1 + erf((x - 0.707107) / (0.282095 * math.sqrt(2)))) / 2,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "linear": lambda x: x,
    "mish": lambda x: x * np.tanh(softplus(x)),
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "relu_squared": lambda x: np.maximum(x, 0) ** 2,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "sqrt_softplus": lambda x: np.sqrt(softplus(x)),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("name", activations.NAMES)
def test_each_computes_its_formula(name):
    found = activations.activation(name)(keras.ops.convert_to_tensor(X, "float32"))
    assert keras.ops.convert_to_numpy(found) == pytest.approx(FORMULAS[name](X), rel=1e-5, abs=2e-6)


@pytest.mark.parametrize("name", activations.NAMES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_dtype_stays(name, dtype):
    found = activations.activation(name)(keras.ops.convert_to_tensor(X / 12, dtype))
    assert keras.backend.standardize_dtype(found.dtype) == dtype


@pytest.mark.parametrize("name", activations.NAMES)
def test_the_name_that_is_written_means_the_same(name):
    assert activations.TRANSFORMERS[activations.transformers_name(name)] == name


@pytest.mark.parametrize("function", [activations.activation, activations.transformers_name])
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(function):
    with pytest.raises(ValueError, match=r"activation='celu', expected one of gelu, .*, tanh\."):
        function("celu")
