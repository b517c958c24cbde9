"""A BERT in daily use: all-MiniLM-L6-v2, tokenised and pooled as its users do."""

import numpy as np
import pytest

import vertebra
from vertebra_bert.demo.models import EMBEDDING, compiled, sentence_model
from vertebra_bert.demo.sentences import PUBLISHED
from vertebra_bert.demo.tokens import open_tokenizer
from vertebra_bert.demo.weights import MINILM, find_weights

pytestmark = pytest.mark.keras


@pytest.mark.skipif(MINILM.folder is None, reason="MiniLM's weights are not installed")
def test_the_similarity_of_two_sentences_is_the_published_one():
    weights = find_weights()
    assert weights.handle == MINILM.handle
    compute = compiled(sentence_model(vertebra.Backbone.from_preset(weights.handle)))
    first, second = compute(open_tokenizer(weights.folder)(PUBLISHED))[EMBEDDING]
    assert np.dot(first, second) == pytest.approx(0.7553, abs=5e-4)
