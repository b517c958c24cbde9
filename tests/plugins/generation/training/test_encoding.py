"""Token ids of examples, and the tokens that count."""

import numpy as np
import pytest

from byte_tokenizer import write_tokenizer
from vertebra_generation.training.encoding import Encoded, arrays, cut, encoded
from vertebra_generation.training.examples import Example, completed, whole_text
from vertebra_text import TextError, Tokenizer
from vertebra_text.testing import small_tokenizer


def tokens(tokenizer, example, ends=False):
    """The tokens of an example, those that count in brackets."""
    (row,) = encoded(tokenizer, [example], ends=ends)
    assert (row.ids.dtype, row.weights.dtype) == (np.int32, np.float32)
    names = [tokenizer.detokenize([index]) for index in row.ids.tolist()]
    return "".join(f"[{name}]" if weight else name for name, weight in zip(names, row.weights, strict=True))


@pytest.fixture
def words(tmp_path):
    """A tokenizer that puts `[CLS]` before a text and `[SEP]` after it."""
    return small_tokenizer(tmp_path)


def test_a_text_counts_from_its_second_token_on(tokenizer, words):
    assert tokens(tokenizer, whole_text("xyz")) == "x[y][z]"
    assert tokens(tokenizer, whole_text("xyz"), ends=True) == "x[y][z][<|endoftext|>]"
    assert tokens(words, whole_text("the fox")) == "[CLS][the][fox]"
    assert tokens(words, whole_text("the fox"), ends=True) == "[CLS][the][fox][[SEP]]"
    assert tokens(tokenizer, whole_text(""), ends=True) == "<|endoftext|>"


def test_a_completion_counts_and_the_token_after_it(tokenizer, words):
    assert tokens(tokenizer, completed("xy", "zw")) == "xy[z][w]"
    assert tokens(tokenizer, completed("xy", "zw"), ends=True) == "xy[z][w][<|endoftext|>]"
    assert tokens(words, completed("the", " fox."), ends=True) == "[CLS]the[fox][.][[SEP]]"
    assert tokens(tokenizer, completed("xy", ""), ends=True) == "xy[<|endoftext|>]"
    assert tokens(words, completed("the", ""), ends=True) == "[CLS]the[[SEP]]"


def test_an_end_token_is_not_repeated(tokenizer):
    assert tokens(tokenizer, completed("x", "y<|endoftext|>"), ends=True) == "x[y][<|endoftext|>]"


def test_an_empty_prompt_is_the_start_token(tokenizer, words):
    assert tokens(tokenizer, completed("", "xy")) == "<|endoftext|>[x][y]"
    assert tokens(words, completed("", "fox")) == "[CLS][fox]"
    assert tokens(tokenizer, completed("", ""), ends=True) == "<|endoftext|>"


def test_an_empty_prompt_needs_a_start_token(tokenizer, tmp_path):
    write_tokenizer(tmp_path / "plain", bos_token=None)
    plain = Tokenizer.from_preset(tmp_path / "plain")
    if plain.start_token_id is not None:
        plain.special.pop("bos")
    with pytest.raises(TextError, match=r"texts\[1\]='x', expected a prompt that is not empty"):
        encoded(plain, [completed("x", "y"), completed("", "x")], ends=False)


def test_a_shared_token_counts(words):
    """`##x` after a letter is another token than `x` at the start of a word."""
    assert tokens(words, completed("the f", "ox")) == "[CLS]the[fox]"
    assert tokens(words, completed("ab", "c")) == "[CLS]a##b[##c]"


def test_several_parts_count_in_a_rendered_text(tokenizer):
    """Its special tokens are its own; none are added."""
    example = Example("<|endoftext|>xyzuvw", ((14, 15), (17, 18)), is_rendered=True)
    assert tokens(tokenizer, example, ends=True) == "<|endoftext|>x[y]zu[v]w"


def test_no_examples_are_no_rows(tokenizer):
    assert encoded(tokenizer, [], ends=True) == []


def row(*ids):
    return Encoded(np.array(ids, "int32"), np.ones(len(ids), "float32"))


def test_rows_are_cut_at_the_end_or_refused():
    rows, count = cut([row(1, 2, 3), row(4)], 2)
    assert ([one.ids.tolist() for one in rows], count) == ([[1, 2], [4]], 1)
    assert [one.weights.tolist() for one in rows] == [[1, 1], [1]]
    assert cut([row(1, 2, 3)], None)[1] == 0
    assert cut([row(1, 2)], 2, refuse=True)[1] == 0
    with pytest.raises(TextError, match=r"texts\[1\]='3 tokens', expected at most 2 tokens"):
        cut([row(4), row(1, 2, 3)], 2, refuse=True)


def test_each_token_predicts_the_next_one_of_its_text():
    made = arrays([[row(1, 2, 3), row(4, 5)], [row(6, 7)], [row(8)]], pad_id=9, multiple=1, most=None)
    assert made["token_ids"].tolist() == [[1, 2, 4], [6, 9, 9], [9, 9, 9]]
    assert made["labels"].tolist() == [[2, 3, 5], [7, 0, 0], [0, 0, 0]]
    assert made["padding_mask"].tolist() == [[1, 1, 2], [1, 0, 0], [0, 0, 0]]
    assert made["weights"].tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert {name: array.dtype.name for name, array in made.items()} == {
        "token_ids": "int32",
        "padding_mask": "int32",
        "labels": "int32",
        "weights": "float32",
    }


@pytest.mark.parametrize(("most", "length"), [(None, 16), (10, 10), (2, 3)])
def test_lengths_are_rounded_up_within_the_limit(most, length):
    made = arrays([[row(1, 2, 3, 4)]], pad_id=0, multiple=16, most=most)
    assert made["token_ids"].shape == (1, length)
