"""`task.stream`: an answer for each text, in order, in windows, with the number of each text without an answer."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

import vertebra
from vertebra.errors import ArgumentError
from vertebra_text.errors import ItemError, TextError

from .conftest import BAD, GOOD

pytestmark = pytest.mark.keras
TEXTS = GOOD + BAD


@pytest.fixture
def embedder(preset):
    return vertebra.models.TextEmbedder.from_preset(preset)


def task_of(preset, name, **options):
    with pytest.warns(UserWarning, match="no values for"):
        return getattr(vertebra.models, name).from_preset(preset, **options)


def test_a_stream_without_end_is_answered_window_by_window(embedder):
    read = []

    def texts():
        for number in itertools.count():
            read.append(number)
            yield TEXTS[number % len(TEXTS)]

    answers = embedder.stream(texts(), window=5)
    found = np.stack(list(itertools.islice(answers, 12)))
    np.testing.assert_allclose(found, embedder.embed(TEXTS), atol=1e-5)
    assert len(read) == 15


def test_each_task_streams_the_answers_of_its_own_method(preset):
    classifier = task_of(preset, "TextClassifier", labels=["bad", "good"])
    expected = classifier.classify(TEXTS, top_k=2)
    for found, answer in zip(classifier.stream(TEXTS, top_k=2, window=5), expected, strict=True):
        assert [entry["label"] for entry in found] == [entry["label"] for entry in answer]
        assert [entry["score"] for entry in found] == pytest.approx([entry["score"] for entry in answer], abs=1e-5)
    tagger = task_of(preset, "TokenClassifier", labels=["O", "B-X"])
    assert [len(entities) for entities in tagger.stream(iter(TEXTS), window=5)] == list(map(len, tagger.tag(TEXTS)))
    reranker, pairs = task_of(preset, "Reranker"), list(zip(GOOD, BAD, strict=True))
    np.testing.assert_allclose(list(reranker.stream(iter(pairs), window=4)), reranker.scores(pairs), atol=1e-5)
    np.testing.assert_allclose(list(reranker.stream((GOOD, BAD))), reranker.scores(pairs), atol=1e-5)


def test_masks_are_filled_in_batches(preset):
    model = task_of(preset, "MaskedLM")
    texts = ["the [MASK] fox", "[MASK] [MASK]", "a good dog is [MASK] and [MASK] and [MASK] ."]
    found = list(model.stream(iter(texts), window=2, top_k=2))
    assert [len(masks) for masks in found] == [1, 2, 3]
    for text, masks in zip(texts, found, strict=True):
        for mask, alone in zip(masks, model.fill(text, top_k=2), strict=True):
            assert [entry["text"] for entry in mask] == [entry["text"] for entry in alone]
            assert [entry["score"] for entry in mask] == pytest.approx([entry["score"] for entry in alone], abs=1e-5)
    with pytest.raises(TextError, match=r"texts\[1\]='no mask', expected a text with \[MASK\]"):
        model.fill(["a [MASK]", "no mask"])
    long = "fox " * 40 + "[MASK]"
    with pytest.raises(TextError, match="among the tokens that are kept"):
        model.fill([long])
    assert [type(answer) for answer in model.stream(["no mask", "[MASK]", long], on_error="skip")] == [
        ItemError,
        list,
        ItemError,
    ]


PROBLEMS = {
    "None": (None, r"Item 7 of the stream: None, expected a text; leave out missing values"),
    "bytes": (b"good", r"Item 7 of the stream: b'good', expected a text; decode bytes first"),
    "a number": (float("nan"), r"Item 7 of the stream: nan, expected a text; NaN is a missing value"),
    "a surrogate": ("a\ud800", r"Item 7 of the stream: .*lone surrogate"),
    "a pair": (("a", "b"), r"Item 7 of the stream: it is a pair of texts, and the first is a text"),
    "an exception": (OSError("line 8 is broken"), r"Item 7 of the stream: line 8 is broken\."),
}


@pytest.mark.parametrize("item", PROBLEMS)
def test_an_item_that_is_no_text_is_named_by_its_number(item, embedder):
    value, problem = PROBLEMS[item]
    texts = [*TEXTS[:7], value, *TEXTS[7:]]
    answers, found = embedder.stream(iter(texts), window=5, batch_size=2), []
    with pytest.raises(ItemError, match=problem) as caught:
        found.extend(answers)
    assert (caught.value.index, len(found)) == (7, 7)


def test_answers_come_before_an_error_and_go_on_after_it(embedder):
    texts = [*TEXTS[:7], None, *TEXTS[7:], 3.5]
    answers, found = embedder.stream(texts, window=10), []
    with pytest.raises(ItemError):
        found.extend(answers)
    np.testing.assert_allclose(found, embedder.embed(TEXTS[:7]), atol=1e-5)
    found = list(embedder.stream(texts, window=10, on_error="skip"))
    assert [answer.index for answer in found if isinstance(answer, ItemError)] == [7, 13]
    vectors = [answer for answer in found if not isinstance(answer, ItemError)]
    np.testing.assert_allclose(vectors, embedder.embed(TEXTS), atol=1e-5)


def test_the_first_text_says_whether_the_items_are_pairs(preset):
    reranker = task_of(preset, "Reranker")
    found = list(reranker.stream([None, ("a", "b"), "c", ("d", "e")], on_error="skip"))
    assert [isinstance(answer, ItemError) for answer in found] == [True, False, True, False]
    assert "it is a text, and the first is a pair of texts" in str(found[2])


def test_a_text_that_may_not_be_cut_is_named(embedder):
    from vertebra_text import TextPreprocessor

    embedder.preprocessor = TextPreprocessor(embedder.tokenizer, truncation="error")
    found = list(embedder.stream(["good", "good " * 40, "bad"], on_error="skip"))
    assert "'40 tokens', expected at most 30 without special tokens" in str(found[1])
    assert [len(vector) for vector in (found[0], found[2])] == [16, 16]


def test_cut_texts_are_counted_over_all_windows(embedder, caplog):
    long = "fox " * 40
    assert len(list(embedder.stream(["fox", long, "fox", "fox", long, long], window=2))) == 6
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"{n} texts are longer than 32 tokens, and were cut" for n in ("1 of 2", "3 of 6")]


def test_each_item_may_have_an_adapter(embedder):
    for name in ("first", "second"):
        embedder.enable_lora(2, name=name)
        for weight in embedder.backbone.trainable_weights:
            weight.assign(weight + (0.3 if name == "first" else -0.4))
    names = ["first", "second", None] * 4
    expected = {name: embedder.embed(TEXTS, adapters=[name] * 12) for name in ("first", "second", None)}
    found = list(embedder.stream(iter(TEXTS), adapters=iter(names), window=5))
    for row, name in enumerate(names):
        np.testing.assert_allclose(found[row], expected[name][row], atol=1e-5)
    found = list(embedder.stream(TEXTS, adapters="first", window=5))
    np.testing.assert_allclose(found, expected["first"], atol=1e-5)
    with pytest.raises(ArgumentError, match="'2 names', expected one for each text"):
        list(embedder.stream(TEXTS, adapters=["first"] * 2))
    found = list(embedder.stream(TEXTS[:3], adapters=["first", "typo", None], on_error="skip"))
    assert "no adapter named 'typo'" in str(found[1])
    assert [type(answer) for answer in found] == [np.ndarray, ItemError, np.ndarray]


@pytest.mark.parametrize(
    ("arguments", "options", "problem"),
    [
        ("a text", {}, "an iterable of texts"),
        ({"text": "a"}, {}, "an iterable of texts"),
        (None, {}, "an iterable of texts"),
        (["a"], {"on_error": "ignore"}, "'raise' or 'skip'"),
        (["a"], {"window": 0}, "window=0, expected an int of at least 1"),
        (["a"], {"batch_size": 2.5}, "batch_size=2.5"),
    ],
)
def test_arguments_are_checked_before_anything_is_read(arguments, options, problem, embedder):
    with pytest.raises(ArgumentError, match=problem):
        embedder.stream(arguments, **options)


def test_without_texts_there_are_no_answers(embedder):
    assert list(embedder.stream([])) == []


PROGRAM = """
import json, resource, sys
import vertebra
embedder = vertebra.models.TextEmbedder.from_preset(sys.argv[1])
peaks = []
texts = (f"fox {n % 977} good dog" * (n % 3 + 1) for n in range(20_000))
for number, _ in enumerate(embedder.stream(texts, batch_size=512), 1):
    if number % 5_000 == 0:
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(json.dumps(peaks))
"""


def test_memory_does_not_grow_with_the_texts(preset):
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(preset)], check=True, capture_output=True, text=True)
    peaks = json.loads(done.stdout)
    assert peaks[-1] - peaks[0] < 8, peaks


def test_the_answers_before_an_error_of_the_source_are_given(embedder):
    def source():
        yield from ("fox", "dog")
        raise OSError("the source is gone")

    stream, found = embedder.stream(source()), []
    with pytest.raises(OSError, match="the source is gone"):
        found.extend(stream)
    np.testing.assert_allclose(np.stack(found), embedder.embed(["fox", "dog"]), atol=1e-6)
