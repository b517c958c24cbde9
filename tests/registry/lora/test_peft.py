"""PEFT's folders: read as PEFT means them, and written so that PEFT reads them."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra.errors import AdapterMismatchError, LoraConfigError, LoraStateError, WeightsFileError

pytestmark = pytest.mark.keras

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"


def gap(outputs, io, tag="peft_lora"):
    """Returns the largest difference at positions that hold a token."""
    mask = io["padding_mask"].astype(bool)
    sequence = np.abs(outputs["sequence_output"][mask] - io[f"{tag}/sequence_output"][mask]).max()
    return max(sequence, np.abs(outputs["pooled_output"] - io[f"{tag}/pooled_output"]).max())


@pytest.fixture
def copy(golden, tmp_path):
    """A copy of PEFT's own folder whose config and tensors may be changed."""

    def make(config=None, tensors=None, name="peft_lora"):
        folder = tmp_path / "copy"
        shutil.copytree(golden / name, folder)
        fields = json.loads((folder / CONFIG).read_text()) | (config or {})
        (folder / CONFIG).write_text(json.dumps(fields))
        if tensors:
            save_file(tensors(load_file(folder / TENSORS)), folder / TENSORS)
        return folder

    return make


def zeros(name, *shape, dtype="float32"):
    return {f"base_model.model.{name}": np.zeros(shape, dtype)}


# === Reading ===


def test_outputs_are_those_of_peft(backbone, golden, run, io):
    assert gap(run(backbone), io) > 0.01  # the adapter matters
    receipt = backbone.load_lora_weights(golden / "peft_lora")
    assert gap(run(backbone), io) <= 1e-5
    assert (receipt.config.rank, receipt.config.scale) == (4, 2)
    assert (receipt.parameters_added, receipt.parameters_trained) == (512, 512)


def test_prefixes_of_models_with_a_head_are_accepted(backbone, copy, run, io):
    def below_a_head(tensors):
        return {name.replace("base_model.model.", "base_model.model.bert."): array for name, array in tensors.items()}

    backbone.load_lora_weights(copy(tensors=below_a_head))
    assert gap(run(backbone), io) <= 1e-5


def test_weights_that_peft_trained_in_full_are_loaded(backbone, copy, run, io):
    pooler = np.eye(16, dtype="float32")
    pooler[0, 1] = 2  # tells the two axes apart
    folder = copy(
        config={"modules_to_save": ["pooler"]},
        tensors=lambda tensors: tensors | {"base_model.model.pooler.dense.weight": pooler},
    )
    backbone.load_lora_weights(folder)
    layer = backbone.get_layer("pooled_dense")
    assert np.array_equal(layer.kernel.numpy(), pooler.T)
    assert layer.kernel.trainable
    assert not layer.bias.trainable


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bias", "all"),
        ("rank_pattern", {"query": 8}),
        ("alpha_pattern", {"query": 8}),
        ("layer_replication", [[0, 2]]),
        ("trainable_token_indices", [1]),
        ("target_parameters", ["weight"]),
        ("lora_bias", True),
        ("use_qalora", True),
        ("megatron_config", {"a": 1}),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "olora"),
        ("peft_type", "IA3"),
        ("target_modules", "(a+)+$"),
        ("target_modules", None),
        ("target_modules", [1]),
        ("r", 0),
        ("r", -4),
        ("r", "4"),
        ("r", 10**9),
        ("lora_alpha", -1),
        ("lora_alpha", 1e308),
        ("lora_dropout", 2),
        ("a_field_of_the_future", 1),
    ],
    ids=str,
)
def test_a_setting_that_is_not_computed_here_is_refused_by_name(backbone, inputs, state, copy, field, value):
    before = state(backbone, inputs)
    with pytest.raises(LoraConfigError) as caught:
        backbone.load_lora_weights(copy(config={field: value}))
    ours = {"r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout"}
    assert caught.value.field == ours.get(field, field)
    assert state(backbone, inputs) == before


@pytest.mark.parametrize("field", ["auto_mapping", "megatron_core", "revision", "runtime_config"])
def test_what_only_describes_is_text_and_nothing_is_imported_for_it(backbone, copy, run, io, field):
    names = {"parent_library": "this_module_does_not_exist", "base_model_class": "Nothing"}
    backbone.load_lora_weights(copy(config={field: names}))
    assert gap(run(backbone), io) <= 1e-5


def test_a_rank_that_the_tensors_do_not_have_is_refused(backbone, inputs, state, copy):
    before = state(backbone, inputs)
    with pytest.raises(AdapterMismatchError) as caught:
        backbone.load_lora_weights(copy(config={"r": 8}))
    assert len(caught.value.names) == 8
    assert state(backbone, inputs) == before


def test_a_variant_whose_strategy_is_not_installed_is_refused(backbone, golden, inputs, state):
    before = state(backbone, inputs)
    with pytest.raises(LoraConfigError) as caught:
        backbone.load_lora_weights(golden / "peft_rslora")
    assert caught.value.field == "use_rslora"
    assert state(backbone, inputs) == before


@pytest.mark.parametrize("name", [CONFIG, TENSORS])
def test_a_folder_without_one_of_its_files_is_refused(backbone, copy, name):
    folder = copy()
    (folder / name).unlink()
    with pytest.raises((LoraConfigError, WeightsFileError)):
        backbone.load_lora_weights(folder)


def test_the_tensors_alone_do_not_say_the_scale(backbone, golden):
    with pytest.raises(LoraConfigError) as caught:
        backbone.load_lora_weights(golden / "peft_lora" / TENSORS)
    assert "folder" in caught.value.expected


def test_a_pickle_beside_it_is_never_opened(backbone, copy):
    folder = copy()
    (folder / TENSORS).rename(folder / "adapter_model.bin")
    with pytest.raises(WeightsFileError):
        backbone.load_lora_weights(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {name: array for name, array in t.items() if "layer.0.attention.self.query.lora_B" not in name},
        lambda t: t | zeros("encoder.layer.0.attention.self.query.lora_C.weight", 4, 16),
        lambda t: t | zeros("encoder.layer.7.attention.self.query.lora_A.weight", 4, 16),
        lambda t: t | zeros("embeddings.position_embeddings.lora_embedding_A", 4, 16),
        lambda t: t | zeros("classifier.weight", 2, 16),
        lambda t: t | zeros("pooler.dense.weight", 16, 8),
        lambda t: t | zeros("pooler.dense.weight", 16, 16, dtype="int32"),
        lambda t: {name: array.astype("int32") for name, array in t.items()},
        lambda t: {name: array[..., :-1] if "lora_A" in name else array for name, array in t.items()},
        lambda t: {name: array[..., None] for name, array in t.items()},
        lambda t: zeros("pooler.dense.bias", 16),
        lambda t: {},
    ],
    ids=[
        "b missing",
        "unknown tensor",
        "no such layer",
        "layer that takes none",
        "head",
        "weight of other shape",
        "weight of ints",
        "ints",
        "other input size",
        "another axis",
        "no adapter",
        "empty",
    ],
)
def test_tensors_that_do_not_fit_are_refused_and_nothing_changes(backbone, inputs, state, copy, change):
    before = state(backbone, inputs)
    with pytest.raises(AdapterMismatchError):
        backbone.load_lora_weights(copy(tensors=change))
    assert state(backbone, inputs) == before


def test_a_scale_other_than_that_of_the_attached_adapter_is_refused(backbone, golden, inputs, state):
    backbone.enable_lora(4)
    before = state(backbone, inputs)
    with pytest.raises(LoraStateError) as caught:
        backbone.load_lora_weights(golden / "peft_lora")
    assert "scale 1" in caught.value.problem
    assert "scale 2" in caught.value.problem
    assert state(backbone, inputs) == before


# === Writing ===


def test_the_written_folder_is_the_one_that_was_read(backbone, golden, tmp_path, run, io):
    backbone.load_lora_weights(golden / "peft_lora")
    backbone.save_lora_weights(tmp_path / "adapter")
    theirs, ours = load_file(golden / "peft_lora" / TENSORS), load_file(tmp_path / "adapter" / TENSORS)
    assert {name: (a.shape, a.dtype) for name, a in ours.items()} == {n: (a.shape, a.dtype) for n, a in theirs.items()}
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    again = vertebra.Backbone.from_preset(golden / "transformers")
    again.load_lora_weights(tmp_path / "adapter")
    assert gap(run(again), io) <= 1e-5


def test_the_written_config_is_one_that_peft_would_write(backbone, golden, tmp_path):
    backbone.load_lora_weights(golden / "peft_lora")
    backbone.save_lora_weights(tmp_path / "adapter")
    theirs = json.loads((golden / "peft_lora" / CONFIG).read_text())
    ours = json.loads((tmp_path / "adapter" / CONFIG).read_text())
    assert ours.keys() <= theirs.keys()
    named = {"base_model_name_or_path", "target_modules"}
    assert {k: v for k, v in ours.items() if k not in named} == {
        k: v for k, v in theirs.items() if k in ours and k not in named
    }
    assert ours["target_modules"] == [
        f"encoder.layer.{i}.attention.self.{name}" for i in (0, 1) for name in ("query", "value")
    ]
    assert ours["base_model_name_or_path"].endswith("bert/transformers")


def test_an_embedding_and_modules_trained_in_full_have_pefts_names(backbone, tmp_path):
    backbone.enable_lora(2, ["token_embedding"])
    backbone.get_layer("pooled_dense").trainable = True
    backbone.get_layer("transformer_layer_1").feedforward_norm.trainable = True
    backbone.save_lora_weights(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / CONFIG).read_text())
    assert config["modules_to_save"] == ["encoder.layer.1.output.LayerNorm", "pooler.dense"]
    assert {name: array.shape for name, array in load_file(tmp_path / "adapter" / TENSORS).items()} == {
        "base_model.model.embeddings.word_embeddings.lora_embedding_A": (2, 101),
        "base_model.model.embeddings.word_embeddings.lora_embedding_B": (16, 2),
        "base_model.model.pooler.dense.weight": (16, 16),
        "base_model.model.pooler.dense.bias": (16,),
        "base_model.model.encoder.layer.1.output.LayerNorm.weight": (16,),
        "base_model.model.encoder.layer.1.output.LayerNorm.bias": (16,),
    }
