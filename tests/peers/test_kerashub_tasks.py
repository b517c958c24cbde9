"""Tasks of KerasHub are read and written: both libraries give the same outputs for raw texts."""

import json

import numpy as np
import pytest

import vertebra

from .conftest import TOLERANCE, Peer
from .test_tasks import TEXTS, VOCABULARY
from .test_tokenizers import XLM_R

pytestmark = pytest.mark.keras

SIZES = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24, "max_sequence_length": 32}
TOKENIZERS = {"Bert": "wordpiece", "DistilBert": "wordpiece", "Roberta": "bytes", "XLMRoberta": json.dumps(XLM_R)}
TASKS = [(architecture, task) for architecture in TOKENIZERS for task in ("TextClassifier", "MaskedLM")]
TASKS += [("Bert", "TextEmbedder"), ("XLMRoberta", "TextEmbedder")]
each_task = pytest.mark.parametrize(("architecture", "task"), TASKS, ids="".join)
PAIRS = (["the fox jumps over", "dog"], ["a lazy dog", "the quick brown fox jumps over the lazy dog " * 4])


@pytest.fixture(scope="session")
def kerashub_tasks(peers_python, runtime):
    """Calls functions of kerashub_tasks_peer.py."""
    peer = Peer(peers_python, "kerashub_tasks_peer.py", runtime)
    yield peer
    peer.close()


@pytest.fixture
def created(kerashub_tasks, tmp_path):
    """Lets KerasHub save a task of BERT; returns its folder and its outputs."""

    def create(task, **options):
        folder = str(tmp_path / "created")
        options |= {"vocabulary": VOCABULARY, "config": SIZES | {"vocabulary_size": len(VOCABULARY)}, "texts": TEXTS}
        return folder, kerashub_tasks("create", folder=folder, architecture="Bert", task=task, **options)

    return create


@pytest.fixture(scope="session")
def trained(tokenizer_peer, tmp_path_factory):
    """Returns the tokenizer of an architecture, trained on a few texts."""
    from vertebra_text import Tokenizer

    found = {}

    def tokenizer(architecture):
        if architecture not in found:
            folder = tmp_path_factory.mktemp(architecture)
            texts, size = [*TEXTS, *PAIRS[0], *PAIRS[1]] * 30, 300 if architecture == "Roberta" else 60
            tokenizer_peer("train", folder=str(folder), kind=TOKENIZERS[architecture], texts=texts, size=size)
            config = json.dumps({"tokenizer_class": f"{architecture}Tokenizer"})
            (folder / "tokenizer_config.json").write_text(config)
            found[architecture] = Tokenizer.from_preset(folder)
        return found[architecture]

    return tokenizer


@pytest.fixture
def made(trained):
    """Returns a task with random weights."""

    def make(architecture, task, **arguments):
        tokenizer = trained(architecture)
        sizes = SIZES | {"vocabulary_size": tokenizer.vocabulary_size()}
        sizes |= {"pooler": False} if architecture in ("Roberta", "XLMRoberta") else {}
        sizes |= {"layer_norm_epsilon": 1e-5} if "Roberta" in architecture else {}
        backbone = getattr(vertebra.models, f"{architecture}Backbone")(**sizes)
        built = getattr(vertebra.models, task)(backbone, preprocessor=tokenizer, **arguments)
        draws = np.random.default_rng(0)
        for variable in built.weights:
            if "float" in variable.dtype:
                start = 1 if variable.path.endswith("gamma") else 0
                variable.assign(start + 0.2 * draws.standard_normal(variable.shape))
        return built

    return make


def agree(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), atol=TOLERANCE, rtol=0)


def same_outputs(task, theirs):
    """Compares outputs; those of a masked language model are for the token ids that the peer returns."""
    if isinstance(theirs, dict):
        inputs = {name: np.array(theirs["inputs"][name], "int32") for name in task.input}
        agree(task.predict(inputs), theirs["outputs"])
    else:
        agree(task.predict(TEXTS), theirs)


# === Read ===


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_embedders_of_kerashub(pooling, created):
    folder, theirs = created("TextEmbedder", pooling_mode=pooling, normalize=pooling != "cls")
    agree(vertebra.models.TextEmbedder.from_preset(folder).embed(TEXTS), theirs)


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_classifiers_of_kerashub(activation, created):
    folder, theirs = created("TextClassifier", num_classes=3, activation=activation)
    agree(vertebra.models.BertTextClassifier.from_preset(folder).predict(TEXTS), theirs)


def test_masked_language_models_of_kerashub(created):
    folder, theirs = created("MaskedLM")
    same_outputs(vertebra.models.MaskedLM.from_preset(folder), theirs)


# === Written ===

ARGUMENTS = {
    "TextClassifier": {"labels": ["sad", "glad", "mad"], "problem_type": "multi_label_classification", "dropout": 0.3},
    "MaskedLM": {"mask_selection_rate": 0.25},
    "TextEmbedder": {"pooling_mode": "max", "normalize": False, "prompts": {"query": "fox "}},
}


@each_task
@pytest.mark.filterwarnings("ignore:KerasHub's MaskedLM adds", "ignore:KerasHub finds no special tokens")
def test_tasks_that_are_written(architecture, task, made, kerashub_tasks, tmp_path):
    ours = made(architecture, task, **head_of_kerashub(architecture, task), **ARGUMENTS[task])
    ours.save_to_preset(tmp_path / "ours", format="kerashub")
    same_outputs(ours, kerashub_tasks("load", folder=str(tmp_path / "ours"), task=task, texts=TEXTS))
    again = getattr(vertebra.models, task).from_preset(tmp_path / "ours")
    assert again.task_arguments() == ours.task_arguments() | ({"dropout": 0.3} if task == "TextClassifier" else {})
    kerashub_tasks("save_again", folder=str(tmp_path / "ours"), task=task, target=str(tmp_path / "theirs"))
    theirs = getattr(vertebra.models, task).from_preset(tmp_path / "theirs")
    same_outputs(theirs, kerashub_tasks("load", folder=str(tmp_path / "theirs"), task=task, texts=TEXTS))


def head_of_kerashub(architecture, task):
    """Returns an argument `head` with the epsilon of KerasHub's masked language models."""
    if task != "MaskedLM" or "Roberta" in architecture:
        return {}
    from vertebra_text.task_files.kerashub import head_in_kerashub

    sizes = SIZES | {"vocabulary_size": 30}
    backbone = getattr(vertebra.models, f"{architecture}Backbone")(**sizes)
    return {"head": head_in_kerashub("MaskedLM", backbone).to_config()}


@pytest.mark.parametrize("architecture", TOKENIZERS)
@pytest.mark.filterwarnings("ignore:KerasHub finds no special tokens")
def test_pairs_are_cut_alike(architecture, made, kerashub_tasks, tmp_path):
    ours = made(architecture, "Reranker", score="identity")
    ours.save_to_preset(tmp_path / "ours", format="kerashub")
    theirs = kerashub_tasks("load", folder=str(tmp_path / "ours"), task="TextClassifier", texts=PAIRS)
    agree(ours.predict(PAIRS), theirs)
    assert vertebra.models.Reranker.from_preset(tmp_path / "ours").score == "identity"


def test_another_epsilon_is_told_and_kept(made, tmp_path):
    ours = made("DistilBert", "MaskedLM")
    with pytest.warns(UserWarning, match=r"adds 1e-05 to the variance .* this head 1e-12"):
        ours.save_to_preset(tmp_path / "ours", format="kerashub")
    again = vertebra.models.MaskedLM.from_preset(tmp_path / "ours")
    assert again.task_arguments()["head"] == ours.task_arguments()["head"]
