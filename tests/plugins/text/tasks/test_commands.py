"""`vertebra embed`, `classify`, `tag` and `rerank` on files."""

import json

import numpy as np
import pytest

import vertebra
from vertebra.cli import main

from .conftest import BAD, GOOD

pytestmark = pytest.mark.keras


@pytest.fixture
def run(tmp_path, capsys):
    """Runs a command on a file, and returns its records and its summary."""

    def run(command, data, name, preset, *options, status=0):
        (tmp_path / name).write_text(data)
        out = tmp_path / f"out{'.npy' if command == 'embed' else '.jsonl'}"
        words = [command, str(tmp_path / name), "-o", str(out), "--preset", str(preset), "--json", *options]
        assert main(words) == status, capsys.readouterr().err
        shown = capsys.readouterr()
        if status:
            return shown.err
        found = np.load(out) if out.suffix == ".npy" else [json.loads(line) for line in out.read_text().splitlines()]
        return found, json.loads(shown.out)

    return run


def saved(preset, tmp_path, task, **options):
    """Saves a task with the head of a new model."""
    getattr(vertebra.models, task).from_preset(preset, False, **options).save_to_preset(tmp_path / "task")
    return tmp_path / "task"


def test_vectors_are_those_of_python(run, preset):
    vectors, summary = run("embed", "\n".join(GOOD), "in.txt", preset)
    np.testing.assert_allclose(vectors, vertebra.models.TextEmbedder.from_preset(preset).embed(GOOD), atol=1e-6)
    assert (summary["records"], summary["bad"]) == (len(GOOD), [])


def test_classes(run, preset, tmp_path):
    folder = saved(preset, tmp_path, "TextClassifier", labels=["bad", "good"])
    answers, _ = run("classify", "review\n" + "\n".join(GOOD + BAD), "in.csv", folder, "--text-column", "review")
    assert {answer["label"] for answer in answers} <= {"good", "bad"}
    assert len(answers) == len(GOOD + BAD)


def test_entities_and_records_without_a_text(run, preset, tmp_path):
    folder = saved(preset, tmp_path, "TokenClassifier", labels=["O", "B-X"])
    data = '{"text": "the fox"}\n{"texts": "a"}\n{"text": "dog"}'
    assert "record 2: its field 'text' is missing" in run("tag", data, "in.jsonl", folder, status=1)
    answers, summary = run("tag", data, "in.jsonl", folder, "--skip-bad")
    assert [list(answer) for answer in answers] == [["entities"], ["error"], ["entities"]]
    assert (summary["continued"], summary["bad_count"]) == (1, 1)


def test_a_text_that_the_tokenizer_refuses_is_a_bad_record(run, preset, tmp_path):
    folder = saved(preset, tmp_path, "TextClassifier", labels=["bad", "good"])
    data = '{"text": "good"}\n{"text": "a\\ud800"}\n{"text": "bad"}'
    error = run("classify", data, "in.jsonl", folder, status=1)
    assert "in.jsonl, record 2: 'a\\ud800', expected text without the lone surrogate" in error
    answers, summary = run("classify", data, "in.jsonl", folder, "--skip-bad")
    assert [list(answer) for answer in answers] == [["label", "score"], ["error"], ["label", "score"]]
    assert (summary["continued"], summary["bad_count"]) == (1, 1)


def test_pairs(run, preset, tmp_path):
    folder = saved(preset, tmp_path, "Reranker")
    data = '{"query": "fox", "document": "the fox"}\n{"query": "fox", "document": "dog"}'
    answers, _ = run("rerank", data, "in.jsonl", folder)
    expected = vertebra.models.Reranker.from_preset(folder).scores([("fox", "the fox"), ("fox", "dog")])
    np.testing.assert_allclose([answer["score"] for answer in answers], expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*initialised randomly")
def test_a_preset_without_the_head_is_refused(run, preset):
    """Its answers would be random."""
    shown = run("rerank", '{"query": "fox", "document": "dog"}', "in.jsonl", preset, status=1)
    assert "it has no trained head for Reranker, so the answers would be random" in shown


def test_a_json_document_is_refused(run, preset):
    assert "expected JSON lines" in run("embed", '[{"text": "fox"}]', "in.json", preset, status=1)
    vectors, _ = run("embed", '{"text": "fox"}', "in.json", preset, "--format", "jsonl")
    assert vectors.shape == (1, 16)
