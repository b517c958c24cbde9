"""OFT (Qiu et al. 2023, arXiv:2306.07280): the inputs of a kernel are rotated in blocks, which keeps all angles."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra import AdapterTensor, LinearView, LoraStrategy, PeftMethod
from vertebra.errors import LoraConfigError

log = logging.getLogger("vertebra")

_NEUMANN_SINCE = (0, 18)
"""The version of PEFT whose series of `use_cayley_neumann` is computed here; earlier ones had another last term."""


class Oft(LoraStrategy):
    """`W' = R W`, with a block-diagonal `R` of orthogonal blocks; the outputs of an embedding are rotated instead.

    The rank is the size of the blocks; where it does not divide the dimension, it is the nearest divisor, as in PEFT.
    Each block is the Cayley transform of a skew-symmetric `Q` (the paper's section
    4), of which the numbers above the diagonal are trained: a matrix `(blocks, rank (rank - 1) / 2)` that starts at 0.
    Options, with PEFT 0.21's names and defaults:

    - `use_cayley_neumann`: whether `R` is the series `I + 2 Q + 2 Q² + …`, up to a term `Qⁿ` once, in place of the
      inverse in `R = (I - Q) (I + Q)⁻¹`. PEFT's two forms are rotations in opposite directions.
    - `num_cayley_neumann_terms`: the number of terms; 4 is as 3, as in PEFT.
    - `block_share`: whether all blocks are the same.
    - `coft`, `eps`: whether the norm of each `Q` is at most `eps / √blocks` (the paper's constrained OFT).
    """

    name = "oft"
    options: ClassVar[Mapping[str, Any]] = {
        "use_cayley_neumann": True, "num_cayley_neumann_terms": 5, "block_share": False, "coft": False, "eps": 6e-5,
    }  # fmt: skip
    settings: ClassVar[tuple[str, ...]] = ("rank",)
    rank_name = "block size"
    is_low_rank = False
    is_additive = False
    peft_method = PeftMethod(
        "OFT", "oft_", ("linear", "embedding"), options=tuple(options), biases="oft_only",
        without_effect=("r", "oft_block_size", "init_weights", "module_dropout"),
    )  # fmt: skip

    def scale(self, rank: int, alpha: float) -> float:
        return 1.0

    def build(self, layer: Any, view: LinearView) -> None:
        terms = layer.options["num_cayley_neumann_terms"]
        block = _block(view, layer.rank)
        if block < 2:
            expected = f"the size of a block, near a divisor of {_rotated(view)} that is at least 2"
            raise LoraConfigError("LoRA settings", "rank", layer.rank, expected)
        if block != layer.rank:
            _tell(layer.rank, _rotated(view), block)
        if terms < 1:
            raise LoraConfigError("LoRA settings", "num_cayley_neumann_terms", terms, "an int of at least 1")
        if not 0 < layer.options["eps"] < float("inf"):
            raise LoraConfigError("LoRA settings", "eps", layer.options["eps"], "a finite number above 0")
        shape = _shape(view, layer.rank, layer.options)
        limit = functools.partial(_limited, eps=layer.options["eps"]) if layer.options["coft"] else None
        # Not cast to half precision: rounded numbers would be other rotations.
        layer.angles = layer.add_weight(
            name="angles", shape=shape, initializer="zeros", autocast=False, constraint=limit
        )

    def delta(self, layer: Any, view: LinearView, inputs: Any, outputs: Any) -> Any:
        from keras import ops

        if not view.is_lookup:
            return super().delta(layer, view, inputs, outputs)
        turn = ops.cast(_turn(layer, view), outputs.dtype)
        return ops.reshape(_rotate(outputs, turn), ops.shape(outputs))

    def kernel_delta(self, layer: Any, view: LinearView) -> Any:
        from keras import ops

        kernel, turn = view.matrix(), _turn(layer, view)
        if view.is_lookup:
            return ops.reshape(_rotate(kernel, turn), kernel.shape)
        blocks = ops.reshape(kernel, (-1, turn.shape[-1], view.out_features))
        return ops.reshape(ops.matmul(turn, blocks), kernel.shape)

    def tensors_of(self, view: LinearView, rank: int, options: Mapping[str, Any]) -> Mapping[str, AdapterTensor]:
        name = "oft_embedding_R.weight" if view.is_lookup else "oft_R.weight"
        return {name: AdapterTensor("angles", _shape(view, rank, options), transposed=False)}

    def peft_problem(self, config: Mapping[str, Any]) -> tuple[str, str] | None:
        """Returns why an OFT of an earlier PEFT cannot be computed."""
        if "oft_block_size" not in config:
            return "oft_block_size", "OFT of PEFT 0.14 or later: earlier adapters have other tensors, oft_r"
        if "use_cayley_neumann" not in config:
            return "use_cayley_neumann", "true or false: PEFT before this field computed in another way"
        version = str(config.get("peft_version", "0")).split(".")
        numbers = tuple(int(number) if number.isdecimal() else 0 for number in version[:2])
        if config["use_cayley_neumann"] and numbers < _NEUMANN_SINCE:
            return "peft_version", "PEFT 0.18 or later: earlier ones computed use_cayley_neumann with another series"
        return None

    def peft_rank(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        """Returns the size of the blocks: a block of size `b` has `b (b - 1) / 2` numbers."""
        shape = next(iter(shapes.values()), ())
        numbers = shape[-1] if shape else 0
        return round((1 + (1 + 8 * numbers) ** 0.5) / 2)

    def peft_config(self, modules: Mapping[str, tuple[LinearView, int, Mapping[str, Any]]]) -> Mapping[str, Any]:
        """Returns the size of the blocks, or else their number, whichever all modules have in common."""
        blocks = [(_rotated(view), _block(view, rank)) for view, rank, _ in modules.values()]
        sizes, counts = {block for _, block in blocks}, {size // block for size, block in blocks}
        if len(sizes) > 1 and len(counts) > 1:
            expected = "blocks of one size, or one number of blocks, as PEFT's OFT has"
            raise LoraConfigError("adapter", "rank", sorted(sizes), expected, "Save it as a .safetensors file")
        size, count = (sizes.pop(), 0) if len(sizes) == 1 else (0, counts.pop())
        return {"oft_block_size": size, "r": count, "peft_version": ".".join(map(str, (*_NEUMANN_SINCE, 0)))}


@functools.cache  # once
def _tell(rank: int, size: int, block: int) -> None:
    log.warning(
        "OFT: blocks of %d do not divide %d, so they have the size of the nearest divisor, %d", rank, size, block
    )


def _rotated(view: LinearView) -> int:
    """Returns the size of the vectors that are rotated: the inputs, or the outputs of a lookup."""
    return view.out_features if view.is_lookup else view.in_features


def _block(view: LinearView, rank: int) -> int:
    """Returns the divisor of the dimension that is nearest to the rank, and of two the smaller one."""
    size = _rotated(view)
    divisors = [number for number in range(1, size + 1) if size % number == 0]
    return min(divisors, key=lambda number: abs(number - rank))


def _shape(view: LinearView, rank: int, options: Mapping[str, Any]) -> tuple[int, int]:
    block = _block(view, rank)
    return 1 if options["block_share"] else _rotated(view) // block, block * (block - 1) // 2


def _rotate(vectors: Any, turn: Any) -> Any:
    """Returns the change of vectors, of shape `(…, blocks, 1, block)`."""
    from keras import ops

    blocks = ops.reshape(vectors, (*ops.shape(vectors)[:-1], -1, 1, turn.shape[-1]))
    return ops.matmul(blocks, turn)


def _turn(layer: Any, view: LinearView) -> Any:
    """Returns `R - I`, of shape `(blocks, block, block)`; it is exactly 0 for `Q = 0`."""
    from keras import ops

    angles, options = ops.convert_to_tensor(layer.angles), layer.options
    if options["coft"]:  # the gradient passes unchanged, as in PEFT, which replaces the values
        angles = angles + ops.stop_gradient(_limited(angles, options["eps"]) - angles)
    block = _block(view, layer.rank)
    q = _skew(angles, block)
    if options["use_cayley_neumann"]:
        return _series(q, options["num_cayley_neumann_terms"])
    identity = ops.eye(block, dtype="float32")
    return ops.transpose(ops.solve(identity - q, 2 * q), (0, 2, 1))  # the transpose of -2 Q (I + Q)⁻¹


def _series(q: Any, terms: int) -> Any:
    """Returns `2 Q + 2 Q² + … + Qⁿ`, with `n = terms - 1`, and at least 3 from 3 terms on."""
    from keras import ops

    if terms < 3:
        return 2 * q * (terms - 1)
    total, power = 2 * q, q
    for _ in range(2, max(terms - 1, 3)):
        power = ops.matmul(power, q)
        total = total + 2 * power
    return total + ops.matmul(power, q)


def _skew(angles: Any, rank: int) -> Any:
    """Returns skew-symmetric matrices `(blocks, rank, rank)` with these numbers above the diagonal, row by row."""
    import numpy as np
    from keras import ops

    rows, columns = np.triu_indices(rank, 1)
    index, sign = np.zeros((rank, rank), "int32"), np.zeros((rank, rank), "float32")
    index[rows, columns] = index[columns, rows] = np.arange(len(rows))
    sign[rows, columns], sign[columns, rows] = 1, -1
    return ops.take(angles, ops.convert_to_tensor(index), axis=1) * ops.convert_to_tensor(sign)


def _limited(angles: Any, eps: float) -> Any:
    """Returns the numbers, scaled down in blocks whose `Q` has a Frobenius norm above `eps / √blocks`."""
    from keras import ops

    norm = ops.sqrt(2 * ops.sum(ops.square(angles), axis=1, keepdims=True))
    limit = eps / angles.shape[0] ** 0.5
    return angles * ops.minimum(1.0, limit / ops.maximum(norm, limit))
