"""Sites: the low-rank path equals the layer itself with the product of the matrices as its kernel."""

import keras
import numpy as np
import pytest

from vertebra._lora.sites import is_adaptable, site_of

pytestmark = pytest.mark.keras


def einsum(equation, output_shape, **arguments):
    return keras.layers.EinsumDense(equation, output_shape, **arguments)


@pytest.mark.parametrize(
    ("layer", "shape", "features"),
    [
        (lambda: keras.layers.Dense(5, use_bias=False), (2, 3, 4), (4, 5)),
        (lambda: einsum("ab,bc->ac", 5), (2, 4), (4, 5)),
        (lambda: einsum("...x,xy->...y", 5), (2, 3, 4), (4, 5)),
        (lambda: einsum("ab...,bc->ac...", 5), (2, 4, 3), (4, 5)),
        (lambda: einsum("abc,cde->abde", (None, 2, 3)), (2, 3, 4), (4, 6)),
        (lambda: einsum("abde,dec->abc", (None, 5)), (2, 3, 2, 4), (8, 5)),
        (lambda: einsum("abc,dec->abde", (None, 2, 3)), (2, 3, 4), (4, 6)),
        (lambda: einsum("abcd,bde->abce", (2, 3, 5)), (2, 2, 3, 4), None),
        (lambda: einsum("abc,bcde->ade", (2, 3)), (2, 3, 4), (12, 6)),
    ],
    ids=[
        "dense",
        "matrix",
        "ellipsis first",
        "ellipsis last",
        "split heads",
        "join heads",
        "produced axes first",
        "shared axis",
        "two summed",
    ],
)
def test_down_and_up_equal_the_layer_with_the_product_as_kernel(layer, shape, features):
    layer = layer()
    layer.build(shape)
    if features is None:
        with pytest.raises(ValueError, match=r"abcd,bde->abce"):
            site_of(layer)
        return
    site, random = site_of(layer), np.random.default_rng(0)
    assert (site.in_features, site.out_features) == features
    a, b = (random.normal(size=size).astype("float32") for size in ((features[0], 3), (3, features[1])))
    inputs = random.normal(size=shape).astype("float32")
    found = keras.ops.convert_to_numpy(site.up(site.down(inputs, a), b))
    layer.kernel.assign(as_kernel(layer, a @ b))
    assert np.allclose(found, keras.ops.convert_to_numpy(layer(inputs)), atol=1e-5)


def as_kernel(layer, matrix):
    """Gives a matrix of shape (in, out) the shape and order of axes of a layer's kernel."""
    if not isinstance(layer, keras.layers.EinsumDense):
        return matrix
    operands, output = layer.equation.split("->")
    kernel = operands.split(",")[1]
    order = [axis for axis in kernel if axis not in output] + [axis for axis in kernel if axis in output]
    sizes = dict(zip(kernel, layer.kernel.shape, strict=True))
    return np.einsum(f"{''.join(order)}->{kernel}", matrix.reshape([sizes[axis] for axis in order]))


@pytest.mark.parametrize("kind", ["Embedding", "ReversibleEmbedding"])
def test_an_embedding_looks_up_rows_of_the_product(kind):
    layer = getattr(keras.layers, kind)(7, 4)
    layer.build((2, 3))
    site, random = site_of(layer), np.random.default_rng(0)
    assert site.is_lookup
    a, b = random.normal(size=(7, 2)).astype("float32"), random.normal(size=(2, 4)).astype("float32")
    rows = np.array([[0, 6, 3], [3, 3, 1]])
    found = keras.ops.convert_to_numpy(site.up(site.down(rows, a), b))
    assert np.allclose(found, (a @ b)[rows], atol=1e-6)
    assert np.allclose(found, keras.ops.convert_to_numpy(site.up(site.down(rows.astype("float32"), a), b)))


def test_what_can_be_adapted_is_a_built_layer_with_a_plain_kernel():
    dense = keras.layers.Dense(2)
    assert not is_adaptable(dense)
    dense.build((None, 3))
    assert is_adaptable(dense)
    others = keras.layers.Conv1D(2, 1), keras.layers.LayerNormalization()
    for other in others:
        other.build((None, 3, 3))
    assert not any(is_adaptable(other) for other in others)
