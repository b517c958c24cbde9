"""Calls of a tokenizer: texts and options that users give, and the arrays that they get."""

import numpy as np
import pytest

from vertebra import tasks
from vertebra.errors import ArgumentError, PresetConfigError, PresetNotFoundError

TEXTS = ["the quick brown fox", "a dog"]


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


# === Texts ===


def test_one_text_gives_arrays_of_one_row(bert):
    batch, single = bert([TEXTS[0]]), bert(TEXTS[0])
    assert equal(single, {name: array[0] for name, array in batch.items()})
    assert {array.dtype for array in batch.values()} == {np.dtype("int32")}


@pytest.mark.parametrize("kind", [tuple, np.array, lambda texts: np.array(texts, dtype=object)])
def test_texts_may_be_an_array_or_another_sequence(kind, bert):
    texts = [*TEXTS, "third"]
    assert equal(bert(kind(texts)), bert(texts))


def test_pairs_may_be_given_in_three_forms(bert):
    first, second = ["a", "the fox"], ["b", "c d"]
    expected = bert(first, second)
    assert equal(bert([("a", "b"), ("the fox", "c d")]), expected)
    assert equal(bert([["a", "b"], ["the fox", "c d"]]), expected)
    assert equal(bert((first, second)), expected)
    assert equal(bert("a", "b"), {name: array[0] for name, array in bert(["a"], ["b"]).items()})


def test_an_empty_second_text_makes_a_pair(bert):
    assert bert("a", "")["token_ids"].tolist() == [*bert("a")["token_ids"].tolist(), bert.sep_token_id]


def test_empty_texts_have_special_tokens_only(bert):
    assert bert(["", " \t"])["token_ids"].tolist() == [[bert.cls_token_id, bert.sep_token_id]] * 2


def test_a_tuple_of_two_texts_is_refused_since_it_has_two_meanings(bert):
    with pytest.raises(ArgumentError, match="a tuple of two texts may mean both"):
        bert(("a", "b"))


INVALID = [
    (b"bytes", "decode bytes first"),
    (None, "leave out missing values"),
    (3, "a text, a list of texts, or a list of pairs"),
    ({"a": 1}, "a text, a list of texts"),
    ([], "at least one text"),
    (["a", None], r"texts\[1\]=None"),
    (["a", b"b"], r"texts\[1\]=b'b'"),
    (["a", 1.5], r"texts\[1\]=1.5"),
    (["a", float("nan")], "NaN is a missing value"),
    (["a", ("b", "c")], "only texts, or only pairs"),
    ([["a", "b", "c"]], r"texts\[0\]"),
    ([("a", 3)], r"text_pair\[0\]=3"),
    (["a", "x\ud800y"], r"texts\[1\].*lone surrogate at 1"),
    ("\udfff", "texts=.*lone surrogate at 0"),
    (np.array([1, 2]), r"texts\[0\]=1"),
]


@pytest.mark.parametrize(("texts", "message"), INVALID, ids=lambda value: ascii(value)[:30])
def test_values_that_are_no_texts_are_refused(texts, message, bert):
    with pytest.raises(ArgumentError, match=message):
        bert(texts)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (["a", "b"], ["c"], "1 texts.*expected 2"),
        (["a", "b"], "c", "a list, since texts is a list"),
        ("a", ["c"], r"text_pair\[0\]"),
        (["a"], [None], r"text_pair\[0\]=None"),
        (["a"], ["\ud800"], r"text_pair\[0\].*lone surrogate"),
    ],
)
def test_second_texts_that_do_not_fit_are_refused(first, second, message, bert):
    with pytest.raises(ArgumentError, match=message):
        bert(first, second)


def test_control_characters_are_escaped_in_messages(bert):
    with pytest.raises(ArgumentError) as caught:
        bert(["\x1b[31m\ud800"])
    assert "\x1b" not in str(caught.value)


def test_texts_may_be_split_into_words(bert):
    words = [["the", "quick"], ["brown"]]
    expected = bert(["the quick", "brown"])
    assert equal(bert(words, is_split_into_words=True), expected)
    found = bert(["unbelievable", "dogs"], is_split_into_words=True, return_word_ids=True)
    assert found["word_ids"].ndim == 1
    assert found["word_ids"][-2] == 1
    with pytest.raises(ArgumentError, match=r"texts\[1\].*a list of words"):
        bert([["a"], "b"], is_split_into_words=True)


# === Padding and truncation ===


def test_rows_are_padded_to_the_longest(bert):
    found = bert(TEXTS)
    lengths = found["padding_mask"].sum(axis=1)
    assert found["token_ids"].shape == (2, lengths.max())
    assert (found["token_ids"][found["padding_mask"] == 0] == bert.pad_token_id).all()


@pytest.mark.parametrize("multiple", [1, 7, 64])
def test_rows_may_be_padded_to_a_multiple(multiple, bert):
    assert bert(TEXTS, pad_to_multiple_of=multiple)["token_ids"].shape[1] % multiple == 0


def test_sequence_length_pads_and_truncates(bert):
    long, short = bert(["the fox " * 40, "a"], sequence_length=12)["padding_mask"].sum(axis=1)
    assert (long, short) == (12, 3)
    assert equal(bert(TEXTS, padding="max_length", max_length=12), bert(TEXTS, sequence_length=12))


def test_the_tokenizer_s_own_limit_is_the_default(make, read):
    tokenizer = read(make("bert", {"model_max_length": 9}))
    assert tokenizer.max_length == 9
    found = tokenizer(["the fox " * 40], return_num_truncated_tokens=True)
    assert found["token_ids"].shape == (1, 9)
    assert found["num_truncated_tokens"] == [80 - 7]
    assert tokenizer("the fox " * 40, truncation=False)["token_ids"].shape == (82,)


def test_truncation_may_be_an_error(bert):
    texts = ["a", "the fox " * 9]
    with pytest.raises(ArgumentError, match=r"texts\[1\]='18 tokens', expected at most 8 without special tokens"):
        bert(texts, max_length=10, truncation="error")
    with pytest.raises(ArgumentError, match="the special tokens"):
        bert(texts, max_length=1)
    with pytest.raises(ArgumentError, match="no pairs"):
        bert(texts, max_length=5, truncation="only_second")
    with pytest.raises(ArgumentError, match="or truncate with 'longest_first'"):
        bert(texts, ["b " * 30] * 2, max_length=10, truncation="only_first")


def test_both_sides_can_be_chosen(bert):
    text = "the quick brown fox"
    assert bert(text, max_length=3)["token_ids"][1] == bert.token_to_id("the")
    assert bert(text, max_length=3, truncation_side="left")["token_ids"][1] != bert.token_to_id("the")
    left = bert(["a", "the the the"], padding_side="left")["padding_mask"]
    assert left[0].tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 0}, "from 1 to"),
        ({"max_length": True}, "an int above 0"),
        ({"sequence_length": "8"}, "an int above 0"),
        ({"sequence_length": 2**40}, "from 1 to"),
        ({"sequence_length": 4, "max_length": 8}, "at most sequence_length=4"),
        ({"padding": False}, "tokenize"),
        ({"padding": "max_length"}, "sequence_length="),
        ({"padding": "longer"}, "one of 'longest'"),
        ({"truncation": "middle"}, "one of 'longest_first'"),
        ({"padding_side": "top"}, "one of 'right', 'left'"),
        ({"add_special_tokens": "no"}, "True or False"),
        ({"return_word_ids": 1}, "True or False"),
    ],
    ids=str,
)
def test_invalid_options_are_refused(options, message, bert):
    with pytest.raises(ArgumentError, match=message):
        bert(TEXTS, **options)


# === The vocabulary, and decoding ===


def test_tokens_and_ids_are_looked_up(bert):
    size = bert.vocabulary_size()
    assert bert.get_vocabulary()[: len(bert.special_tokens)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert [bert.token_to_id(bert.id_to_token(index)) for index in range(size)] == list(range(size))
    assert (bert.start_token, bert.end_token) == ("[CLS]", "[SEP]")
    assert bert.bos_token is None
    assert bert.bos_token_id is None
    assert sorted(bert.special_token_ids) == [0, 1, 2, 3, 4]
    for call in (lambda: bert.token_to_id("nonsense"), lambda: bert.token_to_id(3), lambda: bert.id_to_token(size)):
        with pytest.raises(ArgumentError):
            call()
    with pytest.raises(ArgumentError, match="an int from 0"):
        bert.id_to_token(-1)


def test_tokenize_and_detokenize_are_kerashub_s(bert):
    ids = bert.tokenize("the quick fox")
    assert bert.tokenize(["the quick fox"]) == [ids]
    assert bert.detokenize(ids) == "the quick fox"
    assert bert.detokenize([ids, np.array(ids)]) == ["the quick fox"] * 2
    assert bert.detokenize(bert(TEXTS)["token_ids"])[0] == "[CLS] the quick brown fox [SEP]"
    assert bert.decode(bert(TEXTS)["token_ids"], skip_special_tokens=True) == TEXTS
    with pytest.raises(ArgumentError, match="not pairs"):
        bert.tokenize([("a", "b")])


@pytest.mark.parametrize("ids", ["text", [1.5], [-1], [[True]], None, {1: 2}])
def test_values_that_are_no_token_ids_are_refused(ids, bert):
    with pytest.raises(ArgumentError):
        bert.detokenize(ids)


def test_a_preset_without_a_tokenizer_says_which_files_are_missing(tmp_path, read):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(PresetNotFoundError, match=r"it has no tokenizer: none of its files is a tokenizer\.json"):
        read(tmp_path)


def test_several_threads_get_the_same_as_one(bert):
    from concurrent.futures import ThreadPoolExecutor

    calls = [
        ({"max_length": 5 + number % 4, "padding_side": "left" if number % 2 else "right"}) for number in range(40)
    ]
    texts = ["the quick brown fox jumps over the lazy dogs", "a", "the fox"]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda options: bert(texts, **options), calls))
    assert all(equal(arrays, bert(texts, **options)) for arrays, options in zip(found, calls, strict=True))


def test_only_the_files_of_the_tokenizer_are_read(make, read, monkeypatch):
    import vertebra

    folder = make("roberta")
    for name in ("config.json", "model.safetensors", "README.md", "sentencepiece.bpe.model"):
        (folder / name).write_text("{}")
    fetched, fetch = [], type(vertebra.open_files(folder)).fetch_all

    def fetch_all(self, names):
        fetched.extend(names)
        return fetch(self, names)

    monkeypatch.setattr(type(vertebra.open_files(folder)), "fetch_all", fetch_all)
    read(folder)
    assert set(fetched) == {"config.json", "vocab.json", "merges.txt"}


def test_another_library_s_tokenizer_implements_the_contract(tmp_path, monkeypatch):
    from vertebra_text import Tokenizer

    class Characters(Tokenizer):
        files_description = "a characters.txt"

        @classmethod
        def reads(cls, names):
            return "characters.txt" in names

        @classmethod
        def read(cls, files):
            tokenizer = cls()
            tokenizer.characters = files.fetch("characters.txt").read_text()
            return tokenizer

        def encode_texts(self, texts, options):
            rows = [[self.token_to_id(c) for c in text] for text in texts.first]
            return {"token_ids": np.array(rows, "int32"), "padding_mask": np.ones_like(rows, "int32")}

        def tokenize(self, texts):
            return [self.token_to_id(character) for character in texts]

        def detokenize(self, token_ids, *, skip_special_tokens=False):
            return "".join(map(self.id_to_token, token_ids))

        def token_to_id(self, token):
            return self.characters.index(token)

        def id_to_token(self, id):
            return self.characters[id]

        def vocabulary_size(self):
            return len(self.characters)

        def save_to_preset(self, preset_dir, *, format=None):
            return []

    monkeypatch.setattr(tasks, "tokenizer_classes", lambda: [Characters])
    (tmp_path / "characters.txt").write_text("abc")
    tokenizer = Tokenizer.from_preset(tmp_path)
    assert tokenizer(["ab", "ca"])["token_ids"].tolist() == [[0, 1], [2, 0]]
    assert tokenizer("ab")["token_ids"].tolist() == [0, 1]
    assert tokenizer.decode([2, 1]) == "cb"
    with pytest.raises(ArgumentError, match="decode bytes first"):
        tokenizer(b"ab")


def test_a_tokenizer_can_be_copied_to_other_processes(make, make_kerashub, read):
    import pickle

    for folder in (make("bert", {"model_max_length": 5}), make_kerashub("XLMRobertaTokenizer")):
        tokenizer = read(folder)
        again = pickle.loads(pickle.dumps(tokenizer))
        assert equal(again([*TEXTS, "<s>"]), tokenizer([*TEXTS, "<s>"]))


def test_a_vocabulary_that_fails_on_a_text_is_named(make, read):
    import json

    folder = make("bert", {"tokenizer_class": "PreTrainedTokenizerFast"})
    state = json.loads(read(make("bert")).backend.to_str())
    state["model"]["vocab"].pop("[UNK]")
    state["added_tokens"] = [added for added in state["added_tokens"] if added["content"] != "[UNK]"]
    (folder / "tokenizer.json").write_text(json.dumps(state), "utf-8")
    with pytest.raises(PresetConfigError, match=r"PreTrainedTokenizerFast of .* tokens"):
        read(folder)(["the \u2603\u2604"])


def test_any_sequence_of_texts_is_a_list(bert):
    from collections import UserList

    assert equal(bert(UserList(TEXTS)), bert(TEXTS))


def test_files_that_change_while_they_are_read_are_refused(make, read, monkeypatch):
    from vertebra.errors import PresetChangedError
    from vertebra_text.tokenizers import pretrained

    folder, reading = make("bert", {}), pretrained.PretrainedTokenizer.read.__func__

    def read_and_change(cls, files):
        tokenizer = reading(cls, files)
        (folder / "vocab.txt").write_text("[UNK]\n")
        return tokenizer

    monkeypatch.setattr(pretrained.PretrainedTokenizer, "read", classmethod(read_and_change))
    with pytest.raises(PresetChangedError):
        read(folder)
