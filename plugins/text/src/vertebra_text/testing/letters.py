"""A small tokenizer for tests of tasks: a few words, and all letters."""

from __future__ import annotations

import json
import string
from pathlib import Path

from vertebra_text.tokenizers.interface import Tokenizer

_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "fox", "dog", "the", ".")
_LETTERS = (*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase))


def small_tokenizer(folder: Path) -> Tokenizer:
    """Writes the files of a tokenizer into a folder, which may be that of a preset, and reads it.

    Its vocabulary has 63 tokens: BERT's special tokens, six words, and all lower-case letters, at the start of a word
    and within one.
    """
    (folder / "vocab.txt").write_text("\n".join((*_WORDS, *_LETTERS)), encoding="utf-8")
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return Tokenizer.from_preset(folder)
