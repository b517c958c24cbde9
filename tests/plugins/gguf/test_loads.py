"""GGUF files load with the outputs of the same weights in transformers' format."""

import json
import shutil

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

import gguf_bytes
import vertebra
from vertebra.cli import main
from vertebra.errors import PresetFormatError
from vertebra.testing.backbones.comparing import computed, largest_difference
from vertebra.testing.backbones.inputs import disturb
from vertebra_text import Tokenizer

pytestmark = pytest.mark.keras

SIZES = {
    "Gemma": {
        "vocabulary_size": 64,
        "num_layers": 2,
        "num_query_heads": 4,
        "num_key_value_heads": 2,
        "hidden_dim": 256,
        "intermediate_dim": 1024,
        "head_dim": 64,
    },
    "GPT2": {
        "vocabulary_size": 64,
        "num_layers": 2,
        "num_heads": 4,
        "hidden_dim": 256,
        "intermediate_dim": 512,
        "max_sequence_length": 32,
    },
}
"""Sizes of which all types have whole blocks."""
GEMMA2 = SIZES["Gemma"] | {
    "use_post_ffw_norm": True,
    "use_post_attention_norm": True,
    "attention_logit_soft_cap": 50.0,
    "final_logit_soft_cap": 30.0,
    "use_sliding_window_attention": True,
    "sliding_window_size": 3,
}
LLAMA = {
    "vocabulary_size": 64,
    "num_layers": 4,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "hidden_dim": 64,
    "intermediate_dim": 96,
}
DECODERS = {
    "Llama": {"tie_word_embeddings": False},
    "Mistral": {"sliding_window": 3, "tie_word_embeddings": False},
    "Qwen2": {"tie_word_embeddings": True, "rope_max_wavelength": 1e6},
    "Qwen3": {"head_dim": 24, "tie_word_embeddings": True},
    "SmolLM3": {"tie_word_embeddings": True, "rope_layer_enabled_list": [True, True, True, False]},
    "Phi3": {"tie_word_embeddings": False},
}
TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K")


def mixed(name):
    """Returns types as in a file of the mix Q4_K_M."""
    return "Q6_K" if "ffn_down" in name or name.startswith("token_embd") else "Q4_K"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of presets of transformers, by the name of the architecture."""
    folder = tmp_path_factory.mktemp("saved")
    for name, sizes in {**SIZES, "Gemma2": GEMMA2}.items():
        backbone = getattr(vertebra.models, f"{name.removesuffix('2') if name != 'GPT2' else name}Backbone")(**sizes)
        disturb(backbone.weights)
        backbone.save_to_preset(folder / name, format="transformers", certificate=False)
    return folder


def outputs(preset, **options):
    backbone = vertebra.Backbone.from_preset(preset, dtype="float32", **options)
    return computed(backbone, backbone.sample_inputs())


def as_checkpoint(source, decoded, target):
    """Writes the values that a reader gets of a GGUF file as a checkpoint of transformers."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors"))
    arrays = {name: np.ascontiguousarray(array, "float32") for name, array in decoded.items()}
    save_file(arrays, target / "model.safetensors", {"format": "pt"})
    return target


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", SIZES)
def test_outputs_are_those_of_the_checkpoint_with_the_same_weights(files, saved, name, kind, tmp_path):
    decoded = files.write(saved / name, tmp_path / "model.gguf", lambda _: kind)
    expected = outputs(as_checkpoint(saved / name, decoded, tmp_path / "checkpoint"))
    found = outputs(tmp_path / "model.gguf")
    assert largest_difference(found, expected) <= 1e-6
    if kind == "F32":
        assert largest_difference(found, outputs(saved / name)) <= 1e-5
    elif kind == "Q8_0":
        assert 1e-6 < largest_difference(found, outputs(saved / name)) < 0.5


def test_a_mix_of_types_loads(files, saved, tmp_path):
    decoded = files.write(saved / "Gemma", tmp_path / "model.gguf", mixed)
    expected = outputs(as_checkpoint(saved / "Gemma", decoded, tmp_path / "checkpoint"))
    assert largest_difference(outputs(tmp_path / "model.gguf"), expected) <= 1e-6


def test_gemma_2_loads(files, saved, tmp_path):
    files.write(saved / "Gemma2", tmp_path / "model.gguf", head_count_kv=2)
    assert largest_difference(outputs(tmp_path / "model.gguf"), outputs(saved / "Gemma2")) <= 1e-5


def test_gemma_3_loads(files, tmp_path):
    kind = getattr(vertebra.models, "Gemma3Backbone", None)
    if kind is None:
        pytest.skip("no installed plugin has Gemma 3")
    norms = {"use_query_key_norm": True, "use_post_ffw_norm": True, "use_post_attention_norm": True}
    window = {"use_sliding_window_attention": True, "sliding_window_size": 4}
    backbone = kind(**SIZES["Gemma"] | {"num_layers": 7, "intermediate_dim": 96}, **norms, **window)
    disturb(backbone.weights)
    backbone.save_to_preset(tmp_path / "saved", format="transformers", certificate=False)
    files.write(tmp_path / "saved", tmp_path / "model.gguf", rope_freq_base=1e6)
    assert largest_difference(outputs(tmp_path / "model.gguf"), outputs(tmp_path / "saved")) <= 1e-5


@pytest.mark.parametrize("name", DECODERS)
def test_llama_and_its_kin_load(files, name, tmp_path):
    kind = getattr(vertebra.models, f"{name}Backbone")
    backbone = kind(**LLAMA, **DECODERS[name])
    disturb(backbone.weights)
    backbone.save_to_preset(tmp_path / "saved", format="transformers", certificate=False)
    files.write(tmp_path / "saved", tmp_path / "model.gguf")
    again = vertebra.Backbone.from_preset(tmp_path / "model.gguf")
    assert type(again).__name__ == f"{name}Backbone"
    configs = [one.constructor_config() | {"name": None} for one in (again, backbone)]
    assert configs[0] == configs[1]
    sample = backbone.sample_inputs()
    assert largest_difference(computed(again, sample), computed(backbone, sample)) <= 1e-5
    states = np.ones((1, 2, 64), "float32")
    logits = (keras.ops.convert_to_numpy(one.token_embedding(states, reverse=True)) for one in (backbone, again))
    assert np.abs(np.subtract(*logits)).max() <= 1e-5


def test_the_scaling_of_llama_3_is_found_from_its_factors(files, tmp_path):
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling["original_max_position_embeddings"] = 8192
    backbone = vertebra.models.LlamaBackbone(**LLAMA, rope_max_wavelength=5e5, rope_scaling=scaling)
    backbone.save_to_preset(tmp_path / "saved", format="transformers", certificate=False)
    frequencies = 1 / 5e5 ** (np.arange(0, 16, 2) / 16)
    share = np.clip((8192 * frequencies / (2 * np.pi) - 1) / 3, 0, 1)
    factors = 1 / ((1 - share) / 8 + share)
    files.write(tmp_path / "saved", tmp_path / "model.gguf", tensors={"rope_freqs.weight": factors.astype("float32")})
    again = vertebra.Backbone.from_preset(tmp_path / "model.gguf")
    assert again.constructor_config()["rope_scaling"] == scaling


def test_parts_of_an_encoded_tensor_share_its_values(files, saved, tmp_path):
    files.write(saved / "GPT2", tmp_path / "model.gguf", lambda _: "Q8_0")
    from vertebra._resolve.open import open_folder

    mapped = open_folder(tmp_path / "model.gguf").single_file.map([tmp_path / "model.gguf"])[0]
    first = mapped.view("transformer.h.0.attn.c_attn.weight")
    assert mapped.view("transformer.h.0.attn.c_attn.weight") is first
    del first
    assert not list(mapped._decoded)  # nothing keeps values that no weight has


def test_tensors_that_need_no_decoding_are_views_of_the_file(files, saved, tmp_path):
    files.write(saved / "GPT2", tmp_path / "model.gguf")
    from vertebra._resolve.open import open_folder

    mapped = open_folder(tmp_path / "model.gguf").single_file.map([tmp_path / "model.gguf"])[0]
    names = {name for name, entry in mapped.header.entries.items() if not entry.is_encoded}
    assert {"transformer.wte.weight", "transformer.ln_f.weight"} <= names
    table = mapped.view("transformer.wte.weight")
    assert np.shares_memory(table, mapped.view("transformer.wte.weight"))


def test_a_copy_does_not_depend_on_the_file(files, saved, tmp_path):
    files.write(saved / "Gemma", tmp_path / "model.gguf", lambda _: "Q8_0")
    backbone = vertebra.Backbone.from_preset(tmp_path / "model.gguf", copy=True, dtype="float32")
    expected = computed(backbone, backbone.sample_inputs())
    content = bytearray((tmp_path / "model.gguf").read_bytes())
    content[-100_000:] = bytes(100_000)
    with (tmp_path / "model.gguf").open("r+b") as stream:  # in the same file
        stream.write(content)
    assert largest_difference(computed(backbone, backbone.sample_inputs()), expected) == 0


def test_a_converted_file_keeps_its_outputs(files, saved, tmp_path):
    from vertebra._presets.convert import convert_preset

    files.write(saved / "Gemma", tmp_path / "model.gguf", lambda _: "Q4_0")
    convert_preset(tmp_path / "model.gguf", tmp_path / "converted", "transformers")
    assert largest_difference(outputs(tmp_path / "converted"), outputs(tmp_path / "model.gguf")) <= 1e-6
    config = json.loads((tmp_path / "converted/config.json").read_text())
    assert config["model_type"] == "gemma"


@pytest.mark.keras(once=True)
def test_a_push_uploads_the_one_file(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.gguf").write_bytes(gguf_bytes.gpt2())
    assert main(["push", str(tmp_path / "model"), str(tmp_path / "pushed")]) == 0
    assert sorted(path.name for path in (tmp_path / "pushed").iterdir()) == ["README.md", "model.gguf"]


@pytest.mark.keras(once=True)
def test_a_save_copies_the_tokenizer_and_not_the_file(tmp_path):
    (tmp_path / "model.gguf").write_bytes(gguf_bytes.gpt2())
    backbone = vertebra.Backbone.from_preset(tmp_path / "model.gguf")
    backbone.save_to_preset(tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"} <= names
    assert "model.gguf" not in names
    assert Tokenizer.from_preset(tmp_path / "saved").tokenize("abb") == [2, 1]
    with pytest.raises(PresetFormatError, match="presets are not written in the gguf format, only read"):
        backbone.save_to_preset(tmp_path / "again", format="gguf")


@pytest.mark.keras(once=True)
def test_a_file_can_be_trained_with_an_adapter(files, saved, tmp_path):
    files.write(saved / "Gemma", tmp_path / "model.gguf", lambda _: "Q8_0")
    backbone = vertebra.Backbone.from_preset(tmp_path / "model.gguf")
    backbone.enable_lora(2)
    disturb(backbone.trainable_weights)
    expected = computed(backbone, backbone.sample_inputs())
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    again = vertebra.Backbone.from_preset(tmp_path / "model.gguf")
    again.load_lora_weights(tmp_path / "adapter.safetensors")
    assert largest_difference(computed(again, again.sample_inputs()), expected) <= 1e-6


@pytest.mark.keras(once=True)
def test_a_file_answers_as_the_preset_that_is_converted_from_it(tmp_path):
    pytest.importorskip("vertebra_generation")
    from vertebra._presets.convert import convert_preset

    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    (tmp_path / "model.gguf").write_bytes(gguf_bytes.gpt2(**{"tokenizer.chat_template": template}))
    convert_preset(tmp_path / "model.gguf", tmp_path / "converted", "transformers")
    presets = (tmp_path / "model.gguf", tmp_path / "converted")
    answers = [vertebra.models.CausalLM.from_preset(one).generate(["ab", "ba"], max_new_tokens=5) for one in presets]
    assert answers[0] == answers[1]
    assert all(answers[0])
