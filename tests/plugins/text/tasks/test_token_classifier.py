"""Classes of tokens: training on words, and entities."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra.errors import ArgumentError
from vertebra_text.labels import IGNORED

pytestmark = pytest.mark.keras
WORDS = [["the", "fox", "jumps"], ["bad", "dog", "."], ["fox", "dog"]]
CLASSES = [["O", "B-ANIMAL", "O"], ["O", "B-ANIMAL", "O"], ["B-ANIMAL", "B-ANIMAL"]]


@pytest.fixture
def tagger(preset):
    return vertebra.models.TokenClassifier.from_preset(preset, False, labels=["O", "B-ANIMAL"])


def test_words_have_their_class_at_the_first_token(tagger):
    inputs, labels = tagger.prepare(WORDS, tagger.check_labels(CLASSES))
    assert labels[0, :4].tolist() == [IGNORED, 0, 1, 0]
    assert set(labels[0, 4:].tolist()) == {IGNORED}  # the other tokens of "jumps", and the end
    assert inputs["token_ids"].shape == labels.shape


def test_entities_are_learned(tagger):
    tagger.compile(keras.optimizers.Adam(1e-2))
    tagger.fit(WORDS, CLASSES, epochs=40, verbose=0)
    assert [(entity["text"], entity["label"]) for entity in tagger.tag("the fox, bad dog.")] == [
        ("fox", "ANIMAL"),
        ("dog", "ANIMAL"),
    ]


@pytest.mark.parametrize(("classes", "problem"), [([["O"]] * 3, "1 classes for 3 words"), ([["X"] * 3] * 3, "O, B-A")])
def test_classes_that_cannot_be_are_refused(classes, problem, tagger):
    with pytest.raises(ArgumentError, match=problem):
        tagger.fit(WORDS, classes, verbose=0)


def test_texts_without_tokens_have_no_entities(tagger):
    assert tagger.tag(["", "fox"])[0] == []
    assert np.shape(tagger.tag([])) == (0,)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_outputs_of_batches_of_different_lengths_are_padded_with_zeros(tagger, batch_size):
    texts = ["fox", "the good fox", "a"]
    found, alone = tagger.predict(texts, batch_size=batch_size), [tagger.predict([text])[0] for text in texts]
    assert found.shape == (3, max(map(len, alone)), alone[0].shape[-1])
    for row, expected in zip(found, alone, strict=True):
        np.testing.assert_allclose(row[: len(expected)], expected, atol=1e-5)
        assert not row[len(expected) :].any()
