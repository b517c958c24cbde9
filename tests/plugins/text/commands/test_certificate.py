"""Certificates of presets with a tokenizer start from texts, and have the outputs of the task."""

import json
from functools import partial

import numpy as np
import pytest

import vertebra
from vertebra._weights.safetensors.format import MappedTensors
from vertebra._weights.safetensors.writing import write_tensors
from vertebra._weights.tensor_entry import layout_of
from vertebra.cli import main
from vertebra.cli.verify import verify_preset

from .conftest import OPTIONS

pytestmark = pytest.mark.keras
CERTIFICATE = "certificate.safetensors"


def rewrite(folder, change):
    """Changes the metadata and the tensors of a certificate."""
    file = MappedTensors(folder / CERTIFICATE)
    tensors = {name: np.array(file.view(name)) for name in file.header.entries}
    metadata = dict(file.header.metadata)
    change(metadata, tensors)
    layouts = {name: layout_of(name, array.dtype.name, array.shape) for name, array in tensors.items()}
    write_tensors(
        folder / "new", {name: partial(np.asarray, array) for name, array in tensors.items()}, layouts, metadata
    )
    (folder / "new").replace(folder / CERTIFICATE)


@pytest.mark.parametrize("format", ["native", "transformers"])
@pytest.mark.parametrize("name", OPTIONS)
def test_holds_for_each_task(name, format, saved):
    _, folder = saved(name, format)
    facts = verify_preset(str(folder))
    assert facts["holds"] is True
    assert (facts["texts"]["task"], facts["texts"]["holds"], facts["texts"]["problem"]) == (name, True, None)
    assert facts["outputs"][name]["difference"] < 1e-6


@pytest.mark.keras(once=True)
def test_a_tokenizer_that_changed_is_found(saved, capsys):
    _, folder = saved("TextClassifier")
    document = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = document["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (folder / "tokenizer.json").write_text(json.dumps(document))
    assert main(["verify", str(folder)]) == 1
    shown = capsys.readouterr().out
    assert 'its tokenizer or the certificate changed: "A cat sits on the mat' in shown
    assert "DOES NOT HOLD" in shown
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").unlink(missing_ok=True)
    assert "its tokenizer cannot be read" in verify_preset(str(folder))["texts"]["problem"]


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("format", ["native", "kerashub"])
@pytest.mark.parametrize(
    ("name", "length", "truncation"),
    [
        ("Reranker", 44, "only_first"),
        ("Reranker", 44, "only_second"),
        ("Reranker", 44, "longest_first"),
        ("TextClassifier", 6, "only_first"),
        ("TextClassifier", 60, "error"),
    ],
)
def test_holds_however_the_task_cuts_its_texts(name, length, truncation, format, saved, tmp_path):
    from vertebra_text import TextPreprocessor

    if format == "kerashub" and truncation.startswith("only"):
        return  # refused
    task, _ = saved(name)
    task.preprocessor = TextPreprocessor(task.tokenizer, length, truncation)
    task.save_to_preset(tmp_path / "saved", format=format)
    facts = verify_preset(str(tmp_path / "saved"))
    assert facts["texts"]["problem"] is None
    assert facts["texts"]["task"] == name
    assert facts["holds"]


@pytest.mark.keras(once=True)
def test_a_task_that_cannot_take_the_texts_has_the_certificate_of_its_backbone(saved, tmp_path, caplog):
    from vertebra_text import TextPreprocessor

    task, _ = saved("TextClassifier")
    task.preprocessor = TextPreprocessor(task.tokenizer, 5, "error")
    task.save_to_preset(tmp_path / "saved")
    assert "has no outputs of the task, which cannot take its texts" in caplog.text
    facts = verify_preset(str(tmp_path / "saved"))
    assert (facts["holds"], facts["texts"]["task"], facts["texts"]["holds"]) == (True, None, True)


@pytest.mark.keras(once=True)
def test_a_vocabulary_without_an_unknown_token_has_a_certificate_without_texts(preset, tmp_path, caplog):
    words = (preset / "vocab.txt").read_text().replace("[UNK]\n", "")
    (preset / "vocab.txt").write_text(words)
    with pytest.warns(UserWarning, match="no values for"):
        task = vertebra.models.TextClassifier.from_preset(preset, num_classes=2)
    task.save_to_preset(tmp_path / "saved")
    assert "has no outputs of the task, which cannot take its texts" in caplog.text
    assert verify_preset(str(tmp_path / "saved"))["holds"]


@pytest.mark.keras(once=True)
def test_without_the_plugin_of_the_task_its_texts_are_not_checked(saved, monkeypatch):
    _, folder = saved("TextClassifier")
    monkeypatch.setattr("vertebra._presets.certificate.loaded_class", lambda name: None)
    facts = verify_preset(str(folder))
    assert (facts["holds"], facts["texts"]["holds"]) == (True, None)
    assert "no installed plugin provides TextClassifier" in facts["texts"]["problem"]


def of_texts(metadata, tensors):
    metadata["texts"] = json.dumps(["another text", "dog"])


def of_ids(metadata, tensors):
    tensors["inputs/token_ids"][0, 1] += 1


def of_outputs(metadata, tensors):
    tensors["task/0"] += 0.01


def of_shapes(metadata, tensors):
    tensors["task/0"] = tensors["task/0"][:, :1]


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("change", [of_texts, of_ids, of_outputs, of_shapes])
def test_a_certificate_that_was_tampered_with_does_not_hold(change, saved):
    _, folder = saved("TextClassifier")
    rewrite(folder, change)
    facts = verify_preset(str(folder))
    assert facts["holds"] is False
    assert facts["texts"]["problem"]


@pytest.mark.keras(once=True)
def test_texts_of_too_many_tokens_are_not_computed(saved):
    """V5: the tokens of a certificate's texts are limited as its inputs are."""
    _, folder = saved("TextClassifier")
    rewrite(folder, lambda metadata, tensors: metadata.update(texts=json.dumps(["a " * 1_900])))
    verdict = verify_preset(str(folder))["texts"]
    assert (verdict["holds"], verdict["problem"]) == (False, "its texts have more than 2,048 tokens")


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    "texts", ["{", "[]", "3", "[1]", json.dumps(["x"] * 1000), json.dumps(["x" * 5_000]), "[" * 100_000]
)
def test_texts_that_are_unsound_are_refused(texts, saved):
    _, folder = saved("TextEmbedder")
    rewrite(folder, lambda metadata, tensors: metadata.update(texts=texts))
    with pytest.raises(vertebra.errors.CertificateError, match="texts of its certificate"):
        verify_preset(str(folder))


@pytest.mark.keras(once=True)
def test_a_backbone_with_a_tokenizer_starts_from_texts(preset, tmp_path):
    vertebra.Backbone.from_preset(preset).save_to_preset(tmp_path / "saved")
    facts = verify_preset(str(tmp_path / "saved"))
    assert facts["texts"]["task"] is None
    assert facts["texts"]["holds"] is facts["holds"] is True
    vertebra.Backbone.from_preset(tmp_path / "saved", verify=True)


@pytest.mark.keras(once=True)
def test_without_the_plugin_the_texts_are_not_checked_and_that_is_said(saved, monkeypatch):
    _, folder = saved("TextEmbedder")
    monkeypatch.setattr("vertebra._presets.certificate.tokenizer_classes", list)
    facts = verify_preset(str(folder))
    assert facts["holds"] is True
    assert facts["texts"]["holds"] is None
    assert "no installed plugin reads tokenizers" in facts["texts"]["problem"]


@pytest.mark.keras(once=True)
def test_a_conversion_carries_what_the_target_has(saved, tmp_path):
    _, folder = saved("TextClassifier")
    for format in ("transformers", "native"):
        assert main(["convert", str(folder), str(tmp_path / format), "--format", format]) == 0
        assert verify_preset(str(tmp_path / format))["texts"]["task"] == "TextClassifier"
