"""Targets of LoRA, found by the names that KerasHub's layers have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

_NAMES = {
    "attention.query": ("query", "query_dense", "q_proj", "query_proj", "to_q"),
    "attention.key": ("key", "key_dense", "k_proj", "key_proj", "to_k"),
    "attention.value": ("value", "value_dense", "v_proj", "value_proj", "to_v"),
    "attention.output": ("attention_output", "output_dense", "o_proj", "out_proj", "output_proj"),
    "mlp.gate": ("feedforward_gate_dense", "gate_proj", "ffw_gating"),
    "mlp.up": ("feedforward_intermediate_dense", "intermediate_dense", "up_proj", "ffw_gating_2", "fc1", "dense_1"),
    "mlp.down": ("feedforward_output_dense", "down_proj", "ffw_linear", "fc2", "dense_2"),
}
"""Names of layers in KerasHub, by role."""
_TABLE = "embedding.token"


def roles(weights: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Returns the paths of the layers of each role, from the names of a backbone's weights."""
    paths = _paths(weights, "kernel")
    found = {role: tuple(path for path in paths if _last(path) in names) for role, names in _NAMES.items()}
    found[_TABLE] = tuple(path for path in _paths(weights, "embeddings") if _last(path) == "token_embedding")
    return {role: layers for role, layers in found.items() if layers}


def default_targets(weights: Iterable[str], names: Sequence[str]) -> tuple[str, ...]:
    """Returns the layer names that KerasHub adapts by default, as far as a backbone has layers of these names."""
    own = {_last(path) for path in _paths(weights, "kernel")}
    return tuple(name for name in names if name in own)


def _paths(weights: Iterable[str], weight: str) -> list[str]:
    return [path for name in weights for path, _, last in [name.rpartition("/")] if last == weight]


def _last(path: str) -> str:
    return path.rpartition("/")[2]
