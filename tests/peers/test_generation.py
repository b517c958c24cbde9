"""Whole answers: the tokens of `generate` are those of transformers and KerasHub, for small models of each family."""

import numpy as np
import pytest

import vertebra

from .test_causal_models import ARCHITECTURES, causal_peer, files_of  # noqa: F401
from .test_kerashub_tasks import kerashub_tasks  # noqa: F401

pytestmark = pytest.mark.keras

NEW = 64
VOCABULARY = 199
PROMPTS = [np.random.default_rng(size).integers(1, VOCABULARY, size).tolist() for size in (7, 1, 12, 4)]
SIZES = {"vocab_size": VOCABULARY, "num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 24}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 96}
SIZES |= {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
GPT2 = {"vocab_size": VOCABULARY, "n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 96}
GPT2 |= {"bos_token_id": None, "eos_token_id": None}
SLIDING = {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}
MIXED = {"layer_types": ["sliding_attention", "full_attention"]}
UNTIED = {"tie_word_embeddings": False}  # or states after norms would mostly be those of the last token
CAPS = {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 20.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24}
MODELS = {
    "gpt2": GPT2 | {"model_type": "gpt2"},
    "gemma": SIZES | {"model_type": "gemma"},
    "gemma2": SIZES | CAPS | MIXED | UNTIED | {"model_type": "gemma2", "query_pre_attn_scalar": 8, "sliding_window": 9},
    "gemma3": SIZES | MIXED | UNTIED | {"model_type": "gemma3_text", "query_pre_attn_scalar": 8, "sliding_window": 9},
    "llama": SIZES | {"model_type": "llama", "rope_parameters": LLAMA3 | {"original_max_position_embeddings": 24}},
    "mistral": SIZES | {"model_type": "mistral", "sliding_window": 9},
    "mistral, yarn": SIZES | {"model_type": "mistral", "sliding_window": None, "rope_parameters": YARN},
    "qwen2": SIZES | SLIDING | {"model_type": "qwen2"},
    "qwen3": SIZES | {"model_type": "qwen3", "tie_word_embeddings": True},
    "smollm3": SIZES | {"model_type": "smollm3", "no_rope_layers": [1, 0]},
    "phi3": SIZES | {"model_type": "phi3", "sliding_window": 9},
}
"""Configs of transformers, whose windows are shorter than a prompt."""


@pytest.fixture(scope="module")
def made(causal_peer, tmp_path_factory):  # noqa: F811
    """Lets transformers write a model with random weights, once for each config; returns its folder."""
    known = {}

    def make(name):
        if name not in known:
            known[name] = str(tmp_path_factory.mktemp("model"))
            causal_peer("make", folder=known[name], config=MODELS[name], noise=0.4)
        return known[name]

    return make


@pytest.fixture(scope="module")
def opened(made):
    """Opens a model of transformers, once for each config."""
    known = {}

    def open(name):
        if name not in known:
            known[name] = vertebra.models.CausalLM.from_preset(made(name), preprocessor=None)
        return known[name]

    return open


def ours(lm, prompts=PROMPTS, **options):
    return lm.generate(prompts, strip_prompt=True, details=True, **options)


@pytest.mark.parametrize("name", MODELS)
def test_greedy_answers_are_those_of_transformers(name, made, opened, causal_peer):  # noqa: F811
    """Of four prompts of different lengths, in one batch and past the windows of sliding layers."""
    theirs = causal_peer("generate", folder=made(name), prompts=PROMPTS, max_new_tokens=NEW, do_sample=False)
    assert theirs["margin"] > 1e-4  # otherwise rounding would choose between tokens
    assert [answer.token_ids for answer in ours(opened(name), max_new_tokens=NEW)] == theirs["tokens"]
    assert len({token for row in theirs["tokens"] for token in row}) >= 20  # they do not just repeat themselves


BEAMS = [
    {"num_beams": 4},
    {"num_beams": 4, "early_stopping": True, "n": 2},
    {"num_beams": 4, "early_stopping": "never", "length_penalty": 2.0, "n": 4},
    {"num_beams": 3, "length_penalty": -1.0, "n": 3, "repetition_penalty": 1.3},
]
"""Options of beam searches, with `n` for `num_return_sequences`."""
THEIR_NAMES = {"n": "num_return_sequences", "stop_tokens": "eos_token_id", "bad_words": "bad_words_ids"}


@pytest.mark.parametrize("options", BEAMS, ids=str)
@pytest.mark.parametrize("name", ["gpt2", "gemma3", "mistral"])
def test_beams_are_those_of_transformers(name, options, made, opened, causal_peer):  # noqa: F811
    options = options | {"stop_tokens": list(range(1, 19)), "max_new_tokens": 24}
    theirs = in_peer(causal_peer, made(name), options)
    answers = [answer for found in ours(opened(name), **options) for answer in of_one(found)]
    for answer, tokens, score in zip(answers, theirs["tokens"], theirs["scores"], strict=True):
        assert answer.token_ids == tokens[: len(answer.token_ids)]
        assert set(tokens[len(answer.token_ids) :]) <= {0, 1}  # padding, for which it may take a stop token
        assert abs(answer.score - score) < 1e-4 + 1e-5 * abs(score)


def in_peer(causal_peer, folder, options):  # noqa: F811
    named = {THEIR_NAMES.get(name, name): value for name, value in options.items()}
    return causal_peer("generate", folder=folder, prompts=PROMPTS, do_sample=False, **named)


def of_one(found):
    """Returns the answers to a prompt as a list, also if there is one."""
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize(
    "options",
    [
        {"repetition_penalty": 1.5},
        {"no_repeat_ngram_size": 2},
        {"bad_words": [[5], [30, 40], [50]], "min_new_tokens": 9, "stop_tokens": list(range(1, 50))},
        {"repetition_penalty": 0.9, "no_repeat_ngram_size": 3, "stop_tokens": [7, 8, 9]},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["gpt2", "gemma2"])
def test_penalties_change_answers_as_in_transformers(name, options, made, opened, causal_peer):  # noqa: F811
    options = options | {"max_new_tokens": 24}
    theirs = in_peer(causal_peer, made(name), options)
    answers = [answer.token_ids for answer in ours(opened(name), **options)]
    plain = [answer.token_ids for answer in ours(opened(name), max_new_tokens=24)]
    for answer, tokens in zip(answers, theirs["tokens"], strict=True):
        assert answer == tokens[: len(answer)]
        assert not any(tokens[len(answer) :])
    assert answers != plain


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_answers_are_those_of_kerashub(architecture, files_of, kerashub_tasks, tmp_path):  # noqa: F811
    config = ARCHITECTURES[architecture]
    options = {"tokenizer": files_of(architecture), "config": config, "texts": ["a good dog"]}
    folder, rows = str(tmp_path / "theirs"), [[token + 5 for token in prompt] for prompt in PROMPTS]
    kerashub_tasks("create_causal", folder=folder, architecture=architecture, **options)
    theirs = kerashub_tasks("generate", folder=folder, rows=rows, length=48)
    lm = getattr(vertebra.models, f"{architecture}CausalLM").from_preset(folder)
    assert lm.generate(rows, max_length=48, stop_token_ids=None) == theirs
