"""Linear views: the low-rank path equals the layer itself with the product of the matrices as its kernel."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra._lora.layers.linear_view import is_adaptable, view_of

pytestmark = pytest.mark.keras


def einsum(equation, output_shape, **arguments):
    return keras.layers.EinsumDense(equation, output_shape, **arguments)


LAYERS = {
    "dense": (lambda: keras.layers.Dense(5), (2, 3, 4), (4, 5)),
    "matrix": (lambda: einsum("ab,bc->ac", 5, bias_axes="c"), (2, 4), (4, 5)),
    "ellipsis first": (lambda: einsum("...x,xy->...y", 5, bias_axes="y"), (2, 3, 4), (4, 5)),
    "ellipsis last": (lambda: einsum("ab...,bc->ac...", 5), (2, 4, 3), (4, 5)),
    "split heads": (lambda: einsum("abc,cde->abde", (None, 2, 3), bias_axes="de"), (2, 3, 4), (4, 6)),
    "join heads": (lambda: einsum("abde,dec->abc", (None, 5), bias_axes="c"), (2, 3, 2, 4), (8, 5)),
    "produced axes first": (lambda: einsum("abc,dec->abde", (None, 2, 3)), (2, 3, 4), (4, 6)),
    "two summed": (lambda: einsum("abc,bcde->ade", (2, 3)), (2, 3, 4), (12, 6)),
    "conv1d": (lambda: keras.layers.Conv1D(5, 3, dilation_rate=2), (2, 6, 4), (12, 5)),
    "causal": (lambda: keras.layers.Conv1D(5, 3, padding="causal"), (2, 6, 4), (12, 5)),
    "conv2d": (lambda: keras.layers.Conv2D(5, (2, 3), strides=2, padding="same"), (2, 6, 6, 4), (24, 5)),
    "conv3d": (lambda: keras.layers.Conv3D(5, 2), (1, 3, 3, 3, 2), (16, 5)),
}


@pytest.fixture(params=LAYERS.values(), ids=LAYERS)
def built(request):
    """A layer with a nonzero bias, its linear view, inputs, and the expected sizes of the view."""
    make, shape, features = request.param
    layer, random = make(), np.random.default_rng(0)
    layer.build(shape)
    if layer.bias is not None:
        layer.bias.assign(random.normal(size=layer.bias.shape))
    return layer, view_of(layer), random.normal(size=shape).astype("float32"), features


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_down_and_up_equal_the_layer_with_the_product_as_kernel(built):
    layer, view, inputs, features = built
    assert (view.in_features, view.out_features) == features
    random = np.random.default_rng(1)
    a, b = (random.normal(size=size).astype("float32") for size in ((features[0], 3), (3, features[1])))
    found = array(view.up(view.down(inputs, a), b))
    view.replace(a @ b)
    assert np.allclose(found, array(view.without_bias(layer(inputs))), atol=1e-5)


def test_the_matrix_is_what_replacing_it_sets(built):
    layer, view, _, _ = built
    before, matrix = array(layer.kernel).copy(), array(view.matrix())
    view.replace(np.zeros_like(matrix))
    assert not array(layer.kernel).any()
    view.replace(matrix)
    assert np.array_equal(array(layer.kernel), before)


def test_a_vector_multiplies_the_outputs_as_it_would_the_columns_of_the_matrix(built):
    layer, view, inputs, _ = built
    vector = np.random.default_rng(2).normal(size=view.out_features).astype("float32")
    found = array(view.multiply(view.without_bias(layer(inputs)), keras.ops.convert_to_tensor(vector)))
    view.replace(array(view.matrix()) * vector)
    assert np.allclose(found, array(view.without_bias(layer(inputs))), atol=1e-5)


@pytest.mark.parametrize(
    ("equation", "shape", "kernel"),
    [("abc,cde->abde", (2, 3, 4), "cde"), ("abc,dec->abde", (2, 3, 4), "dec"), ("abde,dec->abc", (2, 3, 2, 4), "dec")],
)
def test_rows_of_the_matrix_are_inputs_and_columns_outputs_in_the_order_of_the_kernel(equation, shape, kernel):
    layer = einsum(equation, (None, 5) if equation.endswith("abc") else (None, 2, 3))
    layer.build(shape)
    assert np.array_equal(as_kernel(layer, array(view_of(layer).matrix())), array(layer.kernel))
    assert equation.split(",")[1].split("->")[0] == kernel


def as_kernel(layer, matrix):
    """Returns a matrix of shape (in, out) in the shape and order of axes of a layer's kernel."""
    operands, output = layer.equation.split("->")
    kernel = operands.split(",")[1]
    order = [axis for axis in kernel if axis not in output] + [axis for axis in kernel if axis in output]
    sizes = dict(zip(kernel, layer.kernel.shape, strict=True))
    return np.einsum(f"{''.join(order)}->{kernel}", matrix.reshape([sizes[axis] for axis in order]))


@pytest.mark.parametrize(
    ("layer", "shape", "problem"),
    [
        (lambda: einsum("abcd,bde->abce", (2, 3, 5)), (2, 2, 3, 4), "abcd,bde->abce"),
        (lambda: keras.layers.Conv1D(4, 1, groups=2), (2, 6, 4), "2 groups"),
    ],
    ids=["shared axis", "groups"],
)
def test_a_layer_that_is_no_single_linear_map_is_refused(layer, shape, problem):
    layer = layer()
    layer.build(shape)
    with pytest.raises(ValueError, match=problem):
        view_of(layer)


@pytest.mark.parametrize("kind", ["Embedding", "ReversibleEmbedding"])
def test_an_embedding_looks_up_rows_of_the_product(kind):
    layer = getattr(keras.layers, kind)(7, 4)
    layer.build((2, 3))
    view, random = view_of(layer), np.random.default_rng(0)
    assert view.is_lookup
    a, b = random.normal(size=(7, 2)).astype("float32"), random.normal(size=(2, 4)).astype("float32")
    rows = np.array([[0, 6, 3], [3, 3, 1]])
    found = keras.ops.convert_to_numpy(view.up(view.down(rows, a), b))
    assert np.allclose(found, (a @ b)[rows], atol=1e-6)
    assert np.allclose(found, keras.ops.convert_to_numpy(view.up(view.down(rows.astype("float32"), a), b)))


def test_what_can_be_adapted_is_a_built_layer_with_a_kernel_of_its_own():
    dense = keras.layers.Dense(2)
    assert not is_adaptable(dense)
    dense.build((None, 3))
    assert is_adaptable(dense)
    others = keras.layers.DepthwiseConv1D(2), keras.layers.LayerNormalization()
    for other in others:
        other.build((None, 3, 3))
    assert not any(is_adaptable(other) for other in others)


# === Lookups of an architecture's own ===


class Positions(keras.layers.Layer):
    """Adds rows of a table to the inputs, by their positions."""

    def build(self, shape):
        self.embeddings = self.add_weight(name="embeddings", shape=(5, shape[-1]), initializer="random_normal")

    def call(self, inputs):
        return inputs + keras.ops.take(self.embeddings, self.lookup_indices(inputs), axis=0)

    def lookup_indices(self, inputs):
        return keras.ops.broadcast_to(keras.ops.arange(inputs.shape[1]), inputs.shape[:2])


@pytest.fixture
def positions():
    """A model that looks up positions, and its inputs."""
    model = keras.Sequential([keras.Input((3, 4)), Positions(name="positions")])
    return model, np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")


def test_a_layer_with_lookup_indices_is_adapted_as_a_lookup(positions):
    model, inputs = positions
    before = array(model(inputs))
    vertebra.lora.enable(model, 2, ["positions"], seed=0)
    assert np.array_equal(array(model(inputs)), before)
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(1).normal(size=variable.shape))
    a, b = (variable.numpy() for variable in model.trainable_variables)
    assert np.allclose(array(model(inputs)), before + (a @ b)[:3], atol=1e-5)
    adapted = array(model(inputs))
    vertebra.lora.merge(model)
    assert np.allclose(array(model(inputs)), adapted, atol=1e-5)


def test_each_row_may_have_its_own_adapter_of_positions(positions):
    model, inputs = positions
    outputs = {None: array(model(inputs))}
    for name in ("a", "b"):
        vertebra.lora.enable(model, 2, ["positions"], name=name, seed=0)
        for variable in model.trainable_variables:
            variable.assign(np.random.default_rng(ord(name)).normal(size=variable.shape))
        outputs[name] = array(model(inputs))
    with vertebra.lora.rows(model, ["a", "b"]):
        found = array(model(inputs))
    assert np.allclose(found[0], outputs["a"][0], atol=1e-5)
    assert np.allclose(found[1], outputs["b"][1], atol=1e-5)


def test_a_layer_with_only_a_table_is_not_adapted(positions):
    layer = positions[0].layers[-1]
    assert is_adaptable(layer)
    layer.lookup_indices = None
    assert not is_adaptable(layer)
