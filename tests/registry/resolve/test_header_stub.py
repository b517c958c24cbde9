"""Remote presets are inspected by the headers of their files."""

import gc
import shutil
import types
from pathlib import Path

import pytest

import vertebra
from vertebra._presets.inspect import inspect_preset
from vertebra._presets.lock import lock_presets
from vertebra._resolve.open import open_folder
from vertebra.errors import LockError, OfflineError, WeightsFileError

GOLDEN = Path(__file__).parents[2] / "golden" / "bert"


@pytest.fixture
def toy(configure, toys):
    """A source in memory, in addition to the installed ones."""
    source, module = toys.ToyRemote(), types.ModuleType("toy_plugin")
    module.vertebra_preset_sources = vertebra.hookimpl(lambda: [source], specname="vertebra_preset_sources")
    vertebra.add_plugin(module, "toys")
    return source


def added(toy, preset):
    toy.add("model", {path.name: path.read_bytes() for path in (GOLDEN / preset).iterdir()})
    return "toy://model"


def facts(preset):
    return inspect_preset(str(preset)) | {"handle": None}


@pytest.mark.parametrize("preset", ["transformers", "transformers_sharded", "kerashub"])
def test_what_is_inspected_elsewhere_is_what_is_inspected_here(toy, preset):
    assert facts(added(toy, preset)) == facts(GOLDEN / preset)


def test_of_safetensors_only_the_header_is_read_and_nothing_is_kept(toy, tmp_path):
    handle = added(toy, "transformers")
    inspect_preset(handle)
    inspect_preset(handle)
    assert toy.reads() == ["config.json 0", *["model.safetensors 0", "model.safetensors 8"] * 2]
    assert len(list(tmp_path.glob("cache/blobs/*/*"))) == 1


def test_what_is_here_is_read_here(toy):
    handle = added(toy, "transformers")
    folder = open_folder(handle)
    folder.fetch_all(sorted(folder.names))
    toy.asked.clear()
    inspect_preset(handle)
    assert toy.reads() == []


def test_the_stand_ins_go_with_the_folder(toy):
    folder = open_folder(added(toy, "transformers"))
    (path,) = folder.fetch_headers(["model.safetensors"], lambda first: 100)
    whole = (GOLDEN / "transformers" / "model.safetensors").read_bytes()
    assert path.read_bytes() == whole[:100] + bytes(len(whole) - 100)
    del folder
    gc.collect()
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 50])
def test_a_file_that_is_none_is_refused_as_here(toy, content):
    config = (GOLDEN / "transformers" / "config.json").read_bytes()
    toy.add("model", {"config.json": config, "model.safetensors": content})
    with pytest.raises(WeightsFileError):
        inspect_preset("toy://model")


def test_offline_nothing_is_read(toy, configure):
    handle = added(toy, "transformers")
    open_folder(handle).fetch("config.json")
    toy.asked.clear()
    configure(VERTEBRA_OFFLINE="1")
    with pytest.raises(OfflineError):
        inspect_preset(handle)
    assert toy.asked == []


def test_names_that_look_alike_have_stand_ins_of_their_own(toy):
    toy.add("model", {"config.json": b"{}", "a/b": b"12345678first", "a_b": b"12345678other"})
    folder = open_folder("toy://model")
    found = [path.read_bytes() for path in folder.fetch_headers(["a/b", "a_b"], lambda first: 13)]
    assert found == [b"12345678first", b"12345678other"]


def test_what_is_locked_is_read_whole_and_checked(toy, configure, tmp_path):
    handle = added(toy, "transformers")
    open_folder(handle).fetch_all(["config.json", "model.safetensors"])
    lock_presets([handle], tmp_path / "vertebra.lock", update=False)
    toy.presets["model"]["r1"]["model.safetensors"] = bytes(26_000)
    toy.asked.clear()
    configure(VERTEBRA_LOCKED="1", VERTEBRA_OFFLINE="1")
    assert inspect_preset(handle)["backbone"] == "BertBackbone"
    assert toy.asked == []
    shutil.rmtree(tmp_path / "cache")
    configure(VERTEBRA_OFFLINE="0")
    with pytest.raises(LockError):
        inspect_preset(handle)
