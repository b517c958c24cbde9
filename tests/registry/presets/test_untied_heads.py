"""Untied heads are found by their values, because the token table computes other logits.

transformers 5 computes logits with a head that it finds in a checkpoint if its values are not the table's, whatever the
config says.
"""

import json
import logging
import shutil
import warnings

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra import TensorRule
from vertebra._presets.convert import convert_preset
from vertebra._presets.inspect import inspect_preset
from vertebra._presets.untied_heads import untied_heads
from vertebra._weights.tensor_entry import layout_of
from vertebra.cli import main

pytestmark = pytest.mark.keras(once=True)

MODELS = {
    "bert": ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
    "gpt2": ("transformer.wte.weight", "lm_head.weight"),
    "gemma": ("model.embed_tokens.weight", "lm_head.weight"),
}
"""Table and head of each architecture in transformers' files."""
each_model = pytest.mark.parametrize("model", MODELS)


@pytest.fixture
def checkpoint(golden, tmp_path):
    """Returns a function that makes a checkpoint with a head made of the table, and some fields of the config."""

    def make(model, head, **config):
        folder = tmp_path / model
        shutil.copytree(golden.parent / model / "transformers_head", folder)
        tensors = load_file(folder / "model.safetensors")
        table, name = MODELS[model]
        tensors |= {} if head is None else {name: np.ascontiguousarray(head(tensors[table]))}
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        fields = json.loads((folder / "config.json").read_text()) | config
        (folder / "config.json").write_text(json.dumps(fields))
        return folder

    return make


@pytest.fixture
def said(caplog):
    """Returns a function that loads a preset and returns the warnings about its head."""

    def load(folder):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "vertebra"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*initialised randomly")  # a BERT with such a head has no pooler
            vertebra.Backbone.from_preset(folder)
        return [record.getMessage() for record in caplog.records if "reverse=True" in record.getMessage()]

    return load


@each_model
def test_a_head_with_other_values_is_said_once(checkpoint, said, model):
    (text,) = said(checkpoint(model, lambda table: table + 0.01))
    assert MODELS[model][1] in text
    assert "does not compute the model's logits" in text


@each_model
@pytest.mark.parametrize(
    "head",
    [
        None,
        lambda table: table,
        lambda table: table.astype(ml_dtypes.bfloat16),  # the same head, rounded
        lambda table: table[:-1] + 1,  # of another shape, it is no head over the vocabulary
    ],
    ids=["none", "same", "rounded", "other shape"],
)
def test_a_head_that_is_the_table_is_not(checkpoint, said, model, head):
    assert said(checkpoint(model, head)) == []


@each_model
def test_one_row_of_many_tells(checkpoint, said, model):
    def last_row(table):
        return np.concatenate([table[:-1], table[-1:] + 1])

    assert len(said(checkpoint(model, last_row))) == 1


@each_model
def test_a_config_that_unties_a_head_which_is_not_there_is_said(checkpoint, said, model):
    (text,) = said(checkpoint(model, None, tie_word_embeddings=False))
    assert "tie_word_embeddings=false" in text


@each_model
def test_a_config_that_unties_a_head_of_the_same_values_says_nothing_of_logits(checkpoint, said, model):
    assert said(checkpoint(model, lambda table: table, tie_word_embeddings=False)) == []


def test_inspect_and_convert_say_so(checkpoint, tmp_path, caplog, capsys):
    """If the config names the class with the head, a plugin of its task may keep it."""
    folder = checkpoint("gpt2", lambda table: -table, architectures=["GPT2Model"])
    assert inspect_preset(str(folder))["untied_heads"] == ["lm_head.weight"]
    main(["inspect", str(folder)])
    assert "token table (lm_head.weight)" in capsys.readouterr().out
    with caplog.at_level(logging.WARNING, "vertebra"):
        assert convert_preset(folder, tmp_path / "out", "transformers").untied_heads == ("lm_head.weight",)
    assert "the new preset has no head" in caplog.text


def test_without_a_head_inspect_and_convert_say_that(golden, tmp_path):
    assert inspect_preset(str(golden / "transformers"))["untied_heads"] == []
    assert convert_preset(golden / "transformers", tmp_path / "out").untied_heads == ()
    assert inspect_preset(str(tmp_path / "out"))["untied_heads"] == []


TABLE = "token_embedding/embeddings"
ENTRIES = {
    name: layout_of(name, "float32", shape)
    for name, shape in {"table": (9, 4), "same": (9, 4), "turned": (4, 9)}.items()
}


def test_a_shape_alone_tells_what_may_be_a_head():
    rules = {TABLE: TensorRule("table")}
    assert untied_heads(None, rules, ["same", "turned"], ENTRIES) is None  # it must be looked at
    assert untied_heads(None, rules, ["turned"], ENTRIES) == []
    assert untied_heads(None, {}, ["same"], ENTRIES) == []
    assert untied_heads("field", {TABLE: TensorRule("absent")}, ["same"], ENTRIES) == []


def test_an_architecture_with_a_head_of_its_own_need_not_tie():
    rules = {TABLE: TensorRule("table"), "dense/kernel": TensorRule("kernel")}
    assert untied_heads("field", rules, [], ENTRIES) == ["field"]
    assert untied_heads("field", rules | {"token_embedding/reverse_embeddings": TensorRule("head")}, [], ENTRIES) == []
    assert untied_heads("field", rules | {"lm_head/kernel": TensorRule("head", outside=True)}, [], ENTRIES) == []
