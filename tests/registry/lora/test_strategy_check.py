"""The rules that a strategy of a plugin must keep are checked on a small layer, before anything trains."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import vertebra
from vertebra import AdapterTensor, LoraStrategy, low_rank
from vertebra._discovery.catalog import STRATEGIES, catalog
from vertebra._lora import strategy_check
from vertebra.errors import LoraConfigError, LoraStrategyError

pytestmark = pytest.mark.keras


class Plain(LoraStrategy):
    """Plain LoRA; each subclass has one error."""

    name = "plain"

    def build(self, layer, view):
        low_rank.build(layer, view)

    def factors(self, layer, view):
        return layer.a, layer.b

    def tensors(self, view):
        return low_rank.tensors(view)


class StartsAtOnes(Plain):
    def build(self, layer, view):
        layer.a = layer.add_weight(name="a", shape=(view.in_features, layer.rank), initializer="ones")
        layer.b = layer.add_weight(name="b", shape=(layer.rank, view.out_features), initializer="ones")


class StartsAtNoNumber(Plain):
    def build(self, layer, view):
        low_rank.build(layer, view)
        nothing = lambda shape, dtype: keras.ops.full(shape, float("nan"))  # noqa: E731
        layer.c = layer.add_weight(name="c", shape=(1,), initializer=nothing)

    def kernel_delta(self, layer, view):
        return super().kernel_delta(layer, view) * layer.c


class MergesWithoutScale(Plain):
    def kernel_delta(self, layer, view):
        return keras.ops.matmul(layer.a, layer.b)


class ForgetsToScaleOutputs(Plain):
    def delta(self, layer, view, inputs, outputs):
        return view.up(view.down(inputs, layer.a), layer.b)


class ScalesTheBias(Plain):
    """A change of the outputs that depends on the bias is not a change of the kernel."""

    is_low_rank = False

    def build(self, layer, view):
        layer.m = layer.add_weight(name="m", shape=(1,), initializer="zeros")

    def tensors(self, view):
        return {}

    def delta(self, layer, view, inputs, outputs):
        return outputs * layer.m

    def kernel_delta(self, layer, view):
        return view.matrix() * layer.m


class MergesTransposed(Plain):
    def kernel_delta(self, layer, view):
        return keras.ops.transpose(super().kernel_delta(layer, view))


class AddsOneNumberForAll(Plain):
    def delta(self, layer, view, inputs, outputs):
        return keras.ops.sum(super().delta(layer, view, inputs, outputs))


class KeepsNoVariable(Plain):
    def build(self, layer, view):
        low_rank.build(layer, view)
        layer.add_weight(name="magnitude", shape=(view.out_features,), initializer="ones")


class KeepsItUnderAnotherName(Plain):
    def build(self, layer, view):
        low_rank.build(layer, view)
        layer.m = layer.add_weight(name="magnitude", shape=(view.out_features,), initializer="ones")


class HasNoScale(Plain):
    def scale(self, rank, alpha):
        return None


class HasAnInfiniteScale(Plain):
    def scale(self, rank, alpha):
        return float("inf")


class DividesByNothing(Plain):
    def scale(self, rank, alpha):
        return alpha / 0


class HasWrongShapes(Plain):
    def build(self, layer, view):
        layer.a = layer.add_weight(name="a", shape=(view.in_features, layer.rank), initializer="ones")
        layer.b = layer.add_weight(name="b", shape=(layer.rank + 1, view.out_features), initializer="zeros")

    def tensors(self, view):
        return {}


class HasOneFactor(Plain):
    def factors(self, layer, view):
        return layer.a


class HasAFlatFactor(Plain):
    def factors(self, layer, view):
        return layer.a, layer.b[:, 0]


class HasOtherFactors(Plain):
    """Correct for computing and merging, and wrong for the PEFT export."""

    def factors(self, layer, view):
        return layer.a, layer.b * 2

    def delta(self, layer, view, inputs, outputs):
        return view.up(view.down(inputs, layer.a), layer.b) * layer.scale

    def kernel_delta(self, layer, view):
        return keras.ops.matmul(layer.a, layer.b) * layer.scale


class MisspellsAFactor(Plain):
    def factors(self, layer, view):
        return layer.a, layer.bb


class MisspellsARate(Plain):
    def learning_rates(self, options):
        return {"B": 16.0}


class HasNoRate(Plain):
    def learning_rates(self, options):
        return {"b": None}


class ListsRates(Plain):
    def learning_rates(self, options):
        return ["b"]


class RatesWhatIsFrozen(Plain):
    def build(self, layer, view):
        low_rank.build(layer, view)
        layer.a.trainable = False

    def learning_rates(self, options):
        return {"a": 2.0}


class MisspellsATensor(Plain):
    def tensors(self, view):
        return {"lora_A.weight": AdapterTensor("A", ("in", "rank"))}


class HasUnknownAxes(Plain):
    def tensors(self, view):
        return {"lora_A.weight": AdapterTensor("a", ("in", "r"))}


class HasAxesInAnotherOrder(Plain):
    def tensors(self, view):
        return {"lora_A.weight": AdapterTensor("a", ("rank", "in"))}


class HasATextForATensor(Plain):
    def tensors(self, view):
        return {"lora_A.weight": "a"}


class HasNoAxes(Plain):
    def tensors(self, view):
        return {"lora_A.weight": AdapterTensor("a", None)}


class AddsNothing(Plain):
    def delta(self, layer, view, inputs, outputs):
        return None


class CannotStart(Plain):
    def build(self, layer, view):
        low_rank.build(layer, view)
        layer.c = layer.add_weight(name="c", shape=(1,), initializer=lambda shape: 0)


class HasASwitchAndNoTensors(Plain):
    peft_fields = {"use_plain": True}  # noqa: RUF012

    def tensors(self, view):
        return {}


BROKEN = {
    StartsAtOnes: "the product of factors is up to 3 at the start on a small Dense layer",
    StartsAtNoNumber: "kernel_delta is up to inf at the start",
    MergesWithoutScale: "delta and kernel_delta differ",
    ForgetsToScaleOutputs: "delta and the product of factors differ",
    ScalesTheBias: "delta and kernel_delta differ",
    MergesTransposed: "kernel_delta has shape (8, 16)",
    AddsOneNumberForAll: "delta has shape ()",
    KeepsNoVariable: "does not assign it to layer.magnitude",
    KeepsItUnderAnotherName: "does not assign it to layer.magnitude",
    HasNoScale: "scale(2, 3.0) is None",
    HasAnInfiniteScale: "scale(2, 3.0) is inf",
    DividesByNothing: "scale failed on a small Dense layer (ZeroDivisionError",
    HasWrongShapes: "factors have shapes (16, 2) and (3, 8) on a small Dense layer, expected (16, r) and (r, 8)",
    HasOneFactor: "factors failed on a small Dense layer",
    HasAFlatFactor: "factors have shapes (16, 2) and (2,)",
    HasOtherFactors: "delta and the product of factors differ",
    MisspellsAFactor: "factors failed on a small Dense layer (AttributeError",
    MisspellsARate: "learning_rates names 'B'; the trainable variables are a, b",
    HasNoRate: "learning_rates['b'] is None",
    ListsRates: "learning_rates is ['b']",
    RatesWhatIsFrozen: "the trainable variables are b",
    MisspellsATensor: "expected an AdapterTensor of a variable (a, b)",
    HasUnknownAxes: "axes among in, rank, out",
    HasAxesInAnotherOrder: "declares 'a' as ('rank', 'in'), (2, 16)",
    HasATextForATensor: "tensors['lora_A.weight'] is 'a'",
    HasNoAxes: "tensors failed on a small Dense layer (TypeError",
    AddsNothing: "delta has shape () on a small Dense layer",
    CannotStart: "build failed on a small Dense layer (TypeError",
    HasASwitchAndNoTensors: "it has peft_fields but no tensors",
}


@pytest.fixture
def model():
    """A custom model with one adapted layer."""
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="target")])


@pytest.mark.parametrize(("broken", "told"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_strategy_that_breaks_a_rule_is_refused_by_name(broken, told, model, install_strategy):
    install_strategy(broken())
    for _ in range(2):  # and again, until it is corrected
        with pytest.raises(LoraStrategyError) as caught:
            vertebra.lora.enable(model, 2, ["target"], strategy="plain")
        assert told in caught.value.problem
    assert caught.value.strategy == "plain"
    assert "strategy-plain" in str(caught.value)  # the plugin
    assert vertebra.lora.adapters(model) == {}


class FailsOnAWideLayer(Plain):
    def build(self, layer, view):
        low_rank.build(layer, view)
        if view.in_features > 16:
            layer.c = layer.nothing


class HasNoScaleOfRankThree(Plain):
    def scale(self, rank, alpha):
        return None if rank == 3 else 1.0


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (FailsOnAWideLayer, "it failed for the layer 'target' (AttributeError: "),
        (HasNoScaleOfRankThree, "scale(3, 3.0) is None, expected a finite number"),
    ],
)
def test_a_fault_that_no_small_layer_shows_names_the_strategy_and_the_layer(broken, told, install_strategy):
    install_strategy(broken())
    wide = keras.Sequential([keras.Input((32,)), keras.layers.Dense(4, name="target")])
    with pytest.raises(LoraStrategyError) as caught:
        vertebra.lora.enable(wide, 3, ["target"], strategy="plain")
    assert told in caught.value.problem
    assert vertebra.lora.adapters(wide) == {}


def test_a_model_is_as_it_was_before_a_strategy_was_refused(backbone, inputs, state, install_strategy):
    install_strategy(StartsAtOnes())
    backbone.enable_lora(2, name="first")
    before = state(backbone, inputs)
    with pytest.raises(LoraStrategyError):
        backbone.enable_lora(2, strategy="plain")
    assert state(backbone, inputs) == before


class AddsANumber(Plain):
    """A variable without axes, and factors of rank 1."""

    def build(self, layer, view):
        layer.number = layer.add_weight(name="number", shape=(), initializer="zeros")

    def factors(self, layer, view):
        return layer.number * keras.ops.ones((view.in_features, 1)), keras.ops.ones((1, view.out_features))

    def tensors(self, view):
        return {}


class AssignsInBuild(Plain):
    """Initial values may depend on the kernel, and may be assigned."""

    def build(self, layer, view):
        low_rank.build(layer, view)
        layer.m = layer.add_weight(name="m", shape=(1,), initializer="ones")
        layer.m0 = layer.add_weight(name="m0", shape=(1,), initializer="zeros", trainable=False)
        for variable in (layer.m, layer.m0):
            variable.assign(keras.ops.reshape(keras.ops.max(view.matrix()), (1,)))

    def factors(self, layer, view):
        return layer.a * layer.m / layer.m0, layer.b


class ScalesTheKernel(LoraStrategy):
    """A change that is no product of two matrices, and needs one method only."""

    name = "plain"
    is_low_rank = False

    def build(self, layer, view):
        layer.m = layer.add_weight(name="m", shape=(1,), initializer="zeros")

    def kernel_delta(self, layer, view):
        return view.matrix() * layer.m


class ScalesTheBiasToo(ScalesTheKernel):
    def delta(self, layer, view, inputs, outputs):
        return outputs * layer.m

    def bias_delta(self, layer, view):
        return view.bias() * layer.m


class ForgetsItsBiasDelta(ScalesTheBiasToo):
    def bias_delta(self, layer, view):
        return None


def test_a_strategy_that_merges_without_its_change_of_the_bias_is_refused(model, install_strategy):
    install_strategy(ForgetsItsBiasDelta())
    with pytest.raises(LoraStrategyError, match="delta and kernel_delta differ"):
        vertebra.lora.enable(model, 2, ["target"], strategy="plain")


SOUND = [Plain, AddsANumber, AssignsInBuild, ScalesTheKernel, ScalesTheBiasToo]


@pytest.mark.parametrize("sound", SOUND, ids=lambda kind: kind.__name__)
def test_a_strategy_that_keeps_the_rules_is_used(sound, model, install_strategy):
    install_strategy(sound())
    assert vertebra.lora.enable(model, 2, ["target"], strategy="plain").layers == ("target",)


class TiesOnLookups(Plain):
    """Correct for kernels, and wrong for embeddings."""

    def kernel_delta(self, layer, view):
        return super().kernel_delta(layer, view) * (2 if view.is_lookup else 1)


def test_each_kind_of_layer_is_tried_when_it_is_adapted(backbone, install_strategy):
    install_strategy(TiesOnLookups())
    backbone.enable_lora(2, ["query"], strategy="plain")
    with pytest.raises(LoraStrategyError, match="on a small Embedding layer"):
        backbone.enable_lora(2, ["query", "token_embedding"], strategy="plain", name="other")
    assert list(backbone.lora_adapters) == ["default"]


@pytest.fixture
def tried(monkeypatch):
    """The strategies tested since the test began, by name and kind."""
    found, passes = [], strategy_check._passes
    monkeypatch.setattr(strategy_check, "_sound", set())

    def watch(entry, kind, options):
        found.append((entry.name, kind.__name__))
        return passes(entry, kind, options)

    monkeypatch.setattr(strategy_check, "_passes", watch)
    return found


def test_a_strategy_is_tried_once_that_of_the_core_never_and_none_for_a_file(
    backbone, golden, install_strategy, tried, tmp_path
):
    install_strategy(Plain())
    backbone.enable_lora(2, strategy="plain")
    backbone.enable_lora(2, ["mlp"], strategy="plain", name="other")
    assert tried == [("plain", "DenseView")]
    backbone.unload_lora()
    backbone.enable_lora(2)
    backbone.load_lora_weights(golden / "peft_rslora", name="loaded")
    backbone.merged_copy().save_to_preset(tmp_path / "preset")
    assert tried == [("plain", "DenseView")]


class NeedsSixteenOutputs(Plain):
    def build(self, layer, view):
        if view.out_features != 16:
            raise LoraConfigError("LoRA settings", "layer", view.out_features, "16 outputs")
        low_rank.build(layer, view)


class HasOptions(Plain):
    options = {"ratio": 1.0}  # noqa: RUF012

    def build(self, layer, view):
        if layer.options["ratio"] <= 0:
            raise LoraConfigError("LoRA settings", "ratio", layer.options["ratio"], "a number above 0")
        low_rank.build(layer, view)


def test_what_a_strategy_refuses_of_the_small_layer_the_real_one_decides(backbone, install_strategy):
    install_strategy(NeedsSixteenOutputs())
    backbone.enable_lora(2, ["query"], strategy="plain")  # the small layer has 8
    with pytest.raises(LoraConfigError, match="16 outputs"):
        backbone.enable_lora(2, ["feedforward_intermediate_dense"], strategy="plain", name="other")


def test_options_are_those_of_the_call(backbone, install_strategy, tried):
    install_strategy(HasOptions())
    with pytest.raises(LoraConfigError) as caught:
        backbone.enable_lora(2, strategy="plain", ratio=-1.0)
    assert caught.value.field == "ratio"
    with pytest.raises(LoraConfigError):
        backbone.enable_lora(2, strategy="plain", ratio="wide")
    backbone.enable_lora(2, strategy="plain", ratio=2.0)


@pytest.mark.parametrize("kind", strategy_check._KINDS, ids=lambda kind: kind.__name__)
def test_the_small_layers_compute_what_is_compared(kind):
    trial = strategy_check._Trial(catalog(STRATEGIES).lookup("lora"), kind)
    inputs = strategy_check._tensor(trial._inputs, "int32" if trial._view.is_lookup else "float32")
    expected = keras.ops.convert_to_numpy(trial._view.layer(inputs))
    matrix = keras.ops.convert_to_numpy(trial._view.matrix())
    bias = 0 if trial._view.is_lookup else keras.ops.convert_to_numpy(trial._view.layer.bias)
    assert np.any(bias) or trial._view.is_lookup
    np.testing.assert_allclose(trial._small.times(trial._inputs, matrix) + bias, expected, atol=1e-5)
    assert matrix.shape == (trial._view.in_features, trial._view.out_features)


def test_every_installed_strategy_keeps_the_rules():
    names = [entry.name for entry in catalog(STRATEGIES)]
    assert {"lora", "dora", "pissa", "vera"} <= set(names)
    assert strategy_check.problems_of(names) == {}


PLUGIN = """
from vertebra import LoraStrategy, hookimpl, low_rank

class Shifted(LoraStrategy):
    name = "shifted"

    def build(self, layer, view):
        low_rank.build(layer, view)

    def factors(self, layer, view):
        return layer.a, layer.b + 1

class Exits(Shifted):
    name = "exits"

    def build(self, layer, view):
        import os
        os._exit(3)

@hookimpl
def vertebra_lora_strategies():
    return [Shifted(), Exits()]
"""
DOCTOR = """
import dataclasses, json, sys
from vertebra.cli import doctor
found = doctor._examine_strategies(json.loads(sys.argv[1]))
print(json.dumps([dataclasses.asdict(finding) for finding in found]))
"""


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("broken", "told"),
    [("shifted", "at the start on a small Dense layer, expected 0"), ("exits", "ended the process with status 3")],
)
def test_the_doctor_tries_strategies_in_a_process_of_its_own(tmp_path, runtime, broken, told):
    (tmp_path / "acme_lora.py").write_text(PLUGIN)
    info = tmp_path / "acme_lora-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme_lora\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vertebra]\nacme = acme_lora\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "KERAS_BACKEND": runtime}
    names = json.dumps([broken, "rslora"])
    done = subprocess.run(
        [sys.executable, "-c", DOCTOR, names], capture_output=True, text=True, env=environment, check=True
    )
    found = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert found[f"LoRA strategy {broken}"]["ok"] is False
    assert told in found[f"LoRA strategy {broken}"]["detail"]
    assert found["LoRA strategy rslora"]["ok"] is True
    assert runtime in found["LoRA strategy rslora"]["detail"]


def test_small_layers_take_no_names_from_those_of_the_user(install_strategy):
    """Keras numbers unnamed layers; a check must not change the numbers of later layers."""
    install_strategy(Plain())
    keras.utils.clear_session()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="first"), keras.layers.Dense(4)])
    vertebra.lora.enable(model, 2, ["first"], strategy="plain")
    assert keras.layers.Dense(4).name == "dense_1"
