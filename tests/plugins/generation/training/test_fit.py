"""Training on texts, completions and packed rows: the loss is that of the tokens that count."""

import logging

import keras
import numpy as np
import pytest

import vertebra
from byte_tokenizer import TEXTS
from vertebra.errors import ArgumentError
from vertebra_text import TextError, TextPreprocessor

from ..conftest import LONGEST

pytestmark = pytest.mark.keras

PROMPTS = ["the quick", "a", "the capital of France is", "", "a good", "the lazy"]
COMPLETIONS = [" brown fox", " bad dog", " Paris", "the fox", " dog", " fox jumps"]
PAIRS = list(zip(PROMPTS, COMPLETIONS, strict=True))


def expected_loss(lm, pairs, weights=None):
    """The mean negative log-probability of the tokens of completions, and of the end token after each."""
    ended = [(prompt, completion + "<|endoftext|>") for prompt, completion in pairs]
    scores = lm.score([one for one, _ in ended], [other for _, other in ended], per_token=True)
    weights = np.repeat(np.ones(len(pairs)) if weights is None else weights, [len(row["tokens"]) for row in scores])
    values = np.concatenate([row["log_probabilities"] for row in scores])
    return -(values * weights).sum() / weights.sum()


def test_only_completions_count_in_the_loss(make):
    lm = make()
    loss, perplexity = lm.evaluate(PROMPTS, COMPLETIONS, verbose=0)
    np.testing.assert_allclose(loss, expected_loss(lm, PAIRS), rtol=1e-5)
    np.testing.assert_allclose(perplexity, np.exp(loss), rtol=1e-5)
    assert lm.evaluate(PROMPTS, COMPLETIONS, batch_size=2, verbose=0)[1] == pytest.approx(perplexity, rel=1e-4)


@pytest.mark.keras(once=True)
def test_weights_of_texts_count(make):
    lm, weights = make(), np.array([1, 0, 2, 0.5, 0, 1])
    loss, _ = lm.evaluate(PROMPTS, COMPLETIONS, sample_weight=weights, verbose=0)
    np.testing.assert_allclose(loss, expected_loss(lm, PAIRS, weights), rtol=1e-5)


@pytest.mark.keras(once=True)
def test_a_text_without_a_prompt_counts_as_a_whole(make):
    lm = make()
    loss, _ = lm.evaluate(TEXTS[:1], verbose=0)
    first = lm.tokenizer.detokenize(lm.tokenizer.tokenize(TEXTS[0])[:1])
    np.testing.assert_allclose(loss, expected_loss(lm, [(first, TEXTS[0].removeprefix(first))]), rtol=1e-5)


FORMS = {
    "pairs": lambda: (PAIRS, None),
    "two lists": lambda: ((PROMPTS, COMPLETIONS), None),
    "dicts": lambda: ([{"prompt": one, "completion": other} for one, other in PAIRS], None),
    "table": lambda: ({"prompt": PROMPTS, "completion": COMPLETIONS}, None),
    "array": lambda: (np.array(PROMPTS, object), COMPLETIONS),
    "batches": lambda: (iter([(PROMPTS, COMPLETIONS)]), None),
    "batches of tables": lambda: (iter([{"prompt": PROMPTS, "completion": COMPLETIONS}]), None),
}


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("form", FORMS)
def test_data_may_have_several_forms(form, make):
    lm, (x, y) = make(), FORMS[form]()
    loss, _ = lm.evaluate(x, y, steps=1, verbose=0)
    np.testing.assert_allclose(loss, expected_loss(lm, PAIRS), rtol=1e-5)


@pytest.mark.keras(once=True)
def test_token_ids_have_the_next_ones_as_labels(make, tokenizer):
    lm = make()
    rows = [tokenizer.tokenize(text)[:8] for text in TEXTS]
    inputs = {"token_ids": np.array(rows, "int32"), "padding_mask": np.ones((3, 8), "int32")}
    inputs["padding_mask"][0, 5:] = 0
    texts = [tokenizer.detokenize(row[:length]) for row, length in zip(rows, (5, 8, 8), strict=True)]
    scores = np.concatenate([one["log_probabilities"] for one in lm.score(texts, per_token=True)])
    loss, _ = lm.evaluate(inputs, verbose=0)
    np.testing.assert_allclose(loss, -scores.mean(), rtol=1e-5)
    history = lm.fit(inputs, validation_data=inputs, verbose=0).history
    assert history["val_loss"][0] < history["loss"][0]


# === Training ===


@pytest.mark.keras(once=True)
def test_training_raises_the_scores_of_completions(make):
    lm = make()
    before = lm.score(PROMPTS, COMPLETIONS)
    lm.compile(keras.optimizers.Adam(1e-2))
    lm.fit(PROMPTS, COMPLETIONS, epochs=4, verbose=0, validation_data=[{"text": TEXTS[0]}])
    assert (lm.score(PROMPTS, COMPLETIONS) > before + 0.5).all()


def test_an_adapter_trains_with_a_frozen_backbone(make):
    lm = make()
    lm.enable_lora(2)
    before = {name: value.numpy().copy() for name, value in lm.backbone.named_weights().items()}
    lm.compile(keras.optimizers.Adam(1e-2))
    losses = lm.fit(PROMPTS, COMPLETIONS, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    after = lm.backbone.named_weights()
    assert [name for name, value in before.items() if "lora" not in name and (after[name].numpy() != value).any()] == []


def test_packed_texts_train_as_rows_of_their_own(make):
    """The loss and each step are the same: attention and positions are those of each text alone."""
    histories, scores = {}, {}
    for packing in (False, True):
        lm = make()
        lm.compile(keras.optimizers.SGD(0.1))
        data = {"validation_data": (PROMPTS, COMPLETIONS), "packing": packing, "shuffle": False}
        histories[packing] = lm.fit(PROMPTS, COMPLETIONS, epochs=2, verbose=0, **data).history
        scores[packing] = lm.score(PROMPTS, COMPLETIONS)
    for name, values in histories[False].items():
        np.testing.assert_allclose(histories[True][name], values, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(scores[True], scores[False], atol=1e-3)


@pytest.mark.keras(once=True)
def test_packed_rows_hold_several_texts(make):
    lm, seen = make(), []
    lm.fit(PROMPTS, COMPLETIONS, packing=True, verbose=0)
    prepare = lm.prepare
    lm.prepare = lambda *batch: seen.append(prepare(*batch)) or seen[-1]
    lm.fit(PROMPTS, COMPLETIONS, packing=True, verbose=0)
    del lm.prepare
    masks = [inputs["padding_mask"] for inputs, _, _ in seen]
    assert max(mask.max() for mask in masks) > 1
    assert all(len(mask) < len(PROMPTS) for mask in masks)


@pytest.mark.keras(once=True)
def test_packing_leaves_out_a_part_for_validation_and_takes_weights(make):
    lm, weights = make(), np.array([1, 0, 2, 1, 5, 7])
    held = expected_loss(lm, PAIRS[4:], weights[4:])
    lm.compile(keras.optimizers.SGD(0.0))
    options = {"validation_split": 1 / 3, "sample_weight": weights, "packing": True}
    history = lm.fit(PROMPTS, COMPLETIONS, verbose=0, **options).history
    np.testing.assert_allclose(history["val_loss"][0], held, rtol=1e-4)
    np.testing.assert_allclose(history["loss"][0], expected_loss(lm, PAIRS[:4], weights[:4]), rtol=1e-4)


def test_rows_apart_after_packing(make):
    """The compiled steps of a packed run are not used after it: padding masks of 1 and 0 mean one text again."""
    lm = make()
    lm.compile(keras.optimizers.SGD(0.0))
    plain = lm.evaluate(PROMPTS, COMPLETIONS, verbose=0)
    lm.fit(PROMPTS, COMPLETIONS, packing=True, verbose=0)
    np.testing.assert_allclose(lm.evaluate(PROMPTS, COMPLETIONS, verbose=0), plain, rtol=1e-5)
    left = {"token_ids": np.array([[0, 0, 5, 6, 7]], "int32"), "padding_mask": np.array([[0, 0, 1, 1, 1]], "int32")}
    assert np.isfinite(lm.predict(left, verbose=0)[:, 2:]).all()


# === Refusals ===


@pytest.mark.keras(once=True)
def test_texts_that_are_too_long_are_cut_with_a_warning(make, caplog):
    lm = make()
    with caplog.at_level(logging.WARNING, "vertebra"):
        lm.fit(["a", "fox " * LONGEST], [" b", " c"], epochs=2, verbose=0)
    assert [record.getMessage() for record in caplog.records] == [
        f"Texts of more than {LONGEST + 1} tokens are cut: 1 of the first 2"
    ]


@pytest.mark.keras(once=True)
def test_texts_that_are_too_long_are_refused_if_the_preprocessor_says_so(make, tokenizer):
    lm = make(TextPreprocessor(tokenizer, truncation="error"))
    with pytest.raises(TextError, match=r"texts\[1\]='\d+ tokens', expected at most"):
        lm.fit(["a", "fox " * LONGEST], [" b", " c"], shuffle=False, verbose=0)


@pytest.mark.keras(once=True)
def test_items_that_cannot_be_used_are_named(make):
    lm = make()
    with pytest.raises(ArgumentError, match="y='1 values', expected one for each of 2 texts"):
        lm.fit(["a", "b"], ["c"])
    with pytest.raises(TextError, match=r"y\[1\]=None, expected a text"):
        lm.fit(["a", "b"], ["c", None])
    with pytest.raises(TextError, match=r"texts\[2\]=3, expected a text, a pair of a prompt"):
        lm.fit(["a", "b", 3], batch_size=1, shuffle=False, verbose=0)
    with pytest.raises(ArgumentError, match="completions='1 texts', expected one for each of 2 prompts"):
        lm.fit({"prompt": ["a", "b"], "completion": ["c"]})
    with pytest.raises(ArgumentError, match="x='2 and 1 texts', expected two lists of one length"):
        lm.fit((["a", "b"], ["c"]))
    with pytest.raises(ArgumentError, match="x='a table of a', expected a column named text"):
        lm.fit({"a": ["b"]})


@pytest.mark.keras(once=True)
def test_data_and_models_that_cannot_be_packed_are_named(make, tokenizer):
    lm = make()
    with pytest.raises(ArgumentError, match=r"packing=True, expected False for .*generator.*: a list of texts"):
        lm.fit((batch for batch in [(PROMPTS, COMPLETIONS)]), packing=True)
    with pytest.raises(ArgumentError, match=r"validation_split=1\.0, expected a share"):
        lm.fit(PROMPTS, COMPLETIONS, packing=True, validation_split=1.0)
    with pytest.raises(ArgumentError, match="completions='1 texts', expected one for each of 6"):
        lm.fit(PROMPTS, COMPLETIONS[:1], packing=True)
    with pytest.raises(ArgumentError, match="sample_weight='1 values', expected one for each of 6 texts"):
        lm.fit(PROMPTS, COMPLETIONS, packing=True, sample_weight=[1])
    with pytest.raises(ArgumentError, match="completions='1 texts', expected one for each of 6"):
        lm.fit((PROMPTS, COMPLETIONS[:1]), packing=True)
    with pytest.raises(ArgumentError, match="preprocessor=None, expected a TextPreprocessor"):
        make(preprocessor=None).fit(PROMPTS, COMPLETIONS, packing=True)


@pytest.mark.keras(once=True)
def test_a_model_without_a_longest_row_cannot_be_packed(tokenizer, perturbed):
    sizes = {"num_layers": 1, "num_query_heads": 2, "num_key_value_heads": 1, "hidden_dim": 16, "head_dim": 8}
    backbone = vertebra.models.GemmaBackbone(300, intermediate_dim=32, **sizes)
    lm = vertebra.models.CausalLM(backbone, tokenizer)
    with pytest.raises(ArgumentError, match="packing=True, expected False"):
        lm.fit(PROMPTS, COMPLETIONS, packing=True)
