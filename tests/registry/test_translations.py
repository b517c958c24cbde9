"""`ForeignConfig`: the configs that it refuses, and its messages; rules of common layers."""

import pytest

from vertebra import ForeignConfig, TensorRule
from vertebra.errors import FormatLimitError, PresetConfigError

CONFIG = ForeignConfig("other", "Acme's model")
ARGUMENTS = {"width": 8, "dropout": 0.1, "attention_dropout": None}


@pytest.mark.parametrize("value", [0, -1, 2**25, "2", 2.0, True, None, [2]])
def test_a_count_that_is_none_is_refused_by_name(value):
    with pytest.raises(PresetConfigError) as caught:
        CONFIG.check_counts({"depth": 1, "width": value}, ("depth", "width"), layers="depth")
    assert str(caught.value).startswith("config.json of Acme's model: width is ")


def test_layers_are_fewer_than_other_things():
    CONFIG.check_counts({"depth": 1000, "width": 2**24}, ("depth", "width"), layers="depth")
    with pytest.raises(PresetConfigError, match="depth is 1001, expected an int from 1 to 1000"):
        CONFIG.check_counts({"depth": 1001}, ("depth",), layers="depth")


def test_another_architecture_is_refused_by_name():
    CONFIG.check_architecture({"is_decoder": False, "unheard_of": 1}, {"is_decoder": (False, None), "heads": (None,)})
    with pytest.raises(PresetConfigError, match=r"is_decoder is True, and this architecture computes only False\."):
        CONFIG.check_architecture({"is_decoder": True}, {"is_decoder": (False, None)})
    with pytest.raises(PresetConfigError, match="act is 'silu', and this architecture computes only 'gelu' or 'relu'"):
        CONFIG.check_architecture({"act": "silu"}, {"act": ("gelu", "relu")})
    with pytest.raises(PresetConfigError, match="heads is 4, and this architecture computes only configs without it"):
        CONFIG.check_architecture({"heads": 4}, {"heads": (None,)})


def test_activations_have_one_name_here():
    assert CONFIG.activation("act", "gelu_new") == "gelu_approximate"
    assert CONFIG.activation("act", "x", {"x": "relu"}) == "relu"


@pytest.mark.parametrize("value", ["prelu", None, ["gelu"], {"name": "gelu"}])
def test_an_activation_that_is_not_known_is_refused_by_name(value):
    with pytest.raises(PresetConfigError, match="act is "):
        CONFIG.activation("act", value)


def test_a_config_with_our_names_is_arguments():
    assert CONFIG.constructor_arguments({"width": 8}, ("width",), {"dropout": 0.1}) == {"width": 8, "dropout": 0.1}
    with pytest.raises(PresetConfigError, match="wdth is 8, expected only the fields width, dropout"):
        CONFIG.constructor_arguments({"wdth": 8}, ("width",), {"dropout": 0.1})
    with pytest.raises(PresetConfigError, match="width is None"):
        CONFIG.constructor_arguments({}, ("width",), {})


def test_what_is_always_so_there_must_be_so_here():
    CONFIG.check_fixed(ARGUMENTS, {"width": 8})
    with pytest.raises(FormatLimitError, match="width=8: Acme's model always has 9") as caught:
        CONFIG.check_fixed(ARGUMENTS, {"width": 9})
    assert (caught.value.format, caught.value.argument, caught.value.value) == ("other", "width", 8)


def test_rules_of_dense_layers_and_norms():
    assert TensorRule.dense("a", "b.c") == {
        "a/kernel": TensorRule("b.c.weight", transpose=True),
        "a/bias": TensorRule("b.c.bias"),
    }
    assert TensorRule.dense("a", "b", "m", bias=False, part=(1, 3)) == {
        "a/kernel": TensorRule("b.weight", transpose=True, part=(1, 3), module="m")
    }
    assert TensorRule.norm("a", "b") == {"a/gamma": TensorRule("b.weight"), "a/beta": TensorRule("b.bias")}
    assert TensorRule.norm("a", "b", "m", bias=False) == {"a/gamma": TensorRule("b.weight", module="m")}


def test_rules_of_attention_with_an_axis_for_the_heads():
    rules = TensorRule.heads("a", "b", {"hidden_dim": 6, "num_heads": 2})
    assert rules["a/query/kernel"] == TensorRule("b/query_dense/vars/0", shape=(6, 2, 3))
    assert rules["a/query/bias"] == TensorRule("b/query_dense/vars/1", shape=(2, 3))
    assert rules["a/attention_output/kernel"] == TensorRule("b/output_dense/vars/0", shape=(2, 3, 6))
    assert rules["a/attention_output/bias"] == TensorRule("b/output_dense/vars/1")
    without = TensorRule.heads("a", "b", {"hidden_dim": 6, "num_heads": 2}, bias=False)
    assert without == {name: rule for name, rule in rules.items() if name.endswith("/kernel")}


@pytest.mark.parametrize("rate", [None, 0.1])
def test_one_rate_for_all_may_be_said_or_left(rate):
    CONFIG.check_one_rate(ARGUMENTS | {"attention_dropout": rate}, ("attention_dropout",))


def test_another_rate_is_refused_by_name():
    with pytest.raises(FormatLimitError, match=r"attention_dropout=0\.0: Acme's model has one rate, dropout=0\.1"):
        CONFIG.check_one_rate(ARGUMENTS | {"attention_dropout": 0.0}, ("attention_dropout",))


@pytest.mark.parametrize("part", [(-1, 3), (3, 3), (0, 4, 5), (3, 4, 2), (0, 4, 0)])
def test_a_part_lies_within_its_tensor(part):
    with pytest.raises(TypeError, match="expected \\(number, count\\) or \\(number, count, taken\\) with 0 <= number"):
        TensorRule("qkv_proj.weight", part=part)


def test_a_part_takes_one_slice_unless_it_says_how_many():
    rules = (TensorRule("x"), TensorRule("x", part=(1, 3)), TensorRule("x", part=(1, 3, 2)))
    assert [rule.taken for rule in rules] == [1, 1, 2]
