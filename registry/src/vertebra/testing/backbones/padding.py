"""The rules for padding: it changes no token, and some backbones do not compute it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import pytest

from vertebra import layers
from vertebra._presets.certificate import flatten
from vertebra.testing.backbones.comparing import Arrays, arrays_of, computed, largest_difference
from vertebra.testing.backbones.fixtures import BackboneFixtures, MakeInputs
from vertebra.testing.rules import rule

_COPIES = 2
"""Copies of the last token, as in batches that are computed in few shapes."""


class PaddingRules(BackboneFixtures):
    """The rules for backbones with the input `padding_mask`, and for the layers `Unpad` and `Pad`."""

    @rule("BB-19")
    def test_padding_is_not_computed_if_the_tokens_are_given(
        self, backbone: Any, compiled: Any, make_inputs: MakeInputs, tolerance: float
    ) -> None:
        """A backbone with the layer `Unpad` computes only tokens before `Pad`: they do not change, and padding is zero.

        The batch has a full row, one that ends with padding and one that begins with it.
        """
        if not layers.can_unpad(backbone):
            pytest.skip("the backbone has no layer `Unpad`")
        inputs, mask = _padded(make_inputs(backbone, 3))
        expected, count = computed(backbone, inputs), int(mask.sum()) + _COPIES
        tokens = layers.tokens_of(mask, count)
        with _shapes_between() as shapes:
            with layers.computing(tokens):
                eager = computed(backbone, inputs)
            found = {"eager": eager, "compiled": arrays_of(compiled(inputs, tokens=tokens))}
        assert {shape[:2] for shape in shapes} == {(1, count)}, "shapes of the inputs of dense layers"
        by_token = _outputs_by_token(backbone)
        for mode, outputs in found.items():
            gap = largest_difference(_of_tokens(outputs, mask, by_token), _of_tokens(expected, mask, by_token))
            assert gap <= tolerance, f"{mode} outputs differ by {gap:.2g}"
            assert [name for name in by_token if outputs[name][mask == 0].any()] == [], f"{mode} outputs of padding"

    @rule("BB-20")
    def test_padding_changes_no_token(self, backbone: Any, make_inputs: MakeInputs, tolerance: float) -> None:
        """With the input `padding_mask`, tokens have the same outputs whatever ids padding has, at either end."""
        if not isinstance(backbone.input, Mapping) or "padding_mask" not in backbone.input:
            pytest.skip("the backbone has no input `padding_mask`")
        inputs, mask = _padded(make_inputs(backbone, 3))
        changed = {
            name: array if name == "padding_mask" else _other_padding(array, mask) for name, array in inputs.items()
        }
        found, expected = computed(backbone, changed), computed(backbone, inputs)
        by_token = _outputs_by_token(backbone)
        gap = largest_difference(_of_tokens(found, mask, by_token), _of_tokens(expected, mask, by_token))
        assert gap <= tolerance, f"outputs of tokens differ by {gap:.2g}"


def _padded(inputs: Mapping[str, Any]) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """Returns inputs of three rows, the second ends with padding and the third begins with it; and their mask."""
    mask = np.ones_like(inputs["padding_mask"])
    mask[1, -1] = mask[2, 0] = 0
    return {**inputs, "padding_mask": mask}, mask


def _other_padding(array: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Returns an input with other values of the same range at padding, if it has a value for each token."""
    if array.shape[:2] != mask.shape:
        return array
    is_padding = mask.reshape(*mask.shape, *[1] * (array.ndim - 2)) == 0
    changed: np.ndarray[Any, Any] = np.where(is_padding, array.min() + array.max() - array, array).astype(array.dtype)
    return changed


def _outputs_by_token(backbone: Any) -> set[str]:
    return {name for name, tensor in flatten("outputs", backbone.output).items() if tensor.shape[1:2] == (None,)}


def _of_tokens(arrays: Arrays, mask: np.ndarray[Any, Any], by_token: set[str]) -> Arrays:
    """Returns the outputs of tokens; of outputs without tokens, such as a pooled one, the rows that begin with one."""
    return {name: array[mask == 1 if name in by_token else mask[:, 0] == 1] for name, array in arrays.items()}


@contextlib.contextmanager
def _shapes_between() -> Iterator[list[tuple[int, ...]]]:
    """Yields the shapes of the inputs of dense layers that are called between `Unpad` and `Pad`."""
    shapes: list[tuple[int, ...]] = []
    between = False

    def watching(call: Any, starts: bool | None) -> Any:
        def watched(layer: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal between
            if starts is not None:
                between = starts
            elif between:
                shapes.append(tuple(x.shape))
            return call(layer, x, *args, **kwargs)

        return watched

    with pytest.MonkeyPatch.context() as patch:
        dense = ((kind, None) for kind in (keras.layers.Dense, keras.layers.EinsumDense))
        for kind, starts in ((layers.Unpad, True), (layers.Pad, False), *dense):
            patch.setattr(kind, "call", watching(kind.call, starts))
        yield shapes
