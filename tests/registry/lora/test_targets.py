"""Targets: names, paths, globs, roles and all-linear; whatever matches nothing is an error that helps."""

import warnings

import pytest

import vertebra
from vertebra._lora.targets import find_targets
from vertebra.errors import LoraConfigError, LoraTargetError

pytestmark = pytest.mark.keras(once=True)

ATTENTION = [f"self_attention/{name}" for name in ("query", "key", "value", "attention_output")]
MLP = ["feedforward_intermediate_dense", "feedforward_output_dense"]


def layers(*names, among=(0, 1)):
    return [f"transformer_layer_{i}/{name}" for i in among for name in names]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (None, layers("self_attention/query", "self_attention/value")),
        (["query"], layers("self_attention/query")),
        (("query", "key"), layers("self_attention/query", "self_attention/key")),
        (["transformer_layer_1/self_attention/key"], layers("self_attention/key", among=[1])),
        (["transformer_layer_0/*"], layers(*ATTENTION, *MLP, among=[0])),
        (["*/query", "query"], layers("self_attention/query")),
        (["*_1/self_attention/[kq]*"], layers("self_attention/query", "self_attention/key", among=[1])),
        (["attention.query"], layers("self_attention/query")),
        (["attention"], layers(*ATTENTION)),
        (["mlp.up"], layers("feedforward_intermediate_dense")),
        (["mlp", "attention.output"], layers("self_attention/attention_output", *MLP)),
        (["all-linear"], [*layers(*ATTENTION, *MLP), "pooled_dense"]),
        (["token_embedding"], ["token_embedding"]),
        (["embedding.token", "pooled_dense"], ["token_embedding", "pooled_dense"]),
    ],
    ids=str,
)
def test_targets_mean_layers(backbone, targets, expected):
    assert sorted(backbone.enable_lora(2, targets).layers) == sorted(expected)


def test_kerashubs_name_of_the_argument_is_accepted(backbone):
    receipt = backbone.enable_lora(2, target_layer_names=["key"])
    assert list(receipt.layers) == layers("self_attention/key")


def test_a_name_that_also_means_what_cannot_be_adapted_is_refused():
    import keras

    first = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="proj")], name="first")
    second = keras.Sequential([keras.Input((4,)), keras.layers.LayerNormalization(name="proj")], name="second")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, second(first(inputs)))
    with pytest.raises(LoraTargetError, match="it also means 'second/proj', which cannot be adapted"):
        find_targets(model, ["proj"], {})
    assert list(find_targets(model, ["*/proj"], {})) == ["first/proj"]
    assert list(find_targets(model, ["proj"], {"proj.first": ["first/*"]})) == ["first/proj"]  # a role, and no name


def test_targets_are_given_once(backbone):
    with pytest.raises(LoraConfigError, match="target_names or this, not both"):
        backbone.enable_lora(2, ["query"], target_layer_names=["key"])
    assert backbone.lora_adapters == {}


def test_a_single_text_is_shown_as_the_list_it_should_be(backbone):
    with pytest.raises(LoraTargetError, match=r"such as \['query'\]"):
        backbone.enable_lora(2, "query")


def test_a_setting_of_another_name_gets_a_suggestion(backbone):
    with pytest.raises(LoraConfigError, match="did you mean 'alpha'"):
        backbone.enable_lora(2, lora_alpha=16)


def test_a_typo_gets_the_candidates_and_a_suggestion(backbone):
    with pytest.raises(LoraTargetError) as caught:
        backbone.enable_lora(2, ["querry"])
    assert caught.value.target == "querry"
    assert {"query", "pooled_dense", "attention.query", "all-linear"} <= set(caught.value.candidates)
    assert "Did you mean 'query'" in str(caught.value)


@pytest.mark.parametrize("targets", [["query", "typo"], ["attention.quer"], ["mlp.*"], [""], ["QUERY"]])
def test_one_target_that_matches_nothing_fails_all_of_them(backbone, targets):
    with pytest.raises(LoraTargetError):
        backbone.enable_lora(2, targets)
    assert backbone.trainable_weights


@pytest.mark.parametrize("target", ["embeddings_layer_norm", "position_embedding", "transformer_layer_0"])
def test_a_layer_that_cannot_be_adapted_is_told_from_one_that_is_not_there(backbone, target):
    with pytest.raises(LoraTargetError) as caught:
        backbone.enable_lora(2, [target])
    assert "cannot be adapted" in caught.value.problem


@pytest.mark.parametrize("targets", ["query", [], (), [5], [None]])
def test_targets_are_a_list_of_names(backbone, targets):
    with pytest.raises(LoraTargetError):
        backbone.enable_lora(2, targets)


def test_any_keras_model_has_targets():
    import keras

    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3, name="head")(keras.layers.Dense(4, name="body")(inputs)))
    assert find_targets(model, ["all-linear"], {}) == {"body": model.get_layer("body"), "head": model.get_layer("head")}
    assert find_targets(model, ["special"], {"special": ("he*",)}) == {"head": model.get_layer("head")}


def test_a_backbone_says_itself_what_is_adapted_unless_it_is_told(toy_class):
    class Own(toy_class):
        lora_targets = ("dense",)

    assert Own().enable_lora(2).layers == ("dense",)
    assert toy_class().enable_lora(2).layers == ("attention/query", "attention/value")
    assert vertebra.Backbone.lora_targets == ("query", "value")


@pytest.mark.parametrize("target", ["query", "attention.query", "all-linear"])
def test_layers_quantised_in_a_way_that_takes_no_adapter_are_said_to_be_that(backbone, target):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of layers that cannot be quantised at all
        backbone.quantize("float8")
    with pytest.raises(LoraTargetError) as caught:
        find_targets(backbone, [target], backbone.lora_roles)
    assert "quantised as float8" in caught.value.problem
