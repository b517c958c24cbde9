"""`vertebra.lora` on custom Keras models: all kinds of layers, which do not change, and users' own files."""

import keras
import numpy as np
import pytest

from vertebra import lora
from vertebra.errors import LoraStateError, LoraTargetError

pytestmark = pytest.mark.keras


@pytest.fixture
def image_model():
    """A functional model with convolutions, a nested model and a layer that is used twice."""
    inputs = keras.Input((8, 8, 3), name="image")
    convolved = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="stem")(inputs)
    inner = keras.Sequential([keras.Input((4, 4, 4)), keras.layers.Conv2D(4, 1, name="pointwise")], name="block")
    pooled = keras.layers.GlobalAveragePooling2D()(inner(convolved))
    shared = keras.layers.Dense(4, name="shared")
    outputs = keras.layers.Dense(2, name="head")(shared(shared(pooled)))
    return keras.Model(inputs, outputs)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")


def compute(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def randomise(model):
    random = np.random.default_rng(1)
    for variable in model.trainable_weights:
        variable.assign(random.normal(size=variable.shape) * 0.3)


def test_any_layer_with_a_kernel_is_adapted_in_place(image_model, images):
    layers = [image_model.get_layer(name) for name in ("stem", "block", "shared", "head")]
    before = compute(image_model, images)
    receipt = lora.enable(image_model, 2, ["all-linear"])
    assert receipt.layers == ("stem", "block/pointwise", "shared", "head")
    assert receipt.parameters_added == 2 * (27 + 4) + 2 * (4 + 4) + 2 * (4 + 4) + 2 * (4 + 2)
    assert [image_model.get_layer(layer.name) for layer in layers] == layers
    assert np.array_equal(compute(image_model, images), before)


def test_what_is_added_is_what_merging_adds(image_model, images):
    lora.enable(image_model, 2, ["all-linear"])
    randomise(image_model)
    adapted = compute(image_model, images)
    lora.merge(image_model)
    assert np.abs(compute(image_model, images) - adapted).max() <= 1e-5
    lora.unmerge(image_model)
    assert np.array_equal(compute(image_model, images), adapted)


def test_it_trains_is_saved_loaded_and_unloaded(image_model, images, tmp_path):
    copy = keras.models.clone_model(image_model)
    copy.set_weights(image_model.get_weights())
    before, weights = compute(image_model, images), image_model.get_weights()
    lora.enable(image_model, 2, ["stem", "block/*", "head"], seed=0)
    image_model.compile(keras.optimizers.Adam(0.05), "mse")
    losses = image_model.fit(images, np.ones((5, 2)), epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    trained = compute(image_model, images)
    lora.save(image_model, tmp_path / "adapter.safetensors")
    lora.unload(image_model)
    assert np.array_equal(compute(image_model, images), before)
    assert all(np.array_equal(a, b) for a, b in zip(weights, image_model.get_weights(), strict=True))
    lora.load(copy, tmp_path / "adapter.safetensors")
    assert np.array_equal(compute(copy, images), trained)
    assert list(lora.adapters(copy)) == ["default"]


def test_the_model_itself_is_saved_with_the_adapter_merged(image_model, images, tmp_path):
    lora.enable(image_model, 2, ["head"])
    randomise(image_model)
    image_model.save(tmp_path / "adapted.keras")
    plain = keras.saving.load_model(tmp_path / "adapted.keras")
    assert np.allclose(compute(plain, images), compute(image_model, images), atol=1e-6)
    lora.merge(image_model, reversible=False)
    image_model.save(tmp_path / "model.keras")
    assert np.array_equal(
        compute(keras.saving.load_model(tmp_path / "model.keras"), images), compute(image_model, images)
    )


def test_targets_must_be_named_and_are_listed(image_model):
    with pytest.raises(LoraTargetError) as caught:
        lora.enable(image_model, 2)
    assert caught.value.candidates == ["head", "pointwise", "shared", "stem"]


@pytest.mark.parametrize("kind", ["Conv1D", "Conv2D", "Conv3D"])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_convolutions_of_every_size(kind, padding):
    size = int(kind[4])
    layer = getattr(keras.layers, kind)(5, 2, strides=2, padding=padding, activation="tanh", name="conv")
    model = keras.Sequential([keras.Input((5,) * size + (3,)), layer])
    inputs = np.random.default_rng(0).normal(size=(2, *(5,) * size, 3)).astype("float32")
    lora.enable(model, 2, ["conv"])
    randomise(model)
    adapted = compute(model, inputs)
    lora.merge(model)
    assert np.abs(compute(model, inputs) - adapted).max() <= 1e-5


def test_a_causal_convolution_is_adapted_as_it_pads():
    model = keras.Sequential([keras.Input((6, 3)), keras.layers.Conv1D(4, 3, padding="causal", name="conv")])
    inputs = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
    lora.enable(model, 2, ["conv"])
    randomise(model)
    adapted = compute(model, inputs)
    lora.merge(model)
    assert np.abs(compute(model, inputs) - adapted).max() <= 1e-5


def test_a_convolution_in_groups_is_refused():
    model = keras.Sequential([keras.Input((6, 4)), keras.layers.Conv1D(4, 3, groups=2, name="conv")])
    with pytest.raises(LoraTargetError, match="a convolution in 2 groups"):
        lora.enable(model, 2, ["conv"])


def test_two_models_that_share_a_layer_adapt_it_one_at_a_time(image_model):
    submodel = keras.Model(image_model.input, image_model.get_layer("stem").output)
    lora.enable(image_model, 2, ["stem"])
    with pytest.raises(LoraStateError, match="shares these layers has an adapter for them: stem"):
        lora.enable(submodel, 2, ["stem"])
    assert lora.adapters(submodel) == {}
    lora.unload(image_model)
    lora.enable(submodel, 2, ["stem"])


def test_a_subclassed_model_that_is_built_is_adapted():
    class Users(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(3, name="inner")

        def call(self, inputs):
            return self.inner(inputs)

    model, inputs = Users(), np.ones((2, 4), "float32")
    model(inputs)
    lora.enable(model, 2, ["inner"])
    randomise(model)
    adapted = compute(model, inputs)
    lora.disable(model)
    assert not np.array_equal(compute(model, inputs), adapted)
