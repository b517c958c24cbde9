"""Folders with two checkpoints, a single file and shards: one is read, and the user is told about the other."""

import json
import logging
import os
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra._presets.convert import convert_preset
from vertebra._presets.inspect import inspect_preset
from vertebra._presets.plan import plan_preset
from vertebra._presets.publish import upload
from vertebra.cli import main
from vertebra.cli.verify import verify_preset
from vertebra.errors import CertificateError, PresetSaveError

pytestmark = pytest.mark.keras(once=True)

NAMES = {
    "native": ("model.safetensors", "model.safetensors.index.json"),
    "transformers": ("model.safetensors", "model.safetensors.index.json"),
    "kerashub": ("model.weights.h5", "model.weights.json"),
}


@pytest.fixture
def both(golden, tmp_path):
    """Returns a function that makes a folder with a single file, and shards of other values or the same."""

    def make(format, shards=2):
        backbone = vertebra.Backbone.from_preset(golden / "kerashub")
        for folder, value, size in (("single", 1, None), ("shards", shards, 8e-6)):
            for variable in backbone.weights:
                variable.assign(np.full(variable.shape, value))
            backbone.save_to_preset(tmp_path / folder, format=format, max_shard_size=size)
        for path in (tmp_path / "shards").glob("model*"):
            shutil.copyfile(path, tmp_path / "single" / path.name)
        return tmp_path / "single"

    return make


def value_of(backbone):
    return {float(number) for variable in backbone.weights for number in np.unique(variable.numpy())}


@pytest.mark.parametrize("format", NAMES)
def test_the_single_file_is_read_and_the_other_is_named(both, caplog, format):
    folder = both(format)
    with caplog.at_level(logging.WARNING, "vertebra"):
        assert value_of(vertebra.Backbone.from_preset(folder)) == {1}
    (said,) = [record.getMessage() for record in caplog.records if "two checkpoints" in record.getMessage()]
    assert all(name in said for name in NAMES[format])


@pytest.mark.parametrize("format", NAMES)
def test_whatever_tells_of_a_preset_tells_of_both(both, tmp_path, caplog, capsys, format):
    folder, index = both(format), NAMES[format][1]
    assert inspect_preset(str(folder))["not_read"] == index
    assert plan_preset(str(folder)).not_read == index
    with caplog.at_level(logging.WARNING, "vertebra"):
        assert convert_preset(folder, tmp_path / "converted").not_read == index
    assert "two checkpoints" in caplog.text
    assert any("two checkpoints" in note for note in upload(tmp_path / "published", folder, any_runtime=True).notes)
    main(["inspect", str(folder)])
    assert f"not read    {index}" in capsys.readouterr().out
    main(["plan", str(folder)])
    assert f"warning: {index}" in capsys.readouterr().out


def test_a_folder_with_one_checkpoint_says_nothing(golden, caplog):
    for preset in ("transformers", "transformers_sharded", "kerashub", "kerashub_sharded"):
        with caplog.at_level(logging.WARNING, "vertebra"):
            vertebra.Backbone.from_preset(golden / preset)
        assert inspect_preset(str(golden / preset))["not_read"] is None
        assert verify_preset(str(golden / preset), certificate_optional=True)["two_checkpoints"] is None
    assert "two checkpoints" not in caplog.text


@pytest.mark.parametrize("format", NAMES)
@pytest.mark.parametrize("shards", [1, 2])
def test_verify_tells_whether_they_are_the_same(both, format, shards):
    compared = verify_preset(str(both(format, shards)))["two_checkpoints"]
    assert (compared["read"], compared["other"]) == NAMES[format]
    assert bool(compared["differing"]) == (shards == 2)
    assert ("tensors differ" in compared["text"]) == (shards == 2)


def test_verify_names_tensors_that_only_one_has(both):
    folder = both("native", 1)
    tensors = load_file(folder / "model.safetensors")
    tensors["token_embedding/embeddings"][-1, -1] += 1e-3
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    shard = next(folder.glob("model-00001*"))
    save_file(load_file(shard) | {"new": np.zeros(2, "float32")}, shard, {"format": "pt"})
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"]["new"] = shard.name
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    compared = verify_preset(str(folder), certificate_optional=True)["two_checkpoints"]
    assert compared["differing"] == ("new", "token_embedding/embeddings")


@pytest.mark.parametrize(("newer", "expected"), [("single", 0), ("shards", 1), ("neither", None)])
def test_verify_tells_which_was_changed_last(both, newer, expected):
    folder = both("native")
    for path in folder.glob("model*"):
        is_single = path.name == "model.safetensors"
        os.utime(path, (2, 2) if newer == ("single" if is_single else "shards") else (1, 1))
    compared = verify_preset(str(folder))["two_checkpoints"]
    assert compared["newer"] == (None if expected is None else NAMES["native"][expected])


def test_verify_says_why_they_were_not_compared(both):
    folder = both("native")
    next(folder.glob("model-00001*")).unlink()
    compared = verify_preset(str(folder))["two_checkpoints"]
    assert compared["differing"] is None
    assert "which is missing" in compared["problem"]


def test_without_a_certificate_verify_compares_all_the_same(both, capsys):
    folder = both("transformers")
    (folder / "certificate.safetensors").unlink()
    with pytest.raises(CertificateError) as caught:
        verify_preset(str(folder))
    assert "tensors differ" in caught.value.__notes__[0]
    assert main(["verify", str(folder)]) == 1
    assert "tensors differ" in capsys.readouterr().err


@pytest.mark.parametrize("format", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_no_checkpoint_is_deleted_unread(both, golden, digest, format, target):
    folder = both(format)
    before = digest(folder)
    backbone = vertebra.Backbone.from_preset(golden / "kerashub")
    for write in (
        lambda: backbone.save_to_preset(folder, format=target),
        lambda: convert_preset(folder, folder, target, dtype="bfloat16"),
        lambda: convert_preset(golden / "kerashub", folder, target),
    ):
        with pytest.raises(PresetSaveError) as caught:
            write()
        assert NAMES[format][1] in str(caught.value)
        assert "remove one of them, or save to another folder" in str(caught.value)
    assert digest(folder) == before


def test_nor_are_weights_of_another_format(golden, tmp_path, digest):
    folder = shutil.copytree(golden / "transformers", tmp_path / "preset")
    shutil.copyfile(golden / "kerashub" / "model.weights.h5", folder / "model.weights.h5")
    before = digest(folder)
    with pytest.raises(PresetSaveError, match=r"would delete them: model\.weights\.h5"):
        convert_preset(folder, folder)
    assert digest(folder) == before


@pytest.mark.parametrize("format", NAMES)
@pytest.mark.parametrize("size", [None, 8e-6])
def test_once_one_is_removed_the_other_is_replaced(both, golden, format, size):
    folder = both(format)
    single, index = NAMES[format]
    (folder / single).unlink()
    vertebra.Backbone.from_preset(golden / "kerashub").save_to_preset(folder, format=format, max_shard_size=size)
    assert inspect_preset(str(folder))["not_read"] is None
    assert (folder / single).exists() == (size is None)
    assert (folder / index).exists() == (size is not None)
    shards = [path for path in folder.glob("model*") if path.name not in (single, index)]
    assert bool(shards) == (size is not None)
