"""The network: what its arguments change, and what they may not be."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra.errors import MeshError
from vertebra_llama.rotary import RotaryEmbedding, rotate

pytestmark = pytest.mark.keras(once=True)

SIZES = {"vocabulary_size": 61, "num_layers": 2, "num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 16}
SIZES |= {"intermediate_dim": 24}
SLIDING, FULL = "sliding_attention", "full_attention"
IDS = np.random.default_rng(1).integers(1, 61, (2, 9), dtype="int32")


def make(name="Llama", **arguments):
    keras.utils.set_random_seed(0)
    return getattr(vertebra.models, f"{name}Backbone")(**SIZES | {"initializer_range": 0.5} | arguments)


def states(backbone, ids=IDS):
    return keras.ops.convert_to_numpy(backbone({"token_ids": ids}, training=False))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"num_key_value_heads": 3}, "num_key_value_heads=3, expected a divisor of num_query_heads=4"),
        ({"hidden_dim": 18}, "num_query_heads=4, expected a divisor of hidden_dim=18, or a head_dim"),
        ({"head_dim": 5}, "partial_rotary_factor=1.0, expected an even number of the 5 elements of a head"),
        ({"partial_rotary_factor": 0.25}, "partial_rotary_factor=0.25, expected an even number of the 4 elements"),
        ({"partial_rotary_factor": 1.5}, "partial_rotary_factor=1.5, expected a finite number, above 0 and at most 1"),
        ({"rope_layer_enabled_list": [True]}, r"rope_layer_enabled_list=\[True\], expected True or False for each of"),
        ({"rope_layer_enabled_list": [1, 0]}, r"rope_layer_enabled_list=\[1, 0\], expected a list, each item True"),
        (
            {"layer_types": [FULL]},
            r"layer_types=\['full_attention'\], expected 'sliding_attention' or 'full_attention'",
        ),
        ({"layer_types": [FULL, SLIDING]}, "expected types that agree with sliding_window=None"),
        ({"layer_types": [FULL, FULL], "sliding_window": 3}, "expected types that agree with sliding_window=3"),
        ({"rope_scaling": {"rope_type": "linear"}}, r"rope_scaling\['factor'\]=None, expected a number above 0"),
        ({"rope_scaling": "linear"}, "rope_scaling='linear', expected None, or a rope_type of"),
    ],
    ids=str,
)
def test_arguments_that_have_no_meaning_are_named(arguments, told):
    with pytest.raises(ValueError, match=told):
        make(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"head_dim": 6},
        {"sliding_window": 3},
        {"sliding_window": 3, "layer_types": [FULL, SLIDING]},
        {"rope_max_wavelength": 7.0},
        {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        {"partial_rotary_factor": 0.5},
        {"rope_layer_enabled_list": [True, False]},
        {"query_key_norm": True},
        {"layer_norm_epsilon": 0.5},
        {"activation": "gelu"},
    ],
    ids=str,
)
def test_each_argument_changes_the_outputs(arguments):
    plain, changed = make(), make(**arguments)
    shapes = {name: variable.shape for name, variable in plain.named_weights().items()}
    if {name: variable.shape for name, variable in changed.named_weights().items()} == shapes:
        changed.set_weights(plain.get_weights())
    assert np.abs(states(plain) - states(changed)).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "weights", "others"),
    [
        ("Llama", {"token_embedding/reverse_embeddings"}, "/bias"),
        ("Mistral", {"token_embedding/reverse_embeddings"}, "/bias"),
        ("Qwen2", {"transformer_layer_0/self_attention/query/bias"}, "reverse_embeddings"),
        ("Qwen2", {"transformer_layer_0/self_attention/value/bias"}, "attention_output/bias"),
        ("Qwen3", {"transformer_layer_1/self_attention/key_norm/scale"}, "/bias"),
        ("SmolLM3", {"token_embedding/embeddings"}, "reverse_embeddings"),
        ("Phi3", {"token_embedding/reverse_embeddings"}, "/bias"),
    ],
)
def test_each_class_has_its_own_weights(name, weights, others):
    found = make(name).named_weights().keys()
    assert weights <= found
    assert not any(weight.endswith(others) for weight in found)


def test_a_token_does_not_see_what_is_after_it_or_before_its_window():
    backbone = make(sliding_window=3, num_layers=1)
    before, changed = states(backbone), IDS.copy()
    changed[:, 4] = IDS[:, 4] % 60 + 1
    moved = np.abs(states(backbone, changed) - before).max(axis=(0, 2)) > 1e-6
    assert moved.tolist() == [False] * 4 + [True] * 3 + [False] * 2


def test_logits_are_those_of_the_own_matrix_or_of_the_table():
    hidden = np.random.default_rng(0).normal(size=(1, 2, 16)).astype("float32")
    for tied in (True, False):
        embedding = make(tie_word_embeddings=tied).token_embedding
        logits = keras.ops.convert_to_numpy(embedding(hidden, reverse=True))
        table = embedding.embeddings.numpy().T if tied else embedding.reverse_embeddings.numpy()
        np.testing.assert_allclose(logits, hidden @ table, rtol=1e-4, atol=1e-5)


def test_rotation_of_a_part_leaves_the_rest():
    x = np.random.default_rng(0).normal(size=(1, 5, 2, 8)).astype("float32")
    rotation = RotaryEmbedding(4, 500.0)(keras.ops.convert_to_tensor(x))
    found = keras.ops.convert_to_numpy(rotate(keras.ops.convert_to_tensor(x), rotation))
    np.testing.assert_array_equal(found[..., 4:], x[..., 4:])
    angle = 3 * 500.0**-0.5  # position 3, second of two pairs
    expected = x[0, 3, :, 1] * np.cos(angle) - x[0, 3, :, 3] * np.sin(angle)
    np.testing.assert_allclose(found[0, 3, :, 1], expected, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-5)


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "dynamic", "factor": 4.0},
        {"rope_type": "longrope", "factor": 1.0, "short_factor": [1.0, 1.0], "long_factor": [2.0, 3.0]},
    ],
    ids=lambda scaling: scaling["rope_type"],
)
def test_angles_depend_on_the_length_beyond_that_of_training(scaling):
    layer = RotaryEmbedding(4, 500.0, scaling | {"original_max_position_embeddings": 6})
    plain = RotaryEmbedding(4, 500.0)

    def sines(layer, length):
        return keras.ops.convert_to_numpy(layer(keras.ops.zeros((1, length, 1)))[1])

    for length in (0, 1, 6):
        np.testing.assert_allclose(sines(layer, length), sines(plain, length), atol=1e-6)
    assert np.abs(sines(layer, 7) - sines(plain, 7)).max() > 1e-2
    if scaling["rope_type"] == "dynamic":
        base = 500.0 * (4.0 * 12 / 6 - 3.0) ** (4 / 2)
        np.testing.assert_allclose(sines(layer, 12)[0, 11, 0, 1], np.sin(11 * base**-0.5), rtol=1e-4)
        assert np.abs(sines(layer, 12)[:, :7] - sines(layer, 7)).max() > 1e-3


def test_a_scaling_is_an_argument_as_json():
    scaling = {"rope_type": "longrope", "factor": 2.0, "original_max_position_embeddings": 6}
    backbone = make(rope_scaling=scaling | {"short_factor": (1.0, 2.0), "long_factor": (2, 3)}, layer_types=(FULL,) * 2)
    config = backbone.get_config()
    assert config["rope_scaling"] == scaling | {"short_factor": [1.0, 2.0], "long_factor": [2, 3]}
    assert config["layer_types"] == [FULL, FULL]
    again = type(backbone).from_config(config)
    again.set_weights(backbone.get_weights())
    np.testing.assert_array_equal(states(again), states(backbone))


@pytest.mark.keras
def test_the_weights_can_be_laid_out_over_devices(runtime):
    if runtime != "jax":
        pytest.skip("Keras distributes weights on JAX only")
    mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), keras.distribution.list_devices()[:1])
    layout = type(make()).get_layout_map(mesh)
    assert tuple(layout["transformer_layer_1/self_attention/query/kernel"].axes) == ("batch", "model")
    assert tuple(layout["token_embedding/reverse_embeddings"].axes) == ("batch", "model")
    with pytest.raises(MeshError, match="it has no axis 'rows'; its axes are batch, model"):
        type(make()).get_layout_map(mesh, "rows")
