"""Files of tasks in KerasHub's format: what it cannot hold is refused by name, or kept for Vertebra."""

import json

import keras
import pytest

import vertebra
from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra_text import TextPreprocessor
from vertebra_text.task_files.kerashub import head_in_kerashub

pytestmark = pytest.mark.keras(once=True)

DENSE = {"dense": [{"units": 4, "activation": "tanh"}]}
PROMPTS = {"prompts": {"query": "the "}}


@pytest.fixture
def make(preset):
    def make(task, backbone=None, **arguments):
        if backbone is not None:
            sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 8, "vocabulary_size": 80}
            return getattr(vertebra.models, task)(getattr(vertebra.models, backbone)(**sizes), **arguments)
        return getattr(vertebra.models, task).from_preset(preset, False, **arguments)

    return make


@pytest.mark.parametrize(
    ("task", "arguments", "argument"),
    [
        ("TextEmbedder", {"pooling_mode": "weightedmean"}, "pooling_mode"),
        ("TextEmbedder", {"pooling_mode": ["mean", "cls"]}, "pooling_mode"),
        ("TextEmbedder", DENSE, "dense"),
        ("TextEmbedder", {"truncate_dim": 4}, "truncate_dim"),
        ("TextEmbedder", {**PROMPTS, "default_prompt_name": "query"}, "default_prompt_name"),
        ("TokenClassifier", {"num_classes": 2}, "task"),
        ("TextEmbedder", {"backbone": "ElectraBackbone"}, "task"),
        ("TextClassifier", {"num_classes": 2, "activation": keras.activations.get("tanh")}, None),
        ("TextClassifier", {"num_classes": 2, "activation": lambda x: x}, "activation"),
        ("MaskedLM", {}, "head.Dense.activation"),
    ],
)
def test_what_kerashub_cannot_hold_is_refused_by_name(task, arguments, argument, make, tmp_path):
    made = make(task, **arguments)
    if argument is None:
        made.save_to_preset(tmp_path / "saved", format="kerashub")
        return
    with pytest.raises(FormatLimitError) as raised:
        made.save_to_preset(tmp_path / "saved", format="kerashub")
    assert raised.value.argument == argument
    assert not (tmp_path / "saved").exists()


def test_a_matrix_of_its_own_is_refused(make, tmp_path):
    head = head_in_kerashub("MaskedLM", make("MaskedLM").backbone).to_config()
    head["layers"][-1]["tied"] = False
    with pytest.raises(FormatLimitError, match=r"head\.Vocabulary\.tied=False"):
        make("MaskedLM", head=head).save_to_preset(tmp_path / "saved", format="kerashub")


def test_another_way_of_cutting_is_refused_or_kept(make, tmp_path):
    made = make("TextClassifier", num_classes=2)
    made.preprocessor = TextPreprocessor(made.tokenizer, truncation="only_first")
    with pytest.raises(FormatLimitError, match="truncation='only_first'"):
        made.save_to_preset(tmp_path / "saved", format="kerashub")
    made.preprocessor = TextPreprocessor(made.tokenizer, truncation="error")
    for format in ("kerashub", "native"):
        made.save_to_preset(tmp_path / format, format=format)
        again = vertebra.models.TextClassifier.from_preset(tmp_path / format)
        assert again.preprocessor.truncation == "error"


def test_a_side_is_refused(make, tmp_path):
    made = make("TextClassifier", num_classes=2)
    made.tokenizer.padding_side = "left"
    with pytest.raises(FormatLimitError, match="padding_side='left'"):
        made.save_to_preset(tmp_path / "saved", format="kerashub")


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        ("TextClassifier", {"labels": ["bad", "good"], "problem_type": "multi_label_classification", "dropout": 0.2}),
        ("Reranker", {"score": "identity", "dropout": 0.2}),
        ("TextEmbedder", {**PROMPTS, "similarity_fn_name": "dot", "include_prompt": False, "normalize": False}),
    ],
)
def test_arguments_that_kerashub_lacks_are_kept(task, arguments, make, tmp_path):
    made = make(task, **arguments)
    made.save_to_preset(tmp_path / "saved", format="kerashub")
    again = getattr(vertebra.models, task).from_preset(tmp_path / "saved")
    assert again.task_arguments() == made.task_arguments()


def test_a_task_without_a_tokenizer_has_no_preprocessor(make, tmp_path):
    make("TextClassifier", num_classes=2, preprocessor=None).save_to_preset(tmp_path / "saved", format="kerashub")
    assert json.loads((tmp_path / "saved" / "task.json").read_text())["config"]["preprocessor"] is None
    assert not (tmp_path / "saved" / "preprocessor.json").exists()


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        (["labels"], "expected arguments by name"),
        ({"head": {"layers": 1}}, "the head in vertebra is invalid"),
        ({"truncation": "never"}, "truncation is 'never'"),
    ],
)
def test_fields_that_cannot_be_are_refused(own, problem, make, tmp_path):
    make("TextClassifier", num_classes=2).save_to_preset(tmp_path / "saved", format="kerashub")
    path = tmp_path / "saved" / "task.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vertebra": own}))
    with pytest.raises(PresetConfigError, match=problem):
        vertebra.models.TextClassifier.from_preset(tmp_path / "saved")


def test_names_of_other_classes_are_not_used(make, tmp_path):
    make("TextClassifier", labels=["bad", "good"]).save_to_preset(tmp_path / "saved", format="kerashub")
    with pytest.warns(UserWarning, match="no values for logits"):
        changed = vertebra.models.TextClassifier.from_preset(tmp_path / "saved", num_classes=3)
    assert changed.labels == ["LABEL_0", "LABEL_1", "LABEL_2"]
