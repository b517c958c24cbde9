"""`MaskedLM`: the tokens at masked positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from vertebra import heads
from vertebra.errors import ArgumentError
from vertebra_text.tasks.classifier import softmax
from vertebra_text.tasks.head import Head, head_of
from vertebra_text.tasks.task import Task

POSITIONS = "mask_positions"
"""The further input of the model, as in KerasHub: int32, shape (batch, masks)."""


@keras.saving.register_keras_serializable("vertebra_text")
class MaskedLM(Task):
    """Predicts the tokens at masked positions (Devlin et al. 2018, arXiv:1810.04805).

    The inputs are the backbone's and `mask_positions`; the output has shape (batch, masks, vocabulary), in logits.

    Args:
        backbone: The backbone; it has a `token_embedding`.
        preprocessor: As in `Task`.
        head: As in `TextClassifier`.
        **kwargs: `compile` and `name`, as in `Task`.

    Raises:
        ArgumentError: the architecture declares no head for masked language models, and none is given.
    """

    head_task: ClassVar[str] = "MaskedLM"
    """The name under which an architecture declares the head."""

    def __init__(
        self, backbone: Any, preprocessor: Any = None, *, head: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        spec = head_of(self.head_task, backbone, {}) if head is None else heads.HeadSpec.from_config(head)
        if not any(isinstance(layer, heads.Vocabulary) for layer in spec.layers):
            expected = "an architecture with a head for masked language models"
            raise ArgumentError("MaskedLM", "backbone", type(backbone).__name__, expected)
        built = Head(spec, backbone, 0)
        positions = keras.Input((None,), dtype="int32", name=POSITIONS)
        states = backbone(backbone.input)["sequence_output"]
        masked = ops.take_along_axis(states, positions[:, :, None], axis=1)
        outputs = built.connect({"sequence_output": masked})
        inputs = {**backbone.input, POSITIONS: positions}
        super().__init__(backbone, outputs, preprocessor, {"head": spec.to_config()}, inputs=inputs, **kwargs)
        self.__dict__["_head"] = built

    @property
    def built_head(self) -> Head:
        """The layers of the head."""
        return self._head

    def head_weights(self) -> dict[str, Any]:
        return self._head.weights()

    def fill(self, texts: Any, *, top_k: int = 5, adapters: Any = None) -> Any:
        """Returns the likeliest tokens for each mask, each as a dict with `token`, `score` and `text`.

        Args:
            texts: A text with mask tokens, such as `[MASK]`, or a list of texts.
            top_k: The number of tokens for each mask.
            adapters: As in `predict`.

        Returns:
            For each text, a list with a list of tokens for each of its masks; `text` is the text with that one mask
            filled.

        Raises:
            ArgumentError: a text has no mask.
        """
        listed = [texts] if isinstance(texts, str) else list(texts)
        answers = [self._fill(text, top_k, adapters) for text in listed]
        return answers[0] if isinstance(texts, str) else answers

    def _fill(self, text: str, top_k: int, adapters: Any) -> list[list[dict[str, Any]]]:
        mask = self.tokenizer.mask_token
        arrays = self.preprocessor.encode([text])
        positions = np.flatnonzero(arrays["token_ids"][0] == self.tokenizer.mask_token_id)
        if not len(positions):
            raise ArgumentError("MaskedLM", "texts", text, f"texts with {mask}")
        inputs = {**arrays, POSITIONS: positions[None].astype("int32")}
        if adapters is None:
            logits = self.predict_on_batch(inputs)
        else:
            with self.lora_rows(adapters):
                logits = self.predict_on_batch(inputs)
        scores = softmax(np.asarray(logits[0], "float32"))
        return [self._candidates(text, mask, number, row, top_k) for number, row in enumerate(scores)]

    def _candidates(self, text: str, mask: str, number: int, row: Any, top_k: int) -> list[dict[str, Any]]:
        before, after = text.split(mask)[: number + 1], text.split(mask)[number + 1 :]
        found = []
        for index in np.argsort(-row, kind="stable")[:top_k]:
            token = self.tokenizer.detokenize([int(index)])
            filled = mask.join(before) + token + mask.join(after)
            found.append({"token": token, "score": float(row[index]), "text": filled})
        return found

    # === Training ===

    def default_loss(self) -> Any:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
