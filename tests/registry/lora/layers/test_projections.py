"""Tables that are also output projections: effects of adapters, merged and unmerged, in every file format."""

import logging

import keras
import numpy as np
import pytest

import vertebra
from vertebra import lora
from vertebra._discovery.catalog import STRATEGIES, catalog
from vertebra.errors import LoraStateError

pytestmark = pytest.mark.keras

INSTALLED = sorted({entry.name for entry in catalog(STRATEGIES)} - {"trainable_tokens"})  # which needs an option
HIDDEN = np.random.default_rng(7).normal(size=(2, 5, 8)).astype("float32")


def logits(model, hidden=HIDDEN, **arguments):
    layer = model.token_embedding if hasattr(model, "token_embedding") else model.get_layer("table")
    return keras.ops.convert_to_numpy(layer(hidden, reverse=True, **arguments))


@pytest.fixture
def toy(toy_class, randomise):
    def build(strategy="lora", name="default", seed=1, **settings):
        keras.utils.set_random_seed(2)
        made = toy_class()
        made.enable_lora(3, ["token_embedding", "dense"], strategy=strategy, name=name, seed=seed, **settings)
        randomise(made, name, seed)
        return made

    return build


# === Merged and unmerged are the same ===


@pytest.mark.parametrize("strategy", INSTALLED)
def test_merging_changes_no_logits(toy, strategy):
    model = toy(strategy)
    before = logits(model)
    receipt = model.merge_lora()
    assert receipt.changed_projections == ()
    assert np.abs(logits(model) - before).max() <= 1e-4
    model.unmerge_lora()
    assert np.array_equal(logits(model), before)
    assert np.abs(logits(model.merged_copy()) - before).max() <= 1e-4
    model.disable_lora()
    assert np.abs(logits(model) - before).max() > 1e-2


@pytest.mark.parametrize("strategy", INSTALLED)
def test_training_starts_from_the_logits_of_the_base(toy_class, strategy):
    model = toy_class()
    before = logits(model)
    model.enable_lora(2, ["token_embedding"], strategy=strategy, seed=1)
    assert np.abs(logits(model) - before).max() <= 1e-6


def test_each_row_projects_with_its_own_adapter(toy):
    model = toy(name="a")
    with_a = logits(model)
    model.disable_lora()
    base = logits(model)
    with model.lora_rows(["a", None]):
        found = logits(model)
    assert np.abs(found[0] - with_a[0]).max() <= 1e-5
    assert np.abs(found[1] - base[1]).max() <= 1e-6


def test_a_soft_cap_comes_after_the_adapter(randomise, run):
    model = keras.Sequential([keras.Input((3,), dtype="int32"), table(logit_soft_cap=2.0)])
    lora.enable(model, 2, ["table"])
    randomise(model, "default", 1)
    before = logits(model)
    assert np.abs(before).max() <= 2
    lora.merge(model)
    assert np.abs(logits(model) - before).max() <= 1e-5
    lora.unmerge(model)
    lora.disable(model)
    assert model.get_layer("table").get_config()["logit_soft_cap"] == 2.0
    capped = logits(model)
    lora.unload(model)
    assert np.array_equal(logits(model), capped)
    assert model.get_layer("table").logit_soft_cap == 2.0


def table(**arguments):
    return keras.layers.ReversibleEmbedding(11, 8, name="table", **arguments)


def test_a_projection_with_weights_of_its_own_is_not_the_tables(randomise):
    model = keras.Sequential([keras.Input((3,), dtype="int32"), table(tie_weights=False)])
    before = logits(model)
    lora.enable(model, 2, ["table"])
    randomise(model, "default", 1)
    assert np.array_equal(logits(model), before)
    assert lora.merge(model).changed_projections == ()
    assert np.array_equal(logits(model), before)


def test_a_reverse_dtype_is_that_of_the_logits(randomise):
    model = keras.Sequential([keras.Input((3,), dtype="int32"), table(dtype="bfloat16", reverse_dtype="float32")])
    lora.enable(model, 2, ["table"])
    randomise(model, "default", 1)
    before = logits(model)
    assert before.dtype == "float32"
    lora.merge(model)
    assert np.abs(logits(model) - before).max() <= 0.1


def test_reverse_may_be_given_by_position(toy):
    model = toy()
    found = keras.ops.convert_to_numpy(model.token_embedding.call(keras.ops.convert_to_tensor(HIDDEN), True))
    assert np.array_equal(found, logits(model))


# === PEFT folders: adapted at lookup only ===


@pytest.fixture
def peft(toy, tmp_path):
    """A backbone with an adapter as in PEFT: the table is adapted only where it is looked up."""
    trained = toy()
    trained.save_lora_weights(tmp_path / "peft")
    trained.unload_lora()
    trained.load_lora_weights(tmp_path / "peft")
    return trained


def test_an_adapter_of_pefts_leaves_the_projection_until_it_is_merged(peft, run, ids, toy, caplog):
    hidden = run(peft, ids)
    before = logits(peft)
    own = logits(toy())
    peft.disable_lora()
    base = logits(peft)
    peft.activate_lora("default")
    assert np.array_equal(before, base)
    receipt = peft.merge_lora()
    assert receipt.changed_projections == ("token_embedding",)
    assert "logits of reverse=True change, as in PEFT: token_embedding" in str(receipt)
    assert np.abs(logits(peft) - own).max() <= 1e-4  # what PEFT's merge_and_unload computes
    assert np.abs(run(peft, ids) - hidden).max() <= 1e-5
    peft.unmerge_lora()
    assert np.array_equal(logits(peft), base)
    with caplog.at_level(logging.WARNING, "vertebra"):
        peft.merged_copy()
    assert "token_embedding" in caplog.text


def test_writing_a_form_that_reads_the_projection_otherwise_is_said(toy, tmp_path, caplog):
    model = toy()
    with caplog.at_level(logging.WARNING, "vertebra"):
        model.save_lora_weights(tmp_path / "own.safetensors")
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING, "vertebra"):
        model.save_lora_weights(tmp_path / "peft")
    assert "token_embedding" in caplog.text
    assert "PEFT" in caplog.text


def test_both_readings_survive_a_file_and_a_preset(peft, toy, toy_class, tmp_path):
    for model in (peft, toy()):
        expected = logits(model)
        model.save_lora_weights(tmp_path / "adapter.safetensors")
        again = toy_class()
        again.set_weights([variable.numpy() for variable in model.weights if "lora" not in variable.path])
        again.load_lora_weights(tmp_path / "adapter.safetensors")
        assert np.array_equal(logits(again), expected)


def test_a_file_from_before_files_said_so_reads_as_it_was_trained(toy, toy_class, tmp_path):
    import json

    from safetensors.numpy import load_file, save_file

    model = toy()
    model.save_lora_weights(tmp_path / "new.safetensors")
    from vertebra._weights.safetensors.format import open_header

    metadata = dict(open_header(tmp_path / "new.safetensors").metadata)
    settings = json.loads(metadata["vertebra.adapter"])
    assert settings.pop("tied") is True
    metadata["vertebra.adapter"] = json.dumps(settings)
    save_file(load_file(tmp_path / "new.safetensors"), tmp_path / "old.safetensors", metadata)
    model.unload_lora()
    base = logits(model)
    model.load_lora_weights(tmp_path / "old.safetensors")
    assert np.array_equal(logits(model), base)


def test_two_readings_of_one_table_are_not_taken_for_the_same(peft, tmp_path, toy):
    model = toy()
    with pytest.raises(LoraStateError, match="projection"):
        model.load_lora_weights(tmp_path / "peft")
    assert vertebra.lora.load(model, tmp_path / "peft", "theirs").name == "theirs"


# === Without tied tables, both settings are equivalent ===


def test_an_adapter_of_a_table_that_is_no_projection_goes_through_pefts_folder(plain, randomise, tmp_path):
    targets = ["query", "segment_embedding"]
    plain.enable_lora(2, targets)
    randomise(plain, "default", 1)
    plain.save_lora_weights(tmp_path / "peft")
    assert plain.load_lora_weights(tmp_path / "peft").name == "default"


@pytest.mark.parametrize("targets", [["dense"], ["token_embedding", "dense"]])
def test_a_config_from_before_files_said_so_takes_files_that_compute_the_same(toy_class, targets, tmp_path):
    model = toy_class()
    model.enable_lora(2, targets)
    model.save_lora_weights(tmp_path / "adapter.safetensors")
    config = model.get_config()
    assert config["lora"].pop("tied") is True
    again = toy_class.from_config(config)
    again.set_weights([variable.numpy() for variable in model.weights])
    if targets == ["dense"]:
        assert again.load_lora_weights(tmp_path / "adapter.safetensors", check_base=False).name == "default"
        return
    with pytest.raises(LoraStateError, match="projection"):
        again.load_lora_weights(tmp_path / "adapter.safetensors", check_base=False)
