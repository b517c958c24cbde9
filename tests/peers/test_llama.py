"""Llama and its kin: each rotary scaling, window and head of transformers, over 512 tokens, and back."""

import json

import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras

LENGTH = 512
TOLERANCE = 1e-4
SLIDING, FULL = "sliding_attention", "full_attention"
SIZES = {"vocab_size": 61, "num_hidden_layers": 3, "hidden_size": 32, "intermediate_size": 24}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "pad_token_id": 0}
SHORT, LONG = [1.0, 1.5, 2.0, 3.0], [1.0, 4.0, 9.0, 20.0]
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONGROPE = {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG}
SCALINGS = {
    "default": {"rope_type": "default", "rope_theta": 500.0},
    "linear": {"rope_type": "linear", "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 500.0},
    "yarn": YARN,
    "yarn with all fields": YARN
    | {"beta_fast": 20.0, "beta_slow": 2.0, "mscale": 0.7, "mscale_all_dim": 0.4, "truncate": False},
    "yarn with a factor": YARN | {"attention_factor": 1.3},
    "longrope": LONGROPE | {"factor": 4.0, "original_max_position_embeddings": 128},
    "short longrope": LONGROPE | {"factor": 4.0, "original_max_position_embeddings": 1024},
    "longrope with a factor": LONGROPE | {"attention_factor": 1.3, "original_max_position_embeddings": 128},
    "llama3": LLAMA3 | {"original_max_position_embeddings": 128},
}
"""Rotary scalings as transformers 5 has them; its tables without a base have 10,000."""
UNTIED = {"tie_word_embeddings": False}
QWEN_WINDOW = {"use_sliding_window": True, "sliding_window": 100, "max_window_layers": 1}
CASES = [
    *(("llama", {"rope_parameters": scaling}) for scaling in SCALINGS.values()),
    *((kind, {"rope_parameters": SCALINGS[name]}) for kind in ("mistral", "qwen2") for name in ("yarn", "dynamic")),
    *((kind, {"rope_parameters": SCALINGS[name]}) for kind in ("qwen3", "smollm3") for name in ("yarn", "linear")),
    ("llama", {"num_key_value_heads": None, "attention_bias": True, "mlp_bias": True, "rms_norm_eps": 0.1}),
    ("llama", {"head_dim": 6, "tie_word_embeddings": True, "hidden_act": "gelu"}),
    ("mistral", {"sliding_window": 100}),
    ("mistral", {"sliding_window": None, "head_dim": 6}),
    ("qwen2", {}),
    ("qwen2", QWEN_WINDOW),
    ("qwen2", QWEN_WINDOW | {"layer_types": [SLIDING, FULL, SLIDING], "tie_word_embeddings": True}),
    ("qwen3", {"head_dim": 6, "attention_bias": True, "rms_norm_eps": 0.1}),
    ("qwen3", QWEN_WINDOW | {"head_dim": 8, "tie_word_embeddings": True}),
    ("smollm3", {}),
    ("smollm3", {"no_rope_layers": [0, 1, 1], "attention_bias": True, "mlp_bias": True}),
    ("smollm3", {"no_rope_layer_interval": 2, "use_sliding_window": True, "sliding_window": 100}),
    ("phi3", {}),
    ("phi3", {"sliding_window": 100, "tie_word_embeddings": True, "resid_pdrop": 0.1}),
    ("phi3", {"rope_parameters": {"partial_rotary_factor": 0.5, "rope_type": "default"}}),
    ("phi3", {"rope_parameters": LONGROPE, "original_max_position_embeddings": 128}),
    (
        "phi3",
        {"original_max_position_embeddings": 128, "num_key_value_heads": 4}
        | {
            "rope_parameters": {**LONGROPE, "partial_rotary_factor": 0.5, "short_factor": [1, 2], "long_factor": [3, 9]}
        },
    ),
]
"""Model type, and changes to the config of a tiny model."""
NAMES = {
    "llama": "Llama",
    "mistral": "Mistral",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "smollm3": "SmolLM3",
    "phi3": "Phi3",
}


@pytest.fixture(scope="session")
def long_inputs():
    """A full row of 512 tokens, and one that begins and ends with padding."""
    ids = np.random.default_rng(1).integers(1, 61, (2, LENGTH), dtype="int32")
    mask = np.ones((2, LENGTH), "int32")
    mask[1, :5] = mask[1, -50:] = 0
    return {"token_ids": ids, "padding_mask": mask}


@pytest.fixture(scope="session")
def ask_long(transformers_peer, long_inputs):
    """Calls a function of transformers_peer.py with a folder and inputs of 512 tokens."""

    def call(function, folder, inputs=long_inputs, **arguments):
        listed = {name: array.tolist() for name, array in inputs.items()}
        return transformers_peer(function, folder=str(folder), inputs=listed, **arguments)

    return call


@pytest.fixture(scope="session")
def outputs_of(long_inputs):
    """Returns the hidden states and logits of a backbone."""
    import keras

    def compute(backbone, inputs=long_inputs):
        states = backbone(inputs, training=False)
        found = {"sequence_output": states, "logits": backbone.token_embedding(states, reverse=True)}
        return {name: keras.ops.convert_to_numpy(array) for name, array in found.items()}

    return compute


@pytest.fixture(scope="session")
def same(long_inputs):
    """Asserts that outputs are equal at all tokens."""

    def check(ours, theirs, name="sequence_output", inputs=long_inputs):
        tokens = inputs["padding_mask"] == 1
        assert np.abs(ours[name] - np.array(theirs[name]))[tokens].max() <= TOLERANCE

    return check


def config_of(model_type, changes):
    return SIZES | changes | {"model_type": model_type}


@pytest.mark.parametrize(("model_type", "changes"), CASES, ids=str)
def test_each_model_of_transformers_and_back(model_type, changes, ask_long, outputs_of, same, folder, tmp_path):
    config = config_of(model_type, changes)
    theirs = ask_long("create", folder, model=f"{NAMES[model_type]}ForCausalLM", config=config)["outputs"]
    backbone = vertebra.Backbone.from_preset(folder)
    assert type(backbone).__name__ == f"{NAMES[model_type]}Backbone"
    ours = outputs_of(backbone)
    same(ours, theirs)
    backbone.save_to_preset(tmp_path / "again", format="transformers", certificate=False)
    there = ask_long("load", tmp_path / "again", model="AutoModelForCausalLM")
    assert not any(there["report"].values()), there["report"]
    same(ours, there["outputs"], "logits")
    again = json.loads((tmp_path / "again" / "config.json").read_text(encoding="utf-8"))
    original = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert {name: original[name] for name in SIZES} == {name: again[name] for name in SIZES}


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("model_type", "older"),
    [
        ("llama", {"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 4.0}}),
        ("llama", {"rope_theta": 500.0, "rope_scaling": LLAMA3 | {"original_max_position_embeddings": 128}}),
        ("mistral", {"rope_theta": 500.0, "rope_scaling": {"type": "dynamic", "factor": 4.0}}),
        ("qwen2", {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}}),
        ("smollm3", {"rope_theta": 500.0, "rope_scaling": None}),
        # Without a length in the table, transformers 5.23 refuses the former name of LongRoPE.
        ("phi3", {"rope_scaling": {**LONGROPE, "rope_type": "su", "original_max_position_embeddings": 128}}),
        (
            "phi3",
            {"rope_scaling": {"type": "longrope", "short_factor": SHORT, "long_factor": LONG}, "rope_theta": 90.0},
        ),
        ("phi3", {"partial_rotary_factor": 0.5}),
    ],
    ids=str,
)
def test_configs_of_transformers_4(model_type, older, ask_long, outputs_of, same, folder):
    """A config with the fields of release 4, as most published checkpoints have it, means the same in release 5."""
    older = older | ({"original_max_position_embeddings": 128} if model_type == "phi3" else {})
    ask_long("create", folder, model=f"{NAMES[model_type]}ForCausalLM", config=config_of(model_type, {}))
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["rope_parameters"]
    path.write_text(json.dumps(config | older), encoding="utf-8")
    theirs = ask_long("load", folder)["outputs"]
    same(outputs_of(vertebra.Backbone.from_preset(folder)), theirs)


# === Heads ===


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("model_type", ["llama", "phi3"])
def test_a_checkpoint_without_a_head_leaves_a_new_matrix(model_type, ask_long, outputs_of, same, folder):
    theirs = ask_long("create", folder, model=f"{NAMES[model_type]}Model", config=config_of(model_type, UNTIED))
    with pytest.warns(UserWarning, match="no values for token_embedding/reverse_embeddings: they are init"):
        backbone = vertebra.Backbone.from_preset(folder)
    same(outputs_of(backbone), theirs["outputs"])
    tied = vertebra.Backbone.from_preset(folder, tie_word_embeddings=True)
    same(outputs_of(tied), theirs["outputs"])


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("kind", ["SequenceClassification", "TokenClassification"])
def test_the_backbone_of_another_head_is_read(kind, ask_long, outputs_of, same, folder):
    config = config_of("qwen2", {"tie_word_embeddings": True})
    theirs = ask_long("create", folder, model=f"Qwen2For{kind}", config=config)["outputs"]
    same(outputs_of(vertebra.Backbone.from_preset(folder)), theirs)


@pytest.mark.keras(once=True)
def test_embeddings_of_the_last_token(transformers_peer, tmp_path):
    """As of Qwen3-Embedding: Sentence Transformers and the task pool the last token, whatever follows it."""
    words, texts = ["a", "good", "dog", "bad", "fox"], ["a good dog", "fox", "a bad bad fox"]
    config = config_of("qwen3", {"head_dim": 8, "tie_word_embeddings": True, "num_hidden_layers": 2})
    transformers_peer("create_sentence_model", folder=str(tmp_path), config=config, words=words, pooling="lasttoken")
    expected = transformers_peer("embed", folder=str(tmp_path / "saved"), texts=texts)["embeddings"]
    task = vertebra.models.TextEmbedder.from_preset(tmp_path / "saved")
    assert task.get_config()["pooling_mode"] == "lasttoken"
    assert np.abs(task.embed(texts) - np.array(expected)).max() < TOLERANCE
    assert np.abs(task.embed(texts[1:2]) - np.array(expected[1:2])).max() < TOLERANCE


# === KerasHub ===

KERASHUB_SIZES = {"vocabulary_size": 61, "num_layers": 3, "hidden_dim": 16, "intermediate_dim": 24}
KERASHUB_SIZES |= {"num_query_heads": 4, "num_key_value_heads": 2}
SMOLLM3 = {name: value for name, value in KERASHUB_SIZES.items() if name != "num_query_heads"} | {
    "num_attention_heads": 4,
    "attention_bias": True,
    "attention_dropout": 0.0,
    "rope_layer_enabled_list": [True, False, True],
    "layer_types": [FULL] * 3,
    "mlp_bias": True,
    "layer_norm_epsilon": 1e-5,
    "max_position_embeddings": 64,
    "rope_theta": 500.0,
    "partial_rotary_factor": 1.0,
}
LLAMA31 = {"rope_frequency_adjustment_factor": 8.0, "rope_low_freq_factor": 1.0, "rope_high_freq_factor": 4.0}
SU = {"rope_scaling_type": "su", "rope_scaling_short_factor": [1.0, 1.5], "rope_scaling_long_factor": [2.0, 9.0]}
KERASHUB = [
    ("Llama", KERASHUB_SIZES),
    ("Llama", KERASHUB_SIZES | {"rope_position_scaling_factor": 4.0, "rope_max_wavelength": 500}),
    ("Llama3", KERASHUB_SIZES | LLAMA31 | {"rope_pretraining_sequence_length": 4}),
    ("Mistral", KERASHUB_SIZES | {"sliding_window": 3, "rope_scaling_factor": 4.0}),
    ("Mistral", KERASHUB_SIZES | {"sliding_window": None, "head_dim": 6, "layer_norm_epsilon": 0.1}),
    ("Qwen", KERASHUB_SIZES | {"tie_word_embeddings": False, "rope_max_wavelength": 500}),
    ("Qwen", KERASHUB_SIZES | {"use_sliding_window_attention": True, "sliding_window_size": 3}),
    ("Qwen3", KERASHUB_SIZES | {"head_dim": 6}),
    ("Qwen3", KERASHUB_SIZES | {"head_dim": 6, "tie_word_embeddings": False, "sliding_window_size": 3}),
    ("Qwen3", KERASHUB_SIZES | {"head_dim": 6, "layer_norm_epsilon": 0.1}),
    ("SmolLM3", SMOLLM3),
    ("Phi3", KERASHUB_SIZES),
    ("Phi3", KERASHUB_SIZES | SU | {"max_sequence_length": 16, "pretraining_sequence_length": 4}),
    ("Phi3", KERASHUB_SIZES | SU | {"max_sequence_length": 64, "pretraining_sequence_length": 32, "dropout": 0.5}),
]


@pytest.mark.parametrize(("name", "config"), KERASHUB, ids=str)
def test_presets_of_kerashub_and_back(name, config, ask, compute, agree, kerashub_peer, folder, tmp_path):
    """What KerasHub writes computes the same here, and what is written for it computes the same there."""
    theirs = ask(kerashub_peer, "create", folder, "gemma", model=f"{name}Backbone", config=config)["outputs"]
    backbone = vertebra.Backbone.from_preset(folder)
    ours = compute(backbone, "gemma")
    agree(ours, theirs, "gemma")
    backbone.save_to_preset(tmp_path / "again", format="kerashub", certificate=False)
    agree(ours, ask(kerashub_peer, "load", tmp_path / "again", "gemma")["outputs"], "gemma")


@pytest.mark.keras(once=True)
def test_kerashub_reads_a_tied_head_that_it_does_not_write(ask, compute, agree, kerashub_peer, folder):
    tied = {"tie_word_embeddings": True}
    sizes = {**KERASHUB_SIZES, **tied}
    ask(kerashub_peer, "create", folder / "theirs", "gemma", model="LlamaBackbone", config=sizes)
    backbone = vertebra.Backbone.from_preset(folder / "theirs", **tied)
    backbone.save_to_preset(folder / "ours", format="kerashub", certificate=False)
    there = ask(kerashub_peer, "load", folder / "ours", "gemma")
    agree(compute(backbone, "gemma"), there["outputs"], "gemma")


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(("name", "config"), [KERASHUB[index] for index in (0, 3, 5, 7, 10, 11)], ids=str)
def test_adapters_of_kerashub_and_back(name, config, ask, compute, agree, kerashub_peer, folder, tmp_path):
    smol = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    usual = ["query", "key", "value", "attention_output", "gate", "intermediate", "feedforward_output"]
    chosen = smol if name == "SmolLM3" else usual
    ask(kerashub_peer, "create", folder, "gemma", model=f"{name}Backbone", config=config)
    adapter = str(tmp_path / "theirs.lora.h5")
    there = ask(kerashub_peer, "make_adapter", folder, "gemma", adapter=adapter, rank=2, targets=chosen)
    backbone = vertebra.Backbone.from_preset(folder)
    plain = compute(backbone, "gemma")
    backbone.load_lora_weights(adapter)
    adapted = compute(backbone, "gemma")
    agree(adapted, there["outputs"], "gemma")
    assert np.abs(adapted["sequence_output"] - plain["sequence_output"]).max() > 1e-3
    ours = str(tmp_path / "ours.lora.h5")
    backbone.save_lora_weights(ours)
    again = ask(kerashub_peer, "adapt", folder, "gemma", adapter=ours, targets=chosen)
    agree(adapted, again["outputs"], "gemma")


# === Generating ===

GENERATED = [
    ("llama", {"rope_parameters": SCALINGS["llama3"], "tie_word_embeddings": True}),
    ("llama", {"rope_parameters": SCALINGS["yarn"]}),
    ("mistral", {"sliding_window": 12}),
    ("qwen2", {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 1}),
    ("qwen3", {"head_dim": 6}),
    ("smollm3", {"no_rope_layers": [1, 0, 1]}),
    ("phi3", {"original_max_position_embeddings": 128, "sliding_window": 12}),
]
PROMPTS = [[5, 3, 8, 21, 9, 60, 2], [7], [2, 2, 9, 4], [33, 1, 57, 12, 40, 6, 5, 19, 22, 11, 8, 3, 29, 50, 44, 31]]


@pytest.mark.parametrize(("model_type", "changes"), GENERATED, ids=str)
def test_greedy_answers_are_those_of_transformers(model_type, changes, transformers_peer, ask_long, folder):
    config = config_of(model_type, changes)
    ask_long("create", folder, model=f"{NAMES[model_type]}ForCausalLM", config=config)
    expected = transformers_peer("generate", folder=str(folder), prompts=PROMPTS, count=64)
    assert any(len(set(answer)) > 5 for answer in expected)
    assert answers_of(folder, PROMPTS, 64) == expected


@pytest.mark.parametrize(
    "scaling", [SCALINGS["dynamic"], SCALINGS["longrope"]], ids=lambda scaling: scaling["rope_type"]
)
def test_angles_of_a_growing_length_are_those_of_transformers(scaling, transformers_peer, ask_long, folder):
    """Keys in the cache keep the angles of the length that the sequence had when they were computed."""
    lengths = {"max_position_embeddings": 24} if scaling["rope_type"] == "dynamic" else {"max_position_embeddings": 256}
    scaling = scaling | ({} if "short_factor" not in scaling else {"original_max_position_embeddings": 24})
    config = config_of("llama", lengths | {"rope_parameters": scaling})
    ask_long("create", folder, model="LlamaForCausalLM", config=config)
    expected = transformers_peer("generate", folder=str(folder), prompts=PROMPTS[3:], count=64)
    assert answers_of(folder, PROMPTS[3:], 64, max_sequence_length=256) == expected


def answers_of(folder, prompts, count, **arguments):
    """Returns the greedy answers of the checkpoint in a folder, as token ids without those of the prompts."""
    backbone = vertebra.Backbone.from_preset(folder, **arguments)
    task = vertebra.models.CausalLM(backbone)
    found = task.generate(prompts, max_new_tokens=count, stop_token_ids=None, details=True)
    return [answer.token_ids for answer in found]
