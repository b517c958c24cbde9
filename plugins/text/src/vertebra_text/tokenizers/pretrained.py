"""`PretrainedTokenizer`: a tokenizer of the `tokenizers` library, read from the files of transformers or KerasHub."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vertebra import PresetFiles
from vertebra.errors import ArgumentError, PresetConfigError, printable
from vertebra_text.tokenizers.encoding.assembly import Assembly, Layout
from vertebra_text.tokenizers.encoding.flat import FlatTokens, encoded
from vertebra_text.tokenizers.encoding.options import CALL, EncodingOptions
from vertebra_text.tokenizers.encoding.template import PLAIN, PLAIN_PAIR, Template, templates_of
from vertebra_text.tokenizers.encoding.texts import Texts, arranged, unencodable
from vertebra_text.tokenizers.encoding.truncation import kept_lengths
from vertebra_text.tokenizers.files import kerashub, transformers
from vertebra_text.tokenizers.files.guard import file_errors
from vertebra_text.tokenizers.files.parts import TokenizerParts
from vertebra_text.tokenizers.interface import Arrays, Tokenizer
from vertebra_text.tokenizers.roles import SpecialId, SpecialToken

_NATIVE = "native"
"""Vertebra's own format holds the files of either library."""
_JOINED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
"""Signs that transformers joins to the word before them, on request, in its order."""


class PretrainedTokenizer(Tokenizer):
    """A tokenizer of the `tokenizers` library, with the special tokens and options of a preset's files.

    Args:
        parts: What the files say.
    """

    files_description: ClassVar[str] = (
        "a tokenizer.json, vocab.txt, vocab.json with merges.txt, SentencePiece model, or KerasHub's assets/tokenizer"
    )

    bos_token, bos_token_id = SpecialToken("bos"), SpecialId("bos")
    eos_token, eos_token_id = SpecialToken("eos"), SpecialId("eos")
    unk_token, unk_token_id = SpecialToken("unk"), SpecialId("unk")
    sep_token, sep_token_id = SpecialToken("sep"), SpecialId("sep")
    pad_token, pad_token_id = SpecialToken("pad"), SpecialId("pad")
    cls_token, cls_token_id = SpecialToken("cls"), SpecialId("cls")
    mask_token, mask_token_id = SpecialToken("mask"), SpecialId("mask")
    start_token, start_token_id = SpecialToken("cls", "bos"), SpecialId("cls", "bos")
    """KerasHub's names of the first special token of a sequence."""
    end_token, end_token_id = SpecialToken("sep", "eos"), SpecialId("sep", "eos")

    def __init__(self, parts: TokenizerParts) -> None:
        self.parts = parts
        self.special = dict(parts.special)
        """The special tokens, by role."""
        self.max_length, self.formats = parts.max_length, (parts.format, _NATIVE)
        self.input_names = ("token_ids", "padding_mask", *(("segment_ids",) if parts.segments else ()))
        self.padding_side, self.truncation_side = parts.padding_side, parts.truncation_side
        self._backend = parts.backend
        try:
            self._templates = templates_of(self._backend.post_processor)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise PresetConfigError("tokenizer.json", f"its post_processor cannot be used ({error})") from error

    @classmethod
    def reads(cls, names: Collection[str]) -> bool:
        return kerashub.reads(names) or transformers.reads(names)

    @classmethod
    def read(cls, files: PresetFiles) -> PretrainedTokenizer:
        return cls((kerashub if kerashub.owns(files) else transformers).read(files))

    # === The vocabulary ===

    @property
    def backend(self) -> Any:
        """The tokenizer of the `tokenizers` library; do not change it."""
        return self._backend

    @property
    def special_tokens(self) -> list[str]:
        """The special tokens, each once."""
        return list(dict.fromkeys(self.special.values()))

    @property
    def special_token_ids(self) -> list[int]:
        """The ids of `special_tokens`."""
        return [self.token_to_id(token) for token in self.special_tokens]

    def vocabulary_size(self) -> int:
        return max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def get_vocabulary(self) -> list[str | None]:
        """Returns the token of each id, None for ids without a token."""
        tokens: list[str | None] = [None] * self.vocabulary_size()
        for token, index in self._backend.get_vocab(with_added_tokens=True).items():
            tokens[index] = token
        return tokens

    def token_to_id(self, token: str) -> int:
        index = self._backend.token_to_id(token) if isinstance(token, str) else None
        if index is None:
            raise ArgumentError("token_to_id", "token", token, "a token of the vocabulary")
        return int(index)

    def id_to_token(self, id: int) -> str:
        (index,) = _ids("id_to_token", [id])
        token = self._backend.id_to_token(index)
        if token is None:
            raise ArgumentError("id_to_token", "id", id, f"an id of the vocabulary, below {self.vocabulary_size()}")
        return str(token)

    # === Texts to ids ===

    def tokenize(self, texts: Any) -> Any:
        checked = arranged(texts, None)
        if checked.second is not None:
            raise ArgumentError("tokenize", "texts", texts, "texts, not pairs")
        flat = self._encoded(checked, checked.first, EncodingOptions())
        rows = [row.tolist() for row in np.split(flat.ids, np.cumsum(flat.lengths)[:-1])]
        return rows[0] if checked.is_single else rows

    def encode_texts(self, texts: Texts, options: EncodingOptions) -> Arrays:
        template = self._template(texts, options)
        flats = [self._encoded(texts, items, options) for items in (texts.first, texts.second) if items is not None]
        kept = self._truncated(flats, template, options)
        layout = Layout(
            options.sequence_length,
            options.pad_to_multiple_of,
            options.padding_side or self.padding_side,
            self.pad_token_id or 0,  # as KerasHub pads without such a token: the mask says which tokens count
            0,
        )
        assembly = Assembly(template, kept, layout)
        arrays = self._arrays(assembly, options)
        if options.return_num_truncated_tokens:
            arrays["num_truncated_tokens"] = (_totals(flats) - _totals(kept)).astype("int32")
        return arrays

    def _template(self, texts: Texts, options: EncodingOptions) -> Template:
        single, pair = self._templates if options.add_special_tokens else (PLAIN, PLAIN_PAIR)
        return single if texts.second is None else pair

    def _arrays(self, assembly: Assembly, options: EncodingOptions) -> Arrays:
        builders = {
            "token_ids": assembly.token_ids,
            "padding_mask": assembly.padding_mask,
            "segment_ids": assembly.segment_ids,
        }
        arrays = {name: builders[name]() for name in self.input_names}
        if options.return_offsets_mapping:
            arrays["offset_mapping"] = assembly.offsets()
        if options.return_word_ids:
            arrays["word_ids"] = assembly.words()
        if options.return_special_tokens_mask:
            arrays["special_tokens_mask"] = assembly.special_tokens_mask()
        return arrays

    def _encoded(self, texts: Texts, items: list[Any], options: EncodingOptions) -> FlatTokens:
        encode = self._backend.encode_batch if options.needs_offsets else self._backend.encode_batch_fast
        words = options.is_split_into_words
        with file_errors(self):  # a vocabulary may lack the unknown token, or have ids beyond int32
            try:
                return encoded(
                    partial(encode, is_pretokenized=words, add_special_tokens=False), items, options.needs_offsets
                )
            except TypeError:
                error = unencodable(texts)
                if error is None:
                    raise
                raise error from None

    def _truncated(self, flats: list[FlatTokens], template: Template, options: EncodingOptions) -> list[FlatTokens]:
        most = self._most_tokens(options)
        room = None if most is None else most - template.num_special_tokens
        if room is not None and room < 0:
            raise ArgumentError(CALL, "max_length", most, f"at least {template.num_special_tokens}, the special tokens")
        lengths = [flat.lengths for flat in flats]
        kept = kept_lengths(lengths[0], lengths[1] if len(lengths) > 1 else None, room, options.truncation)
        side = options.truncation_side or self.truncation_side
        return [flat.kept(length, side) for flat, length in zip(flats, kept, strict=False) if length is not None]

    def _most_tokens(self, options: EncodingOptions) -> int | None:
        given = [most for most in (options.max_length, options.sequence_length) if most is not None]
        return min(given) if given else self.max_length

    # === Ids to texts ===

    def detokenize(self, token_ids: Any, *, skip_special_tokens: bool = False) -> Any:
        rows, is_single = _rows(token_ids)
        with file_errors(self):
            texts = self._backend.decode_batch(rows, skip_special_tokens=skip_special_tokens)
        if self.parts.clean_up_spaces and type(self._backend.model).__name__ != "BPE":
            texts = [_cleaned(text) for text in texts]
        return texts[0] if is_single else texts

    def describe(self) -> dict[str, Any]:
        model = type(self._backend.model).__name__
        name = self.parts.class_name if self.parts.family is None else self.parts.family.name
        special = {f"{role}_token": token for role, token in self.special.items()}
        return super().describe() | {
            "kind": f"{name} ({model})",
            "format": self.parts.format,
            "special_tokens": special,
        }

    def with_max_length(self, max_length: int | None) -> PretrainedTokenizer:
        return type(self)(replace(self.parts, max_length=max_length))

    def save_to_preset(self, preset_dir: str | Path, *, format: str | None = None) -> list[str]:
        from vertebra_text.tokenizers.files.writing import write_tokenizer

        names, notes = write_tokenizer(self.parts, preset_dir, format or self.parts.format)
        for note in notes:
            warnings.warn(printable(note), stacklevel=2)
        return names

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of the library's tokenizer loses this flag, also in a worker process.
        state = {name: value for name, value in vars(self).items() if name not in ("parts", "_backend")}
        return _copied, (type(self), self.parts, self._backend.encode_special_tokens), state

    def __repr__(self) -> str:
        return f"<{self.parts.class_name} of {self._backend.get_vocab_size():,} tokens>"


def _copied(kind: type[PretrainedTokenizer], parts: TokenizerParts, encode_special_tokens: bool) -> PretrainedTokenizer:
    parts.backend.encode_special_tokens = encode_special_tokens
    return kind(parts)


def _totals(flats: list[FlatTokens]) -> np.ndarray[Any, Any]:
    """Returns the number of tokens of each row, without special tokens."""
    totals: np.ndarray[Any, Any] = np.sum([flat.lengths for flat in flats], axis=0)
    return totals


def _cleaned(text: str) -> str:
    """Removes the spaces before punctuation marks and short forms of English, as transformers does."""
    for sign in _JOINED:
        text = text.replace(sign, sign.strip())
    return text


def _rows(token_ids: Any) -> tuple[list[list[int]], bool]:
    """Returns token ids as a list of rows, and whether they were one row."""
    values = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
    if isinstance(values, int) and not isinstance(values, bool):
        return [[values]], True
    if not isinstance(values, list | tuple):
        raise ArgumentError("detokenize", "token_ids", token_ids, "a list or an array of token ids, or of such lists")
    if values and all(isinstance(row, list | tuple) or hasattr(row, "tolist") for row in values):
        return [_ids("detokenize", row.tolist() if hasattr(row, "tolist") else row) for row in values], False
    return [_ids("detokenize", values)], True


def _ids(function: str, values: Any) -> list[int]:
    ids = []
    for value in values:
        is_index = hasattr(value, "__index__") and not isinstance(value, bool)
        if not is_index or not 0 <= value.__index__() < 2**32:
            raise ArgumentError(function, "token_ids", value, "an int from 0")
        ids.append(value.__index__())
    return ids
