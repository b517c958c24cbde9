"""The models that are measured: what each library is asked to build."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Model:
    """One architecture at one size."""

    title: str
    backbone: str
    """Its class in Vertebra and in KerasHub."""
    arguments: dict[str, Any]
    """What both are given."""
    architecture: str
    """Its name in transformers: `BertModel` is built from a `BertConfig`."""
    fields: dict[str, Any]
    """What differs from the defaults of that config."""


MODELS = {
    "bert": Model(
        "BERT-base, 109 M",
        "BertBackbone",
        {"vocabulary_size": 30522, "num_layers": 12, "num_heads": 12, "hidden_dim": 768, "intermediate_dim": 3072},
        "Bert",
        {"hidden_act": "gelu_new"},  # the activation that KerasHub's always has, so that all formats can hold it
    ),
    "gpt2": Model(
        "GPT-2, 124 M",
        "GPT2Backbone",
        {"vocabulary_size": 50257, "num_layers": 12, "num_heads": 12, "hidden_dim": 768, "intermediate_dim": 3072},
        "GPT2",
        {},
    ),
    # Half as wide as Gemma 2B, with its one head of keys and values, and fewer layers and tokens.
    "gemma": Model(
        "Gemma, 154 M",
        "GemmaBackbone",
        {
            "vocabulary_size": 32000,
            "num_layers": 8,
            "num_query_heads": 4,
            "num_key_value_heads": 1,
            "hidden_dim": 1024,
            "intermediate_dim": 8192,  # of both halves together
            "head_dim": 256,
        },
        "Gemma",
        {
            "vocab_size": 32000,
            "num_hidden_layers": 8,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "head_dim": 256,
        },
    ),
}

TINY = Model(
    "a BERT of 2 layers, 32 wide",
    "BertBackbone",
    {"vocabulary_size": 1000, "num_layers": 2, "num_heads": 2, "hidden_dim": 32, "intermediate_dim": 64},
    "Bert",
    {
        "vocab_size": 1000,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "hidden_act": "gelu_new",
    },
)
"""A model that costs almost nothing, to try a measurement or to repeat one a thousand times."""


LLAMA = Model(
    "Llama, 494 M",
    "LlamaBackbone",
    {
        "vocabulary_size": 151936,
        "num_layers": 24,
        "num_query_heads": 14,
        "num_key_value_heads": 2,
        "hidden_dim": 896,
        "intermediate_dim": 4864,
        "tie_word_embeddings": True,
    },
    "Llama",
    {
        "vocab_size": 151936,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "tie_word_embeddings": True,
    },
)
"""A Llama of the sizes of Qwen2.5-0.5B."""
TINY_LLAMA = Model(
    "a Llama of 2 layers, 32 wide",
    "LlamaBackbone",
    {
        "vocabulary_size": 1000,
        "num_layers": 2,
        "num_query_heads": 4,
        "num_key_value_heads": 2,
        "hidden_dim": 32,
        "intermediate_dim": 64,
        "tie_word_embeddings": True,
    },
    "Llama",
    {
        "vocab_size": 1000,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "tie_word_embeddings": True,
    },
)
"""A decoder that costs almost nothing, to try the measurement of generation."""
DECODERS = {"gpt2": MODELS["gpt2"], "llama": LLAMA}
"""The models that generate text."""
_OTHERS = {"tiny": TINY, "tiny_llama": TINY_LLAMA}


def model_of(name: str) -> Model:
    """Returns one of `MODELS` or `DECODERS`, or `TINY` for `tiny`, or `TINY_LLAMA` for `tiny_llama`."""
    return (MODELS | DECODERS | _OTHERS)[name]


GEMMA_2B = {
    "vocabulary_size": 256000,
    "num_layers": 18,
    "num_query_heads": 8,
    "num_key_value_heads": 1,
    "hidden_dim": 2048,
    "intermediate_dim": 32768,
    "head_dim": 256,
}
GEMMA2_27B = {
    "vocabulary_size": 256000,
    "num_layers": 46,
    "num_query_heads": 32,
    "num_key_value_heads": 16,
    "hidden_dim": 4608,
    "intermediate_dim": 73728,
    "head_dim": 128,
    "query_head_dim_normalize": False,
    "use_post_ffw_norm": True,
    "use_post_attention_norm": True,
    "attention_logit_soft_cap": 50.0,
    "final_logit_soft_cap": 30.0,
    "use_sliding_window_attention": True,
}
