"""A tokenizer of characters, whose vocabulary is in one JSON file of a preset."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from vertebra import PresetFiles
from vertebra.errors import ArgumentError
from vertebra_text import Tokenizer

FILE = "example_plugin.json"
PADDING, UNKNOWN = 0, 1
"""Ids of the special tokens."""


class ExamplePluginTokenizer(Tokenizer):
    """A token for each character; those that are not in the vocabulary are `[UNK]`."""

    files_description = FILE

    def __init__(self, characters: Sequence[str]) -> None:
        self._tokens = ["[PAD]", "[UNK]", *characters]
        self._ids = {token: id for id, token in enumerate(self._tokens)}

    # === Files ===

    @classmethod
    def reads(cls, names: Collection[str]) -> bool:
        """Returns whether a preset with files of these names has a vocabulary for this class."""
        return FILE in names

    @classmethod
    def read(cls, files: PresetFiles) -> ExamplePluginTokenizer:
        return cls(files.json(FILE).value["characters"])

    def save_to_preset(self, preset_dir: str | Path, *, format: str | None = None) -> list[str]:
        document = {"characters": self._tokens[2:]}
        Path(preset_dir, FILE).write_text(json.dumps(document), encoding="utf-8")
        return [FILE]

    # === Texts to arrays ===

    def encode_texts(self, texts: Any, options: Any) -> dict[str, Any]:
        """Returns the inputs of a backbone for checked texts; an option that is not supported is refused."""
        if "left" in (options.padding_side, options.truncation_side) or options.return_word_ids:
            raise ArgumentError(type(self).__name__, "options", "left", "sides at the right, and no word ids")
        rows = [self.tokenize(text) for text in texts.first]
        kept = [row[: options.max_length or self.max_length] for row in rows]
        width, step = options.sequence_length or max(map(len, kept)), options.pad_to_multiple_of or 1
        width += -width % step
        ids = np.full((len(kept), width), PADDING, "int32")
        mask = np.zeros((len(kept), width), "int32")
        for number, row in enumerate(kept):
            ids[number, : len(row)], mask[number, : len(row)] = row, 1
        arrays: dict[str, Any] = {"token_ids": ids, "padding_mask": mask}
        if options.return_num_truncated_tokens:
            arrays["num_truncated_tokens"] = np.array([len(row) for row in rows]) - mask.sum(axis=1)
        return arrays

    # === Tokens and ids ===

    def tokenize(self, texts: Any) -> Any:
        if isinstance(texts, str):
            return [self.token_to_id(character) for character in texts]
        return [self.tokenize(text) for text in texts]

    def detokenize(self, token_ids: Any, *, skip_special_tokens: bool = False) -> Any:
        if np.ndim(token_ids) == 2:
            return [self.detokenize(row, skip_special_tokens=skip_special_tokens) for row in token_ids]
        return "".join(self.id_to_token(id) for id in token_ids if id > UNKNOWN or not skip_special_tokens)

    def token_to_id(self, token: str) -> int:
        return self._ids.get(token, UNKNOWN)

    def id_to_token(self, id: int) -> str:
        return self._tokens[id]

    def vocabulary_size(self) -> int:
        return len(self._tokens)
