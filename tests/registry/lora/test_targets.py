"""Targets: names, paths, globs, roles and all-linear; a target without a match is a helpful error."""

import warnings

import pytest

import vertebra
from vertebra._lora.targets import find_targets, roles_of
from vertebra.errors import LoraConfigError, LoraDeclarationError, LoraTargetError

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
    with pytest.raises(LoraTargetError, match="it also matches 'second/proj', which cannot be adapted"):
        find_targets(model, ["proj"], {})
    assert list(find_targets(model, ["*/proj"], {})) == ["first/proj"]
    assert list(find_targets(model, ["proj"], {"proj.first": ["first/*"]})) == ["first/proj"]  # a role, not a name


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


@pytest.mark.parametrize("target", ["embeddings_layer_norm", "embeddings_layer_norm*", "transformer_layer_0"])
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


# === Declarations of a class ===


@pytest.fixture
def declaring(toy_class):
    """Returns a model whose class declares roles or targets."""

    def make(**declared):
        return type("DeclaringBackbone", (toy_class,), declared)()

    return make


def trained(model):
    return [variable.path for variable in model.trainable_weights]


@pytest.mark.parametrize(
    "globs", ["dense*", "*", "", (), [], None, 5, {"dense"}, ("dense", 5), ("dense", ""), ["dense", None]], ids=repr
)
@pytest.mark.parametrize("targets", [["mlp"], ["mlp.up"], ["attention/query"], None], ids=str)
def test_a_role_is_a_tuple_or_list_of_globs(declaring, globs, targets):
    """A string would be read character by character, and `*` would adapt every layer."""
    model = declaring(lora_roles={"attention.query": ("*/query",), "mlp.up": globs})
    before = trained(model)
    with pytest.raises(LoraDeclarationError) as caught:
        model.enable_lora(2, targets)
    assert (caught.value.owner, caught.value.attribute) == ("DeclaringBackbone", "lora_roles['mlp.up']")
    assert trained(model) == before
    assert model.lora_adapters == {}


def test_the_tuple_that_was_meant_is_told(declaring):
    with pytest.raises(LoraDeclarationError, match=r"is 'up_\*', expected a tuple .* such as \('up_\*',\)"):
        declaring(lora_roles={"mlp.up": "up_*"}).enable_lora(2, ["mlp.up"])
    with pytest.raises(LoraDeclarationError, match=r"lora_roles is .*, expected a mapping"):
        declaring(lora_roles=["mlp.up"]).enable_lora(2)
    with pytest.raises(LoraDeclarationError, match=r"lora_roles is .*, expected a mapping"):
        declaring(lora_roles={1: ("dense",)}).enable_lora(2)


@pytest.mark.parametrize("target", ["mlp.down", "mlp"])
@pytest.mark.parametrize("globs", [("dwn*",), ("dense", "dwn*"), ["dwn*", "dense"]], ids=str)
def test_a_glob_of_a_role_that_matches_no_layer_is_an_error(declaring, target, globs):
    """The parent role would also silently omit layers."""
    model = declaring(lora_roles={"mlp.up": ("dense",), "mlp.down": globs})
    for call in (lambda: model.enable_lora(2, [target]), lambda: model.enable_lora(2, ["query"], train=[target])):
        with pytest.raises(LoraDeclarationError) as caught:
            call()
        assert caught.value.attribute == "lora_roles['mlp.down']"
        assert "'dwn*' matches none" in str(caught.value)
        assert "DeclaringBackbone" in str(caught.value)
        assert "self.lora_roles" in str(caught.value)
    assert model.lora_adapters == {}
    assert model.enable_lora(2, ["mlp.up"]).layers == ("dense",)  # a role that is not used is not checked


def test_roles_of_one_configuration_are_set_by_the_constructor(toy_class):
    class GatedBackbone(toy_class):
        lora_roles = {"mlp.up": ("dense",), "mlp.gate": ("gate",)}  # noqa: RUF012

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.lora_roles = {"mlp.up": ("dense",)}

    assert GatedBackbone().enable_lora(2, ["mlp"]).layers == ("dense",)
    with pytest.raises(LoraTargetError):
        GatedBackbone().enable_lora(2, ["mlp.gate"])


def test_a_role_of_layers_that_cannot_be_adapted_is_not_suggested_for_itself(declaring):
    import keras

    class Normed(keras.Model):
        lora_roles = {"norms": ("norm",)}  # noqa: RUF012

    inputs = keras.Input((4,))
    model = Normed(inputs, keras.layers.LayerNormalization(name="norm")(inputs))
    with pytest.raises(LoraTargetError) as caught:
        find_targets(model, ["norms"], roles_of(model))
    assert "cannot be adapted" in caught.value.problem
    assert "Did you mean" not in str(caught.value)
    assert "norms" not in caught.value.candidates


@pytest.mark.parametrize("targets", ["dense", "", (), ("dense", 5), None, 5], ids=repr)
def test_targets_of_a_class_are_a_tuple_or_list_of_names(declaring, targets):
    model = declaring(lora_targets=targets)
    with pytest.raises(LoraDeclarationError) as caught:
        model.enable_lora(2)
    assert caught.value.attribute == "lora_targets"
    assert model.enable_lora(2, ["dense"]).layers == ("dense",)


def test_a_target_of_a_class_that_matches_no_layer_is_its_mistake(declaring):
    with pytest.raises(LoraDeclarationError, match="'dens' matches none"):
        declaring(lora_targets=("query", "dens")).enable_lora(2)
    with pytest.raises(LoraDeclarationError, match="'dns' matches none") as caught:
        declaring(lora_roles={"mlp.up": ("dns",)}, lora_targets=("mlp",)).enable_lora(2)
    assert caught.value.attribute == "lora_roles['mlp.up']"
    names = declaring(default_lora_layer_names=lambda self: ["attention_output"])
    assert names.enable_lora(2).layers == ("attention/attention_output",)


def test_a_class_that_declares_no_targets_and_has_no_query_is_told_so():
    import keras

    class Net(vertebra.Backbone):
        def __init__(self, **kwargs):
            inputs = keras.Input((4,))
            super().__init__(inputs, keras.layers.Dense(3, name="up")(inputs), **kwargs)

    with pytest.raises(LoraTargetError) as caught:
        Net().enable_lora(2)
    assert "Net declares no lora_targets" in str(caught.value)
    assert caught.value.target is None
    assert caught.value.candidates == ["up"]
    assert Net().enable_lora(2, ["up"]).layers == ("up",)


@pytest.mark.parametrize("target", ["query", "attention.query", "all-linear"])
def test_layers_quantised_in_a_way_that_takes_no_adapter_are_said_to_be_that(backbone, target):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of layers that cannot be quantised at all
        backbone.quantize("float8")
    with pytest.raises(LoraTargetError) as caught:
        find_targets(backbone, [target], backbone.lora_roles)
    assert "quantised as float8" in caught.value.problem
