"""Every installed strategy: starts from the base's outputs, merges, is added and removed, and is saved and loaded."""

import json

import keras
import numpy as np
import pytest

import vertebra
from vertebra._discovery import catalog
from vertebra._lora.state import adapters_of
from vertebra.errors import LoraConfigError

pytestmark = pytest.mark.keras

STRATEGIES = [entry.name for entry in catalog.catalog(catalog.STRATEGIES)]
SEVERAL = ["query", "mlp.up", "token_embedding"]

TABLE = ("trainable_tokens",)
"""Strategies of tables only."""

each_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


def given(strategy, tokens=(7, 2, 0), **settings):
    """Returns those of the settings that the strategy has, and the options that it needs."""
    own = catalog.catalog(catalog.STRATEGIES).lookup(strategy).value.settings
    without = {"rank", "alpha", "dropout"} - {*own}
    kept = {name: value for name, value in settings.items() if name.partition("_pattern")[0] not in without}
    return {"strategy": strategy} | kept | ({"token_indices": tokens} if strategy in TABLE else {})


def one(strategy):
    """Returns a kind of layer that a strategy adapts."""
    return "embedding" if strategy in TABLE else "dense"


def several(strategy):
    """Returns targets in a BERT that a strategy adapts."""
    return ["token_embedding"] if strategy in TABLE else SEVERAL


@pytest.mark.keras(once=True)
def test_there_are_thirteen():
    own = ["dora", "keras", "lora", "lora_plus", "pissa", "rsdora", "rslora", "vera"]
    assert sorted(STRATEGIES) == sorted([*own, "ia3", "loha", "lokr", "oft", "trainable_tokens"])


# === On each kind of layer ===


@each_strategy
def test_layers_of_int4_start_unchanged_and_come_back(strategy, single, call, disturb):
    model, inputs = single(one(strategy))
    model.get_layer("target").quantize("int4")
    before, _ = call(model, inputs)
    vertebra.lora.enable(model, 2, ["target"], **given(strategy), seed=1)
    assert np.array_equal(call(model, inputs)[0], before)
    disturb(model)
    assert np.abs(call(model, inputs)[0] - before).max() > 1e-2
    vertebra.lora.unload(model)
    assert np.array_equal(call(model, inputs)[0], before)


@each_strategy
def test_a_compiled_model_starts_unchanged(strategy, single):
    """To the bit, except DoRA: compiled functions may sum the squares of a column in another order."""
    model, inputs = single(one(strategy))
    before = model.predict(inputs, verbose=0)
    vertebra.lora.enable(model, 2, ["target"], **given(strategy), seed=1)
    after = model.predict(inputs, verbose=0)
    units = 2 if strategy in ("dora", "rsdora") else 0
    np.testing.assert_array_max_ulp(after, before, units) if units else np.testing.assert_array_equal(after, before)


# === Added and trained variables ===


def counts(strategy, rows, columns, rank, heads):
    """Returns how many parameters a strategy adds to one layer, and how many of them train."""
    plain = rank * (rows + columns)
    return {
        "dora": (plain + columns, plain + columns),
        "rsdora": (plain + columns, plain + columns),
        "pissa": (2 * plain, plain),
        "vera": (plain + rank + columns, rank + columns),
        "keras": (heads * rank * rows + rank * columns // heads,) * 2,
        "ia3": (columns, columns),
        "loha": (2 * plain, 2 * plain),
    }.get(strategy, (plain, plain))


@pytest.mark.parametrize(
    ("kind", "rows", "columns", "heads"),
    [("dense", 8, 5, 1), ("einsum_split", 8, 8, 2), ("einsum_join", 8, 6, 1), ("embedding", 9, 8, 1)],
)
@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in ("lokr", "oft", *TABLE)])
def test_as_many_parameters_as_the_paper_says(strategy, kind, rows, columns, heads, single):
    model, _ = single(kind)
    base = model.count_params()
    receipt = vertebra.lora.enable(model, 3, ["target"], strategy=strategy)
    added, trained = counts(strategy, rows, columns, 3, heads)
    assert (receipt.parameters_added, receipt.parameters_trained) == (added, trained)
    assert receipt.parameters_frozen == base + added - trained


@each_strategy
def test_the_same_seed_starts_the_same_and_no_seed_another(strategy, single, adapter_layer):
    def start(seed):
        model, _ = single(one(strategy))
        vertebra.lora.enable(model, 2, ["target"], **given(strategy), seed=seed)
        shared = [] if adapter_layer(model).shared is None else adapter_layer(model).shared.weights
        return [variable.numpy().tobytes() for variable in [*adapter_layer(model).weights, *shared]]

    assert start(5) == start(5)
    draws_none = strategy in ("pissa", "ia3", "oft", *TABLE)
    assert draws_none or start(5) != start(6) != start(None)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("strategy", "options", "field"),
    [
        ("lora", {"ratio": 2.0}, "ratio"),
        ("dora", {"iterations": 2}, "iterations"),
        ("lora_plus", {"ratio": "16"}, "ratio"),
        ("lora_plus", {"ratio": 0.0}, "ratio"),
        ("lora_plus", {"ratio": float("nan")}, "ratio"),
        ("lora_plus", {"ratio": float("inf")}, "ratio"),
        ("pissa", {"iterations": 1.5}, "iterations"),
        ("pissa", {"iterations": -1}, "iterations"),
        ("vera", {"d_initial": float("nan")}, "d_initial"),
        ("vera", {"d_initial": 0.0}, "d_initial"),
        ("vera", {"d_initial": None}, "d_initial"),
        ("ia3", {"alpha": 2.0}, "alpha"),
        ("ia3", {"dropout": 0.1}, "dropout"),
        ("ia3", {"feedforward": "yes"}, "feedforward"),
        ("ia3", {"feedforward": {"target": 1}}, "feedforward"),
        ("loha", {"rank_dropout": 1.0}, "rank_dropout"),
        ("lokr", {"module_dropout": -0.1}, "module_dropout"),
        ("lokr", {"decompose_factor": 0}, "decompose_factor"),
        ("oft", {"alpha": 1}, "alpha"),
        ("oft", {"eps": 0.0}, "eps"),
        ("oft", {"num_cayley_neumann_terms": 0}, "num_cayley_neumann_terms"),
        ("trainable_tokens", {"token_indices": [1]}, "target_names"),
    ],
)
def test_options_out_of_range_are_refused_and_leave_the_model_alone(strategy, options, field, single, call):
    model, inputs = single("dense")
    before, _ = call(model, inputs)
    with pytest.raises(LoraConfigError) as caught:
        vertebra.lora.enable(model, 2, ["target"], strategy=strategy, **options)
    assert caught.value.field == field
    assert vertebra.lora.adapters(model) == {}
    assert len(model.trainable_weights) == 2
    assert np.array_equal(call(model, inputs)[0], before)


# === Base weights ===


@each_strategy
def test_base_weights_keep_every_bit(strategy, backbone, values, train):
    before = {name: array.tobytes() for name, array in values(backbone).items()}

    def unchanged():
        now = values(backbone)
        return all(now[name].tobytes() == bits for name, bits in before.items())

    backbone.enable_lora(2, several(strategy), **given(strategy), name="one")
    assert unchanged()
    train(backbone, steps=2)
    assert unchanged()
    backbone.enable_lora(2, several(strategy), **given(strategy), name="two")
    train(backbone)
    backbone.activate_lora("one")
    assert unchanged()
    backbone.disable_lora()
    assert unchanged()
    backbone.unload_lora("one")
    backbone.unload_lora()
    assert {name: array.tobytes() for name, array in values(backbone).items()} == before
    assert len(backbone.trainable_weights) == len(before)


# === Saved in a file ===

LOAD = """
import sys, json, numpy as np, keras, vertebra
preset, io, folder, *strategies = sys.argv[1:]
known = np.load(io)
inputs = {name: known[name] for name in ("token_ids", "segment_ids", "padding_mask")}
for strategy in strategies:
    backbone = vertebra.Backbone.from_preset(preset)
    backbone.load_lora_weights(f"{folder}/{strategy}.safetensors")
    outputs = backbone(inputs, training=False)
    np.savez(f"{folder}/{strategy}.npz", **{name: keras.ops.convert_to_numpy(x) for name, x in outputs.items()})
"""


@pytest.fixture(scope="module")
def trained(golden, run, train, tmp_path_factory):
    """A folder with an adapter of each strategy, trained for two steps, and the outputs of each and of the base."""
    folder, outputs = tmp_path_factory.mktemp("trained"), {}
    outputs[None] = run(vertebra.Backbone.from_preset(golden / "transformers"))
    for strategy in STRATEGIES:
        backbone = vertebra.Backbone.from_preset(golden / "transformers")
        settings = given(
            strategy, [84, 60, 20], alpha=3, dropout=0.1, rank_pattern={"mlp.up": 4 if strategy == "oft" else 2}
        )
        backbone.enable_lora(4, several(strategy), **settings, seed=0, train=["pooled_dense"])
        train(backbone, steps=2)
        backbone.save_lora_weights(folder / f"{strategy}.safetensors")
        outputs[strategy] = run(backbone)
    return folder, outputs


@pytest.fixture(scope="module")
def computed(trained, golden, child):
    """Computes with all these adapters in one fresh process on a runtime."""
    folder, _ = trained

    def outputs(runtime):
        child(LOAD, golden / "transformers", golden / "io.npz", folder, *STRATEGIES, on=runtime)
        return {strategy: dict(np.load(folder / f"{strategy}.npz")) for strategy in STRATEGIES}

    return outputs


@pytest.fixture(scope="module")
def here(computed, runtime):
    return computed(runtime)


@pytest.fixture(scope="module")
def there(computed, other_runtime):
    return computed(other_runtime)


@each_strategy
def test_a_fresh_process_computes_the_same_bits(strategy, trained, here):
    expected = trained[1][strategy]
    assert all(np.array_equal(here[strategy][name], expected[name]) for name in expected)
    assert np.abs(expected["sequence_output"] - trained[1][None]["sequence_output"]).max() > 1e-5


@each_strategy
def test_the_other_runtime_computes_the_same(strategy, trained, there):
    for name, expected in trained[1][strategy].items():
        np.testing.assert_allclose(there[strategy][name], expected, atol=1e-5)


@each_strategy
def test_a_loaded_adapter_trains_on(strategy, trained, golden, train):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", dropout=0.0, attention_dropout=0.0)
    receipt = backbone.load_lora_weights(trained[0] / f"{strategy}.safetensors")
    assert receipt.config.strategy == strategy
    losses = train(backbone, steps=4, rate=0.05)
    assert losses[-1] < losses[0]


# === As PEFT's folder ===

SWITCHES = {"rslora": {"use_rslora"}, "dora": {"use_dora"}, "rsdora": {"use_dora", "use_rslora"}}


PLAIN = ("lora", "pissa", "lora_plus", "vera", "keras", "loha")
"""Strategies that PEFT computes as plain LoRA; LoHa, because PEFT has none for embeddings."""
WITHOUT_FORM = ("ia3", "lokr")
"""Strategies that PEFT does not have for embeddings, and that are no product of two matrices."""


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in WITHOUT_FORM])
def test_the_form_that_peft_reads_computes_the_same(strategy, trained, golden, run, tmp_path):
    backbone = vertebra.Backbone.from_preset(golden / "transformers")
    backbone.load_lora_weights(trained[0] / f"{strategy}.safetensors")
    backbone.save_lora_weights(tmp_path / "peft")
    config = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert {field for field in ("use_rslora", "use_dora") if config.get(field)} == SWITCHES.get(strategy, set())
    if strategy not in ("oft", *TABLE):
        assert config["r"] == {"pissa": 8, "loha": 16}.get(strategy, 4)
    backbone.unload_lora()
    receipt = backbone.load_lora_weights(tmp_path / "peft")
    assert receipt.config.strategy == ("lora" if strategy in PLAIN else strategy)
    for name, expected in trained[1][strategy].items():
        np.testing.assert_allclose(run(backbone)[name], expected, atol=2e-6)


@pytest.mark.parametrize("strategy", WITHOUT_FORM)
def test_what_peft_has_not_for_a_layer_is_not_written(strategy, trained, golden, tmp_path):
    backbone = vertebra.Backbone.from_preset(golden / "transformers")
    backbone.load_lora_weights(trained[0] / f"{strategy}.safetensors")
    with pytest.raises(LoraConfigError, match="which PEFT adapts"):
        backbone.save_lora_weights(tmp_path / "peft")
    assert not list(tmp_path.iterdir())


@each_strategy
def test_a_model_of_keras_keeps_it(strategy, trained, golden, run, tmp_path):
    backbone = vertebra.Backbone.from_preset(golden / "transformers")
    backbone.load_lora_weights(trained[0] / f"{strategy}.safetensors")
    backbone.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"BertBackbone": type(backbone)})
    assert adapters_of(loaded).get(None).plan.config.strategy == strategy
    expected = trained[1][strategy]
    assert all(np.array_equal(run(loaded)[name], expected[name]) for name in expected)
