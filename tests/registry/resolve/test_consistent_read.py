"""A preset that is replaced while it is read: all that is read is of one version, or it is an error."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import vertebra
from vertebra._presets.convert import convert_preset
from vertebra._presets.inspect import inspect_preset
from vertebra._presets.lock import lock_presets
from vertebra._presets.plan import plan_preset
from vertebra._presets.publish import upload
from vertebra._resolve import consistent_read
from vertebra._weights import file_kind
from vertebra._weights.hdf5 import mapping
from vertebra._weights.safetensors import format as safetensors
from vertebra.cli.verify import verify_preset
from vertebra.errors import PresetChangedError, WeightsFileError

pytestmark = pytest.mark.keras(once=True)

SHARD = 8e-6
"""Gigabytes: three shards or more of the tiny BERT."""
FORMATS = ("native", "transformers", "kerashub")


@pytest.fixture(scope="module")
def versions(golden, tmp_path_factory):
    """Returns the folder of a version of a preset: all its weights are its number.

    Versions of odd numbers have fewer shards; the format `single` is the native one without any.
    """
    folder = tmp_path_factory.mktemp("versions")
    backbone = vertebra.Backbone.from_preset(golden / "kerashub")

    def made(format, number):
        path = folder / f"{format}-{number}"
        if not path.exists():
            for variable in backbone.weights:
                variable.assign(np.full(variable.shape, number))
            size = None if format == "single" else SHARD * (1 + number % 2)
            backbone.save_to_preset(path, format="native" if format == "single" else format, max_shard_size=size)
        return path

    return made


@pytest.fixture
def preset(tmp_path):
    return tmp_path / "preset"


def swap(source, preset):
    """Puts a version in the place of another in one step, as saving does."""
    new = preset.with_name("new")
    shutil.copytree(source, new, copy_function=shutil.copyfile)
    if preset.exists():
        preset.rename(preset.with_name("old"))
    new.rename(preset)
    shutil.rmtree(preset.with_name("old"), ignore_errors=True)


def replace_files(source, preset):
    """Replaces the files of a version one by one, each in one step."""
    preset.mkdir(exist_ok=True)
    for path in source.iterdir():
        shutil.copyfile(path, preset / "new")
        (preset / "new").replace(preset / path.name)
    for path in preset.iterdir():
        if not (source / path.name).exists():
            path.unlink()


def write_files(source, preset):
    """Writes the files of a version where those of another are."""
    preset.mkdir(exist_ok=True)
    for path in source.iterdir():
        shutil.copyfile(path, preset / path.name)


@pytest.fixture
def when_opened(monkeypatch):
    """Returns a function that makes something happen after so many weights files or indexes were opened."""

    def plan(number, act):
        count = itertools.count(1)

        def opened(open_file, path):
            file = open_file(path)
            if next(count) == number:
                act()
            return file

        for module in (safetensors, mapping, file_kind):
            monkeypatch.setattr(module, "open_file", lambda path, real=module.open_file: opened(real, path))

    return plan


def numbers(backbone):
    """Returns all numbers that the weights of a backbone hold."""
    return {number for variable in backbone.weights for number in np.unique(variable.numpy()).tolist()}


@pytest.mark.parametrize("change", [swap, replace_files, write_files])
@pytest.mark.parametrize("moment", [1, 2, 3])
@pytest.mark.parametrize(("format", "old"), [*((format, 0) for format in FORMATS), ("native", 1), ("kerashub", 1)])
def test_a_load_is_of_one_version_whenever_another_is_put_there(
    versions, preset, when_opened, format, old, moment, change
):
    swap(versions(format, old), preset)
    when_opened(moment, lambda: change(versions(format, 2), preset))
    found = numbers(vertebra.Backbone.from_preset(preset))
    assert found == {2} or (old == 1 and found == {1})  # which has so few shards that all may be mapped by then


def test_a_load_whose_files_were_all_mapped_before_is_of_the_old_version(versions, preset, when_opened):
    swap(versions("native", 0), preset)
    shards = len(list(preset.glob("model-*")))
    when_opened(1 + shards, lambda: swap(versions("native", 2), preset))
    assert numbers(vertebra.Backbone.from_preset(preset)) == {0}


@pytest.mark.parametrize("moment", [2, 5])
def test_the_certificate_is_of_the_version_that_was_loaded(versions, preset, when_opened, moment):
    swap(versions("native", 0), preset)
    when_opened(moment, lambda: swap(versions("native", 2), preset))
    assert numbers(vertebra.Backbone.from_preset(preset, verify=True)) == {2}


def test_the_config_is_of_the_version_that_was_loaded(versions, preset, golden, monkeypatch):
    swap(golden / "transformers", preset)
    real = vertebra._resolve.preset_folder.read_foreign_json

    def read_foreign_json(path):
        document = real(path)
        if "model_type" in document.value:
            swap(versions("native", 2), preset)
        return document

    monkeypatch.setattr(vertebra._resolve.preset_folder, "read_foreign_json", read_foreign_json)
    assert numbers(vertebra.Backbone.from_preset(preset)) == {2}


def test_a_folder_that_is_replaced_while_it_is_listed_is_listed_again(versions, preset, monkeypatch):
    swap(versions("native", 0), preset)
    real = Path.iterdir
    done = []

    def iterdir(folder):
        for path in real(folder):
            yield path
            if folder == preset and not done:
                done.append(True)
                swap(versions("native", 2), preset)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert numbers(vertebra.Backbone.from_preset(preset, verify=True)) == {2}
    assert done


def test_a_preset_that_never_stays_is_an_error_that_says_so(versions, preset, monkeypatch):
    monkeypatch.setattr(consistent_read, "_LONGEST_PAUSE", 0)
    swap(versions("native", 0), preset)
    turns = itertools.cycle([2, 0])
    monkeypatch.setattr(
        safetensors, "open_file", lambda path, real=safetensors.open_file: (real(path), swap_next(turns))[0]
    )

    def swap_next(turns):
        swap(versions("native", next(turns)), preset)

    with pytest.raises(PresetChangedError, match="is being changed"):
        vertebra.Backbone.from_preset(preset)


def test_an_error_of_a_preset_that_did_not_change_is_raised_at_once(versions, preset, monkeypatch):
    swap(versions("native", 0), preset)
    (preset / "model-00002-of-00004.safetensors").write_bytes(b"cut")
    monkeypatch.setattr(consistent_read, "time", None)
    with pytest.raises(WeightsFileError, match="truncated"):
        vertebra.Backbone.from_preset(preset)


# === Whatever else reads several files ===


@pytest.mark.parametrize("moment", [2, 3])
def test_what_reads_headers_reads_those_of_one_version(versions, preset, when_opened, moment):
    swap(versions("native", 0), preset)
    when_opened(moment, lambda: swap(versions("native", 2), preset))
    assert inspect_preset(str(preset))["files"] == sorted(path.name for path in preset.glob("model-*"))
    swap(versions("native", 0), preset)
    when_opened(moment, lambda: swap(versions("native", 2), preset))
    assert plan_preset(str(preset)).parameters == 6656


def test_a_conversion_is_of_one_version_with_its_tokenizer(versions, preset, when_opened, tmp_path):
    swap(versions("transformers", 0), preset)
    (preset / "vocab.txt").write_text("1")

    def act():
        swap(versions("transformers", 2), preset)
        (preset / "vocab.txt").write_text("2")

    when_opened(2, act)
    convert_preset(preset, tmp_path / "converted")
    assert numbers(vertebra.Backbone.from_preset(tmp_path / "converted", verify=True)) == {2}
    assert (tmp_path / "converted" / "vocab.txt").read_text() == "2"


def test_verify_speaks_of_one_version(versions, preset, when_opened):
    swap(versions("native", 0), preset)
    when_opened(3, lambda: swap(versions("native", 2), preset))
    assert verify_preset(str(preset))["holds"]


@pytest.mark.parametrize(("format", "published"), [("native", False), ("single", True)])
def test_what_is_replaced_while_it_is_published_is_said(versions, preset, tmp_path, monkeypatch, format, published):
    swap(versions(format, 1), preset)
    copyfile = shutil.copyfile

    def copy(source, target):
        copyfile(source, target)
        if Path(target).name == "config.json" and "published" in str(target):
            monkeypatch.setattr("vertebra.builtin.folders.shutil.copyfile", copyfile)
            swap(versions(format, 2), preset)

    monkeypatch.setattr("vertebra.builtin.folders.shutil.copyfile", copy)
    with pytest.raises(PresetChangedError) as caught:
        upload(tmp_path / "published", preset, any_runtime=True)
    assert published == ("may mix two versions" in "".join(getattr(caught.value, "__notes__", [])))
    assert published == (tmp_path / "published").exists()


def test_what_is_locked_is_of_one_version(versions, preset, tmp_path, monkeypatch):
    swap(versions("native", 0), preset)
    real = vertebra._resolve.lockfile.digest_of
    done = []

    def digest_of(path, *arguments):
        if not done:
            done.append(True)
            swap(versions("native", 2), preset)
        return real(path, *arguments)

    monkeypatch.setattr(vertebra._resolve.lockfile, "digest_of", digest_of)
    lock_presets([str(preset)], tmp_path / "vertebra.lock", update=False)
    files = json.loads((tmp_path / "vertebra.lock").read_text())["presets"][str(preset)]["files"]
    assert files.keys() == {path.name for path in preset.iterdir()}
