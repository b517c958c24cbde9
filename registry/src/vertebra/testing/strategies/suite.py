"""The suite that every LoRA strategy must pass.

class TestMyStrategy(StrategySuite):
    @pytest.fixture
    def strategy(self):
        (strategy,) = my_plugin.vertebra_lora_strategies()
        return strategy

Each test adapts a small layer; a kind that the strategy refuses with a `LoraConfigError` is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from vertebra import lora
from vertebra._lora.strategy_check import problems_of
from vertebra.errors import LoraConfigError, LoraTargetError
from vertebra.strategies import LoraStrategy
from vertebra.testing.backbones.inputs import disturb
from vertebra.testing.plugins import PluginSuite, entry_module_of
from vertebra.testing.rules import rule
from vertebra.testing.strategies.layers import KINDS, TARGET, single_layer

Enable = Callable[..., None]
_FORMS = ("short.safetensors", "peft", "keras.lora.h5")
"""Files in which an adapter can be saved: Vertebra's own, PEFT's folder and KerasHub's file."""
on_two_kinds = pytest.mark.parametrize("kind", ["dense", "embedding"], indirect=True)


class StrategySuite(PluginSuite):
    """Tests of a LoRA strategy. Give the subclass a name that pytest collects, and define the fixture `strategy`."""

    # === Fixtures of a subclass ===

    @pytest.fixture
    def strategy(self) -> LoraStrategy:
        """The strategy, as the plugin contributes it."""
        raise NotImplementedError

    @pytest.fixture(params=KINDS)
    def kind(self, request: pytest.FixtureRequest) -> str:
        """The kind of the small layer: each for merging and half precision, a dense layer and a table for all else."""
        return str(request.param)

    @pytest.fixture
    def settings(self, strategy: LoraStrategy, kind: str) -> Mapping[str, Any]:
        """Arguments of `vertebra.lora.enable` for a kind of layer, options included; a rank of 2 by default."""
        return {name: value for name, value in {"rank": 2, "alpha": 3.0}.items() if name in strategy.settings}

    # === Fixtures of the suite ===

    @pytest.fixture
    def entry_module(self, strategy: LoraStrategy, tested_modules: set[str]) -> str:
        """Name of the module that contributes the strategy."""
        return entry_module_of("vertebra_lora_strategies", strategy.name, tested_modules)

    @pytest.fixture
    def light_references(self, strategy: LoraStrategy) -> list[str]:
        """The class of the strategy."""
        return [f"{type(strategy).__module__}:{type(strategy).__name__}"]

    @pytest.fixture
    def enable(self, strategy: LoraStrategy, settings: Mapping[str, Any]) -> Enable:
        """A function that adds an adapter to the layer of a model; it skips the test if the strategy refuses it."""

        def enable(model: Any, **further: Any) -> None:
            try:
                lora.enable(model, target_names=[TARGET], strategy=strategy.name, **settings, seed=1, **further)
            except (LoraConfigError, LoraTargetError) as refused:
                pytest.skip(f"the strategy refuses the layer: {refused}")

        return enable

    # === Rules ===

    @rule("ST-01")
    def test_it_keeps_the_contract(self, strategy: LoraStrategy) -> None:
        """Changes are zero at the start, and `factors`, `kernel_delta` and `delta` are one change.

        Variables are attributes of their names, and those that `learning_rates` and `tensors` name exist.
        """
        assert problems_of([strategy.name]) == {}

    @rule("ST-02")
    def test_merging_computes_the_same_and_can_be_undone(self, kind: str, enable: Enable) -> None:
        """A new adapter changes no output, a merged one computes the same, and unloading restores every bit."""
        model, inputs = single_layer(kind)
        before, weights = _outputs(model, inputs), [v.numpy().tobytes() for v in model.weights]
        enable(model)
        assert np.array_equal(_outputs(model, inputs), before)
        disturb(model.trainable_weights)
        adapted = _outputs(model, inputs)
        assert np.abs(adapted - before).max() > 1e-2
        lora.merge(model)
        np.testing.assert_allclose(_outputs(model, inputs), adapted, atol=2e-5)
        lora.unmerge(model)
        assert np.array_equal(_outputs(model, inputs), adapted)
        lora.unload(model)
        assert np.array_equal(_outputs(model, inputs), before)
        assert [v.numpy().tobytes() for v in model.weights] == weights

    @rule("ST-03")
    @pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])
    def test_it_trains_in_float32_at_half_precision(self, kind: str, policy: str, enable: Enable) -> None:
        """At a layer in bfloat16, the adapter trains in float32, and the outputs stay bfloat16."""
        model, inputs = single_layer(kind, policy)
        before = _outputs(model, inputs)
        enable(model)
        assert {str(variable.dtype) for variable in model.trainable_weights} == {"float32"}
        assert np.array_equal(_outputs(model, inputs), before)
        disturb(model.trainable_weights)
        assert keras.backend.standardize_dtype(model(inputs).dtype) == "bfloat16"
        adapted = _outputs(model, inputs)
        lora.merge(model)
        np.testing.assert_allclose(_outputs(model, inputs), adapted, atol=0.02 * np.abs(adapted).max())

    @rule("ST-04")
    @on_two_kinds
    def test_it_adapts_quantised_layers(self, kind: str, enable: Enable) -> None:
        """An adapter of a layer that is quantised to int8 changes nothing at first, and unloading it restores all."""
        model, inputs = single_layer(kind)
        try:
            model.get_layer(TARGET).quantize("int8")
        except NotImplementedError:
            pytest.skip("Keras cannot quantise the layer")
        before = _outputs(model, inputs)
        enable(model)
        assert np.array_equal(_outputs(model, inputs), before)
        disturb(model.trainable_weights)
        assert np.abs(_outputs(model, inputs) - before).max() > 1e-3
        lora.unload(model)
        assert np.array_equal(_outputs(model, inputs), before)

    @rule("ST-05")
    @on_two_kinds
    @pytest.mark.filterwarnings("ignore:Gradients do not exist")  # the failure names the variables
    def test_every_trainable_variable_gets_a_gradient(self, kind: str, enable: Enable) -> None:
        """Training changes every trainable variable of a used adapter, and no base weight."""
        model, inputs = single_layer(kind)
        base = {id(variable) for variable in model.weights}
        enable(model)
        assert [variable.path for variable in model.trainable_weights if id(variable) in base] == []
        disturb(model.trainable_weights)  # at the start, one factor of two is zero, and the other has no gradient
        before = {variable.path: variable.numpy().copy() for variable in model.weights}
        trainable = {variable.path for variable in model.trainable_weights}
        model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=True)
        random = np.random.default_rng(0)
        model.fit(inputs, random.normal(size=model(inputs).shape), verbose=0)
        changed = {v.path for v in model.weights if not np.array_equal(before[v.path], v.numpy())}
        assert changed == trainable

    @rule("ST-06")
    @on_two_kinds
    def test_files_keep_it(self, kind: str, enable: Enable, tmp_path: Path) -> None:
        """An adapter that is loaded from a file computes the same, in each form of file that can represent it."""
        model, inputs = single_layer(kind)
        enable(model)
        disturb(model.trainable_weights)
        expected = _outputs(model, inputs)
        for form in _FORMS:
            path = tmp_path / form
            try:
                lora.save(model, path)
            except LoraConfigError:
                assert form != _FORMS[0], "Vertebra's own form represents every adapter"
                continue
            fresh, _ = single_layer(kind)
            lora.load(fresh, path)
            np.testing.assert_allclose(_outputs(fresh, inputs), expected, atol=2e-5, err_msg=form)

    @rule("ST-07")
    @on_two_kinds
    def test_adapters_do_not_disturb_each_other(self, kind: str, enable: Enable) -> None:
        """A strategy has no state: a second adapter leaves the outputs of the first as they are."""
        model, inputs = single_layer(kind)
        enable(model, name="one")
        disturb(model.trainable_weights)
        expected = _outputs(model, inputs)
        enable(model, name="two")
        disturb(model.trainable_weights, seed=2)
        assert not np.array_equal(_outputs(model, inputs), expected)
        lora.activate(model, "one")
        assert np.array_equal(_outputs(model, inputs), expected)

    @rule("ST-08")
    @on_two_kinds
    def test_a_seed_gives_the_same_values(self, kind: str, enable: Enable) -> None:
        """Initial values are those of the seed: two adapters with one seed are equal."""
        values = []
        for _ in range(2):
            model, _ = single_layer(kind)
            enable(model)
            values.append([variable.numpy() for variable in model.trainable_weights])
        assert all(np.array_equal(one, other) for one, other in zip(*values, strict=True))


def _outputs(model: Any, inputs: Any) -> np.ndarray[Any, Any]:
    outputs: np.ndarray[Any, Any] = keras.ops.convert_to_numpy(keras.ops.cast(model(inputs, training=False), "float32"))
    return outputs
