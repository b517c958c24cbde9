"""`vertebra inspect`: what a preset holds, from headers alone."""

import json
import re
import shutil
import struct
import types

import pytest
import safetensors.numpy

import vertebra
from vertebra.cli import main
from vertebra.cli.inspect import inspect_preset


def test_counts_parameters_and_bytes_by_dtype(sample_preset):
    facts = inspect_preset(str(sample_preset))
    assert facts["parameters"] == 8 * 4 + 3 * (16 + 4) + 8
    assert facts["bytes_by_dtype"] == {"float32": 4 * (32 + 60), "float16": 16}
    assert facts["bytes"] == sum(tensor["bytes"] for tensor in facts["tensors"])
    assert facts["format"] == "native"
    assert facts["owner"] is None  # no installed plugin has this class, and that is no obstacle


def test_json_is_the_same(sample_preset, capsys):
    main(["inspect", str(sample_preset), "--json"])
    assert json.loads(capsys.readouterr().out) == inspect_preset(str(sample_preset))


def test_tree_draws_equal_layers_once(sample_preset, capsys):
    main(["inspect", str(sample_preset)])
    shown = capsys.readouterr().out
    assert "layer_{0…2} ×3  20 each" in shown
    assert shown.count("query") == 1
    assert "4 × 4  float32" in shown


def test_names_a_foreign_checkpoint_by_its_weights(request):
    folder = request.path.parents[2] / "golden" / "bert" / "transformers_head"
    facts = inspect_preset(str(folder))
    names = [tensor["name"] for tensor in facts["tensors"]]
    assert names[0] == "token_embedding/embeddings"
    assert "transformer_layer_1/self_attention/query/kernel" in names
    assert "(unused)/cls.predictions.bias" in names
    assert facts["owner"].startswith("vertebra-bert ")


def test_the_tree_counts_what_the_facts_count(request, capsys):
    folder = request.path.parents[2] / "golden" / "bert" / "transformers_head"
    parameters = inspect_preset(str(folder))["parameters"]
    assert main(["inspect", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"^parameters +{parameters:,}$", shown, re.MULTILINE)
    assert f"\nBertBackbone  {parameters:,}\n" in shown
    assert "\nnot used  " in shown
    assert "unused" not in shown


def test_says_how_an_untidy_checkpoint_is_read(request, tmp_path, capsys):
    golden = request.path.parents[2] / "golden" / "bert" / "transformers"
    shutil.copy(golden / "config.json", tmp_path)
    tensors = safetensors.numpy.load_file(golden / "model.safetensors")
    wrapped = {f"module.bert.{name}": array for name, array in tensors.items()}
    safetensors.numpy.save_file(wrapped, tmp_path / "model.safetensors")
    assert main(["inspect", str(tmp_path)]) == 0
    assert "note        its tensor names begin with 'module.bert.', which is left out" in capsys.readouterr().out


def test_names_the_weights_that_are_there_and_the_command(request, tmp_path, capsys):
    shutil.copy(request.path.parents[2] / "golden" / "bert" / "transformers" / "config.json", tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    assert main(["inspect", str(tmp_path)]) == 1
    assert f"run: vertebra convert {tmp_path} TARGET" in capsys.readouterr().err


@pytest.fixture
def source(toys, configure):
    """A remote source, next to the installed plugins."""
    source, module = toys.ToyRemote(), types.ModuleType("toy_plugin")
    module.vertebra_preset_sources = vertebra.hookimpl(lambda: [source], specname="vertebra_preset_sources")
    vertebra.add_plugin(module, "toys")
    return source


@pytest.fixture
def remote(request, source, monkeypatch):
    """A remote preset of KerasHub, with one weights file."""
    folder = request.path.parents[2] / "golden" / "bert" / "kerashub"
    source.add("kerashub", {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
    monkeypatch.setattr("vertebra._presets.inspect.MOST_BYTES", 1000)
    return "toy://kerashub"


def test_a_large_file_without_a_header_is_not_downloaded_unasked(remote, source, capsys):
    assert main(["inspect", remote]) == 0
    shown = capsys.readouterr().out
    assert "not downloaded: the tensors of such a file are not listed at its beginning; --download" in shown
    assert "parameters  unknown" in shown
    assert "num_layers=2" in shown
    assert source.reads() == ["config.json 0"]
    facts = inspect_preset(remote)
    assert facts["not_downloaded"].keys() == {"model.weights.h5"}
    assert (facts["backbone"], facts["files"], facts["parameters"], facts["bytes"]) == (
        "BertBackbone",
        ["model.weights.h5"],
        None,
        None,
    )
    complete = inspect_preset(remote, download=True)
    assert (complete["parameters"], complete["not_downloaded"]) == (6656, {})
    assert complete.keys() == facts.keys()
    assert inspect_preset(remote) == complete  # the file is in the cache now


def test_a_small_file_is_downloaded_and_a_header_alone_is_read(remote, source, monkeypatch, sample_preset):
    source.add("sample", {path.name: path.read_bytes() for path in sample_preset.iterdir()})
    assert inspect_preset("toy://sample")["not_downloaded"] == {}
    monkeypatch.setattr("vertebra._presets.inspect.MOST_BYTES", 10**6)
    assert inspect_preset(remote)["parameters"] == 6656


@pytest.mark.parametrize("gigabytes", [100])
def test_a_huge_preset_is_read_by_its_header(sample_preset, gigabytes):
    size = gigabytes * 10**9
    header = {"big/kernel": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    encoded = json.dumps(header).encode()
    with (sample_preset / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        file.truncate(8 + len(encoded) + size)  # sparse: takes no room on disk
    assert inspect_preset(str(sample_preset))["bytes"] == size


def test_a_tensor_that_holds_several_weights_is_counted_once(request):
    folder = request.path.parents[2] / "golden" / "gpt2" / "transformers"
    facts = inspect_preset(str(folder))
    assert facts["parameters"] == 8_464
    assert facts["bytes"] == 4 * 8_464
    shapes = {tensor["name"]: tensor["shape"] for tensor in facts["tensors"]}
    assert shapes["transformer_layer_0/self_attention/query/kernel"] == [16, 16]
