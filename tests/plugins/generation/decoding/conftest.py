"""Small decoders with random weights, and their answers by passes over all tokens."""

import numpy as np
import pytest

VOCABULARY = 61
SIZES = {"vocabulary_size": VOCABULARY, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 24}
ROTARY = SIZES | {"num_query_heads": 4, "num_key_value_heads": 2, "head_dim": 4}
SLIDING = {"use_sliding_window_attention": True, "sliding_window_size": 5}
NORMS = {"use_post_ffw_norm": True, "use_post_attention_norm": True}
BACKBONES = {
    "gpt2": ("GPT2Backbone", SIZES | {"num_heads": 2, "max_sequence_length": 512, "dropout": 0.0}),
    "gemma2": (
        "GemmaBackbone",
        ROTARY | SLIDING | NORMS | {"attention_logit_soft_cap": 2.0, "final_logit_soft_cap": 9.0},
    ),
    "gemma3": (
        "Gemma3Backbone",
        ROTARY | SLIDING | NORMS | {"layer_types": ["sliding_attention", "full_attention"]},
    ),
    "mistral": ("MistralBackbone", ROTARY | {"sliding_window": 5}),
}
"""Class and arguments of a decoder; windows are shorter than prompts."""
SAMPLING = {"do_sample": True, "temperature": 1.3, "top_k": 0, "seed": 5}
PROMPTS = [np.random.default_rng(size).integers(1, VOCABULARY, size).tolist() for size in (7, 1, 12, 4, 9)]


@pytest.fixture(scope="session")
def decoder():
    """Returns a causal language model without a tokenizer: the same weights for each call and runtime."""
    import vertebra

    def make(name="gpt2", own_head=False, **changes):
        kind, arguments = BACKBONES[name]
        backbone = getattr(vertebra.models, kind)(**arguments | changes)
        model = vertebra.models.CausalLM(backbone, own_head=own_head)
        for number, variable in enumerate(model.weights):
            draws = np.random.default_rng(number).normal(size=variable.shape)
            variable.assign(0.4 * draws + float(variable.path.endswith("gamma")))
        return model

    return make


@pytest.fixture(scope="session")
def shared(decoder):
    """Returns the same, one model for all tests that do not change it."""
    known = {}

    def make(name="gpt2"):
        if name not in known:
            known[name] = decoder(name)
        return known[name]

    return make


def answers(model, prompts=PROMPTS, **options):
    """Returns the answers to token ids, as `Answer`."""
    options = {"max_new_tokens": 12, "stop_token_ids": None} | options
    return model.generate(prompts, details=True, **options)


def tokens(model, prompts=PROMPTS, **options):
    """Returns the new tokens of each answer."""
    return [answer.token_ids for answer in answers(model, prompts, **options)]


def passed(model, rows, **options):
    """Returns the log-probabilities after each token of rows, each computed in one pass over all tokens."""
    width = -(-max(map(len, rows)) // 64) * 64  # so that few shapes are compiled
    width = min(width, getattr(model.backbone, "max_sequence_length", width))
    rows = [row[:width] for row in rows]  # the last token of an answer needs no position
    ids, mask = np.zeros((len(rows), width), "int32"), np.zeros((len(rows), width), "int32")
    for row, found in enumerate(rows):
        ids[row, : len(found)], mask[row, : len(found)] = found, 1
    logits = np.asarray(model.predict({"token_ids": ids, "padding_mask": mask}, verbose=0, **options), "float64")
    logits -= logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def assert_greedy(model, prompts, found, tolerance=1e-4, **options):
    """Asserts that each token of answers is the most probable one, by a pass over prompt and answer."""
    rows = [prompt + answer for prompt, answer in zip(prompts, found, strict=True)]
    for prompt, answer, scores in zip(prompts, found, passed(model, rows, **options), strict=True):
        steps = scores[len(prompt) - 1 : len(prompt) + len(answer) - 1]
        gaps = steps.max(axis=1) - steps[np.arange(len(answer)), answer]
        assert gaps.max() <= tolerance, (prompt, answer, gaps)


def with_adapters(model, *names, rank=2):
    """Adds LoRA adapters with random values to a model."""
    for number, name in enumerate(names):
        model.enable_lora(rank, name=name)
        draws = np.random.default_rng(number)
        for variable in model.trainable_variables:
            variable.assign(draws.normal(size=variable.shape) * 0.5)
    model.disable_lora()
    return model
