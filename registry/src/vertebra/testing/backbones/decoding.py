"""The rules for decoders, which compute each token of a text once and cache its keys and values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops

from vertebra import layers
from vertebra.specs import BackboneSpec, CacheLayout, resolve_reference
from vertebra.testing.backbones.comparing import largest_difference
from vertebra.testing.backbones.fixtures import BackboneFixtures, MakeInputs
from vertebra.testing.rules import rule

_STEPS = (4, 1, 1, 3, 1, 1, 1)
"""Numbers of tokens that calls compute, with all that the first row has before."""
_FEWER = 2
"""The second row has so many tokens fewer in the first call and in that of several tokens."""


class DecodingRules(BackboneFixtures):
    """The rules for architectures that declare a cache."""

    @rule("BB-21")
    def test_new_tokens_are_computed_as_with_all_others(
        self, spec: BackboneSpec, backbone: Any, make_inputs: MakeInputs, tolerance: float
    ) -> None:
        """A decoder with a cache computes each token once, to the states that it has in a call with all tokens.

        The rows of the batch have tokens of different number, so that both begin with padding and one has padding
        between tokens.
        """
        if spec.cache is None:
            pytest.skip("the architecture declares no cache")
        declared = tuple(resolve_reference(spec.cache)(backbone.constructor_config()))
        rows = np.concatenate([np.asarray(make_inputs(backbone, 2)["token_ids"])] * 4, axis=1)[:, : sum(_STEPS)]
        found = _decoded(backbone, rows, CacheLayout(declared, 2 * sum(_STEPS), 2 * _FEWER))
        for row, states in enumerate(found):
            ids = rows[row : row + 1, : len(states)]
            expected = _states(backbone, {"token_ids": ids, "padding_mask": np.ones_like(ids)})[0]
            gap = largest_difference({"states": states}, {"states": expected})
            assert gap <= tolerance, f"states of row {row} differ by {gap:.2g}"


def _decoded(backbone: Any, rows: Any, layout: CacheLayout) -> list[Any]:
    """Returns the states of the tokens of each of two rows, computed a few at a time."""
    cache, slot = layers.empty_cache(layout, len(rows), backbone.compute_dtype), 0
    found: list[list[Any]] = [[] for _ in rows]
    counts = [0] * len(rows)
    for size in _STEPS:
        ids, positions = np.zeros((len(rows), size), "int32"), np.full((len(rows), size), layers.PADDING, "int32")
        new = [size - (_FEWER if row and size > 1 else 0) for row in range(len(rows))]
        for row, count in enumerate(new):
            numbers = np.arange(counts[row], counts[row] + count)
            ids[row, size - count :], positions[row, size - count :] = rows[row][numbers], numbers
        start = ops.convert_to_tensor(np.asarray(slot, "int32"))
        call = layers.Decoding(cache, layout, ops.convert_to_tensor(positions), start, is_first=not slot)
        with layers.decoding(call):
            states = _states(backbone, {"token_ids": ids, "padding_mask": (positions >= 0).astype("int32")})
        cache, slot = call.result, slot + size
        for row, count in enumerate(new):
            found[row].append(states[row, size - count :])
            counts[row] += count
    return [np.concatenate(parts) for parts in found]


def _states(backbone: Any, inputs: Any) -> Any:
    return np.asarray(ops.convert_to_numpy(backbone(inputs, training=False)))
