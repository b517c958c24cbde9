"""The log-probabilities of completions: `TextScores`, and `TokenScores`, the model that computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

import vertebra
from vertebra_generation.training.batches import scored_items
from vertebra_generation.training.encoding import Encoded, arrays, cut, encoded
from vertebra_text import Task

_TARGETS, _POSITIONS = "target_ids", "target_positions"


class TextScores:
    """Scores texts with a task that has `logits_of`."""

    tokenizer: Any
    longest: int | None
    examples: Any
    require_tokenizer: Any
    _scores: Any

    def score(
        self,
        prompts: Any,
        completions: Any = None,
        *,
        per_token: bool = False,
        adapters: Any = None,
        batch_size: int = 32,
    ) -> Any:
        """Returns the log-probability of each completion after its prompt: the sum of those of its tokens.

        A prompt and its completion are tokenized as one text; a token that they share counts. After an empty prompt,
        the text begins with the tokenizer's start token.

        Args:
            prompts: A prompt for each completion, or one for all. Without completions, whole texts, whose first token
                has no probability, or items as in `fit`.
            completions: The completions; None means that `prompts` has them.
            per_token: Whether the log-probability of each token is returned.
            adapters: As in `predict`, with a name for each completion.
            batch_size: The number of texts in a batch.

        Returns:
            float32, shape (completions,), natural logarithms; for one completion, a number. With `per_token`, a list
            with a dict for each: `score`, `token_ids`, `tokens`, and `log_probabilities`, float32, shape (tokens,).

        Raises:
            ArgumentError: prompts and completions differ in number.
            TextError: an item is no text, or longer than the backbone allows.
        """
        self.require_tokenizer()
        items, is_single = scored_items(prompts, completions)
        rows = encoded(self.tokenizer, self.examples(items), ends=False)
        cut(rows, None if self.longest is None else self.longest + 1, refuse=True)  # the last token is no input
        if self._scores is None:
            self.__dict__["_scores"] = TokenScores(self)
        found = self._scores.of_rows(rows, batch_size, adapters)
        if per_token:
            answers = [self._of_tokens(row, values) for row, values in zip(rows, found, strict=True)]
            return answers[0] if is_single else answers
        sums = np.array([values.sum(dtype="float64") for values in found], "float32")
        return float(sums[0]) if is_single else sums

    def _of_tokens(self, row: Encoded, values: Any) -> dict[str, Any]:
        ids = row.ids[row.weights > 0]
        tokens = [self.tokenizer.id_to_token(int(index)) for index in ids]
        total = float(values.sum(dtype="float64"))
        return {"score": total, "token_ids": ids.tolist(), "tokens": tokens, "log_probabilities": values}


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
