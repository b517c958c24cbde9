"""Presets whose folders hold links, as stores make them: they load, and what is saved or published is checked."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

import vertebra
from vertebra._presets.convert import convert_preset
from vertebra._presets.lock import lock_presets, verify_lock
from vertebra.cli.inspect import inspect_preset
from vertebra.errors import PresetNotFoundError, PresetSaveError, WeightsFileError

pytestmark = pytest.mark.keras(once=True)

ASSETS = {"tokenizer.json": "{}", "1_Pooling/config.json": '{"pooling_mode": "mean"}'}


@pytest.fixture
def plain(golden, tmp_path):
    """A checkpoint of ordinary files."""
    folder = shutil.copytree(golden / "transformers", tmp_path / "plain")
    for name, text in ASSETS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def hub_client(plain, root):
    """The cache of the hub's client: relative links to blobs that are named by their hashes."""
    folder = root / "models--acme--bert" / "snapshots" / ("a" * 40)
    blobs = folder.parents[1] / "blobs"
    blobs.mkdir(parents=True)
    for path in files_in(plain):
        link = folder / path.relative_to(plain)
        link.parent.mkdir(parents=True, exist_ok=True)
        blob = shutil.copy(path, blobs / hashlib.sha256(path.read_bytes()).hexdigest())
        link.symlink_to(os.path.relpath(blob, link.parent))
    return folder


def absolute(plain, root):
    """DVC, git-annex, Nix: each file is a link to an absolute path."""
    return linked(plain, root, lambda path: path)


def chained(plain, root):
    """Bazel: links to links."""
    return linked(absolute(plain, root / "first"), root / "second", lambda path: path)


def of_folders(plain, root):
    """The files are links, and so is a folder of files."""
    folder = linked(
        plain, root, lambda path: path, files_of=lambda folder: [p for p in folder.iterdir() if p.is_file()]
    )
    (folder / "1_Pooling").symlink_to(plain / "1_Pooling")
    return folder


def a_linked_folder(plain, root):
    """The folder itself is a link to a folder of links."""
    root.mkdir()
    (root / "latest").symlink_to(absolute(plain, root / "store"))
    return root / "latest"


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def linked(plain, root, target, files_of=files_in):
    for path in files_of(plain):
        link = root / path.relative_to(plain)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target(path))
    return root


STORES = [hub_client, absolute, chained, of_folders, a_linked_folder]


@pytest.fixture(params=STORES, ids=lambda store: store.__name__)
def folder(request, plain, tmp_path):
    return request.param(plain, tmp_path / "links")


def weights_of(preset):
    return {weight.path: weight.numpy() for weight in vertebra.Backbone.from_preset(preset).weights}


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_in(folder)}


def test_it_loads_as_the_files_do(folder, plain):
    expected, actual = weights_of(plain), weights_of(folder)
    assert all((expected[name] == actual[name]).all() for name in expected)
    assert inspect_preset(str(folder))["files"] == inspect_preset(str(plain))["files"]


def test_a_save_copies_the_files_and_says_where_they_were(folder, plain, tmp_path, caplog):
    vertebra.Backbone.from_preset(folder).save_to_preset(tmp_path / "saved")
    assert contents(tmp_path / "saved").items() >= {name: text.encode() for name, text in ASSETS.items()}.items()
    assert not [path for path in (tmp_path / "saved").rglob("*") if path.is_symlink()]
    (message,) = [record.getMessage() for record in caplog.records if "links lead to" in record.getMessage()]
    assert all(f"{name} -> " in message for name in ASSETS)


def test_a_conversion_copies_the_files_and_lists_them(folder, tmp_path):
    done = convert_preset(folder, tmp_path / "converted")
    assert done.assets.links.keys() >= ASSETS.keys()
    assert all(Path(done.assets.links[name]).read_text() == text for name, text in ASSETS.items())
    assert not [path for path in (tmp_path / "converted").rglob("*") if path.is_symlink()]


@pytest.mark.parametrize("of_links", [False, True], ids=["among files", "among links"])
def test_a_link_to_another_file_than_those_of_the_store_is_not_copied(of_links, plain, tmp_path):
    """The author of a preset may have planted a link to a private file: what is saved from it may be pushed."""
    folder = hub_client(plain, tmp_path / "hub") if of_links else plain
    secret = tmp_path / "id_rsa"
    secret.write_text("a secret")
    (folder / "vocab.txt").symlink_to(secret)
    done = convert_preset(folder, tmp_path / "converted")
    reason = f"it is a link that leads out of the folder, to {secret}"
    assert done.assets.left_out["vocab.txt"] == reason
    assert "a secret" not in [path.read_text(errors="replace") for path in files_in(tmp_path / "converted")]
    vertebra.Backbone.from_preset(folder).save_to_preset(tmp_path / "saved")
    assert not (tmp_path / "saved" / "vocab.txt").exists()


def test_a_conversion_of_files_has_no_links_to_list(plain, tmp_path):
    (plain / "inside").symlink_to("tokenizer.json")
    assert convert_preset(plain, tmp_path / "converted").assets.links == {}


@pytest.mark.parametrize("save", ["save", "convert", "push"])
def test_what_links_lead_to_is_never_written_to(folder, plain, tmp_path, save, digest, arguments):
    store = folder.parents[1] / "blobs" if (folder.parents[1] / "blobs").is_dir() else plain
    before, target = digest(store), folder.resolve()
    if save == "save":
        vertebra.Backbone.from_preset(folder).save_to_preset(target, format="transformers")
    elif save == "convert":
        convert_preset(folder, target)
    else:
        vertebra.models.BertBackbone(**arguments).save_to_preset(tmp_path / "other")
        vertebra.upload_preset(target, tmp_path / "other", replace=True)
    assert digest(store) == before
    assert not (target / "config.json").is_symlink()
    assert vertebra.Backbone.from_preset(target).count_params() > 0


def test_it_is_not_published(folder, tmp_path):
    with pytest.raises(PresetNotFoundError, match=r"is a link that leads out of the folder, to /.*cp -RL"):
        vertebra.upload_preset(tmp_path / "published", folder)
    assert not (tmp_path / "published").exists()


def test_a_link_to_a_private_file_is_not_published(plain, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (plain / "merges.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(PresetNotFoundError, match=r"merges\.txt is a link that leads out"):
        vertebra.upload_preset(tmp_path / "published", plain)
    assert not (tmp_path / "published").exists()


def test_it_is_locked_by_the_bytes_behind_the_links(folder, tmp_path):
    lock_presets([str(folder)], tmp_path / "vertebra.lock", update=False)
    blob = (folder / "tokenizer.json").resolve()
    blob.chmod(0o644)
    assert not verify_lock(tmp_path / "vertebra.lock")[0][0].different
    blob.write_text("[]")
    assert list(verify_lock(tmp_path / "vertebra.lock")[0][0].different) == ["tokenizer.json"]


def test_a_link_to_nothing_does_not_keep_from_loading_and_is_named(plain, tmp_path):
    (plain / "vocab.txt").symlink_to("../nowhere")
    assert weights_of(plain)
    assert inspect_preset(str(plain))["left_out"] == {"vocab.txt": "is a link to ../nowhere, which does not exist"}
    done = convert_preset(plain, tmp_path / "converted")
    assert "../nowhere" in done.assets.left_out["vocab.txt"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_needed_file_that_its_store_lacks_is_named(plain, tmp_path, name):
    """As in git-annex or DVC, before the bytes were fetched."""
    folder = absolute(plain, tmp_path / "links")
    (plain / name).unlink()
    with pytest.raises((PresetNotFoundError, WeightsFileError)) as caught:
        vertebra.Backbone.from_preset(folder)
    assert f"{name!r} is a link to {plain / name}, which does not exist" in str(caught.value)


def test_shards_may_be_links(plain, tmp_path):
    vertebra.Backbone.from_preset(plain).save_to_preset(
        tmp_path / "sharded", format="transformers", max_shard_size=1e-5
    )
    folder = hub_client(tmp_path / "sharded", tmp_path / "links")
    assert len(inspect_preset(str(folder))["files"]) > 1
    assert weights_of(folder).keys() == weights_of(plain).keys()


def test_a_folder_that_is_a_link_is_not_replaced(plain, tmp_path, digest):
    (tmp_path / "latest").symlink_to(plain)
    before = digest(plain)
    with pytest.raises(PresetSaveError, match="symbolic link"):
        vertebra.Backbone.from_preset(tmp_path / "latest").save_to_preset(tmp_path / "latest")
    assert digest(plain) == before


def test_a_config_behind_a_link_is_checked_as_any_other(plain, tmp_path):
    (tmp_path / "secret").write_text(json.dumps({"password": "secret"}))
    (plain / "config.json").unlink()
    (plain / "config.json").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="it has no model_type") as caught:
        vertebra.Backbone.from_preset(plain)
    assert "password" not in str(caught.value)


def test_a_folder_that_holds_the_home_folder_is_no_store(plain, tmp_path, monkeypatch):
    """The config and the weights may be links to two places, which only a large folder holds."""
    home = tmp_path / "home"
    for name, place in {"config.json": "cache", "model.safetensors": "work", "vocab.txt": "keys"}.items():
        (home / place).mkdir(parents=True)
        (home / place / name).write_bytes((plain / name).read_bytes() if (plain / name).exists() else b"a secret")
        (plain / name).unlink(missing_ok=True)
        (plain / name).symlink_to(home / place / name)
    monkeypatch.setenv("HOME", str(home))
    done = convert_preset(plain, tmp_path / "converted")
    assert "leads out of the folder" in done.assets.left_out["vocab.txt"]
