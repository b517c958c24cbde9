"""The vocabulary of a tokenizer is compared with the table of a backbone."""

import pytest

from vertebra.errors import ArgumentError, PresetConfigError
from vertebra_text import check_vocabulary


def test_rows_without_a_token_are_counted(bert):
    size = bert.vocabulary_size()
    assert check_vocabulary(bert, size) == 0
    assert check_vocabulary(bert, size + 64) == 64


def test_tokens_without_a_row_are_named(make, read):
    tokenizer = read(make("bert", {"extra_special_tokens": ["<new>", "<newer>"]}))
    size = tokenizer.vocabulary_size()
    with pytest.raises(PresetConfigError, match=rf"{size - 2:,} rows: none for '<new>', '<newer>'"):
        check_vocabulary(tokenizer, size - 2)
    with pytest.raises(PresetConfigError, match="…"):
        check_vocabulary(tokenizer, 1)


@pytest.mark.parametrize("rows", [0, -1, True, "512", None, 1.5])
def test_a_size_that_is_none_is_refused(rows, bert):
    with pytest.raises(ArgumentError):
        check_vocabulary(bert, rows)
