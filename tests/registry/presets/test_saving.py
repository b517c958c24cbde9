"""Saving: what stands in the folder before and after, and what is refused."""

import os

import numpy as np
import pytest

import vertebra
from vertebra.errors import PresetFormatError, PresetSaveError

pytestmark = pytest.mark.keras(once=True)

NATIVE = {"config.json", "metadata.json", "model.safetensors", "certificate.safetensors"}
FROM_TRANSFORMERS = NATIVE | {"carried"}
"""The config that transformers wrote is kept, for when the preset is written in its format again."""


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_missing_parents_are_made_and_nothing_else_is_left(backbone, tmp_path):
    backbone.save_to_preset(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == FROM_TRANSFORMERS
    assert names(tmp_path / "a") == {"b"}
    assert names(tmp_path) == {"a"}


def test_a_path_may_be_text_relative_or_an_empty_folder(backbone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for target in ("plain", "./empty"):
        backbone.save_to_preset(target)
        assert names(tmp_path / target) == FROM_TRANSFORMERS


def test_files_can_be_read_by_whom_the_umask_allows(backbone, tmp_path):
    mask = os.umask(0o022)
    try:
        backbone.save_to_preset(tmp_path / "preset")
    finally:
        os.umask(mask)
    paths = [tmp_path / "preset", *(tmp_path / "preset").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o755}
    assert [path.stat().st_mode & 0o777 for path in paths if path.is_file()] == [0o644] * 5


@pytest.mark.keras
def test_an_existing_preset_is_replaced_and_what_others_put_there_is_kept(backbone, tmp_path, arguments):
    target = tmp_path / "preset"
    backbone.save_to_preset(target, max_shard_size=8e-6)
    (target / "tokenizer.json").write_text("{}")
    (target / "assets").mkdir()
    (target / "assets" / "vocabulary.txt").write_text("word")
    (target / "latest").symlink_to("assets")
    other = vertebra.models.BertBackbone(**arguments | {"num_layers": 1})
    other.save_to_preset(target)
    assert names(target) == NATIVE | {"tokenizer.json", "assets", "latest"}
    assert (target / "tokenizer.json").read_text() == "{}"
    assert (target / "assets" / "vocabulary.txt").read_text() == "word"
    assert (target / "latest").readlink().name == "assets"
    assert vertebra.Backbone.from_preset(target).num_layers == 1
    assert names(tmp_path) == {"preset"}


@pytest.mark.keras
def test_a_backbone_can_be_saved_over_the_folder_that_it_was_loaded_from(backbone, tmp_path, values, train):
    backbone.save_to_preset(tmp_path / "preset")
    loaded = vertebra.Backbone.from_preset(tmp_path / "preset")
    train(loaded)
    trained = values(loaded)
    loaded.save_to_preset(tmp_path / "preset")
    assert all(np.array_equal(array, values(loaded)[name]) for name, array in trained.items())  # still mapped
    again = values(vertebra.Backbone.from_preset(tmp_path / "preset"))
    assert all(np.array_equal(array, again[name]) for name, array in trained.items())


@pytest.mark.keras
@pytest.mark.parametrize("format", ["native", "transformers", "kerashub"])
def test_saved_over_where_it_came_from_the_weights_are_the_same_bytes(golden, tmp_path, digest, format):
    """ST-10."""
    vertebra.Backbone.from_preset(golden / "kerashub").save_to_preset(tmp_path / "preset", format=format)
    before = digest(tmp_path / "preset")
    vertebra.Backbone.from_preset(tmp_path / "preset").save_to_preset(tmp_path / "preset", format=format)
    after = digest(tmp_path / "preset")
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] in ([], ["metadata.json"])  # it has the date


@pytest.mark.keras
def test_a_foreign_preset_is_replaced_by_a_native_one(backbone, golden, tmp_path, run):
    target = tmp_path / "preset"
    target.mkdir()
    for name in ("config.json", "model.safetensors"):
        (target / name).write_bytes((golden / "transformers" / name).read_bytes())
    loaded = vertebra.Backbone.from_preset(target)
    loaded.save_to_preset(target)
    assert names(target) == FROM_TRANSFORMERS
    assert np.array_equal(run(vertebra.Backbone.from_preset(target))["pooled_output"], run(backbone)["pooled_output"])


@pytest.mark.parametrize("size", [0, -1, float("nan")])
def test_a_shard_size_that_is_no_size_is_refused(backbone, tmp_path, size):
    with pytest.raises(PresetSaveError):
        backbone.save_to_preset(tmp_path / "preset", max_shard_size=size)
    assert names(tmp_path) == set()


def test_none_and_a_large_size_mean_one_file(backbone, tmp_path):
    for size in (None, 1e3):
        backbone.save_to_preset(tmp_path / str(size), max_shard_size=size)
        assert names(tmp_path / str(size)) == FROM_TRANSFORMERS


def test_an_unknown_format_is_refused_with_those_that_can_be_written(backbone, tmp_path):
    with pytest.raises(PresetFormatError) as caught:
        backbone.save_to_preset(tmp_path / "preset", format="onnx")
    assert "native" in caught.value.known
    assert names(tmp_path) == set()


def a_file(folder):
    (folder / "target").write_text("mine")


def a_folder_of_other_things(folder):
    (folder / "target").mkdir()
    (folder / "target" / "thesis.txt").write_text("mine")


def a_link(folder):
    (folder / "elsewhere").mkdir()
    (folder / "target").symlink_to("elsewhere")


def a_dangling_link(folder):
    (folder / "target").symlink_to("nowhere")


@pytest.mark.parametrize("stands", [a_file, a_folder_of_other_things, a_link, a_dangling_link])
def test_what_is_no_preset_is_not_replaced(backbone, tmp_path, stands, digest):
    stands(tmp_path)
    before, entries = digest(tmp_path), names(tmp_path)
    with pytest.raises(PresetSaveError) as caught:
        backbone.save_to_preset(tmp_path / "target")
    assert str(caught.value.target) == str(tmp_path / "target")
    assert (digest(tmp_path), names(tmp_path)) == (before, entries)


def test_the_current_folder_and_its_parents_are_not_replaced(backbone, tmp_path, monkeypatch):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    for target in (".", "..", inner):
        with pytest.raises(PresetSaveError):
            backbone.save_to_preset(target)
    assert names(inner) == set()


@pytest.mark.parametrize("name", ["below/a/file", "x" * 300, "nul\0character"])
def test_a_path_that_cannot_be_is_a_typed_error(backbone, tmp_path, name):
    (tmp_path / "below").write_text("a file")
    with pytest.raises(PresetSaveError):
        backbone.save_to_preset(tmp_path / name)
    assert names(tmp_path) == {"below"}
