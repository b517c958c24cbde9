"""Presets written by Vertebra load completely in transformers and KerasHub, and compute the same in them."""

import pytest

from vertebra import activations

pytestmark = pytest.mark.keras

SMALL = 4e-6
"""4 kB, in gigabytes, so that each of these models has several shards."""
CAPPED = "gemma2"
ARCHITECTURES = ("bert", "roberta", "distilbert", "gpt2", "gemma", "gemma2", "gemma3")

TRANSFORMERS = [
    *((architecture, {"activation": name}) for architecture in ARCHITECTURES[:-1] for name in activations.NAMES),
    *(("gemma3", {"activation": name, "num_layers": 2}) for name in activations.NAMES),
    ("bert", {"layer_norm_epsilon": 0.1}),
    ("bert", {"num_segments": 3, "num_heads": 4, "intermediate_dim": 40}),
    ("bert", {"dropout": 0, "attention_dropout": 0.5, "initializer_range": 1}),
    ("roberta", {"pooler": True, "layer_norm_epsilon": 0.1}),
    ("roberta", {"pad_token_id": 0, "num_heads": 4, "intermediate_dim": 40}),
    ("roberta", {"dropout": 0, "attention_dropout": 0.5, "initializer_range": 1}),
    ("xlm-roberta", {"pooler": True}),
    ("camembert", {"pooler": True}),
    ("distilbert", {"num_heads": 4, "intermediate_dim": 40}),
    ("distilbert", {"dropout": 0, "attention_dropout": 0.5, "initializer_range": 1}),
    ("electra", {"pooler": False}),
    ("electra", {"pooler": False, "embedding_dim": None, "num_segments": 3, "num_heads": 4}),
    ("electra", {"pooler": False, "activation": "relu", "layer_norm_epsilon": 0.1}),
    ("bert", {"pooler": False}),
    ("modernbert", {}),
    ("modernbert", {"activation": "silu", "layer_norm_epsilon": 0.1, "num_heads": 4, "intermediate_dim": 40}),
    ("modernbert", {"norm_bias": True, "attention_bias": True, "feedforward_bias": True}),
    ("modernbert", {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
    ("modernbert", {"layer_types": ["full_attention", "sliding_attention", "full_attention"], "local_attention": 3}),
    ("modernbert", {"global_max_wavelength": 100, "local_max_wavelength": 7}),
    ("modernbert", {"dropout": 0.5, "attention_dropout": 0.25, "embedding_dropout": 0.1, "initializer_range": 1}),
    *(("mpnet", {"activation": name}) for name in ("gelu", "relu")),
    ("mpnet", {"layer_norm_epsilon": 0.1, "num_heads": 4, "intermediate_dim": 40}),
    ("mpnet", {"dropout": 0, "attention_dropout": 0.5, "initializer_range": 1, "pooler": False}),
    ("gpt2", {"layer_norm_epsilon": 0.1}),
    ("gpt2", {"intermediate_dim": 24, "num_heads": 4}),
    ("gpt2", {"dropout": 0, "attention_dropout": 0.5, "embedding_dropout": 0.25, "initializer_range": 1}),
    ("gpt2", {"scale_attention": False}),
    ("gpt2", {"scale_attention_by_inverse_layer_index": True}),
    ("gpt2", {"scale_attention": False, "scale_attention_by_inverse_layer_index": True}),
    ("gemma", {"layer_norm_epsilon": 0.1}),
    ("gemma2", {"layer_norm_epsilon": 0.1}),
    ("gemma", {"head_dim": 6}),
    ("gemma2", {"head_dim": 6}),
    ("gemma", {"num_key_value_heads": 1}),
    ("gemma", {"num_key_value_heads": 4}),
    ("gemma2", {"num_key_value_heads": 1}),
    ("gemma", {"attention_bias": True}),
    ("gemma2", {"attention_bias": True}),
    ("gemma", {"rope_max_wavelength": 100}),
    ("gemma", {"rope_max_wavelength": 100, "rope_scaling_factor": 4}),
    ("gemma2", {"rope_max_wavelength": 100, "rope_scaling_factor": 0.5}),
    ("gemma", {"attention_dropout": 0.5, "initializer_range": 1}),
    ("gemma", {"query_pre_attention_scalar": 9}),
    ("gemma", {"head_dim": 6, "query_head_dim_normalize": False}),
    ("gemma2", {"head_dim": 6, "query_head_dim_normalize": False}),
    ("gemma2", {"query_pre_attention_scalar": 50}),
    ("gemma2", {"attention_logit_soft_cap": None}),
    ("gemma2", {"final_logit_soft_cap": None}),
    ("gemma2", {"attention_logit_soft_cap": 1}),
    ("gemma2", {"use_sliding_window_attention": False}),
    ("gemma2", {"sliding_window_size": 1}),
    ("gemma2", {"sliding_window_size": 9}),
    ("gemma2", {"layer_types": ["full_attention", "sliding_attention", "sliding_attention"]}),
    ("gemma", {"final_logit_soft_cap": 1.5}),
    ("gemma", {"use_sliding_window_attention": True, "sliding_window_size": 3}),
    ("gemma3", {"layer_norm_epsilon": 0.1, "head_dim": 6, "num_key_value_heads": 1}),
    ("gemma3", {"attention_bias": True, "attention_dropout": 0.5, "initializer_range": 1}),
    ("gemma3", {"local_rope_max_wavelength": 50, "global_rope_max_wavelength": 100}),
    ("gemma3", {"local_rope_scaling_factor": 2, "global_rope_scaling_factor": 8}),
    ("gemma3", {"query_pre_attention_scalar": 9}),
    ("gemma3", {"head_dim": 6, "query_head_dim_normalize": False}),
    ("gemma3", {"final_logit_soft_cap": 1.5, "sliding_window_size": 1}),
    ("gemma3", {"use_sliding_window_attention": False}),
    ("gemma3", {"layer_types": ["full_attention", *["sliding_attention"] * 5]}),
    *(("embeddinggemma", {"sliding_window_size": size}) for size in (1, 2, 3, 4, 5, 20)),
]
"""Arguments that the transformers format can represent."""

KERASHUB = [
    ("bert", {}),
    ("bert", {"num_segments": 3, "num_heads": 4, "intermediate_dim": 40}),
    ("bert", {"dropout": 0}),
    ("roberta", {"num_heads": 4, "intermediate_dim": 40, "dropout": 0}),
    ("xlm-roberta", {}),
    ("distilbert", {"num_heads": 4, "dropout": 0}),
    ("electra", {}),
    ("electra", {"embedding_dim": 16, "num_segments": 3, "num_heads": 4, "dropout": 0}),
    ("gpt2", {}),
    ("gpt2", {"intermediate_dim": 24, "num_heads": 4}),
    ("gpt2", {"dropout": 0}),
    ("gemma", {}),
    ("gemma", {"num_key_value_heads": 1}),
    ("gemma", {"num_key_value_heads": 4, "head_dim": 6}),
    ("gemma", {"final_logit_soft_cap": 1.5}),
    ("gemma", {"use_post_ffw_norm": True, "dropout": 0.5}),
    ("gemma2", {}),
    ("gemma2", {"attention_logit_soft_cap": None, "use_post_attention_norm": False}),
    ("gemma2", {"head_dim": 6, "query_pre_attention_scalar": 6}),
    ("gemma2", {"sliding_window_size": 1}),
    ("gemma3", {}),
    ("gemma3", {"use_query_key_norm": False, "use_post_ffw_norm": False, "attention_logit_soft_cap": 2.0}),
    ("gemma3", {"use_post_attention_norm": False, "final_logit_soft_cap": 1.5, "dropout": 0.5, "head_dim": 6}),
    ("gemma3", {"local_rope_scaling_factor": 2.0, "global_rope_scaling_factor": 8.0, "sliding_window_size": 1}),
    ("gemma3", {"use_sliding_window_attention": False}),
    *(("embeddinggemma", {"sliding_window_size": size}) for size in (1, 3, 5, 21)),
    ("embeddinggemma", {"use_sliding_window_attention": False}),
]
"""Arguments that KerasHub's format can represent."""
OF_OTHER_GEMMAS = ("image_size", "vision_encoder", "is_embedding_model", "pooling_intermediate_dim", "embedding_dim")


def attention_for(architecture):
    """transformers' fused attention knows no cap."""
    return "eager" if architecture == CAPPED else None


def assert_complete(report):
    """transformers' RoBERTa and MPNet always have a pooler."""
    assert all(name.startswith("pooler.") for names in report.values() for name in names), report


def tolerance_for(architecture, dtype):
    """KerasHub's RoBERTa has one table for positions and the segment, whose sum is rounded."""
    return 0.05 if architecture == "roberta" and dtype == "bfloat16" else 1e-5


@pytest.mark.parametrize(("architecture", "changes"), TRANSFORMERS, ids=str)
def test_transformers_computes_the_same(architecture, changes, build, compute, ask, agree, transformers_peer, folder):
    backbone = build(architecture, **changes)
    backbone.save_to_preset(folder, format="transformers", certificate=False)
    there = ask(transformers_peer, "load", folder, architecture, attention=attention_for(architecture))
    assert_complete(there["report"])
    assert there["dtype"] == "float32"
    agree(compute(backbone, architecture), there["outputs"], architecture)


@pytest.mark.parametrize(("architecture", "changes"), KERASHUB, ids=str)
def test_kerashub_computes_the_same(architecture, changes, build, compute, ask, agree, kerashub_peer, folder):
    backbone = build(architecture, **changes)
    backbone.save_to_preset(folder, format="kerashub", certificate=False)
    there = ask(kerashub_peer, "load", folder, architecture)
    agree(compute(backbone, architecture), there["outputs"], architecture)
    for field in ("vocab_size", *OF_OTHER_GEMMAS):  # the first is ELECTRA's name of an argument
        there["config"].pop(field, None)
    assert there["config"] | backbone.get_config() == backbone.get_config() | {"dtype": there["config"]["dtype"]}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_transformers_loads_shards(architecture, dtype, build, compute, ask, agree, transformers_peer, folder):
    build(architecture, dtype).save_to_preset(folder, SMALL, format="transformers")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    there = ask(transformers_peer, "load", folder, architecture, attention=attention_for(architecture))
    assert_complete(there["report"])
    assert there["dtype"] == dtype
    agree(compute(build(architecture), architecture), there["outputs"], architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_kerashub_loads_shards(architecture, dtype, build, compute, ask, agree, kerashub_peer, folder):
    build(architecture, dtype).save_to_preset(folder, SMALL, format="kerashub")
    assert len(list(folder.glob("model_*.weights.h5"))) > 1
    there = ask(kerashub_peer, "load", folder, architecture)
    expected = compute(build(architecture), architecture)
    agree(expected, there["outputs"], architecture, tolerance_for(architecture, dtype))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_file_in_bfloat16_is_loaded_by_both(
    architecture, build, compute, ask, agree, transformers_peer, kerashub_peer, folder
):
    expected = compute(build(architecture), architecture)
    backbone = build(architecture, "bfloat16")
    backbone.save_to_preset(folder / "t", None, format="transformers")
    backbone.save_to_preset(folder / "k", None, format="kerashub")
    there = ask(transformers_peer, "load", folder / "t", architecture, attention=attention_for(architecture))
    assert there["dtype"] == "bfloat16"
    agree(expected, there["outputs"], architecture)
    there = ask(kerashub_peer, "load", folder / "k", architecture)
    agree(expected, there["outputs"], architecture, tolerance_for(architecture, "bfloat16"))


@pytest.mark.parametrize(
    ("architecture", "model"),
    [(architecture, "AutoModelForCausalLM") for architecture in ("gpt2", "gemma", "gemma2", "gemma3")],
)
def test_a_head_on_top_has_the_same_logits(architecture, model, build, compute, ask, agree, transformers_peer, folder):
    backbone = build(architecture)
    backbone.save_to_preset(folder, format="transformers")
    there = ask(transformers_peer, "load", folder, architecture, model=model, attention=attention_for(architecture))
    ours = compute(backbone, architecture)
    agree({"sequence_output": ours["logits"]}, {"sequence_output": there["outputs"]["logits"]}, architecture)


@pytest.mark.parametrize("size", [2, 4])
def test_an_even_window_on_both_sides_is_written_as_the_next_odd_one(
    size, build, compute, ask, agree, kerashub_peer, folder
):
    backbone = build("embeddinggemma", sliding_window_size=size)
    backbone.save_to_preset(folder, format="kerashub", certificate=False)
    there = ask(kerashub_peer, "load", folder, "embeddinggemma")
    assert there["config"]["sliding_window_size"] == size + 1
    agree(compute(backbone, "embeddinggemma"), there["outputs"], "embeddinggemma")
