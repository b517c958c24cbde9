"""Texts and labels that a task cannot take: each is an error that names the position, the value and the remedy."""

import re
import warnings

import numpy as np
import pytest

import vertebra
from vertebra.errors import ArgumentError, PresetConfigError
from vertebra_text import TextPreprocessor
from vertebra_text.errors import ItemError, TextError

from .conftest import BAD, GOOD

pytestmark = pytest.mark.keras(once=True)
TEXTS, LABELS = GOOD + BAD, [1] * len(GOOD) + [0] * len(BAD)
METHODS = {
    "TextEmbedder": "embed",
    "TextClassifier": "classify",
    "TokenClassifier": "tag",
    "MaskedLM": "fill",
}
ARGUMENTS = {"TextClassifier": {"num_classes": 2}, "TokenClassifier": {"num_classes": 2}}


@pytest.fixture
def make(preset):
    """Returns a task with a new head."""

    def task(name, **arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(vertebra.models, name).from_preset(preset, **{**ARGUMENTS.get(name, {}), **arguments})

    return task


NO_TEXTS = [
    (None, "None, expected a text; leave out missing values"),
    (b"good", "b'good', expected a text; decode bytes first"),
    (float("nan"), "nan, expected a text; NaN is a missing value"),
    (3, "3, expected a text"),
    (["a", "b", "c"], "['a', 'b', 'c'], expected a text"),
    ("a [MASK]\ud800", "text without the lone surrogate at 8"),
]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("value", "problem"), NO_TEXTS, ids=repr)
def test_a_value_that_is_no_text_is_named_by_its_position(name, value, problem, make):
    task = make(name)
    with pytest.raises(TextError, match=re.escape(problem)) as caught:
        getattr(task, METHODS[name])(["[MASK] good", "bad [MASK]", value])
    assert caught.value.argument == "texts[2]"


def test_positions_are_those_of_the_whole_call(make, monkeypatch):
    from vertebra_text.tasks import inference

    monkeypatch.setattr(inference, "_CHUNK", 4)
    with pytest.raises(TextError, match=r"texts\[9\]=None"):
        make("TextEmbedder").embed([*TEXTS[:9], None, "good"])
    with pytest.raises(TextError, match=r"texts\[9\]=None"):
        make("TextClassifier").fit([*TEXTS[:9], None, *TEXTS[10:]], LABELS, batch_size=3, verbose=0)


@pytest.mark.parametrize("texts", [None, 3, b"bytes", {"text": ["a"]}], ids=repr)
@pytest.mark.parametrize("name", METHODS)
def test_arguments_that_are_no_lists_are_refused(name, texts, make):
    with pytest.raises(ArgumentError, match="expected a text, a list of texts"):
        getattr(make(name), METHODS[name])(texts)


def test_lists_of_pairs_have_one_length(make):
    with pytest.raises(ArgumentError, match="'2 and 1 texts', expected two lists of one length"):
        make("Reranker").scores((["a", "b"], ["c"]))


@pytest.mark.parametrize("pairs", [["a", "b"], "a text", [("a", "b", "c")]], ids=repr)
def test_a_reranker_takes_pairs_alone(pairs, make):
    with pytest.raises(TextError, match=r"pairs\[0\]=.*expected a pair of a query and a document"):
        make("Reranker").scores(pairs)


@pytest.mark.parametrize("name", ["TokenClassifier", "MaskedLM"])
def test_pairs_have_no_answers_by_position(name, make):
    task = make(name)
    pairs = [("a [MASK]", "b"), ("a", "[MASK]")]
    for texts in (pairs, (["a [MASK]"], ["b"]), [["a [MASK]", "b"]]):
        with pytest.raises(TextError, match=r"texts\[0\]=.*expected a text; there are no answers for pairs"):
            getattr(task, METHODS[name])(texts)
    first, second = task.stream(pairs, on_error="skip")
    assert isinstance(first, ItemError)
    assert "there are no answers for pairs" in second.problem
    assert task.predict(pairs).shape[0] == 2 if name == "MaskedLM" else True


def test_without_texts_there_are_no_answers_and_nothing_to_train_on(make):
    assert make("TextEmbedder").embed([]).shape == (0, 16)
    for name in ("TextClassifier", "TokenClassifier"):
        task = make(name)
        assert getattr(task, METHODS[name])([]) == []
        for method in (task.fit, task.evaluate):
            with pytest.raises(ArgumentError, match=r"x=\[\], expected at least one text"):
                method([], [], verbose=0)
    assert make("MaskedLM").fill([]) == []
    reranker = make("Reranker")
    assert (reranker.scores([]).shape, reranker.rank("query", [])) == ((0,), [])


LABELLED = [
    ("TextClassifier", {}, ["a", "b"], [0, 2], r"y\[1\]=2, expected a class from 0 to 1"),
    ("TextClassifier", {}, ["a", "b"], [-1, 1], r"y\[0\]=-1, expected a class from 0 to 1"),
    ("TextClassifier", {}, ["a", "b"], ["LABEL_0", "x"], r"y\[1\]='x', expected one of LABEL_0, LABEL_1"),
    ("TextClassifier", {}, ["a", "b"], [0.5, 1.0], "expected one class for each text"),
    ("TextClassifier", {}, ["a", "b"], None, "y=None, expected a label for each text"),
    ("TextClassifier", {"num_classes": 1}, ["a", "b"], [1, float("nan")], r"y\[1\]=nan, expected a finite number"),
    ("TextClassifier", {"num_classes": 1}, ["a"], ["x"], r"y=\['x'\], expected a number for each text"),
    ("TextClassifier", {"problem_type": "multi_label_classification"}, ["a", "b"], [[0, 1], [0, 2]], r"y\[1\]=2.0"),
    ("TextClassifier", {"problem_type": "multi_label_classification"}, ["a", "b"], [[0], [0, 1]], "a row of 2 numbers"),
    ("TextClassifier", {"problem_type": "multi_label_classification"}, ["a"], [[0, 1, 1]], r"shape \(1, 3\)"),
    ("Reranker", {}, [("a", "b")], [7.0], r"y\[0\]=7.0, expected a number from 0 to 1"),
    ("TokenClassifier", {}, [["a", "b"]], [[0, 5]], r"y\[0\]\[1\]=5, expected a class from 0 to 1"),
    ("TokenClassifier", {}, [["a"], ["a", "b"]], [[0], [0, 7]], r"y\[1\]\[1\]=7, expected a class from 0 to 1"),
    ("TokenClassifier", {}, [["a"], ["b"]], [["LABEL_0"], ["X"]], r"y\[1\]\[0\]='X', expected one of LABEL_0"),
    ("TokenClassifier", {}, [["a"], ["b"]], [[0], [0.5]], r"y\[1\]='float64 of .*expected one class for each word"),
    ("TokenClassifier", {}, [["a", "b"]], [[0]], "1 classes for 2 words"),
]


@pytest.mark.parametrize(("name", "arguments", "texts", "labels", "problem"), LABELLED)
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_labels_out_of_range_are_refused(method, name, arguments, texts, labels, problem, make):
    with pytest.raises(ArgumentError, match=problem):
        getattr(make(name, **arguments), method)(texts, labels, verbose=0)


def test_a_long_text_can_be_refused_by_position(make):
    embedder = make("TextEmbedder")
    embedder.preprocessor = TextPreprocessor(embedder.tokenizer, truncation="error")
    with pytest.raises(TextError, match=r"texts\[1\]='40 tokens', expected at most 30 without special tokens"):
        embedder.embed(["good", "fox " * 40])


@pytest.mark.parametrize("name", METHODS)
def test_without_a_tokenizer_texts_are_refused(name, preset, make):
    task = make(name, preprocessor=None)
    with pytest.raises(ArgumentError, match=r"preprocessor=None, expected a TextPreprocessor or a Tokenizer"):
        getattr(task, METHODS[name])(["good"])
    for method in (task.fit, task.evaluate):
        with pytest.raises(ArgumentError, match="preprocessor=None"):
            method(["good"], [0], verbose=0)


def test_a_preset_without_tokenizer_says_so(preset, caplog):
    (preset / "vocab.txt").unlink()
    task = vertebra.models.TextEmbedder.from_preset(preset)
    assert "it has no tokenizer, so the task takes token ids" in caplog.text
    assert "none of its files is a tokenizer.json, vocab.txt" in caplog.text
    inputs = {name: np.ones((1, 3), "int32") for name in task.input}
    assert task.predict(inputs, verbose=0).shape == (1, 16)


def test_files_of_a_foreign_tokenizer_are_refused(preset):
    (preset / "vocab.txt").unlink()
    (preset / "vocab.json").write_text('{"a": 0}')
    (preset / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(PresetConfigError, match=r"BertTokenizer needs tokenizer\.json or vocab\.txt"):
        vertebra.models.TextEmbedder.from_preset(preset)


def test_a_foreign_tokenizer_with_more_tokens_than_the_table_is_refused(make, preset, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "vocab.txt").write_text((preset / "vocab.txt").read_text() + "\nmore\ntokens")
    embedder = make("TextEmbedder")
    with pytest.raises(PresetConfigError, match="it has 65 tokens, and the backbone's table has 63 rows"):
        embedder.preprocessor = vertebra_tokenizer(other)
    assert embedder.embed("good").shape == (16,)


def vertebra_tokenizer(folder):
    from vertebra_text import Tokenizer

    return Tokenizer.from_preset(folder)
