"""Presets that are single files: chosen by name, read without their tensors, and locked and fetched as files."""

import gc
import json
import struct
import types

import pytest

import gguf_bytes
import vertebra
from vertebra import FileFormat, FileHeader, FileTensor
from vertebra._presets.bundle import write_bundle
from vertebra._presets.inspect import inspect_preset
from vertebra._presets.lock import lock_presets
from vertebra._presets.plan import plan_preset
from vertebra._resolve.open import open_folder
from vertebra.cli import main
from vertebra.errors import (
    PluginError,
    PresetConfigError,
    PresetNotFoundError,
    PresetRefusedError,
    WeightsFileError,
)
from vertebra_text import Tokenizer

SMALL = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]


@pytest.fixture
def toy(configure, toys):
    """A source in memory, in addition to the installed ones."""
    source, module = toys.ToyRemote(), types.ModuleType("toy_plugin")
    module.vertebra_preset_sources = vertebra.hookimpl(lambda: [source], specname="vertebra_preset_sources")
    vertebra.add_plugin(module, "toys")
    return source


@pytest.fixture
def repository(toy):
    """A preset with three files of one model, and others."""
    files = {f"model-{kind}.gguf": gguf_bytes.gpt2(**{"general.name": kind}) for kind in ("Q4_K_M", "Q8_0", "F16")}
    toy.add("org/model", {**files, "README.md": b"# A model\n", "notes/a.txt": b"a"})
    return toy


# === Which file ===


def test_the_only_file_of_a_folder_is_the_preset(tmp_path):
    (tmp_path / "model.gguf").write_bytes(gguf_bytes.gpt2())
    folder = open_folder(tmp_path)
    assert sorted(folder.names) == sorted([*SMALL, "model.gguf"])
    assert [file.name for file in folder.files] == ["model.gguf"]
    assert not folder.is_file
    assert json.loads(folder.fetch("config.json").read_text())["model_type"] == "gpt2"


def test_the_path_of_a_file_is_that_file_alone(tmp_path):
    for name in ("one.gguf", "two.gguf", "README.md"):
        (tmp_path / name).write_bytes(gguf_bytes.gpt2())
    assert sorted(open_folder(tmp_path / "two.gguf").names) == sorted([*SMALL, "two.gguf"])


def test_several_files_are_refused_with_the_handle_of_each(repository):
    with pytest.raises(PresetNotFoundError) as caught:
        inspect_preset("toy://org/model")
    kinds = ("F16", "Q4_K_M", "Q8_0")
    assert caught.value.suggestions == [f"toy://org/model/model-{kind}.gguf" for kind in kinds]
    assert "3 files of which each is a whole preset" in str(caught.value)
    assert "README.md" in vertebra.open_files("toy://org/model").names  # the other files can be read


def test_the_handle_of_a_file_chooses_it(repository):
    folder = open_folder("toy://org/model/model-Q8_0.gguf")
    assert [file.name for file in folder.files] == ["model-Q8_0.gguf", "README.md", "notes/a.txt"]
    assert str(folder.handle) == "toy://org/model@r1"
    assert inspect_preset("toy://org/model/model-Q8_0.gguf@r1")["files"] == ["model-Q8_0.gguf"]


def test_a_misspelled_file_is_refused_with_a_likely_one(repository):
    with pytest.raises(PresetNotFoundError, match=r"no file 'model-Q8.gguf'") as caught:
        open_folder("toy://org/model/model-Q8.gguf")
    assert "toy://org/model/model-Q8_0.gguf" in caught.value.suggestions


def test_a_preset_whose_name_ends_so_is_found(toy):
    toy.add("org/model.gguf", {"weights.gguf": gguf_bytes.gpt2()})
    assert "config.json" in open_folder("toy://org/model.gguf").names


def test_weights_of_a_built_in_format_come_first(tmp_path, golden):
    for path in (golden / "transformers").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.gguf").write_bytes(gguf_bytes.gpt2())
    assert inspect_preset(str(tmp_path))["format"] == "transformers"
    (tmp_path / "model.safetensors").unlink()
    assert inspect_preset(str(tmp_path))["backbone"] == "GPT2Backbone"  # the config of the file, not that of the folder


def test_policies_are_asked_about_the_folder(repository):
    asked = []
    module = types.ModuleType("policy")
    module.vertebra_refuse_preset = vertebra.hookimpl(
        lambda handle: asked.append(str(handle)) or "no", specname="vertebra_refuse_preset"
    )
    vertebra.add_plugin(module, "policy")
    with pytest.raises(PresetRefusedError):
        open_folder("toy://org/model/model-Q8_0.gguf")
    assert "toy://org/model" in asked


# === Without the tensors ===


@pytest.fixture
def long(toy):
    """A preset of a file that is longer than its header."""
    header = gguf_bytes.gpt2()
    toy.add("long", {"model.gguf": header + bytes(2**22)})
    return toy


@pytest.mark.parametrize("ask", [lambda preset: inspect_preset(preset)["backbone"], lambda p: plan_preset(p).backbone])
def test_of_a_remote_file_only_the_header_is_read(long, ask, tmp_path):
    assert ask("toy://long") == "GPT2Backbone"
    assert set(long.reads()) == {"model.gguf 0", "model.gguf 8"}
    assert not list(tmp_path.glob("cache/blobs/*/*"))


def test_the_tokenizer_of_a_remote_file_is_read_without_the_tensors(long, tmp_path):
    assert Tokenizer.from_preset("toy://long").tokenize("abb") == [2, 1]
    assert not list(tmp_path.glob("cache/blobs/*/*"))


def test_a_plan_counts_decoded_values_as_new_memory(tmp_path):
    (tmp_path / "model.gguf").write_bytes(gguf_bytes.gpt2())
    plan = plan_preset(str(tmp_path / "model.gguf"))
    assert (plan.format, plan.parameters, plan.weights) == ("gguf", 1048, 4 * 1048)
    assert plan.converted == 4 * 4 * 8 * 8 * 3  # the kernels, which are transposed


# === As files ===


def test_unpacked_files_exist_as_long_as_the_folder(tmp_path):
    (tmp_path / "model.gguf").write_bytes(gguf_bytes.gpt2())
    folder = open_folder(tmp_path)
    path = folder.fetch("config.json")
    assert path.exists()
    del folder
    gc.collect()
    assert not path.parent.exists()


def test_a_lockfile_has_the_one_file(repository, tmp_path, monkeypatch):
    preset, lockfile = "toy://org/model/model-F16.gguf", tmp_path / "vertebra.lock"
    monkeypatch.chdir(tmp_path)  # where a lockfile is looked for
    lock_presets([preset], lockfile, update=False)
    entry = json.loads(lockfile.read_text())["presets"][preset]
    assert sorted(entry["files"]) == ["README.md", "model-F16.gguf", "notes/a.txt"]
    assert {"vertebra-gguf", "vertebra-gpt2"} <= entry["plugins"].keys()
    folder = open_folder(preset, locked=True)
    assert sorted(folder.names) == sorted([*SMALL, "README.md", "model-F16.gguf", "notes/a.txt"])


def test_a_pull_fetches_the_one_file(repository, capsys):
    assert main(["pull", "toy://org/model/model-F16.gguf", "--json"]) == 0
    (pulled,) = json.loads(capsys.readouterr().out)
    assert [file["name"] for file in pulled["files"]] == ["model-F16.gguf", "README.md", "notes/a.txt"]


def test_a_bundle_has_the_one_file(repository, tmp_path):
    (bundled,) = write_bundle(["toy://org/model/model-F16.gguf"], tmp_path / "bundle")
    assert bundled.files == 3


def test_files_for_other_programs_are_those_of_the_source(repository):
    preset = "toy://org/model/model-F16.gguf"
    assert sorted(vertebra.files(preset)) == ["README.md", "model-F16.gguf", "notes/a.txt"]
    with pytest.raises(PresetNotFoundError, match=r"none of its files matches 'config\.json'"):
        vertebra.files(preset, "config.json")


# === Formats that fail ===

CONFIG = {"model_type": "gpt2", "n_embd": 8, "n_layer": 0, "n_head": 2, "vocab_size": 4, "n_positions": 4}
TENSOR = FileTensor("x", "float32", (2, 3), 8, 24)


class Toy(FileFormat):
    """A format of eight bytes, and a tensor of six numbers."""

    name, suffix = "toy", ".toy"
    files, tensors, values = {"config.json": json.dumps(CONFIG).encode()}, {"x": TENSOR}, None

    def header_end(self, first):
        return 8

    def header(self, path, data):
        return FileHeader(self.files, self.tensors)

    def decode(self, tensor, data):
        return self.values(data)


@pytest.fixture
def format(configure, tmp_path):
    """A format that can be changed, and a file in it."""
    kind = type("Toy", (Toy,), {})
    module = types.ModuleType("toy_format")
    module.vertebra_formats = vertebra.hookimpl(lambda: [kind()], specname="vertebra_formats")
    vertebra.add_plugin(module, "toy-format")
    (tmp_path / "model.toy").write_bytes(bytes(8) + struct.pack("<6f", *range(6)))
    return kind


def failed():
    raise OSError("no")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"header": lambda *_: 1 / 0}, "header of its format toy failed"),
        ({"header": lambda *_: failed()}, "header of its format toy failed"),
        ({"header": lambda *_: None}, "header of its format toy returned None"),
        ({"header_end": lambda *_: 1 / 0}, None),  # it is for remote files
        ({"tensors": {"y": TENSOR}}, "format toy describes 'y'"),
        ({"tensors": {"x": FileTensor("x", "float32", (2, 3), 8, 25)}}, "format toy describes 'x'"),
        ({"tensors": {"x": FileTensor("x", "float32", (2, 3), 9, 24)}}, "format toy describes 'x'"),
        ({"tensors": {"x": FileTensor("x", "float32", (2, 3), -1, 24)}}, "format toy describes 'x'"),
        ({"tensors": {"x": FileTensor("x", "float32", (2, -3), 8, 24)}}, "format toy describes 'x'"),
        ({"tensors": {"x": FileTensor("x", "float99", (2, 3), 8, 24)}}, "format toy describes 'x'"),
        ({"tensors": {"x": FileTensor("x", "float32", (2, 3), 8, 2**62, "e")}}, "format toy describes 'x'"),
        ({"files": {"../config.json": b"{}"}}, "unpacks files of unsafe names"),
        ({"files": {"a/config.json": b"{}"}}, "unpacks files of unsafe names"),
    ],
)
def test_what_a_format_says_is_checked(format, changed, words, tmp_path):
    for name, value in changed.items():
        setattr(format, name, value)
    if words is None:
        assert "config.json" in open_folder(tmp_path / "model.toy").names
        return
    with pytest.raises(PluginError, match=words):
        open_folder(tmp_path / "model.toy")


def test_values_of_another_shape_are_refused(format, tmp_path):
    import numpy as np

    format.tensors = {"x": FileTensor("x", "float32", (2, 3), 8, 24, "e")}
    mapped = open_folder(tmp_path / "model.toy").single_file.map([tmp_path / "model.toy"])[0]
    for wrong in (np.zeros((3, 2), "float32"), np.zeros((2, 3), "float64"), [0.0] * 6):
        format.values = staticmethod(lambda data, wrong=wrong: wrong)
        with pytest.raises(PluginError, match="decode of its format toy returned other values"):
            mapped.view("x")
    format.values = staticmethod(lambda data: np.frombuffer(data, "float32").reshape(2, 3))
    found = mapped.view("x")
    assert found.flags.writeable
    assert found.base is None  # it does not hold the file
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_file_without_a_config_is_refused(format, tmp_path):
    format.files = {}
    with pytest.raises(PresetNotFoundError, match=r"config\.json"):
        inspect_preset(str(tmp_path / "model.toy"))


def test_an_empty_file_is_refused(format, tmp_path):
    (tmp_path / "model.toy").write_bytes(b"")
    with pytest.raises(WeightsFileError, match="it is empty"):
        open_folder(tmp_path / "model.toy")


def test_a_config_that_no_architecture_reads_is_refused(format, tmp_path):
    format.files = {"config.json": b'{"model_type": "unknown"}'}
    with pytest.raises(PresetConfigError, match="model_type 'unknown' is read by no installed backbone"):
        inspect_preset(str(tmp_path / "model.toy"))


@pytest.mark.parametrize("suffix", [None, "toy", ".T", "."])
def test_a_format_without_a_suffix_is_not_used(configure, suffix):
    module = types.ModuleType("odd_format")
    kind = type("Odd", (Toy,), {"name": "odd", "suffix": suffix})
    module.vertebra_formats = vertebra.hookimpl(lambda: [kind()], specname="vertebra_formats")
    with pytest.raises(PluginError, match="whose suffix is"):
        vertebra.add_plugin(module, "odd")


def test_a_format_that_is_not_installed_is_named(tmp_path, monkeypatch):
    from vertebra._formats import other_weights
    from vertebra._resolve import unpacked

    (tmp_path / "model.gguf").write_bytes(gguf_bytes.gpt2())
    monkeypatch.setattr(unpacked, "file_formats", list)
    monkeypatch.setattr(other_weights, "install_command", lambda name: f"pip install 'vertebra[{name}]'")
    for preset in (tmp_path, tmp_path / "model.gguf"):
        with pytest.raises(
            PresetNotFoundError, match=r"plugin that reads such files with: pip install 'vertebra\[gguf\]'"
        ):
            inspect_preset(str(preset))
