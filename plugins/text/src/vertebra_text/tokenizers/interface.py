"""`Tokenizer`: the contract of tokenizers, which plugins subclass."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vertebra import PresetFiles, open_files, tasks
from vertebra.errors import PresetNotFoundError
from vertebra_text.tokenizers.encoding.options import EncodingOptions, checked_options
from vertebra_text.tokenizers.encoding.texts import arranged

if TYPE_CHECKING:
    import numpy as np

    from vertebra_text.tokenizers.encoding.texts import Texts

Arrays = dict[str, "np.ndarray[Any, Any]"]
"""A backbone's inputs, by name."""


class Tokenizer(ABC):
    """Turns texts into the inputs of a backbone, and token ids into texts.

    A subclass implements the abstract methods; it gets checked texts and options. Its methods may be called by several
    threads at once.
    """

    input_names: tuple[str, ...] = ("token_ids", "padding_mask")
    """The arrays that a call returns: the inputs of the tokenizer's own architecture."""
    max_length: int | None = None
    """The most tokens of a sequence, with special tokens, or None if the files give no limit."""
    formats: Collection[str] = ()
    """Formats of presets whose readers understand the files that were read. A conversion to another format translates
    the tokenizer with `save_to_preset`; if there are none, it copies the files."""
    files_description: ClassVar[str] = ""
    """The files that the class reads, for the message about a preset without any."""

    # === What a subclass implements ===

    @classmethod
    @abstractmethod
    def reads(cls, names: Collection[str]) -> bool:
        """Returns whether a preset with files of these names has a tokenizer of this class."""

    @classmethod
    @abstractmethod
    def read(cls, files: PresetFiles) -> Tokenizer:
        """Returns the tokenizer of a preset.

        Raises:
            PresetConfigError: a file is invalid.
        """

    @abstractmethod
    def encode_texts(self, texts: Texts, options: EncodingOptions) -> Arrays:
        """Returns the inputs for checked texts: arrays of shape (batch, length)."""

    @abstractmethod
    def tokenize(self, texts: Any) -> Any:
        """Returns the token ids of a text as a list, or those of several texts as a list of lists.

        Without special tokens, truncation and padding, as KerasHub's `tokenize`.

        Raises:
            ArgumentError: a text is not a string.
        """

    @abstractmethod
    def detokenize(self, token_ids: Any, *, skip_special_tokens: bool = False) -> Any:
        """Returns the text of token ids, or a list of texts for a list, or a two-dimensional array, of token ids.

        Raises:
            ArgumentError: `token_ids` holds something else than token ids of the vocabulary.
        """

    @abstractmethod
    def token_to_id(self, token: str) -> int:
        """Returns the id of a token.

        Raises:
            ArgumentError: the vocabulary has no such token.
        """

    @abstractmethod
    def id_to_token(self, id: int) -> str:
        """Returns the token of an id.

        Raises:
            ArgumentError: the vocabulary has no such id.
        """

    @abstractmethod
    def vocabulary_size(self) -> int:
        """Returns the number of ids: the largest id plus one."""

    @abstractmethod
    def save_to_preset(self, preset_dir: str | Path, *, format: str | None = None) -> list[str]:
        """Writes the files of the tokenizer into a preset folder, and returns their names.

        Args:
            preset_dir: The folder; its other files are kept.
            format: The format of the preset, or None for the format that was read.

        Raises:
            FormatLimitError: the format cannot represent the tokenizer.
            PresetSaveError: the files cannot be written.
        """

    # === What a user calls ===

    def with_max_length(self, max_length: int | None) -> Tokenizer:
        """Returns this tokenizer with another limit, which `save_to_preset` writes.

        Args:
            max_length: The most tokens of a sequence, with special tokens, or None for no limit.
        """
        other = copy.copy(self)
        other.max_length = max_length
        return other

    def describe(self) -> dict[str, Any]:
        """Returns facts for `vertebra inspect`, as JSON."""
        size = self.vocabulary_size()
        return {"kind": type(self).__name__, "vocabulary_size": size, "max_length": self.max_length}

    @classmethod
    def from_preset(cls, preset: str | Path) -> Tokenizer:
        """Reads the tokenizer of a preset; fetches no other files than those of the tokenizer.

        Args:
            preset: A built-in id, a handle or a path, as in `vertebra.Backbone.from_preset`.

        Raises:
            PresetNotFoundError: there is no such preset, or it has no tokenizer.
            PresetConfigError: a file of the tokenizer is invalid.
        """
        return cls.from_files(open_files(preset))

    @classmethod
    def from_files(cls, files: PresetFiles) -> Tokenizer:
        """Reads the tokenizer of a preset that is open; raises the errors of `from_preset`."""
        classes = tasks.tokenizer_classes()
        found = next((kind for kind in classes if issubclass(kind, cls) and kind.reads(files.names)), None)
        if found is None:
            files.require_complete()
            expected = ", or ".join(kind.files_description for kind in classes)
            raise PresetNotFoundError(
                files.handle,
                f"it has no tokenizer: none of its files is {expected}",
                remedy="Use the preset's original, or copy the tokenizer's files into its folder",
            )
        tokenizer = found.read(files)
        files.check_all()  # so that all files are of one moment
        return tokenizer

    def decode(self, token_ids: Any, *, skip_special_tokens: bool = False) -> Any:
        """As `detokenize`; the name of transformers."""
        return self.detokenize(token_ids, skip_special_tokens=skip_special_tokens)

    def __call__(
        self,
        texts: str | Sequence[Any],
        text_pair: str | Sequence[Any] | None = None,
        *,
        max_length: int | None = None,
        sequence_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding: str | bool = "longest",
        truncation: str | bool = "longest_first",
        padding_side: str | None = None,
        truncation_side: str | None = None,
        add_special_tokens: bool = True,
        is_split_into_words: bool = False,
        return_offsets_mapping: bool = False,
        return_word_ids: bool = False,
        return_special_tokens_mask: bool = False,
        return_num_truncated_tokens: bool = False,
    ) -> Arrays:
        """Returns the inputs of a backbone for texts.

        Args:
            texts: A text, a list of texts, a list of pairs, or a tuple of two lists of texts.
            text_pair: The second text of each pair.
            max_length: The most tokens of a row, with special tokens; None means the tokenizer's `max_length`.
            sequence_length: The number of tokens of each row: rows are truncated and padded to it. None pads to the
                longest row.
            pad_to_multiple_of: Rows are padded to a multiple of this number.
            padding: As in transformers: `"longest"`, or `"max_length"` for `sequence_length=max_length`.
            truncation: How a row that is too long is shortened: `"longest_first"` shortens the longer text of a pair
                first, `"only_first"` and `"only_second"` one of the texts; `"error"` raises an error, and
                `"do_not_truncate"` cuts nothing. True and False mean the first and the last.
            padding_side: `"right"` or `"left"`; None means the tokenizer's own.
            truncation_side: As `padding_side`.
            add_special_tokens: Whether the special tokens of the architecture are added, such as `[CLS]`.
            is_split_into_words: Whether each text is a list of words.
            return_offsets_mapping: Adds `offset_mapping`: begin and end of each token in its text, in characters:
                int32, shape (batch, length, 2).
            return_word_ids: Adds `word_ids`: the index of the word of each token, -1 for special tokens and padding.
            return_special_tokens_mask: Adds `special_tokens_mask`: 1 for added special tokens and padding.
            return_num_truncated_tokens: Adds `num_truncated_tokens`: how many tokens were cut off each row, shape
                (batch,).

        Returns:
            Arrays named as in `input_names`, and those that were asked for: int32, shape (batch, length); for one text
            instead of a list, without the first axis.

        Raises:
            ArgumentError: a text is not a string, a list is empty, or an option is invalid.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "texts", "text_pair")}
        options = checked_options(given)
        checked = arranged(texts, text_pair, options.is_split_into_words)
        arrays = self.encode_texts(checked, options)
        return {name: array[0] for name, array in arrays.items()} if checked.is_single else arrays
