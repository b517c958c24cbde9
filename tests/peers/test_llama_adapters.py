"""Adapters of Llama and its kin: PEFT's compute the same in Vertebra, and Vertebra's in PEFT, fused ones, too."""

import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras(once=True)

SIZES = {"vocab_size": 61, "num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 24}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 12, "pad_token_id": 0}
CONFIGS = {
    "llama": SIZES | {"attention_bias": True, "tie_word_embeddings": True},
    "mistral": SIZES | {"sliding_window": 3},
    "qwen2": SIZES,
    "qwen3": SIZES | {"head_dim": 6, "tie_word_embeddings": True},
    "smollm3": SIZES | {"mlp_bias": True},
    "phi3": SIZES | {"tie_word_embeddings": True},
}
MODELS = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3", "smollm3": "SmolLM3"}
MODELS |= {"phi3": "Phi3", "phi3 untied": "Phi3"}
CONFIGS["phi3 untied"] = SIZES
FUSED = [name for name in MODELS if name.startswith("phi3")]
each = pytest.mark.parametrize("model_type", MODELS)


@pytest.fixture
def base(ask, transformers_peer, tmp_path):
    """Lets transformers save a model with a head and random weights; returns its folder."""

    def make(model_type):
        config = CONFIGS[model_type] | {"model_type": model_type.partition(" ")[0]}
        model = f"{MODELS[model_type]}ForCausalLM"
        ask(transformers_peer, "create", tmp_path / "base", "gemma", model=model, config=config)
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


def logits(outputs):
    return {"sequence_output": outputs["logits"]}


DECODER, WITH_HEAD = "AutoModel", "AutoModelForCausalLM"


@each
@pytest.mark.parametrize(
    ("kind", "model"), [("projections", DECODER), ("all-linear", DECODER), ("table", DECODER), ("norm", WITH_HEAD)]
)
def test_adapters_of_peft(kind, model, model_type, exchange):
    exchange(model_type, kind, model)


@pytest.mark.keras
@each
@pytest.mark.parametrize("kind", ["projections", "dora"])
def test_adapters_of_peft_on_each_runtime(kind, model_type, exchange):
    exchange(model_type, kind, WITH_HEAD)


@pytest.fixture
def exchange(base, ask, compute, agree, transformers_peer, tmp_path):
    """Lets PEFT make an adapter of the decoder, or of the model with the head; it is read, and comes back the same."""

    def check(model_type, kind, model):
        _exchange(model_type, kind, model, base, ask, compute, agree, transformers_peer, tmp_path)

    return check


def _exchange(model_type, kind, model, base, ask, compute, agree, transformers_peer, tmp_path):
    projections = ["qkv_proj", "gate_up_proj"] if model_type in FUSED else ["q_proj", "v_proj", "up_proj"]
    settings = {
        "projections": {"target_modules": projections, "use_rslora": True},
        "all-linear": {"target_modules": "all-linear"},
        "table": {"target_modules": ["embed_tokens"]},
        "norm": {"target_modules": projections, "modules_to_save": ["input_layernorm"]},
        "dora": {"target_modules": projections, "use_dora": True},
    }[kind]
    folder, adapter = base(model_type), str(tmp_path / "theirs")
    config = {"r": 2, "lora_alpha": 6, **settings}
    there = ask(transformers_peer, "make_adapter", folder, "gemma", adapter=adapter, config=config, model=model)
    backbone = vertebra.Backbone.from_preset(folder)
    plain = compute(backbone, "gemma")
    receipt = backbone.load_lora_weights(adapter)
    assert (receipt.unused, receipt.parameters_added) == ((), there["added"])
    adapted = compute(backbone, "gemma")
    assert np.abs(adapted["sequence_output"] - plain["sequence_output"]).max() > 1e-3
    with_head = model == WITH_HEAD
    agree(
        logits(adapted) if with_head else adapted, logits(there["outputs"]) if with_head else there["outputs"], "gemma"
    )
    backbone.save_lora_weights(tmp_path / "ours")
    again = ask(transformers_peer, "adapt", folder, "gemma", adapter=str(tmp_path / "ours"), model=_base_of(backbone))
    assert again["complaints"] == []
    tied = backbone.tie_word_embeddings
    agree(adapted if tied else logits(adapted), again["outputs"] if tied else logits(again["outputs"]), "gemma")


def _base_of(backbone):
    """Returns the class for which adapters are written: that with a head, if the head has its own matrix."""
    return "AutoModel" if backbone.tie_word_embeddings else "AutoModelForCausalLM"


@pytest.mark.parametrize("model_type", ["llama", "qwen3", *FUSED])
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
    adapter = str(tmp_path / "adapter")
    there = ask(transformers_peer, "adapt", folder, "gemma", adapter=adapter, model=_base_of(backbone))
    assert there["complaints"] == []
    tied = backbone.tie_word_embeddings
    ours = compute(backbone, "gemma")
    agree(ours if tied else logits(ours), there["outputs"] if tied else logits(there["outputs"]), "gemma")
    alone = ask(transformers_peer, "adapt_alone", folder, "gemma", adapter=adapter)
    assert alone["base"] == MODELS[model_type] + ("Model" if tied else "ForCausalLM")
