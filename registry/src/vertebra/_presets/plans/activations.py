"""The memory of activations in training: estimated from the kernels of a layout.

Counted as by Korthikanti et al. (2022, arXiv:2205.05198), without dropout and with fused attention. For a block whose
hidden states have `h` numbers, each token keeps, in the compute dtype: `4h` (the inputs of two norms, and of the layers
after them); the outputs of the kernels that are divided by columns (queries, keys, values, the feed-forward network's
first); the inputs of those divided by rows; and the outputs of a gate once more, before and after its activation. For a
block of GPT with `4h` inside that is `16h` numbers: the paper's 34 bytes without the two of dropout. The parts of
kernels that a tensor-parallel axis divides are divided, and the `4h` are not. With recomputation (section 5 of the
paper), a block keeps its input alone, and one block at a time has the rest. The logits of a decoder are float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vertebra.specs import LayoutRule, Placement

_LOGIT_BYTES = 4


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
    """Numbers for each token."""

    inputs: int = 0
    kept: int = 0


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
            continue
        block = blocks.setdefault(name.partition("/")[0], _Block())
        if rule.split == "columns":
            block.kept += shape[1] // parts * (2 if rule.role.endswith(".gate") else 1)
        else:
            block.kept += shape[0] // parts + 2 * shape[1]
            block.inputs = shape[1]
    every = [block.inputs if tokens.recompute else block.kept for block in blocks.values()]
    again = max((block.kept for block in blocks.values()), default=0) if tokens.recompute else 0
    each = (sum(every) + again) * tokens.itemsize + (logits * _LOGIT_BYTES if has_logits else 0)
    return tokens.sequences * tokens.length * each


def score_bytes(
    placement: Placement, rules: Mapping[str, LayoutRule], arguments: Mapping[str, Any], tokens: Tokens
) -> int:
    """Returns the bytes of attention probabilities that one device keeps in addition, if attention is not fused."""
    heads = []
    for name, rule in rules.items():
        if rule.role == "attention.query" and len(placement.weights[name].shape) == 2:
            count = arguments.get(rule.units)
            heads.append(count // tensor_parts(placement, name) if isinstance(count, int) else 0)
    of_blocks = max(heads, default=0) if tokens.recompute else sum(heads)
    return tokens.sequences * of_blocks * tokens.length**2 * tokens.itemsize


def tensor_parts(placement: Placement, name: str) -> int:
    """Returns the number of parts into which tensor parallelism divides a weight."""
    tensor = {axis.name: axis.size for axis in placement.axes if axis.parallel == "tensor"}
    divided = placement.weights[name].divided
    return math.prod(size for axis, size in tensor.items() if any(axis in axes for axes in divided))
