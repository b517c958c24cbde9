"""Sparse presets of the sizes of Llama 3: 70 and 405 billion parameters, in files without contents."""

from pathlib import Path

from benchmarks.sparse import write_files

_LLAMA = {
    "vocabulary_size": 128_256,
    "num_key_value_heads": 8,
    "rope_max_wavelength": 500_000.0,
    "layer_norm_epsilon": 1e-5,
    "max_sequence_length": 131_072,
    "head_dim": None,
    "tie_word_embeddings": False,
    "sliding_window": None,
    "layer_types": None,
}
LLAMAS = {
    "llama-70b": _LLAMA | {"num_layers": 80, "hidden_dim": 8192, "intermediate_dim": 28_672, "num_query_heads": 64},
    "llama-405b": _LLAMA
    | {"num_layers": 126, "hidden_dim": 16_384, "intermediate_dim": 53_248}
    | {"num_query_heads": 128},
}
"""The arguments, from the public configs of Llama 3.1 70B and 405B."""


def llama_shapes(arguments: dict) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the weights of a Llama by name."""
    width, inner = arguments["hidden_dim"], arguments["intermediate_dim"]
    keys = width // arguments["num_query_heads"] * arguments["num_key_value_heads"]
    layer = {
        "self_attention_layernorm/scale": (width,),
        "self_attention/query/kernel": (width, width),
        "self_attention/key/kernel": (width, keys),
        "self_attention/value/kernel": (width, keys),
        "self_attention/attention_output/kernel": (width, width),
        "feedforward_layernorm/scale": (width,),
        "feedforward_gate_dense/kernel": (width, inner),
        "feedforward_intermediate_dense/kernel": (width, inner),
        "feedforward_output_dense/kernel": (inner, width),
    }
    return {
        "token_embedding/embeddings": (arguments["vocabulary_size"], width),
        "token_embedding/reverse_embeddings": (width, arguments["vocabulary_size"]),
        **{
            f"transformer_layer_{number}/{name}": shape
            for number in range(arguments["num_layers"])
            for name, shape in layer.items()
        },
        "sequence_output_layernorm/scale": (width,),
    }


def write_llama(name: str, folder: Path) -> Path:
    """Writes one of `LLAMAS` in bfloat16, in shards of 5 GB, into a folder of its name; returns it."""
    arguments = LLAMAS[name]
    write_files(folder / name, "LlamaBackbone", arguments, llama_shapes(arguments), "bfloat16", 5)
    return folder / name
