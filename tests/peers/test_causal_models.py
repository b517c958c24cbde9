"""Causal language models: logits, scores and losses are those of transformers and KerasHub, and files are exchanged."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import vertebra
from vertebra.cli import main

from .conftest import TOLERANCE, Peer
from .test_kerashub_tasks import kerashub_tasks  # noqa: F401
from .test_tasks import text_peer  # noqa: F401
from .test_tokenizers import GEMMA, SPM_BPE

pytestmark = pytest.mark.keras

TEXTS = ["the quick brown fox jumps over the lazy dog", "a good dog, a bad fox.", "the capital of France is Paris"]
PAIRS = [("the quick", " brown fox"), ("a", " bad dog, a good fox"), ("the capital of France is", " Paris")]
GPT2 = {"model_type": "gpt2", "vocab_size": 300, "n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 48}
GPT2 |= {"resid_pdrop": 0.0, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0}
ROTARY = {"vocab_size": 300, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
ROTARY |= {"hidden_size": 16, "intermediate_size": 24, "head_dim": 8, "bos_token_id": 0, "eos_token_id": 0}
CONFIGS = {
    "gpt2": GPT2,
    "gemma": ROTARY | {"model_type": "gemma"},
    "gemma2": ROTARY | {"model_type": "gemma2", "query_pre_attn_scalar": 8, "sliding_window": 4},
    "gemma3_text": ROTARY | {"model_type": "gemma3_text", "query_pre_attn_scalar": 8, "sliding_window": 4},
    "llama": ROTARY | {"model_type": "llama"},
    "mistral": ROTARY | {"model_type": "mistral", "sliding_window": 4},
    "qwen2": ROTARY | {"model_type": "qwen2"},
    "qwen3": ROTARY | {"model_type": "qwen3"},
    "phi3": ROTARY | {"model_type": "phi3", "pad_token_id": 0},
}
WITHOUT_A_SECOND_MATRIX = ("gpt2", "gemma", "gemma2", "gemma3_text")
"""Architectures whose token embedding has no matrix for logits: the task has it."""
MODELS = [(model_type, tied) for model_type in CONFIGS for tied in (True, False)]
TRAINED = [(model_type, True) for model_type in CONFIGS] + [("gpt2", False), ("llama", False)]
PACKED = [("gpt2", True, True), ("gemma2", True, True), ("llama", True, True)]
each_model = pytest.mark.parametrize(("model_type", "tied"), MODELS)
MODEL = "AutoModelForCausalLM"


@pytest.fixture(scope="session")
def causal_peer(peers_python):
    """Calls functions of causal_peer.py."""
    peer = Peer(peers_python, "causal_peer.py", "torch")
    yield peer
    peer.close()


@pytest.fixture
def made(causal_peer, tokenizer_peer, tmp_path):
    """Lets transformers write a causal language model and a tokenizer of bytes; returns its folder."""

    def make(model_type, tied=True, **options):
        folder = str(tmp_path / "made")
        vocabulary = str(tmp_path / "vocabulary")
        tokenizer_peer("train", folder=vocabulary, kind="gpt2", texts=TEXTS * 4, size=300)
        tokenizer_peer("save", folder=folder, source=vocabulary, name="GPT2Tokenizer")
        causal_peer("make", folder=folder, config=CONFIGS[model_type] | {"tie_word_embeddings": tied}, **options)
        return folder

    return make


def agree(ours, theirs, tolerance=TOLERANCE):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), atol=tolerance, rtol=0)


def convert(source, target, format):
    assert main(["convert", str(source), str(target), "--format", format]) == 0


def logits_agree(lm, theirs):
    for row, expected in zip(lm.predict(TEXTS), theirs, strict=True):
        agree(row[: len(expected)], expected, 1e-4)
        assert not row[len(expected) :].any()


# === transformers ===


@each_model
def test_logits_and_files(model_type, tied, made, text_peer, tmp_path):  # noqa: F811
    """Of a tied head, and of one with a matrix of its own; in the folders that each library writes."""
    folder = made(model_type, tied)
    theirs = text_peer("logits", folder=folder, texts=TEXTS, model=MODEL)
    lm = vertebra.models.CausalLM.from_preset(folder)
    assert lm.own_head is (not tied and model_type in WITHOUT_A_SECOND_MATRIX)
    logits_agree(lm, theirs)
    lm.save_to_preset(tmp_path / "ours", format="transformers")
    agree_all(text_peer("logits", folder=str(tmp_path / "ours"), texts=TEXTS, model=MODEL), theirs)
    convert(folder, tmp_path / "native", "native")
    convert(tmp_path / "native", tmp_path / "back", "transformers")
    logits_agree(vertebra.models.CausalLM.from_preset(tmp_path / "native"), theirs)
    agree_all(text_peer("logits", folder=str(tmp_path / "back"), texts=TEXTS, model=MODEL), theirs)


def agree_all(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        agree(one, other, 1e-4)


def test_a_head_that_differs_is_read_whatever_the_config_says(made, text_peer):  # noqa: F811
    """Version 5 of transformers does not tie the head of such a checkpoint."""
    folder = made("gpt2", tied=False)
    config = Path(folder, "config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"tie_word_embeddings": True}))
    lm = vertebra.models.CausalLM.from_preset(folder)
    assert lm.own_head
    logits_agree(lm, text_peer("logits", folder=folder, texts=TEXTS, model=MODEL))


@pytest.mark.parametrize("model_type", CONFIGS)
def test_scores(model_type, made, causal_peer):
    folder = made(model_type)
    theirs = causal_peer("score", folder=folder, pairs=PAIRS)
    lm = vertebra.models.CausalLM.from_preset(folder)
    ours = lm.score(*map(list, zip(*PAIRS, strict=True)), per_token=True)
    for one, other in zip(ours, theirs, strict=True):
        agree(one["log_probabilities"], other, 1e-4)
    agree(lm.score(PAIRS), [sum(one) for one in theirs], 1e-4)


@pytest.mark.parametrize(("model_type", "tied", "packing"), [(*one, False) for one in TRAINED] + PACKED)
def test_losses_of_training_on_completions(model_type, tied, packing, made, causal_peer):
    """Each step of gradient descent has the loss that transformers has with labels of -100 for prompts and padding."""
    folder = made(model_type, tied)
    theirs = causal_peer("train", folder=folder, pairs=PAIRS, rate=0.05, steps=4)
    lm = vertebra.models.CausalLM.from_preset(folder)
    if packing:
        lm.preprocessor.sequence_length = 48
    lm.compile(keras.optimizers.SGD(0.05))
    options = {"epochs": 4, "batch_size": 3, "shuffle": False, "packing": packing, "verbose": 0}
    ours = lm.fit(*map(list, zip(*PAIRS, strict=True)), **options).history["loss"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {% if message.role == 'assistant' %}{% generation %}"
    "{{ message.content }}.{% endgeneration %}{% else %}{{ message.content }}{% endif %};{% endfor %}"
)
CHATS = [
    [{"role": "user", "content": "a fox"}, {"role": "assistant", "content": "the quick fox"}],
    [{"role": "user", "content": "dog"}, {"role": "assistant", "content": "lazy"}, {"role": "user", "content": "a"}],
]


@pytest.mark.parametrize("packing", [False, True])
def test_losses_of_training_on_chats(packing, made, causal_peer):
    folder = made("llama")
    options = {"chats": CHATS, "template": TEMPLATE, "rate": 0.05, "steps": 4}
    theirs = causal_peer("train_on_chats", folder=folder, **options)
    lm = vertebra.models.CausalLM.from_preset(folder)
    lm.chat_templates, lm.preprocessor.sequence_length = TEMPLATE, 64
    lm.compile(keras.optimizers.SGD(0.05))
    ours = lm.fit(CHATS, epochs=4, batch_size=2, shuffle=False, packing=packing, verbose=0).history["loss"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_the_settings_of_generation_are_carried(made, tmp_path):
    folder = made("gpt2", generation={"temperature": 0.5, "do_sample": True, "max_new_tokens": 7})
    convert(folder, tmp_path / "native", "native")
    vertebra.models.CausalLM.from_preset(folder).save_to_preset(tmp_path / "saved", format="transformers")
    convert(tmp_path / "native", tmp_path / "back", "transformers")
    for target in ("native", "saved", "back"):
        found = json.loads((tmp_path / target / "generation_config.json").read_text())
        assert (found["temperature"], found["max_new_tokens"]) == (0.5, 7), target


# === KerasHub ===

SIZES = {"vocabulary_size": 320, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 24}
ARCHITECTURES = {
    "GPT2": SIZES | {"num_heads": 2, "max_sequence_length": 48},
    "Gemma": SIZES | {"num_query_heads": 2, "num_key_value_heads": 1, "head_dim": 8},
    "Llama": SIZES | {"num_query_heads": 2, "num_key_value_heads": 1},
    "Mistral": SIZES | {"num_query_heads": 2, "num_key_value_heads": 1, "sliding_window": 4},
}
KINDS_OF_TOKENIZERS = {"GPT2": "gpt2", "Gemma": json.dumps(GEMMA), "Llama": json.dumps(SPM_BPE)}


@pytest.fixture(scope="session")
def files_of(tokenizer_peer, tmp_path_factory):
    """Returns the files of KerasHub's tokenizer of an architecture, trained on a few texts."""

    def files(architecture):
        folder = tmp_path_factory.mktemp(architecture)
        kind = KINDS_OF_TOKENIZERS.get(architecture, KINDS_OF_TOKENIZERS["Llama"])
        tokenizer_peer("train", folder=str(folder), kind=kind, texts=TEXTS * 30, size=300)
        if architecture != "GPT2":
            return {"proto": str(folder / SPM_BPE["file"])}
        return {"vocabulary": str(folder / "vocab.json"), "merges": str(folder / "merges.txt")}

    return files


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_models_of_kerashub_both_ways(architecture, files_of, kerashub_tasks, tmp_path):  # noqa: F811
    options = {"tokenizer": files_of(architecture), "config": ARCHITECTURES[architecture], "texts": TEXTS}
    folder, ours, again = (tmp_path / name for name in ("theirs", "ours", "again"))
    theirs = kerashub_tasks("create_causal", folder=str(folder), architecture=architecture, **options)
    lm = getattr(vertebra.models, f"{architecture}CausalLM").from_preset(folder)
    same_outputs(lm, theirs)
    lm.save_to_preset(ours, format="kerashub")
    loaded = kerashub_tasks("load", folder=str(ours), task="CausalLM", texts=TEXTS)
    assert loaded["inputs"] == theirs["inputs"]
    agree(loaded["outputs"], theirs["outputs"])
    kerashub_tasks("save_again", folder=str(ours), task="CausalLM", target=str(again))
    same_outputs(vertebra.models.CausalLM.from_preset(again), theirs)


def same_outputs(lm, theirs):
    """Compares logits, and the tokens that count with those of KerasHub's preprocessor."""
    inputs = {name: np.array(theirs["inputs"][name], "int32") for name in lm.input}
    tokens = inputs["padding_mask"] > 0
    agree(lm.predict(inputs, verbose=0)[tokens], np.array(theirs["outputs"])[tokens], 1e-4)
    _, labels, weights = lm.prepare(TEXTS)
    for row in range(len(TEXTS)):
        expected = np.array(theirs["inputs"]["labels"][row])[np.array(theirs["inputs"]["weights"][row]) > 0]
        found = labels[row][weights[row] > 0].tolist()
        assert found == expected.tolist()[-len(found) :]
        assert len(expected) - len(found) == (lm.tokenizer.start_token_id == lm.tokenizer.end_token_id)  # GPT-2's
