"""The suite for LoRA strategies notices faults: each of these strategies breaks one rule."""

import contextlib
import types

import keras
import pytest

import vertebra
from vertebra import LoraStrategy, hookimpl, lora
from vertebra.testing import StrategySuite

pytestmark = pytest.mark.keras(once=True)


class Sound(LoraStrategy):
    """Plain LoRA."""

    name = "acme"

    def build(self, layer, view):
        start = keras.initializers.RandomNormal(seed=layer.seed)
        layer.a = layer.add_weight(name="a", shape=(view.in_features, layer.rank), initializer=start)
        layer.b = layer.add_weight(name="b", shape=(layer.rank, view.out_features), initializer="zeros")

    def factors(self, layer, view):
        return layer.a, layer.b


class TrainsTheBase(Sound):
    """Makes the kernel train, too, as soon as the layer is called."""

    def factors(self, layer, view):
        view.layer.trainable = True
        for variable in view.layer.variables:
            variable.trainable = True
        return super().factors(layer, view)


class Stateful(Sound):
    """Uses the variables of the layer that it built last."""

    def build(self, layer, view):
        super().build(layer, view)
        self.last = layer

    def factors(self, layer, view):
        same = self.last.a.shape == layer.a.shape and self.last.b.shape == layer.b.shape
        return (self.last.a, self.last.b) if same else (layer.a, layer.b)


class Idle(Sound):
    """Has a variable without an effect."""

    def build(self, layer, view):
        super().build(layer, view)
        layer.c = layer.add_weight(name="c", shape=(), initializer="zeros")


class Unseeded(Sound):
    """Draws other initial values each time."""

    def build(self, layer, view):
        start = keras.initializers.RandomNormal()
        layer.a = layer.add_weight(name="a", shape=(view.in_features, layer.rank), initializer=start)
        layer.b = layer.add_weight(name="b", shape=(layer.rank, view.out_features), initializer="zeros")


class ChangesTheBase(Sound):
    """Moves a part of the kernel."""

    def build(self, layer, view):
        super().build(layer, view)
        view.layer.bias.assign(view.layer.bias + 1.0)


TESTS = {
    "ST-02": lambda suite, enable: suite.test_merging_computes_the_same_and_can_be_undone("dense", enable),
    "ST-05": lambda suite, enable: suite.test_every_trainable_variable_gets_a_gradient("dense", enable),
    "ST-07": lambda suite, enable: suite.test_adapters_do_not_disturb_each_other("dense", enable),
    "ST-08": lambda suite, enable: suite.test_a_seed_gives_the_same_values("dense", enable),
}


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (TrainsTheBase, "ST-05"),
        (Stateful, "ST-07"),
        (Idle, "ST-05"),
        (Unseeded, "ST-08"),
        (ChangesTheBase, "ST-02"),
    ],
)
def test_a_strategy_that_breaks_a_rule_is_noticed(kind, rule):
    with installed(Sound()):
        TESTS[rule](StrategySuite(), enable)
    with installed(kind()), pytest.raises(AssertionError) as caught:
        TESTS[rule](StrategySuite(), enable)
    assert caught.value.__notes__[0].startswith(f"{rule}: ")


@contextlib.contextmanager
def installed(strategy):
    plugin = types.ModuleType("acme_strategy")
    plugin.vertebra_lora_strategies = hookimpl(lambda: [strategy], specname="vertebra_lora_strategies")
    vertebra.add_plugin(plugin, "acme")
    try:
        yield
    finally:
        vertebra.remove_plugin("acme")


def enable(model, **further):
    lora.enable(model, rank=2, target_names=["target"], strategy="acme", seed=1, **further)
