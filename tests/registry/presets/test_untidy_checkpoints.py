"""Checkpoints as people have them: names of wrappers, shared tensors, configs of 2018, padded tables, pickles."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra._presets.convert import convert_preset
from vertebra._presets.inspect import inspect_preset
from vertebra._presets.plan import plan_preset
from vertebra.errors import WeightsFileError, WeightsMismatchError

pytestmark = pytest.mark.keras(once=True)

GOLDEN = Path(__file__).parents[2] / "golden"
TABLES = {
    "bert": ("bert.", "embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
    "gpt2": ("transformer.", "wte.weight", "lm_head.weight"),
    "gemma": ("model.", "embed_tokens.weight", "lm_head.weight"),
}
"""For each architecture: the prefix in models with a head, the token table, and the tied head."""
each_architecture = pytest.mark.parametrize("architecture", TABLES)


@pytest.fixture
def copy(tmp_path):
    """Returns a function that copies a golden preset with other tensors, metadata or fields of its config."""

    def make(architecture, change=dict, metadata=None, **fields):
        source, folder = GOLDEN / architecture / "transformers", tmp_path / "copy"
        folder.mkdir(exist_ok=True)
        config = json.loads((source / "config.json").read_text()) | fields
        (folder / "config.json").write_text(json.dumps(config))
        save_file(change(load_file(source / "model.safetensors")), folder / "model.safetensors", metadata)
        return folder

    return make


@pytest.fixture
def told(caplog):
    """Returns the number of messages of the logger that contain a text."""
    caplog.set_level(logging.WARNING, "vertebra")
    return lambda text: sum(text in record.getMessage() for record in caplog.records)


def prefixed(prefix, tensors):
    return {prefix + name: array for name, array in tensors.items()}


@pytest.fixture
def check(values):
    """Returns a function that compares a backbone with that of the golden preset, to the bit."""

    def compare(architecture, backbone):
        expected = values(vertebra.Backbone.from_preset(GOLDEN / architecture / "transformers"))
        loaded = values(backbone)
        assert loaded.keys() == expected.keys()
        assert all(np.array_equal(loaded[name], array) for name, array in expected.items())

    return compare


# === Names ===


@pytest.mark.keras
@each_architecture
def test_the_prefix_of_a_wrapper_is_left_out_and_told_once(architecture, copy, check, told):
    prefix = f"module._orig_mod.student.{TABLES[architecture][0]}"
    folder = copy(architecture, lambda tensors: prefixed(prefix, tensors) | {"module.score.weight": np.ones(3)})
    check(architecture, vertebra.Backbone.from_preset(folder))
    assert told(repr(prefix)) == 1
    assert told("module.score.weight") == 1
    facts = inspect_preset(folder)
    assert prefix in facts["notes"][0]
    assert facts["parameters"] == inspect_preset(GOLDEN / architecture / "transformers")["parameters"]
    assert plan_preset(str(folder)).parameters == facts["parameters"]


@each_architecture
def test_two_backbones_in_one_checkpoint_are_refused_everywhere(architecture, copy):
    folder = copy(architecture, lambda tensors: prefixed("student.", tensors) | prefixed("teacher.", tensors))
    for use in (vertebra.Backbone.from_preset, inspect_preset, plan_preset):
        with pytest.raises(WeightsMismatchError, match=r"'student.', 'teacher.'"):
            use(str(folder))


@each_architecture
@pytest.mark.parametrize(
    "prefixes", [("module.", "ema.module."), ("", "module."), ("{0}", "ema.{0}"), ("net.", "ema.net.")]
)
def test_another_backbone_in_the_checkpoint_is_told_once_and_is_no_head(
    architecture, prefixes, copy, check, told, tmp_path
):
    base, table, head = TABLES[architecture]
    prefix, other = (text.format(base) for text in prefixes)

    def change(tensors):
        average = {name: array + 1 for name, array in tensors.items()}
        average_head = {other.removesuffix(base) + head: average[table]}
        return prefixed(other, average) | average_head | prefixed(prefix, tensors)

    folder = copy(architecture, change)
    check(architecture, vertebra.Backbone.from_preset(folder))
    assert told(f"another backbone under {other!r} is not read") == 1
    assert told("head") == told("tied") == 0
    facts = inspect_preset(folder)
    assert facts["notes"][-1] == f"another backbone under {other!r} is not read"
    assert facts["untied_heads"] == []
    done = convert_preset(folder, tmp_path / "to")
    assert done.notes == tuple(facts["notes"])
    assert (done.unused, done.untied_heads) == ((), ())


@each_architecture
def test_a_part_of_another_backbone_is_no_head(architecture, copy, check, told):
    _, table, _ = TABLES[architecture]

    def change(tensors):
        part = {name: array + 1 for name, array in [(table, tensors[table]), *tensors.items()][:8]}
        return prefixed("ema.net.", part) | prefixed("net.", tensors)

    folder = copy(architecture, change)
    check(architecture, vertebra.Backbone.from_preset(folder))
    assert told("another backbone under 'ema.net.' is not read") == 1
    assert told("head") == told("tied") == 0
    assert inspect_preset(folder)["untied_heads"] == []


@each_architecture
@pytest.mark.parametrize("noted", [True, False])
def test_a_table_that_is_stored_as_the_head_is_read(architecture, noted, copy, check, told):
    prefix, table, head = TABLES[architecture]

    def change(tensors):
        tensors = prefixed(prefix, tensors)
        return {head if name == prefix + table else name: array for name, array in tensors.items()}

    folder = copy(architecture, change, {prefix + table: head} if noted else None)
    check(architecture, vertebra.Backbone.from_preset(folder))
    assert told(head) == 1
    assert told("metadata says") == noted
    copy(architecture, change, tie_word_embeddings=False)
    with pytest.raises(WeightsMismatchError, match=f"{head} is another matrix.*tie_word_embeddings=false"):
        vertebra.Backbone.from_preset(folder)


@each_architecture
def test_a_head_next_to_names_without_a_prefix_is_told(architecture, copy, check, told):
    _, table, head = TABLES[architecture]
    folder = copy(architecture, lambda tensors: tensors | {head: tensors[table] + 1, "score.bias": np.zeros(2)})
    check(architecture, vertebra.Backbone.from_preset(folder))
    assert told("score.bias") == 1
    assert told("not tied") == 1


@each_architecture
def test_an_index_may_disagree_about_tensors_that_are_not_used(architecture, copy, check, told):
    folder = copy(architecture)
    shard = "model-00001-of-00001.safetensors"
    names = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / shard)
    weight_map = dict.fromkeys([*names, TABLES[architecture][2]], shard)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    check(architecture, vertebra.Backbone.from_preset(folder))
    assert told("which the backbone does not use") == 1
    del weight_map[TABLES[architecture][1]]
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    with pytest.raises(WeightsFileError, match="disagree"):
        vertebra.Backbone.from_preset(folder)


@each_architecture
def test_an_adapter_that_is_not_merged_is_named(architecture, copy):
    def change(tensors):
        tensors = prefixed("base_model.model.", tensors)
        name = next(name for name in tensors if "attn" in name or "attention" in name)
        module, _, last = name.rpartition(".")
        return tensors | {
            f"{module}.base_layer.{last}": tensors.pop(name),
            f"{module}.lora_A.default.weight": np.zeros((2, 2)),
        }

    with pytest.raises(WeightsMismatchError, match=r"PEFT.*merge_and_unload"):
        vertebra.Backbone.from_preset(copy(architecture, change))


# === Configs ===


def test_a_config_without_its_model_type_is_read_as_the_class(copy, check, told):
    folder = copy("bert", model_type=None, architectures=None)
    backbone = vertebra.models.BertBackbone.from_preset(folder)
    check("bert", backbone)
    assert told("no model_type") == 1
    vertebra.models.BertBackbone.from_preset(folder, load_weights=False)
    assert told("no model_type") == 2
    (folder / "tokenizer.json").write_text("{}")
    backbone.save_to_preset(folder.with_name("saved"), format="transformers")
    assert (folder.with_name("saved") / "tokenizer.json").exists()
    check("bert", vertebra.Backbone.from_preset(folder.with_name("saved")))


def test_a_config_whose_architectures_tell_its_model_type_is_converted(copy, check, tmp_path):
    done = convert_preset(copy("bert", model_type=None), tmp_path / "to", "transformers")
    assert "architectures" in done.notes[0]
    assert "problem_type" not in done.assets.fields_left_out
    check("bert", vertebra.Backbone.from_preset(tmp_path / "to"))


PADDED = {
    "bert": [
        ("vocabulary_size", "embeddings.word_embeddings.weight", 64),
        ("max_sequence_length", "embeddings.position_embeddings.weight", 3),
        ("num_segments", "embeddings.token_type_embeddings.weight", 5),
    ],
    "gpt2": [("vocabulary_size", "wte.weight", 64), ("max_sequence_length", "wpe.weight", 40)],
    "gemma": [("vocabulary_size", "embed_tokens.weight", 7)],
}


@pytest.mark.parametrize(
    ("architecture", "argument", "name", "rows"), [(key, *row) for key, rows in PADDED.items() for row in rows]
)
def test_a_table_of_another_size_is_told_with_the_call_that_loads_it(architecture, argument, name, rows, copy):
    folder = copy(
        architecture, lambda tensors: tensors | {name: np.resize(tensors[name], (rows, tensors[name].shape[1]))}
    )
    with pytest.raises(WeightsMismatchError) as caught:
        vertebra.Backbone.from_preset(folder)
    assert f"from_preset('{folder}', {argument}={rows})" in str(caught.value)
    assert str(rows) in str(caught.value.reshaped)
    assert getattr(vertebra.Backbone.from_preset(folder, **{argument: rows}), argument) == rows


def test_two_tables_of_other_sizes_are_told_with_one_call(copy):
    def change(tensors):
        larger = {"wte.weight": np.zeros((64, 16), "float32"), "wpe.weight": np.zeros((40, 16), "float32")}
        return tensors | {name: array[:, : tensors[name].shape[1]] for name, array in larger.items()}

    folder = copy("gpt2", change)
    with pytest.raises(WeightsMismatchError, match=r"vocabulary_size=64, max_sequence_length=40|max.*voc") as caught:
        vertebra.Backbone.from_preset(folder, dropout=0.5)
    assert "dropout=0.5" in str(caught.value)


@each_architecture
def test_no_call_is_suggested_for_the_weights_of_another_model(architecture, copy):
    folder = copy(architecture, lambda tensors: {n: np.concatenate([a, a], axis=-1) for n, a in tensors.items()})
    with pytest.raises(WeightsMismatchError) as caught:
        vertebra.Backbone.from_preset(folder)
    assert "from_preset(" not in str(caught.value)


# === Pickles and other names ===


def as_pickle(folder, save, name="pytorch_model.bin", wrap=lambda state: state):
    import torch

    state = {name: torch.from_numpy(array) for name, array in load_file(folder / "model.safetensors").items()}
    save(wrap(state), folder / name)
    (folder / "model.safetensors").unlink()


@each_architecture
def test_convert_reads_a_pickle_and_from_preset_names_the_command(architecture, copy, check, tmp_path):
    import torch

    folder = copy(architecture)
    as_pickle(folder, torch.save)
    for use in (vertebra.Backbone.from_preset, inspect_preset, plan_preset):
        with pytest.raises(WeightsFileError, match=f"pytorch_model.bin.*run: vertebra convert {folder} TARGET"):
            use(str(folder))
    done = convert_preset(folder, tmp_path / "to")
    check(architecture, vertebra.Backbone.from_preset(tmp_path / "to"))
    assert done.notes == ("its weights are read from pytorch_model.bin",)
    assert "pytorch_model.bin" not in done.assets.left_out


def test_convert_reads_a_pickle_of_a_training_run(copy, check, tmp_path):
    import torch

    folder = copy("gpt2", lambda tensors: prefixed("model.", tensors))
    as_pickle(folder, torch.save, "last.ckpt", lambda state: {"state_dict": state, "epoch": 3, "lr": torch.tensor(0.1)})
    torch.save({}, folder / "optimizer.pt")
    done = convert_preset(folder, tmp_path / "to")
    check("gpt2", vertebra.Backbone.from_preset(tmp_path / "to"))
    assert [note.partition("last.ckpt")[1] or "key" in note or "'model.'" in note for note in done.notes] == [
        *("last.ckpt", True, True)
    ]


@pytest.mark.parametrize("name", ["model.fp16.safetensors", "model-00001-of-00001.safetensors", "bert.safetensors"])
def test_convert_reads_a_checkpoint_under_another_name(name, copy, check, tmp_path):
    folder = copy("bert")
    (folder / "model.safetensors").rename(folder / name)
    done = convert_preset(folder, tmp_path / "to")
    assert done.notes == (f"its weights are read from {name}",)
    check("bert", vertebra.Backbone.from_preset(tmp_path / "to"))


def test_convert_prefers_the_weights_that_a_load_reads(copy, tmp_path):
    folder = copy("bert")
    (folder / "pytorch_model.bin").write_bytes(b"not read")
    done = convert_preset(folder, tmp_path / "to")
    assert done.notes == ()
    assert done.assets.left_out == {"pytorch_model.bin": "other weights"}


def test_a_pickle_that_is_refused_leaves_no_target(copy, tmp_path):
    import fractions

    import torch

    folder = copy("bert")
    as_pickle(folder, torch.save, wrap=lambda state: state | {"other": fractions.Fraction(1, 2)})
    with pytest.raises(WeightsFileError, match=r"fractions\.Fraction could run code"):
        convert_preset(folder, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_weights_that_presets_may_lack_are_left_out_of_the_same_format(copy, tmp_path, golden):
    shutil.copytree(golden / "transformers_head", tmp_path / "head")
    done = convert_preset(tmp_path / "head", tmp_path / "to", "transformers")
    assert "pooled_dense/kernel" in done.notes[-1]
    assert not any("pooler" in name for name in load_file(tmp_path / "to" / "model.safetensors"))
    with pytest.warns(UserWarning, match="pooled_dense/kernel"):
        vertebra.Backbone.from_preset(tmp_path / "to")
    with pytest.raises(WeightsFileError, match="convert it to the transformers format"):
        convert_preset(tmp_path / "head", tmp_path / "native")
