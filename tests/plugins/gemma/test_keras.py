"""What Keras does with a model, done with a Gemma: train, save, clone, quantise, choose a precision, lay it out."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra_gemma.decoder import RMSNormalization

pytestmark = pytest.mark.keras


@pytest.fixture
def train(inputs):
    """Trains a backbone's output towards 0 for one step; returns the loss."""

    def fit(backbone, inputs=inputs):
        model = keras.Model(backbone.input, backbone.output)
        model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
        target = np.zeros((*inputs["token_ids"].shape, *backbone.output.shape[2:]), "float32")
        return model.fit(inputs, target, verbose=0).history["loss"][0]

    return fit


def changed(before, after):
    return {name for name in before if not np.array_equal(before[name], after[name])}


@pytest.mark.parametrize("overrides", [{}, {"attention_bias": True}], ids=str)
def test_every_weight_trains(gemma2, make, train, values, overrides):
    backbone = make(**gemma2 | overrides)
    before = values(backbone)
    train(backbone)
    assert changed(before, values(backbone)) == before.keys()


def test_a_frozen_weight_does_not_train(make, train, values):
    backbone = make()
    backbone.get_layer("decoder_block_1").trainable = backbone.token_embedding.trainable = False
    before = values(backbone)
    train(backbone)
    frozen = {name for name in before if name.startswith(("decoder_block_1/", "token_embedding/"))}
    assert changed(before, values(backbone)) == before.keys() - frozen


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_training_on_rows_of_padding_alone_gives_numbers(arguments, gemma2, make, train, values, inputs, dropout):
    padded = inputs | {"padding_mask": inputs["padding_mask"] * np.array([[1], [1], [1], [0]], "int32")}
    for given in (arguments, gemma2):
        backbone = make(**given, dropout=dropout)
        assert np.isfinite(train(backbone, padded))
        assert all(np.isfinite(array).all() for array in values(backbone).values())


def test_lora_trains_query_and_value(make, train, values):
    backbone = make()
    assert backbone.enable_lora(2).layers == tuple(
        f"decoder_block_{i}/attention/{name}" for i in range(3) for name in ("query", "value")
    )
    before = values(backbone)
    train(backbone)
    trained = changed(before, values(backbone))
    assert trained
    assert all("lora" in name for name in trained)


@pytest.mark.parametrize("role", sorted(vertebra.models.GemmaBackbone.lora_roles))
def test_every_role_has_layers(make, role):
    assert len(make().enable_lora(2, [role]).layers) == (1 if role == "embedding.token" else 3)


def test_parameters_are_counted_and_listed(make, arguments):
    backbone = make()
    width, queries, keys, inner = 16, 4 * 6, 2 * 6, 24
    block = width * (2 * queries + 2 * keys + 3 * inner + 2)
    assert backbone.count_params() == 101 * width + 3 * block + width
    lines = []
    backbone.summary(print_fn=lines.append)
    assert "decoder_block_2" in "\n".join(lines)


def test_layers_have_kerashubs_names(make):
    backbone = make()
    names = [layer.name for layer in backbone.layers if layer.weights]
    assert names == ["token_embedding", *(f"decoder_block_{i}" for i in range(3)), "final_normalization"]
    assert isinstance(backbone.token_embedding, keras.layers.ReversibleEmbedding)
    assert backbone.transformer_layers == [backbone.get_layer(f"decoder_block_{i}") for i in range(3)]


def test_a_keras_file_holds_all_of_it(tmp_path, gemma2, make, run):
    backbone = make(**gemma2, layer_types=["full_attention", "sliding_attention", "full_attention"])
    backbone.save(tmp_path / "gemma.keras")
    again = vertebra.load_model(tmp_path / "gemma.keras")
    assert type(again) is type(backbone)
    assert np.array_equal(run(again), run(backbone))


def test_a_model_on_top_of_it_can_be_saved(tmp_path, gemma2, make, run):
    backbone = make(**gemma2)
    model = keras.Model(backbone.inputs, keras.layers.Dense(2, name="head")(backbone.output))
    model.save(tmp_path / "head.keras")
    assert np.array_equal(run(vertebra.load_model(tmp_path / "head.keras")), run(model))


def test_a_clone_computes_the_same(gemma2, make, run):
    backbone = make(**gemma2)
    clone = keras.models.clone_model(backbone)
    clone.set_weights(backbone.get_weights())
    assert np.array_equal(run(clone), run(backbone))


def test_a_native_preset_holds_all_of_it(tmp_path, gemma2, make, run):
    backbone = make(**gemma2, rope_max_wavelength=100.0, activation="silu")
    backbone.save_to_preset(tmp_path / "preset")
    again = vertebra.Backbone.from_preset(tmp_path / "preset")
    assert again.get_config() == backbone.get_config() | {"name": again.name}
    assert np.array_equal(run(again), run(backbone))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_quantised_weights_compute_nearly_the_same(gemma2, make, run, inputs):
    backbone = make(**gemma2)
    before = run(backbone)
    backbone.quantize("int8")
    assert all(layer.query.kernel.dtype == "int8" for layer in (b.attention for b in backbone.transformer_layers))
    gap = np.abs(run(backbone) - before)[inputs["padding_mask"] == 1]
    assert 0 < gap.mean() < 0.1


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16"])
def test_lower_precisions_compute_nearly_the_same(gemma2, make, run, inputs, policy):
    full, lower = make(**gemma2), make(**gemma2, dtype=policy)
    lower.set_weights(full.get_weights())
    kept = "float32" if policy.startswith("mixed") else policy
    assert {variable.dtype for variable in lower.weights} == {kept}
    assert keras.backend.standardize_dtype(lower(inputs).dtype) == policy.removeprefix("mixed_")
    gap = np.abs(run(lower) - run(full))[inputs["padding_mask"] == 1]
    assert 0 < gap.mean() < 0.05


def test_normalisation_rounds_once_in_mixed_precision():
    random = np.random.default_rng(0)
    x, scale = random.normal(size=(64, 16)), random.normal(size=16)
    full, mixed = (RMSNormalization(1e-6, dtype=policy) for policy in ("float32", "mixed_bfloat16"))
    x = keras.ops.cast(x, "bfloat16")
    for layer in (full, mixed):
        layer.build((None, 16))
        layer.scale.assign(scale)
    expected = keras.ops.cast(full(keras.ops.cast(x, "float32")), "bfloat16")
    assert keras.ops.convert_to_numpy(keras.ops.all(mixed(x) == expected))


def test_weights_are_laid_out_over_devices(make):
    mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), ["cpu:0"])
    backbone = make()
    layout = type(backbone).get_layout_map(mesh)
    axes = {variable.path: layout[variable.path] for variable in backbone.weights}
    assert {len(found.axes) for path, found in axes.items() if "kernel" in path} == {2}
    assert axes["token_embedding/embeddings"].axes == ("model", "batch")
    with pytest.raises(ValueError, match="'rows'"):
        type(backbone).get_layout_map(mesh, "rows")


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_every_layer_has_the_dtype_policy(arguments, gemma2, policy):
    backbone = vertebra.models.GemmaBackbone(**gemma2, dtype=policy)
    policies = {layer.dtype_policy.name for layer in backbone._flatten_layers() if layer.name not in backbone.input}
    assert policies == {policy}
