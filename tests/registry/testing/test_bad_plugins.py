"""The suites notice faults: each of these plugins breaks one rule, and the failure names it."""

import sys
import types

import keras
import pytest

import vertebra
from vertebra import PresetHandle, hints, hookimpl, layers
from vertebra.errors import LoraDeclarationError
from vertebra.testing import BackboneSuite, PolicySuite, TinyBackbone
from vertebra.testing.backbones.inputs import disturb, inputs_for

pytestmark = pytest.mark.keras(once=True)


class Wrong(vertebra.Backbone):
    """A backbone with a layer that breaks a rule, between those of a tiny one and the outputs."""

    def __init__(self, layer, **kwargs):
        inner = TinyBackbone()
        states = layer(inner.output["sequence_output"])
        super().__init__(inputs=inner.input, outputs={"sequence_output": states}, **kwargs)
        self.token_embedding = inner.token_embedding


class MixedRows(keras.layers.Layer):
    def call(self, states):
        return states - keras.ops.mean(states, axis=0, keepdims=True)


class Random(keras.layers.Layer):
    def call(self, states):
        return keras.random.dropout(states, 0.5)


class CutOff(keras.layers.Layer):
    def call(self, states):
        return keras.ops.stop_gradient(states)


class OnlyEight(keras.layers.Layer):
    def call(self, states):
        return keras.ops.where(keras.ops.shape(states)[1] > 8, states / 0, states)


class Unpadded(vertebra.Backbone):
    """A backbone with a layer that breaks the rule for unpadding, between `Unpad` and `Pad`."""

    def __init__(self, layer, **kwargs):
        inner = TinyBackbone()
        states = layers.Unpad()(inner.output["sequence_output"])
        states = layers.Pad()(layer(keras.layers.Dense(8)(states)), inner.input["padding_mask"])
        super().__init__(inputs=inner.input, outputs={"sequence_output": states}, **kwargs)
        self.token_embedding = inner.token_embedding


class MixedTokens(keras.layers.Layer):
    def call(self, states):
        return states - keras.ops.mean(states, axis=1, keepdims=True)


class ComputedPadding(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(8)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, states):
        return layers.unpadded(self.dense(layers.padded(states)))


class IgnoresMask(vertebra.Backbone):
    """A backbone that mixes tokens, those of padding among them, into the outputs of each token."""

    def __init__(self, mixing=MixedTokens, **kwargs):
        inner = TinyBackbone()
        states = mixing()(inner.token_embedding(inner.input["token_ids"]))
        super().__init__(inputs=inner.input, outputs={"sequence_output": states}, **kwargs)
        self.token_embedding = inner.token_embedding


def given(build):
    """Returns what the fixtures of the suite are for a function that builds a backbone."""
    backbone = build()

    def compiled(inputs, tokens=None):
        with layers.computing(tokens):
            return backbone(inputs, training=False)

    return {
        "build": build,
        "backbone": backbone,
        "compiled": compiled,
        "inputs": inputs_for(backbone, 2),
        "make_inputs": inputs_for,
        "lengths": (1, 24),
        "tolerance": 1e-5,
        "without_gradient": (),
        "full_precision": (),
        "arguments": {"width": 8},
        "precisions": ("bfloat16",),
    }


def broken(test, **fixtures):
    """Returns the rule that a failing test of a suite names."""
    names = test.__wrapped__.__code__.co_varnames[1 : test.__wrapped__.__code__.co_argcount]
    with pytest.raises((AssertionError, LoraDeclarationError, RuntimeError)) as caught:
        test(None, **{name: fixtures[name] for name in names})
    (note,) = caught.value.__notes__
    return note.partition(":")[0]


@pytest.mark.parametrize(
    ("layer", "test", "rule"),
    [
        (MixedRows, BackboneSuite.test_a_batch_has_any_number_of_rows, "BB-05"),
        (OnlyEight, BackboneSuite.test_its_inputs_have_any_length, "BB-06"),
        (Random, BackboneSuite.test_a_call_for_inference_always_computes_the_same, "BB-07"),
        (CutOff, BackboneSuite.test_every_trainable_weight_gets_a_gradient, "BB-09"),
    ],
)
def test_a_layer_that_breaks_a_rule_is_noticed(layer, test, rule):
    def build(**overrides):
        backbone = Wrong(layer(), **overrides)
        disturb(backbone.weights)
        return backbone

    assert broken(test, **given(build)) == rule


@pytest.mark.parametrize("layer", [keras.layers.ReLU, MixedTokens, ComputedPadding])
def test_only_layers_that_treat_each_token_alone_keep_the_rule_for_unpadding(layer):
    def build():
        backbone = Unpadded(layer())
        disturb(backbone.weights)
        return backbone

    test, fixtures = BackboneSuite.test_padding_is_not_computed_if_the_tokens_are_given, given(build)
    if layer is keras.layers.ReLU:  # which treats each token alone
        test(None, **{name: fixtures[name] for name in ("backbone", "compiled", "make_inputs", "tolerance")})
    else:
        assert broken(test, **fixtures) == "BB-19"


class Forgets(TinyBackbone):
    """A backbone whose config lacks an argument."""

    def __init__(self, width=8, scale=2.0, **kwargs):
        super().__init__(width=width, **kwargs)


def test_an_argument_that_the_config_lacks_is_noticed():
    assert broken(BackboneSuite.test_its_config_describes_it, **given(Forgets)) == "BB-03"


@keras.saving.register_keras_serializable("bad_plugins")
class SharedLayer(vertebra.Backbone):
    """A backbone whose instances share a layer."""

    layer = None

    def __init__(self, dtype=None, **kwargs):
        tokens = keras.Input((None,), dtype="int32", name="token_ids")
        SharedLayer.layer = SharedLayer.layer or keras.layers.Embedding(9, 4, name="token_embedding")
        super().__init__(inputs={"token_ids": tokens}, outputs=SharedLayer.layer(tokens), dtype=dtype, **kwargs)
        self.token_embedding = SharedLayer.layer


def test_instances_that_share_a_layer_are_noticed():
    assert broken(BackboneSuite.test_a_copy_computes_the_same_and_shares_no_weight, **given(SharedLayer)) == "BB-08"


def test_a_mask_that_is_ignored_is_noticed():
    test = BackboneSuite.test_padding_changes_no_token
    assert broken(test, **given(IgnoresMask)) == "BB-20"
    test(None, IgnoresMask(keras.layers.ReLU), inputs_for, 1e-5)  # which treats each token alone


class Attention(keras.layers.Layer):
    """One head whose queries, keys and values are states with positions."""

    def positions(self, states):
        return layers.positions(states)

    def cached(self, states):
        return layers.cached(states, states)

    def call(self, states, padding_mask):
        numbers = keras.ops.cast(self.positions(states), states.dtype)
        states = states + keras.ops.sin(numbers[:, :, None] * keras.ops.arange(1, 9, dtype=states.dtype))
        query = states[:, :, None]
        key, value = self.cached(query)
        mask = layers.CausalMask()(padding_mask)
        return layers.attend(query, key, value, mask=mask, scale=1.0)[:, :, 0]


class FirstPositions(Attention):
    def positions(self, states):
        return keras.ops.arange(keras.ops.shape(states)[1])[None]


class UncachedKeys(Attention):
    def cached(self, states):
        found = layers.cached(states, states)
        count = keras.ops.shape(found[0])[1] - keras.ops.shape(states)[1]
        return tuple(keras.ops.pad(states, [[0, 0], [count, 0], [0, 0], [0, 0]]) for _ in found)


class Decoder(vertebra.Backbone):
    """A backbone that declares a cache."""

    def __init__(self, attention, **kwargs):
        inner = TinyBackbone()
        states = attention()(inner.token_embedding(inner.input["token_ids"]), inner.input["padding_mask"])
        super().__init__(inputs=inner.input, outputs=states, **kwargs)
        self.token_embedding = inner.token_embedding


@pytest.mark.parametrize("attention", [Attention, FirstPositions, UncachedKeys])
def test_a_decoder_whose_new_tokens_differ_is_noticed(attention, monkeypatch):
    module = types.ModuleType("acme_cache")
    module.layers = lambda arguments: [vertebra.CacheLayer(1, 8)]
    monkeypatch.setitem(sys.modules, "acme_cache", module)
    spec = vertebra.BackboneSpec("Decoder", "acme:Decoder", cache="acme_cache:layers")
    fixtures = given(lambda: Decoder(attention, arguments={})) | {"spec": spec}
    disturb(fixtures["backbone"].weights)
    test = BackboneSuite.test_new_tokens_are_computed_as_with_all_others
    if attention is Attention:  # which keeps the rule
        test(None, **{name: fixtures[name] for name in ("spec", "backbone", "make_inputs", "tolerance")})
    else:
        assert broken(test, **fixtures) == "BB-21"


def test_a_role_with_a_typo_is_noticed():
    def build():
        backbone = TinyBackbone()
        backbone.lora_roles = {"mlp": ("dense_*",), "attention.query": ("qeury",)}
        return backbone

    assert broken(BackboneSuite.test_its_roles_name_layers, **given(build)) == "BB-12"


def test_a_layer_without_the_dtype_is_noticed():
    class Forgetful(TinyBackbone):
        def __init__(self, width: hints.Size = 8, dtype=None, **kwargs):
            tokens = keras.Input((None,), dtype="int32", name="token_ids")
            states = keras.layers.Embedding(5, width, name="token_embedding")(tokens)
            outputs = keras.layers.Dense(width, dtype=dtype, name="dense")(states)
            super(TinyBackbone, self).__init__(
                inputs={"token_ids": tokens}, outputs=outputs, arguments={"width": width}, dtype=dtype, **kwargs
            )

    assert broken(BackboneSuite.test_it_computes_with_less_precision, **given(Forgetful)) == "BB-10"


@pytest.mark.parametrize(
    ("answer", "test", "rule"),
    [
        (lambda handle: [], PolicySuite.test_rewriting_returns_handles, "PO-01"),
        (
            lambda handle: PresetHandle(handle.scheme, f"mirror/{handle.path}", handle.revision),
            PolicySuite.test_rewriting_twice_changes_nothing_more,
            "PO-02",
        ),
        (lambda handle: handle.without_revision(), PolicySuite.test_rewriting_keeps_the_revision, "PO-03"),
    ],
)
def test_a_policy_that_breaks_a_rule_is_noticed(answer, test, rule):
    policy = types.ModuleType("acme_policy")
    policy.vertebra_rewrite_handle = hookimpl(lambda handle: answer(handle), specname="vertebra_rewrite_handle")
    handles = [PresetHandle("file", "a", "v1"), PresetHandle("file", "b")]
    hooks = {"vertebra_rewrite_handle": policy.vertebra_rewrite_handle}
    assert broken(test, hooks=hooks, handles=handles) == rule
