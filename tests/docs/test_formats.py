"""The page about formats describes the files that Vertebra writes: tables of fields are those of real files."""

import hashlib
import json
import re
import struct
from importlib import resources

import pytest

import vertebra
from pages import page
from vertebra._cache import layout
from vertebra._resolve import lockfile
from vertebra._weights.safetensors import format as safetensors
from vertebra.cli import main

pytestmark = pytest.mark.keras(once=True)

TEXT = page("reference/formats.md")


def section(heading):
    """Returns the text below a heading, up to the next heading of its level or above."""
    level = heading.partition(" ")[0]
    return re.split(rf"^#{{2,{len(level)}}} ", TEXT.partition(f"\n{heading}\n")[2], flags=re.MULTILINE)[0]


def first_column(text):
    """Returns the names in the first cells of the tables of a text."""
    return [name for cell in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for name in re.findall(r"`(.+?)`", cell)]


def header(path):
    """Returns the header of a safetensors file, and the offset of its data, read as the page says."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert data[8 : 8 + length].rstrip(b" ").endswith(b"}")
    return json.loads(data[8 : 8 + length]), 8 + length


@pytest.fixture(scope="module")
def folder(golden, tmp_path_factory):
    """A folder with a native preset, an adapter and a lockfile."""
    folder = tmp_path_factory.mktemp("formats")
    backbone = vertebra.Backbone.from_preset(golden / "transformers")
    backbone.save_to_preset(folder / "native")
    embedder = vertebra.models.TextEmbedder.from_preset("package://vertebra_bert/demo/preset")
    embedder.save_to_preset(folder / "task")
    backbone.enable_lora(2, seed=0)
    backbone.save_lora_weights(folder / "adapter.safetensors")
    assert main(["lock", str(folder / "native"), "--lockfile", str(folder / "vertebra.lock")]) == 0
    return folder


def test_a_native_preset_has_the_listed_files(folder):
    listed = first_column(section("## A native preset").partition("###")[0])
    assert {path.name for path in (folder / "native").iterdir()} <= {name.partition("/")[0] for name in listed}


def test_the_config_has_the_listed_fields(folder):
    config = json.loads((folder / "native" / "config.json").read_text())
    listed = first_column(section("### `config.json`"))
    assert listed == ["vertebra_format", "backbone", "backbone_version", "config"]
    assert config.keys() == set(listed) - {"backbone_version"}
    example = json.loads(re.search(r"```json\n(.+?)```", section("### `config.json`"), re.DOTALL)[1])
    assert example.keys() == config.keys()
    assert example["vertebra_format"] == config["vertebra_format"]


def test_the_metadata_has_the_listed_fields(folder):
    metadata = json.loads((folder / "native" / "metadata.json").read_text())
    assert sorted(first_column(section("### `metadata.json`"))) == sorted(metadata)


def test_weights_are_laid_out_as_the_page_says(folder):
    table, start = header(folder / "native" / "model.safetensors")
    assert table.pop("__metadata__") == {"format": "pt"}
    assert start % 64 == 0
    ends, position = [], 0
    for name, entry in table.items():
        assert re.fullmatch(r"[\w/]+", name)
        begin, end = entry["data_offsets"]
        assert begin == position
        position = end
        ends.append((end - begin) % 64 == 0)
    assert ends == sorted(ends, reverse=True)  # sizes that are a multiple of 64 come first
    text = section("### `model.safetensors`")
    assert "transformer_layer_0/self_attention/query/kernel" in text
    assert "transformer_layer_0/self_attention/query/kernel" in table


def test_the_limits_of_the_reader_are_those_of_the_page():
    text = section("### `model.safetensors`")
    assert f"more than {safetensors._MOST_HEADER_BYTES // 2**20} MiB" in text
    assert f"more than {safetensors._MOST_TENSORS:,} tensors" in text
    assert f"more than {safetensors._MOST_DIMENSIONS} axes" in text
    assert re.findall(r"`([A-Z]+\w*)`", text.partition("Dtypes:")[2]) == list(safetensors.DTYPES)


def test_a_certificate_has_the_listed_entries(folder):
    table, _ = header(folder / "native" / "certificate.safetensors")
    metadata = table.pop("__metadata__")
    text = section("### `certificate.safetensors`")
    assert {name.partition("/")[0] for name in table} == {"inputs", "outputs"}
    of_task, _ = header(folder / "task" / "certificate.safetensors")
    of_texts = of_task.pop("__metadata__")
    assert {f"{name.partition('/')[0]}/NAME" for name in of_task} == set(re.findall(r"tensor `(\w+/NAME)`", text))
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"metadata (.+?) \|", text)))) == of_texts.keys()
    assert metadata.keys() <= of_texts.keys()
    digest = hashlib.sha256((folder / "native" / "config.json").read_bytes()).hexdigest()
    assert metadata["config"] == digest


def test_an_adapter_has_the_listed_entries(folder):
    table, _ = header(folder / "adapter.safetensors")
    metadata = table.pop("__metadata__")
    text = section("## An adapter, short form")
    assert metadata.keys() == set(re.findall(r"metadata `([\w.]+)`", text))
    assert re.fullmatch(r"[0-9a-f]{64}", metadata["vertebra.base"])
    assert {"config", "layers"} <= json.loads(metadata["vertebra.adapter"]).keys()
    a, b = (table[f"transformer_layer_0/self_attention/query/lora/{name}"]["shape"] for name in "ab")
    assert (a[1], b[0]) == (2, 2)


def test_the_lockfile_has_the_listed_fields(folder):
    data = json.loads((folder / "vertebra.lock").read_text())
    listed = first_column(section("## The lockfile"))
    (entry,) = data["presets"].values()
    assert sorted([*data, *entry]) == sorted(listed)
    assert entry["handle"] is None
    assert all(facts.keys() == {"size", "sha256"} for facts in entry["files"].values())
    example = json.loads(re.search(r"```json\n(.+?)```", section("## The lockfile"), re.DOTALL)[1])
    assert example.keys() == data.keys()
    assert example["version"] == data["version"] == lockfile._VERSION
    assert f"\n| `version` | {lockfile._VERSION} |" in section("## The lockfile")


def test_the_paths_of_a_cache_are_those_of_the_page(tmp_path):
    handle = vertebra.PresetHandle.parse("hf://acme/bert@main")
    paths = [
        layout.blob_path(tmp_path, "ab" * 32),
        layout.preset_path(tmp_path, handle),
        layout.file_path(tmp_path, handle, "config.json"),
        layout.ref_path(tmp_path, handle),
    ]
    key = hashlib.sha256(str(handle).encode()).hexdigest()[:32]
    assert paths[3].stem == key
    forms = [path.relative_to(tmp_path).as_posix().replace("ab" * 32, "SHA256") for path in paths]
    forms = [re.sub(r"\b[0-9a-f]{32}\b", "KEY", form).replace("/ab/", "/AB/") for form in forms]
    text = section("## The cache, and a bundle")
    assert first_column(text) == forms
    for path, kind in (("presets/KEY/files/KEY.json", "record"), ("refs/KEY.json", "ref")):
        fields = json.loads((resources.files("vertebra.schemas") / f"cache-{kind}.json").read_text())["properties"]
        (contents,) = re.findall(rf"^\| `{path}` \| (.+) \|$", text, flags=re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", contents)) == fields.keys()
