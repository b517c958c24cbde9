"""`Architecture`: how the files of one architecture are read; and what their fields have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra_gguf.reading.container import Container, StoredTensor
from vertebra_gguf.reading.layouts import Layout


@dataclass(frozen=True, slots=True)
class Source:
    """A file whose header was read."""

    path: Path
    container: Container
    data: memoryview
    """The bytes of the file, of which those after the header may be zeros."""

    @property
    def name(self) -> str:
        """The name of the architecture, with which the keys of its fields begin."""
        return self.container.fields.text("general.architecture")

    def text(self, key: str, default: str | None = None) -> str:
        return self.container.fields.text(f"{self.name}.{key}", default)

    def number(self, key: str, default: float | None = None) -> float:
        return self.container.fields.number(f"{self.name}.{key}", default)

    def count(self, key: str, default: int | None = None) -> int:
        return self.container.fields.count(f"{self.name}.{key}", default)

    def has(self, key: str) -> bool:
        return f"{self.name}.{key}" in self.container.fields

    @property
    def tensors(self) -> Mapping[str, StoredTensor]:
        return self.container.tensors

    @property
    def vocabulary_size(self) -> int:
        """The rows of the token table."""
        table = self.tensors.get("token_embd.weight")
        if table is None or len(table.shape) != 2:
            raise self.container.fields.refusal("token_embd.weight", "is not a table of tokens")
        return table.shape[0]

    @property
    def head_dim(self) -> int:
        heads = self.count("attention.head_count")
        if not heads:
            raise self.container.fields.refusal(f"{self.name}.attention.head_count", "is 0")
        return self.count("attention.key_length", self.count("embedding_length") // heads)

    @property
    def has_head(self) -> bool:
        """Whether the head has a matrix of its own, which is not the token table."""
        return "output.weight" in self.tensors


Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Architecture:
    """How the files of an architecture are read."""

    names: Mapping[str, str]
    """transformers' names of tensors, by those of GGUF."""
    config: Callable[[Source], Fields]
    """Returns the config, as transformers writes it."""
    layout: Callable[[Source, str], Layout | None]
    """Returns how the file has the values of a tensor, by its name in GGUF; None for transformers' order."""


def decoder_fields(source: Source, model_type: str, model_class: str) -> Fields:
    """Returns the fields that the configs of all architectures with rotary embeddings have."""
    heads = source.count("attention.head_count")
    return {
        "architectures": [model_class],
        "model_type": model_type,
        "vocab_size": source.vocabulary_size,
        "hidden_size": source.count("embedding_length"),
        "intermediate_size": source.count("feed_forward_length"),
        "num_hidden_layers": source.count("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": source.count("attention.head_count_kv", heads),
        "head_dim": source.head_dim,
        "max_position_embeddings": source.count("context_length"),
        "rms_norm_eps": rounded(source.number("attention.layer_norm_rms_epsilon")),
        "tie_word_embeddings": not source.has_head,
        **special_ids(source),
    }


def special_ids(source: Source) -> Fields:
    """Returns the ids of special tokens that the file names."""
    fields = source.container.fields
    keys = {f"{role}_token_id": f"tokenizer.ggml.{name}_token_id" for role, name in _ROLES.items()}
    return {field: fields.count(key) for field, key in keys.items() if key in fields}


_ROLES = {"bos": "bos", "eos": "eos", "pad": "padding"}


def rounded(value: float) -> float:
    """Returns the shortest decimal number with the same value in float32: files have 1e-06 as 9.999999974752427e-07."""
    return float(f"{value:.7g}")
