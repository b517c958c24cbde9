"""The fields of GGUF become those of transformers' configs, and variants that are not read are refused by name."""

import struct

import pytest

from gguf_bytes import LLAMA, gguf, tensor
from vertebra.errors import PresetConfigError
from vertebra_gguf.models.architecture import Source
from vertebra_gguf.models.table import ARCHITECTURES, architecture_of
from vertebra_gguf.reading.container import read_container
from vertebra_gguf.reading.layouts import Layout

TABLE = ("token_embd.weight", (16, 8))


def source(fields, *tensors, values=()):
    """Returns a file of float32 tensors; `values` are those of the first one."""
    described, position = [], 0
    for name, shape in tensors or (TABLE,):
        described.append(tensor(name, shape, 0, position))
        size = shape[0] * (shape[1] if len(shape) == 2 else 1)
        position += -(-4 * size // 32) * 32
    data = struct.pack(f"<{len(values)}f", *values)
    content = gguf(fields, described, data + bytes(position - len(data)))
    return Source("model.gguf", read_container("model.gguf", memoryview(content)), memoryview(content))


def config(fields, *tensors, values=()):
    one = source(fields, *tensors, values=values)
    return architecture_of(one).config(one)


def of(name, **fields):
    """Returns the fields of a tiny model of an architecture."""
    own = {key.replace("llama.", f"{name}."): value for key, value in LLAMA.items()}
    return own | {"general.architecture": name} | {f"{name}.{key.replace('__', '.')}": v for key, v in fields.items()}


def test_a_llama():
    assert config(LLAMA | {"tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2}) == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 16,
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 4,
        "max_position_embeddings": 32,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "rope_theta": 10_000.0,
        "rope_scaling": None,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
    }


def test_a_head_of_its_own_and_biases_are_seen_from_the_tensors():
    found = config(LLAMA, TABLE, ("output.weight", (16, 8)), ("blk.0.attn_q.bias", (8,)))
    assert (found["tie_word_embeddings"], found["attention_bias"], found["mlp_bias"]) == (False, True, False)


def test_a_llama_with_a_window_is_a_mistral():
    found = config(of("llama", attention__sliding_window=7))
    assert (found["model_type"], found["sliding_window"]) == ("mistral", 7)


def test_gemma_2_and_3():
    second = config(of("gemma2", attention__sliding_window=7, attn_logit_softcapping=50.0, attention__key_length=6))
    assert second["query_pre_attn_scalar"] == second["head_dim"] == 6
    assert (second["attn_logit_softcapping"], second["final_logit_softcapping"]) == (50.0, 30.0)
    assert second["layer_types"] == ["sliding_attention"]
    third = config(of("gemma3", attention__sliding_window=7, block_count=7, rope__freq_base=1e6))
    assert third["layer_types"] == [*["sliding_attention"] * 5, "full_attention", "sliding_attention"]
    assert (third["rope_theta"], third["rope_local_base_freq"], third["model_type"]) == (1e6, 1e4, "gemma3_text")
    assert third["final_logit_softcapping"] is None


@pytest.mark.parametrize(("name", "layers"), [("gemma2", 46), ("gemma3", 62)])
def test_the_scalar_of_gemma_27b_is_known_from_its_layers(name, layers):
    found = config(of(name, block_count=layers, attention__sliding_window=7, attention__key_length=6))
    assert found["query_pre_attn_scalar"] == 8 // 2


def test_smollm3_does_not_rotate_each_fourth_layer():
    found = config(of("smollm3", block_count=5))
    assert (found["no_rope_layers"], found["model_type"]) == ([1, 1, 1, 0, 1], "smollm3")


def test_phi3_rotates_a_part_of_its_heads():
    found = config(of("phi3", rope__dimension_count=2, attention__sliding_window=0))
    assert (found["partial_rotary_factor"], found["sliding_window"], found["rope_scaling"]) == (0.5, None, None)


def test_qwen():
    second, third = config(of("qwen2")), config(of("qwen3", attention__key_length=6))
    assert (second["model_type"], third["model_type"], third["head_dim"]) == ("qwen2", "qwen3", 6)
    assert second["use_sliding_window"] is False


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (of("mamba"), r"general.architecture is 'mamba'; the architectures that are read are llama, smollm3"),
        (of("llama", expert_count=8), "llama.expert_count is 8: mixtures of experts"),
        (of("llama", rope__dimension_count=2), "llama.rope.dimension_count is 2, and only rotations of whole heads"),
        (of("llama", attention__head_count=0), "llama.attention.head_count is 0"),
        (of("llama", attention__head_count=[2, 4]), "the same for all layers"),
        (of("llama", attention__scale=0.5), "llama.attention.scale is 0.5, which is not read"),
        (of("llama", attention__causal=False), "llama.attention.causal is False, which is not read"),
        (of("llama", attention__value_length=3), "llama.attention.value_length is 3, and keys have 4"),
        (of("llama", rope__freq_base=True), "llama.rope.freq_base is True, expected a number"),
        (of("llama", embedding_length="8"), "llama.embedding_length is '8', expected an int"),
        (of("llama", rope__scaling__type="odd"), "llama.rope.scaling.type is 'odd'"),
        (of("gemma2", block_count=2_000, attention__sliding_window=7), "block_count is 2,000; at most 1,000"),
        ({"general.name": "x"}, "general.architecture is missing"),
    ],
)
def test_a_variant_that_is_not_read_is_refused(fields, words):
    with pytest.raises(PresetConfigError, match=words):
        config(fields)


def test_a_file_without_a_table_of_tokens_is_refused():
    with pytest.raises(PresetConfigError, match=r"token_embd\.weight is not a table of tokens"):
        config(LLAMA, ("output_norm.weight", (8,)))


# === Scaling of rotary embeddings ===


def test_linear_and_yarn_scaling():
    linear = of("llama", rope__scaling__type="linear", rope__scaling__factor=8.0)
    assert config(linear)["rope_scaling"] == {"rope_type": "linear", "factor": 8.0}
    assert config(of("llama", rope__scale_linear=4.0))["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}
    assert config(of("llama", rope__scale_linear=1.0))["rope_scaling"] is None
    yarn = of("qwen2", rope__scaling__type="yarn", rope__scaling__factor=4.0)
    found = config(yarn | {"qwen2.rope.scaling.original_context_length": 16})["rope_scaling"]
    assert found == {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    betas = {"qwen2.rope.scaling.yarn_beta_fast": 20.0, "qwen2.rope.scaling.yarn_beta_slow": 2.0}
    found = config(yarn | {"qwen2.rope.scaling.original_context_length": 16} | betas)["rope_scaling"]
    assert (found["beta_fast"], found["beta_slow"]) == (20.0, 2.0)


def test_fields_that_change_nothing_are_read():
    neutral = of("llama", attention__scale=0.0, attention__causal=True, attention__value_length=4, logit_scale=1.0)
    assert config(neutral) == config(LLAMA)


def test_factors_of_one_are_no_scaling():
    assert config(LLAMA, ("rope_freqs.weight", (2,)), TABLE, values=(1.0, 1.0))["rope_scaling"] is None


def test_unknown_factors_are_refused():
    with pytest.raises(PresetConfigError, match=r"has other factors than Llama 3\.1 and 3\.2"):
        config(LLAMA, ("rope_freqs.weight", (2,)), TABLE, values=(1.0, 3.0))


def test_factors_that_are_not_here_are_refused():
    with pytest.raises(PresetConfigError, match=r"not among the first bytes .* vertebra pull"):
        config(LLAMA, ("rope_freqs.weight", (2,)), TABLE, values=(0.0, 0.0))


def test_a_long_list_of_factors_is_refused():
    with pytest.raises(PresetConfigError, match="expected a short list of F32"):
        config(LLAMA, ("rope_freqs.weight", (2048,)), TABLE)


def test_phi3_has_factors_for_long_and_short_texts():
    fields = of("phi3", rope__scaling__original_context_length=16)
    one = ("rope_factors_long.weight", (2,)), ("rope_factors_short.weight", (2,))
    short = (*(0.0,) * 6, 1.0, 1.5)
    found = config(fields, *one, TABLE, values=(2.0, 4.0, *short))
    scaling = {"long_factor": [2.0, 4.0], "short_factor": [1.0, 1.5], "rope_type": "longrope", "type": "longrope"}
    assert (found["rope_scaling"], found["original_max_position_embeddings"]) == (scaling, 16)


# === Layouts ===


def layouts(name, *tensors):
    one = source(of(name) if name != "gpt2" else {"general.architecture": "gpt2"}, *tensors)
    return [ARCHITECTURES[name].layout(one, tensor) for tensor, _ in tensors]


def test_llama_pairs_the_rows_of_queries_and_keys():
    shapes = [("blk.0.attn_q.weight", (8, 8)), ("blk.0.attn_k.bias", (4,)), ("blk.0.attn_v.weight", (4, 8))]
    assert layouts("llama", *shapes) == [Layout(heads=2), Layout(heads=1), None]
    assert layouts("qwen2", *shapes) == [None, None, None]


def test_rows_that_heads_cannot_have_are_refused():
    with pytest.raises(PresetConfigError, match="has 7 rows, which 2 heads cannot have"):
        layouts("llama", ("blk.0.attn_q.weight", (7, 8)))


def test_gemma_adds_one_to_its_scales():
    shapes = [("output_norm.weight", (8,)), ("blk.0.attn_norm.weight", (8,)), ("blk.0.attn_q.weight", (8, 8))]
    assert layouts("gemma", *shapes) == [Layout(shift=1.0), Layout(shift=1.0), None]


def test_gpt2_has_kernels_the_other_way_round():
    shapes = [("blk.0.ffn_up.weight", (32, 8)), ("blk.0.ffn_up.bias", (32,)), TABLE]
    assert layouts("gpt2", *shapes) == [Layout(transposed=True), None, None]
