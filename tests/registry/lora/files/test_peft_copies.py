"""Copies of base weights in PEFT's files: they are not co-trained, so such adapters can be mixed."""

import json
import shutil

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra.errors import LoraStateError

pytestmark = pytest.mark.keras

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
TABLE = "base_model.model.embeddings.word_embeddings.weight"


@pytest.fixture
def with_weights(golden, tmp_path):
    """A copy of PEFT's adapter that also has base weights."""
    numbers = iter(range(10))

    def make(weights, **config):
        folder = tmp_path / str(next(numbers))
        shutil.copytree(golden / "peft_lora", folder)
        save_file(load_file(folder / TENSORS) | weights, folder / TENSORS)
        fields = json.loads((folder / CONFIG).read_text()) | config
        (folder / CONFIG).write_text(json.dumps(fields))
        return folder

    return make


@pytest.fixture
def table(golden):
    """The table of the reference BERT."""
    return load_file(golden / "transformers" / "model.safetensors")["embeddings.word_embeddings.weight"]


def mixed(backbone, folder):
    """Loads an adapter twice and activates both."""
    receipts = [backbone.load_lora_weights(folder, name) for name in ("one", "two")]
    backbone.activate_lora({"one": 0.5, "two": 0.5})
    return receipts


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_unchanged_table_is_no_obstacle_to_mixing(golden, with_weights, table, dtype):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", dtype=dtype)
    (receipt, again) = mixed(backbone, with_weights({TABLE: table}))
    assert receipt.trained == again.trained == ()
    assert "copies of the base's weights are left out: embeddings.word_embeddings" in str(receipt)


def test_the_copy_of_an_active_adapters_base_is_recognised(plain, with_weights, table):
    """The variable holds the trained value while an adapter is active."""
    plain.load_lora_weights(with_weights({TABLE: table + 1}))
    assert plain.load_lora_weights(with_weights({TABLE: table}), "other").trained == ()


@pytest.mark.parametrize(
    ("change", "config"),
    [
        (lambda table: table + np.float32(1e-3), {}),
        (lambda table: table.astype(ml_dtypes.bfloat16), {}),  # rounded: other values than the base's
        (lambda table: table, {"modules_to_save": ["word_embeddings"]}),
        (lambda table: table, {"modules_to_save": "word_embeddings"}),
    ],
)
def test_what_is_trained_stays_co_trained(plain, with_weights, table, change, config):
    folder = with_weights({TABLE: change(table)}, **config)
    assert plain.load_lora_weights(folder).trained == ("token_embedding/embeddings",)
    with pytest.raises(LoraStateError):
        mixed(plain, folder)


@pytest.mark.parametrize("trained", [False, True])
def test_a_head_that_is_the_tied_table_is_left_out(plain, with_weights, table, trained):
    values = table + 1 if trained else table
    receipt = plain.load_lora_weights(with_weights({TABLE: values, "base_model.model.lm_head.weight": values}))
    assert receipt.trained == (("token_embedding/embeddings",) if trained else ())
    assert receipt.unused == ()
    assert "base_model.model.lm_head.weight" in str(receipt)
