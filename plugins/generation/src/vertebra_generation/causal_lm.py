"""`CausalLM`: a decoder that predicts the next token of a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from vertebra import TaskExport, TaskPreset
from vertebra.errors import ArgumentError, FormatLimitError
from vertebra_generation.task_files import kerashub, transformers
from vertebra_generation.training.metrics import Perplexity
from vertebra_text import StoredTask, Task


@keras.saving.register_keras_serializable("vertebra_generation")
class CausalLM(Task):
    """Predicts the next token of a text.

    The output has shape (batch, length, vocabulary), in logits.

    Args:
        backbone: A decoder: its output is the hidden state of each token, and it has a `token_embedding`.
        preprocessor: As in `Task`.
        own_head: Whether the logits have a matrix of their own, as in checkpoints whose head is not tied, and not that
            of `backbone.token_embedding`. Architectures whose token embedding has two matrices need none.
        **kwargs: `compile` and `name`, as in `Task`.

    Raises:
        ArgumentError: an argument is out of range, or the backbone is no decoder.
    """

    has_output_for_each_token = True
    _lm_head: Any

    def __init__(self, backbone: Any, preprocessor: Any = None, *, own_head: bool = False, **kwargs: Any) -> None:
        _check(backbone, own_head)
        head = _head(backbone) if own_head else None
        self.__dict__["_lm_head"] = head  # `compile` asks for it; not registered as a layer, as the backbone
        outputs = _logits(backbone, head, backbone(backbone.input))
        super().__init__(backbone, outputs, preprocessor, {"own_head": own_head}, **kwargs)

    def logits_of(self, states: Any) -> Any:
        """Returns the logits for hidden states of the backbone, of shape (…, hidden_dim), as (…, vocabulary)."""
        return _logits(self.backbone, self._lm_head, states)

    def head_weights(self) -> dict[str, Any]:
        return {} if self._lm_head is None else {transformers.KERNEL: self._lm_head.kernel}

    # === Presets ===

    @classmethod
    def stored_in(cls, preset: TaskPreset) -> StoredTask | None:
        readers = {transformers.FORMAT: transformers.read, kerashub.FORMAT: kerashub.read}
        return readers[preset.format](preset) if preset.format in readers else None

    def exported_to(self, format: str) -> TaskExport | None:
        if format == transformers.FORMAT:
            return transformers.export(self)
        if format == kerashub.FORMAT:
            return kerashub.export(self)
        raise FormatLimitError(format, "task", "CausalLM", "it has no such task; save it as transformers")

    # === Training ===

    def default_loss(self) -> Any:
        # The mean of the tokens that count, and not of all, as padding and prompts have the weight 0.
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")

    def compile(
        self, optimizer: Any = "auto", loss: Any = "auto", *, weighted_metrics: Any = "auto", **kwargs: Any
    ) -> None:
        """Configures training as `Task.compile`; `"auto"` for `weighted_metrics` is `Perplexity`."""
        is_auto = isinstance(weighted_metrics, str) and weighted_metrics == "auto"
        metrics = [Perplexity()] if is_auto else weighted_metrics
        super().compile(optimizer, loss, weighted_metrics=metrics, **kwargs)


_HEAD = "lm_head"


def _check(backbone: Any, own_head: object) -> None:
    if not isinstance(own_head, bool):
        raise ArgumentError("CausalLM", "own_head", own_head, "True or False")
    embedding = getattr(backbone, "token_embedding", None)
    if isinstance(backbone.output, Mapping) or not isinstance(embedding, keras.layers.ReversibleEmbedding):
        expected = "a decoder, such as GPT2Backbone: its output is the hidden state of each token"
        raise ArgumentError("CausalLM", "backbone", type(backbone).__name__, expected)
    if own_head and not embedding.tie_weights:
        raise ArgumentError("CausalLM", "own_head", own_head, "False, as the token embedding has a matrix for logits")


def _head(backbone: Any) -> Any:
    """Returns the layer of a head with a matrix of its own."""
    deviation = getattr(backbone, "initializer_range", None) or 0.02
    return keras.layers.Dense(
        backbone.token_embedding.input_dim,
        use_bias=False,
        kernel_initializer=keras.initializers.RandomNormal(stddev=deviation),
        dtype=backbone.dtype_policy,
        name=_HEAD,
    )


def _logits(backbone: Any, head: Any, states: Any) -> Any:
    if head is None:
        return backbone.token_embedding(states, reverse=True)
    logits, cap = head(states), backbone.token_embedding.logit_soft_cap
    return logits if cap is None else keras.ops.tanh(logits / cap) * cap
