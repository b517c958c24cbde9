"""`CausalLM`: a decoder that predicts the next token of a text."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

import vertebra
from vertebra import TaskExport, TaskPreset, TextSample, layers
from vertebra.errors import ArgumentError, FormatLimitError
from vertebra_generation.generating import TextGeneration
from vertebra_generation.scores import TokenScores
from vertebra_generation.task_files import kerashub, transformers
from vertebra_generation.training.batches import packed_or_not, packed_rows, scored_items, with_next_tokens
from vertebra_generation.training.encoding import Encoded, arrays, cut, encoded, require_text
from vertebra_generation.training.examples import Example, example_of, rows_of_table
from vertebra_generation.training.metrics import Perplexity
from vertebra_text import StoredTask, Task, TextPreprocessor

log = logging.getLogger("vertebra")


@keras.saving.register_keras_serializable("vertebra_generation")
class CausalLM(TextGeneration, Task):
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
    _scores: Any
    _packs: bool
    _has_told: bool

    def __init__(self, backbone: Any, preprocessor: Any = None, *, own_head: bool = False, **kwargs: Any) -> None:
        _check(backbone, own_head)
        head = _head(backbone) if own_head else None
        # `compile` asks for them; the layers are not registered a second time.
        self.__dict__.update(_lm_head=head, _scores=None, _packs=False, _has_told=False)
        self.__dict__.update(_generator=None, _generation_options=None)
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

    # === Scores ===

    def score(
        self,
        prompts: Any,
        completions: Any = None,
        *,
        per_token: bool = False,
        adapters: Any = None,
        batch_size: int = 32,
    ) -> Any:
        """Returns the log-probability of each completion after its prompt: the sum of those of its tokens.

        A prompt and its completion are tokenized as one text; a token that they share counts. After an empty prompt,
        the text begins with the tokenizer's start token.

        Args:
            prompts: A prompt for each completion, or one for all. Without completions, whole texts, whose first token
                has no probability, or items as in `fit`.
            completions: The completions; None means that `prompts` has them.
            per_token: Whether the log-probability of each token is returned.
            adapters: As in `predict`, with a name for each completion.
            batch_size: The number of texts in a batch.

        Returns:
            float32, shape (completions,), natural logarithms; for one completion, a number. With `per_token`, a list
            with a dict for each: `score`, `token_ids`, `tokens`, and `log_probabilities`, float32, shape (tokens,).

        Raises:
            ArgumentError: prompts and completions differ in number.
            TextError: an item is no text, or longer than the backbone allows.
        """
        self.require_tokenizer()
        items, is_single = scored_items(prompts, completions)
        rows = encoded(self.tokenizer, self.examples(items), ends=False)
        cut(rows, self.longest, refuse=True)
        if self._scores is None:
            self.__dict__["_scores"] = TokenScores(self)
        found = self._scores.of_rows(rows, batch_size, adapters)
        if per_token:
            answers = [self._of_tokens(row, values) for row, values in zip(rows, found, strict=True)]
            return answers[0] if is_single else answers
        sums = np.array([values.sum(dtype="float64") for values in found], "float32")
        return float(sums[0]) if is_single else sums

    def _of_tokens(self, row: Encoded, values: Any) -> dict[str, Any]:
        ids = row.ids[row.weights > 0]
        tokens = [self.tokenizer.id_to_token(int(index)) for index in ids]
        total = float(values.sum(dtype="float64"))
        return {"score": total, "token_ids": ids.tolist(), "tokens": tokens, "log_probabilities": values}

    # === Texts ===

    @property
    def longest(self) -> int | None:
        """The most tokens that the model takes in a row, or None for no limit."""
        length: int | None = getattr(self.preprocessor, "sequence_length", None)
        return length

    @property
    def pad_id(self) -> int:
        """The id of padding; the padding mask says which tokens count."""
        return getattr(self.tokenizer, "pad_token_id", None) or 0

    def examples(self, items: Sequence[Any]) -> list[Example]:
        """Returns items as `fit` takes them with the parts that count.

        Raises:
            TextError: an item is none.
        """
        return [example_of(item, self._rendered, f"texts[{number}]") for number, item in enumerate(items)]

    def _rendered(self, messages: Sequence[Any], fields: Mapping[str, Any]) -> Example:
        raise ArgumentError("CausalLM", "messages", messages, "a tokenizer with a chat template")

    def columns(self, x: Any, y: Any) -> Any:
        names = getattr(x, "column_names", None) or (list(x) if isinstance(x, Mapping) else ())
        rows = rows_of_table(x, names)
        return super().columns(x, y) if rows is None else (rows, y)

    # === Training ===

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *,
        batch_size: int = 32,
        shuffle: bool = True,
        packing: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Trains the model to predict the next tokens: of texts, of completions after prompts, or of answers in chats.

        Only tokens of completions count in the loss, and those of the assistant's messages; of a text without a prompt,
        all count. The tokenizer's end token follows each completion and text. Rows are padded at the end, whatever the
        side of the tokenizer, and cut there if they are too long; a warning says so.

        Args:
            x: Texts; or prompts, with their completions in `y`; or a list of pairs, or of dicts: `{"prompt",
                "completion"}`, `{"text"}`, or `{"messages"}`; or a table with columns of these names; or batches of
                these, as in `Task.fit`; or a dict with `token_ids` and `padding_mask`.
            y: The completion of each prompt. With `token_ids`, the labels, or None for the next tokens.
            batch_size: The number of rows in a batch.
            shuffle: Whether rows are in another order in each epoch.
            packing: Whether several texts share a row of the longest length that the model takes. A token attends to
                its own text only, so the loss of each token is the same as without packing.
            **kwargs: As in `Task.fit`.

        Raises:
            ArgumentError: prompts and completions differ in number; or the architecture, or the data, cannot be packed.
            TextError: an item is none of these.
        """
        x, y, kwargs = with_next_tokens(x, y, kwargs)
        if packing:
            x, y, kwargs = packed_rows(self, x, y, kwargs)
        self.__dict__["_has_told"] = False
        with self._packing(packing):
            return super().fit(x, y, batch_size=batch_size, shuffle=shuffle, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """Computes loss and perplexity as `keras.Model.evaluate`, of texts or completions as in `fit`."""
        x, y, kwargs = with_next_tokens(x, y, kwargs)
        self.__dict__["_has_told"] = False
        return super().evaluate(x, y, **kwargs)

    @contextlib.contextmanager
    def _packing(self, packs: bool) -> Iterator[None]:
        """Keeps the texts of rows apart within the block; Keras compiles its steps again."""
        if not packs:
            yield
            return
        self.__dict__["_packs"], self.train_function, self.test_function = True, None, None
        try:
            yield
        finally:
            self.__dict__["_packs"], self.train_function, self.test_function = False, None, None

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        with layers.packed(inputs["padding_mask"] if self._packs else None):
            return super().call(inputs, *args, **kwargs)

    def check_labels(self, y: Any) -> Any:
        """Returns completions as a list of texts; raises TextError if one is none."""
        completions = [y] if isinstance(y, str) else list(y)
        require_text(completions, "y")
        return completions

    def prepare(self, texts: Any, labels: Any = None, sample_weight: Any = None) -> Any:
        """Returns one batch: inputs, the next token for each, and how much it counts.

        Args:
            texts: Items as in `fit`, or rows of packed texts.
            labels: The completion of each, if they are prompts.
            sample_weight: A weight for each item.
        """
        self.require_tokenizer()
        rows = packed_or_not(self, texts, labels, sample_weight)
        multiple = 16 if vertebra.use().compiles_each_shape else 1
        made = arrays(rows, pad_id=self.pad_id, multiple=multiple, most=self.longest)
        inputs = {name: made.get(name, 0 * made["token_ids"]) for name in self.input}
        return inputs, made["labels"], made["weights"]

    def encode_examples(self, items: Sequence[Any]) -> list[Encoded]:
        """Returns the token ids of items, cut to the length that the model takes; a warning says how many were cut."""
        most = None if self.longest is None else self.longest + 1  # as the last token is no input
        refuse = self.preprocessor.truncation == "error"
        rows, count = cut(encoded(self.tokenizer, self.examples(items), ends=True), most, refuse=refuse)
        if count and not self._has_told:
            self.__dict__["_has_told"] = True
            log.warning("Texts of more than %s tokens are cut: %d of the first %d", most, count, len(rows))
        return rows

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
