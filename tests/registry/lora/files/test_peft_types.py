"""PEFT's methods other than LoRA: their configs, what PEFT cannot represent, and the plugin that is missing."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra._lora.files.peft_config import read_config
from vertebra.cli import main
from vertebra.errors import AdapterMismatchError, LoraConfigError

pytestmark = pytest.mark.keras

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
OTHERS = [
    "ADALORA", "ADAPTION_PROMPT", "BOFT", "C3A", "CPT", "DELORA", "FOURIERFT", "GRALORA", "HIRA", "HRA", "LN_TUNING",
    "MISS", "MULTITASK_PROMPT_TUNING", "OSF", "POLY", "PREFIX_TUNING", "PROMPT_TUNING", "PSOFT", "PVERA", "P_TUNING",
    "RANDLORA", "ROAD", "SHIRA", "TINYLORA", "UNILORA", "VBLORA", "VERA", "WAVEFT", "XLORA",
]  # fmt: skip
"""Methods of PEFT 0.21.2 that no strategy computes."""


@pytest.fixture
def written(backbone, fill, tmp_path):
    """Enables an adapter with random values, and saves it as a PEFT folder."""

    def write(targets, **settings):
        backbone.enable_lora(2, targets, **settings)
        fill(backbone)
        backbone.save_lora_weights(tmp_path / "adapter")
        return tmp_path / "adapter"

    return write


def fields_of(folder):
    return json.loads((folder / CONFIG).read_text())


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("method", OTHERS)
def test_other_methods_are_refused_by_name(method, golden, tmp_path):
    shutil.copytree(golden / "peft_lora", tmp_path / "adapter")
    (tmp_path / "adapter" / CONFIG).write_text(json.dumps({"peft_type": method, "r": 4}))
    with pytest.raises(LoraConfigError) as caught:
        read_config("adapter", tmp_path / "adapter" / CONFIG)
    assert caught.value.field == "peft_type"
    assert f"{method} is not computed here" in caught.value.expected
    assert "LORA, IA3, LOHA, LOKR, OFT, TRAINABLE_TOKENS" in caught.value.expected


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"peft_type": "IA3", "feedforward_modules": ["x"]}, "peft_type"),
        ({"peft_type": "LORA", "trainable_token_indices": [1]}, "trainable_token_indices"),
    ],
)
def test_without_the_plugin_the_remedy_names_it(fields, field, golden, tmp_path, monkeypatch, reload_plugins):
    monkeypatch.setenv("VERTEBRA_BLOCK", "lora-variants")
    reload_plugins()
    shutil.copytree(golden / "peft_lora", tmp_path / "adapter")
    (tmp_path / "adapter" / CONFIG).write_text(json.dumps(fields))
    with pytest.raises(LoraConfigError, match="such as vertebra-lora-variants") as caught:
        read_config("adapter", tmp_path / "adapter" / CONFIG)
    assert caught.value.field == field


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"r": 0}, "rank"),
        ({"alpha": -1}, "alpha"),
        ({"rank_dropout": "0.5"}, "rank_dropout"),
        ({"use_future": True}, "use_future"),
        ({"rank_pattern": {"(?!x).*": 2}}, "rank_pattern"),
        ({"lora_alpha": 4}, "lora_alpha"),
    ],
    ids=str,
)
def test_a_field_out_of_range_or_unknown_is_refused(changes, field, written, backbone):
    folder = written(["query"], strategy="loha")
    backbone.unload_lora()
    (folder / CONFIG).write_text(json.dumps(fields_of(folder) | changes))
    with pytest.raises(LoraConfigError) as caught:
        backbone.load_lora_weights(folder)
    assert caught.value.field == field
    assert backbone.lora_adapters == {}


@pytest.mark.keras(once=True)
def test_tensors_of_another_method_are_named(written, backbone):
    folder = written(["query"], strategy="loha")
    backbone.unload_lora()
    (folder / CONFIG).write_text(json.dumps(fields_of(folder) | {"peft_type": "LOKR"}))
    with pytest.raises(AdapterMismatchError, match="hada_w1_a"):
        backbone.load_lora_weights(folder)


def test_ranks_and_alphas_by_module_come_back(written, backbone, golden, run):
    settings = {"rank_pattern": {"value": 3}, "alpha_pattern": {"value": 5.5}}
    folder = written(["query", "value"], strategy="lokr", decompose_factor=4, alpha=6, **settings)
    fields = fields_of(folder)
    assert (fields["peft_type"], fields["r"], fields["alpha"], fields["decompose_factor"]) == ("LOKR", 2, 6, 4)
    assert fields["rank_pattern"]["^encoder.layer.1.attention.self.value"] == 3
    assert fields["alpha_pattern"]["^encoder.layer.1.attention.self.value"] == 5.5
    again = vertebra.Backbone.from_preset(golden / "transformers")
    assert again.load_lora_weights(folder).config.options == {"decompose_factor": 4}
    np.testing.assert_allclose(run(again)["pooled_output"], run(backbone)["pooled_output"], atol=1e-5)


@pytest.mark.parametrize("targets", [["query", "value"], ["key"], ["query", "key", "value"]], ids=str)
def test_layers_that_peft_has_as_one_module_are_fused(targets, reference, fill, tmp_path):
    gpt2 = reference("gpt2")
    first, second = gpt2.load(), gpt2.load()
    first.enable_lora(target_names=targets, strategy="ia3")
    fill(first)
    first.save_lora_weights(tmp_path / "adapter")
    second.load_lora_weights(tmp_path / "adapter")
    np.testing.assert_allclose(gpt2.outputs(second), gpt2.outputs(first), atol=1e-6)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"strategy": "ia3", "feedforward": True}, "the same adapter for all layers of the module"),
        ({"strategy": "ia3", "feedforward": {"query": True}}, "the same adapter for all layers of the module"),
        ({"strategy": "lokr"}, "layers of the kinds linear"),
        ({"strategy": "oft"}, "layers of the kinds linear, embedding"),
    ],
    ids=str,
)
def test_what_peft_cannot_hold_is_refused_and_nothing_is_written(settings, told, reference, fill, tmp_path):
    backbone = reference("gpt2").load()
    backbone.enable_lora(2, ["query", "value"], **settings)
    fill(backbone)
    with pytest.raises(LoraConfigError, match=told):
        backbone.save_lora_weights(tmp_path / "adapter")
    assert not list(tmp_path.iterdir())


def test_loha_of_a_reversed_kernel_is_written_as_plain_lora(reference, fill, tmp_path):
    gpt2 = reference("gpt2")
    first, second = gpt2.load(), gpt2.load()
    first.enable_lora(2, ["mlp.up"], strategy="loha", alpha=3)
    fill(first)
    first.save_lora_weights(tmp_path / "adapter")
    assert (fields_of(tmp_path / "adapter")["peft_type"], fields_of(tmp_path / "adapter")["r"]) == ("LORA", 4)
    second.load_lora_weights(tmp_path / "adapter")
    np.testing.assert_allclose(gpt2.outputs(second), gpt2.outputs(first), atol=1e-5)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("settings", "ranks", "alphas"),
    [({"strategy": "ia3"}, [], []), ({"strategy": "loha", "alpha": 3}, [2], [3]), ({"strategy": "oft"}, [2], [])],
    ids=str,
)
def test_a_description_has_the_settings_that_the_strategy_has(settings, ranks, alphas, written, capsys):
    folder = written(["query", "value"], **settings)
    assert main(["lora", "info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["strategy"], facts["ranks"], facts["alphas"]) == (settings["strategy"], ranks, alphas)
    assert len(facts["layers"]) == 4


# === Rows of a table within a LoRA adapter ===


@pytest.fixture
def with_rows(golden, tmp_path):
    """PEFT's LoRA folder, with two rows of the table of tokens as `trainable_token_indices` stores them."""

    def make(indices, shape=(2, 16), module="embeddings.word_embeddings"):
        folder = tmp_path / "adapter"
        shutil.copytree(golden / "peft_lora", folder)
        (folder / CONFIG).write_text(json.dumps(fields_of(folder) | {"trainable_token_indices": indices}))
        rows = np.random.default_rng(0).normal(size=shape).astype("float32")
        name = f"base_model.model.{module}.token_adapter.trainable_tokens_delta"
        save_file(load_file(folder / TENSORS) | {name: rows}, folder / TENSORS)
        return folder, rows

    return make


@pytest.mark.parametrize("indices", [[84, 5], {"word_embeddings": [84, 5]}], ids=str)
def test_rows_are_a_layer_of_another_strategy(indices, with_rows, backbone, golden, run, tmp_path):
    folder, rows = with_rows(indices)
    receipt = backbone.load_lora_weights(folder)
    assert "token_embedding" in receipt.layers
    adapted = run(backbone)["sequence_output"]
    for target in ("again", "again.safetensors"):
        backbone.save_lora_weights(tmp_path / target)
        other = vertebra.Backbone.from_preset(golden / "transformers")
        other.load_lora_weights(tmp_path / target)
        np.testing.assert_allclose(run(other)["sequence_output"], adapted, atol=1e-6)
    backbone.merge_lora()
    np.testing.assert_allclose(run(backbone)["sequence_output"], adapted, atol=1e-5)
    np.testing.assert_allclose(backbone.token_embedding.embeddings.numpy()[[84, 5]], rows, atol=1e-6)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("indices", "arguments", "error", "told"),
    [
        ([84, 500], {}, LoraConfigError, "token_indices"),
        ([84], {}, AdapterMismatchError, "another shape"),
        ({"other": [84, 5]}, {}, LoraConfigError, "rows of each table"),
        ([84, 5], {"module": "embeddings.unknown"}, AdapterMismatchError, "no layer"),
    ],
    ids=str,
)
def test_rows_that_do_not_fit_are_refused(indices, arguments, error, told, with_rows, backbone):
    with pytest.raises(error, match=told):
        backbone.load_lora_weights(with_rows(indices, **arguments)[0])
    assert backbone.lora_adapters == {}
