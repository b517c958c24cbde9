"""The constructors of all architectures check their arguments in the same way: first the type, then the range."""

import inspect
import re

import pytest

import vertebra
from vertebra import hints

pytestmark = pytest.mark.keras(once=True)

BERT = {"num_heads": 2, "vocabulary_size": 11, "num_layers": 1, "hidden_dim": 8, "intermediate_dim": 8}
GEMMA = BERT | {"num_query_heads": 2, "num_key_value_heads": 1, "head_dim": 4}
del GEMMA["num_heads"]
LLAMA = {name: value for name, value in GEMMA.items() if name != "head_dim"}
ENCODERS = ("Roberta", "XLMRoberta", "Camembert", "DistilBert", "Electra", "MPNet", "ModernBert")
TINY = {"BertBackbone": BERT, "GPT2Backbone": BERT, "GemmaBackbone": GEMMA, "LlamaBackbone": LLAMA}
TINY |= {f"{name}Backbone": BERT for name in ENCODERS}
OTHERS = {"layer_types", "rope_scaling", "partial_rotary_factor", "rope_layer_enabled_list"}
"""Arguments that have no hint of `vertebra.hints`."""
WRONG = {
    "Size": [0, -1, 2**31, "2", 2.0, True, None, [2]],
    "TokenId": [-1, 2**31, "2", True],
    "Layers": [0, 1001, "2", True],
    "Rate": [1, -0.1, float("nan"), "a", True, [0.1]],
    "Positive": [0, -1, float("inf"), float("nan"), "1", False],
    "Deviation": [-1, float("inf"), "0.02", True],
    "Flag": [1, 0, "yes", None],
    "Activation": ["prelu", "", 3, None, ["gelu"]],
}
"""Values that each kind of argument refuses."""


def kinds(name):
    """Yields the constructor's arguments with the type hint of each, without `| None`."""
    constructor = type(getattr(vertebra.models, name)(**TINY[name])).__init__
    for parameter in inspect.signature(constructor).parameters.values():
        if str(parameter.annotation).startswith("hints."):
            yield parameter.name, parameter.annotation.removeprefix("hints.").removesuffix(" | None")


@pytest.mark.parametrize("name", TINY)
def test_a_value_of_another_type_or_out_of_range_is_named(name):
    build = getattr(vertebra.models, name)
    seen = set()
    for argument, kind in kinds(name):
        for value in WRONG[kind]:
            if value is None and inspect.signature(build).parameters[argument].default is None:
                continue
            with pytest.raises(ValueError, match=re.escape(f"{argument}={value!r}, expected ")):
                build(**TINY[name] | {argument: value})
            seen.add(argument)
    assert seen == build(**TINY[name]).get_config().keys() - {"name", "dtype", "trainable", *OTHERS}


@pytest.mark.parametrize("name", TINY)
def test_arguments_are_attributes_and_what_get_config_returns(name):
    backbone = getattr(vertebra.models, name)(**TINY[name], activation="mish", attention_dropout=0.5)
    assert backbone.get_config().items() >= (TINY[name] | {"activation": "mish", "attention_dropout": 0.5}).items()
    assert all(getattr(backbone, argument) == value for argument, value in TINY[name].items())
    assert backbone.num_layers == 1


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("activation", vertebra.activations.NAMES)
def test_each_activation_can_be_had(name, activation):
    assert getattr(vertebra.models, name)(**TINY[name], activation=activation).activation == activation


@pytest.mark.parametrize("types", [5, "full_attention", [["full_attention"]], {"full_attention": 1}])
def test_layer_types_of_another_type_are_named(types):
    with pytest.raises(ValueError, match="layer_types="):
        vertebra.models.GemmaBackbone(**GEMMA, layer_types=types)


def test_layer_types_may_be_a_tuple():
    backbone = vertebra.models.GemmaBackbone(**GEMMA, layer_types=("full_attention",))
    assert backbone.get_config()["layer_types"] == ["full_attention"]


def test_there_are_as_many_kinds_as_are_tested():
    constrained = {name for name, value in vars(hints).items() if hasattr(value, "__metadata__")}
    assert constrained | {"Flag"} == WRONG.keys()  # which is a plain bool
