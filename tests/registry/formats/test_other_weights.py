"""Weights under other names than those that a load reads: the error names them, and convert reads some of them."""

from pathlib import Path

import pytest

from vertebra._formats.description import PresetDescription
from vertebra._formats.other_weights import choose_weights, no_weights, weights_to_convert
from vertebra._resolve.open import open_folder
from vertebra._weights.hdf5.file_kind import HDF5
from vertebra._weights.safetensors.file_kind import INDEX, SAFETENSORS, WEIGHTS
from vertebra.errors import WeightsFileError

SHARDS = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
BINS = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]


@pytest.fixture
def folder(tmp_path):
    """Returns a function that opens a preset with a config and files of these names."""

    def make(*names):
        for name in ("config.json", "tokenizer.json", *names):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return open_folder(tmp_path)

    return make


def problem(folder, kind=SAFETENSORS):
    return str(no_weights(folder, kind))


OTHERS = {
    "tf_model.h5": "from_tf=True",
    "flax_model.msgpack": "from_flax=True",
    "bert_model.ckpt.index": "from_tf=True",
    "model-q4.ggml": "gguf_file",
    "onnx/model.onnx": "exported",
    "openvino_model.xml": "exported",
    "adapter_model.safetensors": "load_lora_weights",
    "adapter_model.bin": "load_lora_weights",
    "consolidated.00.pth": "transformers' layout",
    "consolidated.safetensors": "transformers' layout",
    "optimizer.pt": "save_pretrained",
    "model.weights.h5": "Keras",
}


@pytest.mark.parametrize(("name", "remedy"), OTHERS.items())
def test_the_error_names_the_files_that_are_there_and_a_remedy(folder, name, remedy):
    text = problem(folder(name))
    assert name in text
    assert remedy in text
    assert "tokenizer" not in text
    assert "vertebra convert" not in text


CONVERTIBLE = {
    "pickle": ["pytorch_model.bin"],
    "pickles with an index": ["pytorch_model.bin.index.json", *BINS],
    "pickles": BINS,
    "fp16": ["model.fp16.safetensors"],
    "fp16 with an index": ["model.fp16-00001-of-00001.safetensors", "model.safetensors.index.fp16.json"],
    "fp16 pickles with an index": ["pytorch_model.fp16-00001-of-00001.bin", "pytorch_model.bin.index.fp16.json"],
    "shards and those of a variant": [*SHARDS, "model.fp16-00001-of-00001.safetensors"],
    "fp16 pickle": ["pytorch_model.fp16.bin"],
    "shards": SHARDS,
    "other name": ["bert.safetensors"],
    "trainer": ["last.ckpt", "optimizer.pt", "rng_state_0.pth", "training_args.bin"],
    "pickle and others": ["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "optimizer.pt"],
    "pickle and variant": ["pytorch_model.bin", "model.fp16.safetensors"],
    "shards and pickle": [*SHARDS, "pytorch_model.bin"],
}


@pytest.mark.parametrize("names", CONVERTIBLE.values(), ids=CONVERTIBLE)
def test_files_that_convert_reads_are_named_with_the_command(folder, names):
    opened = folder(*names)
    kind, note = choose_weights(opened)
    assert kind.used(opened.names) <= set(names)
    assert names[0] in note
    assert f"vertebra convert {opened.requested}" in problem(opened)
    assert names[0] in problem(opened)


def test_shards_without_an_index_are_all_read():
    assert [kind.shards for kind in weights_to_convert({*SHARDS, "config.json"})] == [tuple(SHARDS)]
    (kind,) = weights_to_convert(set(BINS))
    assert kind.find(set(BINS), Path).shards == dict.fromkeys(BINS)


def test_missing_shards_are_named(folder):
    text = problem(folder(*SHARDS[:2]))
    assert f"without {SHARDS[2]}" in text
    assert "vertebra convert" not in text


def test_a_huge_number_of_shards_is_not_listed(folder):
    assert "model-00002-of-99999" in problem(folder("model-00001-of-99999.safetensors"))


@pytest.mark.parametrize("names", [["model.fp16.safetensors", "model.bf16.safetensors"], ["a.ckpt", "b.ckpt"]])
def test_several_candidates_are_named_and_refused(folder, names):
    opened = folder(*names)
    with pytest.raises(WeightsFileError) as caught:
        choose_weights(opened)
    assert all(name in str(caught.value) for name in names)
    assert all(name in problem(opened) for name in names)


def test_folders_with_weights_are_named(folder):
    opened = folder("checkpoint-500/config.json", f"checkpoint-500/{WEIGHTS}", "trainer_state.json")
    assert "checkpoint-500" in problem(opened)
    assert choose_weights(opened) is None


def test_a_preset_of_keras_may_lack_its_weights(folder):
    assert "task.weights.h5" in problem(folder("task.weights.h5"), HDF5)


def test_an_empty_preset_has_nothing_to_be_named(folder):
    assert "Save the preset again" in problem(folder())


@pytest.mark.parametrize("name", [WEIGHTS, INDEX])
def test_weights_under_their_own_names_are_enough(folder, name):
    PresetDescription("native", folder(name, "pytorch_model.bin"), "BertBackbone", {}).require_weights()
