"""`TextPreprocessor`: from texts to the inputs of a backbone, as the first step of every text task."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from vertebra.errors import ArgumentError
from vertebra_text.tokenizers.encoding.options import LIMITING

if TYPE_CHECKING:
    from vertebra_text.tokenizers.interface import Arrays, Tokenizer

POOLING_MASK = "pooling_mask"
"""The input of embedders that leave a prompt out of pooling: int32, shape (batch, length), 1 for tokens that count."""


class TextPreprocessor:
    """Tokenizes texts or pairs of texts, cuts rows that are too long, and pads each batch to its longest row.

    A call, `preprocessor(texts)`, returns the backbone's inputs, as `encode` does; `preprocessor(texts, labels)`
    returns `(inputs, labels)`, for training.

    Args:
        tokenizer: The tokenizer.
        sequence_length: The most tokens of a row, with special tokens, or None for as many as tokenizer and backbone
            allow.
        truncation: The part that is cut off a row that is too long, as in `Tokenizer`; `"error"` refuses the text.
        input_names: The backbone's inputs; None means those of the tokenizer's own architecture.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        sequence_length: int | None = None,
        truncation: str = "longest_first",
        input_names: Collection[str] | None = None,
    ) -> None:
        if truncation not in LIMITING:
            raise ArgumentError("TextPreprocessor", "truncation", truncation, f"one of {', '.join(LIMITING)}")
        self.tokenizer, self.truncation = tokenizer, truncation
        self.sequence_length = sequence_length or tokenizer.max_length
        self.input_names = tuple(input_names or tokenizer.input_names)

    def bound_to(self, backbone: Any, inputs: Collection[str] | None = None) -> TextPreprocessor:
        """Returns a preprocessor that makes the inputs of a backbone, and no rows that are too long for it.

        Args:
            backbone: The backbone.
            inputs: Names of the inputs of a task, or None for those of the backbone.
        """
        most = getattr(backbone, "max_sequence_length", None)
        lengths = [length for length in (self.sequence_length, most) if length]
        known = (*self.tokenizer.input_names, "segment_ids", POOLING_MASK)
        names = [name for name in (backbone.input if inputs is None else inputs) if name in known]
        return TextPreprocessor(self.tokenizer, min(lengths, default=None), self.truncation, names)

    def __call__(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Returns the inputs for texts, with labels and weights unchanged, as `keras.utils.pack_x_y_sample_weight`.

        Args:
            x: Texts or pairs of texts, as in `encode`.
            y: Labels, or None.
            sample_weight: A weight for each text, or None.

        Returns:
            The inputs by name, int32, shape (batch, length); with labels, `(inputs, labels)`, and with weights,
            `(inputs, labels, sample_weight)`.

        Raises:
            ArgumentError: a text is not a string, or too long if `truncation` is `"error"`.
        """
        return keras.utils.pack_x_y_sample_weight(self.encode(x), y, sample_weight)

    def encode(self, texts: Any, *, prompt: str = "", **options: Any) -> Arrays:
        """Returns the inputs for texts or pairs of texts: int32 arrays of shape (batch, length), by name.

        Args:
            texts: A list of texts, a list of pairs, or a tuple of two lists.
            prompt: A text that is put before each text.
            **options: Further options of the tokenizer; the arrays that they ask for are returned, too.

        Raises:
            ArgumentError: a text is not a string, or too long if `truncation` is `"error"`.
        """
        texts = with_prompt(prompt, texts)
        arrays = self.tokenizer(texts, max_length=self.sequence_length, truncation=self.truncation, **options)
        if POOLING_MASK in self.input_names:
            arrays[POOLING_MASK] = self._pooling_mask(arrays["padding_mask"], prompt)
        if "segment_ids" in self.input_names and "segment_ids" not in arrays:
            arrays["segment_ids"] = np.zeros_like(arrays["token_ids"])
        unused = set(self.tokenizer.input_names) - set(self.input_names)
        return {name: array for name, array in arrays.items() if name not in unused}

    def _pooling_mask(self, padding_mask: Any, prompt: str) -> Any:
        """Returns the padding mask without the tokens of a prompt, and the special tokens before it."""
        if not prompt:
            return padding_mask
        ids = self.tokenizer([prompt], max_length=self.sequence_length, truncation="longest_first")["token_ids"][0]
        ends = int(ids[-1]) in getattr(self.tokenizer, "special_token_ids", ())  # as [SEP], which follows the text
        return np.where(np.cumsum(padding_mask, axis=1) > len(ids) - ends, padding_mask, 0).astype("int32")


def with_prompt(prompt: str, texts: Sequence[Any]) -> Sequence[Any]:
    """Returns texts with a prompt before each; pairs stay as they are."""
    return [prompt + text if isinstance(text, str) else text for text in texts] if prompt else texts
