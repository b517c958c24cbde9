"""Rules for training, and for computing with less precision."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import vertebra
from vertebra._keras.internals import all_layers
from vertebra.testing.backbones.comparing import arrays_of, computed, largest_difference
from vertebra.testing.backbones.fixtures import BackboneFixtures, Build
from vertebra.testing.rules import rule

_STEP = 1e3
"""A large step, which also shows gradients that are small."""
_LOW_PRECISION, _QUANTIZED = 0.05, 0.1
"""Relative differences of outputs of tiny random models: rounding adds up, and a wrong value differs by 1 or more."""
_SAVED_AGAIN = 1e-2
"""The same for layers that round their inputs to integers: a tie may round the other way."""


class TrainingRules(BackboneFixtures):
    """Rules for gradients, dtypes and quantisation."""

    @rule("BB-09")
    @pytest.mark.filterwarnings("ignore:Gradients do not exist")  # the failure names the variables
    def test_every_trainable_weight_gets_a_gradient(
        self, build: Build, inputs: Any, without_gradient: Sequence[str]
    ) -> None:
        """Training on all outputs changes every trainable weight."""
        backbone = build()
        before = {name: variable.numpy().copy() for name, variable in backbone.named_weights().items()}
        trainable = {id(variable) for variable in backbone.trainable_weights}
        model = keras.Model(backbone.input, backbone.output)
        model.compile(keras.optimizers.SGD(_STEP), "mse", run_eagerly=True)
        random = np.random.default_rng(0)
        targets = keras.tree.map_structure(lambda out: random.normal(size=out.shape), backbone(inputs))
        model.fit(inputs, targets, verbose=0)
        unchanged = [
            name
            for name, variable in backbone.named_weights().items()
            if id(variable) in trainable and np.array_equal(before[name], variable.numpy())
        ]
        assert [name for name in unchanged if not any(fnmatchcase(name, glob) for glob in without_gradient)] == []

    @rule("BB-10")
    def test_it_computes_with_less_precision(
        self, build: Build, inputs: Any, precisions: Sequence[str], full_precision: Sequence[str]
    ) -> None:
        """With another dtype policy, layers and weights have it, outputs its compute dtype, and nearly equal values."""
        full = build()
        expected = computed(full, inputs)
        for name in precisions:
            policy = keras.dtype_policies.get(name)
            backbone = build(dtype=name)
            backbone.set_weights(full.get_weights())
            others = [layer.name for layer in _layers(backbone) if layer.dtype_policy.name != name]
            assert [one for one in others if not any(fnmatchcase(one, glob) for glob in full_precision)] == [], (
                f"layers without the policy {name}"
            )
            floats = {str(v.dtype) for v in backbone.weights if "float" in str(v.dtype)}
            assert floats == {policy.variable_dtype}, f"weights with the policy {name}"
            outputs = backbone(inputs, training=False)
            dtypes = {keras.backend.standardize_dtype(leaf.dtype) for leaf in keras.tree.flatten(outputs)}
            assert dtypes == {policy.compute_dtype}, f"outputs with the policy {name}"
            gap = largest_difference(arrays_of(outputs), expected)
            assert 0 < gap < _LOW_PRECISION, f"outputs with the policy {name} differ by {gap:.2g}"

    @rule("BB-11")
    @pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
    def test_it_can_be_quantised(self, build: Build, inputs: Any, quantizations: Sequence[str], tmp_path: Path) -> None:
        """Quantised layers compute nearly the same, and a native preset keeps them."""
        for mode in quantizations:
            backbone = build()
            expected = computed(backbone, inputs)
            backbone.quantize(mode)
            if "quantized" not in backbone.get_config():
                pytest.skip("the backbone has no layers that Keras can quantise")
            found = computed(backbone, inputs)
            gap = largest_difference(found, expected)
            assert 0 < gap < _QUANTIZED, f"outputs of {mode} differ by {gap:.2g}"
            backbone.save_to_preset(tmp_path / mode)
            again = vertebra.Backbone.from_preset(tmp_path / mode)
            assert again.get_config()["quantized"] == backbone.get_config()["quantized"]
            assert largest_difference(computed(again, inputs), found) <= _SAVED_AGAIN


def _layers(backbone: Any) -> list[Any]:
    """Returns the layers of a backbone without its inputs, which have dtypes of their own."""
    return [layer for layer in all_layers(backbone) if not isinstance(layer, keras.layers.InputLayer)]
