"""The suite that every tokenizer must pass.

class TestMyTokenizer(TokenizerSuite):
    @pytest.fixture
    def spec(self):
        (spec,) = my_plugin.vertebra_tokenizers()
        return spec

    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "my_vocabulary.json").write_text(...)
        return tmp_path
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import json
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vertebra
from vertebra import TokenizerSpec
from vertebra.errors import ArgumentError, FormatLimitError, VertebraError
from vertebra.testing import PluginSuite, rule
from vertebra.testing.plugins import entry_module_of
from vertebra_text.testing.options import OPTIONS
from vertebra_text.tokenizers.interface import Tokenizer

_DAMAGED = (b"", b"{}", b"[]", b"null", b"7", b"\xff\xfe", b"{")
"""Contents of a file that is damaged, or of another kind."""
_SHORT = 4
"""A length that cuts the longest text."""


class TokenizerSuite(PluginSuite):
    """Tests of a tokenizer. Give the subclass a name that pytest collects, and define `spec` and `folder`."""

    # === Fixtures of a subclass ===

    @pytest.fixture
    def spec(self) -> TokenizerSpec:
        """The kind of tokenizers, as the plugin contributes it."""
        raise NotImplementedError

    @pytest.fixture
    def folder(self) -> Path:
        """A folder with the files of a small tokenizer."""
        raise NotImplementedError

    @pytest.fixture
    def texts(self) -> Sequence[str]:
        """Texts whose tokens are in the vocabulary, of different lengths; the first is the longest."""
        return ("a bad cab", "cab", "a")

    # === Fixtures of the suite ===

    @pytest.fixture
    def entry_module(self, spec: TokenizerSpec, tested_modules: set[str]) -> str:
        """Name of the module that contributes the tokenizer."""
        return entry_module_of("vertebra_tokenizers", spec.name, tested_modules)

    @pytest.fixture
    def light_references(self, spec: TokenizerSpec) -> Sequence[str]:
        """The class of the tokenizer."""
        return [spec.tokenizer]

    @pytest.fixture
    def tokenizer_class(self, spec: TokenizerSpec) -> type[Tokenizer]:
        """The class."""
        module, _, name = spec.tokenizer.partition(":")
        loaded: type[Tokenizer] = getattr(importlib.import_module(module), name)
        return loaded

    @pytest.fixture
    def tokenizer(self, tokenizer_class: type[Tokenizer], folder: Path) -> Tokenizer:
        """The tokenizer of the folder."""
        return tokenizer_class.read(vertebra.open_files(folder))

    # === Rules ===

    @rule("TK-01")
    def test_the_spec_names_the_class(self, spec: TokenizerSpec, tokenizer_class: type[Tokenizer]) -> None:
        """The reference of the spec is a class of the spec's name with the methods of `vertebra_text.Tokenizer`."""
        assert tokenizer_class.__name__ == spec.name
        methods = [name for name in dir(Tokenizer) if not name.startswith("_")]
        assert [name for name in methods if not hasattr(tokenizer_class, name)] == []

    @rule("TK-02")
    def test_it_is_recognised_by_the_names_of_files(self, tokenizer_class: type[Tokenizer], folder: Path) -> None:
        """`reads` says by file names alone whether a preset has its tokenizer, and claims no preset without one."""
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        assert tokenizer_class.reads(names) is True
        assert tokenizer_class.reads(["config.json", *names]) is True
        assert tokenizer_class.reads([]) is False
        assert tokenizer_class.reads(["config.json", "model.safetensors", "README.md"]) is False
        assert tokenizer_class.files_description

    @rule("TK-03")
    def test_a_call_returns_inputs(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        """A call returns its `input_names` as int32 arrays of shape (texts, length), with ids of the vocabulary.

        A mask is 1 at tokens and 0 at padding.
        """
        found = tokenizer(list(texts))
        assert set(found) == set(tokenizer.input_names)
        assert {array.dtype.name for array in found.values()} == {"int32"}
        assert {array.shape for array in found.values()} == {(len(texts), found["token_ids"].shape[1])}
        assert found["token_ids"].min() >= 0
        assert found["token_ids"].max() < tokenizer.vocabulary_size()
        assert set(np.unique(found["padding_mask"])) <= {0, 1}
        assert found["padding_mask"].sum(axis=1).max() == found["token_ids"].shape[1]

    @rule("TK-04")
    def test_a_text_has_the_same_tokens_in_every_batch(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        """A text has the same tokens alone as in a batch, apart from padding; one text gives arrays of one row."""
        batch = tokenizer(list(texts))
        for row, text in enumerate(texts):
            kept = batch["padding_mask"][row] == 1
            single = tokenizer(text)
            assert single["token_ids"].ndim == 1
            assert np.array_equal(single["token_ids"], batch["token_ids"][row][kept])

    @rule("TK-05")
    def test_lengths_are_those_that_are_asked_for(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        """`sequence_length`, `max_length` and `pad_to_multiple_of` give rows of these lengths; cut tokens are counted.

        Tasks ask for `return_num_truncated_tokens`.
        """
        for length in (_SHORT, 12):
            assert tokenizer(list(texts), sequence_length=length)["token_ids"].shape == (len(texts), length)
        assert tokenizer(list(texts), max_length=_SHORT)["token_ids"].shape[1] <= _SHORT
        assert tokenizer(list(texts), padding="max_length", max_length=_SHORT)["token_ids"].shape[1] == _SHORT
        assert tokenizer(list(texts), pad_to_multiple_of=8)["token_ids"].shape[1] % 8 == 0
        limited = tokenizer.with_max_length(_SHORT)(list(texts), return_num_truncated_tokens=True)
        assert limited["token_ids"].shape[1] <= _SHORT
        cut = tokenizer(list(texts))["padding_mask"].sum(axis=1) - limited["padding_mask"].sum(axis=1)
        assert np.array_equal(limited["num_truncated_tokens"], cut)

    @rule("TK-06")
    @pytest.mark.parametrize("option", OPTIONS)
    def test_an_option_works_or_is_refused(self, tokenizer: Tokenizer, texts: Sequence[str], option: str) -> None:
        """An option that a tokenizer does not support is refused with an `ArgumentError`; others have their effect."""
        try:
            OPTIONS[option](tokenizer, texts)
        except ArgumentError as refused:
            pytest.skip(f"the tokenizer refuses it: {refused}")

    @rule("TK-07")
    def test_values_that_are_no_texts_are_refused(self, tokenizer: Tokenizer) -> None:
        """Bytes, numbers and None are refused with an `ArgumentError`, in a list, too."""
        for wrong in (b"bytes", None, 3, ["a", None], ["a", 1.5]):
            for encode in (tokenizer, tokenizer.tokenize):
                with pytest.raises(ArgumentError):
                    encode(wrong)

    @rule("TK-08")
    def test_tokens_and_ids_are_looked_up(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        """`token_to_id` and `id_to_token` are inverse for the tokens of texts; others are an `ArgumentError`."""
        for id in {id for ids in tokenizer.tokenize(list(texts)) for id in ids}:
            assert tokenizer.token_to_id(tokenizer.id_to_token(id)) == id
        for beyond in (tokenizer.vocabulary_size(), -1):
            with pytest.raises(ArgumentError):
                tokenizer.id_to_token(beyond)
        with pytest.raises(ArgumentError):
            tokenizer.token_to_id("no token of a vocabulary")

    @rule("TK-09")
    def test_the_text_of_tokens_has_these_tokens(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        """`detokenize` returns a text of which `tokenize` makes the same tokens, of one text and of several."""
        ids = tokenizer.tokenize(list(texts))
        assert ids == [tokenizer.tokenize(text) for text in texts]
        for row in ids:
            assert tokenizer.tokenize(tokenizer.detokenize(row)) == row
        assert tokenizer.detokenize(ids) == [tokenizer.detokenize(row) for row in ids]
        padded = tokenizer(list(texts))["token_ids"]
        assert len(tokenizer.detokenize(padded, skip_special_tokens=True)) == len(texts)

    @rule("TK-10")
    def test_files_keep_it(
        self, tokenizer: Tokenizer, tokenizer_class: type[Tokenizer], texts: Sequence[str], tmp_path: Path
    ) -> None:
        """`save_to_preset` writes files from which the class reads the same tokenizer, and returns their names."""
        for format in (None, *tokenizer.formats):
            target = tmp_path / f"saved-{format}"
            target.mkdir()
            try:
                names = tokenizer.save_to_preset(target, format=format)
            except FormatLimitError:
                assert format is not None, "the files that were read can represent it"
                continue
            assert [name for name in names if not (target / name).is_file()] == []
            again = tokenizer_class.read(vertebra.open_files(target))
            found, expected = again(list(texts)), tokenizer(list(texts))
            assert all(np.array_equal(found[name], expected[name]) for name in expected)
            assert again.vocabulary_size() == tokenizer.vocabulary_size()
            tokenizer.with_max_length(_SHORT).save_to_preset(target, format=format)
            assert tokenizer_class.read(vertebra.open_files(target)).max_length == _SHORT

    @rule("TK-11")
    def test_processes_and_threads_may_share_it(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        """It can be copied to other processes, and several threads get the same as one."""
        expected = tokenizer(list(texts))["token_ids"]
        for again in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):  # noqa: S301 (its own bytes)
            assert np.array_equal(again(list(texts))["token_ids"], expected)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: tokenizer(list(texts))["token_ids"], range(8)))
        assert all(np.array_equal(ids, expected) for ids in found)

    @rule("TK-12")
    def test_it_is_described(self, tokenizer: Tokenizer) -> None:
        """`describe` returns facts as JSON, with `kind` and `vocabulary_size`."""
        facts: Any = json.loads(json.dumps(dict(tokenizer.describe())))
        assert isinstance(facts["kind"], str)
        assert facts["vocabulary_size"] == tokenizer.vocabulary_size()

    @rule("TK-13")
    def test_damaged_files_are_refused(
        self, tokenizer_class: type[Tokenizer], folder: Path, texts: Sequence[str]
    ) -> None:
        """A damaged file is an error of `vertebra.errors`, or it can be read after all."""
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            whole = path.read_bytes()
            for damaged in (*_DAMAGED, whole[: len(whole) // 2]):
                path.write_bytes(damaged)
                with contextlib.suppress(VertebraError):
                    tokenizer_class.read(vertebra.open_files(folder))(list(texts))
            path.write_bytes(whole)
