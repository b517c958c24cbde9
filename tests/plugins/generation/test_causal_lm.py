"""The causal language model: its logits, its arguments, and rows of texts."""

import keras
import numpy as np
import pytest

import vertebra
from byte_tokenizer import TEXTS, write_tokenizer
from vertebra.errors import ArgumentError
from vertebra_text import TextPreprocessor, Tokenizer

from .conftest import LONGEST

pytestmark = pytest.mark.keras


def ids_of(tokenizer, text):
    ids = np.array([tokenizer.tokenize(text)], "int32")
    return {"token_ids": ids, "padding_mask": np.ones_like(ids)}


def test_its_logits_are_products_with_the_token_table(make, tokenizer):
    lm, inputs = make(), ids_of(tokenizer, TEXTS[0])
    states = np.asarray(lm.backbone.predict(inputs, verbose=0))
    expected = states @ lm.backbone.token_embedding.embeddings.numpy().T
    np.testing.assert_allclose(lm.predict(inputs, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(lm.logits_of(states)), expected, atol=1e-5)


@pytest.mark.keras(once=True)
def test_a_head_of_its_own_has_another_matrix(make, tokenizer):
    lm, inputs = make(own_head=True), ids_of(tokenizer, TEXTS[0])
    (kernel,) = lm.head_weights().values()
    states = np.asarray(lm.backbone.predict(inputs, verbose=0))
    np.testing.assert_allclose(lm.predict(inputs, verbose=0), states @ kernel.numpy(), atol=1e-5)


@pytest.mark.keras(once=True)
def test_the_cap_of_logits_holds_for_both_heads(tokenizer, perturbed):
    sizes = {"num_layers": 1, "num_query_heads": 2, "num_key_value_heads": 1, "hidden_dim": 16, "head_dim": 8}
    inputs = ids_of(tokenizer, TEXTS[0])
    backbone = vertebra.models.GemmaBackbone(300, intermediate_dim=32, final_logit_soft_cap=0.5, **sizes)
    for own_head in (False, True):
        lm = perturbed(vertebra.models.GemmaCausalLM(backbone, own_head=own_head))
        logits = lm.predict(inputs, verbose=0)
        assert 0.3 < np.abs(logits).max() <= 0.5


def test_rows_are_padded_at_the_end_whatever_the_side_of_the_tokenizer(make, tmp_path):
    """Learned positions are counted from the beginning of a row."""
    write_tokenizer(tmp_path / "left", padding_side="left")
    lm = make(Tokenizer.from_preset(tmp_path / "left"))
    together = lm.predict(TEXTS)
    for text, row in zip(TEXTS, together, strict=True):
        alone = lm.predict([text])[0]
        np.testing.assert_allclose(row[: len(alone)], alone, atol=1e-5)
        assert not row[len(alone) :].any()
    assert lm.tokenizer.padding_side == "left"


@pytest.mark.keras(once=True)
def test_the_sample_of_a_certificate_has_a_number_for_each_token(make, tokenizer):
    lm = make()
    sample = lm.text_sample(TEXTS)
    assert sample.outputs.shape == (3, sample.inputs["token_ids"].shape[1] - 1)
    np.testing.assert_allclose(sample.outputs.sum(axis=1), lm.score(TEXTS), atol=1e-4)


@pytest.mark.keras(once=True)
def test_a_backbone_that_is_no_decoder_is_refused():
    bert = vertebra.models.BertBackbone(63, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=8)
    with pytest.raises(ArgumentError, match=r"backbone='BertBackbone', expected a decoder, such as GPT2Backbone"):
        vertebra.models.CausalLM(bert)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("value", ["yes", 1, None])
def test_own_head_is_a_flag(value, make):
    with pytest.raises(ArgumentError, match=r"own_head=.*, expected True or False"):
        make(own_head=value)


@pytest.mark.keras(once=True)
def test_the_preprocessor_may_be_a_function_or_none(make):
    lm = make(preprocessor=None)
    with pytest.raises(ArgumentError, match="preprocessor=None, expected a TextPreprocessor or a Tokenizer"):
        lm.fit(["a text"])
    with pytest.raises(ArgumentError, match="preprocessor=None, expected a TextPreprocessor or a Tokenizer"):
        lm.score(["a text"])


@pytest.mark.keras(once=True)
def test_the_longest_row_is_that_of_backbone_tokenizer_and_preprocessor(make, tokenizer):
    assert make().longest == LONGEST
    assert make(tokenizer.with_max_length(20)).longest == 20
    assert make(TextPreprocessor(tokenizer, 12)).longest == 12
    assert make(preprocessor=None).longest is None


def test_compile_sets_the_method_of_generate(make):
    lm = make()
    greedy = lm.generate("the fox", max_new_tokens=4)
    lm.compile(sampler="beam")
    assert lm.generation_options.num_beams == 5
    assert lm.generate("the fox", max_new_tokens=4) == lm.generate(
        "the fox", max_new_tokens=4, num_beams=5, length_penalty=0.0
    )
    lm.compile("adam")
    assert lm.generation_options.num_beams == 5  # unchanged
    lm.compile(sampler="greedy")
    assert lm.generate("the fox", max_new_tokens=4) == greedy
    with pytest.raises(ArgumentError, match=r"compile: sampler='top-k', expected .*'top_k'"):
        lm.compile(sampler="top-k")
