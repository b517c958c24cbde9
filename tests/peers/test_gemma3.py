"""Gemma 3 over more positions than its window, and EmbeddingGemma with its dense layers and prompts, as the peers."""

import json

import keras
import numpy as np
import pytest

import vertebra

from .conftest import Peer

pytestmark = pytest.mark.keras

LENGTH = 512
SIZES = {"vocab_size": 61, "hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4}
SIZES |= {"intermediate_size": 24, "num_hidden_layers": 7, "sliding_window": 64, "query_pre_attn_scalar": 4}
VISION = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION |= {"image_size": 28, "patch_size": 14}
LINEAR = {"rope_type": "linear", "rope_theta": 1_000_000.0, "factor": 8.0}
LOCAL = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.0}
TEXT = {"model_type": "gemma3_text"}
BOTH_WAYS = {"use_bidirectional_attention": True}


def states_and_logits(backbone, ids):
    states = backbone({"token_ids": ids, "padding_mask": np.ones_like(ids)}, training=False)
    return [keras.ops.convert_to_numpy(x) for x in (states, backbone.token_embedding(states, reverse=True))]


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("Gemma3ForCausalLM", TEXT | SIZES),
        ("Gemma3ForCausalLM", TEXT | SIZES | {"rope_parameters": {"full_attention": LINEAR}}),
        ("Gemma3ForCausalLM", TEXT | SIZES | {"rope_parameters": {"sliding_attention": LOCAL}}),
        ("Gemma3ForCausalLM", TEXT | SIZES | {"final_logit_softcapping": 1.5, "sliding_window_pattern": 2}),
        ("Gemma3ForCausalLM", TEXT | SIZES | BOTH_WAYS),
        ("Gemma3ForCausalLM", TEXT | SIZES | BOTH_WAYS | {"sliding_window": 63}),
        ("Gemma3ForConditionalGeneration", {"model_type": "gemma3", "text_config": SIZES, "vision_config": VISION}),
    ],
    ids=str,
)
def test_512_positions_have_the_states_and_logits_of_transformers(model, config, transformers_peer, folder, caplog):
    ids = np.random.default_rng(0).integers(3, 61, (1, LENGTH), dtype="int32")
    inputs = {"token_ids": ids.tolist(), "padding_mask": np.ones_like(ids).tolist()}
    config = config | ({"mm_tokens_per_image": 4} if "vision_config" in config else {})
    transformers_peer("create", folder=str(folder), inputs=inputs, model=model, config=config)
    there = transformers_peer("load", folder=str(folder), inputs=inputs, model=model)["outputs"]
    base = transformers_peer("load", folder=str(folder), inputs=inputs)["outputs"]
    states, logits = states_and_logits(vertebra.Backbone.from_preset(folder), ids)
    assert np.abs(states - np.array(base["sequence_output"])).max() <= 1e-4
    assert np.abs(logits - np.array(there["logits"])).max() <= 1e-4
    told = [record.getMessage() for record in caplog.records]
    assert any("multi_modal_projector" in text for text in told) == ("vision_config" in config)
    assert any("vision_tower" in text for text in told) == ("vision_config" in config)


# === Generation ===

OLDER = {name: size for name, size in SIZES.items() if name != "sliding_window"} | {"num_hidden_layers": 3}
STARTS = [[5, 9, 11, 7, 40, 41, 42, 43, 44, 45, 46, 47, 48], [3], [12, 13, 14, 15, 16], [60, 59]]


@pytest.mark.parametrize(
    ("prefix", "config"),
    [
        ("Gemma", OLDER | {"model_type": "gemma"}),
        ("Gemma2", OLDER | {"model_type": "gemma2", "sliding_window": 8}),
        ("Gemma3", TEXT | SIZES | {"sliding_window": 8}),
        ("Gemma3", TEXT | SIZES | {"sliding_window": 8, "rope_parameters": {"full_attention": LINEAR}}),
    ],
    ids=str,
)
def test_greedy_answers_have_the_tokens_of_transformers(prefix, config, transformers_peer, folder):
    """64 of them, so that the windows' rings of slots are used again, for prompts of different lengths."""
    inputs = {"token_ids": STARTS[:1], "padding_mask": [[1] * len(STARTS[0])]}
    transformers_peer("create", folder=str(folder), inputs=inputs, model=f"{prefix}ForCausalLM", config=config)
    attention = "eager" if prefix == "Gemma2" else None  # transformers' fused attention knows no cap
    theirs = transformers_peer("generate", folder=str(folder), prompts=STARTS, count=64, attention=attention)
    lm = vertebra.models.CausalLM.from_preset(folder)
    found = lm.generate(STARTS, max_new_tokens=64, stop_token_ids=None, strip_prompt=True)
    assert [list(map(int, answer)) for answer in found] == theirs


# === EmbeddingGemma ===

GEMMA = {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity", "file": "tokenizer.model"}
GEMMA |= {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "add_dummy_prefix": False, "bos_piece": "<bos>"}
GEMMA |= {"eos_piece": "<eos>", "user_defined_symbols": ["<mask>"], "remove_extra_whitespaces": False}
PROMPTS = {"query": "task: search result | query: ", "document": "title: none | text: "}
TEXTS = ["the fox jumps over the dog.", "dog", "a quick brown fox, lazy", "jumps over " * 12]


@pytest.fixture(scope="module")
def text_peer(peers_python):
    """Calls functions of text_peer.py."""
    peer = Peer(peers_python, "text_peer.py", "torch")
    yield peer
    peer.close()


@pytest.fixture
def embeddinggemma(tokenizer_peer, text_peer, folder):
    """A folder of Sentence Transformers with the modules, the prompts and the tokenizer of EmbeddingGemma."""
    tokenizer_peer("train", folder=str(folder), kind=json.dumps(GEMMA), texts=[*TEXTS, *PROMPTS.values()], size=340)
    options = {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(options))
    config = TEXT | SIZES | BOTH_WAYS | {"vocab_size": 340, "sliding_window": 8, "num_hidden_layers": 6}
    text_peer("make_model", folder=str(folder), model="Gemma3TextModel", config=config)
    dense = [[units, "Identity", {"bias": False}] for units in (24, 12)]
    text_peer("make_embedder", folder=str(folder), pooling="mean", dense=dense, normalize=True, prompts=PROMPTS)
    return folder


def test_embeddinggemma_has_the_vectors_of_sentence_transformers(embeddinggemma, text_peer, tmp_path):
    def theirs(folder, **options):
        return np.array(text_peer("embed", folder=str(folder), texts=TEXTS, **options))

    embedder = vertebra.models.TextEmbedder.from_preset(embeddinggemma)
    assert type(embedder.backbone).__name__ == "Gemma3Backbone"
    for name, vectors in {
        None: embedder.embed(TEXTS),
        "query": embedder.encode_query(TEXTS),
        "document": embedder.encode_documents(TEXTS),
    }.items():
        assert vectors.shape == (4, 12)
        np.testing.assert_allclose(vectors, theirs(embeddinggemma, prompt_name=name), atol=1e-5, rtol=0)
    embedder.save_to_preset(tmp_path / "written", format="sentence-transformers")
    found = theirs(tmp_path / "written", prompt_name="query")
    np.testing.assert_allclose(found, theirs(embeddinggemma, prompt_name="query"), atol=1e-5, rtol=0)
