"""Rules for building and calling a backbone."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

import vertebra
from vertebra._keras.internals import all_layers
from vertebra.specs import BackboneSpec, resolve_reference
from vertebra.testing.backbones.comparing import arrays_of, computed, largest_difference, rows_of
from vertebra.testing.backbones.fixtures import BackboneFixtures, Build, MakeInputs
from vertebra.testing.rules import rule


class CallRules(BackboneFixtures):
    """Rules for constructors, inputs, calls and copies."""

    @rule("BB-01")
    def test_the_spec_names_the_class(self, spec: BackboneSpec) -> None:
        """The reference of the spec is a subclass of `vertebra.Backbone` of the spec's name, registered with Keras."""
        loaded = resolve_reference(spec.backbone)
        assert issubclass(loaded, vertebra.Backbone)
        assert loaded.__name__ == spec.name
        assert getattr(vertebra.models, spec.name) is loaded
        assert keras.saving.get_registered_object(keras.saving.get_registered_name(loaded)) is loaded

    @rule("BB-02")
    def test_a_backbone_is_built_when_it_is_constructed(self, backbone: Any) -> None:
        """A backbone is a functional Keras model that has its inputs, outputs and weights once it is constructed."""
        assert isinstance(backbone, keras.Model)
        assert [layer.path for layer in all_layers(backbone) if not layer.built] == []
        assert keras.tree.flatten(backbone.input)
        assert keras.tree.flatten(backbone.output)
        assert backbone.weights

    @rule("BB-03")
    def test_its_config_describes_it(self, build: Build, arguments: dict[str, Any]) -> None:
        """`get_config` returns the constructor's arguments as JSON, and `from_config` builds the same model from it."""
        backbone = build(trainable=False, name="renamed")
        config = json.loads(json.dumps(backbone.get_config()))
        assert sorted({*arguments, *_parameters(type(backbone))} - config.keys()) == []
        again = type(backbone).from_config(copy.deepcopy(config))
        assert json.loads(json.dumps(again.get_config())) == config
        assert [(v.path, v.shape) for v in again.weights] == [(v.path, v.shape) for v in backbone.weights]
        assert {name: getattr(again, name) for name in arguments} == {n: getattr(backbone, n) for n in arguments}

    @rule("BB-04")
    def test_its_sample_fits_the_inputs_that_it_declares(self, backbone: Any) -> None:
        """`sample_inputs` has the structure, dtypes and shapes of the declared inputs, whichever these are."""
        sample = backbone.sample_inputs()
        keras.tree.assert_same_structure(sample, backbone.input)
        for array, tensor in zip(keras.tree.flatten(sample), keras.tree.flatten(backbone.input), strict=True):
            assert np.asarray(array).dtype.name == keras.backend.standardize_dtype(tensor.dtype)
            pairs = zip(np.shape(array), tensor.shape, strict=True)
            assert all(wanted in (None, size) for size, wanted in pairs), (np.shape(array), tensor.shape)
        assert all(np.isfinite(array).all() for array in computed(backbone, sample).values())

    @rule("BB-05")
    def test_a_batch_has_any_number_of_rows(
        self, backbone: Any, compiled: Any, make_inputs: MakeInputs, tolerance: float
    ) -> None:
        """A batch has any number of rows, none included, and a row has the same outputs in every batch."""
        expected = computed(backbone, make_inputs(backbone, 2))
        alone = arrays_of(compiled(make_inputs(backbone, 1)))
        assert largest_difference(alone, rows_of(expected, slice(1))) <= tolerance
        none, nothing = make_inputs(backbone, 0), rows_of(expected, slice(0))
        for found in (arrays_of(backbone.predict(none, verbose=0)), arrays_of(compiled(none))):
            assert {name: a.shape for name, a in found.items()} == {name: a.shape for name, a in nothing.items()}

    @rule("BB-06")
    def test_its_inputs_have_any_length(
        self, backbone: Any, compiled: Any, make_inputs: MakeInputs, lengths: Sequence[int]
    ) -> None:
        """Free axes of the inputs, such as that of tokens, have any size up to the declared largest one.

        A backbone that needs a first token, as for a pooled output, may refuse an empty axis with a `ValueError`.
        """
        for length in lengths:
            try:
                found = arrays_of(compiled(make_inputs(backbone, 2, length)))
            except ValueError:
                assert length == 0, f"it refuses inputs of length {length}"
                continue
            assert {len(array) for array in found.values()} == {2}
            assert all(np.isfinite(array).all() for array in found.values()), f"outputs for length {length}"

    @rule("BB-07")
    def test_a_call_for_inference_always_computes_the_same(
        self, backbone: Any, compiled: Any, inputs: Any, tolerance: float
    ) -> None:
        """A call for inference computes the same each time, and so does the compiled backbone."""
        expected = computed(backbone, inputs)
        assert largest_difference(computed(backbone, inputs), expected) <= tolerance
        assert largest_difference(arrays_of(compiled(inputs)), expected) <= tolerance

    @rule("BB-08")
    def test_a_copy_computes_the_same_and_shares_no_weight(self, build: Build, inputs: Any, tolerance: float) -> None:
        """Python and Keras can copy it: a copy computes the same, and does not change with the original."""
        backbone = build()
        expected = computed(backbone, inputs)
        clone = keras.models.clone_model(backbone)
        clone.set_weights(backbone.get_weights())
        copied = copy.deepcopy(backbone)
        assert type(copied) is type(backbone)
        for variable in backbone.weights:
            variable.assign(np.zeros(variable.shape))
        for each in (copied, clone):
            assert largest_difference(computed(each, inputs), expected) <= tolerance


def _parameters(kind: type) -> list[str]:
    """Returns the names of a constructor's parameters, without `self`, `*args` and `**kwargs`."""
    parameters = list(inspect.signature(kind).parameters.values())
    return [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
