"""A file is a preset: its config, tensors and tokenizer are read together, and what does not fit is refused."""

import json

import pytest

import gguf_bytes
import vertebra
from gguf_bytes import GPT2, gguf, tensor
from vertebra.errors import PresetConfigError, PresetFormatError, PresetNotFoundError, WeightsFileError
from vertebra_gguf.preset import read_preset


def read(data):
    return read_preset("model.gguf", memoryview(data))


def test_the_header_is_a_preset_of_transformers():
    header = read(gguf_bytes.gpt2())
    assert sorted(header.files) == ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
    assert json.loads(header.files["config.json"])["model_type"] == "gpt2"
    kernel = header.tensors["transformer.h.0.mlp.c_fc.weight"]
    assert (kernel.shape, kernel.dtype) == ((8, 32), "float32")
    assert header.tensors["transformer.wte.weight"].encoding is None
    assert header.notes == ()


def test_tensors_of_another_variant_are_refused():
    data = gguf(
        GPT2, [tensor("token_embd.weight", (4, 8)), tensor("blk.0.attn_sinks.weight", (8,), 0, 128)], bytes(160)
    )
    with pytest.raises(WeightsFileError, match=r"tensors that gpt2 does not have here: blk\.0\.attn_sinks\.weight"):
        read(data)


def test_a_part_of_a_model_is_refused():
    with pytest.raises(WeightsFileError, match=r"part 2 of 3 of a model.*llama-gguf-split --merge"):
        read(gguf_bytes.gpt2(split__no=1, split__count=3))


@pytest.mark.parametrize("kind", ["adapter", "mmproj", "vocab"])
def test_a_file_that_is_no_model_is_refused(kind):
    with pytest.raises(PresetConfigError, match=f"general.type is '{kind}', and only models are read"):
        read(gguf_bytes.gpt2(general__type=kind))


def test_a_model_of_another_architecture_is_refused(tmp_path):
    (tmp_path / "model.gguf").write_bytes(gguf_bytes.gpt2(general__architecture="rwkv"))
    with pytest.raises(PresetConfigError, match=r"the GGUF header: general.architecture is 'rwkv'"):
        vertebra.open_files(tmp_path / "model.gguf")


def test_a_name_with_capitals_is_recognised(tmp_path):
    (tmp_path / "MODEL.GGUF").write_bytes(gguf_bytes.gpt2())
    assert "config.json" in vertebra.open_files(tmp_path / "MODEL.GGUF").names


def test_presets_are_not_written_in_the_format(tmp_path):
    from vertebra._presets.replace_folder import check_request

    with pytest.raises(PresetFormatError, match=r"not written in the gguf format, only read\. .* native"):
        check_request(tmp_path / "new", "gguf", None)


def test_several_files_are_listed(tmp_path):
    from vertebra._formats.registry import read_description

    for kind in ("Q4_K_M", "Q8_0"):
        (tmp_path / f"model-{kind}.gguf").write_bytes(gguf_bytes.gpt2())
    with pytest.raises(PresetNotFoundError, match=r"2 files of which each is a whole preset.*model-Q4_K_M\.gguf"):
        read_description(vertebra.open_files(tmp_path))
    assert read_description(vertebra.open_files(tmp_path / "model-Q8_0.gguf")).backbone == "GPT2Backbone"
