"""Enabling: added variables, trainable weights, unchanged weights, and outputs of the adapted layers."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra.errors import LoraConfigError, LoraStateError, LoraTargetError, UnknownNameError

pytestmark = pytest.mark.keras


@pytest.fixture
def still(golden):
    """The reference BERT without dropout, so that training is reproducible."""
    return vertebra.Backbone.from_preset(golden / "transformers", dropout=0.0, attention_dropout=0.0)


# === Added variables ===


@pytest.mark.parametrize("rank", [1, 4])
def test_as_many_parameters_are_added_as_peft_adds(backbone, rank):
    receipt = backbone.enable_lora(rank)
    assert receipt.parameters_added == 2 * 2 * rank * (16 + 16)  # layers, query and value, rank, in and out
    assert receipt.parameters_trained == receipt.parameters_added
    assert receipt.parameters_frozen == 6656
    assert sum(v.numpy().size for v in backbone.trainable_weights) == receipt.parameters_added
    assert backbone.count_params() == 6656 + receipt.parameters_added


def test_joined_axes_of_a_kernel_are_one_dimension(toy_class):
    toy = toy_class(width=8, heads=2)
    assert toy.enable_lora(3, ["attention/*"]).parameters_added == 3 * 3 * (8 + 8)


@pytest.mark.keras(once=True)
def test_the_receipt_says_what_happened(backbone):
    receipt = backbone.enable_lora(2, alpha=8)
    assert (receipt.config.rank, receipt.scale) == (2, 4)
    assert str(receipt) == (
        "lora of rank 2, scale 4, on 4 layers: 256 parameters added, 256 trained (3.70 %), 6,656 frozen"
    )


@pytest.mark.parametrize("targets", [None, ["all-linear", "token_embedding"]])
def test_outputs_do_not_change_until_it_trains(backbone, run, targets):
    before = run(backbone)
    backbone.enable_lora(4, targets)
    after = run(backbone)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_seed_repeats_the_start_and_no_two_layers_start_alike(golden, adapters):
    def starts(seed):
        backbone = vertebra.Backbone.from_preset(golden / "transformers")
        backbone.enable_lora(2, seed=seed)
        return [adapter.a.numpy() for adapter in adapters(backbone).values()]

    first, again, other, drawn = starts(1), starts(1), starts(2), starts(None)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    for values in (first, drawn):
        assert len({array.tobytes() for array in values}) == 4


def test_starts_are_those_of_peft(backbone, adapters):
    backbone.enable_lora(16, ["query", "token_embedding"])
    for path, adapter in adapters(backbone).items():
        a, b = adapter.a.numpy(), adapter.b.numpy()
        if path == "token_embedding":
            assert not a.any()
            assert 0.8 < b.std() < 1.2
        else:
            assert not b.any()
            assert 0.2 < np.abs(a).max() <= 1 / 16**0.5  # uniform in ±1/√in


QUERY, UP = "self_attention/query", "feedforward_intermediate_dense"


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("pattern", "ranks"),
    [
        ({"query": 8}, (8, 2, 8, 2)),
        ({"transformer_layer_1/self_attention/query": 8}, (2, 2, 8, 2)),
        ({"*_1/*": 8}, (2, 2, 8, 8)),
        ({"attention.query": 8}, (8, 2, 8, 2)),
        ({"mlp": 8}, (2, 8, 2, 8)),
        ({"all-linear": 8}, (8, 8, 8, 8)),
        ({"all-linear": 8, "*_0/*": 1, "query": 3}, (3, 1, 3, 8)),  # the last match wins
    ],
    ids=str,
)
def test_some_layers_have_another_rank_or_alpha(backbone, adapters, pattern, ranks):
    receipt = backbone.enable_lora(2, ["query", "mlp.up"], rank_pattern=pattern)
    layers = adapters(backbone)
    paths = [f"transformer_layer_{i}/{name}" for i in (0, 1) for name in (QUERY, UP)]
    assert [layers[path].rank for path in paths] == list(ranks)
    assert [layers[path].a.shape[1] for path in paths] == list(ranks)
    assert {layer.scale for layer in layers.values()} == {1}  # alpha equals each layer's rank
    sizes = (32, 48, 32, 48)
    assert receipt.parameters_added == sum(rank * size for rank, size in zip(ranks, sizes, strict=True))
    backbone.enable_lora(2, ["query", "mlp.up"], alpha=4, alpha_pattern=pattern, name="alphas")
    assert [adapters(backbone)[path].scale for path in paths] == [
        8 / 2 if rank == 8 else {2: 2}.get(rank, rank / 2) for rank in ranks
    ]


def test_an_alpha_for_all_is_divided_by_each_rank(backbone, adapters):
    backbone.enable_lora(2, alpha=8, rank_pattern={"query": 4})
    assert [layer.scale for layer in adapters(backbone).values()] == [2, 4, 2, 4]


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("pattern", ["key", "querry", "mlp", "transformer_layer_2/*", "pooled_dense", ""])
@pytest.mark.parametrize("field", ["rank_pattern", "alpha_pattern"])
def test_a_pattern_that_matches_none_of_the_adapted_layers_is_an_error(backbone, inputs, state, field, pattern):
    before = state(backbone, inputs)
    with pytest.raises(LoraTargetError) as caught:
        backbone.enable_lora(2, **{field: {"value": 4, pattern: 4}})
    assert caught.value.target == pattern
    assert set(caught.value.candidates) == {"query", "value"}
    assert state(backbone, inputs) == before


# === Outputs ===


def merged(plain, adapted, adapters, scale):
    """Adds each adapter's product, `s · A B`, to the kernel of the same layer of a backbone without adapters."""
    from vertebra._weights.layer_paths import layer_paths

    for path, adapter in adapters(adapted).items():
        layer = layer_paths(plain)[path]
        kernel = layer.embeddings if isinstance(layer, keras.layers.Embedding) else layer.kernel
        product = scale * (adapter.a.numpy() @ adapter.b.numpy())
        kernel.assign(kernel.numpy() + product.reshape(kernel.shape))
    return plain


def test_outputs_are_those_of_the_merged_kernels(golden, backbone, run, adapters, fill):
    backbone.enable_lora(2, ["all-linear", "token_embedding"], alpha=3)
    fill(backbone)
    plain = vertebra.Backbone.from_preset(golden / "transformers")
    expected = run(merged(plain, backbone, adapters, scale=1.5))
    found = run(backbone)
    assert all(np.abs(found[name] - expected[name]).max() <= 1e-5 for name in expected)


def test_outputs_of_einsum_layers_are_those_of_the_merged_kernels(toy_class, ids, run, adapters, fill):
    toy, plain = toy_class(), toy_class()
    plain.set_weights(toy.get_weights())
    toy.enable_lora(2, ["attention/*", "dense", "token_embedding"], alpha=1)
    assert len(adapters(toy)) == 5
    fill(toy)
    before = run(plain, ids)
    expected = run(merged(plain, toy, adapters, scale=0.5), ids)
    assert np.abs(run(toy, ids) - expected).max() <= 1e-5
    assert np.abs(run(toy, ids) - before).max() > 0.01


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
def test_a_half_precision_base_computes_as_before_and_trains_in_float32(golden, run, train, adapters, dtype):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", dtype=dtype)
    before = run(backbone)
    backbone.enable_lora(2)
    assert {variable.dtype for variable in backbone.trainable_weights} == {"float32"}
    assert {str(array.dtype) for array in run(backbone).values()} == {"bfloat16"}
    assert np.array_equal(run(backbone)["pooled_output"], before["pooled_output"])
    if dtype == "bfloat16":
        train(backbone, jit=True)
        assert all(adapter.b.numpy().any() for adapter in adapters(backbone).values())


def test_dropout_of_the_path_acts_only_while_training(backbone, inputs, run, fill, golden):
    still = vertebra.Backbone.from_preset(golden / "transformers", dropout=0.0, attention_dropout=0.0)
    still.enable_lora(4, dropout=0.5, seed=3)
    fill(still)
    first, second = (keras.ops.convert_to_numpy(still(inputs, training=True)["pooled_output"]) for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(run(still)["pooled_output"], run(still)["pooled_output"])
    backbone.enable_lora(4)
    fill(backbone)
    assert np.array_equal(run(still)["pooled_output"], run(backbone)["pooled_output"])


# === Trainable weights ===


def test_training_improves_and_leaves_the_base_to_the_last_bit(still, values, train):
    base = values(still)
    still.enable_lora(4, seed=1)
    losses = train(still, steps=5)
    assert losses[-1] < losses[0]
    after = values(still)
    assert all(np.array_equal(base[name], after[name]) for name in base)
    trained = [name for name in after if name not in base]
    assert len(trained) == 8
    assert all(after[name].any() for name in trained)


def test_a_model_that_was_compiled_before_trains_the_adapter_after(still, inputs, values):
    model = keras.Model(still.input, still.output["pooled_output"])
    target = np.zeros((3, 16))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(inputs, target, verbose=0)
    base = values(still)
    still.enable_lora(2)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(inputs, target, epochs=2, verbose=0)
    after = values(still)
    assert all(np.array_equal(base[name], after[name]) for name in base)
    assert all(array.any() for name, array in after.items() if name not in base)


def test_a_backbone_that_was_frozen_trains_its_adapter(golden, values, train):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", trainable=False)
    assert backbone.enable_lora(2).parameters_trained == 256
    before = values(backbone)
    train(backbone)
    changed = {name for name, array in values(backbone).items() if not np.array_equal(array, before[name])}
    assert changed
    assert all("/lora/" in name for name in changed)


def test_other_weights_may_be_made_trainable_beside_it(still, values, train):
    still.enable_lora(2)
    still.get_layer("embeddings_layer_norm").trainable = True
    before = values(still)
    train(still)
    changed = {name for name, array in values(still).items() if not np.array_equal(array, before[name])}
    assert {name for name in changed if "/lora/" not in name} == {
        "embeddings_layer_norm/gamma",
        "embeddings_layer_norm/beta",
    }


def test_layers_that_act_otherwise_when_frozen_are_frozen():
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(4, name="query")(inputs)
    outputs = keras.layers.BatchNormalization(name="norm")(hidden)
    backbone = vertebra.Backbone(inputs, outputs)
    backbone.enable_lora(2, ["query"])
    moving = backbone.get_layer("norm").moving_mean
    backbone(np.full((3, 4), 9.0), training=True)
    assert not moving.numpy().any()


def test_torch_finds_the_adapters_among_the_parameters(backbone, runtime):
    if runtime != "torch":
        pytest.skip("only torch keeps a list of parameters of its own")
    assert not [name for name, _ in backbone.named_parameters() if "lora" in name]
    backbone.enable_lora(2)
    trained = {id(parameter) for parameter in backbone.parameters() if parameter.requires_grad}
    assert trained == {id(variable.value) for variable in backbone.trainable_weights}


def test_variables_can_be_told_apart_by_path(backbone):
    backbone.enable_lora(2, ["all-linear"])
    paths = [variable.path for variable in backbone.weights]
    assert "transformer_layer_0/self_attention/query/lora/a" in paths
    assert len(set(paths)) == len(paths)


# === Refusals that leave the backbone unchanged ===


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"rank": 0}, "rank"),
        ({"rank": -1}, "rank"),
        ({"rank": 2.0}, "rank"),
        ({"rank": True}, "rank"),
        ({"rank": "4"}, "rank"),
        ({"rank": 10**9}, "rank"),
        ({"rank": 2, "alpha": float("nan")}, "alpha"),
        ({"rank": 2, "alpha": float("inf")}, "alpha"),
        ({"rank": 2, "alpha": 0}, "alpha"),
        ({"rank": 2, "alpha": -1}, "alpha"),
        ({"rank": 2, "dropout": 2}, "dropout"),
        ({"rank": 2, "dropout": 1}, "dropout"),
        ({"rank": 2, "dropout": float("nan")}, "dropout"),
        ({"rank": 2, "seed": "today"}, "seed"),
        ({"rank": 2, "alpha": 10**400}, "alpha"),
        ({"rank": 2, "strategy": None}, "strategy"),
        ({"rank": 2, "rank_pattern": {"query": 0}}, "rank_pattern['query']"),
        ({"rank": 2, "rank_pattern": ["query"]}, "rank_pattern"),
        ({"rank": 2, "alpha_pattern": {"query": float("nan")}}, "alpha_pattern['query']"),
        ({"rank": 2, "alpha_pattern": {5: 1.0}}, "alpha_pattern"),
        ({"rank": 2, "bias": "lora_only"}, "bias"),
        ({"rank": 2, "bias": None}, "bias"),
        ({"rank": 2, "ratio": 16.0}, "ratio"),
        ({"rank": 2, "strategy": "lora_plus", "ratios": 16.0}, "ratios"),
        ({"rank": 2, "strategy": "lora_plus", "ratio": "16"}, "ratio"),
        ({"rank": 2, "strategy": "lora_plus", "ratio": True}, "ratio"),
        ({"rank": 2, "strategy": "pissa", "iterations": 4.0}, "iterations"),
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_named(backbone, inputs, state, arguments, field):
    """LO-03, for the arguments."""
    before = state(backbone, inputs)
    with pytest.raises(LoraConfigError) as caught:
        backbone.enable_lora(**arguments)
    assert caught.value.field == field
    assert state(backbone, inputs) == before


@pytest.mark.parametrize("strategy", ["lora", "dora", "rsdora", "vera", "keras", "lora_plus"])
def test_a_rank_may_exceed_the_sides_of_a_kernel_as_in_peft(backbone, golden, fill, run, tmp_path, strategy):
    backbone.enable_lora(40, ["query", "segment_embedding"], strategy=strategy, seed=0)
    fill(backbone)
    adapted = run(backbone)["sequence_output"]
    for name in ("adapter.safetensors", "adapter"):
        backbone.save_lora_weights(tmp_path / name)
        fresh = vertebra.Backbone.from_preset(golden / "transformers")
        fresh.load_lora_weights(tmp_path / name)
        np.testing.assert_allclose(run(fresh)["sequence_output"], adapted, atol=1e-4)
    backbone.merge_lora()
    np.testing.assert_allclose(run(backbone)["sequence_output"], adapted, atol=1e-4)


@pytest.mark.keras(once=True)
def test_a_start_of_singular_vectors_has_no_more_than_the_kernel(backbone, inputs, state):
    before = state(backbone, inputs)
    with pytest.raises(LoraConfigError, match="rank=17, expected at most 16"):
        backbone.enable_lora(17, strategy="pissa")
    assert state(backbone, inputs) == before


@pytest.mark.keras(once=True)
def test_a_strategy_that_is_not_installed_is_refused_with_those_that_are(backbone, inputs, state):
    before = state(backbone, inputs)
    with pytest.raises(UnknownNameError) as caught:
        backbone.enable_lora(2, strategy="lara")
    assert caught.value.suggestions[0] == "lora"
    assert state(backbone, inputs) == before


def test_a_second_adapter_of_the_same_name_is_refused(backbone, inputs, state, fill):
    backbone.enable_lora(2)
    fill(backbone)
    before = state(backbone, inputs)
    with pytest.raises(LoraStateError) as caught:
        backbone.enable_lora(4, ["key"])
    assert "'default'" in caught.value.problem
    assert state(backbone, inputs) == before
    backbone.enable_lora(4, ["key"], name="other")
    assert list(backbone.lora_adapters) == ["other", "default"]


def test_a_layer_that_another_backbone_adapted_is_refused(still, inputs, state):
    inner = vertebra.Backbone(still.input, still.output, name="inner")
    inner.enable_lora(2, ["query"])
    before = state(still, inputs)
    with pytest.raises(LoraStateError):
        still.enable_lora(2, ["key", "query"])
    assert state(still, inputs) == before


def test_a_failure_on_the_last_layer_leaves_the_first_as_they_were(toy_class, ids, state):
    toy = toy_class(vocabulary_size=3)  # its embedding has fewer singular vectors than the rank
    before = state(toy, ids % 3)
    with pytest.raises(LoraConfigError):
        toy.enable_lora(4, ["query", "value", "token_embedding"], strategy="pissa")
    assert state(toy, ids % 3) == before
    assert toy.enable_lora(4, ["query"]).layers == ("attention/query",)


def test_a_strategy_that_fails_part_way_leaves_the_backbone_as_it_was(backbone, inputs, state, install_strategy):
    from vertebra.builtin.lora import Lora

    class Failing(Lora):
        name = "failing"
        built = 0

        def build(self, layer, view):
            super().build(layer, view)
            Failing.built += 1
            if Failing.built == 3:
                raise RuntimeError("out of memory")

    install_strategy(Failing())
    before = state(backbone, inputs)
    with pytest.raises(RuntimeError, match="out of memory"):
        backbone.enable_lora(2, strategy="failing")
    assert Failing.built == 3
    assert state(backbone, inputs) == before
    assert backbone.enable_lora(2).parameters_added == 256


def test_saving_an_adapter_that_is_not_there_is_refused(backbone, tmp_path):
    with pytest.raises(LoraStateError):
        backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("setting", "own"),
    [
        ({"r": 4}, "rank"),
        ({"rank": 4, "target_modules": ["query"]}, "target_names"),
        ({"rank": 4, "modules_to_save": ["pooled_dense"]}, "train"),
        ({"rank": 4, "lora_alpha": 8}, "alpha"),
        ({"rank": 4, "use_dora": True}, "strategy"),
    ],
    ids=str,
)
def test_a_setting_of_peft_is_answered_with_our_name(backbone, setting, own):
    with pytest.raises(LoraConfigError, match=f"did you mean '{own}'") as caught:
        backbone.enable_lora(**setting)
    assert caught.value.field == list(setting)[-1]


@pytest.mark.keras(once=True)
def test_a_rank_that_is_not_given_is_said_to_be_missing(backbone):
    with pytest.raises(LoraConfigError, match="rank is missing, expected an int from 1 to 65536 for 'lora'"):
        backbone.enable_lora()
