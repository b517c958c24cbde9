"""Trainable tokens: some rows of an embedding are trained in place of the base's rows.

PEFT 0.21's `TrainableTokens` (`peft/tuners/trainable_tokens`) trains new or existing tokens so, and stores their rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vertebra import AdapterTensor, LinearView, LoraStrategy, PeftMethod
from vertebra.errors import LoraConfigError


class TrainableTokens(LoraStrategy):
    """The rows `token_indices` of the table are the rows of a trained matrix `(tokens, out)`, which starts from them.

    Option `token_indices`: the row numbers. The change of the table is `P (rows - Pᵀ W)`, where `P` has a column with a
    single 1 for each of these rows.
    """

    name = "trainable_tokens"
    options: ClassVar[Mapping[str, Any]] = {"token_indices": ()}
    settings: ClassVar[tuple[str, ...]] = ()
    is_additive = False
    peft_method = PeftMethod(
        "TRAINABLE_TOKENS", "trainable_tokens_", ("embedding",), options=("token_indices",),
        without_effect=("init_weights",), is_tied=True,
        lora_field="trainable_token_indices", lora_infix="token_adapter.",
    )  # fmt: skip

    def scale(self, rank: int, alpha: float) -> float:
        return 1.0

    def build(self, layer: Any, view: LinearView) -> None:
        from keras import ops

        tokens = _checked(layer.options["token_indices"], view)
        start = lambda *_, **__: ops.take(view.matrix(), _constant(tokens), axis=0)  # noqa: E731 (not for loaded values)
        layer.rows = layer.add_weight(name="rows", shape=(len(tokens), view.out_features), initializer=start)

    def factors(self, layer: Any, view: LinearView) -> tuple[Any, Any]:
        from keras import ops

        tokens = _constant(layer.options["token_indices"])
        base = ops.take(view.matrix(), tokens, axis=0)
        selection = ops.transpose(ops.one_hot(tokens, view.in_features, dtype="float32"))
        return selection, ops.cast(layer.rows, "float32") - base

    def delta(self, layer: Any, view: LinearView, inputs: Any, outputs: Any) -> Any:
        """Returns the difference to the looked-up rows, without any matrix of the size of the table."""
        from keras import ops

        order = sorted(range(len(layer.options["token_indices"])), key=layer.options["token_indices"].__getitem__)
        tokens = _constant([layer.options["token_indices"][number] for number in order])
        indices = view.indices(inputs)
        found = ops.minimum(ops.searchsorted(tokens, ops.reshape(indices, (-1,))), len(order) - 1)
        found = ops.reshape(found, ops.shape(indices))
        is_trained = ops.equal(ops.take(tokens, found), indices)[..., None]
        rows = ops.take(ops.cast(layer.rows, outputs.dtype), ops.take(_constant(order), found), axis=0)
        return ops.where(is_trained, rows - outputs, ops.zeros_like(outputs))

    def tensors_of(self, view: LinearView, rank: int, options: Mapping[str, Any]) -> Mapping[str, AdapterTensor]:
        axes = (len(options["token_indices"]), "out")
        return {"trainable_tokens_delta": AdapterTensor("rows", axes, transposed=False)}


def _checked(tokens: Any, view: LinearView) -> Any:
    """Returns the row numbers.

    Raises:
        LoraConfigError: the layer is no table, or these are not distinct row numbers of it.
    """
    if not view.is_lookup:
        shape = f"a kernel of shape ({view.in_features}, {view.out_features})"
        raise LoraConfigError(
            "LoRA settings", "target_names", shape, "tables that are looked up, such as token_embedding"
        )
    sound = all(type(token) is int and 0 <= token < view.in_features for token in tokens)
    if not tokens or not sound or len(set(tokens)) != len(tokens):
        expected = f"distinct ints from 0 to {view.in_features - 1}, the rows of the table"
        raise LoraConfigError("LoRA settings", "token_indices", list(tokens), expected)
    return tokens


def _constant(numbers: Any) -> Any:
    import numpy as np
    from keras import ops

    return ops.convert_to_tensor(np.array(numbers, "int32"))
