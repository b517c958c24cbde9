"""Hooks: layers stay the user's objects, and any partial failure leaves the model unchanged, to the bit."""

import itertools

import keras
import numpy as np
import pytest

from vertebra._lora.layers import adapter_layers as adapter_layers_module
from vertebra._lora.layers import attachment as attachment_module
from vertebra._lora.layers import layer_hooks as hooks_module
from vertebra.errors import LoraStateError

pytestmark = pytest.mark.keras


STEPS = {
    "building an adapter layer": (adapter_layers_module.AdapterLayerBase, "prepare"),
    "creating a variable": (adapter_layers_module.AdapterLayerBase, "add_weight"),
    "giving a variable its first value": (adapter_layers_module, "give_value"),
    "assigning a value": (keras.Variable, "assign"),
    "reading a value": (keras.ops, "convert_to_numpy"),
    "giving a layer its hook's control": (hooks_module, "hold"),
    "giving a layer its adapter layers": (attachment_module, "hold"),
    "making what controls them": (attachment_module, "structure_variable"),
    "attaching a hook": (hooks_module.Hook, "attach"),
    "wrapping a call": (hooks_module.Hook, "_with_adapters"),
    "listing parameters": (keras.layers.Layer, "_post_build"),
    "freezing or thawing a weight": (keras.Variable, "trainable"),
}

TARGETS = ["query", "value", "token_embedding"]


def enable(toy, folder):
    toy.enable_lora(2, TARGETS, name="new", bias="lora", train=["dense"], seed=5)


def enable_alike(toy, folder):
    toy.enable_lora(2, TARGETS, name="new", seed=5)


def load(toy, folder):
    toy.load_lora_weights(folder / "other.safetensors", name="new")


def load_alike(toy, folder):
    toy.load_lora_weights(folder / "plain.safetensors", name="new")


def load_into(toy, folder):
    toy.load_lora_weights(folder / "plain.safetensors", name="plain")


def load_into_what_does_not_act(toy, folder):
    toy.load_lora_weights(folder / "other.safetensors", name="other")


def activate(toy, folder):
    toy.activate_lora("other")


def mix(toy, folder):
    toy.activate_lora({"plain": 0.5, "more": 2.0})


@pytest.fixture(scope="module")
def folder(toy_class, fill, tmp_path_factory):
    """A folder with base weights and adapters: `plain`, and `other`, which has co-trained weights."""
    keras.utils.set_random_seed(1)
    path, toy = tmp_path_factory.mktemp("adapters"), toy_class()
    np.savez(path / "base.npz", *[keras.ops.convert_to_numpy(variable) for variable in toy.weights])
    toy.enable_lora(2, TARGETS, name="plain")
    fill(toy, seed=1)
    toy.save_lora_weights(path / "plain.safetensors")
    toy.enable_lora(3, TARGETS, name="other", bias="lora", train=["dense"])
    fill(toy, seed=2)
    for name in ("bias", "kernel"):
        getattr(toy.get_layer("dense"), name).assign(np.full(getattr(toy.get_layer("dense"), name).shape, 0.5))
    toy.save_lora_weights(path / "other.safetensors")
    return path


@pytest.fixture
def without(toy_class, folder):
    """Builds the backbone without an adapter."""

    def build():
        toy = toy_class()
        toy.set_weights(list(np.load(folder / "base.npz").values()))
        return toy

    return build


@pytest.fixture
def with_plain(without, folder, fill):
    """Builds it with two adapters of the same settings, the second of them active, and one of other settings."""

    def build():
        toy = without()
        toy.load_lora_weights(folder / "other.safetensors", name="other")
        toy.load_lora_weights(folder / "plain.safetensors", name="more")
        toy.load_lora_weights(folder / "plain.safetensors", name="plain")
        fill(toy, seed=3)
        return toy

    return build


@pytest.fixture
def with_other(with_plain):
    """Builds it so that the adapter with co-trained weights is active."""

    def build():
        toy = with_plain()
        toy.activate_lora("other")
        return toy

    return build


class InjectedError(Exception):
    """The exception that the test raises."""


def fail_at(k, patch, owner, name):
    """Makes only the k-th call of a function, or of a property's setter, raise."""
    found, calls = getattr(owner, name), itertools.count()

    def call(*args, **kwargs):
        if next(calls) == k:
            raise InjectedError
        return (found.fset if isinstance(found, property) else found)(*args, **kwargs)

    patch.setattr(owner, name, property(found.fget, call) if isinstance(found, property) else call)


def failures(step, build, action, folder, state, ids):
    """Makes an action fail at the k-th call of a step, for every k; returns the k that left changes behind."""
    toy, harmful = build(), []
    before = state(toy, ids)
    for k in itertools.count():
        with pytest.MonkeyPatch.context() as patch:
            fail_at(k, patch, *STEPS[step])
            try:
                action(toy, folder)
            except InjectedError:
                done = False
            else:
                done = True  # there is no k-th call
        if done:
            return k, harmful
        if state(toy, ids) != before:
            harmful.append(k)
            toy = build()
    raise AssertionError


@pytest.mark.parametrize(
    ("start", "action"),
    [
        ("without", enable),
        ("without", load),
        ("with_plain", enable),
        ("with_plain", enable_alike),
        ("with_plain", load),
        ("with_plain", load_alike),
        ("with_plain", load_into),
        ("with_plain", load_into_what_does_not_act),
        ("with_plain", activate),
        ("with_plain", mix),
        ("with_other", enable_alike),
        ("with_other", mix),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_fails_part_way_leaves_the_model_as_it_was(request, start, action, folder, state, ids):
    """LO-06: an exception after k of n layers, for every k, at every step that loops over layers."""
    build = request.getfixturevalue(start)
    harmful = {step: failures(step, build, action, folder, state, ids)[1] for step in STEPS}
    assert not any(harmful.values()), harmful


def test_every_step_is_taken(without, with_plain, folder, state, ids):
    for step in STEPS:
        found = [(without, enable), (without, load), (with_plain, mix)]
        assert any(failures(step, build, action, folder, state, ids)[0] > 0 for build, action in found), step


# === Layers stay the user's objects ===


def test_a_call_that_the_user_wrapped_is_wrapped_again_after_the_adapter(toy_class, ids, run):
    toy, seen = toy_class(), []
    dense = toy.get_layer("dense")
    original = dense.call
    dense.call = wrapped = lambda inputs, *args, **kwargs: seen.append(1) or original(inputs, *args, **kwargs)
    before = run(toy, ids)
    toy.enable_lora(2, ["dense"])
    assert np.array_equal(run(toy, ids), before)
    assert len(seen) == 2
    toy.unload_lora()
    assert vars(dense)["call"] is wrapped


def test_layers_are_the_same_objects_and_hold_nothing_afterwards(backbone):
    from vertebra._weights.layer_paths import layer_paths

    before = layer_paths(backbone)
    attributes = {path: set(vars(layer)) for path, layer in before.items()}
    backbone.enable_lora(2, ["all-linear"])
    adapted = layer_paths(backbone)
    assert all(adapted[path] is layer for path, layer in before.items())
    backbone.unload_lora()
    assert layer_paths(backbone) == before
    assert {path: set(vars(layer)) for path, layer in before.items()} == attributes


def test_an_activation_is_applied_after_the_sum(toy_class, ids, fill, run):
    toy = toy_class()
    toy.enable_lora(2, ["dense"])
    fill(toy)
    assert np.abs(run(toy, ids)).max() <= 1  # the layer's own activation, tanh
    assert toy.get_layer("dense").activation is keras.activations.linear
    toy.unload_lora()
    assert toy.get_layer("dense").activation is keras.activations.tanh


def test_a_model_around_the_layers_has_no_config_with_an_adapter(backbone):
    backbone.enable_lora(2)
    model = keras.Model(backbone.input, backbone.output["pooled_output"])
    with pytest.raises(LoraStateError):
        model.get_config()
    backbone.unload_lora()
    assert model.get_config()["layers"]


def test_a_model_around_the_layers_has_a_config_while_no_adapter_is_active(backbone):
    backbone.enable_lora(2, ["pooled_dense"])
    backbone.disable_lora()
    model = keras.Model(backbone.input, backbone.output["pooled_output"])
    copy = keras.models.clone_model(model)
    assert copy.get_layer("pooled_dense").activation is keras.activations.tanh
