"""Adapters of PEFT's methods other than LoRA compute the same here and in PEFT, in both directions."""

from pathlib import Path

import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras

GOLDEN = Path(__file__).parents[1] / "golden"
MLP = {"bert": "intermediate.dense", "gpt2": "mlp.c_proj", "gemma": "gate_proj"}
LINEAR = {"bert": ["query", "intermediate.dense"], "gemma": ["q_proj", "down_proj"]}
TABLE = {"bert": "word_embeddings", "gpt2": "wte", "gemma": "embed_tokens"}
FEEDFORWARD = {
    "bert": {"target_modules": ["key", "value", "output.dense"], "feedforward_modules": ["output.dense"]},
    "gpt2": {"target_modules": ["c_attn", "mlp.c_proj"], "feedforward_modules": ["mlp.c_proj"]},
    "gemma": {"target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
}
TOKENS = {"token_indices": [46, 28, 9]}


def of(method, settings, architectures=("bert", "gemma")):
    return [(method, name, settings) for name in architectures]


READ = [
    *(("IA3", name, settings) for name, settings in FEEDFORWARD.items()),
    ("IA3", "gpt2", {"target_modules": ["c_attn"], "feedforward_modules": ["c_attn"]}),
    ("IA3", "bert", {"target_modules": "all-linear", "feedforward_modules": r".*\.(query|dense)"}),
    ("IA3", "bert", FEEDFORWARD["bert"] | {"modules_to_save": ["pooler"]}),
    *of("LoHa", {"r": 2, "alpha": 6}),
    *of("LoHa", {"r": 4, "alpha": 3, "rank_dropout": 0.5, "module_dropout": 0.2, "target_modules": "all-linear"}),
    ("LoHa", "bert", {"r": 2, "rank_pattern": {"query": 3}, "alpha_pattern": {r".*layer\.1.*": 20}}),
    *of("LoKr", {"r": 2, "alpha": 6}),
    *of("LoKr", {"r": 1, "alpha": 3, "decompose_both": True, "target_modules": "all-linear"}),
    *of("LoKr", {"r": 32, "alpha": 64}),
    *of("LoKr", {"r": 1, "alpha": 2, "decompose_factor": 2, "rank_dropout": 0.5, "rank_dropout_scale": True}),
    ("LoKr", "bert", {"r": 1, "decompose_factor": 5, "init_weights": "lycoris", "rank_pattern": {"query": 3}}),
    *((("TrainableTokens"), name, TOKENS | {"target_modules": [table]}) for name, table in TABLE.items()),
    *of("OFT", {"oft_block_size": 4}),
    *of("OFT", {"oft_block_size": 8, "use_cayley_neumann": False, "target_modules": "all-linear"}),
    *of("OFT", {"r": 2, "oft_block_size": 0, "block_share": True}),
    *of("OFT", {"oft_block_size": 4, "coft": True, "eps": 0.2}),
    *of("OFT", {"oft_block_size": 4, "coft": True, "eps": 0.2, "block_share": True, "use_cayley_neumann": False}),
    *(("OFT", "bert", {"oft_block_size": 4, "num_cayley_neumann_terms": terms}) for terms in (1, 2, 3, 4, 6)),
    ("OFT", "bert", {"oft_block_size": 3, "module_dropout": 0.5}),
    ("OFT", "bert", {"oft_block_size": 4, "bias": "oft_only"}),
    ("OFT", "bert", {"oft_block_size": 4, "bias": "all"}),
    *(("OFT", name, {"oft_block_size": 4, "target_modules": [table]}) for name, table in TABLE.items()),
]
"""Method, architecture and settings of PEFT's configuration."""


@pytest.fixture
def made(ask, transformers_peer, tmp_path):
    """Lets PEFT save an adapter with random values; returns its folder, and PEFT's outputs and parameter counts."""

    def make(method, architecture, settings, **arguments):
        config = {"target_modules": LINEAR.get(architecture)} | settings
        folder = tmp_path / "theirs"
        config |= {"fan_in_fan_out": True} if method == "IA3" and architecture == "gpt2" else {}
        preset = GOLDEN / architecture / "transformers"
        given = {"adapter": str(folder), "config": config, "method": method, "spread": 0.3} | arguments
        return folder, ask(transformers_peer, "make_adapter", preset, architecture, **given)

    return make


@pytest.fixture
def load():
    """Loads an architecture's golden preset."""
    return lambda architecture: vertebra.Backbone.from_preset(GOLDEN / architecture / "transformers")


@pytest.mark.parametrize(("method", "architecture", "settings"), READ, ids=str)
def test_what_peft_saves_computes_the_same_and_goes_back(
    method, architecture, settings, made, load, compute, ask, agree, transformers_peer, tmp_path
):
    folder, there = made(method, architecture, settings)
    backbone = load(architecture)
    plain = compute(backbone, architecture)
    receipt = backbone.load_lora_weights(folder)
    assert receipt.unused == ()
    assert (receipt.parameters_added, receipt.parameters_trained) == (there["added"], there["trained"])
    outputs = compute(backbone, architecture)
    agree(outputs, there["outputs"], architecture)
    if settings.get("num_cayley_neumann_terms") != 1:
        assert np.abs(outputs["sequence_output"] - plain["sequence_output"]).max() > 1e-3
    backbone.save_lora_weights(tmp_path / "ours")
    preset = GOLDEN / architecture / "transformers"
    again = ask(transformers_peer, "adapt", preset, architecture, adapter=str(tmp_path / "ours"))
    assert again["complaints"] == []
    assert again["added"] == there["added"]
    agree(outputs, again["outputs"], architecture)


# === Rows of a table within a LoRA adapter ===

WITHIN = [
    ("bert", {"trainable_token_indices": [46, 28, 9]}),
    ("bert", {"trainable_token_indices": {"word_embeddings": [46, 28]}, "use_dora": True}),
    ("gpt2", {"trainable_token_indices": {"wte": [15]}, "target_modules": ["c_attn"], "fan_in_fan_out": True}),
    ("gemma", {"trainable_token_indices": [50, 2], "modules_to_save": ["norm"]}),
]


@pytest.mark.parametrize(("architecture", "settings"), WITHIN, ids=str)
def test_rows_of_a_table_train_with_a_lora_adapter(
    architecture, settings, made, load, compute, ask, agree, transformers_peer, tmp_path
):
    folder, there = made("Lora", architecture, {"r": 2, "lora_alpha": 6} | settings)
    backbone = load(architecture)
    receipt = backbone.load_lora_weights(folder)
    assert receipt.unused == ()
    assert receipt.parameters_trained == there["trained"]
    outputs = compute(backbone, architecture)
    agree(outputs, there["outputs"], architecture)
    backbone.save_lora_weights(tmp_path / "ours")
    preset = GOLDEN / architecture / "transformers"
    again = ask(transformers_peer, "adapt", preset, architecture, adapter=str(tmp_path / "ours"))
    assert again["complaints"] == []
    agree(outputs, again["outputs"], architecture)


@pytest.mark.parametrize("strategy", ["lora", "dora", "rslora"])
@pytest.mark.parametrize("architecture", ["bert", "gpt2", "gemma"])
def test_rows_that_are_enabled_here_compute_the_same_in_peft(
    architecture, strategy, load, compute, ask, agree, transformers_peer, tmp_path
):
    backbone = load(architecture)
    backbone.enable_lora(2, strategy=strategy, alpha=6, trainable_token_indices=[46, 28, 9])
    draws = np.random.default_rng(0)
    for variable in backbone.trainable_weights:
        variable.assign(variable.numpy() + draws.normal(size=variable.shape) * 0.2)
    outputs = compute(backbone, architecture)
    backbone.save_lora_weights(tmp_path / "ours")
    preset = GOLDEN / architecture / "transformers"
    there = ask(transformers_peer, "adapt", preset, architecture, adapter=str(tmp_path / "ours"))
    assert there["complaints"] == []
    agree(outputs, there["outputs"], architecture)
    fresh = load(architecture)
    assert "token_embedding" in fresh.load_lora_weights(tmp_path / "ours").layers
    agree(compute(fresh, architecture), outputs, architecture)


@pytest.mark.parametrize("architecture", ["gpt2", "gemma"])
@pytest.mark.parametrize("method", ["TrainableTokens", "Lora"])
def test_rows_of_a_tied_table_change_the_logits_as_in_peft(method, architecture, made, load, compute, agree):
    rows = {"trainable_token_indices": [50, 15]}
    linear = {"target_modules": ["c_attn"], "fan_in_fan_out": True} if architecture == "gpt2" else {}
    settings = {"r": 2, **linear, **rows} if method == "Lora" else {"token_indices": [50, 15], "target_modules": None}
    folder, there = made(method, architecture, settings, model="AutoModelForCausalLM")
    backbone = load(architecture)
    backbone.load_lora_weights(folder)
    logits = compute(backbone, architecture)["logits"]
    agree({"sequence_output": logits}, {"sequence_output": there["outputs"]["logits"]}, architecture)
