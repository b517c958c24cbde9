"""All architectures that are read, by the names that GGUF has for them."""

from __future__ import annotations

from vertebra_gguf.models import names
from vertebra_gguf.models.architecture import Architecture, Fields, Source, decoder_fields, rounded, special_ids
from vertebra_gguf.models.rotations import long_factors, rotation_fields
from vertebra_gguf.reading.layouts import Layout

_SLIDING, _FULL = "sliding_attention", "full_attention"

# === Llama, Qwen, Phi ===


def _llama(source: Source) -> Fields:
    _refuse_experts(source)
    _check_whole_rotation(source)
    window = source.count("attention.sliding_window", 0)
    name = ("mistral", "MistralForCausalLM") if window else ("llama", "LlamaForCausalLM")
    return {
        **decoder_fields(source, *name),
        **rotation_fields(source),
        "hidden_act": "silu",
        "attention_bias": _has_bias(source, "attn_q"),
        "mlp_bias": _has_bias(source, "ffn_gate"),
        **({"sliding_window": window} if window else {}),
    }


def _smollm3(source: Source) -> Fields:
    """Returns the fields of SmolLM3: each fourth layer has no rotation, which llama.cpp takes for granted, too."""
    fields = _llama(source) | {"model_type": "smollm3", "architectures": ["SmolLM3ForCausalLM"]}
    rotated = [int((index + 1) % 4 != 0) for index in range(fields["num_hidden_layers"])]
    return fields | {"no_rope_layers": rotated, "no_rope_layer_interval": 4, "use_sliding_window": False}


def _qwen2(source: Source) -> Fields:
    _check_whole_rotation(source)
    fields = decoder_fields(source, "qwen2", "Qwen2ForCausalLM") | rotation_fields(source)
    return fields | {"hidden_act": "silu", "use_sliding_window": False}


def _qwen3(source: Source) -> Fields:
    bias = {"attention_bias": _has_bias(source, "attn_q")}
    return _qwen2(source) | {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], **bias}


def _phi3(source: Source) -> Fields:
    fields = decoder_fields(source, "phi3", "Phi3ForCausalLM")
    rotated = source.count("rope.dimension_count", source.head_dim)
    theta = rounded(source.number("rope.freq_base", 10_000.0))
    former = source.count("rope.scaling.original_context_length", fields["max_position_embeddings"])
    return fields | {
        "rope_theta": theta,
        "rope_scaling": long_factors(source),
        "original_max_position_embeddings": former,
        "partial_rotary_factor": rotated / max(source.head_dim, 1),
        "hidden_act": "silu",
        "sliding_window": source.count("attention.sliding_window", 0) or None,
    }


# === Gemma ===


def _gemma(source: Source) -> Fields:
    fields = decoder_fields(source, "gemma", "GemmaForCausalLM") | rotation_fields(source)
    return fields | {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"}


def _gemma2(source: Source) -> Fields:
    return {
        **decoder_fields(source, "gemma2", "Gemma2ForCausalLM"),
        **rotation_fields(source),
        "hidden_activation": "gelu_pytorch_tanh",
        "sliding_window": source.count("attention.sliding_window", 4096),
        "attn_logit_softcapping": rounded(source.number("attn_logit_softcapping", 50.0)),
        "final_logit_softcapping": rounded(source.number("final_logit_softcapping", 30.0)),
        "query_pre_attn_scalar": _query_scalar(source, layers_of_27b=46),
        "layer_types": _layer_types(source, every=2),
    }


def _gemma3(source: Source) -> Fields:
    cap = rounded(source.number("final_logit_softcapping", 0.0))
    return {
        **decoder_fields(source, "gemma3_text", "Gemma3ForCausalLM"),
        **rotation_fields(source, theta=1_000_000.0),
        "rope_local_base_freq": rounded(source.number("rope.freq_base_swa", 10_000.0)),
        "hidden_activation": "gelu_pytorch_tanh",
        "sliding_window": source.count("attention.sliding_window"),
        "attn_logit_softcapping": None,
        "final_logit_softcapping": cap or None,
        "query_pre_attn_scalar": _query_scalar(source, layers_of_27b=62),
        "layer_types": _layer_types(source, every=6),
    }


def _query_scalar(source: Source, layers_of_27b: int) -> int:
    """Returns the number whose root divides scores: llama.cpp knows, too, that the models of 27B have another one."""
    if source.count("block_count") == layers_of_27b:
        return source.count("embedding_length") // source.count("attention.head_count")
    return source.head_dim


def _layer_types(source: Source, every: int) -> list[str]:
    count = source.count("block_count")
    if count > 1_000:
        raise source.container.fields.refusal(f"{source.name}.block_count", f"is {count:,}; at most 1,000 are read")
    return [_FULL if (index + 1) % every == 0 else _SLIDING for index in range(count)]


# === GPT-2 ===


def _gpt2(source: Source) -> Fields:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": source.vocabulary_size,
        "n_positions": source.count("context_length"),
        "n_embd": source.count("embedding_length"),
        "n_layer": source.count("block_count"),
        "n_head": source.count("attention.head_count"),
        "n_inner": source.count("feed_forward_length"),
        "layer_norm_epsilon": rounded(source.number("attention.layer_norm_epsilon")),
        "activation_function": "gelu_new",
        **special_ids(source),
    }


# === Variants that are not read ===


def _refuse_experts(source: Source) -> None:
    if count := source.count("expert_count", 0):
        problem = f"is {count}: mixtures of experts are not read"
        raise source.container.fields.refusal(f"{source.name}.expert_count", problem)


def _check_whole_rotation(source: Source) -> None:
    rotated = source.count("rope.dimension_count", source.head_dim)
    if rotated != source.head_dim:
        problem = f"is {rotated}, and only rotations of whole heads are read, here {source.head_dim}"
        raise source.container.fields.refusal(f"{source.name}.rope.dimension_count", problem)


def _refuse_changes(source: Source) -> None:
    """Refuses fields that change the computation and have no counterpart in the config, unless they change nothing."""
    fields, prefix = source.container.fields, source.name
    for key, neutral in _NEUTRAL.items():
        value = fields.value(f"{prefix}.{key}")
        if value is not None and value not in neutral:
            raise fields.refusal(
                f"{prefix}.{key}", f"is {value!r}, which is not read", "Use the model's safetensors files"
            )
    if source.has("attention.value_length") and source.count("attention.value_length") != source.head_dim:
        problem = f"is {source.count('attention.value_length')}, and keys have {source.head_dim} numbers"
        raise fields.refusal(f"{prefix}.attention.value_length", problem)


_NEUTRAL: dict[str, tuple[object, ...]] = {
    "attention.causal": (True,),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "attention.scale": (0.0,),
    "embedding_scale": (0.0, 1.0),
    "logit_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
    "rope.scaling.yarn_attn_factor": (1.0,),
    "rope.scaling.yarn_ext_factor": (-1.0, 1.0),
}
"""The values with which a field changes nothing."""


def _has_bias(source: Source, name: str) -> bool:
    return f"blk.0.{name}.bias" in source.tensors


# === Layouts ===


def _same(_source: Source, _name: str) -> None:
    """Returns None: the file has transformers' order."""


def _pairs(source: Source, name: str) -> Layout | None:
    """Returns the layout of queries and keys: the converter puts the two numbers that a rotation pairs side by side."""
    part = name.split(".")[2] if name.startswith("blk.") and name.count(".") == 3 else ""
    if part not in ("attn_q", "attn_k"):
        return None
    heads = source.count("attention.head_count")
    heads = heads if part == "attn_q" else source.count("attention.head_count_kv", heads)
    rows = source.tensors[name].shape[0]
    if not heads or rows % (2 * heads):
        raise source.container.fields.refusal(name, f"has {rows} rows, which {heads} heads cannot have")
    return Layout(heads=heads)


def _unshifted(_source: Source, name: str) -> Layout | None:
    """Returns the layout of normalisations: the converter adds the 1 that Gemma adds to each scale."""
    return Layout(shift=1.0) if name.endswith("norm.weight") else None


def _conv1d(source: Source, name: str) -> Layout | None:
    """Returns the layout of kernels: in transformers, GPT-2's are inputs × outputs."""
    is_kernel = name.startswith("blk.") and len(source.tensors[name].shape) == 2
    return Layout(transposed=True) if is_kernel else None


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(names.LLAMA, _llama, _pairs),
    "smollm3": Architecture(names.LLAMA, _smollm3, _pairs),
    "qwen2": Architecture(names.LLAMA, _qwen2, _same),
    "qwen3": Architecture(names.QWEN3, _qwen3, _same),
    "phi3": Architecture(names.PHI3, _phi3, _same),
    "gemma": Architecture(names.GEMMA, _gemma, _unshifted),
    "gemma2": Architecture(names.GEMMA2, _gemma2, _unshifted),
    "gemma3": Architecture(names.GEMMA3, _gemma3, _unshifted),
    "gpt2": Architecture(names.GPT2, _gpt2, _conv1d),
}


def architecture_of(source: Source) -> Architecture:
    """Returns the architecture of a file.

    Raises:
        PresetConfigError: it is not one that is read, or it is a variant of one.
    """
    name = source.name
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        problem = f"is {name!r}; the architectures that are read are {known}"
        raise source.container.fields.refusal("general.architecture", problem, "Use the model's safetensors files")
    _refuse_changes(source)
    return ARCHITECTURES[name]
