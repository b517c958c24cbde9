"""The model card of a task: its usage lines run as they are, with the handle at which it was published."""

import json
import re
import warnings

import pytest
from markdown_it import MarkdownIt

import vertebra
from vertebra._presets.publish import upload

pytestmark = pytest.mark.keras(once=True)
TOKEN = "hf_goodgoodgoodgood"
LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", *LETTERS]
EXPECTED = {
    ("TextEmbedder", "sentence-transformers"): ("sentence-similarity", "sentence-transformers", "task.embed"),
    ("TextEmbedder", "native"): ("sentence-similarity", "vertebra", "task.embed"),
    ("TextClassifier", "transformers"): ("text-classification", "transformers", "task.classify"),
    ("TextClassifier", "native"): ("text-classification", "vertebra", "task.classify"),
    ("Reranker", "transformers"): ("text-ranking", "sentence-transformers", "task.rank"),
    ("TokenClassifier", "transformers"): ("token-classification", "transformers", "task.tag"),
    ("MaskedLM", "transformers"): ("fill-mask", "transformers", "task.fill"),
}


@pytest.fixture
def published(hub, cache, monkeypatch, tmp_path):
    """Publishes a new task on the hub, and returns its handle and its model card."""
    import keras

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    keras.utils.set_random_seed(1)
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24, "max_sequence_length": 64}
    backbone = vertebra.models.BertBackbone(vocabulary_size=len(VOCABULARY), **sizes)
    backbone.save_to_preset(tmp_path / "backbone", certificate=False)

    def publish(name, format, **options):
        (tmp_path / "backbone" / "vocab.txt").write_text("\n".join(VOCABULARY))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the head is random
            task = getattr(vertebra.models, name).from_preset(tmp_path / "backbone", **options)
        task.save_to_preset(tmp_path / "task", format=format)
        pinned = upload("hf://acme/task", tmp_path / "task").handle
        return pinned, hub.files("acme/task", pinned.revision)["README.md"].decode()

    return publish


def front_matter(card):
    lines = card.split("---\n")[1].splitlines()
    return {key: json.loads(value) for key, _, value in (line.partition(": ") for line in lines)}


@pytest.mark.parametrize(("name", "format"), EXPECTED)
def test_the_usage_lines_run(name, format, published):
    options = {"labels": ["bad", "good"]} if name.endswith("Classifier") else {}
    _, card = published(name, format, **options)
    pipeline, library, call = EXPECTED[name, format]
    front = front_matter(card)
    assert (front["pipeline_tag"], front["library_name"]) == (pipeline, library)
    assert {"vertebra", name, "BertBackbone"} <= set(front["tags"])
    (code,) = re.findall(r"```python\n(.+?)```", card, flags=re.DOTALL)
    assert f'vertebra.models.{name}.from_preset("hf://acme/task")' in code
    assert call in code
    found = {}
    exec(code, found)
    assert found["task"].tokenizer is not None
    if options:
        assert "bad" in card.partition(f"## `{name}`")[2].partition("## Architecture")[0]


def test_prompts_of_an_embedder_are_used(published):
    _, card = published("TextEmbedder", "sentence-transformers", prompts={"query": "the ", "passage": "cat "})
    (code,) = re.findall(r"```python\n(.+?)```", card, flags=re.DOTALL)
    assert "task.encode_query" in code
    exec(code, {})


def test_texts_of_files_are_escaped(published):
    hostile = "```\n<img src=x>|`\n---\n# title"
    _, card = published("TextClassifier", "native", labels=[hostile, "good"])
    body = card.split("\n---\n", 1)[1].rpartition("\n<!-- ")[0]
    tokens = list(MarkdownIt("commonmark").enable("table").parse(body))
    parts = [part for token in tokens for part in token.children or ()]
    assert {part.type for part in parts} <= {"text", "code_inline", "softbreak"}
    assert [token.type for token in tokens if token.type.startswith(("html", "hr", "fence"))] == ["fence"]
    assert "title" not in {part.content for part in parts}
