"""Calls with chosen adapters: they compute with exactly these adapters, or raise an error."""

import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

import vertebra
from vertebra import lora
from vertebra._lora.choices import calls
from vertebra._lora.choices.call_lock import call_lock
from vertebra._lora.state import adapters_of
from vertebra.errors import LoraStateError

pytestmark = pytest.mark.keras


@pytest.fixture
def name_of(several):
    """Returns the adapter that computed the outputs, or None for the base."""
    _, outputs = several

    def find(found):
        sequence = keras.ops.convert_to_numpy(found["sequence_output"])
        gaps = {name: abs(sequence - known["sequence_output"]).max() for name, known in outputs.items()}
        name = min(gaps, key=gaps.get)
        assert gaps[name] <= 1e-5
        return name

    return find


@pytest.fixture(params=["eager", "compiled"])
def call(request, several):
    """The backbone, or its compiled function."""
    return several[0] if request.param == "eager" else vertebra.compile(several[0])


def in_another_thread(work):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def head_on(backbone, **arguments):
    outputs = keras.layers.Dense(2, name="scores", **arguments)(backbone.output["sequence_output"])
    return keras.Model(backbone.inputs, {"sequence_output": backbone.output["sequence_output"], "scores": outputs})


# === Changes meanwhile ===


def unload_and_load(backbone, folder):
    backbone.unload_lora()
    backbone.load_lora_weights(folder / "b.safetensors", "b")


LOSSES = {
    "unloaded": lambda backbone, _: backbone.unload_lora(),
    "merged": lambda backbone, _: backbone.merge_lora(reversible=False),
    "loaded again": unload_and_load,
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("choice", ["b", [None, None, None]], ids=str)
def test_a_choice_that_was_lost_within_its_block_is_an_error(several, inputs, call, loss, choice, tmp_path):
    backbone, _ = several
    backbone.save_lora_weights(tmp_path / "b.safetensors", "b")
    with backbone.lora_rows(choice):
        call(inputs)
        in_another_thread(lambda: LOSSES[loss](backbone, tmp_path))
        with pytest.raises(LoraStateError, match="unloaded, or merged for good, after a block had chosen"):
            call(inputs)
    call(inputs)


def test_a_choice_is_lost_where_other_adapters_remain_on_other_layers(several, inputs, call):
    backbone, _ = several
    with backbone.lora_rows("a"):
        call(inputs)
        backbone.unload_lora("a")
        backbone.unload_lora("b")
        with pytest.raises(LoraStateError, match=r"had chosen among them \('a'\)"):
            call(inputs)


def test_a_choice_keeps_the_values_of_an_adapter_whose_layers_others_adapt_too(several, inputs, call, name_of):
    backbone, _ = several
    with backbone.lora_rows("a"):
        backbone.unload_lora("a")
        backbone.unload_lora("c")
        assert name_of(call(inputs)) == "a"


def test_while_adapters_are_merged_a_choice_is_refused_and_then_holds_again(several, inputs, call, name_of):
    backbone, _ = several
    with backbone.lora_rows("a"):
        assert name_of(call(inputs)) == "a"
        in_another_thread(backbone.merge_lora)
        with pytest.raises(LoraStateError, match="Adapters are merged"):
            call(inputs)
        in_another_thread(backbone.unmerge_lora)
        assert name_of(call(inputs)) == "a"


def test_a_choice_within_a_lost_one_holds(several, inputs, call, name_of, tmp_path):
    backbone, _ = several
    backbone.save_lora_weights(tmp_path / "b.safetensors", "b")
    with backbone.lora_rows("a"):
        unload_and_load(backbone, tmp_path)
        assert name_of(call(inputs, adapters="b")) == "b"
        with backbone.lora_rows("b"):
            assert name_of(call(inputs)) == "b"


def test_a_change_that_comes_while_a_call_chooses_waits_until_it_has_computed(
    several, inputs, call, name_of, monkeypatch
):
    backbone, _ = several
    choose, changes = calls.choose, []

    def choose_during_a_change(*arguments):
        changes.append(threading.Thread(target=backbone.unload_lora))
        changes[-1].start()
        while not call_lock(backbone)._waiting:
            pass
        return choose(*arguments)

    monkeypatch.setattr(calls, "choose", choose_during_a_change)
    assert name_of(call(inputs, adapters="b")) == "b"
    changes[0].join()
    assert backbone.lora_adapters == {}


def test_calls_get_the_adapter_they_name_or_an_error_while_it_is_unloaded_and_loaded(
    several, inputs, call, name_of, tmp_path
):
    backbone, _ = several
    backbone.save_lora_weights(tmp_path / "b.safetensors", "b")
    done = threading.Event()

    def serve(_):
        found = set()
        while not done.is_set():
            try:
                found.add(name_of(call(inputs, adapters="b")))
            except LoraStateError as error:
                found |= set() if "has no LoRA adapter" in str(error) else {error}
        return found

    with ThreadPoolExecutor(3) as pool:
        served = [pool.submit(serve, number) for number in range(3)]
        try:
            for _ in range(60):
                unload_and_load(backbone, tmp_path)
        finally:
            done.set()
        assert set().union(*(future.result() for future in served)) <= {"b"}


def test_quantising_asks_for_adapters_when_no_other_thread_can_add_any(plain, monkeypatch):
    asked = []

    def adapters(self):
        asked.append(call_lock(self)._changing == threading.get_ident())
        return {"late": None}

    monkeypatch.setattr(type(plain), "lora_adapters", property(adapters))
    with pytest.raises(LoraStateError, match="has LoRA adapters"):
        plain.quantize("int8")
    assert asked == [True]


# === What a call cannot choose ===


@pytest.mark.parametrize("choice", [[], [None], [None, None], [None] * 6, [None] * 7, ["a"] * 6], ids=str)
def test_a_choice_has_as_many_rows_as_the_batch(several, inputs, call, choice):
    backbone, _ = several
    with pytest.raises(LoraStateError, match=f"chosen for {len(choice)} rows, and the batch has 3"):
        call(inputs, adapters=choice)
    with backbone.lora_rows(choice), pytest.raises(LoraStateError, match=f"chosen for {len(choice)} rows"):
        call(inputs)


@pytest.mark.parametrize("choice", [["a", "b"], [None, None]], ids=str)
def test_a_functional_model_refuses_another_number_of_rows(several, inputs, choice):
    head = head_on(several[0])
    for call in (head, vertebra.compile(head)):
        with (
            several[0].lora_rows(choice),
            pytest.raises(LoraStateError, match="chosen for 2 rows, and the batch has 3"),
        ):
            call(inputs)


def test_refusals_within_layers_are_raised_as_they_are(several, inputs):
    backbone, _ = several
    head = head_on(backbone)
    nested = keras.Model(backbone.inputs, backbone(backbone.input)["sequence_output"])
    with backbone.lora_rows("a"):
        for model in (backbone, head, nested):
            with pytest.raises(LoraStateError, match="chosen for one call do not train"):
                model(inputs, training=True)
        in_another_thread(backbone.merge_lora)
        for model in (head, nested):
            with pytest.raises(LoraStateError, match="Adapters are merged"):
                model(inputs)


# === Saving and describing ===


@pytest.mark.parametrize("choice", ["a", ["a", "b", "c"], [None] * 5], ids=str)
def test_a_preset_that_is_saved_in_a_block_is_certified_as_the_model_rests(several, inputs, name_of, choice, tmp_path):
    backbone, _ = several
    with backbone.lora_rows(choice):
        backbone.save_to_preset(tmp_path / "preset")
    loaded = vertebra.Backbone.from_preset(tmp_path / "preset", verify=True)
    assert name_of(loaded(inputs)) == "c"


def test_a_preset_that_is_saved_in_a_block_whose_choice_was_lost_is_certified(several, tmp_path):
    backbone, _ = several
    with backbone.lora_rows("a"):
        backbone.unload_lora()
        backbone.save_to_preset(tmp_path / "preset")
    vertebra.Backbone.from_preset(tmp_path / "preset", verify=True)


def test_a_block_changes_no_description_of_the_model(several):
    backbone, _ = several

    def described():
        groups = lora.parameter_groups(backbone, 0.1) if keras.config.backend() == "torch" else []
        config = backbone.get_config()
        weights = [[id(v) for v in found] for found in (backbone.weights, backbone.trainable_weights)]
        return backbone.lora_adapters, config, weights, [[id(p) for p in group["params"]] for group in groups]

    before = described()
    with backbone.lora_rows("a"):
        assert described() == before
        assert backbone.trainable_variables == []  # a choice does not train
    assert len(backbone.trainable_variables) == len(backbone.trainable_weights) > 0


# === Functional models ===


class Counting(keras.layers.Layer):
    """Passes its inputs on, and counts its calls."""

    calls = 0

    def call(self, inputs):
        type(self).calls += 1
        return inputs + 0


def test_a_compiled_functional_model_is_traced_once_for_choices_of_the_same_settings(several, inputs, name_of):
    backbone, _ = several
    hidden = backbone.output["sequence_output"]
    head = keras.Model(backbone.inputs, {"sequence_output": hidden, "counted": Counting()(hidden)})
    compiled, found = vertebra.compile(head), []
    Counting.calls = 0
    for name in "abba":
        with backbone.lora_rows(name):
            found.append(name_of(compiled(inputs)))
        with lora.rows(head, name):
            found.append(name_of(compiled(inputs)))
        found.append(name_of(compiled(inputs, adapters=name)))
    assert found == [name for name in "abba" for _ in range(3)]
    assert Counting.calls == 1
    assert name_of(compiled(inputs)) == "c"


def test_a_functional_model_computes_what_each_row_chose(several, inputs):
    backbone, outputs = several
    head, choice = head_on(backbone), ["a", None, "b"]
    with lora.rows(head, choice):
        found = [head(inputs), vertebra.compile(head)(inputs), vertebra.compile(head)(inputs, adapters=choice)]
    for each in found:
        sequence = keras.ops.convert_to_numpy(each["sequence_output"])
        for row, name in enumerate(choice):
            assert abs(sequence[row] - outputs[name]["sequence_output"][row]).max() <= 1e-5


@pytest.mark.parametrize("loss", ["unloaded", "merged"])
def test_a_compiled_functional_model_notices_that_a_choice_was_lost(several, inputs, loss, tmp_path):
    backbone, _ = several
    compiled = vertebra.compile(head_on(backbone))
    stranger = vertebra.compile(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
    with backbone.lora_rows("a"):
        compiled(inputs)
        LOSSES[loss](backbone, tmp_path)
        with pytest.raises(LoraStateError, match="unloaded, or merged for good"):
            compiled(inputs)
        stranger(np.ones((1, 4), "float32"))


@pytest.fixture
def pair(golden, randomise):
    """Two backbones with inactive adapters of the same names and settings, and a model on both."""
    backbones = []
    for number in range(2):
        backbone = vertebra.Backbone.from_preset(golden / "transformers", name=f"tower{number}")
        for seed, name in enumerate("ab"):
            backbone.enable_lora(4, name=name)
            randomise(backbone, name, 2 * number + seed)
        backbone.disable_lora()
        backbones.append(backbone)
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in backbones[0].input}
    return *backbones, keras.Model(inputs, [backbone(inputs)["pooled_output"] for backbone in backbones])


def test_choices_of_two_models_below_are_told_apart(pair, inputs):
    one, other, both = pair
    compiled = vertebra.compile(both)

    def results(call):
        def found():
            return [keras.ops.convert_to_numpy(tensor) for tensor in call(inputs)]

        for name in "ab":
            with one.lora_rows(name):
                yield found()
            with other.lora_rows(name):
                yield found()
            with one.lora_rows(name), other.lora_rows("b"):
                yield found()
            with other.lora_rows(name), one.lora_rows("b"):
                yield found()
        yield found()

    for expected, found in zip(list(results(both)), list(results(compiled)), strict=True):
        assert all(abs(a - b).max() <= 1e-5 for a, b in zip(expected, found, strict=True))


@pytest.mark.keras(once=True)
def test_a_model_on_two_others_does_not_guess_which_adapters_are_meant(pair, inputs):
    _, _, both = pair
    with pytest.raises(LoraStateError, match="'tower0', 'tower1'"):
        vertebra.compile(both)(inputs, adapters="a")


def test_what_was_compiled_for_the_way_used_last_is_kept(several, inputs):
    """Even if there are more structures than the compile cache holds, the most used one is compiled once."""
    backbone, _ = several
    backbone.disable_lora()
    hidden = backbone.output["sequence_output"]
    compiled = vertebra.compile(keras.Model(backbone.inputs, Counting()(hidden)))
    Counting.calls = 0
    for rank in range(1, 11):
        backbone.disable_lora()
        compiled(inputs)
        backbone.enable_lora(rank, name=f"rank{rank}")
        compiled(inputs)
        backbone.disable_lora()
    assert Counting.calls == 11
    assert adapters_of(backbone).active == ()
