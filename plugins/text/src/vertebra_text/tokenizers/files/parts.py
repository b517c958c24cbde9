"""`TokenizerParts`: what the files of a tokenizer say, in any format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer

from vertebra_text.tokenizers.families import Family


@dataclass(frozen=True, slots=True)
class TokenizerParts:
    """A tokenizer as data; what the files do not say has its default."""

    backend: Tokenizer
    """The tokenizer of the `tokenizers` library, without truncation and padding."""
    format: str
    """The format that was read: `transformers` or `kerashub`."""
    special: Mapping[str, str]
    """The special tokens, by role, such as `cls`."""
    family: Family | None = None
    """The family, or None for a `tokenizer.json` of another class."""
    class_name: str = "PreTrainedTokenizerFast"
    """The class of transformers."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `Family.options`."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The content of `tokenizer_config.json`, or of KerasHub's config of the tokenizer."""
    segments: bool = False
    """Whether the architecture has segment ids."""
    max_length: int | None = None
    padding_side: str = "right"
    truncation_side: str = "right"
    clean_up_spaces: bool = False
    """Whether decoding removes the spaces before punctuation marks, as transformers does on request."""
    sentencepiece: bytes = b""
    """The SentencePiece model that the vocabulary was read from, or no bytes."""
