"""Saving: the folder's files before and after a save, and refused saves."""

import json
import logging
import os
import shutil
import types

import numpy as np
import pytest

import vertebra
from vertebra.errors import PresetFormatError, PresetNotFoundError, PresetSaveError

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


@pytest.mark.parametrize("size", [0, -1, float("nan"), float("inf"), True, "10GB"])
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
    (folder / "other").mkdir()
    (folder / "target").symlink_to("other")


def a_dangling_link(folder):
    (folder / "target").symlink_to("nowhere")


@pytest.mark.parametrize("create", [a_file, a_folder_of_other_things, a_link, a_dangling_link])
def test_what_is_no_preset_is_not_replaced(backbone, tmp_path, create, digest):
    create(tmp_path)
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


# === Assets saved with a backbone ===

TOKENIZER = {"tokenizer.json": '{"model": {}}', "vocab.txt": "[PAD]", "1_Pooling/config.json": "{}", "LICENSE": "MIT"}
OTHERS = {"README.md": "These weights are the best.", "pytorch_model.bin": "the same weights", ".gitattributes": ""}


def put(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def has(folder, files):
    """Says whether a folder has files with these texts."""
    return all((folder / name).is_file() and (folder / name).read_text() == text for name, text in files.items())


@pytest.fixture
def told(caplog):
    """Returns a function that returns the warnings logged since its last call, but for the tokenizer, which is none."""

    def messages():
        found = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        caplog.clear()
        return [message for message in found if "the tokenizer was not translated" not in message]

    return messages


@pytest.fixture
def origin(golden, tmp_path):
    """A checkpoint with a tokenizer and pooling."""
    folder = shutil.copytree(golden / "transformers", tmp_path / "origin")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": 5, "hidden_act": "gelu_new"}))
    return put(folder, TOKENIZER | OTHERS)


@pytest.fixture
def elsewhere(configure, toys, origin):
    """A source in memory that has the same checkpoint, at `toy://model`."""
    source, module = toys.ToyRemote(), types.ModuleType("toy_plugin")
    module.vertebra_preset_sources = vertebra.hookimpl(lambda: [source], specname="vertebra_preset_sources")
    vertebra.add_plugin(module, "toys")
    files = {path.relative_to(origin).as_posix(): path.read_bytes() for path in origin.rglob("*") if path.is_file()}
    source.add("model", {name: data for name, data in files.items() if not name.startswith(".")})
    return source


@pytest.mark.keras
@pytest.mark.parametrize("format", ["native", "transformers", "kerashub"])
def test_the_files_of_its_preset_go_with_a_backbone(origin, tmp_path, told, format):
    backbone = vertebra.Backbone.from_preset(origin)
    moved = {"tokenizer.json": "carried/transformers/tokenizer.json"} if format == "kerashub" else {}
    for target in (tmp_path / "first", tmp_path / "first", tmp_path / "second"):
        backbone.save_to_preset(target, format=format)
        assert has(target, {moved.get(name, name): text for name, text in TOKENIZER.items()})
        assert not {*OTHERS, *moved} & names(target)
        (message,) = told()
        assert message.startswith(f"file://{origin}: saved without ")
        for reason in ("a hidden file", "other weights", "a model card of other weights"):
            assert f"({reason})" in message
    vertebra.Backbone.from_preset(tmp_path / "second").save_to_preset(tmp_path / "back", format="transformers")
    assert has(tmp_path / "back", TOKENIZER)
    assert json.loads((tmp_path / "back" / "config.json").read_text())["pad_token_id"] == 5
    assert not (tmp_path / "back" / "carried").exists()
    assert told() == []


def test_a_merged_copy_has_the_same_files(origin, tmp_path):
    backbone = vertebra.Backbone.from_preset(origin)
    backbone.enable_lora(2)
    backbone.merged_copy().save_to_preset(tmp_path / "merged")
    assert has(tmp_path / "merged", TOKENIZER)


def test_without_assets_nothing_goes_along_and_nothing_is_said(origin, tmp_path, told):
    vertebra.Backbone.from_preset(origin).save_to_preset(tmp_path / "saved", assets=False)
    assert (names(tmp_path / "saved"), told()) == (NATIVE, [])


def test_another_preset_may_be_named(origin, arguments, tmp_path):
    backbone = vertebra.models.BertBackbone(**arguments)
    backbone.save_to_preset(tmp_path / "saved", assets=origin)
    assert has(tmp_path / "saved", TOKENIZER)
    with pytest.raises(PresetNotFoundError):
        backbone.save_to_preset(tmp_path / "other", assets="./nothing")
    assert not (tmp_path / "other").exists()


def test_a_handle_may_name_it(origin, arguments, tmp_path):
    backbone = vertebra.models.BertBackbone(**arguments)
    backbone.save_to_preset(tmp_path / "saved", assets=vertebra.PresetHandle("file", str(origin)))
    assert has(tmp_path / "saved", TOKENIZER)


def test_a_backbone_of_no_preset_has_no_files(arguments, tmp_path, told):
    vertebra.models.BertBackbone(**arguments).save_to_preset(tmp_path / "saved")
    assert (names(tmp_path / "saved"), told()) == (NATIVE, [])


def test_files_of_the_target_win_and_that_is_said(origin, tmp_path, told):
    backbone = vertebra.Backbone.from_preset(origin)
    backbone.save_to_preset(tmp_path / "saved", certificate=False)
    put(tmp_path / "saved", {"vocab.txt": "mine", "notes.txt": "mine"})
    told()
    backbone.save_to_preset(tmp_path / "saved", certificate=False)
    assert has(tmp_path / "saved", TOKENIZER | {"vocab.txt": "mine", "notes.txt": "mine"})
    assert "vocab.txt (another file has this name in the target)" in told()[0]
    assert has(origin, TOKENIZER)


@pytest.mark.parametrize("links", [True, False])
def test_files_that_are_written_into_the_target_during_a_save_are_kept(origin, tmp_path, monkeypatch, links):
    backbone = vertebra.Backbone.from_preset(origin)
    backbone.save_to_preset(tmp_path / "saved")
    put(tmp_path / "saved", {"vocab.txt": "mine", "notes.txt": "before"})
    late = {"notes.txt": "edited", "new.txt": "new", "in/a/folder.txt": "new", "LICENSE": "another licence"}

    def write_late(*_):
        (tmp_path / "saved" / "notes.txt").unlink()  # as an editor does, which writes a new file
        (tmp_path / "saved" / "LICENSE").unlink()
        put(tmp_path / "saved", late)

    def no_links(*_, **__):
        raise OSError("links are not supported")

    monkeypatch.setattr("vertebra._presets.certificate.write_certificate", write_late)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    backbone.save_to_preset(tmp_path / "saved")
    assert has(tmp_path / "saved", TOKENIZER | {"vocab.txt": "mine"} | late)
    assert vertebra.Backbone.from_preset(tmp_path / "saved").count_params() == backbone.count_params()


def test_the_config_that_was_kept_is_that_of_what_is_saved(origin, arguments, tmp_path):
    backbone = vertebra.Backbone.from_preset(origin)
    backbone.save_to_preset(tmp_path / "saved")
    kept = tmp_path / "saved" / "carried" / "transformers" / "config.json"
    kept.write_text(kept.read_text().replace("gelu_new", "relu"))
    backbone.save_to_preset(tmp_path / "saved")
    assert kept.read_bytes() == (origin / "config.json").read_bytes()
    vertebra.models.BertBackbone(**arguments).save_to_preset(tmp_path / "saved")
    assert not kept.exists()


@pytest.mark.parametrize("formats", [("kerashub", "transformers"), ("native", "kerashub", "native", "transformers")])
def test_in_its_own_folder_every_file_stays_or_comes_back(origin, formats, told):
    for format in formats:
        vertebra.Backbone.from_preset(origin).save_to_preset(origin, format=format, certificate=False)
        assert "tokenizer.json" not in names(origin) or format != "kerashub"
    assert has(origin, TOKENIZER | OTHERS)
    assert json.loads((origin / "config.json").read_text())["pad_token_id"] == 5
    assert told() == []


@pytest.mark.parametrize("damage", ["gone", "no config", "a config of no format", "a kept config that is none"])
def test_trained_weights_are_saved_whatever_became_of_their_preset(origin, tmp_path, told, damage):
    source = origin
    if damage == "a kept config that is none":
        vertebra.Backbone.from_preset(origin).save_to_preset(tmp_path / "native")
        source = put(tmp_path / "native", {"carried/transformers/config.json": "["})
    backbone = vertebra.Backbone.from_preset(source)
    told()
    if damage == "gone":
        shutil.rmtree(source)
    elif damage == "no config":
        (source / "config.json").unlink()
    elif damage == "a config of no format":
        (source / "config.json").write_text("{}")
    backbone.save_to_preset(tmp_path / "saved", format="transformers")
    assert vertebra.Backbone.from_preset(tmp_path / "saved").num_layers == 2
    assert "only config and weights were saved, not its other files. " in told()[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_does_not_keep_the_others(origin, tmp_path, told):
    (origin / "merges.txt").touch(0o000)
    vertebra.Backbone.from_preset(origin).save_to_preset(tmp_path / "saved")
    assert has(tmp_path / "saved", TOKENIZER)
    assert "merges.txt (it cannot be read: Permission denied)" in told()[0]


def test_a_preset_that_is_saved_inside_its_own_does_not_grow(origin):
    for _ in range(3):
        vertebra.Backbone.from_preset(origin).save_to_preset(origin / "tuned")
        assert has(origin / "tuned", TOKENIZER)
        assert not (origin / "tuned" / "tuned").exists()


def test_what_is_no_file_does_not_keep_the_others(origin, tmp_path, told):
    (origin / "merges.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(origin / "pipe")
    vertebra.Backbone.from_preset(origin).save_to_preset(tmp_path / "saved")
    assert has(tmp_path / "saved", TOKENIZER)
    assert not {"merges.txt", "pipe"} & names(tmp_path / "saved")
    (message,) = told()
    assert f"merges.txt (is a link to {tmp_path / 'nowhere'}, which does not exist)" in message
    assert "pipe (is a pipe, a socket or a device, expected a regular file)" in message


def test_what_is_not_on_this_machine_is_named_and_nobody_is_asked_for_it(elsewhere, tmp_path, told):
    backbone = vertebra.Backbone.from_preset("toy://model")
    elsewhere.asked.clear()
    elsewhere.unreachable = AssertionError("the network was used")
    backbone.save_to_preset(tmp_path / "saved")
    assert elsewhere.asked == []
    assert names(tmp_path / "saved") == FROM_TRANSFORMERS
    (message,) = told()
    assert "1_Pooling/config.json, LICENSE, tokenizer.json, vocab.txt (not on this machine)" in message
    assert message.endswith("To save them, run: vertebra pull toy://model@r1, and save again")


def test_what_was_pulled_goes_along(elsewhere, tmp_path):
    from vertebra.cli import main

    backbone = vertebra.Backbone.from_preset("toy://model")
    assert main(["pull", "toy://model@r1"]) == 0
    elsewhere.asked.clear()
    backbone.save_to_preset(tmp_path / "saved")
    assert has(tmp_path / "saved", TOKENIZER)
    assert elsewhere.asked == []


def test_a_preset_that_was_named_is_fetched(elsewhere, arguments, tmp_path):
    vertebra.models.BertBackbone(**arguments).save_to_preset(tmp_path / "saved", assets="toy://model")
    assert has(tmp_path / "saved", TOKENIZER)
    assert not [name for name in elsewhere.reads() if name.startswith(("README", "pytorch", "model"))]
