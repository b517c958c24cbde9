"""Presets and adapters that all processes of a mesh write together."""

import json
from pathlib import Path

import pytest
from registry.together.conftest import GEMMA, SAVES, SECONDS, prepared

import vertebra

pytestmark = pytest.mark.keras


def content(folder):
    """Returns the bytes of each file below a folder; of `metadata.json`, its fields without the date."""
    found = {}
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.name == "metadata.json":
            data = {name: value for name, value in json.loads(data).items() if name != "date_saved"}
        found[str(path.relative_to(folder))] = data
    return found


def left_behind(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", SAVES)
@pytest.mark.parametrize("processes", ["two", "four"])
def test_a_divided_save_is_an_undivided_one_to_the_byte(processes, name, request):
    folder, found = request.getfixturevalue(processes)
    assert [each["save"].get("text") for each in found] == [None] * len(found)
    assert content(folder / f"divided {name}") == content(folder / f"undivided {name}")


def test_two_devices_of_one_process_need_no_other(tmp_path, launch, runtime):
    if runtime != "jax":
        pytest.skip("a process of torch has one device")
    prepared(tmp_path, "GemmaBackbone", GEMMA)
    (found,) = launch(tmp_path, 1, "2", "save")
    assert found["save"].get("text") is None
    assert found["loaded"] == {"model": 2}
    for name in SAVES:
        assert content(tmp_path / f"divided {name}") == content(tmp_path / f"undivided {name}")


def test_an_adapter_that_two_processes_trained_is_saved_whole(two, tmp_path):
    folder, found = two
    assert found[0]["train_and_save"].get("text") is None
    backbone = vertebra.Backbone.from_preset(folder / "base")
    backbone.load_lora_weights(folder / "adapter.safetensors")
    trained = {variable.path: variable.numpy() for variable in backbone.trainable_variables}
    assert trained
    assert all(values.any() for values in trained.values())  # the second matrix starts at 0
    for name in ("adapter.safetensors", "adapter-peft", "adapter.lora.h5"):
        backbone.save_lora_weights(tmp_path / name)
    assert content(tmp_path / "adapter-peft") == content(folder / "adapter-peft")
    for name in ("adapter.safetensors", "adapter.lora.h5"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_an_adapter_is_loaded_by_all_processes(two):
    folder, found = two
    assert all(each["load_adapter"].get("text") is None for each in found)
    assert (folder / "again.safetensors").read_bytes() == (folder / "one.safetensors").read_bytes()
    assert all(each["wrong_base"]["error"] == "AdapterBaseError" for each in found)


def test_all_processes_compute_the_certificate(two, runtime):
    if runtime != "torch":
        pytest.skip("JAX would compile each operation of the pass for both processes, for half a minute")
    folder, found = two
    assert found[0]["save_certified"].get("text") is None
    assert vertebra.Backbone.from_preset(folder / "certified", verify=True)


def test_a_process_that_fails_stops_all_and_the_preset_stays(two):
    folder, found = two
    error = found[0]["full_disk"]
    assert "process 1 of 2 could not save the preset: PresetSaveError" in error["text"]
    assert "the disk is full" in error["text"]
    assert found[0]["save_again"].get("text") is None  # the mesh can still be used
    assert content(folder / "kept") == content(folder / "base")


def test_different_targets_are_an_error(two):
    folder, found = two
    assert "differ in the folder" in found[0]["other_target"]["text"]
    assert not list(folder.glob("target*"))


def test_a_killed_process_is_missed_in_time_and_nothing_is_half_written(two):
    folder, found = two
    assert "killed_last" not in found[1]
    error = found[0]["killed_last"]
    assert error["error"] == "MeshError"
    assert "a process is gone" in error["text"]
    assert error["seconds"] < SECONDS
    assert content(folder / "kept") == content(folder / "base")
    assert left_behind(folder) == []


def test_the_first_process_may_be_killed_and_the_next_save_removes_what_it_left(four, runtime):
    """On JAX, the first process has the service without which the others end, some of them before they raise."""
    folder, found = four
    assert "killed_first" not in found[0]
    others = [each for each in found[1:] if runtime != "jax" or "killed_first" in each]
    for each in others:
        assert "a process is gone" in each["killed_first"]["text"]
        assert each["killed_first"]["seconds"] < SECONDS
    assert content(folder / "kept") == content(folder / "base")
    assert len(left_behind(folder)) == 2
    vertebra.Backbone.from_preset(folder / "base").save_to_preset(folder / "kept", certificate=False)
    assert left_behind(folder) == []
