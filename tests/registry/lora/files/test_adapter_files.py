"""Adapters at paths and handles: the sources, cache, policies and lockfile of presets, and errors with a way out."""

import json
import pickle
import shutil
import types

import numpy as np
import pytest

import vertebra
from vertebra._cache.default_store import default_store
from vertebra._lora.files.describe import describe_adapter
from vertebra._presets.bundle import write_bundle
from vertebra._presets.lock import compare_lock, lock_presets
from vertebra._presets.publish import upload
from vertebra._resolve.lockfile import lockfile_path
from vertebra.cli import main
from vertebra.cli.pull import pull_preset
from vertebra.errors import (
    AdapterNotFoundError,
    ArgumentError,
    LockError,
    LoraConfigError,
    OfflineError,
    PresetChangedError,
    PresetNotFoundError,
    PresetRefusedError,
    WeightsFileError,
)

pytestmark = pytest.mark.keras(once=True)

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"


@pytest.fixture
def source(configure, toys, golden):
    """A remote source with PEFT's adapter, one in the short form, and one of KerasHub."""
    source, module = toys.ToyRemote(), types.ModuleType("toy_plugin")
    module.vertebra_preset_sources = vertebra.hookimpl(lambda: [source], specname="vertebra_preset_sources")
    vertebra.add_plugin(module, "toys")
    folder = {path.name: path.read_bytes() for path in (golden / "peft_lora").iterdir()}
    source.add("legal", folder | {"README.md": b"text"})
    source.add("kerashub", {"x.lora.h5": (golden / "kerashub_lora.lora.h5").read_bytes(), "README.md": b"text"})
    source.add("several", {f"{name}/{file}": data for name in ("legal", "german") for file, data in folder.items()})
    return source


@pytest.fixture
def policy():
    """Adds a policy plugin, whose hooks are given."""

    def add(**hooks):
        module = types.ModuleType("policy")
        for name, hook in hooks.items():
            setattr(module, name, vertebra.hookimpl(hook, specname=name))
        vertebra.add_plugin(module, "policy")

    return add


@pytest.fixture
def short(plain, tmp_path):
    """An adapter in the short form."""
    plain.enable_lora(2, seed=0)
    plain.save_lora_weights(tmp_path / "own.safetensors")
    plain.unload_lora()
    return tmp_path / "own.safetensors"


# === Loading ===


@pytest.mark.keras
def test_a_handle_gives_the_adapter_of_its_files(source, golden, plain, run):
    plain.load_lora_weights(golden / "peft_lora")
    expected = run(plain)["sequence_output"]
    plain.unload_lora()
    receipt = plain.load_lora_weights("toy://legal")
    assert np.array_equal(run(plain)["sequence_output"], expected)
    assert receipt.source == "toy://legal@r1"
    assert {name.split()[0] for name in source.reads()} == {CONFIG, TENSORS}  # and no other file


def test_the_receipt_names_the_base_and_its_revision(source, plain):
    config = json.loads(source.presets["legal"]["r1"][CONFIG])
    changed = config | {"base_model_name_or_path": "org/bert", "revision": "abc"}
    source.add("legal", source.presets["legal"]["r1"] | {CONFIG: json.dumps(changed).encode()}, "r2")
    assert plain.load_lora_weights("toy://legal@r2").base_model == "org/bert@abc"
    assert plain.load_lora_weights("toy://legal@r1").base_model == config["base_model_name_or_path"]


def test_every_format_is_found_at_a_handle(source, plain, short):
    source.add("short", {"adapter.safetensors": short.read_bytes(), "README.md": b"text"})
    assert plain.load_lora_weights(vertebra.PresetHandle("toy", "short")).config.rank == 2
    assert plain.load_lora_weights("toy://kerashub", "kerashub").config.strategy == "keras"


def test_a_file_url_is_a_handle(plain, golden, short):
    assert plain.load_lora_weights((golden / "peft_lora").as_uri(), "a").config.rank == 4
    assert plain.load_lora_weights(short.as_uri(), "b").config.rank == 2


@pytest.mark.parametrize("name", ["german", "german.lora.h5"])
def test_a_name_in_the_current_folder_is_a_path(plain, golden, tmp_path, monkeypatch, name):
    theirs = golden / ("kerashub_lora.lora.h5" if name.endswith("h5") else "peft_lora")
    (shutil.copy if theirs.is_file() else shutil.copytree)(theirs, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert plain.load_lora_weights(name).source == str(tmp_path / name)


def test_what_is_fetched_loads_offline(source, plain, configure):
    pull_preset("toy://legal", needed=True)
    configure(VERTEBRA_OFFLINE="1")
    assert plain.load_lora_weights("toy://legal").source == "toy://legal@r1"
    with pytest.raises(OfflineError, match="vertebra pull toy://kerashub"):
        plain.load_lora_weights("toy://kerashub")


def test_only_the_files_of_the_adapter_are_needed(source):
    facts = pull_preset("toy://legal", needed=True)
    assert {file["name"] for file in facts["files"]} == {CONFIG, TENSORS}
    assert {file["name"] for file in pull_preset("toy://kerashub", needed=True)["files"]} == {"x.lora.h5"}


def test_policies_refuse_rewrite_and_observe(source, plain, golden, policy, short):
    told = []
    refused = ["file", "toy://kerashub"]
    policy(
        vertebra_rewrite_handle=lambda handle: vertebra.PresetHandle("toy", "legal") if handle.path == "old" else None,
        vertebra_refuse_preset=lambda handle: "no" if handle.scheme in refused or str(handle) in refused else None,
        vertebra_preset_loaded=lambda loaded: told.append(loaded),
    )
    for adapter in ("toy://kerashub", golden / "peft_lora", str(short)):
        with pytest.raises(PresetRefusedError):
            plain.load_lora_weights(adapter)
    assert told == []
    plain.load_lora_weights("toy://old")
    (loaded,) = told
    assert (loaded.requested, str(loaded.handle), loaded.format) == ("toy://old", "toy://legal@r1", "lora:peft")
    assert (loaded.backbone, loaded.weights) == ("BertBackbone", True)


# === Lockfiles, bundles and uploads ===


def test_a_lockfile_pins_adapters(source, plain, short):
    adapters = ["toy://legal", "toy://kerashub", str(short)]
    assert [status.state for status in lock_presets(adapters, lockfile_path(), False)] == ["added"] * 3
    source.add("legal", source.presets["legal"]["r1"] | {TENSORS: b"other"}, "r2")
    for adapter, name in zip(adapters, "abc", strict=True):
        plain.load_lora_weights(adapter, name, locked=True)
    assert plain.lora_adapters["a"].config.rank == 4
    assert [status.state for status in compare_lock(lockfile_path())] == ["unchanged", "unchanged", "moved"]
    with pytest.raises(LockError, match="no entry"):
        plain.load_lora_weights("toy://several", locked=True)
    short.write_bytes(short.read_bytes()[:-1] + b"x")
    with pytest.raises(LockError, match="differs"):
        plain.load_lora_weights(str(short), "c", locked=True)


def test_the_setting_locked_holds_for_adapters(source, plain, configure):
    configure(VERTEBRA_LOCKED="1")
    lock_presets(["toy://legal"], lockfile_path(), False)
    assert plain.load_lora_weights("toy://legal").source == "toy://legal@r1"
    with pytest.raises(LockError):
        plain.load_lora_weights("toy://kerashub")
    assert plain.load_lora_weights("toy://kerashub", "b", locked=False).name == "b"


def test_a_bundle_carries_adapters(source, plain, tmp_path, configure):
    (bundled,) = write_bundle(["toy://legal"], tmp_path / "bundle")
    assert bundled.files == 3
    shutil.rmtree(default_store().root, ignore_errors=True)
    configure(VERTEBRA_CACHE_TIERS=str(tmp_path / "bundle"), VERTEBRA_OFFLINE="1")
    assert plain.load_lora_weights("toy://legal").source == "toy://legal@r1"


@pytest.mark.parametrize("form", ["peft", "short", "kerashub"])
def test_an_adapter_is_uploaded_with_a_card_and_loads_from_there(source, plain, golden, short, form):
    adapter = {"peft": golden / "peft_lora", "short": short, "kerashub": golden / "kerashub_lora.lora.h5"}[form]
    done = upload("toy://mine", adapter)
    files = source.presets["mine"]["r1"]
    assert (
        set(done.files)
        == files.keys()
        == {"README.md", *([p.name for p in adapter.iterdir()] if form == "peft" else [adapter.name])}
    )
    card = files["README.md"].decode()
    assert 'backbone.load_lora_weights("toy://mine")' in card
    assert '"lora"' in card
    assert plain.load_lora_weights("toy://mine").source == "toy://mine@r1"


def test_the_author_is_told_of_a_base_without_a_name_for_others(source, golden, tmp_path):
    path, missing = "by a path", "names no base"
    bases = {"./my_bert": path, "file:///data/bert": path, None: missing, "package://acme/bert": None, "org/bert": None}
    for base, told in bases.items():
        folder = shutil.copytree(golden / "peft_lora", tmp_path / str(base).replace("/", "_"))
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(config | {"base_model_name_or_path": base}))
        done = upload(f"toy://{told is None}", folder, replace=True)
        assert any(told in note for note in done.notes) if told else len(done.notes) == 1
        cure = "write a repository or handle of the base as its base_model_name_or_path"
        assert any(cure in note for note in done.notes) == (told is not None)
    assert 'base_model: "org/bert"' in list(source.presets["True"].values())[-1]["README.md"].decode()


@pytest.mark.parametrize("damage", ["config", "tensors"])
def test_a_faulty_adapter_is_not_uploaded(source, golden, tmp_path, damage):
    folder = shutil.copytree(golden / "peft_lora", tmp_path / "faulty")
    if damage == "config":
        (folder / CONFIG).write_text("{")
    else:
        (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:-1])
    with pytest.raises((LoraConfigError, WeightsFileError)):
        upload("toy://mine", folder)
    assert "mine" not in source.presets


def test_an_adapter_is_uploaded_to_a_folder_and_replaced_on_request(golden, tmp_path, capsys):
    target = str(tmp_path / "published")
    assert main(["push", str(golden / "peft_lora"), target]) == 0
    assert main(["push", str(golden / "peft_dora"), target]) == 1
    assert main(["push", str(golden / "peft_dora"), target, "--replace"]) == 0
    assert describe_adapter(target)["strategy"] == "dora"


# === Descriptions ===


def test_info_downloads_headers_only(source, capsys):
    data = source.presets["legal"]["r1"]
    padded = data | {TENSORS: data[TENSORS]}
    source.add("legal", padded, "r2")
    facts = describe_adapter("toy://legal")
    assert (facts["adapter"], facts["form"], facts["ranks"]) == ("toy://legal@r2", "peft", [4])
    assert not list(default_store().root.glob("partial/*"))
    assert main(["lora", "info", "toy://legal"]) == 0
    assert "toy://legal@r2, PEFT's folder" in capsys.readouterr().out


# === Errors ===


@pytest.mark.parametrize("adapter", [None, 3, ["a"], b"a"])
def test_an_adapter_is_a_path_or_handle(plain, adapter):
    with pytest.raises(ArgumentError):
        plain.load_lora_weights(adapter)


@pytest.mark.parametrize("adapter", ["./nothing", "nothing", "a/b/c", "/nothing", "x" * 5000, "toy://nothing"])
def test_where_nothing_is(source, plain, adapter):
    with pytest.raises(AdapterNotFoundError) as caught:
        plain.load_lora_weights(adapter)
    assert isinstance(caught.value, FileNotFoundError)


def test_subfolders_are_suggested(source, plain, golden, tmp_path):
    with pytest.raises(AdapterNotFoundError) as caught:
        plain.load_lora_weights("toy://several")
    assert caught.value.suggestions == ["toy://several/german", "toy://several/legal"]
    shutil.copytree(golden / "peft_lora", tmp_path / "out" / "checkpoint-500")
    for path in (tmp_path / "out", str(tmp_path / "out")):
        with pytest.raises(AdapterNotFoundError) as caught:
            plain.load_lora_weights(path)
        assert caught.value.suggestions == [str(tmp_path / "out" / "checkpoint-500")]


def test_of_many_subfolders_the_newest_come_first(plain, tmp_path):
    for number in (500, 1000, 1500, 2000, 2500, 3000, 3500):
        (tmp_path / f"checkpoint-{number}").mkdir()
        (tmp_path / f"checkpoint-{number}" / CONFIG).write_text("{}")
    with pytest.raises(AdapterNotFoundError, match=r"subfolders checkpoint-3500, .* and 2 more") as caught:
        plain.load_lora_weights(tmp_path)
    assert caught.value.suggestions[:2] == [str(tmp_path / f"checkpoint-{number}") for number in (3500, 3000)]


def test_a_preset_is_no_adapter(plain, golden):
    with pytest.raises(AdapterNotFoundError, match=r"a whole model.*from_preset"):
        plain.load_lora_weights(golden / "transformers")


def test_several_files_are_named(source, plain, short, tmp_path):
    shutil.copy(short, tmp_path / "other.safetensors")
    with pytest.raises(AdapterNotFoundError, match=r"other\.safetensors, own\.safetensors"):
        plain.load_lora_weights(tmp_path)


@pytest.mark.parametrize(
    ("missing", "error", "text"),
    [(CONFIG, LoraConfigError, CONFIG), (TENSORS, WeightsFileError, "Copy the whole folder")],
)
def test_a_missing_file_is_named(plain, golden, tmp_path, missing, error, text):
    folder = shutil.copytree(golden / "peft_lora", tmp_path / "half")
    (folder / missing).unlink()
    (folder / "README.md").write_text("")
    with pytest.raises(error, match=text):
        plain.load_lora_weights(folder)


def test_a_pickle_is_named_and_not_opened(plain, golden, tmp_path):
    folder = shutil.copytree(golden / "peft_lora", tmp_path / "old")
    (folder / TENSORS).rename(folder / "adapter_model.bin")
    with pytest.raises(WeightsFileError, match=rf"adapter_model\.bin.*a pickle.*lora convert {folder} TARGET"):
        plain.load_lora_weights(folder)


@pytest.mark.parametrize("name", [CONFIG, "adapter_model.bin"])
def test_a_file_of_an_adapter_is_no_adapter(plain, golden, tmp_path, name):
    folder = shutil.copytree(golden / "peft_lora", tmp_path / "own")
    (folder / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(AdapterNotFoundError, match="pass the folder") as caught:
        plain.load_lora_weights(folder / name)
    assert caught.value.suggestions == [str(folder)]


@pytest.mark.parametrize("name", ["lora.pt", "lora.bin", "last.ckpt"])
def test_a_single_pickle_is_not_opened(plain, tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps({"lora_A": 1}))
    with pytest.raises(WeightsFileError, match="a pickle"):
        plain.load_lora_weights(tmp_path / name)


@pytest.mark.parametrize(
    ("requested", "texts"),
    [
        ("toy://legal", ["an adapter of ", "backbone.load_lora_weights('toy://legal')", "Backbone.from_preset("]),
        ("toy://several", ["adapters in its subfolders german, legal"]),
    ],
)
def test_from_preset_says_that_it_is_an_adapter(source, requested, texts):
    with pytest.raises(PresetNotFoundError) as caught:
        vertebra.Backbone.from_preset(requested)
    assert all(text in str(caught.value) for text in texts)


def test_from_preset_names_the_base_by_its_handle(configure, golden, tmp_path):
    folder = shutil.copytree(golden / "peft_lora", tmp_path / "legal")
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"base_model_name_or_path": "google-bert/bert-base-uncased"}))
    with pytest.raises(PresetNotFoundError, match=r"from_preset\('hf://google-bert/bert-base-uncased'\)"):
        vertebra.Backbone.from_preset(folder)


def test_from_preset_says_that_a_file_is_no_preset(golden):
    with pytest.raises(PresetNotFoundError, match=r"it is a file.*load_lora_weights"):
        vertebra.Backbone.from_preset(golden / "kerashub_lora.lora.h5")


def test_files_that_change_at_each_read_are_an_error(plain, golden, tmp_path, monkeypatch):
    folder = shutil.copytree(golden / "peft_lora", tmp_path / "changing")
    from vertebra._lora.files import peft

    real = peft.read_config

    def read_config(*arguments):
        (folder / CONFIG).touch()
        return real(*arguments)

    monkeypatch.setattr(peft, "read_config", read_config)
    monkeypatch.setattr("vertebra._resolve.consistent_read._FIRST_PAUSE", 0)
    with pytest.raises(PresetChangedError):
        plain.load_lora_weights(folder)


def test_values_that_are_not_clear_are_noted(plain, golden, tmp_path):
    folder = shutil.copytree(golden / "peft_lora", tmp_path / "unclear")
    text = (folder / CONFIG).read_text().rstrip().removesuffix("}")
    (folder / CONFIG).write_text(text + ', "runtime_config": NaN, "inference_mode": true}')
    (note,) = [note for note in plain.load_lora_weights(folder).notes if "not clear" in note]
    assert "runtime_config" in note


def test_a_wrong_value_is_named_with_its_file(plain, golden, tmp_path):
    folder = shutil.copytree(golden / "peft_lora", tmp_path / "wrong")
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"r": "4"}))
    with pytest.raises(LoraConfigError, match="rank='4'") as caught:
        plain.load_lora_weights(folder)
    assert str(folder / CONFIG) in str(caught.value)
