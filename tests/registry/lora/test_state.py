"""Several adapters of one model: active adapters, strengths, rows, swapping, unloading, and the restored base."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra import lora
from vertebra._lora.state import adapters_of
from vertebra.errors import LoraConfigError, LoraStateError

pytestmark = pytest.mark.keras


def equal(found, expected):
    return all(np.array_equal(found[key], expected[key]) for key in expected)


def gap(found, expected):
    return max(np.abs(found[key] - expected[key]).max() for key in expected)


# === Active adapters ===


def test_each_adapter_computes_what_it_did_when_it_is_swapped_in(several, run):
    backbone, outputs = several
    assert len({output["pooled_output"].tobytes() for output in outputs.values()}) == 4
    for name in ("a", "b", "c", "a", "c", "b"):
        backbone.activate_lora(name)
        assert equal(run(backbone), outputs[name])


def test_disabled_adapters_leave_what_the_base_computes_to_the_bit(several, run):
    backbone, outputs = several
    backbone.disable_lora()
    assert equal(run(backbone), outputs[None])
    assert not backbone.trainable_weights
    backbone.activate_lora("c")
    assert equal(run(backbone), outputs["c"])


def test_only_what_acts_trains_and_the_others_stay_as_they_are(several, golden, train, run, values):
    backbone, outputs = several
    before = {name: adapters_of(backbone).values_of(name) for name in "abc"}
    backbone.activate_lora("a")
    train(backbone, steps=2)
    after = {name: adapters_of(backbone).values_of(name) for name in "abc"}

    def bits(tree):
        return [array.tobytes() for own in tree.values() for array in own.values()]

    assert bits(after["b"]) == bits(before["b"])
    assert bits(after["c"]) == bits(before["c"])
    assert all(new != old for new, old in zip(bits(after["a"]), bits(before["a"]), strict=True))
    backbone.activate_lora("b")
    assert equal(run(backbone), outputs["b"])
    backbone.disable_lora()
    assert equal(run(backbone), outputs[None])
    fresh = values(vertebra.Backbone.from_preset(golden / "transformers"))
    assert {name: array.tobytes() for name, array in values(backbone).items()} == {
        name: array.tobytes() for name, array in fresh.items()
    }


@pytest.mark.keras(once=True)
def test_the_adapters_are_listed_those_that_act_first(several):
    backbone, _ = several
    backbone.activate_lora("b")
    assert list(backbone.lora_adapters) == ["b", "a", "c"]
    assert backbone.lora_adapters["c"].layers[0].endswith("feedforward_intermediate_dense")
    assert [receipt.parameters_added for receipt in backbone.lora_adapters.values()] == [512, 512, 768]


def test_the_summary_lists_them(several, capsys):
    backbone, _ = several
    backbone.activate_lora("c")
    shown = []
    backbone.summary(print_fn=shown.append)
    lines = "".join(shown[1:]).split(" Adapter ")[1:]
    assert [line.partition(":")[0] for line in lines] == ["c, active", "a, inactive", "b, inactive"]
    assert f"{backbone.lora_adapters['c'].parameters_added:,} parameters" in lines[0]
    backbone.merge_lora()
    backbone.summary(line_length=60)
    assert " Adapter c, merged: " in capsys.readouterr().out


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("name", ["d", "", "A"])
def test_a_name_that_is_not_there_is_refused(several, run, name):
    backbone, outputs = several
    for change in (backbone.activate_lora, backbone.unload_lora):
        with pytest.raises(LoraStateError, match=r"has no adapter named '.?'\. (Did you mean 'a'\?|It has a, b, c\.)$"):
            change(name)
    assert equal(run(backbone), outputs["c"])


@pytest.mark.keras(once=True)
def test_a_name_is_taken_once(several):
    backbone, _ = several
    with pytest.raises(LoraStateError, match="already has an adapter named 'a'"):
        backbone.enable_lora(2, name="a")


@pytest.mark.keras(once=True)
def test_without_any_adapter_there_is_nothing_to_do(plain):
    for change in (plain.activate_lora, plain.disable_lora, plain.unload_lora, plain.merge_lora, plain.unmerge_lora):
        with pytest.raises(LoraStateError, match="has no LoRA adapter"):
            change()
    assert plain.lora_adapters == {}


# === Strengths ===


def test_strengths_weigh_what_is_added(toy_class, ids, run, randomise):
    """If the last layer is linear and the only adapted one, the sum of the changes can be computed directly."""
    toy = toy_class()
    layer = toy.get_layer("dense")
    layer.activation = None
    base = run(toy, ids)
    added = {}
    for seed, (name, rank) in enumerate({"a": 2, "b": 3}.items()):
        toy.enable_lora(rank, ["dense"], name=name)
        randomise(toy, name, seed)
        added[name] = run(toy, ids) - base
    toy.activate_lora({"a": 0.7, "b": -0.3})
    assert np.allclose(run(toy, ids), base + 0.7 * added["a"] - 0.3 * added["b"], atol=1e-5)
    toy.activate_lora({"a": 2.0})
    assert np.allclose(run(toy, ids), base + 2 * added["a"], atol=1e-5)
    toy.activate_lora("a", {"b": 0.5})
    assert np.allclose(run(toy, ids), base + added["a"] + 0.5 * added["b"], atol=1e-5)
    with toy.lora_rows([{"a": 0.5, "b": 1.0}, None]):
        rows = run(toy, ids)
    assert np.allclose(rows[0], (base + 0.5 * added["a"] + added["b"])[0], atol=1e-5)
    assert np.allclose(rows[1], base[1], atol=1e-6)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("strength", [float("nan"), float("inf"), "0.5", None, True])
def test_a_strength_is_a_finite_number(several, run, strength):
    backbone, outputs = several
    with pytest.raises(LoraConfigError, match="strength of 'a'"):
        backbone.activate_lora({"a": strength})
    assert equal(run(backbone), outputs["c"])


@pytest.mark.keras(once=True)
def test_several_that_act_have_no_config(several, tmp_path):
    backbone, _ = several
    backbone.activate_lora({"a": 0.5, "b": 0.5})
    with pytest.raises(LoraStateError, match="Several adapters are active"):
        backbone.save_to_preset(tmp_path / "preset")
    assert not (tmp_path / "preset").exists()
    backbone.save_lora_weights(tmp_path / "a.safetensors", "a")  # each by itself can be saved


# === Rows ===


def test_each_row_has_its_own_adapter(several, run):
    backbone, outputs = several
    backbone.activate_lora("a")
    for choice in (["a", "b", None], ["c", "c", "a"], [None, None, None], ["b", "b", "b"]):
        with backbone.lora_rows(choice):
            found = run(backbone)
        for row, name in enumerate(choice):
            assert np.abs(found["sequence_output"][row] - outputs[name]["sequence_output"][row]).max() <= 1e-6
    assert equal(run(backbone), outputs["a"])  # as before the block


def test_rows_are_given_for_the_whole_batch(several):
    backbone, _ = several
    tokens = {name: np.ones((2, 4), "int32") for name in ("token_ids", "padding_mask")}
    tokens["segment_ids"] = np.zeros((2, 4), "int32")
    with (
        backbone.lora_rows(["a", "b", "a"]),
        pytest.raises(LoraStateError, match="chosen for 3 rows, and the batch has 2"),
    ):
        backbone(tokens)


def test_a_table_that_is_looked_up_once_for_all_rows_has_none(run):
    """Else as many positions as rows would be mistaken for rows."""

    class Positions(keras.Model):
        def __init__(self):
            super().__init__()
            self.table = keras.layers.Embedding(3, 4, name="table")

        def call(self, inputs):
            return inputs + self.table(keras.ops.arange(3))

    model, inputs = Positions(), np.zeros((3, 3, 4), "float32")
    model(inputs)
    for name in ("a", "b"):
        lora.enable(model, 2, ["table"], name=name)
    with (
        lora.rows(model, ["a", "b", "a"]),
        pytest.raises(LoraStateError, match="'table' is looked up without a batch axis"),
    ):
        model(inputs)
    lora.activate(model, "a")
    model(inputs)


def test_what_acted_acts_again_after_an_error_in_the_block(several, run):
    backbone, outputs = several
    with pytest.raises(KeyError), backbone.lora_rows(["a", "b", "c"]):
        raise KeyError
    assert equal(run(backbone), outputs["c"])


# === Co-trained weights ===


def test_base_weights_of_an_adapter_come_and_go_with_it(plain, run, train, values):
    before, outputs = values(plain), run(plain)
    plain.enable_lora(2, name="a", train=["embeddings_layer_norm"], seed=1)
    train(plain, steps=2)
    trained, own = run(plain), plain.get_layer("embeddings_layer_norm").gamma.numpy().copy()
    assert not np.array_equal(own, before["embeddings_layer_norm/gamma"])
    plain.enable_lora(2, name="b", seed=2)
    assert equal(run(plain), outputs)
    assert np.array_equal(plain.get_layer("embeddings_layer_norm").gamma.numpy(), before["embeddings_layer_norm/gamma"])
    plain.activate_lora("a")
    assert equal(run(plain), trained)
    with pytest.raises(LoraStateError, match="has co-trained base weights"):
        plain.activate_lora("a", "b")
    plain.unload_lora()
    assert equal(values(plain), before)


def test_base_weights_that_were_made_trainable_by_hand_are_not_left_behind(plain, several, train):
    backbone, _ = several
    backbone.get_layer("pooled_dense").trainable = True
    for change in (lambda: backbone.activate_lora("a"), backbone.disable_lora, lambda: backbone.unload_lora("c")):
        with pytest.raises(LoraStateError, match="belong to no adapter: pooled_dense/kernel"):
            change()


@pytest.mark.parametrize("how", ["enable", "load"])
def test_another_adapter_starts_from_the_base_whatever_acts(plain, run, train, tmp_path, how):
    outputs = run(plain)
    plain.enable_lora(2, ["key"], name="saved", seed=1)
    plain.save_lora_weights(tmp_path / "saved.safetensors")
    plain.unload_lora()
    plain.enable_lora(2, name="active", bias="lora", train=["key"], seed=2)
    train(plain, steps=2)
    trained = run(plain)
    if how == "enable":
        plain.enable_lora(2, ["key"], name="other", bias="all", seed=3)
    else:
        plain.load_lora_weights(tmp_path / "saved.safetensors", "other")
    assert equal(run(plain), outputs)
    plain.activate_lora("active")
    assert equal(run(plain), trained)
    plain.unload_lora()
    assert equal(run(plain), outputs)


def test_base_weights_of_a_preset_that_trained_are_not_taken_for_the_base(plain, run, train, tmp_path):
    plain.enable_lora(2, bias="lora")
    train(plain, steps=1)
    plain.save_to_preset(tmp_path / "preset")
    again = vertebra.Backbone.from_preset(tmp_path / "preset")
    outputs = run(again)
    for change in (again.merge_lora, again.disable_lora, again.unload_lora):
        with pytest.raises(LoraStateError, match="load its own file on the base model instead"):
            change()
    assert equal(run(again), outputs)


def test_quantising_comes_before_adapters(several, run):
    backbone, outputs = several
    with pytest.raises(LoraStateError, match="Quantise it first"):
        backbone.quantize("int8")
    assert equal(run(backbone), outputs["c"])


# === Unloading ===


def test_one_of_a_mix_is_unloaded_and_the_others_act_on(several, run):
    backbone, _ = several
    backbone.activate_lora({"a": 0.5})
    alone = run(backbone)
    backbone.activate_lora({"a": 0.5, "b": 0.25})
    backbone.unload_lora("b")
    assert gap(run(backbone), alone) <= 1e-6
    assert list(backbone.lora_adapters) == ["a", "c"]


def test_all_are_unloaded_or_none(several):
    backbone, _ = several
    backbone.get_layer("pooled_dense").trainable = True
    with pytest.raises(LoraStateError):
        backbone.unload_lora()
    assert sorted(backbone.lora_adapters) == ["a", "b", "c"]


def test_unloading_within_a_block_of_rows_ends_it(several, run):
    backbone, outputs = several
    with backbone.lora_rows(["a", "b", None]):
        backbone.unload_lora()
    assert equal(run(backbone), outputs[None])


def test_the_last_adapter_leaves_the_model_as_it_was(golden, state, inputs, runtime):
    backbone = vertebra.Backbone.from_preset(golden / "transformers")
    backbone.get_layer("token_embedding").trainable = False
    before, attributes = state(backbone, inputs), layer_attributes(backbone)
    backbone.enable_lora(2, ["all-linear", "token_embedding"], name="a", dropout=0.1)
    backbone.enable_lora(3, name="b", strategy="dora", bias="all")
    backbone.unload_lora("a")
    backbone.unload_lora("b")
    assert state(backbone, inputs) == before
    assert layer_attributes(backbone) == attributes
    if runtime == "torch":
        assert not [name for name, _ in backbone.named_parameters() if "lora" in name]


def layer_attributes(model):
    return {path: sorted(vars(layer)) for path, layer in enumerate_layers(model)}


def enumerate_layers(model):
    return [(f"{i} {layer.name}", layer) for i, layer in enumerate(model._flatten_layers())]


def test_one_of_several_is_unloaded(several, run):
    backbone, outputs = several
    backbone.unload_lora("b")
    assert list(backbone.lora_adapters) == ["c", "a"]
    assert equal(run(backbone), outputs["c"])
    backbone.unload_lora("c")
    assert equal(run(backbone), outputs[None])
    backbone.activate_lora("a")
    assert equal(run(backbone), outputs["a"])


# === Compiled functions ===


class Traced(keras.layers.Layer):
    """Passes its inputs on, and counts its calls."""

    calls = 0

    def call(self, inputs):
        type(self).calls += 1
        return inputs + 0


@pytest.fixture
def outer(several):
    """A custom model around a backbone with adapters, compiled by Keras, and the count of its traces."""
    backbone, outputs = several
    hidden = Traced()(backbone.output["sequence_output"])
    Traced.calls = 0
    return backbone, outputs, keras.Model(backbone.input, hidden)


def test_a_compiled_model_follows_adapters_that_are_swapped(outer, inputs, runtime):
    backbone, outputs, model = outer
    for name in ("a", "b", None, "c", "b", "a", None, "c"):
        backbone.activate_lora(*([name] if name else []))
        found = model.predict(inputs, verbose=0)
        assert np.abs(found - outputs[name]["sequence_output"]).max() <= 1e-5
    if runtime == "jax":
        assert Traced.calls == 3  # once for a and b, once for c, once without


def test_another_mix_or_choice_of_rows_is_no_reason_to_compile_anew(outer, inputs, runtime):
    backbone, outputs, model = outer
    for choice in (["a", "b", "a"], ["b", "a", "a"], ["a", "a", "b"]):
        with backbone.lora_rows(choice):
            found = model.predict(inputs, verbose=0)
        for row, name in enumerate(choice):
            assert np.abs(found[row] - outputs[name]["sequence_output"][row]).max() <= 1e-5
    for strength in (0.5, 0.7, 2.0):
        backbone.activate_lora({"a": strength})
        model.predict(inputs, verbose=0)
    for _ in range(3):
        with backbone.lora_rows(["b", None, "a"]):
            model.predict(inputs, verbose=0)
        backbone.disable_lora()
        model.predict(inputs, verbose=0)
    if runtime == "jax":
        assert Traced.calls == 3


def test_adapters_of_the_same_shapes_on_other_layers_are_told_apart_by_what_was_compiled(plain, inputs, run, randomise):
    model = keras.Model(plain.input, plain.output["sequence_output"])
    for seed, targets in enumerate((["query"], ["key"], ["value"])):
        plain.enable_lora(2, targets)
        randomise(plain, "default", seed)
        assert np.abs(model.predict(inputs, verbose=0) - run(plain)["sequence_output"]).max() <= 1e-5
        plain.unload_lora()


def test_vertebras_compiled_function_follows_swaps(several, inputs):
    backbone, outputs = several
    forward = vertebra.compile(backbone)
    for name in ("a", "b", None, "c", "b", "a", None, "c"):
        backbone.activate_lora(*([name] if name else []))
        found = keras.ops.convert_to_numpy(forward(inputs)["sequence_output"])
        assert np.abs(found - outputs[name]["sequence_output"]).max() <= 1e-5
    with backbone.lora_rows(["a", None, "b"]):
        found = keras.ops.convert_to_numpy(forward(inputs)["sequence_output"])
    for row, name in enumerate(("a", None, "b")):
        assert np.abs(found[row] - outputs[name]["sequence_output"][row]).max() <= 1e-5


# === Files ===


def test_adapters_are_loaded_side_by_side(several, tmp_path, golden, run):
    backbone, outputs = several
    for name in "abc":
        backbone.save_lora_weights(tmp_path / f"{name}.safetensors", name)
    fresh = vertebra.Backbone.from_preset(golden / "transformers")
    for name in "abc":
        assert fresh.load_lora_weights(tmp_path / f"{name}.safetensors", name).name == name
        assert equal(run(fresh), outputs[name])
    for name in "abc":
        fresh.activate_lora(name)
        assert equal(run(fresh), outputs[name])


@pytest.mark.keras(once=True)
def test_which_adapter_is_saved_must_be_clear(several, tmp_path):
    backbone, _ = several
    backbone.activate_lora("a", "b")
    with pytest.raises(LoraStateError, match="several adapters: a, b"):
        backbone.save_lora_weights(tmp_path / "x.safetensors")


def test_the_preset_holds_the_one_that_acts(several, tmp_path, run):
    backbone, outputs = several
    for name in (None, "b"):
        backbone.activate_lora(*([name] if name else []))
        backbone.save_to_preset(tmp_path / str(name))
        again = vertebra.Backbone.from_preset(tmp_path / str(name), verify=True)
        assert list(again.lora_adapters) == ([name] if name else [])
        assert equal(run(again), outputs[name])
