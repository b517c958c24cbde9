"""Adapters of the encoders that follow BERT: PEFT's compute the same in Vertebra, and Vertebra's in PEFT."""

import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras

SIZES = {"vocab_size": 61, "num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 24}
SIZES |= {"num_attention_heads": 2, "max_position_embeddings": 12}
IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
CONFIGS = {
    "roberta": SIZES | {"type_vocab_size": 1},
    "distilbert": {"vocab_size": 61, "n_layers": 2, "n_heads": 2, "dim": 16, "hidden_dim": 24}
    | {"max_position_embeddings": 12},
    "electra": SIZES | {"embedding_size": 8},
    "mpnet": SIZES,
    "modernbert": SIZES | {"local_attention": 4} | dict.fromkeys(IDS, 1),
}
MODELS = {
    "roberta": ("RobertaModel", ["query", "value"], "word_embeddings", "LayerNorm"),
    "distilbert": ("DistilBertModel", ["q_lin", "v_lin"], "word_embeddings", "sa_layer_norm"),
    "electra": ("ElectraModel", ["query", "value"], "word_embeddings", "LayerNorm"),
    "mpnet": ("MPNetModel", ["q", "v"], "word_embeddings", "LayerNorm"),
    "modernbert": ("ModernBertModel", ["Wqkv"], "tok_embeddings", "mlp_norm"),
}
"""Class, the query and value projections, the token table and a norm of each model type."""
each = pytest.mark.parametrize("model_type", MODELS)


@pytest.fixture
def base(ask, transformers_peer, tmp_path):
    """Lets transformers save a model with random weights; returns its folder."""

    def make(model_type):
        config = CONFIGS[model_type] | {"model_type": model_type}
        ask(transformers_peer, "create", tmp_path / "base", model_type, model=MODELS[model_type][0], config=config)
        return tmp_path / "base"

    return make


@pytest.fixture
def disturb():
    """Moves all trainable weights away from their initial values, as training would."""

    def move(backbone):
        draws = np.random.default_rng(0)
        for variable in backbone.trainable_weights:
            variable.assign(variable.numpy() + 0.2 * draws.standard_normal(variable.shape))

    return move


@each
@pytest.mark.parametrize("kind", ["projections", "all-linear", "table", "norm", "dora"])
def test_adapters_of_peft(model_type, kind, base, ask, compute, agree, transformers_peer, tmp_path):
    _, projections, table, norm = MODELS[model_type]
    settings = {
        "projections": {"target_modules": projections, "use_rslora": True},
        "all-linear": {"target_modules": "all-linear"},
        "table": {"target_modules": [table]},
        "norm": {"target_modules": projections, "modules_to_save": [norm]},
        "dora": {"target_modules": projections, "use_dora": True},
    }[kind]
    folder, adapter = base(model_type), str(tmp_path / "theirs")
    config = {"r": 2, "lora_alpha": 6, **settings}
    there = ask(transformers_peer, "make_adapter", folder, model_type, adapter=adapter, config=config)
    backbone = vertebra.Backbone.from_preset(folder)
    plain = compute(backbone, model_type)
    receipt = backbone.load_lora_weights(adapter)
    assert (receipt.unused, receipt.parameters_added) == ((), there["added"])
    adapted = compute(backbone, model_type)
    agree(adapted, there["outputs"], model_type)
    assert np.abs(adapted["sequence_output"] - plain["sequence_output"]).max() > 1e-3
    backbone.save_lora_weights(tmp_path / "ours")
    again = ask(transformers_peer, "adapt", folder, model_type, adapter=str(tmp_path / "ours"))
    assert again["complaints"] == []
    agree(adapted, again["outputs"], model_type)


@each
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"target_names": ["mlp"]},
        {"target_names": ["attention"]},
        {"target_names": ["all-linear"], "strategy": "rslora"},
        {"target_names": ["query", "key", "value"], "strategy": "dora"},
        {"target_names": ["token_embedding"]},
        {"rank_pattern": {"value": 1}},
    ],
    ids=str,
)
def test_adapters_of_vertebra(model_type, settings, base, disturb, ask, compute, agree, transformers_peer, tmp_path):
    folder = base(model_type)
    backbone = vertebra.Backbone.from_preset(folder)
    backbone.enable_lora(**{"rank": 2, "alpha": 6, "seed": 0} | settings)
    disturb(backbone)
    backbone.save_lora_weights(tmp_path / "adapter")
    there = ask(transformers_peer, "adapt", folder, model_type, adapter=str(tmp_path / "adapter"))
    assert there["complaints"] == []
    agree(compute(backbone, model_type), there["outputs"], model_type)


@pytest.mark.parametrize("architecture", ["roberta", "xlm-roberta", "distilbert", "electra"])
def test_adapters_of_kerashub(architecture, tiny, ask, compute, agree, kerashub_peer, tmp_path):
    model, arguments = tiny(architecture)
    folder, adapter = tmp_path / "base", str(tmp_path / "theirs.lora.h5")
    ask(kerashub_peer, "create", folder, architecture, model=model, config=arguments)
    there = ask(kerashub_peer, "make_adapter", folder, architecture, adapter=adapter, rank=2)
    backbone = vertebra.Backbone.from_preset(folder)
    backbone.load_lora_weights(adapter)
    adapted = compute(backbone, architecture)
    agree(adapted, there["outputs"], architecture)
    ours = str(tmp_path / "ours.lora.h5")
    backbone.save_lora_weights(ours)
    agree(adapted, ask(kerashub_peer, "adapt", folder, architecture, adapter=ours)["outputs"], architecture)
