"""The memory of activations in training: estimated from the weights and the layout, by the method of Korthikanti et al.

The method (2022, arXiv:2205.05198) counts the tensors that each step keeps for the gradients; the counts are those of
Vertebra's layers on torch, without dropout and with fused attention. For each token, in numbers of the compute dtype:
the inputs of the attention and of the feed-forward network of a block, as wide as its hidden states; queries, keys,
values, and their mixture in two orders of axes, each as wide as the queries, because grouped heads are repeated; the
outputs of the feed-forward network's first kernels, those of a gate before and after its activation, and the input of
its last. Normalisations keep their inputs in float32, those by the root mean square twice. Parts of kernels that a
tensor-parallel axis divides have their share, and the rest is whole. With recomputation (section 5 of the paper), a
block keeps its input alone, and one block at a time has the rest. The logits of a decoder are float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vertebra.specs import LayoutRule, Placement

_FLOAT32 = 4
_OF_ATTENTION = 5
"""Tensors as wide as the queries: queries, keys, values, and their mixture in two orders of axes."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that one part of the batch has in a step of training."""

    sequences: int
    length: int
    """Number of tokens of each sequence."""
    itemsize: int
    """Bytes of a number in the compute dtype."""
    recompute: bool = False
    """Whether blocks keep their inputs alone and compute the rest again for the gradients."""


@dataclass(slots=True)
class _Block:
    """The activations of the layers below one of the backbone's own, for each token."""

    inputs: int = 0
    """Numbers of the block's input."""
    numbers: int = 0
    """Numbers in the compute dtype that are kept."""
    norms: int = 0
    """Numbers in float32 that are kept."""
    queries: int = 0
    """Numbers of the queries."""
    attention: int = 0
    """Numbers in the compute dtype that attention keeps, if it has no kernel for queries alone."""

    def bytes(self, itemsize: int) -> int:
        attention = _OF_ATTENTION * self.queries if self.queries else self.attention
        return (self.numbers + attention) * itemsize + self.norms * _FLOAT32


def activation_bytes(placement: Placement, rules: Mapping[str, LayoutRule], tokens: Tokens, has_logits: bool) -> int:
    """Returns the bytes of the activations that one device keeps for the gradients.

    Args:
        placement: The placement of the weights.
        rules: The rule of each weight that the layout divides, by name.
        tokens: The tokens.
        has_logits: Whether the architecture computes logits from its token table.
    """
    blocks: dict[str, _Block] = {}
    logits = 0
    for name, rule in rules.items():
        shape, parts = placement.weights[name].shape, tensor_parts(placement, name)
        if len(shape) != 2:
            continue
        if rule.split == "vocabulary":
            logits = shape[1 if name.rpartition("/")[2].startswith("reverse_") else 0] // parts
        else:
            _count(blocks.setdefault(_block_of(name), _Block()), rule, shape, parts)
    for path, width, copies in _norms(placement, rules):
        block = blocks.setdefault(_block_of(path), _Block())
        is_of_heads = width < block.inputs and block.queries
        block.norms += copies * (block.queries if is_of_heads else width)
    sizes = [block.bytes(tokens.itemsize) for block in blocks.values()]
    if tokens.recompute:
        kept = sum(block.inputs for block in blocks.values()) * tokens.itemsize + max(sizes, default=0)
    else:
        kept = sum(sizes)
    return tokens.sequences * tokens.length * (kept + (logits * _FLOAT32 if has_logits else 0))


def _count(block: _Block, rule: LayoutRule, shape: tuple[int, ...], parts: int) -> None:
    """Adds the activations around one kernel."""
    if rule.split == "rows":
        block.inputs = shape[1]
        block.numbers += shape[1]  # the input of the kernels before it, which is as wide as its output
    kept = (shape[0] if rule.split == "rows" else shape[1]) // parts
    if rule.role == "attention.query":
        block.queries = kept
    elif rule.role.startswith("attention."):
        block.attention += kept
    else:
        block.numbers += kept * (2 if rule.role.endswith(".gate") else 1)


def _norms(placement: Placement, rules: Mapping[str, LayoutRule]) -> list[tuple[str, int, int]]:
    """Returns the path of each normalisation, its width, and how often it keeps its input.

    They are the layers of vectors alone. One without a bias is by the root mean square, and keeps two tensors.
    """
    vectors: dict[str, list[int]] = {}
    ruled = {name.rpartition("/")[0] for name in rules}
    for name, weight in placement.weights.items():
        path = name.rpartition("/")[0]
        if path not in ruled:
            vectors.setdefault(path, []).append(weight.shape[0] if len(weight.shape) == 1 else 0)
    return [(path, widths[0], 2 if len(widths) == 1 else 1) for path, widths in vectors.items() if all(widths)]


def _block_of(name: str) -> str:
    return name.partition("/")[0]


def score_bytes(
    placement: Placement, rules: Mapping[str, LayoutRule], arguments: Mapping[str, Any], tokens: Tokens
) -> int:
    """Returns the bytes of attention probabilities that one device keeps in addition, if attention is not fused."""
    heads = []
    for name, rule in rules.items():
        if rule.role == "attention.query" and len(placement.weights[name].shape) == 2:
            count = arguments.get(rule.units)
            heads.append(count // tensor_parts(placement, name) if isinstance(count, int) and count > 0 else 0)
    of_blocks = max(heads, default=0) if tokens.recompute else sum(heads)
    return tokens.sequences * of_blocks * tokens.length**2 * tokens.itemsize


def tensor_parts(placement: Placement, name: str) -> int:
    """Returns the number of parts into which tensor parallelism divides a weight."""
    tensor = {axis.name: axis.size for axis in placement.axes if axis.parallel == "tensor"}
    divided = placement.weights[name].divided
    return math.prod(size for axis, size in tensor.items() if any(axis in axes for axes in divided))
