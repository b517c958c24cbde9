"""Tasks give the outputs of transformers and Sentence Transformers, for raw texts, from folders that these wrote."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from pages import code
from vertebra.errors import PresetConfigError
from vertebra_text.task_files.sentence_transformers import ACTIVATIONS as ACTIVATIONS_OF_TORCH

from .conftest import TOLERANCE, Peer

pytestmark = pytest.mark.keras

LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fox", "jump", "over", "dog", ".", ",", *LETTERS]
TEXTS = ["the fox jumps over the dog.", "dog", "a quick brown fox, lazy", "jumps " * 12]
PAIRS = [["the fox", "jumps over the dog"], ["dog", "a"], ["lazy dog, over", "the quick fox jumps"]]
SIZES = {
    "vocab_size": len(VOCABULARY),
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}
DISTILBERT = {"n_layers": 2, "dim": 16, "n_heads": 2, "hidden_dim": 24, "model_type": "distilbert"}
CONFIGS = {
    "bert": SIZES | {"model_type": "bert"},
    "electra": SIZES | {"model_type": "electra", "embedding_size": 12},
    "roberta": SIZES | {"model_type": "roberta", "pad_token_id": 0},
    "distilbert": DISTILBERT | {name: SIZES[name] for name in ("vocab_size", "max_position_embeddings")},
    "mpnet": SIZES | {"model_type": "mpnet"},
    "modernbert": SIZES | {"model_type": "modernbert", "pad_token_id": 0, "global_attn_every_n_layers": 2},
}
PREFIXES = {"bert": "Bert", "electra": "Electra", "roberta": "Roberta", "distilbert": "DistilBert", "mpnet": "MPNet"}
PREFIXES["modernbert"] = "ModernBert"
each_model = pytest.mark.parametrize("model_type", CONFIGS)


@pytest.fixture(scope="session")
def text_peer(peers_python):
    """Calls functions of text_peer.py."""
    peer = Peer(peers_python, "text_peer.py", "torch")
    yield peer
    peer.close()


@pytest.fixture
def made(text_peer, tmp_path):
    """Lets the peers write a checkpoint with a head and a tokenizer; returns its folder."""

    def make(model_type, head, **config):
        folder = str(tmp_path / "made")
        text_peer("make_tokenizer", folder=folder, vocabulary=VOCABULARY)
        model = f"{PREFIXES[model_type]}{head}"
        text_peer("make_model", folder=folder, model=model, config=CONFIGS[model_type] | config)
        return folder

    return make


def agree(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), atol=TOLERANCE, rtol=0)


@each_model
@pytest.mark.parametrize(
    "pooling", ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", ["max", "cls"]]
)
def test_pooling(model_type, pooling, made, text_peer):
    folder = made(model_type, "Model")
    options = {"dense": [], "normalize": pooling == "mean", "prompts": {}}
    text_peer("make_embedder", folder=folder, pooling=pooling, **options)
    embedder = vertebra.models.TextEmbedder.from_preset(folder)
    agree(embedder.embed(TEXTS), text_peer("embed", folder=folder, texts=TEXTS))


def test_the_scripts_of_the_page_compute_the_same(made, text_peer, tmp_path, monkeypatch, runtime):
    """Those of docs/how-to/from-sentence-transformers.md; each also reads the folder that the other has saved."""
    monkeypatch.chdir(tmp_path)
    folder = made("bert", "Model")
    text_peer("make_embedder", folder=folder, pooling="mean", dense=[], normalize=True, prompts={})
    theirs, ours = code("how-to/from-sentence-transformers.md")[:2]
    theirs = theirs.replace("./saved", str(tmp_path / "theirs"))
    ours = ours.replace("./saved", "ours").replace('use("torch")', f'use("{runtime}")')
    names = {}
    expected = text_peer("run_script", code=theirs.replace("sentence-transformers/all-MiniLM-L6-v2", folder))
    exec(compile(ours.replace("hf://sentence-transformers/all-MiniLM-L6-v2", folder), "ours.py", "exec"), names)
    agree(names["vectors"], expected["vectors"])
    agree(names["scores"], expected["scores"])
    again = text_peer("embed", folder=str(tmp_path / "ours"), texts=TEXTS)
    agree(vertebra.models.TextEmbedder.from_preset("theirs").embed(TEXTS), again)


@each_model
def test_dense_layers_prompts_and_shorter_vectors(model_type, made, text_peer):
    folder = made(model_type, "Model")
    options = {"dense": [[12, "Tanh"], [8, "Identity"]], "normalize": True, "truncate_dim": 6}
    text_peer("make_embedder", folder=folder, pooling="mean", prompts={"query": "fox "}, **options)
    embedder = vertebra.models.TextEmbedder.from_preset(folder)
    agree(embedder.embed(TEXTS), text_peer("embed", folder=folder, texts=TEXTS))
    theirs = text_peer("embed", folder=folder, texts=TEXTS, prompt_name="query")
    agree(embedder.encode_query(TEXTS), theirs)


PROMPT = {"query": "the fox says, "}


@pytest.mark.parametrize("model_type", ["bert", "mpnet"])
@pytest.mark.parametrize("format", ["sentence-transformers", "native"])
@pytest.mark.parametrize("pooling", ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"])
def test_prompts_that_do_not_count_in_pooling(model_type, pooling, format, made, text_peer, tmp_path):
    folder = made(model_type, "Model")
    options = {"dense": [], "normalize": False, "prompts": PROMPT, "include_prompt": False}
    text_peer("make_embedder", folder=folder, pooling=pooling, **options)
    embedder = vertebra.models.TextEmbedder.from_preset(folder)
    theirs = text_peer("embed", folder=folder, texts=TEXTS, prompt_name="query")
    agree(embedder.encode_query(TEXTS), theirs)
    agree(embedder.embed(TEXTS), text_peer("embed", folder=folder, texts=TEXTS))
    written = str(tmp_path / "written")
    embedder.save_to_preset(written, format=format)
    agree(vertebra.models.TextEmbedder.from_preset(written).encode_query(TEXTS), theirs)
    if format == "sentence-transformers":
        agree(text_peer("embed", folder=written, texts=TEXTS, prompt_name="query"), theirs)


@pytest.mark.parametrize("side", ["left", "right"])
def test_prompts_do_not_count_whichever_side_is_padded(side, made, text_peer):
    folder = made("bert", "Model")
    config = Path(folder, "tokenizer_config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"padding_side": side}))
    options = {"dense": [], "normalize": False, "prompts": PROMPT, "include_prompt": False}
    text_peer("make_embedder", folder=folder, pooling=["weightedmean", "lasttoken", "cls"], **options)
    theirs = [text_peer("embed", folder=folder, texts=[text], prompt_name="query")[0] for text in TEXTS]
    embedder = vertebra.models.TextEmbedder.from_preset(folder)
    agree([embedder.encode_query([text])[0] for text in TEXTS], theirs)


ACTIVATIONS = [name for name in ACTIVATIONS_OF_TORCH if name != "Identity"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_and_residual_layers(activation, made, text_peer, tmp_path):
    folder, written = made("bert", "Model"), str(tmp_path / "written")
    dense = [[16, activation, {"use_residual": True}], [12, activation, {"use_residual": True}], [8, activation]]
    dense[2].append({"bias": False})
    text_peer("make_embedder", folder=folder, pooling="mean", dense=dense, normalize=False, prompts={})
    theirs = text_peer("embed", folder=folder, texts=TEXTS)
    embedder = vertebra.models.TextEmbedder.from_preset(folder)
    agree(embedder.embed(TEXTS), theirs)
    embedder.save_to_preset(written, format="sentence-transformers")
    agree(text_peer("embed", folder=written, texts=TEXTS), theirs)
    assert vertebra.models.TextEmbedder.from_preset(written).dense == embedder.dense


@pytest.mark.parametrize("name", ["torch.nn.modules.activation.PReLU", "os.system", "torch.nn.modules.linear.Linear"])
def test_other_activations_are_refused_by_name(name, made, text_peer):
    folder = made("bert", "Model")
    text_peer("make_embedder", folder=folder, pooling="mean", dense=[[8, "Tanh"]], normalize=False, prompts={})
    config = Path(folder, "2_Dense", "config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"activation_function": name}))
    with pytest.raises(PresetConfigError, match=name):
        vertebra.models.TextEmbedder.from_preset(folder)


@each_model
def test_a_checkpoint_without_modules_is_read_as_by_the_peer(model_type, made, text_peer):
    folder = made(model_type, "Model")
    embedder = vertebra.models.TextEmbedder.from_preset(folder, normalize=False)
    agree(embedder.embed(TEXTS), text_peer("embed", folder=folder, texts=TEXTS))


@each_model
@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification", "regression"])
def test_classifiers(model_type, problem, made, text_peer):
    folder = made(model_type, "ForSequenceClassification", num_labels=3, problem_type=problem)
    classifier = vertebra.models.TextClassifier.from_preset(folder)
    assert classifier.problem_type == problem
    model = "AutoModelForSequenceClassification"
    agree(classifier.predict(TEXTS), text_peer("logits", folder=folder, texts=TEXTS, model=model))
    agree(classifier.predict(PAIRS), text_peer("logits", folder=folder, texts=PAIRS, model=model))


@each_model
def test_labels_and_scores(model_type, made, text_peer):
    names = {"id2label": {0: "sad", 1: "glad", 2: "mad"}, "label2id": {"sad": 0, "glad": 1, "mad": 2}}
    folder = made(model_type, "ForSequenceClassification", **names)
    ours = vertebra.models.TextClassifier.from_preset(folder).classify(TEXTS, top_k=None)
    theirs = text_peer("pipeline", folder=folder, task="text-classification", texts=TEXTS, top_k=None)
    assert [[entry["label"] for entry in row] for row in ours] == [[entry["label"] for entry in row] for row in theirs]
    agree([[entry["score"] for entry in row] for row in ours], [[entry["score"] for entry in row] for row in theirs])


@each_model
@pytest.mark.parametrize("saved", ["by transformers", "by Sentence Transformers"])
def test_rerankers(model_type, saved, made, text_peer):
    folder = made(model_type, "ForSequenceClassification", num_labels=1)
    if saved == "by Sentence Transformers":
        text_peer("save_reranker", folder=folder)
    reranker = vertebra.models.Reranker.from_preset(folder)
    agree(reranker.scores(PAIRS), text_peer("rerank", folder=folder, pairs=PAIRS))


@each_model
@pytest.mark.parametrize("aggregation", ["none", "simple", "first", "average", "max"])
def test_entities(model_type, aggregation, made, text_peer):
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}
    folder = made(model_type, "ForTokenClassification", **labels)
    ours = vertebra.models.TokenClassifier.from_preset(folder).tag(TEXTS, aggregation=aggregation)
    options = {"task": "token-classification", "aggregation_strategy": aggregation}
    theirs = text_peer("pipeline", folder=folder, texts=TEXTS, **options)
    kind = "entity" if aggregation == "none" else "entity_group"
    assert [[(e["label"], e["start"], e["end"]) for e in row] for row in ours] == [
        [(e[kind], e["start"], e["end"]) for e in row] for row in theirs
    ]
    agree([e["score"] for row in ours for e in row], [e["score"] for row in theirs for e in row])


@each_model
def test_masked_tokens(model_type, made, text_peer):
    folder = made(model_type, "ForMaskedLM")
    texts = ["the [MASK] jumps over the dog.", "[MASK] fox [MASK]"]
    task = vertebra.models.MaskedLM.from_preset(folder)
    theirs = text_peer("pipeline", folder=folder, task="fill-mask", texts=texts, top_k=5)
    theirs[0] = [theirs[0]]
    for ours, expected in zip(task.fill(texts), theirs, strict=True):
        assert [[entry["token"] for entry in mask] for mask in ours] == [
            [entry["token_str"] for entry in mask] for mask in expected
        ]
        agree([[e["score"] for e in mask] for mask in ours], [[e["score"] for e in mask] for mask in expected])


@each_model
def test_a_matrix_of_the_head_that_is_not_the_token_table(model_type, made, text_peer, tmp_path):
    folder, written = made(model_type, "ForMaskedLM", tie_word_embeddings=False), str(tmp_path / "written")
    texts = ["the [MASK] jumps over the dog.", "a [MASK] fox"]
    task = vertebra.models.MaskedLM.from_preset(folder)
    assert [weight.path for weight in task.trainable_weights if weight.path.startswith("vocabulary/kernel")]
    scores_agree(task, text_peer, folder, texts)
    for variable in task.head_weights().values():
        variable.assign(variable + 0.05)
    task.save_to_preset(written, format="transformers")
    scores_agree(task, text_peer, written, texts)
    scores_agree(vertebra.models.MaskedLM.from_preset(written), text_peer, written, texts)
    task.save_to_preset(tmp_path / "native")
    scores_agree(vertebra.models.MaskedLM.from_preset(tmp_path / "native"), text_peer, written, texts)


def scores_agree(task, text_peer, folder, texts):
    theirs = text_peer("pipeline", folder=folder, task="fill-mask", texts=texts, top_k=5)
    ours = [masks[0] for masks in task.fill(texts)]
    assert [[e["token"] for e in row] for row in ours] == [[e["token_str"] for e in row] for row in theirs]
    agree([[e["score"] for e in row] for row in ours], [[e["score"] for e in row] for row in theirs])


def test_the_bias_of_an_untied_head_has_another_name_in_version_4(made):
    folder = made("bert", "ForMaskedLM", tie_word_embeddings=False)
    expected = vertebra.models.MaskedLM.from_preset(folder).fill("a [MASK] fox")
    path = Path(folder, "model.safetensors")
    tensors = load_file(path)
    tensors["cls.predictions.bias"] = tensors.pop("cls.predictions.decoder.bias")
    save_file(tensors, path, {"format": "pt"})
    assert vertebra.models.MaskedLM.from_preset(folder).fill("a [MASK] fox") == expected


# === Written here, read by the peers ===


@each_model
@pytest.mark.parametrize("format", ["native", "transformers", "sentence-transformers"])
def test_embedders_that_are_written(model_type, format, made, text_peer, tmp_path):
    folder = made(model_type, "Model")
    options = {"dense": [[12, "Tanh"], [8, "Identity"]], "normalize": True, "prompts": {"query": "fox "}}
    text_peer("make_embedder", folder=folder, pooling=["mean", "cls"], **options)
    embedder = vertebra.models.TextEmbedder.from_preset(folder)
    embedder.save_to_preset(tmp_path / "written", format=format)
    again = vertebra.models.TextEmbedder.from_preset(tmp_path / "written")
    agree(again.embed(TEXTS), embedder.embed(TEXTS))
    assert again.prompts == embedder.prompts
    if format != "native":
        agree(text_peer("embed", folder=str(tmp_path / "written"), texts=TEXTS), embedder.embed(TEXTS))


@each_model
@pytest.mark.parametrize("format", ["native", "transformers"])
@pytest.mark.parametrize("kind", ["TextClassifier", "TokenClassifier", "MaskedLM"])
def test_heads_that_are_written(model_type, kind, format, made, text_peer, tmp_path):
    heads = {"TextClassifier": "SequenceClassification", "TokenClassifier": "TokenClassification"}
    model = f"For{heads.get(kind, 'MaskedLM')}"
    folder = made(model_type, model, **({} if kind == "MaskedLM" else {"num_labels": 3}))
    task = getattr(vertebra.models, kind).from_preset(folder)
    for variable in task.head_weights().values():
        variable.assign(variable + 0.1)
    written = str(tmp_path / "written")
    task.save_to_preset(written, format=format)
    again = getattr(vertebra.models, kind).from_preset(written)
    for name, variable in again.head_weights().items():
        agree(keras.ops.convert_to_numpy(variable), keras.ops.convert_to_numpy(task.head_weights()[name]))
    if format == "transformers" and kind == "TextClassifier":
        found = text_peer("logits", folder=written, texts=TEXTS, model=f"AutoModel{model}")
        agree(task.predict(TEXTS), found)
    if format == "transformers" and kind == "MaskedLM":
        texts = ["the [MASK] jumps", "a [MASK]"]
        expected = text_peer("pipeline", folder=written, task="fill-mask", texts=texts, top_k=3)
        answers = [entry[0] for entry in task.fill(texts, top_k=3)]
        agree([[e["score"] for e in row] for row in answers], [[e["score"] for e in row] for row in expected])
