"""transformers' names of tensors, by those of GGUF: tables for each group of architectures.

The names of GGUF are those of the table `MODEL_TENSORS` in the `gguf` package. `{}` is the number of a layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_LAYER = re.compile(r"blk\.(0|[1-9]\d{0,4})\.(.+)")
_KINDS = ("weight", "bias")

_COMMON = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "blk.{}.attn_norm": "model.layers.{}.input_layernorm",
    "blk.{}.attn_output": "model.layers.{}.self_attn.o_proj",
    "blk.{}.ffn_down": "model.layers.{}.mlp.down_proj",
}
_HEAD = {"output": "lm_head"}
_ATTENTION = {
    "blk.{}.attn_q": "model.layers.{}.self_attn.q_proj",
    "blk.{}.attn_k": "model.layers.{}.self_attn.k_proj",
    "blk.{}.attn_v": "model.layers.{}.self_attn.v_proj",
}
_HEAD_NORMS = {
    "blk.{}.attn_q_norm": "model.layers.{}.self_attn.q_norm",
    "blk.{}.attn_k_norm": "model.layers.{}.self_attn.k_norm",
}
_GATED = {
    "blk.{}.ffn_gate": "model.layers.{}.mlp.gate_proj",
    "blk.{}.ffn_up": "model.layers.{}.mlp.up_proj",
}
_NORM_BEFORE_MLP = {"blk.{}.ffn_norm": "model.layers.{}.post_attention_layernorm"}
_FOUR_NORMS = {
    "blk.{}.post_attention_norm": "model.layers.{}.post_attention_layernorm",
    "blk.{}.ffn_norm": "model.layers.{}.pre_feedforward_layernorm",
    "blk.{}.post_ffw_norm": "model.layers.{}.post_feedforward_layernorm",
}

GEMMA = {**_COMMON, **_ATTENTION, **_GATED, **_NORM_BEFORE_MLP}
LLAMA = {**GEMMA, **_HEAD}
QWEN3 = {**LLAMA, **_HEAD_NORMS}
PHI3 = {
    **_COMMON,
    **_HEAD,
    **_NORM_BEFORE_MLP,
    "blk.{}.attn_qkv": "model.layers.{}.self_attn.qkv_proj",
    "blk.{}.ffn_up": "model.layers.{}.mlp.gate_up_proj",
}
GEMMA2 = {**_COMMON, **_ATTENTION, **_GATED, **_FOUR_NORMS}
GEMMA3 = {**GEMMA2, **_HEAD, **_HEAD_NORMS}
GPT2 = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
    "blk.{}.attn_norm": "transformer.h.{}.ln_1",
    "blk.{}.attn_qkv": "transformer.h.{}.attn.c_attn",
    "blk.{}.attn_output": "transformer.h.{}.attn.c_proj",
    "blk.{}.ffn_norm": "transformer.h.{}.ln_2",
    "blk.{}.ffn_up": "transformer.h.{}.mlp.c_fc",
    "blk.{}.ffn_down": "transformer.h.{}.mlp.c_proj",
}


def translated(name: str, table: Mapping[str, str]) -> str | None:
    """Returns transformers' name of a tensor, or None if the table has none."""
    stem, _, kind = name.rpartition(".")
    layer = _LAYER.fullmatch(stem)
    found = table.get(f"blk.{{}}.{layer[2]}" if layer else stem)
    if found is None or kind not in _KINDS:
        return None
    return f"{found.format(layer[1]) if layer else found}.{kind}"
