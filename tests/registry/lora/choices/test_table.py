"""Tables: rows take their own adapters by number, whichever adapters a table has, and with their current values."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra._lora.choices.active import chosen_for
from vertebra._lora.state import adapters_of

pytestmark = pytest.mark.keras


@pytest.fixture
def many(plain, inputs, randomise, run):
    """Returns a backbone with five adapters of one plan and one of another, and the outputs of each."""
    outputs = {None: run(plain)}
    for seed in range(5):
        name = f"n{seed}"
        plain.enable_lora(2, ["query", "mlp.up"], name=name)
        randomise(plain, name, seed)
        outputs[name] = run(plain)
    plain.enable_lora(3, ["value"], name="other")
    randomise(plain, "other", 9)
    outputs["other"] = run(plain)
    return plain, outputs


def choice_of(backbone):
    return chosen_for(adapters_of(backbone).state.model)


def columns(backbone, choice):
    """Returns the number of columns of a choice, and whether there is a table among them."""
    with backbone.lora_rows(choice):
        active = choice_of(backbone)
        return active.strengths.shape[-1], active.numbers is not None


def gaps(found, outputs, names):
    found = keras.ops.convert_to_numpy(found["sequence_output"])
    return [np.abs(found[row] - outputs[name]["sequence_output"][row]).max() for row, name in enumerate(names)]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_rows_of_a_table_are_those_of_each_adapter_alone(many, inputs, compiled):
    backbone, outputs = many
    call = vertebra.compile(backbone) if compiled else backbone
    for names in (
        ["n0", "n4", None],
        ["n3", "n1", "n3"],
        ["other", "n2", "n0"],
        ["n2", "n2", "n2"],
        [None, "n1", "other"],
    ):
        assert max(gaps(call(inputs, adapters=names), outputs, names)) <= 5e-6


def test_one_column_serves_all_adapters_of_a_plan(many):
    backbone, _ = many
    assert columns(backbone, ["n0", "n1", "n2"]) == (1, True)
    assert columns(backbone, ["n0", "n1", "other"]) == (2, True)
    assert columns(backbone, ["n4", "n4", None]) == (1, True)  # the table is there
    assert columns(backbone, ["other"] * 3) == (1, False)
    assert columns(backbone, [{"n0": 0.5, "n1": 0.5}, "n2", None]) == (3, False)  # two in one row
    assert columns(backbone, "n0") == (1, False)


def test_strengths_of_rows_count(many, inputs, run):
    backbone, outputs = many
    backbone.activate_lora({"n1": 0.25})
    expected = outputs | {"weak": run(backbone)}
    found = backbone(inputs, adapters=["n0", {"n1": 0.25}, {"n2": 1, "n3": 0}])
    assert max(gaps(found, expected, ["n0", "weak", "n2"])) <= 5e-6


def test_a_table_follows_adapters_that_train_are_replaced_or_unloaded(many, inputs, randomise, run):
    backbone, outputs = many
    names = ["n0", "n1", "n2"]
    backbone(inputs, adapters=names)
    backbone.activate_lora("n1")
    randomise(backbone, "n1", 77)
    expected = outputs | {"n1": run(backbone)}
    assert max(gaps(backbone(inputs, adapters=names), expected, names)) <= 5e-6
    backbone.activate_lora("n0")
    assert max(gaps(backbone(inputs, adapters=names), expected, names)) <= 5e-6
    backbone.unload_lora("n1")
    backbone.enable_lora(2, ["query", "mlp.up"], name="n1")
    expected["n1"] = outputs[None]  # a new adapter changes nothing
    assert max(gaps(backbone(inputs, adapters=names), expected, names)) <= 5e-6


def test_a_table_is_kept_as_long_as_its_adapters_are_the_same(many, inputs):
    backbone, _ = many

    def first():
        with backbone.lora_rows(["n0", "n1", "n2"]):
            return choice_of(backbone).variables[-1]

    assert first() is first()
    sizes = [first().shape[0]]
    backbone(inputs, adapters=["n3", "n4", "n0"])
    sizes.append(first().shape[0])
    assert sizes == [4, 8]


def test_a_compiled_function_serves_every_choice_from_a_table(many, inputs, monkeypatch):
    backbone, _ = many
    call, traces = vertebra.compile(backbone), []
    original = type(backbone).call
    monkeypatch.setattr(type(backbone), "call", lambda *a, **k: traces.append(1) or original(*a, **k))
    call(inputs, adapters=["n0", "n1", "n2"])
    for names in (["n1", "n1", "n0"], ["n2", None, "n1"], ["n2"] * 3):
        call(inputs, adapters=names)
    assert len(traces) == 1


def test_layers_that_are_looked_up_are_not_stacked(plain, inputs, randomise, run):
    outputs = {None: run(plain)}
    for seed, name in enumerate("ab"):
        plain.enable_lora(2, ["query", "token_embedding"], name=name)
        randomise(plain, name, seed)
        outputs[name] = run(plain)
    assert columns(plain, ["a", "b", None]) == (2, False)
    assert max(gaps(plain(inputs, adapters=["a", "b", None]), outputs, ["a", "b", None])) <= 5e-6
