"""Streams: the pieces of an answer are its text, whatever the tokens; answers are cut before stop strings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import small_tokenizers
from vertebra_generation.stopping.stream import AnswerStreams, StopStringCheck
from vertebra_generation.stopping.strings import StopStrings
from vertebra_generation.stopping.text import GrowingText

kinds = pytest.mark.parametrize("kind", small_tokenizers.KINDS)
TEXTS = ["Hello, wörld! 你好 😀 <x>\n\n  two  spaces", "it is n't ' s , no . i 've", "안녕하세요 é \t.", "��a"]


def ids_of(tokenizer):
    """Returns a strategy for token ids: random ones, and those of texts."""
    size = tokenizer.vocabulary_size()
    parts = st.one_of(
        st.lists(st.integers(0, size - 1), max_size=12),
        st.lists(st.integers(0, min(size, 300) - 1), max_size=12),
        st.sampled_from(TEXTS).map(tokenizer.tokenize),
        st.text(max_size=8).map(tokenizer.tokenize),
    )
    return st.lists(parts, max_size=6).map(lambda lists: [token for ids in lists for token in ids])


@kinds
@given(data=st.data())
def test_pieces_are_prefixes_of_every_longer_answer(kind, data):
    tokenizer = small_tokenizers.tokenizer(kind)
    skip = data.draw(st.booleans())
    ids = data.draw(ids_of(tokenizer))
    streams = AnswerStreams(tokenizer, 1, skip_special_tokens=skip)
    returned = []
    for token in ids:
        step = streams.add([0], [token])
        returned += step.pieces
        assert not step.finished.any()
    returned += streams.close([0])
    whole = tokenizer.detokenize(ids, skip_special_tokens=skip) if ids else ""
    assert "".join(returned) == whole == streams.text(0)
    assert streams.reason(0) == "length"


@kinds
def test_texts_arrive_with_their_tokens(kind):
    """Words are not held back until the end."""
    tokenizer = small_tokenizers.tokenizer(kind)
    ids = tokenizer.tokenize("the cold dark night and the happy dog " * 5)
    streams = AnswerStreams(tokenizer, 1)
    lengths = [len(streams.add([0], [token]).pieces[0]) for token in ids]
    assert sum(lengths) > 0.8 * len(tokenizer.detokenize(ids))


@kinds
def test_windows_stay_short(kind):
    tokenizer = small_tokenizers.tokenizer(kind)
    text = GrowingText(tokenizer)
    for token in tokenizer.tokenize("the cold dark night and the happy dog 你好 " * 30):
        text.append(token)
        text.update(tokenizer.detokenize(text.window, skip_special_tokens=True))
    assert kind == "wordpiece" or len(text.window) < 40


@kinds
@given(data=st.data())
def test_answers_are_cut_before_the_first_stop_string(kind, data):
    tokenizer = small_tokenizers.tokenizer(kind)
    ids = data.draw(ids_of(tokenizer))
    whole = tokenizer.detokenize(ids, skip_special_tokens=True) if ids else ""
    places = st.tuples(st.integers(0, max(len(whole) - 1, 0)), st.integers(1, 5))
    strings = [whole[start : start + size] for start, size in data.draw(st.lists(places, min_size=1, max_size=3))]
    strings = [string for string in strings if string and "\N{REPLACEMENT CHARACTER}" not in string] + ["\x00\x01"]
    streams = AnswerStreams(tokenizer, 1, stop_strings=strings)
    used = 0
    for token in ids:
        used += 1
        if streams.add([0], [token]).finished[0]:
            break
    streams.close([0])
    text = tokenizer.detokenize(ids[:used], skip_special_tokens=True) if used else ""
    found = StopStrings(strings).find(text)
    assert streams.text(0) == (text if found is None else text[: found[0]])
    assert (streams.reason(0) == "stop_string") == (found is not None)
    if found is not None:
        before = tokenizer.detokenize(ids[: used - 1], skip_special_tokens=True) if used > 1 else ""
        assert StopStrings(strings).find(before.rstrip("\N{REPLACEMENT CHARACTER}")) is None
        assert StopStringCheck(tokenizer, strings)(0, np.array(ids[:used])) == (used > 0)


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=4), st.data())
def test_stop_strings_are_found_however_a_text_is_cut(text, strings, data):
    stops = StopStrings(strings)
    first = min(
        ((text.find(string) + len(string), text.find(string), string) for string in strings if string in text),
        default=None,
    )
    found = stops.find(text)
    assert found == (None if first is None else first[1:])
    cut = data.draw(st.integers(0, len(text)))
    if stops.find(text[:cut]) is None:
        assert stops.find(text, cut) == found
        held = stops.held(text[:cut])
        assert found is None or found[0] >= cut - held


def test_rows_end_alone_and_stop_tokens_have_no_text():
    tokenizer = small_tokenizers.tokenizer("byte_level")
    end, letters = tokenizer.token_to_id("</s>"), [tokenizer.token_to_id(letter) for letter in "abc"]
    streams = AnswerStreams(tokenizer, 3, stop_tokens=[end], stop_strings=["bc"])
    assert streams.add([0, 1, 2], [letters[0]] * 3).pieces == ["a", "a", "a"]
    step = streams.add([0, 1, 2], [letters[1], end, letters[1]])
    assert (step.pieces, step.finished.tolist()) == (["", "", ""], [False, True, False])
    step = streams.add([2, 0], [letters[2], letters[1]])
    assert (step.pieces, step.finished.tolist()) == (["", "b"], [True, False])
    assert streams.close([0, 1, 2]) == ["b", "", ""]
    assert [streams.text(row) for row in range(3)] == ["abb", "a", "a"]
    assert [streams.reason(row) for row in range(3)] == ["length", "stop_token", "stop_string"]


def test_a_stop_string_in_the_middle_of_a_token_cuts_the_token():
    tokenizer = small_tokenizers.tokenizer("byte_level")
    ids = tokenizer.tokenize("the night")
    assert len(ids) < len("the night")
    streams = AnswerStreams(tokenizer, 1, stop_strings=["igh"])
    steps = [streams.add([0], [token]) for token in ids if streams.reason(0) is None]
    assert steps[-1].finished[0]
    assert streams.text(0) == "the n"


def test_a_special_token_may_be_a_stop_string():
    tokenizer = small_tokenizers.tokenizer("byte_fallback")
    letter, end = tokenizer.tokenize("the")[-1], tokenizer.token_to_id("<|end|>")
    streams = AnswerStreams(tokenizer, 1, stop_strings=["<|end|>"])
    assert not streams.add([0], [letter]).finished[0]
    assert streams.add([0], [end]).finished[0]
    assert StopStringCheck(tokenizer, ["<|end|>"])(0, np.array([letter, end]))
