"""`CausalLM`: a decoder that predicts the next token of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from vertebra import TaskExport, TaskPreset, TextSample
from vertebra.errors import ArgumentError, FormatLimitError
from vertebra_generation.chat.templates import ChatTemplates
from vertebra_generation.chats import Chats
from vertebra_generation.defaults import GenerationDefaults
from vertebra_generation.generating import TextGeneration
from vertebra_generation.generation_config import GenerationConfig
from vertebra_generation.keras_assets import FurtherAssets
from vertebra_generation.scores import TextScores
from vertebra_generation.task_files import kerashub, transformers
from vertebra_generation.training.fitting import TextTraining
from vertebra_text import StoredTask, Task, TextPreprocessor


@keras.saving.register_keras_serializable("vertebra_generation")
class CausalLM(FurtherAssets, Chats, GenerationDefaults, TextGeneration, TextScores, TextTraining, Task):
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
        # `compile` asks for them; the layers are not registered a second time.
        self.__dict__.update(_lm_head=head, _scores=None, _packs=False, _has_told=False)
        self.__dict__.update(_chat_templates=ChatTemplates({}), _is_own_template=False)
        self.__dict__.update(_generator=None, _generation_config=GenerationConfig(), _has_own_options=False)
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

    # === Outputs ===

    def predict(self, x: Any, *, batch_size: int = 32, adapters: Any = None, **kwargs: Any) -> Any:
        """Returns the logits after each token of texts or of prepared inputs, as `Task.predict`.

        Rows of texts are padded at the end, whatever the side of the tokenizer, as positions of learned embeddings are
        counted from the beginning of a row. Logits of padding are 0.
        """
        if isinstance(self.preprocessor, TextPreprocessor) and not _are_ids(x):
            return self.inference.outputs(x, batch_size, adapters, padding_side="right")
        return super().predict(x, batch_size=batch_size, adapters=adapters, **kwargs)

    def text_sample(self, texts: Sequence[Any]) -> TextSample:
        """Returns the inputs for texts, and the log-probability of each next token, 0 for padding.

        Logits would have the size of the vocabulary for each token.
        """
        items = list(texts)
        inputs = self.preprocessor.encode(items, padding_side="right")
        logits = keras.ops.convert_to_numpy(self(inputs, training=False)).astype("float64")[:, :-1]
        logits -= logits.max(axis=-1, keepdims=True)
        chosen = np.take_along_axis(logits, inputs["token_ids"][:, 1:, None], axis=-1)[:, :, 0]
        scores = (chosen - np.log(np.exp(logits).sum(axis=-1))) * inputs["padding_mask"][:, 1:]
        return TextSample(self.task_name(), items, inputs, scores.astype("float32"))


_HEAD = "lm_head"


def _are_ids(x: Any) -> bool:
    """Returns whether inputs are token ids, and no texts."""
    return keras.ops.is_tensor(x) or isinstance(x, Mapping) or (isinstance(x, np.ndarray) and x.dtype.kind not in "OUS")


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
