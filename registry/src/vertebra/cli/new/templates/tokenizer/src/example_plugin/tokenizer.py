"""A tokenizer of characters, whose vocabulary is in one JSON file of a preset."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from vertebra import PresetFiles
from vertebra.errors import ArgumentError, PresetConfigError
from vertebra_text import Tokenizer

FILE = "example_plugin.json"
PADDING, UNKNOWN = 0, 1
"""Ids of the special tokens."""
SUPPORTED = {"max_length", "sequence_length", "pad_to_multiple_of", "add_special_tokens", "return_num_truncated_tokens"}
"""The options of a call that have an effect; the others are refused."""


class ExamplePluginTokenizer(Tokenizer):
    """A token for each character; those that are not in the vocabulary are `[UNK]`."""

    files_description = FILE

    def __init__(self, characters: Sequence[str], max_length: int | None = None) -> None:
        self._tokens = ["[PAD]", "[UNK]", *characters]
        self._ids = {token: id for id, token in enumerate(self._tokens)}
        self.max_length = max_length

    # === Files ===

    @classmethod
    def reads(cls, names: Collection[str]) -> bool:
        """Returns whether a preset with files of these names has a vocabulary for this class."""
        return FILE in names

    @classmethod
    def read(cls, files: PresetFiles) -> ExamplePluginTokenizer:
        """Reads the vocabulary; the file may come from anywhere, so that each value is checked."""
        document = files.json(FILE).value
        characters, limit = document.get("characters"), document.get("max_length")
        if not isinstance(characters, list) or not all(isinstance(c, str) and len(c) == 1 for c in characters):
            raise PresetConfigError(f"{files.handle}, {FILE}", "characters is no list of single characters")
        if limit is not None and (type(limit) is not int or limit < 1):
            raise PresetConfigError(f"{files.handle}, {FILE}", f"max_length is {limit!r}, expected an int above 0")
        return cls(characters, limit)

    def save_to_preset(self, preset_dir: str | Path, *, format: str | None = None) -> list[str]:
        document = {"characters": self._tokens[2:], "max_length": self.max_length}
        Path(preset_dir, FILE).write_text(json.dumps(document), encoding="utf-8")
        return [FILE]

    # === Texts to arrays ===

    def encode_texts(self, texts: Any, options: Any) -> dict[str, Any]:
        """Returns the inputs of a backbone for checked texts."""
        self._check(texts, options)
        rows = [self.tokenize(text) for text in texts.first]
        kept = [row[: options.max_length or options.sequence_length or self.max_length] for row in rows]
        width, step = options.sequence_length or max(map(len, kept)), options.pad_to_multiple_of or 1
        width += -width % step
        ids = np.full((len(kept), width), PADDING, "int32")
        mask = np.zeros((len(kept), width), "int32")
        for number, row in enumerate(kept):
            ids[number, : len(row)], mask[number, : len(row)] = row, 1
        arrays: dict[str, Any] = {"token_ids": ids, "padding_mask": mask}
        if options.return_num_truncated_tokens:
            cut = [len(row) - len(short) for row, short in zip(rows, kept, strict=True)]
            arrays["num_truncated_tokens"] = np.array(cut, "int32")
        return arrays

    def _check(self, texts: Any, options: Any) -> None:
        """Refuses what this class does not support: if it were ignored, the tokens would not be those asked for."""
        if texts.second is not None:
            raise ArgumentError(type(self).__name__, "text_pair", texts.second[0], "no pairs of texts")
        for option in dataclasses.fields(options):
            value = getattr(options, option.name)
            if option.name not in SUPPORTED and value not in (option.default, "right"):
                raise ArgumentError(type(self).__name__, option.name, value, "its default, the only one supported")

    # === Tokens and ids ===

    def tokenize(self, texts: Any) -> Any:
        if isinstance(texts, str):
            return [self._ids.get(character, UNKNOWN) for character in texts]
        if not isinstance(texts, Sequence) or isinstance(texts, bytes):
            raise ArgumentError("tokenize", "texts", texts, "a text, or a list of texts")
        return [self.tokenize(text) for text in texts]

    def detokenize(self, token_ids: Any, *, skip_special_tokens: bool = False) -> Any:
        if any(np.ndim(row) for row in token_ids):
            return [self.detokenize(row, skip_special_tokens=skip_special_tokens) for row in token_ids]
        return "".join(self.id_to_token(id) for id in token_ids if id > UNKNOWN or not skip_special_tokens)

    def token_to_id(self, token: str) -> int:
        if token not in self._ids:
            raise ArgumentError("token_to_id", "token", token, "a token of the vocabulary")
        return self._ids[token]

    def id_to_token(self, id: int) -> str:
        if not 0 <= id < len(self._tokens):
            raise ArgumentError("id_to_token", "id", id, f"an id of the vocabulary, below {len(self._tokens)}")
        return self._tokens[id]

    def vocabulary_size(self) -> int:
        return len(self._tokens)
