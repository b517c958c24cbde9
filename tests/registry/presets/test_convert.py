"""Converting: the same numbers in another format, tensor by tensor; files with another meaning there are left out."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

import vertebra
from vertebra._presets import convert
from vertebra._presets.certificate import CERTIFICATE
from vertebra._presets.convert import convert_preset
from vertebra.errors import FormatLimitError, PresetConfigError, PresetFormatError, PresetSaveError, WeightsFileError

pytestmark = pytest.mark.keras(once=True)

GOLDEN = Path(__file__).parents[2] / "golden"
ARCHITECTURES = ("bert", "gpt2", "gemma", "gemma2")
FORMATS = ("native", "transformers", "kerashub")


def same(one, other):
    """Says whether two tables of arrays have the same names and bits."""
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def preset(golden, tmp_path):
    """A native preset of a BERT that every format can hold, with a certificate."""
    vertebra.Backbone.from_preset(golden / "kerashub").save_to_preset(tmp_path / "preset")
    return tmp_path / "preset"


# === Formats ===


@pytest.mark.keras
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_around_all_formats_the_numbers_stay(architecture, tmp_path, values):
    folder = GOLDEN / architecture / "kerashub"
    before = vertebra.Backbone.from_preset(folder)
    for number, format in enumerate(("transformers", "kerashub", "native", "kerashub", "transformers", "native")):
        folder = convert_preset(folder, tmp_path / str(number), format, max_shard_size=[None, 8e-6][number % 2]).target
        assert json.loads((folder / "config.json").read_text())
        assert same(values(vertebra.Backbone.from_preset(folder)), values(before))
    after = vertebra.Backbone.from_preset(folder)
    inputs = before.sample_inputs()
    outputs = [keras.tree.flatten(backbone(inputs, training=False)) for backbone in (before, after)]
    assert all(np.array_equal(*map(keras.ops.convert_to_numpy, pair)) for pair in zip(*outputs, strict=True))
    assert after.get_config() | {"name": ""} == before.get_config() | {"name": ""}


@pytest.mark.keras
@pytest.mark.parametrize("preset", ["transformers", "transformers_bf16", "transformers_head", "transformers_sharded"])
def test_what_transformers_wrote_becomes_native(preset, tmp_path, values):
    for architecture in ("gpt2", "gemma"):
        convert_preset(GOLDEN / architecture / preset, tmp_path / architecture)
        loaded = vertebra.Backbone.from_preset(tmp_path / architecture)
        assert same(values(loaded), values(vertebra.Backbone.from_preset(GOLDEN / architecture / preset)))


def test_a_source_without_a_value_for_every_weight_is_refused(golden, tmp_path):
    with pytest.raises(WeightsFileError, match="pooled_dense/kernel"):
        convert_preset(golden / "transformers_head", tmp_path / "native")
    assert not list(tmp_path.iterdir())


def test_a_dtype_that_cannot_hold_a_number_is_refused(golden, tmp_path):
    backbone = vertebra.Backbone.from_preset(golden / "transformers")
    backbone.pooled_dense.bias.assign(np.full(16, 1e6))
    backbone.save_to_preset(tmp_path / "large")
    with pytest.raises(WeightsFileError, match="pooled_dense/bias has values up to 1e\\+06"):
        convert_preset(tmp_path / "large", tmp_path / "half", dtype="float16")
    assert names(tmp_path) == {"large"}
    convert_preset(tmp_path / "large", tmp_path / "half", dtype="bfloat16")


@pytest.mark.parametrize("argument", ["activation", "layer_norm_epsilon"])
def test_what_the_format_cannot_say_is_refused_and_nothing_written(backbone, tmp_path, argument):
    other = {"activation": "relu", "layer_norm_epsilon": 0.5}[argument]
    type(backbone).from_config(
        backbone.get_config() | {"activation": "gelu_approximate", argument: other}
    ).save_to_preset(tmp_path / "preset")
    with pytest.raises(FormatLimitError) as caught:
        convert_preset(tmp_path / "preset", tmp_path / "target", "kerashub")
    assert caught.value.argument == argument
    assert names(tmp_path) == {"preset"}


# === Dtypes ===


@pytest.mark.keras
def test_floats_get_the_dtype_that_was_asked_for(preset, tmp_path, values):
    done = convert_preset(preset, tmp_path / "half", dtype="bfloat16")
    assert done.size == 2 * 6656
    half = values(vertebra.Backbone.from_preset(tmp_path / "half", dtype="bfloat16"))
    assert same(half, values(vertebra.Backbone.from_preset(preset, dtype="bfloat16")))


@pytest.mark.parametrize("dtype", ["float33", "int8", "mixed_bfloat16", "float8_e4m3fn", ""])
def test_what_is_no_dtype_of_floats_is_refused(preset, tmp_path, dtype):
    with pytest.raises(PresetConfigError, match="bfloat16"):
        convert_preset(preset, tmp_path / "target", dtype=dtype)
    assert names(tmp_path) == {"preset"}


def test_each_tensor_keeps_its_dtype_where_none_is_asked_for(tmp_path):
    convert_preset(GOLDEN / "gpt2" / "transformers_bf16", tmp_path / "native")
    from vertebra._weights.safetensors.format import open_header

    entries = open_header(tmp_path / "native" / "model.safetensors").entries.values()
    assert {entry.dtype for entry in entries} == {"bfloat16"}


# === Adapters and quantised layers ===


@pytest.mark.keras
def test_an_adapter_goes_with_the_native_format_alone(backbone, tmp_path, run, train):
    backbone.enable_lora(2)
    train(backbone)
    backbone.save_to_preset(tmp_path / "adapted")
    convert_preset(tmp_path / "adapted", tmp_path / "again", max_shard_size=8e-6)
    assert same(run(vertebra.Backbone.from_preset(tmp_path / "again", verify=True)), run(backbone))
    with pytest.raises(FormatLimitError, match="lora"):
        convert_preset(tmp_path / "adapted", tmp_path / "foreign", "transformers")
    assert not (tmp_path / "foreign").exists()


@pytest.mark.keras
def test_quantised_layers_go_with_the_native_format_alone(backbone, tmp_path, run):
    backbone.get_layer("pooled_dense").quantize("int8")
    backbone.save_to_preset(tmp_path / "quantised")
    convert_preset(tmp_path / "quantised", tmp_path / "again")
    assert same(run(vertebra.Backbone.from_preset(tmp_path / "again", verify=True)), run(backbone))
    convert_preset(tmp_path / "quantised", tmp_path / "half", dtype="bfloat16")
    half = vertebra.Backbone.from_preset(tmp_path / "half", dtype="bfloat16")
    assert half.get_layer("pooled_dense")._kernel.dtype == "int8"
    with pytest.raises(FormatLimitError, match="int8"):
        convert_preset(tmp_path / "quantised", tmp_path / "foreign", "kerashub")
    assert not (tmp_path / "foreign").exists()


# === Certificates and other files ===


@pytest.mark.keras
def test_the_certificate_goes_where_the_numbers_stay_the_same(preset, tmp_path):
    for format in FORMATS:
        assert convert_preset(preset, tmp_path / format, format).certificate
        assert vertebra.Backbone.from_preset(tmp_path / format, verify=True).num_layers == 2
    assert not convert_preset(preset, tmp_path / "half", dtype="float16").certificate
    assert CERTIFICATE not in names(tmp_path / "half")
    (preset / CERTIFICATE).unlink()
    assert not convert_preset(preset, tmp_path / "none").certificate


ASSETS = ("tokenizer.json", "vocabulary.txt", "merges.txt", "preprocessor.json")
TEXTS = ("README.md", "LICENSE.txt")


@pytest.fixture
def equipped(preset):
    """The same preset, with files of a tokenizer and human-readable files."""

    def equip(folder=preset):
        for name in (*ASSETS, *TEXTS, "optimizer.bin", ".hidden"):
            (folder / name).write_text(f"{folder.name}'s")
        (folder / "assets" / "tokenizer").mkdir(parents=True)
        (folder / "assets" / "tokenizer" / "vocabulary.spm").write_text(f"{folder.name}'s")
        return folder

    return equip


@pytest.mark.parametrize("format", FORMATS)
def test_files_go_with_every_format_and_those_of_training_and_hidden_ones_are_named(equipped, tmp_path, format):
    done = convert_preset(equipped(), tmp_path / "target", format)
    moved = {"tokenizer.json": "carried/transformers/tokenizer.json"} if format == "kerashub" else {}
    files = [*ASSETS, *TEXTS, "assets/tokenizer/vocabulary.spm"]
    assert done.assets.carried == {name: moved.get(name, name) for name in files}
    assert all((done.target / name).read_text() == "preset's" for name in done.assets.carried.values())
    assert done.assets.left_out == {".hidden": "a hidden file", "optimizer.bin": "of a training run"}
    assert not names(done.target) & {"optimizer.bin", ".hidden", *moved}


def test_a_foreign_tokenizer_goes_into_a_native_preset(equipped, preset, tmp_path):
    convert_preset(preset, tmp_path / "kerashub", "kerashub")
    found = names(convert_preset(equipped(tmp_path / "kerashub"), tmp_path / "native").target)
    assert found >= {*ASSETS, "assets"}


def test_over_another_preset_the_new_tokenizer_wins_and_the_rest_stays(equipped, backbone, tmp_path):
    backbone.save_to_preset(tmp_path / "old")
    old, new = equipped(tmp_path / "old"), equipped()
    convert_preset(new, old)
    assert {(old / name).read_text() for name in ASSETS} == {"preset's"}
    assert (old / "assets" / "tokenizer" / "vocabulary.spm").read_text() == "preset's"
    assert (old / "optimizer.bin").read_text() == "old's"


# === Into the source's own folder ===


@pytest.mark.keras
@pytest.mark.parametrize("format", FORMATS)
def test_a_preset_may_be_converted_where_it_stands(equipped, values, format):
    folder = equipped()
    loaded = vertebra.Backbone.from_preset(folder)
    before = values(loaded)
    done = convert_preset(folder, folder, format, max_shard_size=8e-6)
    assert same(values(loaded), before)  # its weights still view the file that was replaced
    again = vertebra.Backbone.from_preset(folder, verify=True)
    assert same(values(again), before)
    moved = "carried/transformers/tokenizer.json" if format == "kerashub" else "tokenizer.json"
    assert (folder / moved).read_text() == "preset's"
    assert names(folder) >= {*ASSETS, *TEXTS, "assets", "optimizer.bin", ".hidden"} - {"tokenizer.json"}
    assert ("tokenizer.json" in names(folder)) == (format != "kerashub")
    assert done.assets.left_out == {}  # all are still there
    assert (folder / "assets" / "tokenizer" / "vocabulary.spm").read_text() == "preset's"


def test_a_conversion_that_fails_leaves_the_old_preset(preset, tmp_path, digest, monkeypatch):
    shutil.copytree(preset, tmp_path / "target")
    before = digest(tmp_path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert, "take", fail)
    with pytest.raises(PresetSaveError):
        convert_preset(preset, tmp_path / "target", "transformers")
    assert digest(tmp_path) == before


CONVERT_SLOWLY = """
import sys, time
from vertebra._presets.convert import convert_preset

def advance(done, total):
    print(done, flush=True)
    time.sleep(60)

convert_preset(sys.argv[1], sys.argv[2], "kerashub", advance=advance)
"""


def test_one_that_is_killed_in_the_middle_leaves_the_old_preset(preset, tmp_path, digest):
    shutil.copytree(preset, tmp_path / "target")
    before = digest(tmp_path / "target")
    command = [sys.executable, "-c", CONVERT_SLOWLY, preset, tmp_path / "target"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert int(process.stdout.readline()) > 0
        os.kill(process.pid, signal.SIGKILL)
    assert digest(tmp_path / "target") == before
    rest = names(tmp_path) - {"preset", "target"}
    assert all(name.startswith(".target.") and name.endswith(".tmp") for name in rest)


# === Progress and errors ===


@pytest.mark.parametrize("format", FORMATS)
def test_progress_goes_from_nothing_to_everything(preset, tmp_path, format):
    told = []
    done = convert_preset(preset, tmp_path / "target", format, advance=lambda now, total: told.append((now, total)))
    assert [total for _, total in told] == [done.size] * done.tensors
    assert sorted(told) == told
    assert told[-1] == (4 * 6656, 4 * 6656)


def test_memory_holds_about_one_tensor_at_a_time(preset, tmp_path, monkeypatch):
    released = []
    monkeypatch.setattr("vertebra._weights.safetensors.format.release", lambda memory: released.append(memory))
    done = convert_preset(preset, tmp_path / "target")
    assert len(released) == done.tensors


@pytest.mark.parametrize("format", ["onnx", "", None])
def test_an_unknown_format_is_refused(preset, tmp_path, format):
    with pytest.raises(PresetFormatError):
        convert_preset(preset, tmp_path / "target", format)
    assert names(tmp_path) == {"preset"}


def test_a_source_that_is_unsound_is_refused_and_leaves_nothing(preset, tmp_path):
    (preset / "model.safetensors").write_bytes(b"<html>")
    with pytest.raises(WeightsFileError):
        convert_preset(preset, tmp_path / "target")
    (preset / "config.json").write_text("{}")
    with pytest.raises(PresetConfigError):
        convert_preset(preset, tmp_path / "target")
    assert names(tmp_path) == {"preset"}


def test_a_target_that_holds_other_things_is_not_replaced(preset, tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "thesis.txt").write_text("mine")
    with pytest.raises(PresetSaveError):
        convert_preset(preset, tmp_path / "target")
    assert names(tmp_path / "target") == {"thesis.txt"}


def test_other_readers_find_the_weights(preset, tmp_path, values):
    convert_preset(preset, tmp_path / "target")
    assert same(load_file(tmp_path / "target" / "model.safetensors"), values(vertebra.Backbone.from_preset(preset)))
