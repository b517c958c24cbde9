"""Tokenises sentences into the inputs of a BERT backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

LENGTH = 14
"""Tokens of every sentence, with padding: all of the demo's sentences fit, and only one shape is compiled."""

Arrays = dict[str, np.ndarray[Any, Any]]
"""A model's inputs or outputs, by name."""
Tokenize = Callable[[Sequence[str]], Arrays]


def open_tokenizer(folder: Path) -> Tokenize:
    """Returns a function from sentences to a backbone's inputs, with the tokenizer files of a preset's folder."""
    tokenizer = _read(folder)
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)

    def tokenize(sentences: Sequence[str]) -> Arrays:
        encodings = tokenizer.encode_batch(list(sentences))
        return {
            "token_ids": np.array([encoding.ids for encoding in encodings], "int32"),
            "segment_ids": np.zeros((len(encodings), LENGTH), "int32"),
            "padding_mask": np.array([encoding.attention_mask for encoding in encodings], "int32"),
        }

    return tokenize


def _read(folder: Path) -> Any:
    import tokenizers

    file = folder / "tokenizer.json"
    if file.is_file():
        return tokenizers.Tokenizer.from_file(str(file))
    return tokenizers.BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
