"""`MaskedLM`: the tokens at masked positions."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

import vertebra
from vertebra import HeadSpec
from vertebra.errors import ArgumentError
from vertebra_text.errors import TextError, require_single_texts
from vertebra_text.layers.head import Head
from vertebra_text.tasks.classifier import softmax
from vertebra_text.tasks.head_task import HeadTask
from vertebra_text.tasks.inference import listed

POSITIONS = "mask_positions"
"""The further input of the model, as in KerasHub: int32, shape (batch, masks)."""


@keras.saving.register_keras_serializable("vertebra_text")
class MaskedLM(HeadTask):
    """Predicts the tokens at masked positions (Devlin et al. 2018, arXiv:1810.04805).

    The inputs are the backbone's and `mask_positions`; the output has shape (batch, masks, vocabulary), in logits.

    Args:
        backbone: The backbone; it has a `token_embedding`.
        preprocessor: As in `Task`.
        mask_selection_rate: The share of the tokens that `fit` masks, in (0, 1).
        head: As in `TextClassifier`.
        **kwargs: `compile` and `name`, as in `Task`.

    Raises:
        ArgumentError: the architecture declares no head for masked language models, and none is given.
    """

    head_task: ClassVar[str] = "MaskedLM"

    def __init__(
        self,
        backbone: Any,
        preprocessor: Any = None,
        *,
        mask_selection_rate: float = 0.15,
        head: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        spec = self.declared(backbone, head)
        if not any(isinstance(layer, HeadSpec.Vocabulary) for layer in spec.layers):
            expected = "an architecture with a head for masked language models"
            raise ArgumentError("MaskedLM", "backbone", type(backbone).__name__, expected)
        if not isinstance(mask_selection_rate, Real) or not 0 < mask_selection_rate < 1:
            raise ArgumentError("MaskedLM", "mask_selection_rate", mask_selection_rate, "a share between 0 and 1")
        built = Head(spec, backbone, 0)
        positions = keras.Input((None,), dtype="int32", name=POSITIONS)
        states = backbone(backbone.input)["sequence_output"]
        masked = ops.take_along_axis(states, positions[:, :, None], axis=1)
        outputs = built.connect({"sequence_output": masked})
        inputs = {**backbone.input, POSITIONS: positions}
        arguments = {"mask_selection_rate": mask_selection_rate}
        super().__init__(backbone, built, preprocessor, arguments, inputs=inputs, outputs=outputs, **kwargs)

    # === Answers ===

    def fill(self, texts: Any, *, top_k: int = 5, adapters: Any = None, batch_size: int = 32) -> Any:
        """Returns the likeliest tokens for each mask, each as a dict with `token`, `score` and `text`.

        Args:
            texts: A text with mask tokens, such as `[MASK]`, or a list of texts.
            top_k: The number of tokens for each mask.
            adapters: As in `predict`.
            batch_size: The number of texts in a batch.

        Returns:
            For each text, a list with a list of tokens for each of its masks; `text` is the text with that one mask
            filled.

        Raises:
            TextError: a text has no mask, or an item is a pair of texts.
        """
        self.require_tokenizer()
        items, mask = listed(texts), self.tokenizer.mask_token
        require_single_texts("MaskedLM", items)
        for number, text in enumerate(items):
            if isinstance(text, str) and mask not in text:
                raise _without_mask(number, text, mask)
        answers: list[Any] = [None] * len(items)
        for batch in self.inference.batches(items, batch_size, adapters):
            counts = np.count_nonzero(batch.arrays["token_ids"] == self.tokenizer.mask_token_id, axis=1)
            for row, count, logits in zip(batch.rows, counts, batch.outputs, strict=True):
                if not count:  # it was cut off
                    raise _without_mask(row, items[row], f"{mask} among the tokens that are kept")
                scores = softmax(np.asarray(logits[:count], "float32"))
                answers[row] = [self._candidates(items[row], mask, n, one, top_k) for n, one in enumerate(scores)]
        return answers[0] if isinstance(texts, str) else answers

    def answers(self, texts: Any, **options: Any) -> Any:
        """Returns what `fill` returns for a list of texts; for `stream`."""
        return self.fill(texts, **options)

    def further_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the positions of the masks, int32, shape (batch, masks); a row with fewer masks repeats others."""
        is_mask = inputs["token_ids"] == self.tokenizer.mask_token_id
        most = max(int(is_mask.sum(axis=1).max(initial=0)), 1)
        if vertebra.use().compiles_each_shape:
            most = 1 << (most - 1).bit_length()
        return {POSITIONS: np.argsort(~is_mask, axis=1, kind="stable")[:, :most].astype("int32")}

    def _candidates(self, text: str, mask: str, number: int, row: Any, top_k: int) -> list[dict[str, Any]]:
        before, after = text.split(mask)[: number + 1], text.split(mask)[number + 1 :]
        found = []
        for index in np.argsort(-row, kind="stable")[:top_k]:
            token = self.tokenizer.detokenize([int(index)])
            filled = mask.join(before) + token + mask.join(after)
            found.append({"token": token, "score": float(row[index]), "text": filled})
        return found

    def sample_inputs(self, arrays: Any) -> Any:
        """Returns the inputs for logits at the first token after the special one of each text."""
        return {**arrays, POSITIONS: np.ones((len(arrays["token_ids"]), 1), "int32")}

    # === Training ===

    def default_loss(self) -> Any:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def prepare(self, texts: Any, labels: Any = None, sample_weight: Any = None) -> Any:
        """Returns one batch with masks: a share of the tokens, whose ids are the labels; as the paper chooses them.

        Of the chosen tokens, 80 % become the mask token, 10 % another token, and 10 % stay.

        Raises:
            ArgumentError: labels are given.
        """
        if labels is not None:
            raise ArgumentError("MaskedLM", "y", type(labels).__name__, "no labels: they are the masked tokens")
        arrays = self.encode(texts, return_special_tokens_mask=True)
        draws = np.random.default_rng(int(np.random.randint(2**31)))
        eligible = (arrays.pop("special_tokens_mask") == 0) & (arrays["padding_mask"] == 1)
        positions, weights = _chosen(eligible, self.mask_selection_rate, draws)
        y = np.take_along_axis(arrays["token_ids"], positions, axis=1)
        self._mask(arrays["token_ids"], positions, weights, draws)
        if sample_weight is not None:
            weights = weights * np.asarray(sample_weight)[:, None]
        return keras.utils.pack_x_y_sample_weight({**arrays, POSITIONS: positions}, y, weights)

    def _mask(self, token_ids: Any, positions: Any, weights: Any, draws: Any) -> None:
        """Replaces the chosen tokens."""
        fate = draws.random(positions.shape)
        others = draws.integers(0, self.tokenizer.vocabulary_size(), positions.shape)
        ids = np.take_along_axis(token_ids, positions, axis=1)
        new = np.where(fate < 0.8, self.tokenizer.mask_token_id, np.where(fate < 0.9, others, ids))
        rows = np.nonzero(weights)[0]
        token_ids[rows, positions[weights > 0]] = new[weights > 0]


def _without_mask(number: int, text: str, mask: str) -> TextError:
    return TextError("MaskedLM", f"texts[{number}]", text, f"a text with {mask}")


def _chosen(eligible: Any, rate: float, draws: Any) -> tuple[Any, Any]:
    """Returns positions of randomly chosen tokens, int32, and their weights, 1 or 0, each of shape (batch, masks).

    A row gets its share of masks, at least one if it has a token; further places have the weight 0.
    """
    order = np.argsort(np.where(eligible, draws.random(eligible.shape), 2), axis=1)
    tokens = eligible.sum(axis=1)
    counts = np.minimum(np.maximum(np.round(tokens * rate), 1), tokens).astype(int)
    most = max(int(counts.max(initial=0)), 1)
    weights = (np.arange(most)[None] < counts[:, None]).astype("float32")
    return order[:, :most].astype("int32"), weights
