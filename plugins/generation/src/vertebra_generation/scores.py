"""`TokenScores`: the log-probability of each token that counts, given the tokens before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

import vertebra
from vertebra_generation.training.encoding import Encoded, arrays
from vertebra_text import Task

_TARGETS, _POSITIONS = "target_ids", "target_positions"


class TokenScores(Task):
    """Computes log-probabilities of tokens; it shares the layers of a causal language model, and is not saved.

    The inputs are the backbone's, `target_ids`, int32, shape (batch, length): one more than the id of the next token if
    it counts, or else 0; and `target_positions`, int32, shape (batch, targets). The output has the shape of the last.

    Args:
        model: The causal language model.
    """

    def __init__(self, model: Any) -> None:
        backbone = model.backbone
        further = {name: keras.Input((None,), dtype="int32", name=name) for name in (_TARGETS, _POSITIONS)}
        positions = further[_POSITIONS]
        # Logits are computed for the tokens that count only: a vocabulary is large, and so are prompts.
        states = ops.take_along_axis(backbone(backbone.input), positions[:, :, None], axis=1)
        targets = ops.take_along_axis(further[_TARGETS], positions, axis=1)
        outputs = LogProbabilities(dtype="float32", name="log_probabilities")([model.logits_of(states), targets])
        inputs = {**backbone.input, **further}
        super().__init__(backbone, outputs, Rows(model), inputs=inputs, compile=False)

    def require_tokenizer(self) -> None:
        """Does nothing: rows have token ids already."""

    def further_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        counts = inputs[_TARGETS] > 0
        most = max(int(counts.sum(axis=1).max(initial=0)), 1)
        if vertebra.use().compiles_each_shape:
            most = 1 << (most - 1).bit_length()
        return {_POSITIONS: np.argsort(~counts, axis=1, kind="stable")[:, :most].astype("int32")}

    def of_rows(self, rows: Sequence[Encoded], batch_size: int, adapters: Any) -> list[Any]:
        """Returns the log-probabilities of the tokens that count in each row, float32, in order."""
        found: list[Any] = [None] * len(rows)
        for batch in self.inference.batches(rows, batch_size, adapters):
            for row, values in zip(batch.rows, batch.outputs, strict=True):
                found[row] = values[: np.count_nonzero(rows[row].weights)]
        return found


class Rows:
    """Makes the inputs of `TokenScores` of rows of token ids.

    Args:
        model: The causal language model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def sequence_length(self) -> int | None:
        """The most tokens of a row."""
        length: int | None = self._model.longest
        return length

    def encode(self, rows: Sequence[Encoded], **_: Any) -> dict[str, Any]:
        """Returns the inputs of rows, as `TextPreprocessor.encode`."""
        made = arrays([[row] for row in rows], pad_id=self._model.pad_id, multiple=1, most=None)
        targets = np.where(made["weights"] > 0, made["labels"] + 1, 0).astype("int32")
        inputs = {name: made[name] for name in ("token_ids", "padding_mask")}
        return {**inputs, _TARGETS: targets, "num_truncated_tokens": np.zeros(len(rows), "int32")}

    __call__ = encode


@keras.saving.register_keras_serializable("vertebra_generation")
class LogProbabilities(keras.layers.Layer):
    """Computes the log-probability of a token for logits, in float32.

    The inputs are logits, of shape (batch, targets, vocabulary), and targets, of shape (batch, targets): one more than
    the id of the token, or 0 for none, whose log-probability is undefined.
    """

    def call(self, inputs: Any) -> Any:
        logits, targets = inputs
        logits = ops.cast(logits, "float32")
        chosen = ops.take_along_axis(logits, ops.maximum(targets - 1, 0)[:, :, None], axis=-1)[:, :, 0]
        return chosen - ops.logsumexp(logits, axis=-1)

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor(inputs[1].shape, dtype="float32")
